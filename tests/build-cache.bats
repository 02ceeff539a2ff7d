#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The cache of builds: into a directory and out of it, on another machine too, what it holds, and how it is kept small.

load helpers
load ship

eval "$(declare -f teardown | sed '1s/teardown/helpers_teardown/')"
teardown() {
  link_down
  helpers_teardown
}

# A machine that has never built anything: it has the base image.
fresh_far() {
  far_remove
  far_new
  far import "$STEAD_TEST_CACHE/tiny.tar" tiny --cmd '["sleep", "1000000"]' --env PATH=/bin >import.log 2>&1
}

project() {
  mkdir -p src
  echo one >src/a
  head -c 20000 /dev/zero | tr '\0' b >src/b
  cat >Dockerfile <<'END'
FROM tiny AS made
WORKDIR /work
COPY src src
RUN cat src/a >out && echo "made it" anew
FROM tiny
COPY --from=made /work/out /out
COPY src /src
RUN cat /proc/sys/kernel/random/uuid >/when && echo "the last" step
END
}

layer_in() { # SANDBOX ID N
  echo "$1/state/layers/$(jq -r ".rootfs.diff_ids[$3]" "$1/state/blobs/sha256/${2#sha256:}" | cut -c8-39)"
}

@test "what one machine has built, another finds in the directory" {
  project
  ok stead build --cache-to ./cache -t "app:$PROJECT" .
  says "made it anew"
  fresh_far
  ok far build --progress plain --cache-from ./cache -t "app:$PROJECT" .
  says_not "made it anew"
  says_not "the last step"
  is "$(cat "$(layer_in "$FAR" "$(far_id "app:$PROJECT")" 3)/when")" "$(cat "$(layer_in "$SANDBOX" "$(here_id "app:$PROJECT")" 3)/when")"
  ok far why "app:$PROJECT"
  says_not because
  # And it runs.
  compose <<END
services:
  s: { image: "app:$PROJECT", command: [sh, -c, "cat /out /src/a; sleep 1000000"] }
END
  ok far up -d
  says_one() { [[ $(far logs --no-log-prefix s) == *one* ]]; }
  within 30 says_one
  ok far down -t 0
}

@test "a change on another machine: the reason is the file, the new layer is small" {
  project
  printf 'FROM tiny\nCOPY src /src\nRUN cat /src/a >/out && echo "made it" anew\n' >Dockerfile
  ok stead build --cache-to ./cache -t "app:$PROJECT" .
  fresh_far
  echo two >src/a
  mv src elsewhere && mkdir moved && mv elsewhere moved/src && cp Dockerfile moved/
  ok far build --cache-from ./cache --cache-to ./cache -t "app:$PROJECT" moved
  says "made it anew"
  is "$(cat "$(layer_in "$FAR" "$(far_id "app:$PROJECT")" 2)/src/a")" two
  not test -e "$(layer_in "$FAR" "$(far_id "app:$PROJECT")" 2)/src/b"
  ok far why "app:$PROJECT"
  says "src/a' has changed: contents"
  # What it has written holds for a third one.
  fresh_far
  ok far build --cache-from ./cache -t "app:$PROJECT" moved
  says_not "made it anew"
}

@test "BuildKit's words, and what is no directory" {
  project
  ok stead build --cache-to type=local,dest=cache,mode=min,compression=zstd .
  test -s cache/index.json
  ok skopeo inspect --raw oci:cache
  says build-cache
  fresh_far
  ok far build --cache-from type=local,src=cache .
  says_not "made it anew"
  ok far build --cache-from some/image:tag .
  says "--cache-from some/image:tag: only directories are read"
  ok far build --cache-from type=gha .
  says "only directories are read"
  ok far build --no-cache --cache-from ./missing .
  fresh_far
  ok far build --cache-from ./missing .
  says "no build cache is in ./missing"
  fails 2 stead build --cache-to type=registry,ref=some/image .
  says "type=local,dest=DIR"
  fails 2 stead build --cache-to some/image:tag .
  fails 2 stead build --cache-to type=local,dest=cache,mode=most .
  says "min or max"
  fails 2 stead build --cache-to type=local .
  : >file
  fails 2 stead build --cache-to ./file .
  says "./file"
}

@test "services: cache_from and cache_to, two in one directory" {
  project
  mkdir web
  printf 'FROM tiny\nRUN echo "web is" built >/web\n' >web/Dockerfile
  compose <<'END'
services:
  app: { build: { context: ., cache_from: [ ./kept, "other/image:tag" ], cache_to: [ "type=local,dest=./kept,mode=max" ] } }
  web: { build: { context: web, cache_from: [ ./kept ], cache_to: [ ./kept ] } }
END
  mkdir below
  cd below
  ok stead -f ../compose.yaml build
  cd ..
  test -s kept/index.json
  is "$(jq '.manifests | length' kept/index.json)" 2
  fresh_far
  ok far -p "$PROJECT" build
  says_not "made it anew"
  says "other/image:tag"
  is "$(far images -q | wc -l)" 3
}

@test "two write to one directory at once, and a third is killed" {
  project
  mkdir other
  printf 'FROM tiny\nRUN head -c 30000000 /dev/urandom >/big\n' >other/Dockerfile
  stead build --cache-to ./cache -t "one:$PROJECT" . >one.log 2>&1 3>&- &
  local first=$!
  stead build --cache-to ./cache -t "two:$PROJECT" other >two.log 2>&1 3>&- &
  wait "$first"
  wait "$!"
  is "$(jq '.manifests | length' cache/index.json)" 2
  # Killed while it writes, some megabytes of thirty: what it has begun is there.
  link_up
  echo 4000000 >"$LINK/hold-answer"
  "$STEAD_EXE" -H "$LINK_URL" build --no-cache --cache-to ./cache -t "two:$PROJECT" other >three.log 2>&1 3>&- &
  local third=$!
  within 120 test -e "$LINK/held"
  within 20 compgen -G 'cache/blobs/sha256/tmp-*'
  kill -KILL "$third"
  wait "$third" && return 1
  rm "$LINK/hold-answer"
  link_down
  compgen -G 'cache/blobs/sha256/tmp-*'
  fresh_far
  ok far build --cache-from ./cache -t "two:$PROJECT" other
  is "$(stat -c %s "$(layer_in "$FAR" "$(far_id "two:$PROJECT")" 1)/big")" 30000000
  says_not warning
  # The next one clears away what the killed one has left.
  ok stead build --cache-to ./cache -t "one:$PROJECT" .
  not compgen -G 'cache/blobs/sha256/tmp-*'
}

@test "no room for the cache: the build fails with the reason, or is told not to" {
  project
  head -c 300000 /dev/urandom >src/b
  mkdir small
  mount -t tmpfs -o size=64k tmpfs small
  capture stead build --cache-to ./small/cache .
  local told=$output code=$status
  capture stead build --cache-to type=local,dest=small/cache,ignore-error=true -t "app:$PROJECT" .
  umount small
  is "$code" 1
  grep -q "No space left" <<<"$told"
  is "$status" 0
  says "--cache-to: small/cache: No space left"
}

@test "builder prune: what it would take, what it takes, and what it leaves" {
  project
  ok stead build -t "app:$PROJECT" .
  local id
  id=$(here_id "app:$PROJECT")
  ok stead builder prune --dry-run
  says "COPY src src"
  says "Would reclaim"
  says_not "the last"
  fails 2 stead builder prune </dev/null
  says "add -f"
  ok stead builder prune -f --filter until=1h
  says "Total reclaimed space: 0B"
  ok stead builder prune -f
  says "Deleted build cache objects"
  # The image's own steps are known still; its id is the same, so nothing that runs is recreated.
  ok stead build -t "app:$PROJECT" .
  says_not "the last step"
  is "$(here_id "app:$PROJECT")" "$id"
  ok stead builder prune -a -f
  ok stead build -t "app:$PROJECT" .
  says "the last step"
  ok stead builder prune -a --keep-storage 10g -f
  says "Total reclaimed space: 0B"
  fails 2 stead builder prune -f --filter colour=red
  says colour
}

@test "docker builder prune and docker system df" {
  command -v docker >/dev/null || skip "needs docker's client"
  project
  ok stead build -t "app:$PROJECT" .
  is "$(api GET /system/df | jq '[.BuildCache[] | select(.Description == "COPY src src")] | length')" 1
  is "$(api GET /system/df | jq '.BuilderSize > 0')" true
  ok docker -H "unix://$SOCK" system df -v
  says "Build cache usage"
  ok env DOCKER_BUILDKIT=0 docker -H "unix://$SOCK" build --cache-from other:image .
  says "[Warning] --cache-from"
  ok docker -H "unix://$SOCK" builder prune -a -f
  says "Total reclaimed space"
  is "$(api GET /system/df | jq '.BuildCache | length')" 0
  # Layers that only the cache had are gone from the disk.
  is "$(find "$SANDBOX/state/build/cache" -type f | wc -l)" 0
}

@test "the quota is kept to after a build" {
  printf 'FROM tiny AS a\nRUN head -c 3000000 /dev/urandom >/big\nFROM tiny\nCOPY --from=a /bin/sh /copy\n' >Dockerfile
  ok stead build -t "app:$PROJECT" .
  daemon_stop
  find "$SANDBOX/state/build" -type f -exec touch -d '10 minutes ago' {} + # or all might be of the same second
  daemon_start --build-cache-quota 1m
  printf 'FROM tiny\nRUN echo %s >/new\n' "$PROJECT" >Dockerfile
  ok stead build -t "new:$PROJECT" .
  within 60 eval '[[ $(api GET /system/df | jq .BuilderSize) -le 1000000 ]]'
  ok stead build --progress plain -t "new:$PROJECT" .
  is "$(grep -c 'CACHED$' <<<"$output")" 2 # FROM, too
  daemon_stop
  daemon_start
}
