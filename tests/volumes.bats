#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What a container can see of files: volumes, binds, tmpfs, secrets and configs.

load helpers

@test "a named volume outlives its containers and is shared" {
  compose <<'END'
services:
  a: { image: tiny, volumes: [data:/data] }
  b: { image: tiny, volumes: ["data:/elsewhere:ro"] }
volumes: { data: {} }
END
  ok stead up -d
  ok inside a sh -c 'echo kept > /data/file'
  is "$(inside b cat /elsewhere/file)" kept
  run inside b sh -c 'echo x > /elsewhere/file'
  [ "$status" -ne 0 ]
  says "Read-only file system"
  ok stead down
  ok stead up -d
  is "$(inside a cat /data/file)" kept
}

@test "a new volume gets what the image has there, with owner and mode" {
  compose <<'END'
services:
  a: { image: tiny, volumes: ["home:/home/app"], user: app }
  b: { image: tiny, volumes: ["www:/var/www"] }
  c: { image: tiny, volumes: [{ type: volume, source: empty, target: /var/www, volume: { nocopy: true } }] }
volumes: { home: {}, www: {}, empty: {} }
END
  ok stead up -d
  ok inside a sh -c 'echo mine > /home/app/file'
  is "$(inside b cat /var/www/index.html)" "it works"
  is "$(inside c ls /var/www)" ""
}

@test "an anonymous volume goes with its container, but survives recreation" {
  compose <<'END'
services:
  a: { image: tiny, volumes: [/data], environment: { V: "${V:-1}" } }
END
  ok stead up -d
  ok inside a sh -c 'echo kept > /data/file'
  V=2 ok stead up -d
  is "$(inside a sh -c 'echo $V; cat /data/file')" "$(printf '2\nkept')"
  V=3 ok stead up -d -V
  run inside a cat /data/file
  [ "$status" -ne 0 ]
}

@test "binds: directories and files, short and long form" {
  mkdir src
  echo hello >src/file
  echo one >single
  compose <<'END'
services:
  a:
    image: tiny
    volumes:
      - ./src:/src
      - ./single:/single:ro
      - { type: bind, source: ./src, target: /long, read_only: true }
END
  ok stead up -d
  is "$(inside a cat /src/file /single /long/file | tr '\n' ' ')" "hello one hello "
  ok inside a sh -c 'echo from inside > /src/new'
  is "$(cat src/new)" "from inside"
  run inside a sh -c 'echo x > /long/file'
  [ "$status" -ne 0 ]
  run inside a sh -c 'echo x > /single'
  [ "$status" -ne 0 ]
}

@test "a missing bind source is an error, not a new directory; the long form may ask for one" {
  compose <<'END'
services:
  a:
    image: tiny
    volumes:
      - ./missing:/data
END
  fails 2 stead up -d
  says "missing"
  says "compose.yaml:5"
  [ ! -e missing ]
  is "$(containers)" ""

  compose <<'END'
services:
  a:
    image: tiny
    volumes: [{ type: bind, source: ./made, target: /data, bind: { create_host_path: true } }]
END
  ok stead up -d
  [ -d made ]
}

@test "tmpfs, with size and mode" {
  compose <<'END'
services:
  a:
    image: tiny
    tmpfs: [/scratch, "/small:size=1m,mode=700"]
    volumes: [{ type: tmpfs, target: /long, tmpfs: { size: 2097152 } }]
END
  ok stead up -d
  ok inside a mount
  says "tmpfs on /scratch type tmpfs"
  says "tmpfs on /small type tmpfs"
  says "size=2048k"
  is "$(inside a stat -c %a /small)" 700
  run inside a dd if=/dev/zero of=/small/big bs=1M count=3
  [ "$status" -ne 0 ]
}

@test "read_only: the root cannot be written, volumes and tmpfs can" {
  compose <<'END'
services:
  a: { image: tiny, read_only: true, tmpfs: [/tmp], volumes: [data:/data] }
volumes: { data: {} }
END
  ok stead up -d
  run inside a touch /here
  [ "$status" -ne 0 ]
  ok inside a touch /tmp/here /data/here
}

@test "shm_size" {
  compose <<'END'
services:
  a: { image: tiny, shm_size: 8m }
  b: { image: tiny }
END
  ok stead up -d
  ok inside a df -k /dev/shm
  says "8192"
  ok inside b df -k /dev/shm
  says "65536"
}

@test "secrets and configs: file, environment and content, with uid, gid and mode" {
  echo top-secret >pw.txt
  compose <<'END'
services:
  a:
    image: tiny
    user: app
    secrets:
      - pw
      - { source: token, target: /etc/token, uid: "1000", gid: "1000", mode: 0400 }
    configs:
      - { source: motd, target: /etc/motd, mode: 0440, gid: "1000" }
secrets:
  pw: { file: ./pw.txt }
  token: { environment: TOKEN }
configs:
  motd: { content: "hello ${WHO:-world}\n" }
END
  TOKEN=t0k3n ok stead up -d
  is "$(inside a cat /run/secrets/pw)" top-secret
  is "$(inside a cat /etc/token)" t0k3n
  is "$(inside a cat /etc/motd)" "hello world"
  is "$(inside a stat -c '%a %u %g' /etc/token)" "400 1000 1000"
  is "$(inside a stat -c '%a %u %g' /etc/motd)" "440 0 1000"
  is "$(inside a stat -c '%a %u %g' /run/secrets/pw)" "444 0 0"
}

@test "a changed config or secret recreates the container" {
  compose <<'END'
services:
  a: { image: tiny, configs: [{ source: c, target: /c }] }
configs: { c: { content: "${V:-1}" } }
END
  ok stead up -d
  local id
  id=$(id_of a)
  V=2 ok stead up -d
  [ "$(id_of a)" != "$id" ]
  is "$(inside a cat /c)" 2
}

@test "an external volume must exist, and down -v leaves it alone" {
  compose first.yaml <<'END'
services: { a: { image: tiny, volumes: [data:/data] } }
volumes: { data: { name: shared-data } }
END
  compose <<'END'
services: { a: { image: tiny, volumes: [data:/data] } }
volumes: { data: { name: shared-data, external: true } }
END
  fails 2 stead up -d
  says "shared-data"
  says "compose.yaml:2"
  ok stead -p provider -f first.yaml up -d
  ok stead -p provider -f first.yaml down
  ok stead up -d
  ok stead down -v
  [ -d "$SANDBOX/state/volumes/shared-data/_data" ]
  ok stead -p provider -f first.yaml down -v
  [ ! -e "$SANDBOX/state/volumes/shared-data" ]
}

@test "the API's socket can be mounted" {
  compose <<END
services:
  a: { image: tiny, volumes: ["$SOCK:/var/run/docker.sock"] }
END
  ok stead up -d
  ok inside a test -S /var/run/docker.sock
}
