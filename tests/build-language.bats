#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Corners of the Dockerfile reference that only a step can see, told by the Dockerfiles themselves: what has to hold is a RUN that fails if it does not.
# What other builders can confirm is in tests/build/, what the parser alone decides in src/dockerfile/test-*.c.

load helpers

dockerfile() { cat >"${1:-Dockerfile}"; }

build() { ok stead build --no-cache -t "built:$PROJECT" "$@" .; }

@test "secrets: as files, with owner and mode, as variables, missing ones" {
  printf hush >token
  dockerfile <<'END'
FROM tiny
RUN --mount=type=secret,id=token test "$(cat /run/secrets/token)" = hush && test "$(stat -c '%a %u:%g' /run/secrets/token)" = '400 0:0'
RUN --mount=type=secret,id=token,target=/a/b,uid=1000,gid=2000,mode=0440 test "$(stat -c '%a %u:%g' /a/b)" = '440 1000:2000'
RUN --mount=type=secret,id=token,env=TOKEN test "$TOKEN" = hush && test ! -e /run/secrets/token
RUN --mount=type=secret,id=token,env=TOKEN,target=/t test "$TOKEN" = "$(cat /t)"
RUN --mount=type=secret,source=token test "$(cat /run/secrets/token)" = hush
RUN --mount=type=secret,target=/where/token test "$(cat /where/token)" = hush
RUN --mount=type=secret,id=gone,env=GONE test ! -e /run/secrets/gone && test -z "${GONE+set}"
USER app
RUN --mount=type=secret,id=token,uid=1000 cat /run/secrets/token >/dev/null
RUN --mount=type=secret,id=token ! cat /run/secrets/token 2>/dev/null
END
  build --secret id=token,src=token
  dockerfile <<'END'
FROM tiny
RUN --mount=type=secret,id=gone,required true
END
  fails 2 stead build .
  says "Dockerfile:2: RUN: the secret 'gone' is required"
}

@test "caches: who owns them, what they begin with, who sees what" {
  dockerfile <<'END'
FROM tiny AS seed
RUN mkdir /seed && echo one >/seed/f
FROM tiny
RUN --mount=type=cache,id=language-a,target=/c,uid=1000,gid=2000,mode=0750 test "$(stat -c '%a %u:%g' /c)" = '750 1000:2000' && echo kept >/c/f
RUN --mount=type=cache,id=language-a,target=/elsewhere test "$(cat /elsewhere/f)" = kept
RUN --mount=type=cache,id=language-a,target=/c,ro test "$(cat /c/f)" = kept && ! (echo x >/c/g) 2>/dev/null
RUN --mount=type=cache,target=/c test ! -e /c/f
RUN --mount=type=cache,id=language-b,target=/c,from=seed,source=/seed test "$(cat /c/f)" = one && echo two >/c/f
RUN --mount=type=cache,id=language-b,target=/c,from=seed,source=/seed,sharing=locked test "$(cat /c/f)" = two
RUN --mount=type=cache,id=language-c,target=/c,sharing=private echo x >/c/f
RUN test ! -e /c
WORKDIR /w
RUN --mount=type=cache,id=language-a,target=relative test "$(cat /w/relative/f)" = kept
END
  build
}

@test "binds and tmpfs: of the context, of stages by name and number, of images" {
  mkdir sub
  echo a >sub/a
  dockerfile <<'END'
FROM tiny AS first
RUN echo first >/of-first
FROM tiny
RUN --mount=target=/ctx test "$(cat /ctx/sub/a)" = a && ! (echo x >/ctx/b) 2>/dev/null
RUN --mount=type=bind,source=sub,target=/s,rw echo x >/s/b && test "$(ls /s | xargs)" = 'a b'
RUN --mount=type=bind,source=sub/a,target=/one test "$(cat /one)" = a
RUN --mount=type=bind,src=sub,dst=/s test "$(ls /s)" = a
RUN --mount=from=first,target=/f test "$(cat /f/of-first)" = first
RUN --mount=from=0,source=/of-first,target=/f test "$(cat /f)" = first
RUN --mount=from=tiny,source=/etc,target=/e grep -q ^app: /e/passwd
RUN --mount=type=tmpfs,target=/t,size=1m test "$(df -k /t | awk 'END { print $2 }')" = 1024 && ! head -c 2m /dev/zero >/t/f 2>/dev/null
RUN test ! -e /ctx && test ! -e /s && test ! -e /t
WORKDIR /w
RUN --mount=target=here,source=sub test "$(cat here/a)" = a
END
  build
  test ! -e sub/b
}

@test "COPY --from: stages by name and number, later ones, images, scratch's emptiness" {
  dockerfile <<'END'
FROM tiny AS first
RUN echo first >/f && ln -s f /link && mkdir -m 700 /d && echo x >/d/x
FROM tiny AS second
COPY --from=first /f /
COPY --from=0 /link /d /
COPY --from=tiny /etc/passwd /p
COPY --from=third /t /t
COPY --from=FIRST --chown=app:extra --chmod=0600 /f /owned
RUN test "$(cat /f)" = first && test "$(cat /link)" = first && test "$(cat /x)" = x && grep -q ^app: /p && test "$(cat /t)" = third
RUN test "$(stat -c '%a %u:%g' /owned)" = '600 1000:2000'
FROM tiny AS third
RUN echo third >/t
FROM second
RUN test "$(cat /t)" = third
END
  build
  printf 'FROM scratch AS empty\nFROM tiny\nCOPY --from=empty /x /\n' | dockerfile
  fails 2 stead build .
  says "Dockerfile:3: COPY: '/x' is not there"
}

@test "arguments: of the platform, proxies, and where each is seen" {
  local arch
  arch=$(dpkg --print-architecture)
  dockerfile <<END
ARG GLOBAL=global
ARG TWICE=\$GLOBAL-twice
FROM --platform=\$BUILDPLATFORM tiny AS base
ARG TARGETPLATFORM
ARG TARGETOS TARGETARCH BUILDPLATFORM BUILDOS BUILDARCH TARGETSTAGE
RUN test "\$TARGETPLATFORM \$TARGETOS \$TARGETARCH" = "linux/$arch linux $arch" && test "\$BUILDPLATFORM \$BUILDOS \$BUILDARCH" = "linux/$arch linux $arch"
RUN test "\$TARGETSTAGE" = last
RUN test -z "\$GLOBAL" && test "\${http_proxy%.test:1}" = http://proxy && test -z "\$HTTPS_PROXY"
FROM base AS last
ARG TWICE
ARG LOCAL=\${TWICE}-local
RUN test "\$TWICE" = global-twice && test "\$LOCAL" = global-twice-local && test -z "\$TARGETARCH"
ENV LOCAL=env
RUN test "\$LOCAL" = env
CMD ["true"]
END
  build --target last --build-arg http_proxy=http://proxy.test:1
  not grep -rq proxy.test "$SANDBOX/state/blobs"
}

@test "ignore files: the Dockerfile's own comes first, and what it hides is missing" {
  mkdir -p d/e
  touch a.txt b.txt d/c.txt d/e/keep.txt other.Dockerfile
  printf '*\n!a.txt\n' >.dockerignore
  printf '# own\n**/*.txt\n!d/e/*.txt\nb*\n' >other.Dockerfile.dockerignore
  dockerfile <<'END'
FROM tiny
COPY . /x
RUN test "$(find /x -type f | sort | xargs)" = /x/a.txt
END
  build
  dockerfile other.Dockerfile <<'END'
FROM tiny
COPY . /x
RUN test "$(cd /x && find . -name '*.txt' | xargs)" = ./d/e/keep.txt
END
  build -f other.Dockerfile
  printf 'FROM tiny\nCOPY b.txt /\n' | dockerfile
  fails 2 stead build .
  says "line 1 of .dockerignore ('*') leaves it out"
}

@test "ONBUILD runs in who is FROM it, once, whoever built it" {
  echo mine >mine
  dockerfile base.Dockerfile <<'END'
FROM tiny
ONBUILD ARG WHO=nobody
ONBUILD COPY mine /mine
ONBUILD RUN echo "$WHO" >/who
RUN test ! -e /mine
END
  ok stead build -f base.Dockerfile -t "onbuild:$PROJECT" .
  dockerfile <<END
FROM onbuild:$PROJECT AS child
RUN test "\$(cat /mine)" = mine && test "\$(cat /who)" = somebody && rm /mine
FROM child
RUN test ! -e /mine
END
  build --build-arg WHO=somebody
}

@test "users, shells and directories: each from where it stands on" {
  dockerfile <<'END'
FROM tiny
RUN test "$(id -u):$(id -g) $PWD" = '0:0 /'
USER app
WORKDIR /home/app/deep
RUN test "$(id -u):$(id -g) $PWD" = '1000:1000 /home/app/deep' && touch file && test "$(stat -c %u .)" = 1000
USER 1234
RUN test "$(id -u)" = 1234
USER app:extra
RUN test "$(id -g)" = 2000
USER root
WORKDIR ../other
RUN test "$PWD" = /home/app/other
SHELL ["/bin/sh", "-ec"]
RUN false || true; test "$-" != "${-#*e}"
RUN ["/bin/sh", "-c", "test \"$-\" = \"${-#*e}\""]
ENV A="two words" B=$PWD
RUN test "$A" = 'two words' && test -z "$B"
RUN <<END_OF_SCRIPT
test "$0" != ""
x=1
test "$x" = 1
END_OF_SCRIPT
RUN <<PROGRAM
#!/bin/awk -f
BEGIN { exit 0 }
PROGRAM
RUN --network=none ! ip addr show eth0 2>/dev/null
END
  build
}

@test "steps that change nothing make no layer, and one layer may be there twice" {
  dockerfile <<'END'
FROM tiny
RUN test 1 = 1
RUN test 2 = 2
RUN test 3 = 3
END
  build
  is "$(stead inspect "built:$PROJECT" | jq '.[0].RootFS.Layers | length')" 1
  dockerfile <<'END'
FROM tiny
RUN echo x >/f
RUN echo x > /f
RUN test "$(cat /f)" = x
CMD ["sleep", "1000000"]
END
  SOURCE_DATE_EPOCH=1000 build
  is "$(stead inspect "built:$PROJECT" | jq -c '.[0].RootFS.Layers | [length, .[1] == .[2]]')" '[3,true]'
  printf 'services:\n  s: {image: "built:%s"}\n' "$PROJECT" | compose
  ok stead up -d
  is "$(inside s cat /f)" x
}

@test "docker's classic client: its options" {
  command -v docker >/dev/null || skip "needs docker's client"
  mkdir -p ctx/sub
  echo kept >ctx/kept
  echo left >ctx/left
  echo left >ctx/.dockerignore
  dockerfile ctx/sub/file <<'END'
FROM tiny AS one
ARG A=default
COPY . /x
RUN test "$A" = given && test -e /x/kept && test ! -e /x/left
RUN test "$(ulimit -n)" = 100 && test "$(ulimit -Hn)" = 200
RUN grep -q '^10.1.2.3.*db$' /etc/hosts && test "$(df -k /dev/shm | awk 'END { print $2 }')" = 8192
RUN ! ip addr show eth0 2>/dev/null
FROM scratch
COPY missing /
END
  classic() { env DOCKER_BUILDKIT=0 docker -H "unix://$SOCK" build "$@"; }
  ok classic -f ctx/sub/file --target one --build-arg A=given --label l=m --ulimit nofile=100:200 --add-host db:10.1.2.3 --shm-size 8m --network none \
    --memory 256m --no-cache -t "classic:$PROJECT" -t "again:$PROJECT" ctx
  says "Step 1/7 : FROM tiny AS one"
  is "$(stead inspect "again:$PROJECT" | jq -r '.[0].Config.Labels.l')" m
  ok classic -q -f ctx/sub/file --target one --build-arg A=given --ulimit nofile=100:200 --add-host db:10.1.2.3 --shm-size 8m --network none ctx
  is "$(tail -n 1 <<<"$output" | cut -c1-7)" sha256:
  is "$(curl -s --unix-socket "$SOCK" -o answer -w '%{http_code}' -X POST 'http://localhost/build?ulimits=1')" 400
  grep -q ulimits answer
}
