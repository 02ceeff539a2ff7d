#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Notices: what the receivers get, checked against their vendors' limits by tests/notify-receiver, and what becomes of those that cannot be sent.

load helpers

setup_file() {
  sandbox_up
  export RECEIVED=$SANDBOX/receiver
  mkdir "$RECEIVED"
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$RECEIVED/key" -out "$RECEIVED/cert" -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost 2>"$RECEIVED/openssl.log"
  chmod 755 "$SANDBOX" "$RECEIVED" # whoever sends is nobody, and reads the certificate
  "$BATS_TEST_DIRNAME/notify-receiver" "$RECEIVED" "$RECEIVED/cert" "$RECEIVED/key" >"$RECEIVED/log" 2>&1 </dev/null 3>&- 4>&- &
  echo $! >"$RECEIVED/pid"
  within 20 test -s "$RECEIVED/http"
  HTTP=http://127.0.0.1:$(<"$RECEIVED/http")
  HTTPS=https://localhost:$(<"$RECEIVED/https")
  SMTP=smtp://127.0.0.1:$(<"$RECEIVED/smtp")
  export HTTP HTTPS SMTP no_proxy='*'
}

teardown_file() {
  local status=0
  kill "$(<"$RECEIVED/pid")"
  sandbox_down || status=1
  sandbox_destroy "$SANDBOX"
  return "$status"
}

# Sends one message as the daemon does: JSON on its standard input.
send() { "$(dirname "$STEAD_EXE")/../notify/stead-notify" | jq -r '"\(.result) \(.status): \(.text)"'; }

http() { # URL
  jq -nc --arg url "$1" '{url: $url, body: "{}", event: "deploy.failed", id: "1"}' | send
}

mail() { # SERVER TO [USER PASSWORD]
  jq -nc --arg url "$1" --arg to "$2" --arg user "${3:-}" --arg password "${4:-}" '{url: $url, from: "stead@example.com", to: [$to], body: ([
    "Date: Tue, 14 Nov 2023 22:13:20 +0000", "From: stead <stead@example.com>", "To: ops@example.com", "Subject: test",
    "Message-ID: <1@example.com>", "MIME-Version: 1.0", "Content-Type: text/plain", "", ".", "..dots", ""] | join("\r\n"))}
    + if $user == "" then {} else {user: $user, password: $password} end' | send
}

received() { jq -c "$1" "$RECEIVED/messages"; }

@test "the sender says what can be tried again and what cannot" {
  ok http "$HTTP/status/204"
  says "sent 204"
  ok http "$HTTP/status/404"
  says "never 404: answered 404: answer of the receiver"
  ok http "$HTTP/status/503"
  says "later 503"
  ok http "$HTTP/status/429"
  says "later 429"
  ok http http://127.0.0.1:1/
  says "later 0: Failed to connect"
  ok http ftp://127.0.0.1:1/
  says "never 0"
}

@test "a redirect is not followed" {
  local before
  before=$(received .path | wc -l)
  ok http "$HTTP/redirect"
  says "never 307: answered 307, a redirect, which is not followed"
  is "$(received .path | wc -l)" $((before + 1))
}

@test "a certificate that nobody vouches for is refused" {
  local before
  before=$(received .path | wc -l)
  ok http "$HTTPS/status/200"
  says "later 0: SSL certificate problem"
  is "$(received .path | wc -l)" "$before"
  export SSL_CERT_FILE=$RECEIVED/cert
  ok http "$HTTPS/status/200"
  says "sent 200"
  # It is for another name.
  ok http "${HTTPS/localhost/127.0.0.1}/status/200"
  says "later 0: SSL: no alternative certificate subject name"
}

@test "mail: taken, refused for now, refused for good" {
  ok mail "$SMTP" ops@example.com
  says "sent 250"
  is "$(received 'select(.mail.subject == "test")' | tail -n 1 | jq -r '.mail.text, .tls, .to[0]')" $'.\r\n..dots\r\n\ntrue\nops@example.com'
  ok mail "$SMTP" later@example.com
  says "later 451"
  ok mail "$SMTP" never@example.com
  says "never 550"
  ok mail smtp://127.0.0.1:1 ops@example.com
  says "later 0"
}

@test "mail: a password goes to a server that is known" {
  ok mail "$SMTP" ops@example.com me sesame
  says "sent 250"
  is "$(received 'select(.auth) | .auth' | tail -n 1)" '"me:sesame"'
  ok mail "$SMTP" ops@example.com me wrong
  says "never 535"
  # The same server by a name that is not this machine's: its certificate must be right.
  ok mail "${SMTP/127.0.0.1/0.0.0.0}" ops@example.com me secret-word
  says "later"
  says "certificate"
  is "$(grep -c secret-word "$RECEIVED/messages")" 0
  # Without one, TLS is taken as it is offered.
  ok mail "${SMTP/127.0.0.1/0.0.0.0}" ops@example.com
  says "sent 250"
}

@test "the sender has given up root and shows nothing to others" {
  local pid args
  jq -nc --arg url "$HTTP/hang?token=geheim" '{url: $url, body: "{}"}' >message
  "$(dirname "$STEAD_EXE")/../notify/stead-notify" <message >answer 2>&1 3>&- &
  pid=$!
  within 20 grep -q geheim "$RECEIVED/messages"
  is "$(awk '/^(Uid|Gid|Groups):/ {print $2, $5}' "/proc/$pid/status" | tr '\n' ' ')" "65534 65534 65534 65534   "
  is "$(awk '/^(NoNewPrivs|CapEff|CapPrm):/ {print $2}' "/proc/$pid/status" | tr '\n' ' ')" "0000000000000000 0000000000000000 1 "
  args=$(tr '\0' ' ' <"/proc/$pid/cmdline" && tr '\0' ' ' <"/proc/$pid/environ")
  is "$(grep -c geheim <<<"$args")" 0
  kill "$pid"
}

# --- through the daemon

# A stack with these receivers. BAKE: how long a new version is watched.
stack() { # VERSION COMMAND RECEIVER…
  local version=$1 command=$2
  shift 2
  {
    printf '%s\n' "services:" "  app:" "    image: tiny" "    command: [sh, -c, '$command']" "    stop_grace_period: 0s" \
      "    environment: { VERSION: '$version', DB_PASSWORD: 'hunter2-hunter2' }" "    secrets: [key]" \
      "    x-stead: { deploy: { bake: ${BAKE:-0s}, health_timeout: 20s } }" \
      "secrets: { key: { file: ./key } }" "x-stead:" "  notify:"
    printf '    - %s\n' "$@"
  } >compose.yaml
  printf 'first line of the key\nsecond line of the key\n' >key
}

all_receivers() {
  printf '%s\n' "{ slack: '$HTTP/slack/$PROJECT/T000/B000/XXXXXXXX' }" "{ discord: '$HTTP/discord/$PROJECT' }" "{ ntfy: '$HTTP/ntfy-$PROJECT' }" \
    "{ webhook: '$HTTP/hook/$PROJECT' }" "{ mail: { server: '$SMTP', from: stead@example.com, to: [$PROJECT@example.com, ops@example.com] } }"
}

# What came for this test's stack, as one JSON array; a line that is only being written has not come.
came() {
  jq -nRc --arg p "$PROJECT" '[inputs | fromjson? | select((.path // "" | split("/") | index($p)) or .body.topic? == "ntfy-" + $p or (.to // [] | index($p + "@example.com")))]' \
    "$RECEIVED/messages"
}
is_there() { # N FILTER: so many messages pass it
  local n
  n=$(came | jq "[.[] | select($2)] | length")
  echo "$n of $1: $2"
  [[ $n -eq $1 ]]
}
no_problems() { is "$(came | jq -c '[.[].problems[]]')" '[]'; }

@test "a deploy is told to all kinds of receivers, within their limits" {
  mapfile -t receivers < <(all_receivers)
  stack 1 "sleep 1000" "${receivers[@]}"
  export SUDO_USER=ann STEAD_COMMIT=0a1b2c3 STEAD_AUTHOR=Ann
  ok stead deploy
  within 30 is_there 10 true # begun and done, five receivers
  no_problems
  is "$(came | jq -r '[.[] | select(.path == "/hook/'"$PROJECT"'") | .body.event] | join(" ")')" "deploy.started deploy.succeeded"
  is "$(came | jq -r '.[] | select(.body.event? == "deploy.succeeded") | .body | [.stack, .service, .release, .who, .commit, .author] | map(tostring) | join(" ")')" \
    "$PROJECT app 1 ann@$(uname -n) 0a1b2c3 Ann"
  is "$(came | jq -r '[.[] | select(.mail) | .mail.subject] | join("; ")')" \
    "[stead] $PROJECT: deploy of release 1 has begun; [stead] $PROJECT: release 1 is deployed"
  is "$(came | jq -r '[.[] | select(.mail)][0].to | join(" ")')" "$PROJECT@example.com ops@example.com"
}

@test "a failed deploy: step, reason, last lines, and no secret" {
  mapfile -t receivers < <(all_receivers)
  stack 1 "sleep 1000" "${receivers[@]}"
  ok stead deploy
  BAKE=20s stack 2 'echo "connect db with $$DB_PASSWORD"; cat /run/secrets/key; echo "mysql://app:geheim@db/x"; echo "\`\`\`<!channel> @everyone *bold* $$(printf "\\033[31mred")"; echo "post to /slack/'"$PROJECT"'/T000/B000/XXXXXXXX"; exit 3' \
    "${receivers[@]}"
  fails 1 stead deploy
  says "connect db with ***"
  says_not hunter2
  within 30 is_there 20 true
  no_problems
  is "$(came | jq -r '.[] | select(.body.event? == "deploy.failed") | .body | [.release, .base, .service] | map(tostring) | join(" ")')" "2 1 app"
  local log
  log=$(came | jq -r '.[] | select(.body.event? == "deploy.failed") | .body.log | join("\n")')
  is "$log" 'connect db with ***
***
***
mysql://app:***@db/x
```<!channel> @everyone *bold* red
post to /***'
  came >came.json
  not grep -E 'hunter2|geheim|line of the key' came.json
  stead releases 2 --json >report.json
  grep -qF 'connect db with ***' report.json
  not grep -E 'hunter2|geheim|line of the key' report.json
  is "$(came | jq -r '[.[] | select(.path? // "" | startswith("/slack")) | .body.text] | last')" "❌ $PROJECT: deploy of release 2 failed"
  stack 3 "sleep 1001" "${receivers[@]}"
  ok stead deploy
  ok stead rollback
  within 30 is_there 1 '.body.event? == "deploy.rolled_back"'
  is "$(came | jq -c '.[] | select(.body.event? == "deploy.rolled_back") | .body | [.release, .base]')" "[4,3]"
  no_problems
}

@test "receivers that are dead, slow or choosy delay nothing" {
  stack 1 "sleep 1000" "{ webhook: '$HTTP/hang/$PROJECT' }" "{ webhook: 'http://127.0.0.1:1/$PROJECT' }" "{ webhook: '$HTTP/flaky/2/$PROJECT' }" \
    "{ webhook: '$HTTP/status/429/$PROJECT' }" "{ webhook: '$HTTP/status/404/$PROJECT' }" "{ webhook: '$HTTP/hook/$PROJECT', on: alert }" \
    "{ slack: '$HTTP/slack/$PROJECT' }"
  local begin=$SECONDS
  ok stead deploy
  [[ $((SECONDS - begin)) -lt 25 ]] # less than the patience with one that hangs
  within 20 is_there 2 '.path == "/slack/'"$PROJECT"'"'
  within 60 is_there 3 '(.path | startswith("/flaky")) and .body.event == "deploy.started"'
  is "$(came | jq -r '[.[] | select((.path | startswith("/flaky")) and .body.event == "deploy.started") | .body.id] | unique | length')" 1
  within 30 is_there 2 '.path | startswith("/status/404")'
  is_there 0 '.path | startswith("/hook")'
  within 60 grep -F "stack $PROJECT: a notice to webhook (127.0.0.1:1) waits, it will be tried again" "$SANDBOX/log"
  within 60 grep -F "stack $PROJECT: a notice to webhook (${HTTP#http://}) was not sent: answered 404: answer of the receiver" "$SANDBOX/log"
}

@test "a notice that waits survives the daemon" {
  stack 1 "sleep 1000" "{ webhook: '$HTTP/held/$PROJECT' }"
  ok stead deploy
  within 20 not is_there 0 '.status == 503 and .body.event == "deploy.started"'
  daemon_kill
  touch "$RECEIVED/held-$PROJECT"
  daemon_start
  within 60 is_there 1 '.status == 200 and .body.event == "deploy.started"'
  within 60 is_there 1 '.status == 200 and .body.event == "deploy.succeeded"'
  is "$(came | jq -r '[.[] | select(.body.event == "deploy.started") | .body.id] | unique | length')" 1
  left() { sqlite3 "$SANDBOX/state/state.db" 'SELECT count(*) FROM notices'; }
  nothing_waits() { [[ $(left) == 0 ]]; }
  stead down -t 0
  within 20 nothing_waits
}
