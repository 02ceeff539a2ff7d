#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# After a reboot: `always` and `unless-stopped` come back in dependency order, with their health
# conditions, which docker compose ignores then.

load helpers

@test "services come back in dependency order, waiting for health" {
  compose <<'END'
services:
  db:
    image: tiny
    restart: always
    command: sh -c 'rm -f /data/ready; sleep 1; touch /data/ready /run/up; exec sleep 1000'
    volumes: [data:/data]
    tmpfs: [/run] # empty at each start, also before the command has begun
    healthcheck: { test: "test -e /run/up", interval: 200ms, retries: 1000 }
  api:
    image: tiny
    restart: unless-stopped
    command: sh -c 'test -e /data/ready && echo in order || echo too early; exec sleep 1000'
    volumes: [data:/data]
    depends_on: { db: { condition: service_healthy } }
  web:
    image: tiny
    restart: always
    depends_on: [api]
volumes: { data: {} }
END
  ok stead up -d
  local id
  id=$(id_of api)
  power_cut
  daemon_start
  within 20 has_status running web
  has_health healthy db
  is "$(id_of api)" "$id"
  within 20 logged api $'in order\nin order'
  not logged api "too early"
  local db api web
  db=$(date -d "$(started_at db)" +%s%N)
  api=$(date -d "$(started_at api)" +%s%N)
  web=$(date -d "$(started_at web)" +%s%N)
  [ "$db" -lt "$api" ]
  [ "$api" -lt "$web" ]
}

@test "who comes back: always and unless-stopped do, what was stopped and what has no policy do not" {
  compose <<'END'
services:
  always: { image: tiny, restart: always }
  unless: { image: tiny, restart: unless-stopped }
  stopped: { image: tiny, restart: unless-stopped }
  plain: { image: tiny }
END
  ok stead up -d
  ok stead stop -t 0 stopped
  power_cut
  daemon_start
  within 20 has_status running always
  within 20 has_status running unless
  sleep 1
  has_status exited stopped
  has_status exited plain
  is "$(inspect "$(container plain)" .State.ExitCode)" 137
}

@test "volumes, addresses, names and published ports are there again" {
  local p
  p=$(port 1)
  compose <<END
services:
  web:
    image: tiny
    restart: always
    command: httpd -f -p 80 -h /data
    volumes: [data:/data]
    ports: ["$p:80"]
  client: { image: tiny, restart: always }
volumes: { data: {} }
END
  ok stead up -d
  ok inside web sh -c 'echo kept > /data/index.html; sync'
  power_cut
  daemon_start
  within 20 fetch "http://127.0.0.1:$p/"
  is "$(fetch "http://127.0.0.1:$p/")" kept
  within 20 inside client wget -q -O - http://web/
}

@test "logs from before the reboot are still there" {
  compose <<'END'
services:
  a: { image: tiny, restart: always, command: "sh -c 'echo hello again; exec sleep 1000'" }
END
  ok stead up -d
  within 20 logged a hello
  power_cut
  daemon_start
  within 20 has_status running a
  within 20 logged a $'hello again\nhello again'
}

@test "what was taken down stays down" {
  compose <<'END'
services: { a: { image: tiny, restart: always } }
END
  ok stead up -d
  ok stead down -t 0
  power_cut
  daemon_start
  sleep 0.5
  is "$(containers)" ""
}

refuses_to() {
  fails 1 stead "$@"
  says "the machine goes down"
}

@test "with the machine, containers stop in order, each with its signal and its time" {
  compose <<'END'
services:
  db:
    image: tiny
    restart: always
    stop_signal: SIGINT
    stop_grace_period: 10m
    command: sh -c 'trap "echo db >>/data/ends; exit 0" INT; touch /data/db; while :; do sleep 0.1; done'
    volumes: [data:/data]
  worker:
    image: tiny
    restart: on-failure
    stop_grace_period: 10m
    command: sh -c 'trap "while ! test -e /data/go; do sleep 0.1; done; echo worker >>/data/ends; exit 0" TERM; touch /data/worker; while :; do sleep 0.1; done'
    volumes: [data:/data]
    depends_on: [db]
  deaf: { image: tiny, restart: unless-stopped, stop_grace_period: 100ms }
  parked: { image: tiny, restart: unless-stopped }
  once: { image: tiny }
volumes: { data: {} }
END
  ok stead up -d
  ok stead stop -t 0 parked
  within 20 inside db test -e /data/db -a -e /data/worker
  local pids s
  for s in db worker deaf once; do pids+=" $(inspect "$(container $s)" .State.Pid)"; done
  kill -PWR "$(daemon_pid)" # as the unit's ExecStop= does
  within 20 refuses_to stop parked
  has_status running worker
  has_status running db
  touch "$SANDBOX/state/volumes/${PROJECT}_data/_data/go"
  within 60 daemon_gone
  # shellcheck disable=SC2086
  not kill -0 $pids
  daemon_start
  within 20 has_status running worker
  within 20 has_status running db
  within 20 has_status running deaf
  is "$(inside db cat /data/ends)" $'worker\ndb'
  has_status exited parked
  has_status exited once
}
