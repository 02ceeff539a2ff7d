#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# depends_on: what waits for what.

load helpers

# "a before b": a's container was started earlier.
started_before() {
  local a b
  a=$(date -d "$(started_at "$1")" +%s%N)
  b=$(date -d "$(started_at "$2")" +%s%N)
  [ "$a" -lt "$b" ]
}

@test "service_started: a chain starts in order and stops in reverse" {
  compose <<'END'
services:
  c: { image: tiny, depends_on: [b], command: "sh -c 'trap \"exit 0\" TERM; while :; do sleep 0.1; done'" }
  b: { image: tiny, depends_on: [a], command: "sh -c 'trap \"exit 0\" TERM; while :; do sleep 0.1; done'" }
  a: { image: tiny, command: "sh -c 'trap \"exit 0\" TERM; while :; do sleep 0.1; done'" }
END
  ok stead up -d
  started_before a b
  started_before b c
  sleep 0.3
  ok stead stop
  local fa fc
  fa=$(date -d "$(inspect "$(container a)" .State.FinishedAt)" +%s%N)
  fc=$(date -d "$(inspect "$(container c)" .State.FinishedAt)" +%s%N)
  [ "$fc" -le "$fa" ]
}

@test "service_healthy: waits until the check passes" {
  compose <<'END'
services:
  db:
    image: tiny
    command: sh -c 'sleep 1; touch /shared/ready; exec sleep 1000'
    volumes: [shared:/shared]
    healthcheck: { test: [CMD, test, -e, /shared/ready], interval: 200ms, retries: 1000 }
  app:
    image: tiny
    command: sh -c 'test -e /shared/ready && echo in order || echo too early; exec sleep 1000'
    volumes: [shared:/shared]
    depends_on: { db: { condition: service_healthy } }
volumes:
  shared:
END
  ok stead up -d
  has_health healthy db
  within 20 logged app "in order"
}

@test "service_completed_successfully: waits for the end of a one-shot" {
  compose <<'END'
services:
  migrate:
    image: tiny
    command: sh -c 'sleep 0.5; echo done > /shared/done'
    volumes: [shared:/shared]
  app:
    image: tiny
    command: sh -c 'cat /shared/done; exec sleep 1000'
    volumes: [shared:/shared]
    depends_on: { migrate: { condition: service_completed_successfully } }
volumes:
  shared:
END
  ok stead up -d
  has_status exited migrate
  has_status running app
  within 20 logged app "done"
}

@test "a one-shot that fails stops what depends on it, with its exit code and last lines" {
  compose <<'END'
services:
  migrate: { image: tiny, command: "sh -c 'echo table users is missing; exit 3'" }
  app:
    image: tiny
    depends_on: { migrate: { condition: service_completed_successfully } }
END
  fails 1 stead up -d
  says "migrate"
  says "3"
  says "table users is missing"
  not has_status running app
}

@test "a dependency that becomes unhealthy fails the up at once" {
  compose <<'END'
services:
  db:
    image: tiny
    healthcheck: { test: "echo no such luck; exit 1", interval: 100ms, retries: 2 }
  app:
    image: tiny
    depends_on: { db: { condition: service_healthy } }
END
  fails 1 stead up -d
  says "db"
  says "unhealthy"
  not has_status running app
}

@test "a dependency that exits while it is waited for fails the up at once" {
  compose <<'END'
services:
  db:
    image: tiny
    command: sh -c 'sleep 0.3; echo disk on fire; exit 9'
    healthcheck: { test: [CMD, "false"], interval: 1h }
  app:
    image: tiny
    depends_on: { db: { condition: service_healthy } }
END
  fails 1 timeout 120 "$STEAD_EXE" -H "unix://$SOCK" up -d # by the check alone it would be an hour
  says "db"
  says "disk on fire"
  says "9"
}

@test "service_healthy on a service without a check is refused" {
  compose <<'END'
services:
  db: { image: tiny }
  app:
    image: tiny
    depends_on: { db: { condition: service_healthy } }
END
  run stead up -d
  [ "$status" -ne 0 ]
  says "db"
  says "health"
  not has_status running app
}

@test "required: false lets a failed dependency be" {
  compose <<'END'
services:
  cache: { image: tiny, command: "sh -c 'exit 1'" }
  app:
    image: tiny
    depends_on: { cache: { condition: service_completed_successfully, required: false } }
END
  ok stead up -d
  has_status running app
}

@test "restart: true restarts what depends on a recreated service" {
  compose <<'END'
services:
  db: { image: tiny, environment: { V: "${V:-1}" } }
  app:
    image: tiny
    depends_on: { db: { condition: service_started, restart: true } }
END
  ok stead up -d
  local id first
  id=$(id_of app)
  first=$(started_at app)
  V=2 ok stead up -d
  is "$(id_of app)" "$id"
  [ "$(started_at app)" != "$first" ]
}

@test "restart: true lets a dependent run on until the recreated service is healthy" {
  compose <<'END'
services:
  db:
    image: tiny
    environment: { V: "${V:-1}" }
    healthcheck: { test: 'test "$$V" = 1 || test -e /tmp/well', interval: 100ms, retries: 2 }
  app:
    image: tiny
    depends_on: { db: { condition: service_healthy, restart: true } }
END
  ok stead up -d
  local first
  first=$(started_at app)
  V=2 fails 1 stead up -d
  says "unhealthy"
  has_status running app
  is "$(started_at app)" "$first"
  ok inside db touch /tmp/well
  within 20 has_health healthy db
  V=2 ok stead up -d
  has_status running app
  [ "$(started_at app)" != "$first" ]
}

@test "--wait returns when all are healthy, and fails when one is not" {
  compose <<'END'
services:
  web:
    image: tiny
    command: sh -c 'sleep 0.7; touch /tmp/ok; exec sleep 1000'
    healthcheck: { test: "test -e /tmp/ok", interval: 200ms, retries: 1000 }
  once: { image: tiny, command: "true" }
END
  ok stead up -d --wait
  has_health healthy web

  compose <<'END'
services:
  web:
    image: tiny
    healthcheck: { test: "false", interval: 100ms, retries: 2 }
END
  fails 1 stead up -d --wait --remove-orphans
  says "web"
}

@test "independent services start side by side" {
  {
    echo "volumes: { shared: {} }"
    echo "services:"
    for i in 1 2 3 4 5 6; do
      echo "  s$i:"
      echo "    image: tiny"
      echo "    volumes: [shared:/shared]"
      echo "    command: sh -c 'touch /shared/s$i; exec sleep 1000'"
      echo "    healthcheck: { test: 'ls /shared | grep -c . | grep -x 6', interval: 200ms, retries: 1000 }"
    done
  } | compose
  # None is healthy before all have started.
  ok timeout 120 "$STEAD_EXE" -H "unix://$SOCK" up -d --wait
}
