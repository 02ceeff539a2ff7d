#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The daemon dies in the middle of deploys: what served serves on, and the stack is of one release afterwards.

load helpers
load deploy

settled() {
  [[ $(api GET "/stead/v1/stacks/$PROJECT/releases" | jq '[.[] | select(.result == "running")] | length') == 0 ]]
}
of_one_release() { # VERSION…: one of them
  local version
  version=$(visit)
  [[ " $* " == *" $version "* ]] && whole "$version" "$PROJECT-web-1 $PROJECT-web-2"
}

@test "kill -9 at any moment of a deploy under load: no request fails, and all is of one release" {
  local i delay
  web 0
  ok stead deploy
  within 90 visits 0
  load_begin --without ws --without slow
  for delay in 0.01 0.05 0.1 0.15 0.2 0.25 0.3 0.35 0.4 0.5 0.6 0.8; do
    i=$((${i:-0} + 1))
    web "$i"
    stead deploy >deploy.log 2>&1 </dev/null 3>&- 4>&- &
    local pid=$!
    sleep "$delay"
    daemon_kill
    wait "$pid" || true
    edge_daemon
    within 90 settled
    within 90 of_one_release "$((i - 1))" "$i"
    # The next step begins from the new version.
    ok stead deploy
    whole "$i" "$PROJECT-web-1 $PROJECT-web-2"
  done
  load_end
}

deploy_and_kill() { # COMMAND…: what must hold when the daemon dies
  stead deploy >deploy.log 2>&1 </dev/null 3>&- 4>&- &
  local pid=$!
  within 60 "$@"
  daemon_kill
  wait "$pid" || true
  edge_daemon
  within 90 settled
}
is_made() { [[ " $(containers) " == *" $1 "* ]]; }
cut_at() { # NUMBER STEP
  is "$(release "$1" '.result + " " + .report.step + " " + (.report.service | tostring)')" "interrupted $2"
}

@test "the release says where it was when the daemon died" {
  web 1
  ok stead deploy
  RULES='        pre_deploy: [sh, -c, "sleep 1000"]'
  web 2
  deploy_and_kill is_made "$PROJECT-web-pre_deploy-r2"
  cut_at 2 "pre_deploy web"
  [[ $(release 2 .report.text) == *"what pre_deploy has done (web) is not undone"* ]]
  RULES='        settle: 1000s'
  web 3
  deploy_and_kill is_made "$PROJECT-web-1-r3"
  cut_at 3 "start web"
  [[ $(release 3 .report.text) == *"Release 1 serves on, nothing else has changed"* ]]
  RULES='        settle: 0s'
  web 4
  sed -i 's/bake: 0s/bake: 1000s/' compose.yaml
  deploy_and_kill visits 4
  cut_at 4 "bake null"
  whole 1 "$PROJECT-web-1 $PROJECT-web-2"
}

# Without a load: what dies while there is no daemon cannot be replaced by anybody.
@test "killed while a broken version is put back" {
  local delay
  web 1
  ok stead deploy
  within 90 visits 1
  for delay in 0.2 0.5 0.8 1.1; do
    web 2 FAULT=exit FAULT_AFTER=400
    sed -i 's/bake: 0s/bake: 20s\n        settle: 0s/' compose.yaml
    stead deploy >deploy.log 2>&1 </dev/null 3>&- 4>&- &
    local pid=$!
    sleep "$delay"
    daemon_kill
    wait "$pid" || true
    edge_daemon
    within 90 settled
    within 90 of_one_release 1
  done
}

@test "the machine goes down in the middle of a deploy" {
  web 1
  ok stead deploy
  within 90 visits 1
  web 2 START_DELAY=600000
  sed -i 's/health_timeout: 20s/health_timeout: 10m/' compose.yaml
  deploy_begin
  within 60 deploy_says "waiting for health"
  power_cut
  wait "$deploying" || true
  edge_daemon
  within 90 settled
  within 90 of_one_release 1
  is "$(release 2 .result)" interrupted
  [[ $(release 2 .report.text) == *"the daemon ended"* ]]
}
