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
