#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Deploys: a new version takes over without anyone noticing; if it is bad, the old one is simply still there.

load helpers
load deploy

@test "a new version takes over under load, and the release says what it was" {
  web 1
  ok stead deploy
  within 90 visits 1
  is "$(release 1 '.result + " " + .kind')" "success deploy"
  load_begin
  web 2 PASSWORD=secret-2
  ok stead deploy
  visits 2
  web 3 PASSWORD=secret-3
  ok stead deploy
  visits 3
  load_end
  whole 3 "$PROJECT-web-1 $PROJECT-web-2"
  is "$(release 2 '[.result, .base, .current] | map(tostring) | join(" ")')" "success 1 false"
  is "$(release 3 '[.changes[] | .service + " " + .what + " " + (.names | join(","))] | join("; ")')" "web environment PASSWORD,VERSION"
  ok stead releases
  says_not secret-
  ok stead deploy
  says "nothing has changed"
}

@test "each kind of broken version is put back under load, and explained" {
  local fault
  web 1
  ok stead deploy
  within 90 visits 1
  load_begin
  for fault in crash silent unhealthy smoke; do
    # What ends ends the deploy; the others are given as long as there is patience.
    RULES="        health_timeout: $([[ $fault == crash ]] && echo 60s || echo 8s)
        smoke: [ { get: /data } ]"
    web 2 FAULT=$fault
    sed -i '0,/health_timeout: 20s/{/health_timeout: 20s/d}' compose.yaml
    [[ $fault != unhealthy ]] || sed -i 's/    expose:/    healthcheck: { test: [CMD, wget, -q, -O, "-", "http:\/\/127.0.0.1:8080\/health"], interval: 1s }\n    expose:/' compose.yaml
    fails 1 stead deploy
    whole 1 "$PROJECT-web-1 $PROJECT-web-2"
  done
  load_end
  is "$(release 2 '.result + " " + (.report.exit_code | tostring)')" "failed 1"
  [[ $(release 2 '.report.logs | join(" ")') == *"connection refused"* ]]
  is "$(release 3 .report.step)" health
  [[ $(release 3 .report.text) == *"port 8080"* ]]
  is "$(release 4 .report.step)" health
  [[ $(release 4 '.report.health | join(" ")') == *503* ]]
  is "$(release 5 .report.step)" health
}

@test "what fails its smoke test, runs out of memory or ends in its bake is put back" {
  web 1
  ok stead deploy
  within 90 visits 1
  MORE='    healthcheck: { test: [CMD, wget, -q, -O, "-", "http://127.0.0.1:8080/health"], interval: 1s }'
  RULES='        smoke: [ { get: /data, status: 200 } ]'
  web 2 FAULT=smoke
  fails 1 stead deploy
  says "GET /data answered 500, not 200"
  whole 1 "$PROJECT-web-1 $PROJECT-web-2"
  is "$(release 2 .report.step)" smoke

  MORE='    mem_limit: 64m' RULES=
  web 3 FAULT=oom FAULT_AFTER=$NEVER
  sed -i 's/bake: 0s/bake: 1h\n        settle: 0s/' compose.yaml
  deploy_begin
  within 60 deploy_says "web  switched"
  fault_begins 3
  deploy_ends 1
  whole 1 "$PROJECT-web-1 $PROJECT-web-2"
  is "$(release 3 '.report.step + " " + (.report.oom_killed | tostring)')" "bake true"

  MORE=
  web 4 FAULT=exit FAULT_AFTER=$NEVER
  sed -i 's/bake: 0s/bake: 1h\n        settle: 0s/' compose.yaml
  deploy_begin
  within 60 deploy_says "web  switched"
  fault_begins 4
  deploy_ends 1
  whole 1 "$PROJECT-web-1 $PROJECT-web-2"
  # That it does not listen any more may be seen before its end.
  [[ $(release 4 '.report.step + " " + .report.text') =~ ^bake.*("exit code 3"|"does not listen") ]]

  web 5 FAULT=errors FAULT_AFTER=$NEVER
  sed -i 's/bake: 0s/bake: 1h\n        settle: 0s/' compose.yaml
  "$LOAD" --host "$PROJECT.test" --kind get "http://127.0.0.1:$(edge_port)" >errors.json 2>&1 </dev/null 3>&- 4>&- &
  local pid=$!
  deploy_begin
  within 60 deploy_says "web  switched"
  fault_begins 5
  deploy_ends 1
  kill -TERM "$pid"
  says "5xx"
  whole 1 "$PROJECT-web-1 $PROJECT-web-2"
}

@test "a new version that ends before it has settled never gets a request" {
  web 1
  ok stead deploy
  within 90 visits 1
  load_begin
  web 2 FAULT=die FAULT_AFTER=$NEVER
  sed -i 's/bake: 0s/bake: 0s\n        settle: 1h/' compose.yaml
  deploy_begin
  within 60 deploy_says "web  seeing if it lasts"
  fault_begins 2
  deploy_ends 1
  load_end
  whole 1 "$PROJECT-web-1 $PROJECT-web-2"
  is "$(release 2 '.report.step + " " + (.report.exit_code | tostring)')" "settle 3"
  is "$(jq -r '.versions | map(.version) | join(" ")' report.json)" 1
}

# Requests that it has in hand it finishes; who comes then is answered by the old one, also before the daemon knows.
@test "a new version that ends in its bake leaves its requests to the old one" {
  web 1
  ok stead deploy
  within 90 visits 1
  load_begin --kind get
  web 2 FAULT=exit FAULT_AFTER=$NEVER
  sed -i 's/bake: 0s/bake: 1h\n        settle: 0s/' compose.yaml
  deploy_begin
  within 60 visits 2
  within 60 deploy_says "web  switched"
  fault_begins 2
  deploy_ends 1
  load_end
  whole 1 "$PROJECT-web-1 $PROJECT-web-2"
  is "$(release 2 .report.step)" bake
}

@test "a service that owns a volume stops first, and requests wait" {
  SCALE=1 MORE='    volumes: [data:/data]'
  web 1
  echo 'volumes: { data: {} }' >>compose.yaml
  ok stead deploy
  within 90 visits 1
  load_begin --without ws --without slow
  web 2
  # As long as that it would take if any request still went to it.
  sed -i 's/drain: 5s/drain: 5m/' compose.yaml
  echo 'volumes: { data: {} }' >>compose.yaml
  ok stead deploy --plan
  says "it owns a writable volume"
  visits 1
  ok timeout 240 "$STEAD_EXE" -H "unix://$SOCK" deploy
  visits 2
  RULES='        smoke: [ { get: /nothing, status: 201 } ]'
  web 3
  sed -i 's/drain: 5s/drain: 5m/' compose.yaml
  echo 'volumes: { data: {} }' >>compose.yaml
  fails 1 timeout 240 "$STEAD_EXE" -H "unix://$SOCK" deploy
  visits 2
  load_end
  whole 2 "$PROJECT-web-1"
}

release_ended() { [[ $(release "$1" .result) != running ]]; }

@test "Ctrl-C calls it off" {
  web 1
  ok stead deploy
  within 90 visits 1
  web 2 START_DELAY=600000
  sed -i 's/health_timeout: 20s/health_timeout: 10m/' compose.yaml
  deploy_begin
  within 90 release_begun 2
  kill -TERM "$deploying" # what runs in the background of a script ignores SIGINT
  within 60 release_ended 2
  whole 1 "$PROJECT-web-1 $PROJECT-web-2"
  is "$(release 2 .result)" failed
}

@test "one at a time: a second waits, or is refused with the name of who holds it" {
  web 1
  ok stead deploy
  mkdir gate
  MORE='    volumes: ["./gate:/gate:ro"]
    healthcheck: { test: [CMD, test, -e, /gate/open], interval: 1s, retries: 1000 }' web 2
  sed -i 's/health_timeout: 20s/health_timeout: 10m/' compose.yaml
  stead deploy >first.log 2>&1 </dev/null 3>&- 4>&- &
  local first=$!
  within 90 release_begun 2
  web 3
  fails 2 stead deploy --no-wait
  says "release 2"
  deploy_begin
  within 60 deploy_says waiting
  touch gate/open
  wait "$first"
  deploy_ends 0
  visits 3
  is "$(release 2 .result)" success
}

@test "hooks run in containers of the new release; one that fails stops the deploy" {
  RULES='        pre_deploy: [sh, -c, "echo migrating to $$VERSION"]
        post_deploy: [sh, -c, "echo told; exit 7"]'
  web 1
  ok stead deploy
  says "post_deploy"
  [[ $(release 1 '.report.timeline[] | select(.status == "output") | .detail') == *"migrating to 1"* ]]
  RULES='        pre_deploy: [sh, -c, "echo no way; exit 4"]'
  web 2
  fails 1 stead deploy
  whole 1 "$PROJECT-web-1 $PROJECT-web-2"
  is "$(release 2 '.report.step + " " + (.report.exit_code | tostring) + " " + (.report.logs | join(""))')" "pre_deploy 4 no way"
}

@test "what a hook did stays, and what it says is masked" {
  web 1
  ok stead deploy
  RULES='        pre_deploy: [sh, -c, "echo migrating as $$DB_PASSWORD"]
        smoke: [ { get: /nowhere, status: 204 } ]'
  web 2 DB_PASSWORD=swordfish-9
  fails 1 stead deploy
  says "pre_deploy | migrating as ***"
  says "Release 1 serves on; what pre_deploy has done (web) is not undone"
  says_not swordfish
  ok stead releases 2
  says "migrating as ***"
  says "was to replace release 1"
  says_not swordfish
  whole 1 "$PROJECT-web-1 $PROJECT-web-2"
}

@test "a stack that is stopped in its deploy is not said to serve on" {
  web 1
  ok stead deploy
  RULES='        settle: 1000s'
  web 2
  stead deploy >deploy.log 2>&1 </dev/null 3>&- 4>&- &
  local pid=$!
  within 60 release_begun 2
  ok stead stop -t 0
  wait "$pid" || true
  capture cat deploy.log
  says "the stack is being stopped. What ran before serves on until then"
  says "'stead releases 2' says more"
}

@test "refused before anything changes" {
  web 1
  ok stead deploy
  RULES='        smoke: [ { get: nowhere } ]'
  web 2
  fails 2 stead deploy
  RULES='        smoke: [ { get: /x, status: 1000 } ]'
  web 2
  fails 2 stead deploy
  RULES=
  web 2
  sed -i 's/image: tiny/image: nothere:1/' compose.yaml
  fails 2 stead deploy
  says nothere:1
  web 2
  sed -i 's/    expose: .*/    expose: ["1", "2"]/' compose.yaml
  fails 2 stead deploy
  says port
  whole 1 "$PROJECT-web-1 $PROJECT-web-2"
  is "$(api GET "/stead/v1/stacks/$PROJECT/releases" | jq length)" 1
}

@test "a route to a port nobody listens on is found by the probe, and named" {
  web 1
  ok stead deploy
  web 1
  sed -i 's/tls: off }/tls: off, port: 9999 }/; s/health_timeout: 20s/health_timeout: 5s/' compose.yaml
  fails 1 stead deploy
  says "port 9999"
  visits 1
}

@test "an up that changes a service with routes goes the same way" {
  web 1
  ok stead up -d
  within 90 visits 1
  is "$(release 1 .kind)" up
  load_begin
  web 2
  ok stead up -d
  visits 2
  load_end
  is "$(release 2 '.kind + " " + .result')" "up success"
}
