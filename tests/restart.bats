#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Restart policies, with Docker's back-off.

load helpers

restarts() { inspect "$(container "$1")" .RestartCount; }
restarted() { [ "$(restarts "$1")" -ge "$2" ]; }

@test "no: an exited container stays exited" {
  compose <<'END'
services:
  a: { image: tiny, command: "sh -c 'exit 4'" }
END
  ok stead up -d
  within 5 has_status exited a
  sleep 0.5
  has_status exited a
  is "$(inspect "$(container a)" .State.ExitCode)" 4
  is "$(restarts a)" 0
}

@test "always and unless-stopped: restarted whatever the exit code" {
  compose <<'END'
services:
  a: { image: tiny, restart: always, command: "sh -c 'sleep 0.1; exit 0'" }
  b: { image: tiny, restart: unless-stopped, command: "sh -c 'sleep 0.1; exit 1'" }
END
  ok stead up -d
  within 10 restarted a 2
  within 10 restarted b 2
}

@test "on-failure:N: not after success, and at most N times" {
  compose <<'END'
services:
  good: { image: tiny, restart: on-failure, command: "true" }
  bad: { image: tiny, restart: "on-failure:2", command: "sh -c 'exit 5'" }
END
  ok stead up -d
  within 10 restarted bad 2
  within 5 has_status exited bad
  is "$(restarts bad)" 2
  is "$(restarts good)" 0
  sleep 1
  is "$(restarts bad)" 2
}

printed() { # SERVICE LINES
  [[ $(stead logs --no-log-prefix "$1" | wc -l) -ge $2 ]]
}

@test "the delay doubles from 100 ms" {
  compose <<'END'
services:
  a: { image: tiny, restart: always, command: "date +%s.%N" }
END
  ok stead up -d
  within 15 restarted a 4
  within 5 printed a 5
  # Starts at 0, 0.1, 0.3, 0.7, 1.5 s: the fourth restart cannot be earlier than 1.5 s after the first start.
  ok stead logs --no-log-prefix a
  local first fifth
  first=$(sed -n 1p <<<"$output")
  fifth=$(sed -n 5p <<<"$output")
  awk -v a="$first" -v b="$fifth" 'BEGIN { exit !(b - a > 1.4 && b - a < 8) }'
}

@test "a stop by hand cancels the policy, also between two tries" {
  compose <<'END'
services:
  a: { image: tiny, restart: always, command: "sh -c 'exit 1'" }
END
  ok stead up -d
  within 10 restarted a 2
  ok stead stop -t 0 a
  has_status exited a
  local n
  n=$(restarts a)
  sleep 2
  has_status exited a
  is "$(restarts a)" "$n"
}

@test "a killed process is restarted" {
  compose <<'END'
services:
  a: { image: tiny, restart: unless-stopped }
END
  ok stead up -d
  local pid
  pid=$(inspect "$(container a)" .State.Pid)
  [ "$pid" -gt 1 ]
  kill -KILL "$pid"
  within 5 restarted a 1
  within 5 has_status running a
  [ "$(inspect "$(container a)" .State.Pid)" != "$pid" ]
}

@test "deploy.restart_policy rules over restart" {
  compose <<'END'
services:
  a:
    image: tiny
    restart: "no"
    command: sh -c 'exit 1'
    deploy: { restart_policy: { condition: on-failure, max_attempts: 1, delay: 100ms } }
END
  ok stead up -d
  within 10 restarted a 1
  within 5 has_status exited a
  is "$(restarts a)" 1
}

@test "unhealthy is no reason for a restart" {
  compose <<'END'
services:
  a:
    image: tiny
    restart: always
    healthcheck: { test: "false", interval: 100ms, retries: 1 }
END
  ok stead up -d
  within 5 has_health unhealthy a
  sleep 0.5
  is "$(restarts a)" 0
}

@test "addresses and names still work after a restart" {
  compose <<'END'
services:
  web:
    image: tiny
    restart: always
    command: httpd -f -p 80 -h /var/www
  client: { image: tiny }
END
  ok stead up -d
  within 5 inside client wget -q -O /dev/null http://web/
  kill -KILL "$(inspect "$(container web)" .State.Pid)"
  within 5 restarted web 1
  within 5 inside client wget -q -O /dev/null http://web/
}
