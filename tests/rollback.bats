#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Rollback: a whole release comes back, image, files, environment and routes, and quickly.

load helpers
load deploy

# web's page is what its config says; the image's version is in /version.
three_releases() {
  local v
  for v in 1 2 3; do
    echo "config of $v" >conf.txt
    MORE='    configs: [ { source: conf, target: /conf.txt } ]'
    web "$v"
    echo 'configs: { conf: { file: ./conf.txt } }' >>compose.yaml
    ok stead deploy
  done
  within 90 visits 3
  is "$(inside web cat /conf.txt)" "config of 3"
}

@test "the release before comes back whole, under load" {
  three_releases
  rm conf.txt # a release has its files
  load_begin
  ok stead rollback
  visits 2
  is "$(inside web cat /conf.txt)" "config of 2"
  ok stead rollback
  visits 1
  is "$(inside web cat /conf.txt)" "config of 1"
  ok stead rollback --to 3
  visits 3
  is "$(inside web cat /conf.txt)" "config of 3"
  load_end
  whole 3 "$PROJECT-web-1 $PROJECT-web-2"
  is "$(release 3 .result)" "rolled back"
  is "$(release 4 '[.kind, .result, .base, .source] | map(tostring) | join(" ")')" "rollback rolled back 3 2"
  is "$(release 6 '[.kind, .result, .base, .source, .current] | map(tostring) | join(" ")')" "rollback success 5 3 true"
}

@test "it takes what the release had, not what its tag means today" {
  # Two images under one name, one after the other.
  stead import "$STEAD_TEST_CACHE/tiny.tar" moving --env WHICH=one >/dev/null
  web 1
  sed -i 's/image: tiny/image: moving/' compose.yaml
  ok stead deploy
  is "$(inside web sh -c 'echo $WHICH')" one
  stead import "$STEAD_TEST_CACHE/tiny.tar" moving --env WHICH=two >/dev/null
  ok stead deploy
  is "$(inside web sh -c 'echo $WHICH')" two
  [[ $(release 2 '.changes[].what') == image ]]
  ok stead rollback
  is "$(inside web sh -c 'echo $WHICH')" one
  # What a release needs is not removed by hand or by a prune.
  ok stead image prune -a -f
  ok stead rollback --to 2
  is "$(inside web sh -c 'echo $WHICH')" two
  fails 1 stead rmi moving
  says "container"
  tiny_image
}

@test "a release that is not there, never served, or runs already is refused" {
  web 1
  ok stead deploy
  fails 2 stead rollback
  says "no release to roll back to"
  web 2
  ok stead deploy
  web 3 FAULT=crash
  fails 1 stead deploy
  fails 2 stead rollback --to 9
  says "nearest is 1"
  fails 2 stead rollback --to 3
  says "never served"
  fails 2 stead rollback --to 2
  says "the one that runs"
  whole 2 "$PROJECT-web-1 $PROJECT-web-2"
}

@test "dependents go back before what they need" {
  web 1
  sed -i 's/^services:/services:\n  db: { image: tiny, environment: { VERSION: "1" }, x-stead: { deploy: { bake: 0s } } }/; s/    restart: always/    restart: always\n    depends_on: [db]/' compose.yaml
  ok stead deploy
  sed -i 's/VERSION: "1"/VERSION: "2"/' compose.yaml
  ok stead deploy
  is "$(inside db sh -c 'echo $VERSION')" 2
  ok stead rollback
  is "$(release 3 '[.report.timeline[] | select(.step == "switch" and .status == "done") | .service] | join(" ")')" "web db"
  is "$(release 2 '[.report.timeline[] | select(.step == "switch" and .status == "done") | .service] | join(" ")')" "db web"
  is "$(inside db sh -c 'echo $VERSION')" 1
}
