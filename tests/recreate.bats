#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A second `up`: what is unchanged is left alone, what is changed is made anew.

load helpers

@test "nothing changed: nothing is touched" {
  compose <<'END'
services:
  a: { image: tiny, depends_on: [b] }
  b: { image: tiny, volumes: [data:/data] }
volumes: { data: {} }
END
  ok stead up -d
  local a b sa
  a=$(id_of a) b=$(id_of b) sa=$(started_at a)
  ok stead up -d
  is "$(id_of a)" "$a"
  is "$(id_of b)" "$b"
  is "$(started_at a)" "$sa"
}

@test "only the changed service is recreated" {
  compose <<'END'
services:
  a: { image: tiny, environment: { V: "${V:-1}" } }
  b: { image: tiny }
END
  ok stead up -d
  local a b
  a=$(id_of a) b=$(id_of b)
  V=2 ok stead up -d
  [ "$(id_of a)" != "$a" ]
  is "$(id_of b)" "$b"
  is "$(inside a sh -c 'echo $V')" 2
}

@test "what a hash leaves out: scale, depends_on, pull_policy" {
  compose <<'END'
services:
  a: { image: tiny }
  b: { image: tiny }
END
  ok stead up -d
  local a
  a=$(id_of a)
  compose <<'END'
services:
  a: { image: tiny, depends_on: [b], pull_policy: never, scale: 2 }
  b: { image: tiny }
END
  ok stead up -d
  is "$(id_of a)" "$a"
  is "$(containers)" "$PROJECT-a-1 $PROJECT-a-2 $PROJECT-b-1"
}

@test "another image under the same name recreates" {
  compose <<'END'
services: { a: { image: changing } }
END
  ok stead import "$STEAD_TEST_CACHE/tiny.tar" changing --cmd '["sleep", "1000"]' --env PATH=/bin
  ok stead up -d
  local a
  a=$(id_of a)
  ok stead import "$STEAD_TEST_CACHE/tiny.tar" changing --cmd '["sleep", "2000"]' --env PATH=/bin
  ok stead up -d
  [ "$(id_of a)" != "$a" ]
  within 20 runs a "sleep 2000"
}

@test "scale up and down, by file and by --scale" {
  compose <<'END'
services: { a: { image: tiny, scale: 2 } }
END
  ok stead up -d
  local first
  first=$(id_of a 1)
  ok stead up -d --scale a=4
  is "$(containers)" "$PROJECT-a-1 $PROJECT-a-2 $PROJECT-a-3 $PROJECT-a-4"
  ok stead up -d --scale a=1
  is "$(containers)" "$PROJECT-a-1"
  is "$(id_of a 1)" "$first"
  ok stead up -d --scale a=0
  is "$(containers)" ""
  ok stead up -d
  is "$(containers)" "$PROJECT-a-1 $PROJECT-a-2"
}

@test "orphans are named, and removed with --remove-orphans" {
  compose <<'END'
services:
  a: { image: tiny }
  old: { image: tiny }
END
  ok stead up -d
  compose <<'END'
services: { a: { image: tiny } }
END
  ok stead up -d
  says "old"
  is "$(containers)" "$PROJECT-a-1 $PROJECT-old-1"
  ok stead up -d --remove-orphans
  is "$(containers)" "$PROJECT-a-1"
}

@test "a service whose profile is off is no orphan" {
  compose <<'END'
services:
  a: { image: tiny }
  p: { image: tiny, profiles: [extra] }
END
  ok stead --profile extra up -d
  ok stead up -d --remove-orphans
  says_not "orphan"
  is "$(containers)" "$PROJECT-a-1 $PROJECT-p-1"
}

@test "--force-recreate and --no-recreate" {
  compose <<'END'
services: { a: { image: tiny, environment: { V: "${V:-1}" } } }
END
  ok stead up -d
  local a
  a=$(id_of a)
  V=2 ok stead up -d --no-recreate
  is "$(id_of a)" "$a"
  ok stead up -d --force-recreate
  [ "$(id_of a)" != "$a" ]
}

@test "a container that ended is started again by up" {
  compose <<'END'
services: { a: { image: tiny } }
END
  ok stead up -d
  local a
  a=$(id_of a)
  ok stead kill
  within 20 has_status exited a
  ok stead up -d
  has_status running a
  is "$(id_of a)" "$a"
}

@test "--no-start makes containers without starting them" {
  compose <<'END'
services: { a: { image: tiny } }
END
  ok stead up --no-start
  is "$(status a)" created
  ok stead start
  has_status running a
}

@test "a failed up leaves what ran before as it was" {
  compose <<'END'
services:
  a: { image: tiny }
END
  ok stead up -d
  local a sa
  a=$(id_of a) sa=$(started_at a)
  compose <<'END'
services:
  a: { image: tiny }
  b: { image: tiny, command: no-such-program }
END
  fails 1 stead up -d
  says "b"
  says "no-such-program"
  is "$(id_of a)" "$a"
  is "$(started_at a)" "$sa"
}

@test "a port moves to the new container" {
  local p
  p=$(port 1)
  compose <<END
services:
  web:
    image: tiny
    command: httpd -f -p 80 -h /var/www
    environment: { V: "\${V:-1}" }
    ports: ["$p:80"]
END
  ok stead up -d
  within 20 fetch "http://127.0.0.1:$p/"
  V=2 ok stead up -d
  within 20 fetch "http://127.0.0.1:$p/"
}
