#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Crash-only: kill -9 of the daemon is an ordinary event.

load helpers

@test "containers run on, and the next daemon takes them over" {
  local p
  p=$(port 1)
  compose <<END
services:
  web:
    image: tiny
    command: httpd -f -p 80 -h /var/www
    ports: ["$p:80"]
  client: { image: tiny }
END
  ok stead up -d
  local id pid
  id=$(id_of web)
  pid=$(inspect "$(container web)" .State.Pid)
  within 20 fetch "http://127.0.0.1:$p/"

  daemon_kill
  kill -0 "$pid"
  is "$(fetch "http://127.0.0.1:$p/")" "it works"

  daemon_start
  is "$(id_of web)" "$id"
  is "$(inspect "$(container web)" .State.Pid)" "$pid"
  has_status running web
  ok inside client wget -q -O - http://web/
  ok stead up -d
  is "$(id_of web)" "$id"
}

@test "names resolve while no daemon runs" {
  compose <<'END'
services:
  web: { image: tiny, command: "httpd -f -p 80 -h /var/www" }
  client:
    image: tiny
    volumes: [./seen:/seen]
    command: sh -c 'while :; do if wget -q -O /dev/null http://web/; then echo good; else echo bad; fi >>/seen/lines; sleep 0.1; done'
END
  mkdir seen
  seen() { [ "$(wc -l <seen/lines)" -ge "$1" ]; }
  ok stead up -d
  within 20 grep -q good seen/lines
  daemon_kill
  local before
  before=$(wc -l <seen/lines)
  within 30 seen $((before + 5))
  daemon_start
  is "$(tail -n +$((before + 1)) seen/lines | sort -u)" good
}

@test "names resolve in what is started after a crash" {
  compose <<'END'
services:
  web: { image: tiny, command: "httpd -f -p 80 -h /var/www" }
  client: { image: tiny }
END
  ok stead up -d
  ok stead stop -t 0 client
  daemon_kill
  daemon_start
  ok stead start client
  within 20 inside client wget -q -O - http://web/
}

@test "no log line is lost while the daemon is away" {
  compose <<'END'
services:
  counter: { image: tiny, command: "sh -c 'i=0; while [ $$i -lt 300 ]; do echo $$i; i=$$((i+1)); usleep 10000; done; exec sleep 1000'" }
END
  ok stead up -d
  sleep 0.5
  daemon_kill
  sleep 1
  daemon_start
  within 90 bash -c "'$STEAD_EXE' -H unix://$SOCK logs --no-log-prefix counter | grep -qx 299"
  stead logs --no-log-prefix counter >got.txt
  seq 0 299 | cmp - got.txt
}

@test "exit codes of what ended meanwhile are known, and restart policies are carried out" {
  compose <<'END'
services:
  once: { image: tiny, volumes: [./gate:/gate], command: "sh -c 'until test -e /gate/open; do usleep 50000; done; exit 23'" }
  again:
    image: tiny
    restart: always
    volumes: [./gate:/gate]
    command: sh -c 'if test -e /gate/open; then touch /gate/again; exec sleep 1000; fi; until test -e /gate/open; do usleep 50000; done; exit 1'
END
  mkdir gate
  ok stead up -d
  local pid pid_again
  pid=$(inspect "$(container once)" .State.Pid)
  pid_again=$(inspect "$(container again)" .State.Pid)
  daemon_kill
  touch gate/open
  within 20 not sandbox_alive "$pid"
  within 20 not sandbox_alive "$pid_again"
  daemon_start
  within 20 has_status exited once
  is "$(inspect "$(container once)" .State.ExitCode)" 23
  within 20 test -e gate/again
  within 20 has_status running again
}

@test "health checks go on" {
  compose <<'END'
services:
  a: { image: tiny, healthcheck: { test: "test ! -e /tmp/sick", interval: 200ms, retries: 1 } }
END
  ok stead up -d --wait
  daemon_kill
  daemon_start
  within 20 has_health healthy a
  ok inside a touch /tmp/sick
  within 20 has_health unhealthy a
}

@test "killed in the middle of an up: the next one completes it" {
  local i
  {
    echo services:
    for i in 1 2 3 4 5 6; do
      echo "  s$i: { image: tiny, healthcheck: { test: 'true', interval: 100ms } }"
    done
  } | compose
  local wait
  for wait in 0.005 0.02 0.04 0.08 0.15 0.3; do
    stead up -d >up.txt 2>&1 </dev/null 3>&- &
    local client=$!
    sleep "$wait"
    daemon_kill
    wait "$client" || true
    daemon_start
    ok leftovers
    ok stead up -d --wait
    for i in 1 2 3 4 5 6; do has_status running "s$i"; done
    stead down -t 0 >down.txt 2>&1 </dev/null 3>&- &
    client=$!
    sleep "$wait"
    daemon_kill
    wait "$client" || true
    daemon_start
    ok leftovers
    ok stead down -t 0
    is "$(containers)" ""
    ok leftovers
  done
}

@test "an orderly end of the daemon leaves containers running, too" {
  compose <<'END'
services: { a: { image: tiny } }
END
  ok stead up -d
  local pid
  pid=$(inspect "$(container a)" .State.Pid)
  daemon_stop
  kill -0 "$pid"
  daemon_start
  is "$(inspect "$(container a)" .State.Pid)" "$pid"
}

@test "an orderly end without containers leaves nothing mounted" {
  mounted() { grep -F " $SANDBOX/run/" /proc/self/mountinfo; }
  compose <<'END'
services: { a: { image: tiny } }
END
  ok stead up -d
  mounted
  daemon_stop
  mounted # the container needs it
  daemon_start
  ok stead down -t 0
  daemon_stop
  not mounted
  daemon_start
  ok stead up -d
}

@test "an orderly end is quick, whoever still runs" {
  compose <<'END'
services: { a: { image: tiny, healthcheck: { test: sleep 100, interval: 100ms, timeout: 100s } } }
END
  daemon_stop
  leftovers --all | awk -F'\t' '$3 ~ /^stead-names/ { print $2 }' | xargs -r kill # a child of the next daemon then
  daemon_start
  ok stead up -d
  inside a sleep 100 3>&- &
  within 20 has_status running a
  sleep 0.5
  kill -TERM "$(daemon_pid)"
  within 30 daemon_gone
  daemon_start
  has_status running a
}

@test "a second daemon on the same state is refused" {
  run timeout 60 "$STEAD_EXE" daemon --name "${NAME}x" --state-dir "$SANDBOX/state" --run-dir "$SANDBOX/run2"
  [ "$status" -eq 2 ]
  says "$SANDBOX/state"
  daemon_alive
  ok stead ls
}

@test "a conmon that is killed takes its container along, and the policy brings it back" {
  compose <<'END'
services:
  a: { image: tiny, restart: always }
END
  ok stead up -d
  local pid monitor
  pid=$(inspect "$(container a)" .State.Pid)
  monitor=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status")
  [[ $(readlink "/proc/$monitor/exe") == *conmon* ]]
  kill -KILL "$monitor"
  other_pid() { [ "$(inspect "$(container a)" .State.Pid)" != "$pid" ] && has_status running a; }
  within 20 other_pid
  [ ! -e "/proc/$pid/exe" ]
}

@test "a database that is damaged is reported, not overwritten" {
  daemon_stop
  cp -a "$SANDBOX/state/state.db" "$SANDBOX/keep.db"
  printf 'this is no database, and long enough to be one by its size' | dd of="$SANDBOX/state/state.db" conv=notrunc status=none
  cp -a "$SANDBOX/state/state.db" "$SANDBOX/damaged.db"
  rm -f "$SANDBOX/state/state.db-wal" "$SANDBOX/state/state.db-shm"
  run timeout 60 "$STEAD_EXE" daemon --name "$NAME" --state-dir "$SANDBOX/state" --run-dir "$SANDBOX/run"
  local code=$status text=$output
  cmp "$SANDBOX/state/state.db" "$SANDBOX/damaged.db"
  cp -a "$SANDBOX/keep.db" "$SANDBOX/state/state.db"
  daemon_start
  [ "$code" -ne 0 ]
  [ "$code" -ne 124 ]
  [[ $text == *state.db* ]]
}
