#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Health checks, with Docker's timing.

load helpers

# So many results of probes are there; five are kept.
probed() { # SERVICE N
  [ "$(inspect "$(container "$1")" '.State.Health.Log | length')" -ge "$2" ]
}

@test "CMD, CMD-SHELL and a plain string" {
  compose <<'END'
services:
  a: { image: tiny, healthcheck: { test: [CMD, "true"], interval: 100ms } }
  b: { image: tiny, healthcheck: { test: [CMD-SHELL, "exit 0"], interval: 100ms } }
  c: { image: tiny, healthcheck: { test: "test 1 = 1", interval: 100ms } }
  d: { image: tiny, healthcheck: { disable: true } }
END
  ok stead up -d
  within 20 has_health healthy a
  within 20 has_health healthy b
  within 20 has_health healthy c
  is "$(inspect "$(container d)" '.State.Health // "none"')" none
}

@test "the first probe comes after one interval" {
  compose <<'END'
services:
  a: { image: tiny, healthcheck: { test: [CMD, "true"], interval: 2s } }
END
  ok stead up -d
  within 20 has_health healthy a
  local started probed
  started=$(date -d "$(started_at a)" +%s%N)
  probed=$(date -d "$(inspect "$(container a)" '.State.Health.Log[0].Start')" +%s%N)
  echo "$(((probed - started) / 1000000)) ms"
  [ $((probed - started)) -ge 1999000000 ]
}

@test "retries failures in a row make it unhealthy; it keeps running, and one success heals" {
  compose <<'END'
services:
  a:
    image: tiny
    healthcheck: { test: "test ! -e /tmp/sick", interval: 200ms, retries: 3 }
END
  ok stead up -d
  within 20 has_health healthy a
  ok inside a touch /tmp/sick
  within 20 has_health unhealthy a
  has_status running a
  [ "$(inspect "$(container a)" .State.Health.FailingStreak)" -ge 3 ]
  ok inside a rm /tmp/sick
  within 20 has_health healthy a
  is "$(inspect "$(container a)" .State.Health.FailingStreak)" 0
}

@test "failures within start_period do not count" {
  compose <<'END'
services:
  a:
    image: tiny
    healthcheck: { test: "test -e /tmp/up", interval: 200ms, retries: 1, start_period: 1h }
END
  ok stead up -d
  within 20 probed a 3
  has_health starting a
  ok inside a touch /tmp/up
  within 20 has_health healthy a
}

@test "start_interval applies while starting" {
  compose <<'END'
services:
  a:
    image: tiny
    healthcheck: { test: [CMD, "true"], interval: 1h, start_period: 1h, start_interval: 200ms }
END
  ok stead up -d
  within 20 has_health healthy a
}

@test "a probe that takes too long is killed and counts as a failure" {
  compose <<'END'
services:
  a:
    image: tiny
    healthcheck: { test: "sleep 777", interval: 100ms, timeout: 300ms, retries: 1 }
END
  ok stead up -d
  within 20 has_health unhealthy a
  is "$(inspect "$(container a)" '.State.Health.Log[0].ExitCode')" -1
  # Those that were killed are gone, however many there were.
  within 20 probed a 5
  few_probes() { [ "$(inside a ps | grep -c 'sleep 777')" -le 2 ]; }
  within 20 few_probes
}

@test "the last five results are kept, with their output, cut at 4096 bytes" {
  compose <<'END'
services:
  a:
    image: tiny
    healthcheck: { test: "yes | head -c 10000", interval: 100ms }
END
  ok stead up -d
  within 20 probed a 5
  [ "$(inspect "$(container a)" '.State.Health.Log[4].Output | length')" -le 4096 ]
  is "$(inspect "$(container a)" '.State.Health.Log[4].ExitCode')" 0
}

@test "a probe runs with the container's user, environment and directory" {
  compose <<'END'
services:
  a:
    image: tiny
    user: app
    working_dir: /home/app
    environment: { SECRET: s3 }
    healthcheck: { test: 'echo "$$(id -u) $$SECRET $$(pwd)"', interval: 100ms }
END
  ok stead up -d
  within 20 has_health healthy a
  is "$(inspect "$(container a)" '.State.Health.Log[0].Output' | head -n 1)" "1000 s3 /home/app"
}

@test "ps shows health" {
  compose <<'END'
services:
  a: { image: tiny, healthcheck: { test: [CMD, "true"], interval: 100ms } }
END
  ok stead up -d --wait
  ok stead ps
  says "healthy"
}
