#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What `stead routes` and `stead maintenance` say.

load helpers

setup_file() {
  sandbox_destroy "$SANDBOX"
  sandbox_new "$SANDBOX"
  daemon_start --edge-http "127.0.0.1:$(edge_port)" --edge-https off && tiny_image
}

edge_port() {
  . "$SANDBOX/env"
  port 80
}
ask() { # HOST PATH: the status of the answer
  fetch -o answer.txt -w '%{http_code}' -H "Host: $1" "http://127.0.0.1:$(edge_port)$2"
}
answers() { [[ $(ask "$1" "$2") == "$3" ]]; } # HOST PATH STATUS
route() { stead routes --json | jq -r "select(.host == \"$1\") | $2"; } # HOST FILTER
counted() { [[ $(route "$1" '"\(.requests) \(.errors)"') == "$2" ]]; } # HOST "REQUESTS ERRORS"

# Until then an answer may be an error of its own.
both_listen() { [[ $(stead logs --no-log-prefix web | grep -c "listens on port") -eq 2 ]]; }

two_routes() { # VERSION
  compose <<END
services:
  web:
    image: tiny
    command: [server]
    expose: [8080]
    scale: 2
    environment: { VERSION: "$1" }
    x-stead: { route: $PROJECT.test/data, deploy: { bake: 0s, drain: 1s } }
  slow:
    image: tiny
    command: [server]
    expose: [8080]
    healthcheck: { test: [CMD, "false"], interval: 1s, retries: 1000 }
    x-stead: { route: slow.$PROJECT.test }
END
}

@test "routes, what is behind them, and what came of requests since the last deploy" {
  two_routes 1
  ok stead up -d
  within 30 both_listen
  within 30 answers "$PROJECT.test" /data 200
  answers "$PROJECT.test" "/data?status=500" 500
  answers "$PROJECT.test" "/data?status=404" 404
  within 30 eval '[[ $(route $PROJECT.test .errors) == 1 ]]'
  ok stead routes
  says "HOST"
  says "CERT UNTIL"
  says "$PROJECT.test"
  says "/data"
  says "$PROJECT/web:8080"
  says "2 up"
  says "1 starting"
  is "$(route "$PROJECT.test" '[.replicas[].state] | join(" ")')" "up up"

  two_routes 2
  ok stead deploy web
  within 30 counted "$PROJECT.test" "0 0"
  ok stead stop web
  within 30 eval '[[ $(route $PROJECT.test "[.replicas[].state] | unique | join(\" \")") == down ]]'
  ok stead routes
  says "2 down"
}

@test "the routes of the stack here, or of all" {
  two_routes 1
  ok stead up -d
  ok stead -p other-routes routes
  says_not "$PROJECT.test"
  ok stead routes -A
  says "$PROJECT.test"
  cd /
  ok stead routes
  says "$PROJECT.test"
  cd "$SANDBOX/$PROJECT"
}

@test "maintenance of one service, of all, and of none that is not there" {
  two_routes 1
  ok stead up -d
  within 30 answers "$PROJECT.test" /data 200
  ok stead maintenance on web
  answers "$PROJECT.test" /data 503
  ok stead routes
  says "2 up (maintenance)"
  is "$(route "slow.$PROJECT.test" .maintenance)" false
  ok stead maintenance off
  answers "$PROJECT.test" /data 200
  fails 1 stead maintenance on nobody
  says "nobody"
  fails 2 stead maintenance maybe
  fails 2 stead maintenance
  fails 1 stead -p never-heard-of maintenance on
  says "never-heard-of"
}

@test "two stacks cannot have one route" {
  two_routes 1
  ok stead up -d
  fails 2 stead -p second up -d
  says "compose.yaml:14: services.slow.x-stead.routes[0]"
  says "stack '$PROJECT'"
  fails 2 stead -p second deploy
  says "compose.yaml:14: services.slow.x-stead.routes[0]"
  says "stack '$PROJECT'"
  ok stead ls -a
  says_not "second"
  is "$(stead -p second releases -q 2>/dev/null)" ""
}
