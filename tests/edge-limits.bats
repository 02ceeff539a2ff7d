#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What the edge bears from clients that are slow, greedy, or do not speak HTTP as they should; and its limits at their borders.

load helpers

daemon_argv() {
  printf '%s\n' "$STEAD_EXE" daemon --name "$NAME" --state-dir "$SANDBOX/state" --run-dir "$SANDBOX/run" \
    --edge-http "127.0.0.1:$((PORTS + 90))" --edge-https off
}

get() { # HOST PATH [CURL-OPTION…]
  local host=$1 path=$2
  shift 2
  curl -sS --max-time 60 -H "Host: $host" "$@" "http://127.0.0.1:$((PORTS + 90))$path"
}
code() { get "$@" -o "$SANDBOX/body" -w '%{http_code}'; }

# What is answered to these bytes (printf's escapes): the status, or "closed" where there is none.
status_of() { # BYTES
  local line='' fd
  # All at once: bash writes each line as it is, and might still do so to a connection that is closed over the first.
  printf "$1" >request
  exec {fd}<>"/dev/tcp/127.0.0.1/$((PORTS + 90))"
  cat request >&$fd
  IFS= read -r -t 30 line <&$fd || [[ -n $line ]] || line='- closed'
  exec {fd}>&-
  cut -d " " -f 2 <<<"${line%$'\r'}"
}
refused() { [[ $1 != 200 && $1 != 404 ]]; }
repeat() { printf "%0$1d" 0; } # N characters

@test "what is not HTTP, or could be read in two ways, does not reach a service" {
  compose <<'END'
services:
  web: { image: tiny, command: [server], expose: [8080], x-stead: { route: app.test } }
END
  ok stead up -d
  local h='Host: app.test\r\n' case want got
  is "$(status_of "GET / HTTP/1.1\r\n$h\r\n")" 200
  while IFS=' ' read -r want case; do
    echo "# $case"
    got=$(status_of "${case//HOST/$h}" 2>/dev/null)
    # A connection that is closed over what nobody has read may lose the answer.
    [[ $want == 400 && ( -z $got || $got == closed ) ]] || is "$got" "$want"
  done <<'END'
400 hello\r\n\r\n
400 GET /a b HTTP/1.1\r\nHOST\r\n
400 GET / HTTP/1.1\r\nHOSTContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd
400 POST /echo HTTP/1.1\r\nHOSTContent-Length: +3\r\n\r\nabc
400 POST /echo HTTP/1.1\r\nHOSTContent-Length: 18446744073709551616\r\n\r\nabc
400 POST /echo HTTP/1.1\r\nHOSTTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n
400 POST /echo HTTP/1.1\r\nHOSTTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n
400 GET / HTTP/1.1\r\nHOSTBad Name: x\r\n\r\n
400 GET / HTTP/1.1\r\nHOSTName : x\r\n\r\n
400 GET / HTTP/1.1\r\nHOSTHost: other.test\r\n\r\n
400 GET http://other.test/ HTTP/1.1\r\nHOST\r\n
200 GET / HTTP/1.0\r\nHOST\r\n
404 GET / HTTP/1.0\r\n\r\n
END
}

@test "a request hidden in the body of another is a body" {
  compose <<'END'
services:
  web: { image: tiny, command: [server], expose: [8080], x-stead: { route: app.test } }
END
  ok stead up -d
  local h='Host: app.test\r\n' hidden='GET /hidden HTTP/1.1\r\nHost: app.test\r\n\r\n' fd answer
  # Both lengths: the chunks count, and nothing is read after them (RFC 9112 6.1).
  {
    printf "POST /echo HTTP/1.1\r\n${h}Content-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    printf "GET /hidden HTTP/1.1\r\n${h}Connection: close\r\n\r\n"
  } >requests
  exec {fd}<>"/dev/tcp/127.0.0.1/$((PORTS + 90))"
  cat requests >&$fd
  answer=$(timeout 30 cat <&$fd)
  exec {fd}>&-
  is "$(grep -c '^HTTP/1.1' <<<"$answer")" 1
  is "$(head -n 1 <<<"${answer//$'\r'/}")" "HTTP/1.1 200 OK"
  # With a length alone all of it is the body.
  is "$(printf "$hidden" | get app.test /echo --data-binary @- | tr -d '\r' | head -n 1)" "GET /hidden HTTP/1.1"
  within 20 eval '[[ $(wc -l <"$SANDBOX/state/edge/access.log") -ge 2 ]]'
  not grep -q hidden "$SANDBOX/state/edge/access.log"
}

@test "lines and headers have an end" {
  compose <<'END'
services:
  web: { image: tiny, command: [server], expose: [8080], x-stead: { route: app.test } }
END
  ok stead up -d
  local h='Host: app.test\r\n' many
  is "$(status_of "GET /$(repeat 8000) HTTP/1.1\r\n$h\r\n")" 404
  is "$(status_of "GET /data HTTP/1.1\r\n${h}X: $(repeat 8000)\r\n\r\n")" 200
  # Who still sends when it is refused may lose the answer.
  refused "$(status_of "GET /$(repeat 40000) HTTP/1.1\r\n$h\r\n" 2>&1)"
  refused "$(status_of "GET /data HTTP/1.1\r\n${h}X: $(repeat 40000)\r\n\r\n" 2>&1)"
  many=$(printf 'X-%s: 1\\r\\n' {1..80})
  is "$(status_of "GET /data HTTP/1.1\r\n$h$many\r\n")" 200
  many=$(printf 'X-%s: 1\\r\\n' {1..200})
  is "$(status_of "GET /data HTTP/1.1\r\n$h$many\r\n")" 400
  is "$(code app.test /data)" 200
  within 20 eval '[[ $(jq -r .status "$SANDBOX/state/edge/access.log" | grep -c 400) -ge 3 ]]'
}

@test "a body's limit is the last byte that fits, however it is sent" {
  compose <<'END'
services:
  web:
    image: tiny
    command: [server]
    expose: [8080]
    x-stead: { routes: [{ host: one.test, max_body: 1 }, { host: some.test, max_body: 20k }, { host: free.test }] }
END
  ok stead up -d
  local n host transfer answer
  for n in 20480 20481; do head -c $n /dev/zero >$n; done
  for transfer in Transfer-Encoding: Transfer-Encoding:chunked; do
    is "$(code one.test /echo -d a -H $transfer)" 200
    is "$(code one.test /echo -d ab -H $transfer)" 413
    is "$(code some.test /echo --data-binary @20480 -H $transfer)" 200
    is "$(stat -c %s "$SANDBOX/body")" 20480
    is "$(code some.test /echo --data-binary @20481 -H $transfer)" 413
    is "$(code free.test /echo --data-binary @20481 -H $transfer)" 200
  done
  # Far too long: the client sees why, also one that reads no answer before all is sent, and over HTTP/2.
  head -c 3000000 /dev/zero >long
  local version
  for transfer in Transfer-Encoding: Transfer-Encoding:chunked; do
    for version in --http1.1 --http2-prior-knowledge; do
      is "$(code some.test /echo --data-binary @long -H $transfer -H Expect: $version)" 413
      grep -q "^Request too large: " "$SANDBOX/body"
    done
  done
  get some.test /echo --data-binary @long -H 'Accept: text/html' | grep -q '<h1>Request too large</h1>'
  local head='POST /echo HTTP/1.1\r\nHost: some.test\r\nContent-Length: 3000000\r\n\r\n' next='GET /data HTTP/1.1\r\nHost: some.test\r\nConnection: close\r\n\r\n'
  { printf '%b' "$head"; cat long; printf '%b' "$next"; } | nc -N 127.0.0.1 "$((PORTS + 90))" >answer
  # The next request is answered, or the connection has ended; what was too long is never taken for requests.
  answer=$(tr -d '\r' <answer | grep -ao 'HTTP/1.1 [0-9]*' | tr '\n' ' ')
  [[ $answer == "HTTP/1.1 413 HTTP/1.1 200 " ]] || is "$answer" "HTTP/1.1 413 "
  # Chunks as small as they can be.
  local h='Host: one.test\r\nTransfer-Encoding: chunked\r\n\r\n'
  is "$(status_of "POST /echo HTTP/1.1\r\n${h}1\r\na\r\n0\r\n\r\n")" 200
  is "$(status_of "POST /echo HTTP/1.1\r\n${h}1\r\na\r\n1\r\nb\r\n0\r\n\r\n")" 413
  # A client that asks first need not send what would be refused.
  is "$(status_of "POST /echo HTTP/1.1\r\nHost: one.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")" 413
  is "$(code one.test /data)" 200
}

@test "a rate is counted for each client and not across them" {
  compose <<'END'
services:
  web: { image: tiny, command: [server], expose: [8080], x-stead: { routes: [{ host: app.test, rate: 2/h }] } }
END
  ok stead up -d
  is "$(code app.test /data)$(code app.test /data)$(code app.test /data)" 200200429
  # Another address of this machine, and what a client claims to be is nothing.
  is "$(code app.test /data -H 'X-Forwarded-For: 9.9.9.9')" 429
  is "$(code app.test /data --interface 127.0.0.2)" 200
}

@test "clients that take their time: others are served, and they are sent away" {
  compose <<'END'
services:
  web: { image: tiny, command: [server], expose: [8080], x-stead: { route: app.test } }
END
  ok stead up -d
  local fds=() fd i begin=$SECONDS line
  trap '' PIPE # who is sent away sooner, on a slow machine
  for i in {1..150}; do
    exec {fd}<>"/dev/tcp/127.0.0.1/$((PORTS + 90))"
    printf 'GET /data HTTP/1.1\r\nHost: app.test\r\nX-%s: ' "$i" >&"$fd"
    fds+=("$fd")
  done
  is "$(code app.test /data)" 200
  # A byte now and then does not buy more time.
  for i in 1 2 3 4 5 6; do
    for fd in "${fds[@]}"; do { printf x >&"$fd" || true; } 2>/dev/null; done
    sleep 1
  done
  is "$(code app.test /data)" 200
  for fd in "${fds[@]}"; do
    IFS= read -r -t 60 line <&"$fd"
    is "${line:9:3}" 408
    exec {fd}>&-
  done
  [[ $((SECONDS - begin)) -ge 9 ]] # but an honest slow one has this long
}
