#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# `stead build`: both forms, RUN instructions as containers, secrets, what ends a build, and what is left of one.

load helpers

dockerfile() { cat >Dockerfile; }

# The network of builds, and the containers of steps, are gone once nobody builds.
nothing_builds() { [[ -z $(find "$SANDBOX/run/containers" "$SANDBOX/run/netns" -mindepth 1 -maxdepth 1) ]]; }

@test "a directory is built, and built again from the cache" {
  mkdir src
  echo one >src/a
  echo two >src/b
  echo src/b >.dockerignore
  dockerfile <<'END'
FROM tiny AS base
WORKDIR /app
COPY src ./src
RUN ls src >list && echo "from a" step
FROM base
ENV GREETING=hello
END
  ok stead build -t "built:$PROJECT" .
  says "from a step"
  says "naming to built:$PROJECT"
  ok stead build --progress plain -t "built:$PROJECT" .
  says_not "from a step"
  says CACHED
  ok stead build -q .
  is "$output" "$(stead inspect "built:$PROJECT" | jq -r '.[0].Id')"
  is "$(cat "$(layer_of "built:$PROJECT" 3)/app/list")" a
  # Nor is anything written to the database: the image has this name already.
  local before
  before=$(stat -c '%y %s' "$SANDBOX/state/state.db-wal")
  ok stead build --progress plain -t "built:$PROJECT" .
  is "$(stat -c '%y %s' "$SANDBOX/state/state.db-wal")" "$before"
  within 20 nothing_builds
  echo three >src/a
  ok stead build -t "built:$PROJECT" .
  says "from a step"
  ok stead why "built:$PROJECT"
  says "COPY src ./src"
}

@test "a step has no more rights than a service, and leaves no traces of its mounts" {
  dockerfile <<'END'
FROM tiny
RUN grep ^CapEff /proc/self/status >/caps; mknod /dev/x c 1 3 2>/dev/null && exit 8; mount -t tmpfs x /tmp 2>/dev/null && exit 9; true
USER app
RUN grep -q 'NoNewPrivs:.*1' /proc/self/status && id -u | grep -q '^1000$'
END
  ok stead build -t "built:$PROJECT" .
  compose <<'END'
services:
  s: {image: tiny}
END
  ok stead up -d
  is "$(cat "$(layer_of "built:$PROJECT" 1)/caps")" "$(inside s grep ^CapEff /proc/self/status)"
  # Of /etc/hosts and /etc/resolv.conf, which the step had mounted, nothing is in the layer.
  not test -e "$(layer_of "built:$PROJECT" 1)/etc/hosts"
  not test -e "$(layer_of "built:$PROJECT" 1)/etc/resolv.conf"
}

@test "a step that fails gives its code, its last lines and its place" {
  dockerfile <<'END'
FROM tiny
RUN echo before; \
    exit 7
END
  fails 1 stead build .
  says before
  says "Dockerfile:2"
  says "exit code 7"
  dockerfile <<'END'
FROM tiny
RNU true
END
  fails 2 stead build .
  says "Dockerfile:2"
  says RUN
  dockerfile <<'END'
FROM tiny
COPY missing /
END
  fails 2 stead build .
  says missing
  within 20 nothing_builds
}

@test "secrets are seen by the step alone" {
  echo hush-hush >token
  echo token >.dockerignore
  dockerfile <<'END'
FROM tiny
RUN --mount=type=secret,id=npm cat /run/secrets/npm | wc -c >/size
RUN test ! -s /run/secrets/npm
END
  fails 2 stead build --secret id=npm,src=none .
  ok stead build --secret id=npm,src=token -t "built:$PROJECT" .
  says_not hush-hush
  is "$(cat "$(layer_of "built:$PROJECT" 1)/size")" 10
  not grep -rlq hush-hush "$SANDBOX/state/layers" "$SANDBOX/state/build" "$SANDBOX/state/tmp"
  # Also of a Dockerfile on standard input, which has no context.
  ok stead build --no-cache --secret id=npm,src=token -t "built:$PROJECT" - <Dockerfile
  is "$(cat "$(layer_of "built:$PROJECT" 1)/size")" 10
}

@test "a build ends with its client: container, worker, network" {
  dockerfile <<'END'
FROM tiny
RUN echo begun; sleep 1000
END
  "$STEAD_EXE" -H "unix://$SOCK" build --no-cache -t "never:$PROJECT" . >build.log 2>&1 3>&- &
  local pid=$!
  within 60 grep -q ' begun$' build.log # not the step's title
  kill -TERM "$pid"
  wait "$pid" && return 1
  grep -q cancelled build.log
  within 30 nothing_builds
  ok stead images
  says_not never
}

@test "kill -9 of the daemon in a step leaves a usable cache and no container" {
  dockerfile <<'END'
FROM tiny
RUN echo made >/made
RUN echo begun; sleep 1000
END
  "$STEAD_EXE" -H "unix://$SOCK" build . >build.log 2>&1 3>&- &
  local pid=$!
  within 60 grep -q ' begun$' build.log # not the step's title
  daemon_kill
  wait "$pid" && return 1
  daemon_start
  within 30 nothing_builds
  ok stead -p "$PROJECT" ps -a
  says_not sleep
  dockerfile <<'END'
FROM tiny
RUN echo made >/made
END
  ok stead build -t "built:$PROJECT" .
  is "$(cat "$(layer_of "built:$PROJECT" 1)/made")" made
}

@test "networks: default, none, and the host's only if the build has it" {
  dockerfile <<'END'
FROM tiny
RUN ip addr show eth0 && grep -q 127.0.0.11 /etc/resolv.conf
RUN --network=none ! ip addr show eth0
END
  ok stead build --no-cache .
  dockerfile <<'END'
FROM tiny
RUN ! ip addr show eth0
END
  ok stead build --no-cache --network none .
  dockerfile <<'END'
FROM tiny
RUN --network=host true
END
  fails 1 stead build --no-cache .
  says "--network host"
  ok stead build --no-cache --network host .
}

@test "services: build, up and deploy" {
  mkdir web
  printf 'FROM tiny\nCOPY page /var/www/index.html\nCMD ["sleep", "1000000"]\n' >web/Dockerfile
  echo first >web/page
  compose <<'END'
services:
  web: {build: ./web}
END
  ok stead up -d
  says "building web"
  is "$(inside web cat /var/www/index.html)" first
  ok stead up -d
  says_not "building web"
  local before
  before=$(inspect "$PROJECT-web-1" .Id)
  ok stead build
  ok stead up -d
  is "$(inspect "$PROJECT-web-1" .Id)" "$before" # the same image: left alone
  echo second >web/page
  ok stead up -d --build
  is "$(inside web cat /var/www/index.html)" second
  ok stead config --images
  says "$PROJECT-web"
}

@test "directories and images are contexts under names of their own" {
  mkdir -p lib/bin src
  echo tool >lib/bin/tool
  echo secret >lib/left
  echo left >lib/.dockerignore
  echo one >src/a
  dockerfile <<'END'
FROM tiny AS one
COPY --from=lib . /lib
RUN --mount=from=lib,source=bin,target=/m cat /m/tool >/seen && test ! -e /lib/left
FROM base
COPY --from=one /lib /seen /all/
COPY src /src
END
  ok stead build -t "built:$PROJECT" --build-context lib=lib --build-context base=docker-image://tiny .
  is "$(cat "$(layer_of "built:$PROJECT" 1)/all/seen")" tool
  ok stead build --progress plain -t "built:$PROJECT" --build-context lib=./lib --build-context base=docker-image://tiny .
  is "$(grep -c CACHED <<<"$output")" 6
  echo other >lib/bin/tool
  ok stead build -t "built:$PROJECT" --build-context lib=lib --build-context base=docker-image://tiny .
  is "$(cat "$(layer_of "built:$PROJECT" 1)/all/seen")" other
  printf 'FROM lib\nCOPY src /src\n' | dockerfile
  ok stead build -t "built:$PROJECT" --build-context lib=lib .
  is "$(cat "$(layer_of "built:$PROJECT" 0)/bin/tool")" other
  not test -e "$(layer_of "built:$PROJECT" 0)/left"
  fails 2 stead build .
  says "Dockerfile:1"
}

@test "a service's image is a context of another's" {
  mkdir data
  echo data >data/file
  compose <<'END'
services:
  app:
    command: [sleep, "1000000"]
    build:
      additional_contexts: {base: "service:base", data: ./data}
      dockerfile_inline: |
        FROM base
        COPY --from=data file /data/
  base:
    command: [sleep, "1000000"]
    build:
      dockerfile_inline: |
        FROM tiny
        RUN echo base >/base
END
  ok stead build app
  says "building base"
  ok stead up -d
  is "$(inside app cat /base /data/file | xargs)" "base data"
}

@test "progress counts as BuildKit does" {
  dockerfile <<'END'
FROM tiny AS one
ENV A=b
RUN echo from one
FROM one
WORKDIR /w
COPY Dockerfile .
CMD ["sleep", "1"]
END
  ok stead build --no-cache --progress plain .
  says "#1 [one 1/2] FROM tiny AS one"
  says "#2 [one 2/2] RUN echo from one"
  says "#3 [stage-1 1/2] WORKDIR /w"
  says "#4 [stage-1 2/2] COPY Dockerfile ."
  says_not "ENV A=b"
}

@test "checks: warnings of a build, errors if the file says so, and alone" {
  dockerfile <<'END'
FROM tiny AS Base
MAINTAINER me
COPY $FIEL /
END
  echo x >Dockerfile.x
  fails 2 stead build .
  says "Dockerfile:1: FROM: write the name of the stage 'Base' in lower case"
  says "MAINTAINER is deprecated"
  fails 2 stead build --check .
  says "Check complete, 3 warnings have been found!"
  says "WARNING: UndefinedVar - COPY: \$FIEL has no value"
  says "a source is empty"
  dockerfile <<'END'
# check=error=true
FROM tiny
RUN touch /x
MAINTAINER me
END
  fails 2 stead build .
  says "Dockerfile:4: MAINTAINER is deprecated"
  says_not "RUN touch"
  dockerfile <<'END'
# check=skip=MaintainerDeprecated;error=true
FROM tiny
ENV P=$PATH
MAINTAINER me
END
  ok stead build .
  ok stead build --check .
  says "Check complete, no warnings found."
}

@test "docker's classic builder is served" {
  command -v docker >/dev/null || skip "needs docker's client"
  mkdir -p ctx
  echo content >ctx/file
  printf 'FROM tiny\nCOPY file /file\nRUN cat /file\n' >ctx/Dockerfile
  ok env DOCKER_BUILDKIT=0 docker -H "unix://$SOCK" build -t "docker:$PROJECT" ctx
  says content
  says "Step 2/3 : COPY file /file"
  says "Successfully tagged docker:$PROJECT"
  printf 'FROM tiny\nRUN exit 4\n' >ctx/Dockerfile
  fails 1 env DOCKER_BUILDKIT=0 docker -H "unix://$SOCK" build ctx
  says "exit code 4"
}
