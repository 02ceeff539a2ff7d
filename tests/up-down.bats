#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What `up` brings up and `down` takes away.

load helpers

two_services() {
  compose <<'END'
services:
  web:
    image: tiny
    command: httpd -f -p 80 -h /var/www
  worker:
    image: tiny
    volumes: [data:/data]
volumes:
  data:
END
}

@test "up starts all services and returns; down takes all of it away" {
  two_services
  ok stead up -d
  is "$(containers)" "$PROJECT-web-1 $PROJECT-worker-1"
  has_status running web
  has_status running worker

  ok stead down
  is "$(containers)" ""
  # A named volume holds data and stays, unless one says otherwise.
  [ -d "$SANDBOX/state/volumes/${PROJECT}_data/_data" ]
  ok stead down -v
  [ ! -e "$SANDBOX/state/volumes/${PROJECT}_data" ]
}

@test "up and down say what they do, line by line when not on a terminal" {
  two_services
  ok stead up -d
  says "$PROJECT-web-1"
  says "$PROJECT-worker-1"
  says_not $'\e['
  ok stead down
  says "$PROJECT-web-1"
}

@test "down of what is not there is no error" {
  two_services
  ok stead down
  ok stead -p never-heard-of down
}

@test "up in the foreground shows the logs and stops everything on Ctrl-C" {
  compose <<'END'
services:
  talker:
    image: tiny
    command: sh -c 'trap "echo bye; exit 0" TERM; i=0; while :; do echo "line $$((i=i+1))"; sleep 0.2; done'
END
  "$STEAD_EXE" -H "unix://$SOCK" up >out.txt 2>&1 </dev/null 3>&- &
  local pid=$!
  within 20 grep -q 'talker.*line 3' out.txt
  kill -INT "$pid"
  wait "$pid" || true
  within 20 has_status exited talker
}

@test "up of one service brings its dependencies along, and nothing else" {
  compose <<'END'
services:
  db: { image: tiny }
  api: { image: tiny, depends_on: [db] }
  other: { image: tiny }
END
  ok stead up -d api
  is "$(containers)" "$PROJECT-api-1 $PROJECT-db-1"
  ok stead down
  ok stead up -d --no-deps api
  is "$(containers)" "$PROJECT-api-1"
}

@test "replicas are numbered" {
  compose <<'END'
services:
  api:
    image: tiny
    deploy: { replicas: 3 }
END
  ok stead up -d
  is "$(containers)" "$PROJECT-api-1 $PROJECT-api-2 $PROJECT-api-3"
}

@test "profiles: a service with one is off until it is asked for" {
  compose <<'END'
services:
  app: { image: tiny }
  debug: { image: tiny, profiles: [debug] }
END
  ok stead up -d
  is "$(containers)" "$PROJECT-app-1"
  ok stead --profile debug up -d
  is "$(containers)" "$PROJECT-app-1 $PROJECT-debug-1"
  ok stead --profile debug down
  is "$(containers)" ""
}

@test "the environment comes from .env, env_file, environment and the shell" {
  echo 'GREETING=from-dot-env' >.env
  printf 'A=file\nB=file\n' >web.env
  compose <<'END'
services:
  web:
    image: tiny
    env_file: web.env
    environment:
      B: "${GREETING}"
      C: "${UNSET_THING:-fallback}"
      D: "a$$b"
      E:
END
  E=shell ok stead up -d
  ok inside web sh -c 'echo $A $B $C $D $E'
  is "$output" 'file from-dot-env fallback a$b shell'
}

@test "entrypoint, command, user, working_dir, hostname and group_add reach the process" {
  compose <<'END'
services:
  web:
    image: tiny
    entrypoint: [sh, -c]
    command: ['id > /tmp/id; pwd > /tmp/pwd; hostname > /tmp/host; exec sleep 1000']
    user: app
    group_add: ["3000"]
    working_dir: /var/www
    hostname: little
    domainname: example.org
END
  ok stead up -d
  within 20 inside web test -s /tmp/host
  ok inside web cat /tmp/id
  says "uid=1000(app) gid=1000(app)"
  says "3000"
  is "$(inside web cat /tmp/pwd)" /var/www
  is "$(inside web cat /tmp/host)" little
}

@test "container_name, labels and the image's defaults" {
  compose <<'END'
services:
  web:
    image: tiny
    container_name: a-name-of-its-own
    labels:
      org.example.team: blue
END
  ok stead up -d
  is "$(inspect a-name-of-its-own .State.Status)" running
  is "$(inspect a-name-of-its-own '.Config.Labels["org.example.team"]')" blue
  is "$(inspect a-name-of-its-own '.Config.Labels["com.docker.compose.service"]')" web
  is "$(inspect a-name-of-its-own '.Config.Cmd | join(" ")')" "sleep 1000000"
}

@test "stop, start, restart and kill" {
  two_services
  ok stead up -d
  local id first
  id=$(id_of web)
  first=$(started_at web)

  ok stead stop -t 1 web
  has_status exited web
  has_status running worker
  ok stead start web
  has_status running web
  is "$(id_of web)" "$id"
  [ "$(started_at web)" != "$first" ]

  first=$(started_at worker)
  ok stead restart -t 0 worker
  has_status running worker
  [ "$(started_at worker)" != "$first" ]

  ok stead kill web
  within 20 has_status exited web
  is "$(inspect "$(container web)" .State.ExitCode)" 137
  ok stead rm -f web
  is "$(containers)" "$PROJECT-worker-1"
}

@test "a stopped service stays stopped when others are started" {
  two_services
  ok stead up -d
  ok stead stop -t 0
  has_status exited web
  ok stead start worker
  has_status running worker
  has_status exited web
}

@test "stop asks with stop_signal and gives stop_grace_period" {
  compose <<'END'
services:
  polite:
    image: tiny
    command: sh -c 'trap "echo got USR1; exit 7" USR1; echo ready; while :; do sleep 0.1; done'
    stop_signal: SIGUSR1
    stop_grace_period: 2m
  deaf:
    image: tiny
    command: sh -c 'trap "" TERM; echo ready; while :; do sleep 0.1; done'
    stop_grace_period: 1s
  stubborn:
    image: tiny
    command: sh -c 'trap "" TERM; echo ready; while :; do sleep 0.1; done'
    stop_grace_period: 6s
END
  ok stead up -d
  local s
  for s in polite deaf stubborn; do within 20 logged "$s" ready; done
  local begin deaf stubborn
  begin=$(date +%s%N)
  ok stead stop
  is "$(inspect "$(container polite)" .State.ExitCode)" 7
  is "$(inspect "$(container deaf)" .State.ExitCode)" 137
  deaf=$(date -d "$(inspect "$(container deaf)" .State.FinishedAt)" +%s%N)
  stubborn=$(date -d "$(inspect "$(container stubborn)" .State.FinishedAt)" +%s%N)
  echo "after $(((deaf - begin) / 1000000)) and $(((stubborn - begin) / 1000000)) ms"
  # The times of ends are of files, which may be a tick of the kernel's old.
  [ $((deaf - begin)) -ge 980000000 ]
  [ $((stubborn - begin)) -ge 5980000000 ]
  # Both were asked at the same time, and each had a time of its own.
  [ $((stubborn - deaf)) -ge 1000000000 ]
  within 20 logged polite "got USR1"
}

@test "ps lists what runs, ps -a everything, ps -q the ids" {
  compose <<'END'
services:
  web: { image: tiny }
  once: { image: tiny, command: "sh -c 'exit 3'" }
END
  ok stead up -d
  within 20 has_status exited once
  ok stead ps
  says "$PROJECT-web-1"
  says_not "$PROJECT-once-1"
  ok stead ps -a
  says "$PROJECT-once-1"
  says "(3)"
  ok stead ps -q
  says "$(id_of web | cut -c1-12)"
  stead ps -a --json | jq -e . >/dev/null
}

@test "init: true reaps orphans" {
  compose <<'END'
services:
  app:
    image: tiny
    init: true
    command: sh -c 'sh -c "sleep 0.1 & exit 0"; exec sleep 1000'
END
  ok stead up -d
  within 20 runs app "sleep 1000"
  within 20 reaped
}

reaped() {
  local list
  list=$(inside app ps -o stat,args) && ! grep -E '^Z|^[A-Z<+]+ +sleep 0\.1$' <<<"$list"
}
