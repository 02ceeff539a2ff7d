#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Deploys: wholly new or wholly old.

load helpers

# A page that says its version; x-stead comes from standard input.
web() { # VERSION [EXTRA LINES OF THE SERVICE]
  cat <<END
services:
  web:
    image: tiny
    command: sh -c "mkdir /tmp/w; echo v$1 >/tmp/w/index.html; echo UP >/tmp/w/health; exec httpd -f -p 80 -h /tmp/w"
    expose: ["80"]
    environment: { V: "$1", PASSWORD: "secret-$1" }
    stop_grace_period: 2s
${2-}
    x-stead:
      deploy: { bake: 0s, health_timeout: 20s, drain: 2s${3-} }
END
}

release() { # NUMBER FILTER
  api GET "/stead/v1/stacks/$PROJECT/releases/$1" | jq -r "$2"
}

page() { inside client wget -q -O - http://web/; }

@test "a new version takes over beside the old, and the release says so" {
  web 1 | compose
  ok stead deploy
  is "$(containers)" "$PROJECT-web-1"
  is "$(release 1 .result)" success
  local old
  old=$(id_of web)
  web 2 | compose
  ok stead deploy
  [ "$(id_of web)" != "$old" ]
  is "$(containers)" "$PROJECT-web-1"
  is "$(inside web cat /tmp/w/index.html)" v2
  is "$(release 2 '[.result, .kind, .base, .current] | map(tostring) | join(" ")')" "success deploy 1 true"
  is "$(release 2 '[.changes[] | .service + " " + .what + " " + (.names | join(","))] | join("; ")')" "web environment PASSWORD,V; web config command"
  ok stead deploy
  says unchanged
}
