# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Deploys under load, for bench/run: how many requests fail, and how long a switch takes. The service has two
# replicas of bench/server.c; the load is that of bench/load over HTTP, with some of it over TLS.
#
#   BENCH_DEPLOYS=200    deploys; BENCH_ROLLBACKS=50 of them are followed by a rollback
#   BENCH_REQUESTS=1000000   requests at least; the load goes on until they are reached
#   BENCH_RATE=1600      requests a second that it aims at
#   BENCH_BROKEN=50      broken versions; BENCH_SETTLE=6s for each (the default of `settle`). With 0s those that die do so while they serve
#   BENCH_DEPLOY_KILLS=100, BENCH_EDGE_KILLS=10

BENCH_DEPLOYS=${BENCH_DEPLOYS:-200} BENCH_ROLLBACKS=${BENCH_ROLLBACKS:-50} BENCH_REQUESTS=${BENCH_REQUESTS:-1000000}
BENCH_RATE=${BENCH_RATE:-1600} BENCH_BROKEN=${BENCH_BROKEN:-50} BENCH_SETTLE=${BENCH_SETTLE:-6s}
BENCH_DEPLOY_KILLS=${BENCH_DEPLOY_KILLS:-100} BENCH_EDGE_KILLS=${BENCH_EDGE_KILLS:-10}
LOAD=$TOP/build/bench/load

web_service() {
  cat <<'END'
services:
  web:
    image: tiny
    command: [server]
    expose: [8080]
    environment: { VERSION: "${V:-0}", FAULT: "${FAULT:-}", FAULT_AFTER: "${FAULT_AFTER:-}" }
    healthcheck: { test: [CMD, wget, -qO, /dev/null, "http://127.0.0.1:8080/health"], interval: 1s }
    deploy: { replicas: 2, resources: { limits: { memory: 64m } } }
    x-stead:
      routes: [{ host: a.test, tls: off }, { host: b.test }]
      deploy: { settle: "${SETTLE:-0s}", bake: "${BAKE:-1s}", drain: 3s, health_timeout: "${HEALTH:-60s}", smoke: [{ get: /data, status: 200 }] }
END
}

edge_port() { # 0 for http, 1 for https
  local NAME PORTS
  . "$SANDBOX/env"
  echo $((PORTS + 90 + $1))
}

web_up() {
  mkdir -p "$WORK/web"
  web_service >"$WORK/web/compose.yaml"
  cd "$WORK/web"
  timed stead up -d --wait
}
web_down() {
  timed stead down -t 1 || true
  cd "$TOP"
}

# --- the load, in two processes: over http all kinds, over https some

load_begin() { # SHARE of BENCH_RATE in percent
  local rate=$((BENCH_RATE * ${1:-100} / 100))
  local h2=(--kind "h2=2@$((rate * 15 / 100))") h2s=(--kind "h2=1@$((rate * 3 / 100))")
  "$LOAD" --help | grep -q '^  h2 ' || h2=() h2s=()
  "$LOAD" --host a.test --timeout 40s --kind "get=4@$((rate * 42 / 100))" --kind "post=4@$((rate * 30 / 100))" \
    --kind "conn=4@$((rate * 7 / 100))" --kind slow=8 --kind idle=24 --kind ws=8 "${h2[@]}" \
    "http://127.0.0.1:$(edge_port 0)" >"$WORK/load.json" 2>"$WORK/load.log" &
  LOAD_PID=$!
  "$LOAD" --host b.test --timeout 40s --kind "get=2@$((rate * 2 / 100))" --kind "post=1@$((rate / 100))" --kind conn=1@2 \
    --kind slow=1 --kind ws=2 "${h2s[@]}" "https://127.0.0.1:$(edge_port 1)" >"$WORK/load-tls.json" 2>>"$WORK/load.log" &
  LOAD_TLS_PID=$!
  sleep 2
}

# What it has sent so far.
load_sent() {
  local before now=0 i
  before=$(wc -l <"$WORK/load.json")
  kill -USR1 "$LOAD_PID" "$LOAD_TLS_PID"
  for ((i = 0; i < 100 && now <= before; i++)); do
    sleep 0.1
    now=$(wc -l <"$WORK/load.json")
  done
  tail -qn 1 "$WORK/load.json" "$WORK/load-tls.json" | jq -s 'map(.requests) | add'
}

load_end() {
  kill "$LOAD_PID" "$LOAD_TLS_PID" 2>/dev/null || true
  wait "$LOAD_PID" || true
  wait "$LOAD_TLS_PID" || true
  tail -qn 1 "$WORK/load.json" "$WORK/load-tls.json" | jq -s '.' >"$WORK/loads.json"
  sent=$(jq 'map(.requests) | add' "$WORK/loads.json")
  failed=$(jq 'map(.failed) | add' "$WORK/loads.json")
  repeated=$(jq 'map(.repeated) | add' "$WORK/loads.json")
}
load_stop_if_running() {
  [[ -z ${LOAD_PID:-} ]] || kill "$LOAD_PID" "$LOAD_TLS_PID" 2>/dev/null || true
}

# The row of a run, and what failed if anything did.
failures_row() { # WHAT LEAST-REQUESTS
  row "$1: requests" "$sent" "" "" "at least $2" "$(verdict at_least "$sent" "$2")"
  row "$1: failed" "$failed" "" "" "0" "$(verdict [ "$failed" -eq 0 ])"
  [[ $repeated -eq 0 ]] || row "$1: h2 refused, repeated" "$repeated" "" "" "" -
  [[ $failed -eq 0 ]] || {
    cp "$WORK/loads.json" "$TOP/build/bench/failed-$(tr -dc a-z <<<"$1").json"
    jq -c '.[].failures, .[].statuses, (.[].examples[:12][])' "$WORK/loads.json" >&2
  }
}

# --- deploys and rollbacks

# Waits until a release is recorded, and notes when its smoke tests had passed: "KIND VERSION BEGAN PASSED" in seconds.
note_release() { # KIND VERSION BEGAN
  stead releases "$(stead releases --json | jq -r 'select(.current).number')" --json | jq -r --arg k "$1" --arg v "$2" --arg b "$3" '
    (.created | capture("^(?<s>[^.]*)(?<f>[.][0-9]+)?Z$") | ("\(.s)Z" | fromdateiso8601) + ("0\(.f // ".0")" | tonumber)) as $created
    | "\($k) \($v) \($b) \($created + ([.report.timeline[] | select(.step == "smoke" and .status == "done").t] | max))"' >>"$WORK/steps"
}

# For each step, the time from its smoke test to the first answer of its version, and, of a rollback, from its beginning to
# the last answer of the version that goes. Seconds, one a line, sorted.
switch_times() {
  jq -r 'map(.changes[] | "\(.t) \(.version)")[]' "$WORK/loads.json" | sort -n >"$WORK/changes"
  awk 'NR == FNR { if ($1 == "deploy" || $1 == "rollback") { n++; version[n] = $2; passed[n] = $4 } next }
    { for (i = 1; i <= n; i++) if (!done[i] && $2 == version[i] && $1 >= passed[i] - 0.005) { done[i] = 1; print ($1 > passed[i] ? $1 - passed[i] : 0) } }' \
    "$WORK/steps" "$WORK/changes" | sort -n
}
rollback_times() {
  jq -r 'map(.versions[] | "\(.version) \(.last)")[]' "$WORK/loads.json" >"$WORK/last"
  awk 'NR == FNR { if ($2 > last[$1]) last[$1] = $2; next }
    $1 == "rollback" && gone in last { print (last[gone] > $3 ? last[gone] - $3 : 0) }
    { gone = $2 }' "$WORK/last" "$WORK/steps" | sort -n
}
in_ms() { awk -v s="$1" 'BEGIN { printf "%.0f ms", s * 1000 }'; }
nth() { sed -n "$1p"; }

deploy() {
  local i began every=$((BENCH_ROLLBACKS > 0 ? (BENCH_DEPLOYS + BENCH_ROLLBACKS - 1) / BENCH_ROLLBACKS : BENCH_DEPLOYS + 1)) bad=0 rollbacks=0 now
  V=0 web_up || return 0
  : >"$WORK/steps"
  load_begin
  for ((i = 1; i <= BENCH_DEPLOYS; i++)); do
    began=$EPOCHREALTIME
    V=$i timed stead deploy || { bad=$((bad + 1)); continue; }
    note_release deploy "$i" "$began"
    if [[ $((i % every)) -eq 0 ]]; then
      began=$EPOCHREALTIME
      timed stead rollback || { bad=$((bad + 1)); continue; }
      note_release rollback $((i - 1)) "$began"
      rollbacks=$((rollbacks + 1))
    fi
    [[ $((i % 20)) -ne 0 ]] || echo "  $i deploys, $rollbacks rollbacks, $(load_sent) requests" >&2
  done
  while now=$(load_sent) && [[ $now -lt $BENCH_REQUESTS ]]; do sleep 2; done
  load_end
  stead_leftovers >"$WORK/left" || { broke "leftovers after $BENCH_DEPLOYS deploys:"; cat "$WORK/left" >&2; }
  web_down
  switch_times >"$WORK/switches"
  rollback_times >"$WORK/rollbacks"
  row "$BENCH_DEPLOYS deploys, $rollbacks rollbacks" "$bad bad" "" "" "all succeed" "$(verdict [ "$bad" -eq 0 ])"
  failures_row "under deploys" "$BENCH_REQUESTS"
  [[ -s $WORK/switches ]] || { broke "no switch was seen"; return 0; }
  row "smoke passed > first request" "$(in_ms "$(tail -n 1 "$WORK/switches")")" "" \
    "$(in_ms "$(nth $((($(wc -l <"$WORK/switches") + 1) / 2)) <"$WORK/switches")")" "worst under 100 ms" "$(verdict at_most "$(tail -n 1 "$WORK/switches")" 0.1)"
  [[ ! -s $WORK/rollbacks ]] || row "rollback to its full effect" "$(in_ms "$(tail -n 1 "$WORK/rollbacks")")" "" \
    "$(in_ms "$(nth $((($(wc -l <"$WORK/rollbacks") + 1) / 2)) <"$WORK/rollbacks")")" "worst under 1 s" "$(verdict at_most "$(tail -n 1 "$WORK/rollbacks")" 1)"
}

# --- broken versions

# Is the failed release explained as its fault demands?
explained() { # FAULT RELEASE-JSON
  jq -e --arg fault "$1" '(.result == "failed" or .result == "rolled back") and .report.step != null and (.report.text | length) > 40 and
    (if $fault == "crash" then .report.exit_code == 1 and (.report.logs | length) > 0
     elif $fault == "unhealthy" then .report.step == "health" and (.report.health | length) > 0
     elif $fault == "smoke" then .report.step == "smoke" and (.report.text | contains("500"))
     elif $fault == "oom" then .report.oom_killed
     elif $fault == "exit" and .report.exit_code == null then .report.text | contains("does not listen")
     else .report.exit_code == 3 and (.report.logs | length) > 0 end)' <<<"$2" >/dev/null
}

broken_versions() {
  local faults=(crash unhealthy smoke oom die crash unhealthy smoke oom exit) i fault status release current answered bad=0
  V=0 web_up || return 0
  current=$(stead releases --json | jq -r 'select(.current).number')
  load_begin 50
  for ((i = 1; i <= BENCH_BROKEN; i++)); do
    fault=${faults[i % ${#faults[@]}]}
    status=0
    V=broken-$i FAULT=$fault FAULT_AFTER=$([[ $fault != die && $fault != exit ]] || echo 5000) SETTLE=$BENCH_SETTLE BAKE=10s HEALTH=4s stead deploy >"$WORK/out" 2>&1 </dev/null || status=$?
    release=$(stead releases "$(stead releases --json | tail -n 1 | jq -r .number)" --json)
    if [[ $status -ne 1 || $(stead releases --json | jq -r 'select(.current).number') != "$current" ]] || ! explained "$fault" "$release"; then
      bad=$((bad + 1))
      broke "broken version $i ($fault): exit code $status, $(jq -c '{result, step: .report.step, text: .report.text, exit_code: .report.exit_code, oom: .report.oom_killed}' <<<"$release")"
    fi
    [[ $((i % 10)) -ne 0 ]] || echo "  $i broken versions" >&2
  done
  load_end
  stead_leftovers >"$WORK/left" || { broke "leftovers after broken versions:"; cat "$WORK/left" >&2; }
  web_down
  row "$BENCH_BROKEN broken versions" "$bad bad" "" "" "reverted, explained" "$(verdict [ "$bad" -eq 0 ])"
  failures_row "under broken versions" 1000
  # Without `settle`, what a process has in hand when it dies nobody can save; the edge itself must not turn anybody away.
  answered=$(jq 'map(.failures.status) | add' "$WORK/loads.json")
  row "under broken versions: 4xx, 5xx" "$answered" "" "" "0" "$(verdict [ "$answered" -eq 0 ])"
}

# --- kills

# Two containers, both current and running, and no release under way.
web_converged() {
  [[ $(curl -sS --unix-socket "$SANDBOX/run/stead.sock" 'http://stead/containers/json?all=1' | jq -r 'map(.State) | join(" ")') == "running running" ]] &&
    ! stead releases --json 2>/dev/null | jq -e 'select(.result == "running")' >/dev/null
}

deploy_kills() {
  local i wait_ms client begin took_us worst=0 bad=0
  RANDOM=$SEED
  V=0 web_up || return 0
  load_begin 50
  for ((i = 1; i <= BENCH_DEPLOY_KILLS; i++)); do
    V=$i BAKE=200ms stead deploy >"$WORK/client" 2>&1 </dev/null &
    client=$!
    wait_ms=$((RANDOM % 1200))
    sleep "$(printf '%d.%03d' $((wait_ms / 1000)) $((wait_ms % 1000)))"
    kill -KILL "$(stead_pid)"
    while sandbox_alive "$(stead_pid)"; do sleep 0.01; done
    wait "$client" || true
    begin=$(now_us)
    stead_start || { broke "kill $i (seed $SEED, $wait_ms ms): the daemon does not start again"; load_end; return 0; }
    until web_converged || [[ $(($(now_us) - begin)) -gt 20000000 ]]; do sleep 0.05; done
    took_us=$(($(now_us) - begin))
    [[ $took_us -le $worst ]] || worst=$took_us
    [[ $took_us -le 20000000 ]] || { bad=$((bad + 1)); broke "kill $i (seed $SEED, $wait_ms ms): does not converge: $(stead ps -a 2>&1 | tail -n +2)"; }
    [[ $((i % 10)) -ne 0 ]] || echo "  $i kills of the daemon, the slowest healed after $((worst / 1000)) ms" >&2
  done
  load_end
  stead_leftovers --wait 5 >"$WORK/left" || { bad=$((bad + 1)); broke "leftovers after $BENCH_DEPLOY_KILLS kills:"; cat "$WORK/left" >&2; }
  row "$BENCH_DEPLOY_KILLS x kill -9 in deploys (seed $SEED)" "$bad bad" "" "" "all converge" "$(verdict [ "$bad" -eq 0 ])"
  row "slowest to converge" "$(ms "$worst")" "" "" "at most 5 s" "$(verdict at_most "$worst" 5000000)"
  failures_row "under these kills" 1000
  web_down
}

edge_pid() { curl -sS --unix-socket "$SANDBOX/run/stead.sock" http://stead/_ping >/dev/null && pgrep -f "^/[^ ]*haproxy .*$SANDBOX/run/edge/" | tail -n 1; }

edge_kills() {
  local i pid begin took_us worst=0
  V=0 web_up || return 0
  for ((i = 1; i <= BENCH_EDGE_KILLS; i++)); do
    until pid=$(edge_pid) && [[ -n $pid ]]; do sleep 0.05; done
    sleep 1
    kill -KILL "$pid"
    begin=$(now_us)
    until [[ $(curl -s -o "$WORK/answer" -w '%{http_code}' --max-time 5 -H 'Host: a.test' "http://127.0.0.1:$(edge_port 0)/data") == 200 ]]; do
      [[ $(($(now_us) - begin)) -lt 20000000 ]] || { broke "HAProxy does not come back"; break; }
    done
    took_us=$(($(now_us) - begin))
    [[ $took_us -le $worst ]] || worst=$took_us
  done
  web_down
  row "$BENCH_EDGE_KILLS x kill -9 of HAProxy" "$(ms "$worst")" "" "" "serves within 1 s" "$(verdict at_most "$worst" 1000000)"
}
