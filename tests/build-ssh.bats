#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# `RUN --mount=type=ssh` and `stead build --ssh`: an agent of the test's own, and whoever asks it from inside a step.

load helpers
load ssh.bash

KEYS=$SANDBOX/keys
AGENT=$SANDBOX/agent.sock

setup_file() {
  sandbox_up
  mkdir "$KEYS"
  ssh-keygen -q -t ed25519 -N '' -C first -f "$KEYS/first"
  ssh-keygen -q -t ed25519 -N '' -C second -f "$KEYS/second"
  (eval "$(ssh-agent -s -a "$AGENT" 3>&- 4>&-)" && echo "$SSH_AGENT_PID" >"$SANDBOX/agent.pid")
  SSH_AUTH_SOCK=$AGENT ssh-add -q "$KEYS/first"
  ssh_start
}

teardown_file() {
  local status=0
  ssh_stop
  kill -TERM "$(cat "$SANDBOX/agent.pid")"
  sandbox_down || status=1
  sandbox_destroy "$SANDBOX"
  return "$status"
}

dockerfile() { cat >Dockerfile; }

blob() { cut -d' ' -f2 "$KEYS/$1.pub" | base64 -d | od -An -v -tx1 | tr -d ' \n'; }

nothing_builds() { [[ -z $(find "$SANDBOX/run/containers" "$SANDBOX/run/netns" -mindepth 1 -maxdepth 1) ]]; }

# Agents that hold key files for a build have their socket below TMPDIR.
no_key_agent() { ! pgrep -f "ssh-agent -s -a $PWD/tmp/" && [[ -z $(ls -A tmp) ]]; }

with_agent() { SSH_AUTH_SOCK=$AGENT "$@"; }

@test "a step asks the user's agent, and only that step" {
  dockerfile <<'END'
FROM tiny
RUN --mount=type=ssh ssh-ask list >/keys && ssh-ask sign >/signature && echo "$SSH_AUTH_SOCK" >/where
RUN ! ssh-ask list && test -z "$SSH_AUTH_SOCK" && ! test -e /run/buildkit
END
  ok with_agent stead build --ssh default -t "built:$PROJECT" .
  local layer
  layer=$(layer_of "built:$PROJECT" 1)
  is "$(cat "$layer/keys")" "$(blob first) first"
  [[ $(cat "$layer/signature") -gt 64 ]]
  is "$(cat "$layer/where")" /run/buildkit/ssh_agent.0
  not test -e "$layer/run/buildkit"
  within 20 nothing_builds
}

@test "whoever builds without an agent is told, where the step needs one" {
  dockerfile <<'END'
FROM tiny
RUN --mount=type=ssh test -z "$SSH_AUTH_SOCK"
RUN --mount=type=ssh,id=git,required true
END
  fails 2 stead build .
  says "Dockerfile:3"
  says "--ssh git"
  fails 2 env -u SSH_AUTH_SOCK "$STEAD_EXE" -H "unix://$SOCK" build --ssh git .
  says "there is no agent"
  fails 2 stead build --ssh git=missing .
  says missing
  ok stead build --ssh "git=$AGENT" .
}

@test "place, owner and mode are those that were asked for" {
  dockerfile <<'END'
FROM tiny
RUN --mount=type=ssh,target=/home/app/agent,uid=1000,gid=2000,mode=0660 stat -c '%u:%g %a %F' /home/app/agent >/stat
RUN --mount=type=ssh,target=agent --mount=type=ssh,id=two ssh-ask list >/one && SSH_AUTH_SOCK=/run/buildkit/ssh_agent.1 ssh-ask list >/two
USER app
RUN --mount=type=ssh,uid=1000 ssh-ask list >/home/app/keys
RUN --mount=type=ssh ! ssh-ask list
END
  ok with_agent stead build --ssh default --ssh "two=$KEYS/second" -t "built:$PROJECT" .
  is "$(cat "$(layer_of "built:$PROJECT" 1)/stat")" "1000:2000 660 socket"
  is "$(cat "$(layer_of "built:$PROJECT" 2)/one")" "$(blob first) first"
  is "$(cat "$(layer_of "built:$PROJECT" 2)/two")" "$(blob second) second"
  is "$(cat "$(layer_of "built:$PROJECT" 3)/home/app/keys")" "$(blob first) first"
}

@test "keys are loaded into an agent that ends with the build" {
  mkdir tmp
  dockerfile <<'END'
FROM tiny
RUN --mount=type=ssh ssh-ask list | sort -k2 >/keys && ssh-ask sign
RUN --mount=type=ssh echo begun && sleep 1000
END
  TMPDIR=$PWD/tmp "$STEAD_EXE" -H "unix://$SOCK" build --ssh "default=$KEYS/first,$KEYS/second" . >build.log 2>&1 3>&- &
  local pid=$!
  within 60 grep -q ' begun$' build.log # not the step's title
  not no_key_agent
  kill -TERM "$pid"
  wait "$pid" && return 1
  within 20 no_key_agent
  # kill -9 leaves none, either.
  TMPDIR=$PWD/tmp "$STEAD_EXE" -H "unix://$SOCK" build --ssh "default=$KEYS/first" . >killed.log 2>&1 3>&- &
  pid=$!
  disown "$pid"
  within 60 grep -q ' begun$' killed.log
  kill -KILL "$pid"
  within 20 no_key_agent
  within 30 nothing_builds
  dockerfile <<'END'
FROM tiny
RUN --mount=type=ssh ssh-ask list | sort -k2 >/keys && ssh-ask sign
END
  ok env "TMPDIR=$PWD/tmp" "$STEAD_EXE" -H "unix://$SOCK" build --ssh "default=$KEYS/first,$KEYS/second" .
  # Who answers is no part of a step's key.
  ok env "TMPDIR=$PWD/tmp" "$STEAD_EXE" -H "unix://$SOCK" build --ssh "default=$KEYS/first" -t "built:$PROJECT" .
  is "$(cut -d' ' -f2 "$(layer_of "built:$PROJECT" 1)/keys" | tr '\n' ' ')" "first second "
  within 20 no_key_agent
  echo "no key" >broken
  chmod 600 broken
  fails 2 env "TMPDIR=$PWD/tmp" "$STEAD_EXE" -H "unix://$SOCK" build --ssh "default=broken" .
  says "could not load broken"
  within 20 no_key_agent
}

@test "a step can ask, and do nothing else to the agent" {
  dockerfile <<'END'
FROM tiny
RUN --mount=type=ssh for m in 13 12 1600000001 1700000001 1b0000000178 01 ff; do ssh-ask raw $m; done >/answers
RUN --mount=type=ssh printf '\0\0\0\0' | nc local:$SSH_AUTH_SOCK; printf '\377\377\377\377' | nc local:$SSH_AUTH_SOCK; ssh-ask list
END
  ok with_agent stead build --ssh default -t "built:$PROJECT" .
  is "$(tr '\n' ' ' <"$(layer_of "built:$PROJECT" 1)/answers")" "5 5 5 5 5 5 5 "
  is "$(SSH_AUTH_SOCK=$AGENT ssh-add -L | cut -d' ' -f3)" first
}

@test "many connections wait for each other, and hold up no other step" {
  dockerfile <<'END'
FROM tiny AS one
RUN --mount=type=ssh --mount=type=cache,id=gate,target=/gate (sleep 1000 | ssh-ask flood 8 >/tmp/flood) & \
    until grep -q flooded /tmp/flood; do usleep 50000; done; (sleep 1000 | ssh-ask flood 100) & touch /gate/flooded; timeout 5 ssh-ask list >/never; ! grep . /never
FROM tiny AS two
RUN --mount=type=ssh --mount=type=cache,id=gate,target=/gate until test -e /gate/flooded; do usleep 50000; done; \
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do ssh-ask list >>/keys & done; wait
FROM tiny
COPY --from=one /never /
COPY --from=two /keys /
END
  ok with_agent stead build --ssh default -t "built:$PROJECT" .
  is "$(sort -u "$(layer_of "built:$PROJECT" 2)/keys")" "$(blob first) first"
  is "$(wc -l <"$(layer_of "built:$PROJECT" 2)/keys")" 16
  within 20 nothing_builds
}

@test "over ssh, and from compose" {
  ssh_names
  dockerfile <<'END'
FROM tiny
RUN --mount=type=ssh,id=k ssh-ask list >/keys
END
  compose <<END
services:
  s: {build: {context: ., ssh: {k: ../keys/second}}, image: "built:$PROJECT"}
END
  ok over build
  is "$(cat "$(layer_of "built:$PROJECT" 1)/keys")" "$(blob second) second"
  ok with_agent stead build --no-cache --ssh "k=$AGENT"
  is "$(cat "$(layer_of "built:$PROJECT" 1)/keys")" "$(blob first) first"
  within 20 ssh_quiet
}
