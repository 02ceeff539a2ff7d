#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The load generator that judges deploys (bench/load). A generator that misses failures would find every
# deploy perfect, so here a server misbehaves on purpose and keeps count, and both must have counted the same.

load helpers

SERVER=$(cd "$STEAD_BUILD" && pwd)/bench/bench-server
LOAD=$(cd "$STEAD_BUILD" && pwd)/bench/load

# No daemon is needed here.
setup_file() {
  sandbox_destroy "$SANDBOX"
  sandbox_new "$SANDBOX"
}
teardown_file() { sandbox_destroy "$SANDBOX"; }
setup() {
  . "$SANDBOX/env"
  PORT=$(port "$BATS_TEST_NUMBER") URL=http://127.0.0.1:$(port "$BATS_TEST_NUMBER")
  mkdir -p "$SANDBOX/$BATS_TEST_NUMBER"
  cd "$SANDBOX/$BATS_TEST_NUMBER" || return 1
}
teardown() {
  local f
  for f in *.pid; do
    [[ -s $f ]] && kill -KILL "$(cat "$f")" 2>/dev/null
  done
  if [[ ${BATS_TEST_COMPLETED:-} != 1 ]]; then
    cat ./*.log report.json 2>/dev/null
  fi
  return 0
}

serve() { # NAME=VALUE…
  env ADDRESS=127.0.0.1 PORT="$PORT" "$@" "$SERVER" >>server.log 2>&1 </dev/null 3>&- 4>&- &
  echo $! >server.pid
  disown $!
  within 30 grep -q "listens on port" server.log
}
server_end() {
  kill -TERM "$(cat server.pid)"
  within 30 not sandbox_alive "$(cat server.pid)"
  : >server.log
}
server_stats() { fetch "$URL/stats" >stats.json; }

# Runs the generator; its report is in report.json, its exit code in $status. The time-out is far above
# what a busy machine may take, so that only what hangs meets it.
generate() {
  status=0
  "$LOAD" --timeout 8s "$@" "$URL" >report.json 2>load.log || status=$?
  sanitizers_silent
}
reported() { jq -r "$1" report.json; }
served() { jq -r "$1" stats.json; }

same_faults() {
  is "$(reported '.failures | [.reset, .truncated, .status, .timeout, .closed, .body, .protocol] | @csv')" \
    "$(served '.faults | [.reset, .truncate, .status, .hang, .close, .body, .garbage] | @csv')"
  is "$(reported .failed)" "$(served '.faults | add')"
  [[ $(served '.faults | [.reset, .truncate, .status, .hang, .close, .body, .garbage] | min') -gt 0 ]] || {
    echo "not every fault came up"
    return 1
  }
}

@test "a server without faults has no failures, and every answer is counted" {
  serve VERSION=7
  generate --without h2 --duration 2s --timeout 30s
  is "$status" 0
  is "$(reported .failed)" 0
  server_stats
  is "$(reported .requests)" "$(($(served .requests) - 1))"
  is "$(reported .messages)" "$(served .ws_messages)"
  is "$(reported '[.kinds[].requests] | min > 0')" true
  is "$(reported '.versions | map(.version) | join(" ")')" 7
  # Slow answers come in pieces, over a second.
  is "$(reported '.kinds.slow | .p50 > 0.9')" true
}

@test "each fault on kept connections is counted, by its reason" {
  serve FAULT=mixed FAULT_EVERY=5
  generate --kind get=4@0 --kind post=4@0 --requests 300
  is "$status" 1
  server_stats
  same_faults
  is "$(reported .requests)" "$(($(served .requests) - 1))"
  is "$(reported '.statuses["500"]')" "$(served .faults.status)"
  # All that came as an end of the connection happened where a request had been served before, or might have.
  is "$(reported '.reused <= .failures.reset + .failures.closed + .failures.timeout')" true
  is "$(reported '.examples | length > 10')" true
}

@test "each fault on new connections is counted, by its reason" {
  serve FAULT=mixed FAULT_EVERY=5
  generate --kind conn=8@0 --requests 300
  server_stats
  same_faults
  is "$(reported '.connections == .requests')" true
  is "$(reported .reused)" 0
}

@test "a WebSocket that is cut, or that echoes something else, is counted" {
  serve FAULT=mixed FAULT_EVERY=12
  generate --kind ws=16 --duration 4s
  server_stats
  is "$(reported '.failures | [.cut, .body] | @csv')" "$(served '.faults | [."ws-cut", ."ws-body"] | @csv')"
  [[ $(reported .failures.cut) -gt 1 && $(reported .failures.body) -gt 0 ]]
  is "$(served '[.faults.reset, .faults.status, .faults.close] | add')" \
    "$(reported '.failures | .reset + .status + .closed')"
}

@test "nobody listens: refused; nobody answers: timed out" {
  generate --kind get=2@50 --kind conn=2@50 --kind ws=2 --duration 1s
  is "$status" 1
  is "$(reported '.failed > 0 and .failed == .requests and .failed == .failures.refused')" true
  serve
  kill -STOP "$(cat server.pid)"
  generate --kind get=2 --kind conn=2 --kind slow=1 --kind ws=1 --duration 1s
  is "$(reported '.failed >= 6 and .failed == .requests and .failed == .failures.timeout')" true
}

@test "an orderly end is none of a failure: WebSockets get a close frame, the request in flight its answer" {
  serve VERSION=1
  "$LOAD" --kind ws=4 --kind conn=4@0 --get conn='/data?size=102400&ms=5000' --post conn= --timeout 60s "$URL" >report.json 2>load.log 3>&- &
  echo $! >load.pid
  within 30 eval 'server_stats && [[ $(served ".ws_messages > 20 and .paths[\"/data\"] >= 4") == true ]]'
  kill -TERM "$(cat server.pid)"
  within 30 not sandbox_alive "$(cat server.pid)"
  kill -TERM "$(cat load.pid)"
  wait "$(cat load.pid)" || true
  # What comes after the end is refused, and nothing else failed.
  is "$(reported '.failed == .failures.refused')" true
  is "$(reported '.kinds.ws.closes')" 4
  is "$(reported '.kinds.conn | .requests - .failed >= 4')" true
}

@test "versions and their changes are seen, and SIGUSR1 tells them on the way" {
  serve VERSION=one
  "$LOAD" --kind get=2@100 "$URL" >report.json 2>load.log 3>&- &
  echo $! >load.pid
  within 30 eval 'server_stats && [[ $(served ".requests > 20") == true ]]'
  kill -USR1 "$(cat load.pid)"
  within 30 jq -e .changes report.json
  is "$(jq -r '.changes | map(.version) | join(" ")' report.json)" one
  server_end
  serve VERSION=two
  within 30 eval 'server_stats && [[ $(served ".requests > 20") == true ]]'
  kill -TERM "$(cat load.pid)"
  wait "$(cat load.pid)" || true
  is "$(tail -n 1 report.json | jq -r '.changes | map(.version) | join(" ")')" "one two"
}

@test "HTTP/2: streams that fail behind a proxy are counted" {
  command -v haproxy >/dev/null || skip "needs haproxy"
  "$LOAD" --help | grep -q "  h2 " || skip "built without libnghttp2"
  local direct=$URL back=$PORT
  serve FAULT=mixed FAULT_EVERY=6
  URL=http://127.0.0.1:$(port 50)
  cat >haproxy.cfg <<END
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
frontend f
  bind 127.0.0.1:$(port 50)
  default_backend b
backend b
  retries 0
  server s 127.0.0.1:$back
END
  haproxy -db -f haproxy.cfg >haproxy.log 2>&1 3>&- &
  echo $! >haproxy.pid
  disown $!
  within 30 fetch -o answer "$URL/health"
  generate --kind h2=2@0 --requests 400
  URL=$direct server_stats
  # An end before the answer's first byte becomes a 502, or REFUSED_STREAM where the client's connection had
  # served a request before; an answer without its end becomes a reset.
  is "$(reported '[.failures.status + .repeated, .failures.truncated + .failures.reset, .failures.timeout, .failures.body] | @csv')" \
    "$(served '.faults | [.reset + .status + .close + .garbage, .truncate, .hang, .body] | @csv')"
  is "$(reported '.statuses["500"]')" "$(served .faults.status)"
  is "$(reported '.failed + .repeated')" "$(served '.faults | add')"
  [[ $(served .faults.truncate) -gt 1 ]]

  # A proxy that ends in an orderly way says GOAWAY; one that is killed leaves requests without their answers.
  server_end
  serve
  "$LOAD" --kind h2=2@400 --timeout 20s "$URL" >report.json 2>load.log 3>&- &
  echo $! >load.pid
  within 30 eval 'URL=$direct server_stats && [[ $(served ".requests > 100") == true ]]'
  kill -KILL "$(cat haproxy.pid)"
  within 30 not sandbox_alive "$(cat haproxy.pid)"
  kill -TERM "$(cat load.pid)"
  wait "$(cat load.pid)" || true
  is "$(reported '.failed > 0 and .failed == (.failures | .refused + .closed + .reset + .truncated)')" true
}

@test "wrong usage is told" {
  fails 2 "$LOAD"
  says "one address is needed"
  fails 2 "$LOAD" http://no.such.name
  says "names are not looked up"
  fails 2 "$LOAD" --kind nonsense http://127.0.0.1
  says "no such kind"
  fails 2 "$LOAD" --kind get=x "$URL"
  fails 2 "$LOAD" --duration 10 "$URL"
}
