#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Ships through a real ssh: what the other files do over sockets is the same here, by one ssh, and what is wrong with it is said first.

load helpers
load ssh
load ship

setup_file() { sandbox_up && far_new && ssh_start; }
teardown_file() {
  local status=0
  ssh_stop
  far_remove || status=1
  sandbox_down || status=1
  sandbox_destroy "$SANDBOX"
  return "$status"
}

eval "$(declare -f setup | sed '1s/setup/helpers_setup/')"
eval "$(declare -f teardown | sed '1s/teardown/helpers_teardown/')"
setup() {
  helpers_setup
  ssh_anew
}
teardown() {
  link_down
  within 20 ssh_quiet && helpers_teardown && as_far leftovers && as_far sanitizers_silent
}

@test "there and back, by one ssh each" {
  app over a
  ok stead load -i over.tar
  ok stead ship over --to "$BOX$FAR_SOCK"
  says "over:latest"
  is "$(far_id over)" "$(here_id over)"
  is "$(ssh_runs)" 1
  # The box that has it is the one of -H or STEAD_HOST.
  app over b
  ok stead load -i over.tar
  STEAD_HOST=$HERE_URL ok "$STEAD_EXE" ship over --to "$BOX$FAR_SOCK" --json
  is "$(far_id over)" "$(here_id over)"
  is "$(tail -n 1 <<<"$output" | jq '.bytes_sent < 20000')" true
  stead rmi over
  ssh_forget
  ok stead ship over --from "$BOX$FAR_SOCK"
  is "$(here_id over)" "$(far_id over)"
  is "$(ssh_runs)" 1
  stead rmi over
  ok "$STEAD_EXE" -H "$BOX$FAR_SOCK" ship over --to "$HERE_URL"
  is "$(here_id over)" "$(far_id over)"
}

@test "deploy -H ssh://… sends what the box lacks" {
  app web a
  ok stead load -i web.tar
  compose <<'END'
services:
  w: { image: web, stop_grace_period: 0s }
END
  ok "$STEAD_EXE" -H "$BOX$FAR_SOCK" deploy --ship-from "$HERE_URL"
  says "web: sent "
  is "$(far_id web)" "$(here_id web)"
  is "$(ssh_runs)" 1
  far down -t 0
}

@test "what is wrong with the connection is said before anything is sent" {
  fails 2 stead ship tiny --to "ssh://-oProxyCommand=touch,x$FAR_SOCK"
  not test -e x
  : >"$SSH/known"
  fails 2 stead ship tiny --to "$BOX$FAR_SOCK"
  says "is not known here"
  ssh_user_config
  sed -i "s|IdentityFile .*|IdentityFile $SSH/other|" "$SSH/config"
  fails 2 stead ship tiny --to "$BOX$FAR_SOCK"
  says "refuses the key"
  ssh_user_config
  rm "$REMOTE/stead"
  fails 2 stead ship tiny --to "$BOX$FAR_SOCK"
  says "stead is not installed there"
  says "stead setup -H $BOX"
  ssh_remote_program <<END
#!/bin/sh
exec setpriv --reuid=65534 --regid=65534 --clear-groups $STEAD_EXE "\$@"
END
  fails 2 stead ship tiny --to "$BOX$FAR_SOCK"
  says "sudo usermod -aG stead nobody"
  ssh_remote_program <<'END'
#!/bin/sh
echo "Welcome to this machine!"
exec cat >/dev/null
END
  fails 2 stead ship tiny --to "$BOX$FAR_SOCK"
  says "Welcome to this machine!"
}

@test "the connection is lost midway: another ssh goes on where it stopped" {
  link_up
  new_image lost d1
  LINK_URL=$BOX$LINK/sock
  ship_held lost
  local sessions
  mapfile -t sessions < <(ps -o pid= --ppid "$(cat "$SSH/sshd.pid")")
  kill -KILL "${sessions[@]}" || true # one of the command before may just be ending
  release
  wait "$ship" && status=0 || status=$?
  output=$(cat ship.out)
  is "$status" 0
  says "was lost"
  is "$(far_id lost)" "$(here_id lost)"
  is "$(ssh_runs)" 2
  is "$(tail -n 1 ship.out | jq '.bytes_sent < 14000000')" true
}
