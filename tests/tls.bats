#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Certificates at the edge: the box's own, users' files, and ACME against pebble, with the edge's own
# ports in place of 80 and 443. The daemon runs in a mount namespace whose /etc/hosts has the names that
# pebble is to find here; pebble asks a DNS server of its own.

load helpers

HTTP=1 HTTPS=2 ACME=3 ACME_ADMIN=4 DNS=5 DNS_ADMIN=6 # port numbers of this file

daemon_argv() {
  printf '%s\n' nsenter --mount="/proc/$(cat "$SANDBOX/holder.pid")/ns/mnt" \
    "$STEAD_EXE" daemon --name "$NAME" --state-dir "$SANDBOX/state" --run-dir "$SANDBOX/run" \
    --edge-http "127.0.0.1:$(port $HTTP)" --edge-https "127.0.0.1:$(port $HTTPS)" \
    --acme-server "https://localhost:$(port $ACME)/dir" --acme-email admin@example.com --acme-ca "$SANDBOX/acme/ca.pem"
}

# Holds the mount namespace, so that a daemon that comes back finds its mounts.
namespace_start() {
  printf '127.0.0.1 localhost\n127.0.0.1 %s\n192.0.2.1 elsewhere.example.com\n' \
    "app.example.com one.example.com two.example.com renewed.example.com killed.example.com" >"$SANDBOX/hosts"
  # shellcheck disable=SC2016 # expanded by that shell
  unshare -m bash -c 'mount --bind "$1" /etc/hosts && exec sleep 1000000' - "$SANDBOX/hosts" >/dev/null 2>&1 </dev/null 3>&- 4>&- &
  echo $! >"$SANDBOX/holder.pid"
  disown $!
  within 20 holder_ready
}
holder_ready() { nsenter --mount="/proc/$(cat "$SANDBOX/holder.pid")/ns/mnt" grep -q app.example.com /etc/hosts; }

have_pebble() { command -v pebble >/dev/null && command -v pebble-challtestsrv >/dev/null && command -v uacme >/dev/null; }

background() { # NAME CMD…
  local name=$1
  shift
  "$@" >"$SANDBOX/acme/$name.log" 2>&1 </dev/null 3>&- 4>&- &
  echo $! >"$SANDBOX/acme/$name.pid"
  disown $!
}

pebble_start() {
  local d=$SANDBOX/acme
  mkdir -p "$d"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=test" \
    -keyout "$d/ca.key" -out "$d/ca.pem" 2>/dev/null
  issue localhost 30 "$d/server" "DNS:localhost,IP:127.0.0.1"
  cat >"$d/config.json" <<END
{"pebble": {"listenAddress": "127.0.0.1:$(port $ACME)", "managementListenAddress": "127.0.0.1:$(port $ACME_ADMIN)",
 "certificate": "$d/server.crt", "privateKey": "$d/server.key", "httpPort": $(port $HTTP), "tlsPort": $(port $HTTPS),
 "ocspResponderURL": "", "externalAccountBindingRequired": false}}
END
  have_pebble || return 0
  background dns pebble-challtestsrv -defaultIPv4 127.0.0.1 -defaultIPv6 "" -http01 "" -https01 "" -tlsalpn01 "" \
    -dns01 "127.0.0.1:$(port $DNS)" -management "127.0.0.1:$(port $DNS_ADMIN)"
  pebble_run
}

pebble_run() {
  background pebble env PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 pebble -config "$SANDBOX/acme/config.json" \
    -dnsserver "127.0.0.1:$(port $DNS)"
  within 30 pebble_up
}
pebble_up() { curl -sf --cacert "$SANDBOX/acme/ca.pem" "https://localhost:$(port $ACME_ADMIN)/roots/0" >"$SANDBOX/acme/root.pem"; }
end_process() { # PIDFILE
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 0
  kill -KILL "$pid" 2>/dev/null || return 0
  within 20 not sandbox_alive "$pid"
}

setup_file() {
  sandbox_destroy "$SANDBOX"
  sandbox_new "$SANDBOX"
  . "$SANDBOX/env"
  pebble_start
  namespace_start
  daemon_start && tiny_image
}

teardown_file() {
  local status=0 f
  sandbox_down || status=1
  for f in "$SANDBOX"/acme/*.pid "$SANDBOX/holder.pid"; do
    end_process "$f"
  done
  sandbox_destroy "$SANDBOX"
  return "$status"
}

# A certificate of the test's own authority: FILE.crt and FILE.key
issue() { # CN DAYS FILE [SUBJECTALTNAME]
  local d=$SANDBOX/acme
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$3.key" -out "$3.csr" 2>/dev/null
  openssl x509 -req -in "$3.csr" -CA "$d/ca.pem" -CAkey "$d/ca.key" -set_serial "0x$(openssl rand -hex 8)" -days "$2" \
    -extfile <(echo "subjectAltName=${4:-DNS:$1}") -out "$3.crt" 2>/dev/null
}

# ROUTES: YAML, one a line, of the service `web`
web() {
  { printf 'services:\n  web:\n    image: tiny\n    command: [server]\n    expose: [8080]\n    x-stead:\n      routes:\n'
    sed 's/^/      - /'; } >compose.yaml
}

# As a browser would: by name, with these trusted authorities.
https() { # CAFILE HOST [CURL-OPTION…]
  local ca=$1 host=$2
  shift 2
  curl -sS --max-time 20 --noproxy '*' --cacert "$ca" --connect-to "::127.0.0.1:" "$@" "https://$host:$(port $HTTPS)${URL_PATH:-/}"
}
http() { # HOST [CURL-OPTION…]
  local host=$1
  shift
  curl -sS --max-time 20 --noproxy '*' --connect-to "::127.0.0.1:" "$@" "http://$host:$(port $HTTP)${URL_PATH:-/}"
}
local_ca() { echo "$SANDBOX/state/edge/ca/stead-ca.crt"; }
serial() { # HOST: of the certificate that a client is given
  openssl s_client -connect "127.0.0.1:$(port $HTTPS)" -servername "$1" </dev/null 2>/dev/null | openssl x509 -noout -serial
}
issuer() { openssl s_client -connect "127.0.0.1:$(port $HTTPS)" -servername "$1" </dev/null 2>/dev/null | openssl x509 -noout -issuer; }
route() { # HOST FILTER: of `stead routes`
  api GET /stead/v1/routes | jq -r --arg h "$1" ".[] | select(.host == \$h) | $2"
}
haproxy_pid() { pgrep -f "^[^ ]*haproxy .*$SANDBOX/run/edge/haproxy.cfg" | sort | tr "\n" " "; }
serves() { [[ $(serial "$1") == "serial=$(openssl x509 -noout -serial -in "$2" | cut -d= -f2)" ]]; } # HOST FILE
route_says() { [[ $(route "$1" "$2") == *"$3"* ]]; } # HOST FILTER TEXT
http_says() { [[ $(http "$1" -o body -w '%{http_code}') == "$2" ]]; } # HOST STATUS

@test "names that no public CA knows get certificates of the box" {
  web <<'END'
host: app.test
{ host: plain.test, tls: off }
host: nas
END
  ok stead up -d
  within 30 route_says app.test .tls self-signed
  within 30 https "$(local_ca)" app.test -f -o body
  ok https "$(local_ca)" app.test -o body -w '%{http_version} %{http_code}'
  is "$output" "2 200"
  # What a client sees of it: short-lived, ECDSA; nothing that is not asked for.
  ok https "$(local_ca)" app.test -D -
  says_not -i
  [[ ${output,,} != *strict-transport-security* ]]
  # HTTP leads there, with the path, and keeps the method.
  within 30 http_says app.test 301
  URL_PATH='/x?y=1' ok http app.test -o body -w '%{http_code} %{redirect_url}'
  is "$output" "301 https://app.test:$(port $HTTPS)/x?y=1"
  ok http app.test -X POST -d a=b -o body -w '%{http_code}'
  is "$output" 308
  # Not where the route says off.
  within 30 http_says plain.test 200
  is "$(route plain.test .tls)" off
  # A single label is outside of the authority's constraints.
  within 30 eval '[[ $(issuer nas) == *"CN = nas"* ]]'
  is "$(stat -c %a "$SANDBOX/state/edge/certs/app.test.pem" "$SANDBOX/state/edge/ca/ca.pem" | sort -u)" 600
  # Where the authority's certificate is, is said.
  ok stead routes
  says "$(local_ca)"
  stead routes --ca >ca.crt
  cmp ca.crt "$(local_ca)"
}

@test "old protocols are refused, sessions resume without tickets" {
  web <<<'host: app.test'
  ok stead up -d
  within 30 https "$(local_ca)" app.test
  local to name=app.test
  to=127.0.0.1:$(port $HTTPS)
  not openssl s_client -connect "$to" -servername $name -tls1_1 -cipher 'ALL:@SECLEVEL=0' </dev/null
  ok openssl s_client -connect "$to" -servername $name -tls1_2 -sess_out session </dev/null
  says_not "TLS session ticket:"
  ok openssl s_client -connect "$to" -servername $name -tls1_2 -sess_in session </dev/null
  says "Reused, TLSv1.2"
  ok openssl s_client -connect "$to" -servername $name -tls1_3 </dev/null
  says "TLSv1.3"
  not openssl s_client -connect "$to" -servername $name -tls1_2 -cipher 'AES128-SHA:DES-CBC3-SHA' </dev/null
}

@test "files: served, replaced while HAProxy runs, kept where the new ones are bad" {
  issue own.example.com 30 own
  issue own.example.com 30 next
  web <<<'{ host: own.example.com, tls: { cert: own.crt, key: own.key } }'
  ok stead up -d
  within 30 serves own.example.com own.crt
  ok https "$SANDBOX/acme/ca.pem" own.example.com -o body
  is "$(route own.example.com .tls)" file
  local pid
  pid=$(haproxy_pid)
  # As certbot does: another file by rename. The halves come one after the other.
  cp own.crt before.crt
  cp next.crt tmp && mv tmp own.crt
  within 60 route_says own.example.com '.certificate.error // ""' "does not belong"
  serves own.example.com before.crt
  cp next.key tmp && mv tmp own.key
  within 60 serves own.example.com next.crt
  within 60 route_says own.example.com '.certificate.error // "fine"' fine
  # Gone altogether: the copy serves.
  rm own.crt
  within 60 route_says own.example.com '.certificate.error // ""' own.crt
  serves own.example.com next.crt
  is "$(haproxy_pid)" "$pid"
}

@test "files that cannot be used are refused before anything changes" {
  issue own.example.com 30 own
  issue own.example.com 30 other
  issue www.example.com 30 www
  mkdir directory
  echo garbage >garbage
  truncate -s 1G huge
  openssl pkey -in own.key -aes128 -passout pass:x -out locked.key
  web <<<'host: own.test'
  ok stead up -d
  before=$(id_of web)
  local cert key text
  while read -r cert key text; do
    web <<<"{ host: own.example.com, tls: { cert: $cert, key: $key } }"
    fails 2 stead up -d
    says "compose.yaml:8"
    says "$text"
    is "$(id_of web)" "$before"
    is "$(route own.test .host)" own.test
  done <<END
own.crt other.key $PWD/other.key: the private key does not belong to a certificate in $PWD/own.crt
www.crt www.key $PWD/www.crt: the certificate is not for own.example.com but for www.example.com
garbage own.key $PWD/garbage: no certificate
own.crt garbage $PWD/garbage: no private key
directory own.key $PWD/directory: a directory, not a PEM file
own.crt directory $PWD/directory: a directory
huge own.key $PWD/huge: 1073741824 bytes
missing.crt own.key $PWD/missing.crt: No such file
own.crt locked.key $PWD/locked.key: the private key is protected by a passphrase
END
  # Expired is the user's to judge.
  issue old.example.com -1 old
  web <<<'{ host: old.example.com, tls: { cert: old.crt, key: old.key } }'
  ok stead up -d
  within 30 route_says old.example.com '.certificate.error // ""' expired
}

@test "two stacks do not have two certificates for one host" {
  issue own.example.com 30 own
  issue own.example.com 30 other
  web <<<'{ host: own.example.com, tls: { cert: own.crt, key: own.key } }'
  ok stead up -d
  within 30 serves own.example.com own.crt
  web <<<'{ host: own.example.com, path: /b, tls: { cert: other.crt, key: other.key } }'
  fails 2 stead -p "${PROJECT}b" up -d
  says "service 'web' of stack '$PROJECT' has another certificate for own.example.com"
  web <<<'{ host: own.example.com, path: /b }'
  ok stead -p "${PROJECT}b" up -d
  serves own.example.com own.crt
  is "$(api GET /stead/v1/routes | jq -r '.[] | select(.path == "/b") | .tls')" file
  ok stead -p "${PROJECT}b" down -t 0
}

@test "several hosts: each its own certificate, the default one for others" {
  issue one.example.org 30 one
  issue '*.example.org' 30 wild
  web <<'END'
{ host: one.example.org, tls: { cert: one.crt, key: one.key } }
{ host: "*.example.org", tls: { cert: wild.crt, key: wild.key } }
host: local.test
{ host: "*.example.net" }
END
  ok stead up -d
  within 30 serves one.example.org one.crt
  within 30 serves two.example.org wild.crt
  within 30 https "$(local_ca)" local.test
  # A name of no route, and one that only a DNS challenge would get: the default.
  is "$(serial nobody.example)" "$(serial x.example.net)"
  ok issuer nobody.example
  says "stead local CA"
  within 30 route_says "*.example.net" '.certificate.error // ""' "DNS challenge"
  within 30 http_says x.example.net 200
}

@test "ACME: served over HTTP until the certificate is there" {
  have_pebble || skip "pebble, pebble-challtestsrv or uacme is not installed"
  web <<<'host: app.example.com'
  ok stead up -d
  within 60 route_says app.example.com '.certificate.own | tostring' true
  is "$(route app.example.com .tls)" acme
  [[ $(route app.example.com .certificate.issuer) == *Pebble* ]]
  within 30 https "$SANDBOX/acme/root.pem" app.example.com -o body
  within 30 http_says app.example.com 301
  # Keys are root's alone.
  is "$(find "$SANDBOX/state/edge" \( -name '*key*' -o -name '*.pem' \) -type f -perm /077)" ""
  # The path of challenges is answered for this host, and is not redirected.
  URL_PATH=/.well-known/acme-challenge/abc ok http app.example.com
  [[ $output =~ ^abc\.[A-Za-z0-9_-]{43}$ ]]
}

@test "ACME: the service answers challenges of hosts that are not ours to certify" {
  web <<<'{ host: other.example.com, tls: off }'
  ok stead up -d
  within 20 http other.example.com -f -o body
  URL_PATH=/.well-known/acme-challenge/abc ok http other.example.com -o body -w '%{http_code}'
  is "$output" 404
}

@test "ACME: nothing is asked for a name that does not lead here" {
  have_pebble || skip "pebble, pebble-challtestsrv or uacme is not installed"
  web <<'END'
host: elsewhere.example.com
host: nowhere.invalid-tld.example.com
END
  ok stead up -d
  within 60 route_says nowhere.invalid-tld.example.com '.certificate.error // ""' "no address in the DNS"
  within 60 route_says elsewhere.example.com '.certificate.error // ""' "not an address of this machine"
  not grep -q elsewhere.example.com "$SANDBOX/acme/pebble.log"
  # Served over HTTP all the while; HTTPS gives the default certificate.
  within 30 http_says elsewhere.example.com 200
  ok issuer elsewhere.example.com
  says "stead local CA"
}

@test "ACME: two hosts at once, and an account that the server has forgotten" {
  have_pebble || skip "pebble, pebble-challtestsrv or uacme is not installed"
  # Another pebble knows nobody, and has another root.
  end_process "$SANDBOX/acme/pebble.pid"
  pebble_run
  web <<'END'
host: one.example.com
host: two.example.com
END
  ok stead up -d
  within 90 route_says one.example.com '.certificate.own | tostring' true
  within 90 route_says two.example.com '.certificate.own | tostring' true
  within 30 https "$SANDBOX/acme/root.pem" one.example.com -o body
  within 30 https "$SANDBOX/acme/root.pem" two.example.com -o body
}

@test "ACME: a certificate near its end is renewed" {
  have_pebble || skip "pebble, pebble-challtestsrv or uacme is not installed"
  jq '.pebble.certificateValidityPeriod = 30' "$SANDBOX/acme/config.json" >config.json
  cp "$SANDBOX/acme/config.json" before.json
  cp config.json "$SANDBOX/acme/config.json"
  end_process "$SANDBOX/acme/pebble.pid"
  pebble_run
  cp before.json "$SANDBOX/acme/config.json"
  web <<<'host: renewed.example.com'
  ok stead up -d
  within 90 route_says renewed.example.com '.certificate.own | tostring' true
  local first
  within 30 eval '[[ $(issuer renewed.example.com) == *Pebble* ]]'
  first=$(serial renewed.example.com)
  renewed() {
    local now
    now=$(serial renewed.example.com)
    [[ $now == serial=* && $now != "$first" ]]
  }
  within 120 renewed
}

@test "kill -9 of the daemon: HAProxy keeps its certificates, an order is taken up again" {
  have_pebble || skip "pebble, pebble-challtestsrv or uacme is not installed"
  issue own.example.com 30 own
  web <<'END'
{ host: own.example.com, tls: { cert: own.crt, key: own.key } }
host: killed.example.com
host: app.test
END
  ok stead up -d
  within 30 serves own.example.com own.crt
  within 30 https "$(local_ca)" app.test -o body
  for _ in 1 2 3; do
    daemon_kill
    ok https "$SANDBOX/acme/ca.pem" own.example.com -o body
    daemon_start
    ok https "$SANDBOX/acme/ca.pem" own.example.com -o body
    ok https "$(local_ca)" app.test -o body
  done
  within 90 route_says killed.example.com '.certificate.own | tostring' true
}

@test "kill -9 of the daemon between two steps of a change: the change is made" {
  issue own.example.com 30 own
  issue own.example.com 30 next
  issue zz.example.com 30 zz
  web <<'END'
{ host: own.example.com, tls: { cert: own.crt, key: own.key } }
{ host: zz.example.com, tls: { cert: zz.crt, key: zz.key } }
END
  ok stead up -d
  within 30 serves own.example.com own.crt
  within 30 serves zz.example.com zz.crt
  daemon_kill
  # It has died with one certificate set and not committed, and another one installed that HAProxy has not heard of.
  { printf 'set ssl cert %s <<\n' "$SANDBOX/state/edge/certs/zz.example.com.pem"
    cat zz.crt zz.key
    echo; } | nc -N -U "$SANDBOX/run/edge/admin.sock" >answer
  grep -q Transaction answer
  cp next.crt own.crt
  cp next.key own.key
  cat next.crt next.key >"$SANDBOX/state/edge/certs/own.example.com.pem"
  daemon_start
  within 60 serves own.example.com next.crt
  serves zz.example.com zz.crt
}

@test "the daemon comes back and another program has a port: routes say so, and nobody waits at the other port" {
  web <<<'host: app.test'
  ok stead up -d
  within 30 https "$(local_ca)" app.test -o body
  daemon_kill
  # shellcheck disable=SC2046 # pids
  kill -KILL $(haproxy_pid)
  gone() { [[ -z $(haproxy_pid) ]]; }
  within 20 gone
  nc -l 127.0.0.1 "$(port $HTTPS)" 3>&- &
  local holder=$!
  held() { grep -q "$(printf ':%04X 00000000:0000 0A' "$(port $HTTPS)")" /proc/net/tcp; }
  within 20 held
  daemon_start
  routes_say() { stead routes 2>&1 | grep -q "nothing is served: port $(port $HTTPS) is held by .*(pid $holder)"; }
  within 20 routes_say
  refused() { # not while the daemon tries once more
    local code=0
    http app.test -o body || code=$?
    [[ $code -eq 7 ]]
  }
  within 20 refused
  kill "$holder"
  within 60 https "$(local_ca)" app.test -o body
  within 20 not routes_say
}

@test "50 certificates replaced under load: no handshake fails" {
  local i
  issue many 30 many "$(for i in {1..50}; do printf 'DNS:h%d.example.org,' "$i"; done | sed 's/,$//')"
  for i in {1..50}; do
    cp many.crt "h$i.crt"
    cp many.key "h$i.key"
    echo "{ host: h$i.example.org, tls: { cert: h$i.crt, key: h$i.key } }"
  done | web
  ok stead up -d
  all_of() { # INDEX…: have what is in many.crt now
    for i in "$@"; do
      serves "h$i.example.org" many.crt || return 1
    done
  }
  within 60 all_of {1..50}
  within 30 https "$SANDBOX/acme/ca.pem" h50.example.org -f -o body
  # New connections all the time, each a handshake of its own (no session is kept).
  for i in {1..50}; do
    printf 'url = "https://h%d.example.org:%d/"\noutput = "body"\nwrite-out = "%%{http_code} %%{errormsg}\\n"\n' "$i" "$(port $HTTPS)"
  done >urls
  shake() {
    while [[ ! -e enough ]]; do
      curl -sS --max-time 20 --noproxy '*' --cacert "$SANDBOX/acme/ca.pem" --connect-to "::127.0.0.1:" --no-sessionid -H 'Connection: close' --http1.1 -K urls >>"answers.$1" 2>&1
    done
  }
  shake 1 3>&- 4>&- &
  local one=$!
  shake 2 3>&- 4>&- &
  local two=$!
  issue many 30 many "$(for i in {1..50}; do printf 'DNS:h%d.example.org,' "$i"; done | sed 's/,$//')"
  for i in {1..50}; do
    cp many.key tmp && mv tmp "h$i.key"
    cp many.crt tmp && mv tmp "h$i.crt"
  done
  within 120 all_of 1 17 50
  touch enough
  wait "$one" "$two"
  [[ $(cat answers.* | wc -l) -gt 50 ]]
  is "$(cat answers.* | grep -v '^200 $' | head)" ""
}
