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
  within 20 has_status exited a
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
  within 20 restarted a 2
  within 20 restarted b 2
}

@test "on-failure:N: not after success, and at most N times" {
  compose <<'END'
services:
  good: { image: tiny, restart: on-failure, command: "true" }
  bad: { image: tiny, restart: "on-failure:2", command: "sh -c 'exit 5'" }
END
  ok stead up -d
  within 20 restarted bad 2
  within 20 has_status exited bad
  is "$(restarts bad)" 2
  is "$(restarts good)" 0
  sleep 1
  is "$(restarts bad)" 2
}

# Milliseconds from each end to the start that follows it, as the daemon's events have them.
pauses() { # SERVICE
  api GET "/events?since=1&until=$(date +%s.%N)" | jq -rn --arg name "$(container "$1")" '
    reduce (inputs | select(.Type == "container" and .Actor.Attributes.name == $name)) as $e ({pauses: []};
      if $e.Action == "die" then .ended = $e.timeNano
      elif $e.Action == "start" and .ended then .pauses += [($e.timeNano - .ended) / 1000000 | floor]
      else . end) | .pauses[]'
}

# The machine may make each pause longer, but never shorter.
@test "the delay doubles from 100 ms" {
  compose <<'END'
services:
  a: { image: tiny, restart: always, command: "true" }
END
  ok stead up -d
  within 60 restarted a 4
  within 20 has_pauses a 4
  local pauses
  mapfile -t pauses < <(pauses a)
  echo "pauses: ${pauses[*]} ms"
  [ "${pauses[0]}" -ge 99 ]
  [ "${pauses[1]}" -ge 199 ]
  [ "${pauses[2]}" -ge 399 ]
  [ "${pauses[3]}" -ge 799 ]
}

has_pauses() { # SERVICE N
  [ "$(pauses "$1" | wc -l)" -ge "$2" ]
}

@test "a stop by hand cancels the policy, also between two tries" {
  compose <<'END'
services:
  a: { image: tiny, restart: always, command: "sh -c 'exit 1'" }
END
  ok stead up -d
  within 20 restarted a 2
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
  within 20 restarted a 1
  within 20 has_status running a
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
  within 20 restarted a 1
  within 20 has_status exited a
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
  within 20 has_health unhealthy a
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
  within 20 inside client wget -q -O /dev/null http://web/
  kill -KILL "$(inspect "$(container web)" .State.Pid)"
  within 20 restarted web 1
  within 20 inside client wget -q -O /dev/null http://web/
}
