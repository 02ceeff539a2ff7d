# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the tests over ssh share: a real sshd on a loopback port of the file's own, with its own host key, and a user's configuration
# that only `ssh` of $SANDBOX/bin sees (first in PATH): key, known_hosts. Nothing of this machine's ssh is read or changed.
#
#   ssh_start                  sshd; the far side's PATH begins with $REMOTE, where `stead` is this build's
#   ssh_stop
#   ssh_anew                   in setup: all as ssh_start left it, whatever a test has changed
#   $BOX                       ssh://127.0.0.1:PORT, $BOX$SOCK the daemon of this file
#   over …                     stead -H $BOX$SOCK …
#   ssh_runs                   how many times ssh has been run since ssh_forget
#   ssh_quiet                  no ssh, and nothing that sshd has started, is left

SSH=$SANDBOX/ssh
REMOTE=$SANDBOX/remote
SSH_WORDS=$SSH/config # in the command line of every ssh of this file

ssh_port() { echo $((PORTS + 95)); }

ssh_start() {
  . "$SANDBOX/env"
  mkdir -p "$SSH" "$REMOTE" "$SANDBOX/bin" /run/sshd
  ssh-keygen -q -t ed25519 -N '' -C host -f "$SSH/host"
  ssh-keygen -q -t ed25519 -N '' -C user -f "$SSH/id"
  ssh-keygen -q -t ed25519 -N '' -C other -f "$SSH/other"
  cp "$SSH/id.pub" "$SSH/authorized"
  ssh_remote_stead
  cat >"$SSH/sshd_config" <<END
Port $(ssh_port)
ListenAddress 127.0.0.1
HostKey $SSH/host
AuthorizedKeysFile $SSH/authorized
PidFile $SSH/sshd.pid
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
MaxStartups 100
SetEnv PATH=$REMOTE:/usr/bin:/bin STEAD_TEST_SSH=$SANDBOX ASAN_OPTIONS=$(sandbox_asan_options):log_path=$SANDBOX/asan
END
  cat >"$SANDBOX/bin/ssh" <<END
#!/bin/sh
echo "\$*" >>"$SSH/runs"
exec $(command -v ssh) -F "$SSH/config" "\$@"
END
  chmod 755 "$SANDBOX/bin/ssh"
  ssh_user_config
  /usr/sbin/sshd -f "$SSH/sshd_config" -E "$SSH/log" 3>&- 4>&-
  within 20 test -s "$SSH/sshd.pid"
  PATH=$SANDBOX/bin:$PATH
  ssh_names
}

# Also in each test's own shell.
ssh_names() {
  [[ $PATH == "$SANDBOX/bin:"* ]] || PATH=$SANDBOX/bin:$PATH
  BOX=ssh://127.0.0.1:$(ssh_port)
}

ssh_anew() {
  ssh_names
  ssh_user_config
  ssh_remote_stead
  ssh_forget
  unset STEAD_HOST
}

ssh_stop() { [[ ! -s $SSH/sshd.pid ]] || kill -TERM "$(cat "$SSH/sshd.pid")"; }

# What a user who has been there before has.
# shellcheck disable=SC2120 # arguments come from the tests
ssh_user_config() { # [LINE…]
  printf '[127.0.0.1]:%s %s\n' "$(ssh_port)" "$(cut -d' ' -f1-2 "$SSH/host.pub")" >"$SSH/known"
  {
    printf '%s\n' "$@"
    printf '%s\n' "UserKnownHostsFile $SSH/known" "GlobalKnownHostsFile none" "IdentityFile $SSH/id" "IdentitiesOnly yes" "IdentityAgent none"
  } >"$SSH/config"
}

# `stead` as the far side has it; a test may put another one there.
ssh_remote_stead() {
  ln -sfn "$STEAD_EXE" "$REMOTE/stead"
}
ssh_remote_program() { # standard input is the program
  rm -f "$REMOTE/stead"
  cat >"$REMOTE/stead"
  chmod 755 "$REMOTE/stead"
}

over() { "$STEAD_EXE" -H "$BOX$SOCK" "$@"; }
ssh_forget() { : >"$SSH/runs"; }
ssh_runs() { wc -l <"$SSH/runs"; }

# Processes of ours by a word in their command line or environment.
ssh_processes() {
  grep -slaF -- "$SSH_WORDS" /proc/[0-9]*/cmdline
  grep -slaF -- "STEAD_TEST_SSH=$SANDBOX" /proc/[0-9]*/environ
  true
}
ssh_quiet() {
  local left
  left=$(ssh_processes)
  [[ -z $left ]] || {
    local p
    for p in $left; do echo "${p%/*}: $(tr '\0' ' ' <"${p%/*}/cmdline")"; done
    return 1
  }
}
