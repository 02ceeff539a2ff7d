#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Bad input gets a clear error with file, line, key and remedy, exit code 2; nothing is started and
# nothing is lost.

load helpers

# `up` refuses this file with exit code 2, names the place, and starts nothing.
refuses() { # TEXT…
  fails 2 stead up -d
  local text
  for text in "$@"; do says "$text"; done
  is "$(containers)" ""
}

@test "no file" {
  fails 2 stead up -d
  says "compose.yaml"
}

@test "YAML that is not UTF-8" {
  printf 'services:\n  a:\n    image: "\xff\xfe"\n' >compose.yaml
  refuses "compose.yaml:3" "UTF-8"
}

@test "broken YAML" {
  printf 'services:\n  a: {\n    image: tiny\n' >compose.yaml
  refuses "compose.yaml:"
}

@test "alias bombs" {
  {
    echo 'x-a: &a [l, l, l, l, l, l, l, l, l]'
    local p=a n
    for n in b c d e f g h i; do
      echo "x-$n: &$n [*$p, *$p, *$p, *$p, *$p, *$p, *$p, *$p, *$p]"
      p=$n
    done
    echo 'services: { a: { image: tiny, command: *i } }'
  } >compose.yaml
  # Expanded it would be 387 million strings.
  local begin=$SECONDS
  refuses "compose.yaml:"
  [ $((SECONDS - begin)) -le 60 ]
}

@test "nesting without end" {
  {
    printf 'x-deep: '
    printf '[%.0s' {1..3000}
    printf ']%.0s' {1..3000}
    printf '\nservices: { a: { image: tiny } }\n'
  } >compose.yaml
  refuses "compose.yaml:1"
}

@test "unknown keys, with the nearest known one" {
  compose <<'END'
services:
  a:
    image: tiny
    comand: sleep 10
END
  refuses "compose.yaml:4" "comand" "command"
}

@test "wrong types" {
  compose <<'END'
services:
  a:
    image: tiny
    ports: 80
END
  refuses "compose.yaml:4" "ports"
}

@test "a key that is not done yet" {
  compose <<'END'
services:
  a:
    image: tiny
    extends: { service: b }
END
  refuses "compose.yaml:4" "extends"
}

@test "the same key twice" {
  compose <<'END'
services:
  a:
    image: tiny
    image: other
END
  refuses "compose.yaml:4" "image"
}

@test "cycles in depends_on" {
  compose <<'END'
services:
  a: { image: tiny, depends_on: [b] }
  b: { image: tiny, depends_on: [c] }
  c: { image: tiny, depends_on: [a] }
END
  refuses "compose.yaml" "a" "b" "c" "cycle"
}

@test "references to what is not there: service, network, volume, secret" {
  compose <<'END'
services:
  a: { image: tiny, depends_on: [nope] }
END
  refuses "compose.yaml:2" "nope"
  compose <<'END'
services:
  a: { image: tiny, networks: [nope] }
END
  refuses "compose.yaml:2" "nope"
  compose <<'END'
services:
  a: { image: tiny, volumes: ["nope:/data"] }
END
  refuses "compose.yaml:2" "nope"
  compose <<'END'
services:
  a: { image: tiny, secrets: [nope] }
END
  refuses "compose.yaml:2" "nope"
}

@test "a mandatory variable that is not set" {
  compose <<'END'
services:
  a:
    image: tiny
    environment:
      PW: ${DB_PASSWORD:?set it in .env}
END
  refuses "compose.yaml:5" "DB_PASSWORD" "set it in .env"
}

@test "bad values: duration, size, port, capability" {
  local key value
  while read -r key value; do
    printf 'services:\n  a:\n    image: tiny\n    %s: %s\n' "$key" "$value" >compose.yaml
    refuses "compose.yaml:4" "$key"
  done <<'END'
stop_grace_period soon
mem_limit lots
ports ["99999:80"]
ports ["80:http"]
cap_add [FLYING]
restart sometimes
network_mode service:nope
container_name "-bad name"
ulimits { files: 3 }
END
}

@test "a port that is already taken is named before anything starts" {
  local p
  p=$(port 1)
  nc -l -k 127.0.0.1 "$p" </dev/null >/dev/null 2>&1 3>&- &
  local listener=$!
  within 20 bash -c "ss -Hltn 'sport = :$p' | grep -q $p"
  compose <<END
services:
  a: { image: tiny }
  web:
    image: tiny
    ports: ["$p:80"]
END
  run stead up -d
  kill "$listener"
  wait "$listener" || true
  is "$status" 2
  says "$p"
  says "web"
  is "$(containers)" ""
}

@test "a port that another stack has" {
  local p
  p=$(port 2)
  compose <<END
services:
  web: { image: tiny, ports: ["$p:80"] }
END
  ok stead -p first up -d
  run stead up -d
  local code=$status text=$output
  ok stead -p first down
  is "$code" 2
  [[ $text == *"$p"* && $text == *first* ]]
}

@test "a missing image, with how to get it" {
  compose <<'END'
services:
  a: { image: tiny }
  b: { image: "nowhere/to-be-found:1.2" }
END
  refuses "nowhere/to-be-found:1.2" "stead load" "stead image bootstrap"
}

@test "a memory limit above what may be, and below what works" {
  printf 'services:\n  a:\n    image: tiny\n    mem_limit: 1k\n' >compose.yaml
  refuses "mem_limit"
}

@test "an address outside of the network's subnet" {
  compose <<'END'
services:
  a:
    image: tiny
    networks: { lan: { ipv4_address: 10.9.9.9 } }
networks:
  lan: { ipam: { config: [{ subnet: 10.213.78.0/24 }] } }
END
  refuses "10.9.9.9"
}

@test "a socket that cannot be reached" {
  compose <<'END'
services: { a: { image: tiny } }
END
  fails 2 "$STEAD_EXE" -H unix:///nowhere/stead.sock ps
  says "/nowhere/stead.sock"
  says "daemon"
}

@test "wrong usage" {
  fails 2 stead no-such-command
  says "no-such-command"
  fails 2 stead up --no-such-option
  says "--no-such-option"
  fails 2 stead exec
  fails 2 stead -H ftp://x ps
}

@test "a service that cannot start: its name, its exit code, its last lines" {
  compose <<'END'
services:
  a:
    image: tiny
    command: sh -c 'echo cannot open the database; exit 7'
    healthcheck: { test: [CMD, "true"], interval: 1h }
END
  fails 1 stead up -d --wait
  says "a"
  says "7"
  says "cannot open the database"
}

@test "a command that does not exist in the image" {
  compose <<'END'
services: { a: { image: tiny, command: [no-such-program] } }
END
  fails 1 stead up -d
  says "no-such-program"
  says "a"
}

@test "a running stack survives a broken file" {
  compose <<'END'
services: { a: { image: tiny } }
END
  ok stead up -d
  local id
  id=$(id_of a)
  printf 'services:\n  a:\n    image: tiny\n    commnd: x\n' >compose.yaml
  fails 2 stead up -d
  is "$(id_of a)" "$id"
  has_status running a
}

@test "bad requests to the API" {
  is "$(api GET /v1.41/containers/none/json -o /dev/null -w '%{http_code}')" 404
  is "$(api POST /stead/v1/stacks/x/up -d 'not json' -o /dev/null -w '%{http_code}')" 400
  is "$(api POST /stead/v1/stacks/x/up -d '{"model": 3}' -o /dev/null -w '%{http_code}')" 400
  is "$(api POST '/stead/v1/stacks/..%2f..%2fetc/up' -d '{"model": {}}' -o /dev/null -w '%{http_code}' | cut -c1)" 4
  is "$(api GET /no/such/path -o /dev/null -w '%{http_code}')" 404
  head -c 6000000 /dev/zero | tr '\0' ' ' >big
  is "$(api POST /stead/v1/stacks/x/up --data-binary @big -o /dev/null -w '%{http_code}')" 413
  daemon_alive
}

@test "config shows the resolved model, or the error, without a daemon" {
  compose <<'END'
services:
  web:
    image: tiny
    ports: ["8080:80"]
    environment: { A: "${X:-1}" }
END
  ok "$STEAD_EXE" -H unix:///nowhere/stead.sock config
  says "published: \"8080\""
  ok bash -c "'$STEAD_EXE' config --format json | jq -r .services.web.environment.A"
  is "$output" 1
  ok "$STEAD_EXE" config --services
  is "$output" web
  echo '    nope: 1' >>compose.yaml
  fails 2 "$STEAD_EXE" config
  says "compose.yaml:6"
}

@test "config of 500 services takes less than a moment" {
  {
    echo 'services:'
    for i in $(seq 500); do
      printf '  s%d:\n    image: "tiny:${TAG:-1}"\n    environment: { A: "1", B: "${B:-2}" }\n    ports: ["%d:80"]\n    depends_on: [s%d]\n' \
        "$i" $((10000 + i)) $((i == 1 ? 500 + 1 : i - 1))
    done
    printf '  s501:\n    image: tiny\n'
  } >compose.yaml
  local begin end
  begin=$(date +%s%N)
  ok "$STEAD_EXE" config -q
  end=$(date +%s%N)
  # `make bench` measures 0.2 s; this is for the sanitized build on a machine that has other things to do.
  [ $(((end - begin) / 1000000)) -lt 20000 ]
}
