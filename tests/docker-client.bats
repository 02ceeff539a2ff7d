#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The real docker client against stead's API.

load helpers

docker_stead() { docker -H "unix://$SOCK" "$@"; }

setup_file() {
  if command -v docker >/dev/null; then
    sandbox_up
  fi
}
teardown_file() {
  local status=0
  if command -v docker >/dev/null; then
    sandbox_down || status=1
    sandbox_destroy "$SANDBOX"
  fi
  return "$status"
}
setup() {
  command -v docker >/dev/null || skip "no docker client here (package docker.io)"
  # Too new a client wants a newer API than stead has.
  export DOCKER_API_VERSION=1.41
  . "$SANDBOX/env"
  PROJECT=t$BATS_TEST_NUMBER
  mkdir -p "$SANDBOX/$PROJECT"
  cd "$SANDBOX/$PROJECT" || return 1
  daemon_alive || daemon_start
  compose <<'END'
services:
  web:
    image: tiny
    command: sh -c 'echo started; echo warning >&2; exec httpd -f -p 80 -h /var/www'
    labels: { org.example.team: blue }
    healthcheck: { test: [CMD, "true"], interval: 200ms }
  once: { image: tiny, command: "sh -c 'exit 3'" }
END
  stead up -d >/dev/null 2>&1
}

@test "version and info" {
  ok docker_stead version
  says "1.41"
  ok docker_stead version --format '{{.Server.Version}} {{.Server.Os}}'
  says "linux"
  ok docker_stead info
  says "Containers: 2"
  says "Images: 1"
}

@test "ps, with filters and formats" {
  within 20 has_status exited once
  ok docker_stead ps
  says "$PROJECT-web-1"
  says "tiny"
  says_not "$PROJECT-once-1"
  ok docker_stead ps -a --format '{{.Names}} {{.Status}}'
  says "$PROJECT-once-1 Exited (3)"
  ok docker_stead ps -q --filter label=org.example.team=blue
  is "$output" "$(id_of web | cut -c1-12)"
  ok docker_stead ps -aq --filter status=exited
  is "$output" "$(id_of once | cut -c1-12)"
  ok docker_stead ps -q --filter name=web --no-trunc
  is "$output" "$(id_of web)"
  within 20 has_health healthy web
  ok docker_stead ps --filter health=healthy --format '{{.Status}}'
  says "(healthy)"
}

@test "inspect" {
  ok docker_stead inspect --format '{{.State.Status}} {{.Config.Image}} {{.Name}}' "$PROJECT-web-1"
  is "$output" "running tiny /$PROJECT-web-1"
  ok docker_stead inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$PROJECT-web-1"
  [[ $output =~ ^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$ ]]
  ok docker_stead inspect tiny --format '{{.Os}}'
  is "$output" linux
  ok docker_stead inspect "$(id_of web | cut -c1-8)" --format '{{.Id}}'
  is "$output" "$(id_of web)"
  fails 1 docker_stead inspect no-such-thing
  says "no-such-thing"
}

@test "logs: both streams, tail, timestamps, follow" {
  within 20 has_status exited once
  within 20 bash -c "docker -H unix://$SOCK logs $PROJECT-web-1 2>&1 | grep -q warning"
  docker_stead logs "$PROJECT-web-1" >out 2>err
  is "$(cat out)" started
  is "$(cat err)" warning
  ok docker_stead logs -n 1 -t "$PROJECT-web-1"
  [[ $output =~ ^20[0-9-]+T ]]
  ok timeout 60 docker -H "unix://$SOCK" logs -f "$PROJECT-once-1"
}

@test "exec: output, exit code, stdin, user" {
  ok docker_stead exec "$PROJECT-web-1" echo hi
  is "$output" hi
  fails 5 docker_stead exec "$PROJECT-web-1" sh -c 'exit 5'
  is "$(echo in | docker_stead exec -i "$PROJECT-web-1" cat)" in
  ok docker_stead exec -u app -w /tmp -e A=b "$PROJECT-web-1" sh -c 'id -u; pwd; echo $A'
  is "$output" "$(printf '1000\n/tmp\nb')"
  ok docker_stead exec -d "$PROJECT-web-1" touch /tmp/there
  within 20 inside web test -e /tmp/there
}

@test "stop, start, restart, kill and rm" {
  ok docker_stead stop -t 1 "$PROJECT-web-1"
  has_status exited web
  ok docker_stead start "$PROJECT-web-1"
  has_status running web
  ok docker_stead restart -t 0 "$PROJECT-web-1"
  has_status running web
  ok docker_stead kill "$PROJECT-web-1"
  within 20 has_status exited web
  ok docker_stead rm "$PROJECT-web-1"
  is "$(containers)" "$PROJECT-once-1"
  fails 1 docker_stead rm no-such-container
  ok docker_stead rm -f "$PROJECT-once-1"
  is "$(containers)" ""
}

@test "rm of a running container needs -f" {
  fails 1 docker_stead rm "$PROJECT-web-1"
  says "running"
  ok docker_stead rm -f "$PROJECT-web-1"
}

@test "images, network ls and volume ls" {
  ok docker_stead images
  says "tiny"
  ok docker_stead images -q tiny
  [ -n "$output" ]
  ok docker_stead network ls
  says "${PROJECT}_default"
  ok docker_stead volume ls
}

@test "wait gives the exit code" {
  ok docker_stead wait "$PROJECT-once-1"
  is "$output" 3
}

@test "events" {
  # What has happened already comes first: from then on nothing is missed.
  timeout 60 docker -H "unix://$SOCK" events --since 1h --filter "container=$PROJECT-web-1" --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}' >events.txt 2>&1 3>&- &
  local pid=$!
  within 20 grep -q "container start $PROJECT-web-1" events.txt
  not grep -q "container die $PROJECT-web-1" events.txt
  ok stead restart -t 0 web
  within 20 grep -q "container die $PROJECT-web-1" events.txt
  started_twice() { [ "$(grep -c "container start $PROJECT-web-1" events.txt)" -eq 2 ]; }
  within 20 started_twice
  kill "$pid" || true
  wait "$pid" || true
}
