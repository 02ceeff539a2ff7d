#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Routes: requests from outside through the edge to services.

load helpers

daemon_argv() {
  printf '%s\n' "$STEAD_EXE" daemon --name "$NAME" --state-dir "$SANDBOX/state" --run-dir "$SANDBOX/run" \
    --edge-http "127.0.0.1:$((PORTS + 90))" --edge-https off
}

# A request for a host: get HOST PATH [CURL-OPTION…]; its body is printed.
get() {
  local host=$1 path=$2
  shift 2
  curl -sS --max-time 60 -H "Host: $host" "$@" "http://127.0.0.1:$((PORTS + 90))$path"
}
code() { get "$@" -o "$SANDBOX/body" -w '%{http_code}'; }
header() { # NAME HOST PATH…
  local name=$1
  shift
  get "$@" -D - -o "$SANDBOX/body" | tr -d '\r' | sed -nE "s/^$name: //Ip"
}
# What the service saw of a header.
seen() { # NAME HOST [CURL-OPTION…]
  local name=$1 host=$2
  shift 2
  get "$host" /headers "$@" | tr -d '\r' | sed -nE "s/^$name: //Ip"
}
haproxy_pid() { pgrep -n -f -- "-f $SANDBOX/run/edge/haproxy.cfg"; }
served_by() { get "$1" "$2" | sed -nE 's/^version ([^,]*),.*/\1/p'; }
is_served_by() { [[ $(served_by "$1" "$2") == "$3" ]]; }
has_code() { [[ $(code "$2" "$3") == "$1" ]]; }

@test "a request goes to the host and the longest path that fit" {
  compose <<'END'
x-web: &web { image: tiny, command: [server], expose: [8080] }
services:
  exact: { <<: *web, environment: { VERSION: exact }, x-stead: { route: app.test } }
  api:
    <<: *web
    environment: { VERSION: api }
    x-stead: { routes: [{ host: app.test, path: /api }, { host: other.test }] }
  deep: { <<: *web, environment: { VERSION: deep }, x-stead: { route: app.test/api/v2 } }
  wild: { <<: *web, environment: { VERSION: wild }, x-stead: { route: "*.app.test" } }
  any: { <<: *web, environment: { VERSION: any }, x-stead: { routes: [{ path: /any }] } }
END
  ok stead up -d
  is "$(header X-Version app.test /)" exact
  is "$(header X-Version APP.Test:80 /x)" exact
  is "$(header X-Version app.test. /x)" exact
  is "$(header X-Version app.test /api)" api
  is "$(header X-Version app.test /api/x?q=/api/v2)" api
  is "$(header X-Version app.test /apix)" exact
  is "$(header X-Version app.test /api/v2)" deep
  is "$(header X-Version app.test /api/v22)" api
  is "$(header X-Version app.test /x/../api --path-as-is)$(header X-Version app.test /%61pi)" exactexact
  is "$(header X-Version other.test /)" api
  is "$(header X-Version a.app.test /)" wild
  is "$(code b.a.app.test /)" 404
  is "$(header X-Version b.a.app.test /any/x)" any
  is "$(code nobody.test /)" 404
}

@test "the service sees who asked, and what clients say of it is not believed" {
  compose <<'END'
services:
  web: { image: tiny, command: [server], expose: [8080], x-stead: { route: app.test } }
END
  ok stead up -d
  is "$(seen X-Forwarded-For app.test)" 127.0.0.1
  is "$(seen X-Real-IP app.test)" 127.0.0.1
  is "$(seen X-Forwarded-Proto app.test)" http
  is "$(seen X-Forwarded-Host app.test)" app.test
  is "$(seen Host App.test:8080)" App.test:8080
  local spoofed=(-H 'X-Forwarded-For: 6.6.6.6' -H 'X-Forwarded-Proto: https' -H 'X-Real-IP: 6.6.6.6' -H 'X-Forwarded-Host: evil'
    -H 'Forwarded: for=6.6.6.6' -H 'X_Forwarded_For: 6.6.6.6' -H 'X-Forwarded-Port: 1')
  is "$(seen X-Forwarded-For app.test "${spoofed[@]}")" 127.0.0.1
  not grep -q -e 6.6.6.6 -e evil -e X-Forwarded-Port <<<"$(get app.test /headers "${spoofed[@]}")"
}

@test "limits of a route: size, time and rate" {
  compose <<'END'
services:
  web:
    image: tiny
    command: [server]
    expose: [8080]
    x-stead:
      routes:
        - { host: size.test, max_body: 1000 }
        - { host: time.test, timeout: 20s }
        - { host: rate.test, rate: 3/m }
END
  ok stead up -d
  head -c 1000 /dev/zero >fits
  head -c 1001 /dev/zero >long
  head -c 3000000 /dev/zero >longer
  is "$(code size.test /echo --data-binary @fits)" 200
  is "$(code size.test /echo --data-binary @long)" 413
  is "$(code size.test /echo --data-binary @fits -H Transfer-Encoding:chunked)" 200
  is "$(stat -c %s "$SANDBOX/body")" 1000
  is "$(code size.test /echo --data-binary @long -H Transfer-Encoding:chunked)" 413
  is "$(code size.test /echo --data-binary @longer -H Transfer-Encoding:chunked)" 413
  is "$(code time.test '/data?ms=0')" 200
  is "$(code time.test /echo --data-binary @longer)" 200 # no limit here
  is "$(code rate.test /)$(code rate.test /)$(code rate.test /)" 200200200
  is "$(code rate.test /)" 429
  is "$(header Retry-After rate.test /)" 20
  is "$(code size.test /)" 200 # each route counts for itself
}

@test "a service that does not answer in time: 504" {
  compose <<'END'
services:
  web:
    image: tiny
    command: sh -c 'while :; do nc -l -p 8080 -e sleep 30; done'
    expose: [8080]
    x-stead: { routes: [{ host: slow.test, timeout: 1s }] }
END
  ok stead up -d
  is "$(code slow.test /)" 504
}

@test "pages for what cannot be served, in HTML for browsers only" {
  compose <<'END'
services:
  web:
    image: tiny
    command: [server]
    expose: [8080]
    x-stead: { route: app.test }
    healthcheck: { test: [CMD, test, -e, /tmp/ready], interval: 200ms, retries: 1000 }
END
  ok stead up -d
  is "$(code app.test /)" 503
  grep -q "^Starting: " "$SANDBOX/body"
  is "$(header Retry-After app.test /)" 3
  is "$(header Content-Type app.test / -H 'Accept: text/html,*/*')" "text/html; charset=utf-8"
  grep -q "<h1>Starting</h1>" "$SANDBOX/body"
  ok inside web touch /tmp/ready
  within 20 has_code 200 app.test /
  is "$(code unknown.test /)" 404
  is "$(header Content-Type unknown.test /)" "text/plain; charset=utf-8"
  is "$(header Content-Type unknown.test / -H 'Accept: text/html')" "text/html; charset=utf-8"
}

@test "replicas that are unhealthy or dead get no requests" {
  compose <<'END'
services:
  web:
    image: tiny
    command: [server]
    expose: [8080]
    deploy: { replicas: 3 }
    x-stead: { route: app.test }
    healthcheck: { test: [CMD, test, "!", -e, /tmp/bad], interval: 200ms, retries: 1 }
END
  ok stead up -d --wait
  hosts() { for _ in $(seq 12); do header X-Host app.test /; done | sort -u; }
  host_count() { [[ $(hosts | wc -l) -eq $1 ]]; }
  within 20 host_count 3
  ok stead exec -T --index 2 web touch /tmp/bad
  within 20 host_count 2
  ok stead exec -T --index 2 web rm /tmp/bad
  within 20 host_count 3
  ok stead kill web
  within 20 has_code 503 app.test /
}

@test "maintenance, of one service and of all" {
  compose <<'END'
services:
  web: { image: tiny, command: [server], expose: [8080], x-stead: { route: web.test } }
  api: { image: tiny, command: [server], expose: [8080], x-stead: { route: api.test } }
  db: { image: tiny }
END
  ok stead up -d
  ok stead maintenance on api
  is "$(code web.test /)" 200
  is "$(code api.test /)" 503
  grep -q maintenance "$SANDBOX/body"
  ok stead maintenance on
  is "$(code web.test /)" 503
  ok stead maintenance off web
  is "$(code web.test /)$(code api.test /)" 200503
  daemon_kill
  daemon_start
  is "$(code web.test /)$(code api.test /)" 200503
  ok stead up -d
  is "$(code api.test /)" 503
  ok stead maintenance off
  is "$(code web.test /)$(code api.test /)" 200200
  fails 1 stead maintenance on db
  says "has no route"
  fails 1 stead maintenance on nothing
}

@test "text is compressed for those who ask" {
  compose <<'END'
services:
  web: { image: tiny, command: [server], expose: [8080], x-stead: { route: app.test } }
END
  ok stead up -d
  is "$(header Content-Encoding app.test '/data?size=20000&header=Content-Type:text/html' -H 'Accept-Encoding: gzip')" gzip
  [ "$(stat -c %s "$SANDBOX/body")" -lt 10000 ]
  is "$(gzip -dc "$SANDBOX/body" | wc -c)" 20000
  is "$(header Content-Encoding app.test '/data?size=20000&header=Content-Type:text/html')" ""
}

# A text frame, masked with zeros, and its echo.
ws_open() { # HOST
  exec {ws}<>"/dev/tcp/127.0.0.1/$((PORTS + 90))"
  printf 'GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n' "$1" >&"$ws"
  local line
  read -r -t 30 line <&"$ws"
  [[ $line == *101* ]] || { echo "$line"; return 1; }
  while read -r -t 30 line <&"$ws" && [[ $line != $'\r' ]]; do :; done
}
ws_echo() {
  printf '\x81\x82\0\0\0\0hi' >&"$ws"
  is "$(timeout 30 head -c 4 <&"$ws" | od -An -tx1)" " 81 02 68 69"
}

@test "a WebSocket lives through changes of other services and the daemon's end" {
  compose <<'END'
services:
  web: { image: tiny, command: [server], expose: [8080], x-stead: { route: app.test } }
  api: { image: tiny, command: [server], expose: [8080], x-stead: { route: api.test } }
END
  ok stead up -d
  ws_open app.test
  ws_echo
  ok stead up -d --scale api=3
  ok stead up -d --force-recreate --no-deps api
  ok stead stop api
  ws_echo
  daemon_kill
  ws_echo
  daemon_start
  ok stead up -d
  ws_echo
  exec {ws}>&-
}

@test "HAProxy is killed: it is back with the same state, and requests wait" {
  compose <<'END'
services:
  web: { image: tiny, command: [server], expose: [8080], deploy: { replicas: 2 }, x-stead: { routes: [{ host: app.test }, { host: m.test, rate: 100000/s }] } }
END
  ok stead up -d
  local pid
  for _ in 1 2 3; do
    pid=$(haproxy_pid)
    kill -KILL "$pid"
    is "$(code app.test /)" 200
    is "$(code m.test /)" 200
    is "$(code x.test /)" 404
    [ "$(haproxy_pid)" != "$pid" ]
  done
}

@test "the daemon is killed: the edge serves on, and the next daemon takes it over" {
  compose <<'END'
services:
  web: { image: tiny, command: [server], expose: [8080], environment: { VERSION: "${V:-1}" }, x-stead: { route: app.test } }
END
  ok stead up -d
  local pid
  pid=$(haproxy_pid)
  daemon_kill
  is "$(header X-Version app.test /)" 1
  daemon_start
  is "$(header X-Version app.test /)" 1
  is "$(haproxy_pid)" "$pid"
  V=2 ok stead up -d
  is "$(header X-Version app.test /)" 2
  is "$(haproxy_pid)" "$pid"
  # Requests of the time without a daemon are in the log, too.
  logged_requests() { [[ $(jq -r 'select(.host == "app.test") | .status' "$SANDBOX/state/edge/access.log" | grep -c 200) -ge 3 ]]; }
  within 20 logged_requests
}

@test "the list of routes, and the access log" {
  compose <<'END'
services:
  web: { image: tiny, command: [server], expose: [8080], deploy: { replicas: 2 }, x-stead: { routes: [{ host: app.test, path: /x }] } }
END
  ok stead up -d
  for _ in 1 2 3; do get app.test "/x" >"$SANDBOX/body"; done
  get app.test '/x/data?status=500' >"$SANDBOX/body"
  counted() { [[ $(api GET /stead/v1/routes | jq '.[0].requests') -ge 4 ]]; }
  within 20 counted
  api GET /stead/v1/routes >routes.json
  is "$(jq -r '.[0] | "\(.host) \(.path) \(.stack)/\(.service):\(.port) \(.replicas | length) \(.replicas[0].state)"' routes.json)" \
    "app.test /x $PROJECT/web:8080 2 up"
  ok stead routes
  says app.test
  recorded() { [[ $(jq -r 'select(.backend == "'"$PROJECT"'/web:8080") | .method' "$SANDBOX/state/edge/access.log" | sort | uniq -c | tr -s ' ') == " 4 GET" ]]; }
  within 20 recorded
}

@test "what cannot be is refused before anything changes" {
  compose <<'END'
services:
  web:
    image: tiny
    command: [server]
    expose: [8080, 9090]
    x-stead:
      route: app.test
END
  fails 2 stead up -d
  says "exposes several ports (8080, 9090)"
  says "compose.yaml:7"
  sed -i '/expose/d' compose.yaml
  fails 2 stead up -d
  says "exposes a port"
  is "$(api GET /v1.41/containers/json?all=1 | jq length)" 0
  not haproxy_pid
  mkdir -p other
  compose other/compose.yaml <<'END'
services:
  blog: { image: tiny, command: [server], expose: [8080], x-stead: { route: app.test } }
END
  ok stead -f other/compose.yaml -p "${PROJECT}other" up -d
  compose <<'END'
services:
  web: { image: tiny, command: [server], expose: [8080], x-stead: { routes: [{ host: ok.test }, { host: app.test }] } }
END
  fails 2 stead up -d
  says "app.test/ leads to service 'blog' of stack '${PROJECT}other' already"
  is "$(code app.test /)" 200
  is "$(code ok.test /)" 404
  ok stead -p "${PROJECT}other" down -t 0
}

@test "a port that somebody else holds is named, with who it is" {
  nc -l 127.0.0.1 "$((PORTS + 90))" 3>&- &
  local holder=$!
  held() { grep -q "$(printf ':%04X 00000000:0000 0A' "$((PORTS + 90))")" /proc/net/tcp; }
  within 20 held
  compose <<'END'
services:
  web: { image: tiny, command: [server], expose: [8080], x-stead: { route: app.test } }
END
  fails 2 stead up -d
  says "port $((PORTS + 90)) is held by"
  says "(pid $holder)"
  says "--edge-http"
  kill "$holder"
  free() { ! held; }
  within 20 free
  ok stead up -d
  is "$(code app.test /)" 200
}

@test "the edge's own port cannot be published beside routes" {
  local port=$((PORTS + 90))
  compose <<END
services:
  web: { image: tiny, command: [server], expose: [8080], ports: ["$port:8080"], x-stead: { routes: [{ host: app.test, port: 8080 }] } }
END
  fails 2 stead up -d
  says "compose.yaml:2: services.web.ports[0]: port $port is where routes are served"
  says "--edge-http"
  # On another address it can; then routes of another stack are in the way of all addresses.
  compose <<END
services:
  web: { image: tiny, command: [server], expose: [8080], ports: ["127.0.0.2:$port:8080"], x-stead: { routes: [{ host: app.test, port: 8080 }] } }
END
  ok stead up -d
  is "$(code app.test /)" 200
  is "$(curl -sS -o /dev/null -w '%{http_code}' "http://127.0.0.2:$port/")" 200
  compose other.yaml <<END
services:
  web: { image: tiny, command: [server], ports: ["$port:8080"] }
END
  fails 2 stead -f other.yaml -p "${PROJECT}b" up -d
  says "port $port is where routes are served"
}

@test "without routes there is no HAProxy and the port is free" {
  compose <<'END'
services:
  web: { image: tiny, command: [server], expose: [8080], x-stead: { route: app.test } }
END
  not haproxy_pid
  ok stead up -d
  haproxy_pid
  ok stead down
  gone() { ! haproxy_pid; }
  within 20 gone
  not code app.test / 2>"$SANDBOX/curl.err"
}

@test "what is left over: HAProxy belongs to routes, not to a daemon" {
  compose <<'END'
services:
  web: { image: tiny, command: [server], expose: [8080], x-stead: { route: app.test } }
END
  ok stead up -d
  daemon_kill
  ok leftovers
  sqlite3 "$SANDBOX/state/state.db" "UPDATE stacks SET down = 1"
  fails 1 "$SANDBOX_TOOLS/leftovers" --wait 0 --name "$NAME" --state-dir "$SANDBOX/state" --run-dir "$SANDBOX/run"
  says "haproxy, but no route"
  sqlite3 "$SANDBOX/state/state.db" "UPDATE stacks SET down = 0"
  daemon_start
}
