#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# ADD of URLs, against tests/url-double: what is fetched, what is asked for again, and what is refused. Contexts that are archives, there and on standard input.

load helpers

setup_file() {
  sandbox_destroy "$SANDBOX"
  sandbox_new "$SANDBOX"
  . "$SANDBOX/env"
  export WEB=$SANDBOX/web no_proxy='*'
  mkdir "$WEB"
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$WEB/key" -out "$WEB/cert" -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>"$WEB/openssl.log"
  echo first >"$WEB/text"
  "$BATS_TEST_DIRNAME/url-double" "$WEB" "$WEB/cert" "$WEB/key" >"$WEB/out" 2>&1 </dev/null 3>&- 4>&- &
  echo $! >"$WEB/pid"
  within 20 test -s "$WEB/port" -a -s "$WEB/other" -a -s "$WEB/tls"
  URL=http://127.0.0.1:$(<"$WEB/port")
  TLS=https://localhost:$(<"$WEB/tls")
  export URL TLS
  daemon_start && tiny_image
}

# With STEAD_TEST_CA, in a mount namespace where this machine trusts that certificate, too.
daemon_argv() {
  [[ -z ${STEAD_TEST_CA:-} ]] || printf '%s\n' unshare -m --propagation slave sh -c \
    'cat /etc/ssl/certs/ca-certificates.crt "$0" >"$0.all"; mount --bind "$0.all" /etc/ssl/certs/ca-certificates.crt && exec "$@"' "$STEAD_TEST_CA"
  printf '%s\n' "$STEAD_EXE" daemon --name "$NAME" --state-dir "$SANDBOX/state" --run-dir "$SANDBOX/run"
}

teardown_file() {
  local status=0
  kill "$(<"$WEB/pid")" 2>/dev/null || true
  sandbox_down || status=1
  sandbox_destroy "$SANDBOX"
  return "$status"
}

# Each test has a server that has been asked nothing.
text() {
  printf '%s\n' "$1" >"$WEB/text"
  : >"$WEB/log"
}
sum() { sha256sum "$WEB/text" | cut -d' ' -f1; }
asked() { jq -r "$1" "$WEB/log"; }

add() { # WORDS of ADD…; the image is built:$PROJECT
  printf 'FROM tiny\nADD %s\n' "$*" >Dockerfile
  stead build -t "built:$PROJECT" .
}
file() { # PATH in the last layer
  echo "$SANDBOX/state/layers/$(stead inspect "built:$PROJECT" | jq -r '.[0].RootFS.Layers[-1]' | cut -c8-39)$1"
}
# Nothing of a download that came to nothing stays.
refuses_add() { # CODE WORDS… -- TEXT…
  local code=$1 words=()
  shift
  while [[ $1 != -- ]]; do words+=("$1") && shift; done
  shift
  fails "$code" add "${words[@]}"
  says "Dockerfile:2: ADD"
  for text in "$@"; do says "$text"; done
  is "$(find "$SANDBOX/state/tmp" -name 'file-*')" ""
}

@test "a file has the URL's name, mode 600, owner root, and the server's time" {
  text "of the server"
  ok add "$URL/modified/page.txt?version=1" /into/
  is "$(<"$(file /into/page.txt)")" "of the server"
  is "$(stat -c '%a %u %g %Y' "$(file /into/page.txt)")" "600 0 0 1594694400"
  ok add "$URL/plain" /as-this
  is "$(<"$(file /as-this)")" "of the server"
  ok add --chmod=755 --chown=app "$URL/plain" /mine
  is "$(stat -c '%a %u' "$(file /mine)")" "755 1000"
  # A date that is none, or no date: the epoch, as docker.
  ok add "$URL/no-date" /dated
  is "$(stat -c %Y "$(file /dated)")" 0
  ok add "$URL/plain" "$URL/etag" /two/
  is "$(<"$(file /two/etag)")" "of the server"
}

@test "a URL without a name needs one" {
  text x
  refuses_add 2 "$URL/" /into/ -- "has no file name"
}

@test "an archive from a URL stays packed, unless --unpack" {
  mkdir sub
  echo inner >sub/file
  tar -czf "$WEB/text" sub
  ok add "$URL/plain" /kept.tgz
  is "$(file /kept.tgz | xargs sha256sum | cut -d' ' -f1)" "$(sum)"
  ok add --unpack "$URL/plain" /unpacked/
  is "$(<"$(file /unpacked/sub/file)")" inner
}

@test "a checksum is compared, and spares the server the question" {
  text checked
  local right
  right=$(sum)
  refuses_add 2 "--checksum=sha256:$(printf 0%.0s {1..64})" "$URL/plain" /f -- "wrong checksum" "$right"
  refuses_add 2 "--checksum=md5:abc" "$URL/plain" /f -- "is not sha256:"
  ok add "--checksum=sha256:$right" "$URL/plain" /f
  is "$(<"$(file /f)")" checked
  text "something else"
  ok add "--checksum=sha256:$right" "$URL/plain" /f
  says "#2 CACHED"
  is "$(<"$(file /f)")" checked
  is "$(asked .path)" ""
  # What is there under another checksum is no answer.
  ok add "--checksum=sha256:$(sum)" "$URL/plain" /f
  is "$(<"$(file /f)")" "something else"
  fails 2 add "--checksum=sha256:$(sum)" sub /f
}

@test "what has not changed is neither sent nor built again" {
  text one
  ok add "$URL/etag?new" /f
  ok add "$URL/etag?new" /f
  says "#2 CACHED"
  is "$(asked .condition | grep -c .)" 1
  text two
  ok add "$URL/etag?new" /f
  says_not "#2 CACHED"
  is "$(<"$(file /f)")" two
  ok add "$URL/modified?new" /f
  text three
  ok add "$URL/modified?new" /f # the server says that it is the same
  says "#2 CACHED"
  is "$(<"$(file /f)")" two
  # Without either, the contents decide.
  ok add "$URL/plain?new" /f
  ok add "$URL/plain?new" /f
  says "#2 CACHED"
  is "$(asked 'select(.path == "/plain?new") | .path' | wc -l)" 2
  ok stead build --no-cache -t "built:$PROJECT" .
  says_not "#2 CACHED"
}

@test "redirects: to another host, not to files, not in circles, not out of TLS" {
  text there
  ok add "$URL/to-other" /f
  is "$(<"$(file /f)")" there
  refuses_add 2 "$URL/to-file" /f -- "neither an http:// nor an https:// URL"
  refuses_add 1 "$URL/loop" /f -- redirects
  ok stead inspect "built:$PROJECT"
}

@test "errors name the URL and what was answered" {
  text x
  refuses_add 1 "$URL/nothing" /f -- "$URL/nothing" "answered 404"
  refuses_add 1 "$URL/short" /f -- "$URL/short"
  refuses_add 1 "http://127.0.0.1:1/f" /f -- "http://127.0.0.1:1/f"
  refuses_add 1 "$TLS/plain" /f -- "$TLS/plain" certificate
  refuses_add 2 "ftp://127.0.0.1/f" /f -- "ftp://"
  printf 'FROM tiny\nCOPY %s /f\n' "$URL/plain" >Dockerfile
  fails 2 stead build .
  says "Dockerfile:2: COPY"
  says ADD
}

@test "a server that has no time just now is asked again" {
  text late
  ok add "$URL/busy" /f
  is "$(<"$(file /f)")" late
}

@test "TLS, where the machine trusts the authority" {
  text "behind TLS"
  daemon_stop
  STEAD_TEST_CA=$WEB/cert daemon_start
  ok add "$TLS/plain" /f
  is "$(<"$(file /f)")" "behind TLS"
  refuses_add 1 "$TLS/down" /f -- "from https to http"
  daemon_stop
  daemon_start
}

@test "an endless file ends with its client, and leaves nothing" {
  text x
  printf 'FROM tiny\nADD %s /f\n' "$URL/endless" >Dockerfile
  "$STEAD_EXE" -H "unix://$SOCK" build . >build.log 2>&1 3>&- &
  local pid=$!
  coming() { [[ -n $(find "$SANDBOX/state/tmp" -name 'file-*' -size +1M) ]]; }
  within 60 coming
  kill -TERM "$pid"
  wait "$pid" && return 1
  grep -q cancelled build.log
  no_worker() { ! leftovers --all | grep -q 'stead-\(worker\|fetch\)'; }
  within 30 no_worker
  gone() { [[ -z $(find "$SANDBOX/state/tmp" -name 'file-*') ]]; }
  within 30 gone
}

@test "a context is an archive, at a URL or on standard input" {
  mkdir -p src/dir tmp
  export TMPDIR=$PWD/tmp
  echo one >src/dir/f
  echo hidden >src/left
  echo left >src/.dockerignore
  printf 'FROM tiny\nCOPY . /c/\n' >src/Dockerfile
  printf 'FROM tiny\nCOPY dir /other/\n' >src/Other
  ok stead build -t "built:$PROJECT" src
  local id pack
  id=$(stead inspect "built:$PROJECT" | jq -r '.[0].Id')
  not test -e "$(file /c/left)"
  for pack in cat gzip; do
    tar -C src -c . | "$pack" >archive
    cp archive "$WEB/text"
    ok stead build -q - <archive
    is "$output" "$id"
    ok stead build -q "$URL/to-other"
    is "$output" "$id"
  done
  ok stead build -f Other -t "built:$PROJECT" - <archive
  is "$(<"$(file /other/f)")" one
  # A further context, which is asked for when something takes from it.
  : >"$WEB/log"
  ok stead build -t "built:$PROJECT" --build-context "far=$URL/plain" - <<<$'FROM tiny\nCOPY --from=far dir /far/\n'
  is "$(<"$(file /far/f)")" one
  is "$(asked .path)" /plain
  ok stead build --build-context "far=$URL/plain" - <<<'FROM tiny'
  is "$(asked .path)" /plain
  compose <<END
services:
  web:
    image: built:$PROJECT
    build: { context: "$URL/plain", additional_contexts: { far: "$URL/busy" }, dockerfile_inline: "FROM tiny\nCOPY --from=far dir /a/\nCOPY dir /b/\n" }
END
  ok stead build web
  is "$(<"$(file /b/f)")" one
  is "$(ls tmp)" ""
}

@test "what is no context: neither an archive nor a Dockerfile, hostile, or not to be had" {
  mkdir -p src tmp
  export TMPDIR=$PWD/tmp
  cp "$STEAD_TEST_CACHE/tiny.tar" src/large
  tar -C src -c . >archive
  fails 2 stead build - <archive
  says "there is no Dockerfile in the context"
  head -c 100000 archive >part
  fails 2 stead build - <part
  says "the tar archive is cut off"
  ln -s "$PWD/real" src/Dockerfile
  echo 'FROM tiny' >real
  tar -C src -c Dockerfile >archive
  fails 2 stead build - <archive
  says "there is no Dockerfile in the context"
  tar -Pc "$PWD/real" >archive
  fails 2 stead build - <archive
  says "is an absolute path"
  tar -C src -Pc ../real >archive
  fails 2 stead build - <archive
  says "leads out"
  gzip <real >archive
  fails 2 stead build - <archive
  says "no tar archive"
  fails 2 stead build - <<<$'FROM \377'
  says "neither a tar archive nor a Dockerfile"
  fails 2 stead build -f real - <real
  says "is a Dockerfile, no archive"
  text '<!DOCTYPE html>'
  fails 2 stead build "$URL/plain"
  says "is a web page"
  text 'FROM tiny'
  ok stead build -q "$URL/plain"
  fails 1 stead build --build-context "far=$URL/plain" - <<<$'FROM tiny\nCOPY --from=far . /\n'
  says "Dockerfile:2: COPY: 'far': $URL/plain is no tar archive"
  fails 2 stead build "$URL/nothing"
  says "$URL/nothing: answered 404"
  fails 2 stead build "$URL/to-file"
  fails 2 stead build "$URL/endless"
  says "for a Dockerfile too large"
  fails 2 stead build "http://me:sesame@127.0.0.1:1/x.tgz"
  says "user name"
  says_not sesame
  is "$(ls tmp)" ""
}
