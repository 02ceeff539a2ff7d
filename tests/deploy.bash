# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the tests of deploys share: a daemon whose edge listens on a port of its own, a stack of the web service that misbehaves when
# it is asked to (bench/server.c), and a load on it that counts what fails (bench/load).
#
#   web VERSION [KEY=VALUE…]    compose.yaml of service web, two replicas behind the host $PROJECT.test; environment as given.
#                               RULES, MORE: further lines of x-stead.deploy, of the service
#   visit                       the version that answers
#   load_begin / load_end       a load in the background; no request of it may have failed
#   deploy_begin / deploy_says TEXT / deploy_ends CODE   a deploy in the background; deploy.log has what it says
#   fault_begins N              now, in the containers of release N, which is being deployed
#   release N FILTER            a jq filter over a release

LOAD=$(cd "$STEAD_BUILD" && pwd)/bench/load

edge_port() { echo $((PORTS + 90)); }

setup_file() {
  sandbox_destroy "$SANDBOX"
  sandbox_new "$SANDBOX"
  edge_daemon && tiny_image
}

edge_daemon() {
  . "$SANDBOX/env"
  daemon_start --edge-http "127.0.0.1:$(edge_port)" --edge-https off
}

web() { # VERSION [KEY=VALUE…]
  local version=$1 pair
  shift
  {
    cat <<END
services:
  web:
    image: tiny
    command: [server]
    expose: ["8080"]
    scale: ${SCALE:-2}
    restart: always
    stop_grace_period: 10s
    environment:
      VERSION: "$version"
END
    for pair in "$@"; do
      echo "      ${pair%%=*}: \"${pair#*=}\""
    done
    [[ -z ${MORE:-} ]] || printf '%s\n' "$MORE"
    cat <<END
    x-stead:
      routes: [ { host: $PROJECT.test, tls: off } ]
      deploy:
        bake: 0s
        health_timeout: 20s
        drain: 5s
END
    [[ -z ${RULES:-} ]] || printf '%s\n' "$RULES"
  } | compose
}

ask() { # PATH [CURL OPTION…]
  local path=$1
  shift
  fetch -H "Host: $PROJECT.test" "$@" "http://127.0.0.1:$(edge_port)$path"
}

visit() { ask / -D - | tr -d '\r' | sed -n 's/^x-version: //Ip'; }
visits() { [[ $(visit) == "$1" ]]; }

load_begin() { # [OPTION…]: returns when it has run for a second
  "$LOAD" -v --host "$PROJECT.test" --timeout 30s "$@" "http://127.0.0.1:$(edge_port)" >report.json 2>load.log </dev/null 3>&- 4>&- &
  echo $! >load.pid
  disown $!
  within 60 grep -q " requests " load.log
}

load_over() { ! sandbox_alive "$(cat load.pid)"; }

load_end() {
  kill -TERM "$(cat load.pid)"
  within 60 load_over
  [[ $(jq .requests report.json) -gt 100 ]] || { echo "hardly any load:"; cat report.json load.log; return 1; }
  is "$(jq -c '[.failures | to_entries[] | select(.value > 0)]' report.json)" "[]"
}

deploy_begin() {
  rm -f deploy.log
  "$STEAD_EXE" -H "unix://$SOCK" deploy >deploy.log 2>&1 </dev/null 3>&- 4>&- &
  deploying=$!
}
deploy_says() { grep -qF -- "$1" deploy.log; }
deploy_ends() { # CODE; what it has said is in $output
  local code=0
  wait "$deploying" || code=$?
  output=$(cat deploy.log)
  [[ $code -eq $1 ]] || { printf '%s\n' "exit code $code, not $1" "$output"; return 1; }
}

# A fault waits until then with FAULT_AFTER=$NEVER.
NEVER=3600000
fault_begins() { # RELEASE
  local name pids=()
  for name in $(containers); do
    [[ $name != *-r$1 ]] || pids+=("$(inspect "$name" .State.Pid)")
  done
  kill -USR1 "${pids[@]}"
}

release() { # NUMBER FILTER
  api GET "/stead/v1/stacks/$PROJECT/releases/$1" | jq -r "$2"
}

release_begun() { # NUMBER
  [[ $(api GET "/stead/v1/stacks/$PROJECT/releases/$1" -o /dev/null -w '%{http_code}') == 200 ]]
}

# Nothing of the new one is there, all of the old one is.
whole() { # VERSION NAMES
  is "$(containers)" "$2"
  local name
  for name in $2; do
    is "$(inspect "$name" '.Config.Env[] | select(startswith("VERSION=")) | ltrimstr("VERSION=")')" "$1"
    is "$(inspect "$name" .State.Status)" running
  done
  visits "$1"
}
