#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Registries: Debian's docker-registry, with skopeo and docker as further clients, with TLS and passwords; and tests/registry-double, which lies.

load helpers

setup_file() {
  sandbox_destroy "$SANDBOX"
  sandbox_new "$SANDBOX"
  . "$SANDBOX/env"
  export REG=$SANDBOX/registry RULES=$SANDBOX/registries.conf DOCKER_CONFIG=$SANDBOX/docker no_proxy='*'
  mkdir "$REG" "$DOCKER_CONFIG"
  : >"$RULES"
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$REG/key" -out "$REG/cert" -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>"$REG/openssl.log"
  htpasswd -Bbn me sesame >"$REG/htpasswd" 2>/dev/null
  registry plain "$(port 1)" ""
  registry tls "$(port 2)" "  tls: {certificate: $REG/cert, key: $REG/key}
auth: {htpasswd: {realm: test, path: $REG/htpasswd}}"
  mkdir "$REG/double"
  "$BATS_TEST_DIRNAME/registry-double" "$REG/double" >"$REG/double/out" 2>&1 </dev/null 3>&- 4>&- &
  echo $! >"$REG/double.pid"
  within 20 test -s "$REG/double/port" -a -s "$REG/double/other"
  within 20 curl -s "http://127.0.0.1:$(port 1)/v2/"
  within 20 curl -sk "https://127.0.0.1:$(port 2)/v2/"
  PLAIN=127.0.0.1:$(port 1) TLS=localhost:$(port 2) DOUBLE=127.0.0.1:$(<"$REG/double/port")
  export PLAIN TLS DOUBLE
  daemon_start && tiny_image
}

# docker-registry on a port of its own.
registry() { # NAME PORT FURTHER-CONFIGURATION
  cat >"$REG/$1.yml" <<END
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $REG/$1}, delete: {enabled: true}}
http:
  addr: 127.0.0.1:$2
$3
END
  docker-registry serve "$REG/$1.yml" >"$REG/$1.log" 2>&1 </dev/null 3>&- 4>&- &
  echo $! >"$REG/$1.pid"
}

daemon_argv() {
  printf '%s\n' "$STEAD_EXE" daemon --name "$NAME" --state-dir "$SANDBOX/state" --run-dir "$SANDBOX/run" --registries "$RULES"
}

teardown_file() {
  local status=0 name
  for name in plain tls double; do
    kill "$(<"$REG/$name.pid")" 2>/dev/null || true
  done
  sandbox_down || status=1
  sandbox_destroy "$SANDBOX"
  return "$status"
}

# Removes an image and its layers; one that is not there is fine.
gone() { for name in "$@"; do stead rmi -f "$name" >/dev/null 2>&1 || true; done; }

skopeo_to() { skopeo --insecure-policy copy -q --dest-tls-verify=false "$@"; }

# A root file system as an OCI layout of two layers: OUT.
layout() {
  rm -rf work "$1"
  mkdir -p work/a work/b
  cp "$STEAD_TEST_CACHE/tiny.tar" work/a.tar
  echo "$RANDOM $1" >work/b/second
  tar -C work/b -cf work/b.tar .
  mkdir work/dir
  local a b
  a=$(sha256sum work/a.tar | cut -d' ' -f1) b=$(sha256sum work/b.tar | cut -d' ' -f1)
  jq -nc --arg a "sha256:$a" --arg b "sha256:$b" --arg arch "${2:-$(architecture)}" '{architecture: $arch, os: "linux", config: {Cmd: ["sleep", "1000000"], Env: ["PATH=/bin"]},
    rootfs: {type: "layers", diff_ids: [$a, $b]}}' >work/config
  local c
  c=$(sha256sum work/config | cut -d' ' -f1)
  mkdir -p "$1/blobs/sha256"
  cp work/a.tar "$1/blobs/sha256/$a"
  cp work/b.tar "$1/blobs/sha256/$b"
  cp work/config "$1/blobs/sha256/$c"
  jq -nc --arg a "sha256:$a" --arg b "sha256:$b" --arg c "sha256:$c" --argjson asize "$(stat -c %s work/a.tar)" --argjson bsize "$(stat -c %s work/b.tar)" \
    --argjson cs "$(stat -c %s work/config)" '{schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $c, size: $cs},
      layers: [{mediaType: "application/vnd.oci.image.layer.v1.tar", digest: $a, size: $asize}, {mediaType: "application/vnd.oci.image.layer.v1.tar", digest: $b, size: $bsize}]}' >work/manifest
  local m
  m=$(sha256sum work/manifest | cut -d' ' -f1)
  cp work/manifest "$1/blobs/sha256/$m"
  jq -nc --arg m "sha256:$m" --argjson ms "$(stat -c %s work/manifest)" '{schemaVersion: 2, manifests: [{mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $m, size: $ms}]}' >"$1/index.json"
  echo '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
  echo "sha256:$c" >"$1.id"
}

architecture() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    armv*) echo arm ;;
    *) uname -m ;;
  esac
}

id() { api GET "/images/$1/json" | jq -r .Id; }
digest() { api GET "/images/$1/json" | jq -r '.RepoDigests[0]'; }

# What the double was asked, a jq filter over its log.
asked() { jq -c "$1" "$REG/double/log"; }
refuses_pull() { # NAME TEXT…
  local before
  before=$(find "$SANDBOX/state/layers" "$SANDBOX/state/blobs" | sort)
  fails 1 stead pull "$DOUBLE/$1:1"
  shift
  for text in "$@"; do says "$text"; done
  is "$(find "$SANDBOX/state/layers" "$SANDBOX/state/blobs" | sort)" "$before"
}

# --- the real one

@test "an image comes by tag and by digest, and runs" {
  layout oci
  skopeo_to oci:oci "docker://$PLAIN/team/app:1"
  ok stead pull "$PLAIN/team/app:1"
  says "Downloaded newer image for $PLAIN/team/app:1"
  is "$(id "$PLAIN/team/app:1")" "$(<oci.id)"
  local ref
  ref=$(digest "$PLAIN/team/app:1")
  is "$ref" "$PLAIN/team/app@$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$PLAIN/team/app:1")"
  ok stead pull "$PLAIN/team/app:1"
  says "Image is up to date"
  gone "$PLAIN/team/app:1"
  ok stead pull -q "$ref"
  is "$output" "$ref"
  is "$(id "$ref")" "$(<oci.id)"
  compose <<END
services:
  a: {image: "$ref"}
END
  ok stead up -d
  ok inside a cat /second
  ok stead down -t 0
  ok stead rmi "$ref"
  fails 1 stead inspect "$ref"
}

@test "gzip and zstd, Docker's format and OCI's give the same files" {
  layout oci
  skopeo_to --dest-compress-format gzip --dest-compress oci:oci "docker://$PLAIN/forms:gzip"
  skopeo_to --dest-compress-format zstd --dest-compress oci:oci "docker://$PLAIN/forms:zstd"
  skopeo_to --format v2s2 oci:oci "docker://$PLAIN/forms:docker"
  local form
  for form in gzip zstd docker; do
    ok stead pull "$PLAIN/forms:$form"
    is "$(id "$PLAIN/forms:$form")" "$(<oci.id)"
    gone "$PLAIN/forms:$form"
  done
}

@test "of an image for several platforms comes the one for this machine, or the one that is asked for" {
  local other=arm64 a b
  [[ $(architecture) != arm64 ]] || other=amd64
  layout oci
  layout strange "$other"
  skopeo_to oci:oci "docker://$PLAIN/multi:a"
  skopeo_to oci:strange "docker://$PLAIN/multi:b"
  a=$(skopeo inspect --raw --tls-verify=false "docker://$PLAIN/multi:a" | tee a.json | sha256sum | cut -d' ' -f1)
  b=$(skopeo inspect --raw --tls-verify=false "docker://$PLAIN/multi:b" | tee b.json | sha256sum | cut -d' ' -f1)
  jq -nc --arg a "sha256:$a" --arg b "sha256:$b" --arg this "$(architecture)" --arg other "$other" --argjson asize "$(stat -c %s a.json)" --argjson bsize "$(stat -c %s b.json)" '
    {schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [
      {mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $b, size: $bsize, platform: {os: "linux", architecture: $other}},
      {mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $a, size: $asize, platform: {os: "linux", architecture: $this}}]}' >index.json
  curl -sS -f -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' --data-binary @index.json "http://$PLAIN/v2/multi/manifests/1"
  ok stead pull "$PLAIN/multi:1"
  is "$(id "$PLAIN/multi:1")" "$(<oci.id)"
  is "$(digest "$PLAIN/multi:1")" "$PLAIN/multi@sha256:$(sha256sum index.json | cut -d' ' -f1)"
  ok stead pull --platform "linux/$other" "$PLAIN/multi:1"
  is "$(id "$PLAIN/multi:1")" "$(<strange.id)"
  fails 1 stead pull --platform linux/s390x "$PLAIN/multi:1"
  says "no image for linux/s390x"
  fails 1 stead pull --platform plan9/amd64 "$PLAIN/multi:1"
  says "only linux images"
  gone "$PLAIN/multi:1" "$(<oci.id)" "$(<strange.id)"
}

@test "layers that are here are not fetched" {
  layout oci
  skopeo_to oci:oci "docker://$PLAIN/parts:1"
  ok stead pull "$PLAIN/parts:1"
  # The registry loses all layers; the manifest and the configuration are enough.
  local config
  config=$(<oci.id)
  find "$REG/plain/docker/registry/v2/repositories/parts/_layers/sha256" -mindepth 1 -maxdepth 1 ! -name "${config#sha256:}" -exec rm -r {} +
  stead save -o keep.tar "$PLAIN/parts:1"
  ok stead pull "$PLAIN/parts:1"
  says "already here"
  gone "$PLAIN/parts:1"
  fails 1 stead pull "$PLAIN/parts:1"
}

@test "a registry with TLS and a password" {
  layout oci
  skopeo --insecure-policy copy -q --dest-tls-verify=false --dest-creds me:sesame oci:oci "docker://$TLS/secret:1"
  fails 1 stead pull "$TLS/secret:1"
  says "certificate"
  says "write 'ca $TLS FILE' into the daemon's file on registries"
  echo "ca $TLS $REG/cert" >"$RULES"
  fails 1 stead pull "$TLS/secret:1"
  says "401"
  says "stead login"
  fails 1 stead login -u me --password-stdin "$TLS" <<<wrong
  says "refuses this user name and password"
  not test -e "$DOCKER_CONFIG/config.json"
  ok stead login -u me --password-stdin "$TLS" <<<sesame
  says "Login Succeeded"
  is "$(stat -c %a "$DOCKER_CONFIG/config.json")" 600
  ok stead pull "$TLS/secret:1"
  is "$(id "$TLS/secret:1")" "$(<oci.id)"
  gone "$TLS/secret:1"
  ok stead logout "$TLS"
  says "Removed the credentials"
  fails 1 stead pull "$TLS/secret:1"
  ok stead logout "$TLS"
  says "Not logged in"
  : >"$RULES"
}

@test "credential helpers are asked, and keep what a login gives them" {
  mkdir -p bin
  cat >bin/docker-credential-test <<END
#!/bin/sh
echo "\$1" >>"$PWD/helper.log"
case \$1 in
  get) [ -e "$PWD/kept" ] && cat "$PWD/kept" || { echo "credentials not found in native keychain"; exit 1; } ;;
  store) cat >"$PWD/kept" ;;
  erase) rm -f "$PWD/kept" ;;
esac
END
  chmod +x bin/docker-credential-test
  echo '{"credHelpers": {"'"$TLS"'": "test"}, "other": [1, 2]}' >"$DOCKER_CONFIG/config.json"
  echo "ca $TLS $REG/cert" >"$RULES"
  PATH=$PWD/bin:$PATH ok stead login -u me --password-stdin "$TLS" <<<sesame
  not grep -q sesame "$DOCKER_CONFIG/config.json"
  is "$(jq -c .other "$DOCKER_CONFIG/config.json")" '[1,2]'
  is "$(jq -r .Username kept)" me
  layout oci
  skopeo --insecure-policy copy -q --dest-tls-verify=false --dest-creds me:sesame oci:oci "docker://$TLS/helped:1"
  PATH=$PWD/bin:$PATH ok stead pull "$TLS/helped:1"
  PATH=$PWD/bin:$PATH ok stead logout "$TLS"
  not test -e kept
  PATH=$PWD/bin:$PATH fails 1 stead pull "$TLS/helped:1"
  echo '{"credsStore": "missing"}' >"$DOCKER_CONFIG/config.json"
  fails 1 stead pull "$TLS/helped:1"
  says "docker-credential-missing' is not on the PATH"
  printf '{\n  "auths": [\n' >"$DOCKER_CONFIG/config.json"
  fails 1 stead pull "$TLS/helped:1"
  says "$DOCKER_CONFIG/config.json:3"
  rm "$DOCKER_CONFIG/config.json"
  gone "$TLS/helped:1"
  : >"$RULES"
}

@test "the file on registries: mirrors, and errors with file and line" {
  printf '# ours\nmirror example.invalid http://%s\n' "$PLAIN" >"$RULES"
  layout oci
  skopeo_to oci:oci "docker://$PLAIN/mirrored:1"
  ok stead pull example.invalid/mirrored:1
  is "$(id example.invalid/mirrored:1)" "$(<oci.id)"
  printf 'mirror example.invalid http://127.0.0.1:1\nmirror example.invalid http://%s\n' "$PLAIN" >"$RULES"
  ok stead pull example.invalid/mirrored:1
  printf '\n\nmiror x y\n' >"$RULES"
  fails 1 stead pull example.invalid/mirrored:1
  says "$RULES:3: unknown rule 'miror'"
  : >"$RULES"
  gone example.invalid/mirrored:1
}

@test "docker pulls and logs in through the socket" {
  command -v docker >/dev/null || skip "docker is not installed"
  layout oci
  skopeo_to oci:oci "docker://$PLAIN/docker:1"
  ok docker -H "unix://$SOCK" pull "$PLAIN/docker:1"
  says "Pull complete"
  is "$(id "$PLAIN/docker:1")" "$(<oci.id)"
  fails 1 docker -H "unix://$SOCK" pull "$PLAIN/nothing:1"
  says "manifest unknown: there is no such image or tag there"
  echo "ca $TLS $REG/cert" >"$RULES"
  ok docker -H "unix://$SOCK" login -u me --password-stdin "$TLS" <<<sesame
  fails 1 docker -H "unix://$SOCK" login -u me --password-stdin "$TLS" <<<wrong
  : >"$RULES"
  gone "$PLAIN/docker:1"
  rm -f "$DOCKER_CONFIG/config.json"
}

@test "docker build pulls a private base image with the credentials of docker login" {
  command -v docker >/dev/null || skip "docker is not installed"
  echo "ca $TLS $REG/cert" >"$RULES"
  layout oci
  skopeo_to --dest-creds me:sesame oci:oci "docker://$TLS/private:1"
  mkdir -p ctx
  printf 'FROM %s/private:1\nLABEL a=b\n' "$TLS" >ctx/Dockerfile
  fails 1 env DOCKER_BUILDKIT=0 docker -H "unix://$SOCK" build -t private-build:1 ctx
  says "stead login"
  ok docker -H "unix://$SOCK" login -u me --password-stdin "$TLS" <<<sesame
  ok env DOCKER_BUILDKIT=0 docker -H "unix://$SOCK" build -t private-build:1 ctx
  says "Successfully tagged private-build:1"
  is "$(curl -s --unix-socket "$SOCK" -o /dev/null -w '%{http_code}' -H 'X-Registry-Config: !' -X POST http://localhost/build)" 400
  : >"$RULES"
  rm -f "$DOCKER_CONFIG/config.json"
  gone private-build:1
  gone "$TLS/private:1"
}

@test "services' images are pulled before anything starts, as pull_policy says" {
  layout oci
  skopeo_to oci:oci "docker://$PLAIN/policy:1"
  compose <<END
services:
  a: {image: "$PLAIN/policy:1", pull_policy: never}
END
  fails 2 stead up -d
  says "is not on this machine"
  compose <<END
services:
  a: {image: "$PLAIN/policy:1"}
END
  ok stead up -d
  local first
  first=$(id "$PLAIN/policy:1")
  is "$first" "$(<oci.id)"
  # A newer one is there: missing, weekly and never leave it, always takes it.
  layout newer
  skopeo_to oci:newer "docker://$PLAIN/policy:1"
  ok stead up -d
  is "$(id "$PLAIN/policy:1")" "$first"
  sed -i 's/}/, pull_policy: weekly}/' compose.yaml
  ok stead up -d
  is "$(id "$PLAIN/policy:1")" "$first"
  ok stead up -d --pull always
  is "$(id "$PLAIN/policy:1")" "$(<newer.id)"
  layout newest
  skopeo_to oci:newest "docker://$PLAIN/policy:1"
  touch -d '8 days ago' "$SANDBOX/state/blobs/sha256/$(sed 's/sha256://' newer.id)"
  ok stead up -d
  is "$(id "$PLAIN/policy:1")" "$(<newest.id)"
  # Where a periodic pull fails, what is here will do.
  touch -d '8 days ago' "$SANDBOX/state/blobs/sha256/$(sed 's/sha256://' newest.id)"
  curl -sS -X DELETE "http://$PLAIN/v2/policy/manifests/$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$PLAIN/policy:1")"
  ok stead up -d
  says "the image that is here is used"
  sed -i 's/weekly/always/' compose.yaml
  fails 2 stead up -d
  says "compose.yaml:2: services.a.image"
  says "manifest unknown"
  ok stead down -t 0
  gone "$PLAIN/policy:1" "$first" "$(<newer.id)" "$(<newest.id)"
}

@test "pull takes services of the project and images" {
  layout oci
  skopeo_to oci:oci "docker://$PLAIN/names:1"
  skopeo_to oci:oci "docker://$PLAIN/names:2"
  compose <<END
services:
  a: {image: "$PLAIN/names:1"}
  b: {image: "$PLAIN/names:2", depends_on: [a]}
END
  ok stead pull -q b
  is "$output" "$PLAIN/names:2"
  ok stead pull -q
  is "$output" "$(printf '%s\n' "$PLAIN/names:1" "$PLAIN/names:2")"
  ok stead pull -q --include-deps b
  is "$(sort <<<"$output")" "$(printf '%s\n' "$PLAIN/names:1" "$PLAIN/names:2")"
  fails 1 stead pull "$PLAIN/none:1" a
  ok stead pull --ignore-pull-failures "$PLAIN/none:1" a
  says "manifest unknown"
  gone "$PLAIN/names:1" "$PLAIN/names:2"
}

@test "what is pushed is what others pull" {
  layout oci
  skopeo_to oci:oci "docker://$PLAIN/pushed:1"
  ok stead pull "$PLAIN/pushed:1"
  # Of what the registry has nothing is sent, be it of another repository.
  api POST "/images/$PLAIN/pushed:1/tag?repo=$PLAIN/elsewhere&tag=1"
  ok stead push "$PLAIN/elsewhere:1"
  says "Mounted from pushed"
  # What it has not is packed, and gives the same each time.
  rm "$SANDBOX"/state/layers/*.blobs
  api POST "/images/$PLAIN/pushed:1/tag?repo=$TLS/fresh&tag=1"
  echo "ca $TLS $REG/cert" >"$RULES"
  fails 1 stead push "$TLS/fresh:1"
  says "stead login"
  ok stead login -u me --password-stdin "$TLS" <<<sesame
  ok stead push "$TLS/fresh:1"
  says "pushed"
  is "$(api GET "/images/$TLS/fresh:1/json" | jq -r '.RepoDigests[]' | grep "^$TLS")" \
    "$TLS/fresh@$(skopeo inspect --tls-verify=false --creds me:sesame --format '{{.Digest}}' "docker://$TLS/fresh:1")"
  ok stead push "$TLS/fresh:1"
  says "already there"
  ok skopeo --insecure-policy copy -q --src-tls-verify=false --src-creds me:sesame "docker://$TLS/fresh:1" oci:back
  gone "$(<oci.id)"
  ok stead pull "$TLS/fresh:1"
  is "$(id "$TLS/fresh:1")" "$(<oci.id)"
  fails 1 stead push "$TLS/none:1"
  says "does not exist locally"
  fails 1 stead push "$TLS/fresh@sha256:$(printf x | sha256sum | cut -d' ' -f1)"
  says "does not exist locally with the digest"
  ok stead logout "$TLS"
  : >"$RULES"
  gone "$(<oci.id)"
}

@test "an image that is pushed as it came keeps its digest" {
  local form came
  echo "ca $TLS $REG/cert" >"$RULES"
  for form in v2s2 oci; do
    layout oci
    skopeo_to --format "$form" --dest-compress-format gzip --dest-compress oci:oci "docker://$PLAIN/staging:1"
    came=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$PLAIN/staging:1")
    ok stead pull "$PLAIN/staging:1"
    api POST "/images/$PLAIN/staging:1/tag?repo=$PLAIN/production&tag=$form"
    ok stead push "$PLAIN/production:$form"
    says "Mounted from staging"
    is "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$PLAIN/production:$form")" "$came"
    # By its digest it comes back to where it was, and nowhere else.
    ok skopeo delete --tls-verify=false "docker://$PLAIN/staging:1"
    not skopeo inspect --tls-verify=false "docker://$PLAIN/staging@$came"
    ok stead push "$PLAIN/staging@$came"
    says "$PLAIN/staging@$came"
    is "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$PLAIN/staging@$came")" "$came"
    # Elsewhere the layers are packed anew, and what is there says so.
    api POST "/images/$PLAIN/staging:1/tag?repo=$TLS/production&tag=$form"
    ok stead login -u me --password-stdin "$TLS" <<<sesame
    ok stead push "$TLS/production:$form"
    skopeo inspect --tls-verify=false --creds me:sesame --raw "docker://$TLS/production:$form" >raw
    is "$(jq -r .config.digest raw)" "$(<oci.id)"
    ok skopeo --insecure-policy copy -q --src-tls-verify=false --src-creds me:sesame "docker://$TLS/production:$form" "dir:copied-$form"
    # A manifest that is damaged here is not sent.
    sed -i 's/schemaVersion/schemaVersiom/' "$SANDBOX/state/blobs/sha256/$(sed 's/sha256://' oci.id).manifest"
    fails 1 stead push "$PLAIN/production@$came"
    says "cannot be had by that digest again"
    ok stead push "$PLAIN/production:$form"
    is "$(skopeo inspect --tls-verify=false --raw "docker://$PLAIN/production:$form" | jq -r .config.digest)" "$(<oci.id)"
    gone "$(<oci.id)"
    ok stead image prune -f
    not test -e "$SANDBOX/state/blobs/sha256/$(sed 's/sha256://' oci.id).manifest"
  done
  ok stead logout "$TLS"
  : >"$RULES"
}

@test "docker pushes through the socket" {
  command -v docker >/dev/null || skip "docker is not installed"
  layout oci
  skopeo_to oci:oci "docker://$PLAIN/docker:2"
  ok stead pull "$PLAIN/docker:2"
  ok docker -H "unix://$SOCK" tag "$PLAIN/docker:2" "$PLAIN/by-docker:1"
  ok docker -H "unix://$SOCK" push "$PLAIN/by-docker:1"
  says "1: digest: sha256:"
  ok skopeo inspect --tls-verify=false "docker://$PLAIN/by-docker:1"
  gone "$(<oci.id)"
}

@test "prune --dry-run says what would go, and removes nothing" {
  layout oci
  skopeo_to oci:oci "docker://$PLAIN/prune:1"
  skopeo_to oci:oci "docker://$PLAIN/prune:2"
  ok stead pull "$PLAIN/prune:1"
  ok stead image prune --dry-run -a
  says "$PLAIN/prune:1"
  says "Would reclaim"
  is "$(id "$PLAIN/prune:1")" "$(<oci.id)"
  # What a stack needs is not in it, even without a container.
  compose <<END
services:
  a: {image: "$PLAIN/prune:1"}
END
  ok stead up -d
  ok stead image prune --dry-run -a
  says_not "$PLAIN/prune:1"
  ok stead down -t 0
  ok stead image prune -a -f
  says "Deleted: $(<oci.id)"
  fails 1 stead inspect "$PLAIN/prune:1"
  tiny_image
}

@test "a quota for images is kept to" {
  layout oci
  skopeo_to oci:oci "docker://$PLAIN/quota:1"
  daemon_stop
  daemon_start --image-quota 1m
  local before
  before=$(find "$SANDBOX/state/layers" | sort)
  fails 1 stead pull "$PLAIN/quota:1"
  says "the quota for images is"
  says "image prune --dry-run"
  is "$(find "$SANDBOX/state/layers" | sort)" "$before"
  daemon_stop
  daemon_start
  ok stead pull "$PLAIN/quota:1"
  gone "$(<oci.id)"
}

# --- the one that lies

@test "what is not what the digests say is refused, and nothing of it stays" {
  refuses_pull wrong-digest "wrong digest"
  refuses_pull too-long "wrong size: more than"
  refuses_pull too-short "wrong size"
  refuses_pull other-layer "wrong"
  refuses_pull wrong-diff "wrong digest: the image's configuration says"
  refuses_pull endless "wrong size: more than"
  refuses_pull blob-404 "404"
  fails 1 stead pull "$DOUBLE/wrong-digest-manifest@sha256:$(printf x | sha256sum | cut -d' ' -f1)"
  says "wrong digest"
}

@test "documents that are nonsense, or two things at once, are refused" {
  refuses_pull nonsense "OCI document: line 1"
  refuses_pull hotel "what came is 'text/html' and no manifest"
  refuses_pull both "both at once"
  refuses_pull wrong-type "is served as"
  refuses_pull schema1 "schema 1"
  refuses_pull artifact "no container image"
  refuses_pull odd-layer "no layer that can be unpacked"
  refuses_pull traversal "is not sha256"
  refuses_pull huge-size "refused"
  refuses_pull endless-manifest "larger than"
  # It is said to have 60 GiB.
  [[ $(df -B1 --output=avail "$SANDBOX" | tail -n 1) -gt $((60 << 30)) ]] || refuses_pull space "not begun"
}

@test "layers from elsewhere are refused" {
  refuses_pull foreign "foreign layer"
  refuses_pull old-foreign "foreign layer"
}

@test "redirects lead to HTTP only, and take no credentials to another host" {
  refuses_pull to-file "neither an http:// nor an https:// URL"
  refuses_pull loop "redirects"
  mkdir -p "$DOCKER_CONFIG"
  jq -n --arg r "$DOUBLE" --arg a "$(printf me:sesame | base64)" '{auths: {($r): {auth: $a}}}' >"$DOCKER_CONFIG/config.json"
  ok stead pull "$DOUBLE/basic/elsewhere:1"
  # It was sent to the registry, and was needed there.
  [[ $(asked 'select(.on == "port" and .path == "/v2/basic/elsewhere/manifests/1" and .auth != "")') ]]
  gone "$DOUBLE/basic/elsewhere:1"
  refuses_pull basic/elsewhere-401 "401"
  refuses_pull basic/manifest-elsewhere "401"
  refuses_pull token-file/x "neither an http"
  is "$(asked 'select(.on == "other") | .auth' | sort -u)" '""'
  rm "$DOCKER_CONFIG/config.json"
}

@test "tokens are asked for, for this repository only, and renewed when they have run out" {
  refuses_pull token/app "stead login"
  jq -n --arg r "$DOUBLE" --arg a "$(printf me:wrong | base64)" '{auths: {($r): {auth: $a}}}' >"$DOCKER_CONFIG/config.json"
  refuses_pull token/app "these credentials are not good for it"
  jq -n --arg r "$DOUBLE" --arg a "$(printf me:sesame | base64)" '{auths: {($r): {auth: $a}}}' >"$DOCKER_CONFIG/config.json"
  ok stead pull "$DOUBLE/token/app:1"
  is "$(asked 'select(.path | startswith("/token")) | .path' | grep -c 'scope=registry')" 0
  [[ $(asked 'select(.path | contains("scope=repository%3Atoken%2Fapp%3Apull&") or endswith("scope=repository%3Atoken%2Fapp%3Apull")) | .path') ]]
  # The password went to the token server only.
  is "$(asked 'select((.path | startswith("/v2/token/")) and (.auth | startswith("Basic")))')" ""
  gone "$DOUBLE/token/app:1"
  ok stead pull "$DOUBLE/token/cut:1"
  gone "$DOUBLE/token/cut:1"
  rm "$DOCKER_CONFIG/config.json"
}

@test "layers come at once" {
  ok stead pull "$DOUBLE/at-once:1"
  gone "$DOUBLE/at-once:1"
}

@test "a connection that is cut is taken up where it was" {
  ok stead pull "$DOUBLE/cut:1"
  is "$(asked 'select((.path | startswith("/v2/cut/blobs")) and .range != "") | .range' | wc -l)" 2
  gone "$DOUBLE/cut:1"
}

@test "a registry that is busy or broken is asked again, as it says" {
  ok stead pull "$DOUBLE/busy:1"
  says "answered 429: trying again in 1 s"
  gone "$DOUBLE/busy:1"
  ok stead pull "$DOUBLE/broken:1"
  says "answered 503: trying again"
  gone "$DOUBLE/broken:1"
  refuses_pull busy-long "too many requests"
}

@test "two pulls of one image at once both have it" {
  ok stead pull -q "$DOUBLE/cut:1"
  gone "$DOUBLE/cut:1"
  stead pull -q "$DOUBLE/cut:1" >one 2>/dev/null &
  local first=$!
  ok stead pull -q "$DOUBLE/cut:1"
  wait "$first"
  is "$(<one)" "$DOUBLE/cut:1"
  gone "$DOUBLE/cut:1"
}
