#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Options of a build, each with what a step sees of it: flags of `stead build`, keys of `build:` in a compose file. And what ADD fetches.

load helpers

dockerfile() { cat >"${1:-Dockerfile}"; }

# What a step tells of its surroundings, a line each.
tell() {
  cat <<'END'
RUN { echo "hosts $(grep -c '10.1.2.3.*db$' /etc/hosts)"; echo "shm $(df -k /dev/shm | awk 'END { print $2 }')"; echo "files $(ulimit -n)"; \
      echo "network $(ip -o link show eth0 2>/dev/null | wc -l)"; echo "secret $(cat /run/secrets/token)"; echo "arg $ARG"; } >/told 2>/dev/null
END
}

@test "flags: what a step sees of them" {
  export TOKEN_OF_TEST=hush
  { printf 'FROM tiny\nARG ARG=default\n'; sed 's/^RUN/RUN --mount=type=secret,id=token/' < <(tell); } | dockerfile
  ok stead build -t "built:$PROJECT" -t "second:$PROJECT" --add-host db:10.1.2.3 --shm-size 8m --ulimit nofile=100:200 --network none \
    --secret id=token,env=TOKEN_OF_TEST --build-arg ARG=given --label l=m --iidfile id .
  is "$(<"$(layer_of "built:$PROJECT" 1)/told")" "$(printf '%s\n' "hosts 1" "shm 8192" "files 100" "network 0" "secret hush" "arg given")"
  is "$(stead inspect "built:$PROJECT" | jq -r '.[0].Config.Labels.l')" m
  is "$(<id)" "$(stead inspect "second:$PROJECT" | jq -r '.[0].Id')"
  ok stead build -t "built:$PROJECT" --build-arg ARG --build-arg OTHER=x .
  says "no ARG takes the build argument 'OTHER'"
  is "$(grep arg "$(layer_of "built:$PROJECT" 1)/told")" "arg default" # this environment has no such variable
  export ARG=mine
  ok stead build -t "built:$PROJECT" --build-arg ARG .
  is "$(grep arg "$(layer_of "built:$PROJECT" 1)/told")" "arg mine"
}

@test "flags: stages, caches, other files" {
  mkdir sub
  dockerfile sub/other <<'END'
FROM tiny AS one
RUN cat /proc/sys/kernel/random/uuid >/one
FROM tiny AS two
RUN cat /proc/sys/kernel/random/uuid >/two
COPY --from=one /one /one
FROM scratch AS last
COPY missing /
END
  one() { stead build -q "$@" . >id && cat "$(layer_of "$(<id)" 1)/$which"; }
  local which=one first second
  ok stead build -f sub/other --target One .
  ok stead build -f sub/other --target 0 .
  first=$(one -f sub/other --target one)
  is "$(one -f sub/other --target one)" "$first"
  [[ $(one -f sub/other --target one --no-cache) != "$first" ]]
  which=two
  second=$(one -f sub/other --target two)
  [[ $(one -f sub/other --target two --no-cache-filter two) != "$second" ]]
  fails 2 stead build -f sub/other --target thre .
  says "there is no stage 'thre'"
  fails 2 stead build -f sub/other .
  says "'missing' is not in the build context"
  fails 2 stead build -f sub/other --platform linux/amd64,linux/arm64 .
  says "an image has one platform here; build once for each"
  ok stead build -f - . <<<"FROM scratch"
  ok stead build - <<<"FROM scratch"
}

@test "flags: memory" {
  printf 'FROM tiny\nRUN head -c 200m /dev/zero | tail >/dev/null\n' | dockerfile
  fails 1 stead build --memory 32m .
  says "Dockerfile:2"
  ok stead build --memory 512m --cpus 1 .
}

@test "compose: what a step sees of build's keys" {
  mkdir -p src data
  echo hush >token
  echo data >data/file
  { printf 'FROM tiny AS wanted\nARG ARG=default\nLABEL from=file\nCOPY --from=more file /file\n'; sed 's/^RUN/RUN --mount=type=secret,id=token/' < <(tell)
    printf 'FROM scratch\nCOPY missing /\n'; } | dockerfile src/docker.file
  export FROM_HERE=environment
  compose <<END
services:
  app:
    image: app:$PROJECT
    platform: linux/$(dpkg --print-architecture)
    build:
      context: ./src
      dockerfile: docker.file
      args: {ARG: "\${FROM_HERE}", UNUSED: x}
      target: wanted
      labels: [from=compose, more=yes]
      network: none
      shm_size: 8m
      ulimits: {nofile: {soft: 100, hard: 200}}
      extra_hosts: ["db:10.1.2.3"]
      secrets: [{source: key, target: token}]
      tags: ["also:$PROJECT"]
      platforms: [linux/$(dpkg --print-architecture)]
      additional_contexts: [more=./data]
      no_cache: true
      pull: false
      provenance: false
      sbom: false
secrets: {key: {file: ./token}}
END
  ok stead build
  says_not "has no effect"
  says "no ARG takes the build argument 'UNUSED'"
  is "$(<"$(layer_of "also:$PROJECT" 2)/told")" "$(printf '%s\n' "hosts 1" "shm 8192" "files 100" "network 0" "secret hush" "arg environment")"
  is "$(stead inspect "app:$PROJECT" | jq -c '.[0].Config.Labels')" '{"from":"compose","more":"yes"}'
  ok stead build --progress plain # no_cache: once more, all of it
  is "$(grep -c 'CACHED$' <<<"$output")" 1 # FROM
}

@test "compose: an inline Dockerfile, an image of its own name, and what is refused" {
  compose <<'END'
services:
  app:
    build:
      dockerfile_inline: |
        FROM tiny
        CMD ["sleep", "1000000"]
END
  ok stead build
  ok stead inspect "$PROJECT-app"
  local key
  for key in 'privileged: true' 'entitlements: [network.host]' 'isolation: default' 'platforms: [linux/amd64, linux/arm64]' 'network: back' \
    'additional_contexts: {a: "ftp://h/a.tar.gz"}' 'additional_contexts: {a: "target:b"}' 'dockerfil: x'; do
    printf 'services:\n  app:\n    build:\n      context: .\n      %s\n' "$key" >compose.yaml
    fails 2 stead build
    says "compose.yaml:5: services.app.build.${key%%:*}"
  done
  for key in 'provenance: mode=max' 'sbom: true'; do
    printf 'services:\n  app:\n    build:\n      dockerfile_inline: FROM tiny\n      %s\n' "$key" >compose.yaml
    ok stead build
    says "compose.yaml:5: services.app.build.${key%%:*}: has no effect"
  done
}

@test "ADD fetches: names, modes, checksums, archives, and what changed meanwhile" {
  local server base sum
  mkdir -p www/d in
  echo one >www/file
  echo inside >in/f
  tar -C in -cf www/a.tar f
  timeout 600 python3 -m http.server --bind 127.0.0.1 --directory www "$(port 5)" >server.log 2>&1 3>&- &
  server=$!
  base=http://127.0.0.1:$(port 5)
  within 20 fetch -o /dev/null "$base/file"
  sum=$(sha256sum <www/file | cut -d' ' -f1)
  dockerfile <<END
FROM tiny
ADD $base/file $base/a.tar /dir/
ADD --checksum=sha256:$sum --chmod=640 --chown=app $base/file /named
ADD --unpack=true $base/a.tar /unpacked/
END
  ok stead build -t "built:$PROJECT" .
  is "$(cat "$(layer_of "built:$PROJECT" 1)/dir/file")" one
  is "$(stat -c %a "$(layer_of "built:$PROJECT" 1)/dir/file")" 600
  cmp www/a.tar "$(layer_of "built:$PROJECT" 1)/dir/a.tar" # what comes from afar stays packed
  is "$(stat -c '%a %u' "$(layer_of "built:$PROJECT" 2)/named")" "640 1000"
  is "$(cat "$(layer_of "built:$PROJECT" 3)/unpacked/f")" inside
  ok stead build --progress plain -t "built:$PROJECT" .
  is "$(grep -c 'CACHED$' <<<"$output")" 4
  echo other >www/file
  touch -d tomorrow www/file
  fails 2 stead build .
  says "wrong checksum"
  printf 'FROM tiny\nADD %s/file /named\n' "$base" | dockerfile
  ok stead build -t "built:$PROJECT" .
  is "$(cat "$(layer_of "built:$PROJECT" 1)/named")" other
  printf 'FROM tiny\nADD %s/none /x\n' "$base" | dockerfile
  fails 1 stead build .
  says "Dockerfile:2: ADD: $base/none: the server answered 404"
  printf 'FROM tiny\nADD %s/d/ /x/\n' "$base" | dockerfile
  fails 2 stead build .
  says "has no file name"
  kill "$server"
  wait "$server" || true
  printf 'FROM tiny\nADD %s/file /new\n' "$base" | dockerfile
  fails 1 stead build .
  says "Dockerfile:2: ADD: $base/file"
}
