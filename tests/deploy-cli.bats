#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What `stead deploy` and its relatives say, and with which exit code they end: 0 done, 1 failed (and what was there
# serves on), 2 refused before anything was changed, 130 called off.

load helpers

# A service whose version, and what is wrong with it, the test chooses.
versioned() { # VERSION [FAULT]
  cat >compose.yaml <<END
services:
  web:
    image: tiny
    command: [server]
    expose: [8080]
    environment: { VERSION: "$1", FAULT: "${2:-}" }
    x-stead:
      deploy: { smoke: [{ get: /data, status: 200 }], bake: 100ms, drain: 1s, health_timeout: 20s }
END
}

# The same service, whose health check never gets an answer that it likes: its deploy waits.
waiting() { # VERSION
  versioned "$1"
  sed -i 's/health_timeout: 20s/health_timeout: 10m/' compose.yaml
  cat >>compose.yaml <<'END'
    healthcheck: { test: [CMD, "false"], interval: 1s, retries: 1000 }
END
}

# The whole answer of a command in the background goes to out.txt, its process id to $background.
begin() {
  "$STEAD_EXE" -H "unix://$SOCK" "$@" >out.txt 2>&1 </dev/null 3>&- &
  background=$!
}
has_said() { grep -qF -- "$1" out.txt; }
ends_with() { # CODE
  local code=0
  wait "$background" || code=$?
  output=$(cat out.txt)
  [[ $code -eq $1 ]] || {
    printf '%s\n' "exit code $code, not $1" "$output"
    return 1
  }
}
release() { stead releases "$1" --json | jq -r "$2"; } # N FILTER
numbers() { stead releases -q | sort -n | xargs; }

@test "a deploy says what it does, and what has changed" {
  versioned 1
  ok stead deploy
  says "web  starting"
  says "release 1: web new in"
  ok stead deploy
  says "release 1: nothing has changed"
  versioned 2
  ok stead deploy web
  says "web  smoke test passed"
  says "web  switched"
  says "release 2: web environment VERSION in"
  says_not "2\""
  is "$(numbers)" "1 2"
}

@test "a plan names each step and does none" {
  versioned 1
  ok stead deploy --plan
  says "SERVICE"
  says "start"
  is "$(containers)" ""
  ok stead deploy
  local before
  before=$(containers)
  ok stead deploy --plan
  says "nothing has changed"
  versioned 2
  ok stead deploy --plan
  says "smoke"
  says "switch"
  says "retire"
  versioned 1
  sed -i 's/drain: 1s/drain: 2s/' compose.yaml
  ok stead deploy --plan
  says "would replace no container"
  is "$(containers)" "$before"
  is "$(numbers)" "1"
}

@test "a plan says what would be built" {
  echo "FROM tiny" >Dockerfile
  compose <<END
services: { web: { build: ., command: [server], expose: [8080], stop_grace_period: 1s } }
END
  ok stead deploy --plan
  says "build $PROJECT-web"
  says "not there yet"
  is "$(stead images -q "$PROJECT-web")" ""
  ok stead deploy
  ok stead deploy --plan
  says "if that makes another image"
  ok stead deploy --plan --no-build
  says "nothing has changed"
  ok stead down -t 0 --rmi local
}

@test "a failure tells step, exit code, log, and what serves on" {
  versioned 1
  ok stead deploy
  local before
  before=$(containers)
  versioned 2 crash
  fails 1 stead deploy
  says "release 2"
  says "exit code 1"
  says "Release 1 serves on"
  says "stead releases 2"
  is "$(containers)" "$before"
  has_status running web
  is "$(release 2 .result)" failed
  is "$(release 2 .report.exit_code)" 1
  ok stead releases 2
  says "Release 2 of $PROJECT: failed"
  says "environment FAULT, VERSION"
  says "Time line:"
  says_not "crash\"" # a value
}

@test "a smoke test that fails is named with what was answered" {
  versioned 1
  ok stead deploy
  versioned 2 smoke
  fails 1 stead deploy
  says "GET /data answered 500, not 200: something is broken. "
  is "$(release 2 .report.step)" smoke
}

@test "a health check that fails is quoted" {
  versioned 1
  ok stead deploy
  versioned 2
  sed -i 's/health_timeout: 20s/health_timeout: 8s/' compose.yaml
  cat >>compose.yaml <<'END'
    healthcheck: { test: [CMD-SHELL, "echo the queue is full; exit 1"], interval: 1s, retries: 1000 }
END
  fails 1 stead deploy
  says "step health"
  says "Its health check said:"
  says "  the queue is full"
  ok stead releases 2
  says "failed step: health of web"
  says "  the queue is full"
  [[ $(release 2 '.report.health | join(" ")') == *"the queue is full"* ]]
}

@test "a rollback brings a release back" {
  versioned 1
  ok stead deploy
  versioned 2
  ok stead deploy
  rm compose.yaml
  ok stead -p "$PROJECT" rollback
  says "back to release 1"
  is "$(inspect "$(containers)" '.Config.Env[] | select(startswith("VERSION"))')" VERSION=1
  ok stead -p "$PROJECT" rollback --to 2
  says "release 4: back to release 2"
  is "$(inspect "$(containers)" '.Config.Env[] | select(startswith("VERSION"))')" VERSION=2
}

@test "releases are listed, of a stack, of a service, and one in full" {
  versioned 1
  ok stead deploy
  versioned 2
  STEAD_COMMIT=abc123 STEAD_AUTHOR="Ada L." ok stead deploy
  ok stead releases
  says "WHAT CHANGED"
  says "web environment VERSION"
  says "2 *"
  ok stead releases web -q
  is "$output" "1
2"
  fails 1 stead releases wbe
  says "did you mean 'web'?"
  fails 1 stead -p never-heard-of releases
  says "never-heard-of"
  ok stead releases 2
  says "commit abc123 by Ada L."
  is "$(release 2 .current)" true
  is "$(release 1 .current)" false
  fails 1 stead releases 99
  says "no release 99"
}

@test "machine-readable: the lines of the daemon, the last one says how it ended" {
  versioned 1
  "$STEAD_EXE" -H "unix://$SOCK" --json deploy >out.txt 2>err.txt
  is "$(tail -n 1 out.txt | jq -c '[.result, .release]')" '["done",1]'
  is "$(jq -r 'select(.kind == "deploy") | .step' out.txt | grep -cx start)" 2
  is "$(cat err.txt)" ""
  versioned 2 crash
  "$STEAD_EXE" -H "unix://$SOCK" --json deploy >out.txt 2>err.txt && return 1
  is "$(tail -n 1 out.txt | jq -c '[.code, .release]')" '[1,2]'
}

@test "on a terminal, a table with one row a service" {
  versioned 1
  mkdir gate
  cat >>compose.yaml <<'END'
    volumes: ["./gate:/gate:ro"]
    healthcheck: { test: [CMD, test, -e, /gate/open], interval: 1s, retries: 1000 }
END
  TERM=xterm LC_ALL=C.UTF-8 script -qfec "'$STEAD_EXE' -H 'unix://$SOCK' deploy" typescript >screen.txt </dev/null 3>&- &
  local background=$!
  # It is drawn again and again while something goes on.
  within 30 grep -qF $'\e[J' screen.txt
  touch gate/open
  wait "$background"
  output=$(cat screen.txt)
  says "✔"
  says "deployed"
  says "release 1: web new in"
  says_not "$PROJECT-web-1"
}

@test "the commands of a hook are heard" {
  versioned 1
  sed -i 's/deploy: {/deploy: { pre_deploy: "sh -c \\"echo migrating; exit 4\\"",/' compose.yaml
  fails 1 stead deploy
  says "web  pre_deploy | migrating"
  says "ended with 4"
  sed -i 's/exit 4/exit 0/' compose.yaml
  ok stead deploy
  says "web  pre_deploy done"
}

@test "the daemon dies: the client says what becomes of the deploy" {
  versioned 1
  ok stead deploy
  local before
  before=$(containers)
  waiting 2
  begin deploy
  within 30 has_said "waiting for health"
  daemon_kill
  ends_with 1
  says "What was there serves on, or is put back when the daemon starts."
  says "stead releases 2"
  daemon_start
  within 60 eval '[[ $(release 2 .result) == interrupted ]]'
  within 60 eval '[[ $(containers) == "'"$before"'" ]]'
  has_status running web
}

@test "Ctrl-C calls a deploy off and waits until the old release is as it was" {
  versioned 1
  ok stead deploy
  local before
  before=$(containers)
  waiting 2
  begin deploy
  within 30 has_said "waiting for health"
  kill -INT "$background"
  ends_with 130
  says "calling release 2 off"
  is "$(containers)" "$before"
  has_status running web
  says "Release 1 serves on"
  [[ $(release 2 .report.text) == *"called off"* ]]
  is "$(release 1 .current)" true
}

@test "a second deploy waits, or says who holds the stack" {
  versioned 1
  ok stead deploy
  waiting 2
  begin deploy
  within 30 has_said "waiting for health"
  fails 2 stead deploy --no-wait
  says "release 2"
  fails 2 stead rollback --no-wait
  says "release 2"
  kill -INT "$background"
  ends_with 130
}

@test "a deploy that waits for another can be called off before it has begun" {
  versioned 1
  ok stead deploy
  waiting 2
  begin deploy
  within 30 has_said "waiting for health"
  local first=$background
  versioned 3
  "$STEAD_EXE" -H "unix://$SOCK" deploy >second.txt 2>&1 </dev/null 3>&- &
  local second=$! code=0
  within 30 grep -q "waiting" second.txt
  kill -INT "$second"
  wait "$second" || code=$?
  is "$code" 130
  grep -q "before it had begun" second.txt
  kill -INT "$first"
  ends_with 130
  is "$(numbers)" "1 2"
}

# --- bad input: refused before anything changes

refuses() { # TEXT… of a deploy over a running release 1
  local text before
  before=$(containers)
  fails 2 stead deploy
  for text in "$@"; do says "$text"; done
  is "$(containers)" "$before"
  is "$(numbers)" "1"
}

@test "bad input is refused, by file and line, before anything changes" {
  versioned 1
  ok stead deploy
  route() { # YAML of a route
    versioned 2
    sed -i '/x-stead:/,$d' compose.yaml
    printf '    x-stead:\n      routes:\n        - %s\n' "$1" >>compose.yaml
  }
  route '{ host: "a b" }' && refuses "compose.yaml:9" "is no host name"
  route '{ host: "a\nb" }' && refuses "compose.yaml:9" "control character"
  route '{ host: "a{b" }' && refuses "is no host name"
  route '{ host: "a\"b" }' && refuses "is no host name"
  route '{ path: "/a b" }' && refuses "compose.yaml:9" "is no path"
  route '{ path: "/a\nb" }' && refuses "control character"
  route "{ path: '/a\"b' }" && refuses "is no path"
  route '{ path: "/a}b" }' && refuses "is no path"
  route '{ host: a.test }
        - { host: A.test, path: / }' && refuses "compose.yaml:10" "has the route a.test/, too"
  route '{ host: a.test, hots: b }' && refuses "did you mean 'host'?"
  versioned 2
  sed -i 's/smoke: .*/smoke: [{ get: \/, status: 204, contains: x }] }/' compose.yaml
  refuses "can never be found"
  versioned 2
  sed -i 's/image: tiny/image: no-such-image/' compose.yaml
  refuses "compose.yaml:3" "no-such-image"
  versioned 2
  fails 2 stead deploy wbe
  says "did you mean 'web'?"
}

@test "a release that does not exist is refused" {
  versioned 1
  ok stead deploy
  fails 2 stead rollback
  says "no release"
  versioned 2
  ok stead deploy
  fails 2 stead rollback --to 99
  says "no release 99"
  says "the nearest is"
  fails 2 stead rollback --to 2
  says "release 2"
  fails 2 stead -p never-heard-of rollback
  says "never-heard-of"
  has_status running web
  is "$(numbers)" "1 2"
}
