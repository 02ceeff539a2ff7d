#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What clients see while something changes: mixed load runs (bench/load), and not a request may fail.

load helpers

LOAD=$(cd "$STEAD_BUILD" && pwd)/bench/load

edge_start() { daemon_start --edge-http "127.0.0.1:$(port 90)" --edge-https "127.0.0.1:$(port 91)"; }

setup_file() {
  sandbox_destroy "$SANDBOX"
  sandbox_new "$SANDBOX"
  . "$SANDBOX/env"
  edge_start && tiny_image
}

web() { # VERSION [NAME=VALUE…]: a compose file with two replicas of the test service
  local version=$1 environment=''
  shift
  [[ $# -eq 0 ]] || environment=$(printf ', %s' "${@/=/: }")
  compose <<END
services:
  web:
    image: tiny
    command: [server]
    expose: [8080]
    environment: { VERSION: "$version"$environment }
    healthcheck: { test: [CMD, wget, -qO, /dev/null, "http://127.0.0.1:8080/health"], interval: 1s }
    deploy: { replicas: 2 }
    x-stead:
      routes: [{ host: a.test, tls: off }]
      deploy: { bake: 1s, drain: 10s, health_timeout: 60s, smoke: [{ get: /data, status: 200 }] }
END
}

# Load until load_stop; the rates leave the machine to what is tested.
load_start() {
  "$LOAD" -v --host a.test --timeout 30s --kind get=4@100 --kind post=4@100 --kind conn=2@50 --kind slow=4 --kind idle=8 --kind ws=4 \
    "http://127.0.0.1:$(port 90)" >report.json 2>load.log 3>&- 4>&- &
  echo $! >load.pid
  within 60 grep -q " requests " load.log # a line each second
}
load_stop() {
  kill -TERM "$(cat load.pid)"
  wait "$(cat load.pid)" || true
  [[ $(reported .requests) -gt 0 ]]
}
reported() { jq -r "$1" report.json; }
nothing_failed() {
  [[ $(reported .failed) -eq 0 ]] || {
    jq . report.json
    return 1
  }
}

@test "the daemon is killed and comes back: no request fails" {
  web 1
  ok stead up -d --wait
  load_start
  local i
  for i in 1 2 3; do
    daemon_kill
    sleep 0.5
    edge_start
    sleep 0.5
  done
  load_stop
  nothing_failed
  # The proxy was taken over each time; a new one in its place would cut the connections of who waits.
  not grep "replaced" "$SANDBOX/log"
}
