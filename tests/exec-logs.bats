#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# exec and logs.

load helpers

one() {
  compose <<'END'
services:
  a:
    image: tiny
    environment: { FROM: compose }
    working_dir: /srv
END
  ok stead up -d
}

@test "exec: output, exit code, environment, directory, user" {
  one
  is "$(inside a echo 'two  words')" "two  words"
  fails 42 inside a sh -c 'exit 42'
  is "$(inside a sh -c 'echo $FROM $PWD')" "compose /srv"
  ok stead exec -T -e EXTRA=1 -w /tmp -u app a sh -c 'echo $FROM $EXTRA $PWD; id -u'
  is "$output" "$(printf 'compose 1 /tmp\n1000')"
}

@test "exec: stdout and stderr stay apart" {
  one
  stead exec -T a sh -c 'echo out; echo err >&2' >out 2>err </dev/null
  is "$(cat out)" out
  is "$(cat err)" err
}

@test "exec: stdin reaches the process, and its end too" {
  one
  is "$(echo from-stdin | stead exec -i -T a cat)" from-stdin
  head -c 3000000 /dev/urandom >big
  stead exec -i -T a cat <big >back
  cmp big back
}

@test "exec: 127 for a command that is not there, 126 for one that cannot be run" {
  one
  fails 127 inside a no-such-command
  fails 126 inside a /etc/passwd
}

@test "exec: a terminal when asked for one" {
  one
  if command -v script >/dev/null; then
    ok script -qec "'$STEAD_EXE' -H unix://$SOCK exec -it a tty" /dev/null
    says "/dev/"
  else
    skip "no script(1) here"
  fi
}

@test "exec: the second replica, a detached one, a stopped service" {
  compose <<'END'
services: { a: { image: tiny, scale: 2 } }
END
  ok stead up -d
  ok stead exec -T --index 2 a hostname
  is "$output" "$(id_of a 2 | cut -c1-12)"
  ok stead exec -d a touch /tmp/detached
  within 20 inside a test -e /tmp/detached
  ok stead stop -t 0
  fails 1 inside a true
  says "not running"
}

@test "logs: both streams, prefixed by container" {
  compose <<'END'
services:
  a: { image: tiny, command: "sh -c 'echo to stdout; echo to stderr >&2'" }
  b: { image: tiny, command: "echo from b" }
END
  ok stead up -d
  within 20 has_status exited a
  within 20 has_status exited b
  ok stead logs
  says "to stdout"
  says "to stderr"
  says "from b"
  grep -qE '^a-1 +\| to stdout' <<<"$output"
  ok stead logs --no-log-prefix b
  is "$output" "from b"
}

@test "logs: -n, --since, --until, -t" {
  compose <<'END'
services:
  a: { image: tiny, command: "sh -c 'for i in 1 2 3; do echo early $$i; done; sleep 2; echo late; exec sleep 1000'" }
END
  ok stead up -d
  within 20 logged a late
  ok stead logs -n 2 --no-log-prefix a
  is "$output" "$(printf 'early 3\nlate')"
  local early late middle
  early=$(date -d "$(stead logs -t --no-log-prefix a | sed -n 's/ early 3$//p')" +%s%N)
  late=$(date -d "$(stead logs -t --no-log-prefix a | sed -n 's/ late$//p')" +%s%N)
  middle=$(((early + late) / 2))
  middle=${middle:0:-9}.${middle: -9}
  ok stead logs --since "$middle" --no-log-prefix a
  is "$output" "late"
  ok stead logs --until "$middle" --no-log-prefix a
  says "early 3"
  says_not "late"
  ok stead logs --since 1h -t -n 1 a
  says "$(date -u +%Y-)"
}

@test "logs -f: follows, also across a restart, and ends with the container" {
  compose <<'END'
services:
  a: { image: tiny, command: "sh -c 'for i in 1 2 3 4 5; do echo number $$i; sleep 0.2; done'" }
END
  ok stead up -d
  ok timeout 90 "$STEAD_EXE" -H "unix://$SOCK" logs -f --no-log-prefix a
  says "number 1"
  says "number 5"
}

@test "logs: very long lines arrive whole, and no line is lost" {
  compose <<'END'
services:
  long: { image: tiny, command: "sh -c 'head -c 100000 /dev/zero | tr \"\\0\" x; echo; echo end'" }
  many: { image: tiny, command: "seq 1 20000" }
END
  ok stead up -d
  within 20 has_status exited long
  within 20 has_status exited many
  stead logs --no-log-prefix long >long.txt
  is "$(head -n 1 long.txt | tr -d '\n' | wc -c)" 100000
  stead logs --no-log-prefix many >many.txt
  seq 1 20000 | cmp - many.txt
}

# A burst may outgrow max-size until the daemon looks again, but never without bound: conmon itself begins a
# new file at 16 MB.
@test "logs: capped by max-size and max-file, and the last line is there" {
  compose <<'END'
services:
  slow:
    image: tiny
    command: sh -c 'for i in 1 2 3 4 5 6 7 8; do seq 1 3000; sleep 2.2; done; echo last; exec sleep 1000'
    logging: { driver: json-file, options: { max-size: 100k, max-file: "2" } }
  burst:
    image: tiny
    command: sh -c 'seq 1 1000000; exec sleep 1000'
    logging: { driver: json-file, options: { max-size: 100k, max-file: "2" } }
END
  ok stead up -d
  log_size() { du -sk "$SANDBOX/state/containers/$(id_of "$1")/log" | cut -f1; }
  last_line() { [ "$(stead logs -n 1 --no-log-prefix "$1")" = "$2" ]; }
  within 240 last_line burst 1000000
  [ "$(log_size burst)" -lt 40000 ]
  within 120 last_line slow last
  [ "$(log_size slow)" -lt 700 ]
}

@test "logs: driver none keeps nothing" {
  compose <<'END'
services:
  a: { image: tiny, command: "sh -c 'echo quiet; touch /said; exec sleep 1000'", logging: { driver: none } }
END
  ok stead up -d
  within 20 inside a test -e /said
  run stead logs a
  says_not "quiet"
}

@test "events tell what happens" {
  one
  # What has happened already comes first: from then on nothing is missed.
  stead events --since 1h >events.txt 2>&1 </dev/null 3>&- &
  local pid=$!
  within 20 grep -q "start.*$PROJECT-a-1" events.txt
  not grep -q "die.*$PROJECT-a-1" events.txt
  ok stead stop -t 0
  within 20 grep -q "die.*$PROJECT-a-1" events.txt
  kill "$pid"
  wait "$pid" || true
}
