#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# `stead setup` on a fresh Debian: a root file system from the package mirror with an sshd, a user who may use sudo, and nothing else, in process
# and mount namespaces of its own. It lacks a systemd: what takes its place there notes what it is told, and starts the daemon, under this
# file's name and in a network of its own.

load helpers
load ssh

# The plain programs: a fresh machine has no sanitizers' libraries.
[[ ! -x $BATS_TEST_DIRNAME/../build/src/main/stead ]] || STEAD_EXE=$(cd "$BATS_TEST_DIRNAME/../build" && pwd)/src/main/stead
BOXDIR=$SANDBOX/box
FRESH=$STEAD_TEST_CACHE/fresh-box.tar

mirror() { # PATTERN of apt's format
  apt-get indextargets --format "$1" 'Created-By: Packages' 2>/dev/null | awk '$2 ~ /main/ { print $1; exit }'
}

# Once: the tree that the tests unpack.
fresh_box() {
  local proxy
  [[ ! -s $FRESH ]] || return 0
  proxy=$(apt-config dump Acquire::http::Proxy 2>/dev/null || true)
  mmdebstrap --variant=minbase --mode=root --include=openssh-server,sudo,ca-certificates ${proxy:+"--aptopt=$proxy"} \
    --dpkgopt='force-unsafe-io' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    bookworm "${FRESH%.tar}.new.tar" "$(mirror '$(SITE) $(COMPONENT)')" >"$SANDBOX/mmdebstrap.log" 2>&1 && mv "${FRESH%.tar}.new.tar" "$FRESH"
}

setup_file() {
  sandbox_destroy "$SANDBOX"
  sandbox_new "$SANDBOX"
  . "$SANDBOX/env"
  if ! command -v mmdebstrap >/dev/null || ! fresh_box; then
    rm -f "${FRESH%.tar}.new.tar"
    echo "the package mirror cannot be reached, or there is no mmdebstrap" >"$SANDBOX/skip"
    return 0
  fi
  mkdir -p "$BOXDIR" "$SSH"
  tar -C "$BOXDIR" -xf "$FRESH"
  ssh-keygen -q -t ed25519 -N '' -C host -f "$SSH/host"
  ssh-keygen -q -t ed25519 -N '' -C user -f "$SSH/id"
  mkdir -p "$BOXDIR"/{run/sshd,run/systemd/system,root/.ssh,home/pi/.ssh}
  cp "$SSH/host" "$BOXDIR/etc/ssh/ssh_host_ed25519_key"
  chroot "$BOXDIR" useradd -M -s /bin/bash pi
  echo 'pi:raspberry' | chroot "$BOXDIR" chpasswd
  echo 'pi ALL=(ALL) NOPASSWD: ALL' >"$BOXDIR/etc/sudoers.d/pi"
  cp "$SSH/id.pub" "$BOXDIR/home/pi/.ssh/authorized_keys"
  chroot "$BOXDIR" chown -R pi:pi /home/pi
  chmod -R go-rwx "$BOXDIR/home/pi"
  cat >"$BOXDIR/usr/local/sbin/systemctl" <<END
#!/bin/sh
echo "\$*" >>/var/log/systemctl
alive() { kill -0 "\$(cat /run/daemon.pid 2>/dev/null)" 2>/dev/null; }
case \$* in
  is-active*) alive ;;
  daemon-reload) [ ! -e /run/no-reload ] ;;
  'start stead'* | 'restart stead'*)
    if alive; then
      kill -TERM "\$(cat /run/daemon.pid)"
      while alive; do sleep 0.1; done
    fi
    rm -f /run/daemon.pid
    mkdir -p /run/stead
    setsid unshare -n sh -c 'echo \$\$ >/run/daemon.pid; exec /usr/local/bin/stead daemon --name $NAME' >>/var/log/stead 2>&1 </dev/null &
    while [ ! -s /run/daemon.pid ]; do sleep 0.1; done
    ;;
esac
END
  chmod 755 "$BOXDIR/usr/local/sbin/systemctl"
  cat >"$SANDBOX/start-box" <<END
set -e
mount --bind "$BOXDIR" "$BOXDIR"
cd "$BOXDIR"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
cat /etc/resolv.conf >etc/resolv.conf
echo "127.0.0.1 localhost $(uname -n)" >etc/hosts
# A root that is a mount, or no runtime works in it.
mkdir -p mnt/old
pivot_root . mnt/old
exec chroot . sh -c 'umount -l /mnt/old && exec /usr/sbin/sshd -D -p $(ssh_port) -o ListenAddress=127.0.0.1 -o UsePAM=no -o MaxStartups=100 -o PidFile=none'
END
  setsid unshare --mount --pid --fork --kill-child --propagation private sh "$SANDBOX/start-box" >"$SANDBOX/box.log" 2>&1 </dev/null 3>&- 4>&- &
  echo $! >"$SANDBOX/unshare.pid"
  disown $!
  mkdir -p "$SANDBOX/bin"
  printf '#!/bin/sh\nexec %s -F "%s" "$@"\n' "$(command -v ssh)" "$SSH/config" >"$SANDBOX/bin/ssh"
  chmod 755 "$SANDBOX/bin/ssh"
  ssh_user_config
  PATH=$SANDBOX/bin:$PATH
  within 20 ssh -p "$(ssh_port)" pi@127.0.0.1 true
}

teardown_file() {
  local box
  if [[ -s $SANDBOX/unshare.pid ]]; then
    # The first process there: all others have ended before it.
    box=$(ps -o pid= --ppid "$(cat "$SANDBOX/unshare.pid")" | head -n 1)
    kill -KILL "$(cat "$SANDBOX/unshare.pid")"
    [[ -z $box ]] || within 20 not sandbox_alive "${box// /}"
  fi
  sandbox_destroy "$SANDBOX"
}

setup() {
  . "$SANDBOX/env"
  [[ ! -e $SANDBOX/skip ]] || skip "$(cat "$SANDBOX/skip")"
  mkdir -p "$SANDBOX/t$BATS_TEST_NUMBER"
  cd "$SANDBOX/t$BATS_TEST_NUMBER" || return 1
  ssh_names
  BOX=ssh://pi@127.0.0.1:$(ssh_port)
}
teardown() {
  [[ ${BATS_TEST_COMPLETED:-} == 1 ]] || [[ ! -s $BOXDIR/var/log/stead ]] || {
    echo "--- the daemon's log"
    tail -n 20 "$BOXDIR/var/log/stead"
  }
}

on_box() { "$STEAD_EXE" -H "$BOX" "$@"; }
told() { grep -qxF -- "$1" "$BOXDIR/var/log/systemctl"; }

@test "it says what it would do, and does nothing without a yes" {
  ok on_box setup --dry-run
  says "Debian GNU/Linux 12"
  says "as pi with sudo"
  says "crun"
  says "haproxy"
  says "libuv1"
  says "with man page and completion for bash"
  says "make stead, add pi to it"
  says "enable and start stead.service"
  fails 2 on_box setup </dev/null
  says "add --yes"
  not test -e "$BOXDIR/usr/local/bin/stead"
  not test -e "$BOXDIR/usr/bin/crun"
  not grep -q ^stead: "$BOXDIR/etc/group"
  is "$(ls "$BOXDIR/var/tmp")" ""
}

@test "what cannot be set up is refused, and why" {
  local release=$BOXDIR/usr/lib/os-release
  cp "$release" release
  fails 2 "$STEAD_EXE" -H "unix://$SOCK" setup
  says "add -H ssh://"
  sed -i 's/^ID=.*/ID=fedora/; s/^PRETTY_NAME=.*/PRETTY_NAME="Fedora Linux 40"/' "$release"
  fails 2 on_box setup --yes
  says "this is Fedora Linux 40"
  sed 's/^VERSION_ID=.*/VERSION_ID="10"/' release >"$release"
  fails 2 on_box setup --yes
  says "is too old; stead needs Debian 12"
  cp release "$release"
  mv "$BOXDIR/run/systemd" "$BOXDIR/run/no-systemd"
  fails 2 on_box setup --yes
  says "systemd does not run there"
  mv "$BOXDIR/run/no-systemd" "$BOXDIR/run/systemd"
  mv "$BOXDIR/usr/bin/sudo" "$BOXDIR/usr/bin/no-sudo"
  fails 2 on_box setup --yes
  says "pi is not root there, and there is no sudo"
  mv "$BOXDIR/usr/bin/no-sudo" "$BOXDIR/usr/bin/sudo"
  # Of another architecture: the head of the program says so.
  mkdir other
  cp "$STEAD_EXE" other/stead
  printf '\267' | dd of=other/stead bs=1 seek=18 conv=notrunc status=none
  [[ $(dpkg --print-architecture) != amd64 ]] || {
    fails 2 on_box setup --yes --binary-dir other
    says "is for arm64, and the machine is amd64"
  }
  mkdir none
  fails 2 on_box setup --yes --binary-dir none
  says "there is no program 'stead' in none"
  not test -e "$BOXDIR/usr/local/bin/stead"
}

# Holds apt's locks there, as a machine's own updates do, until the file `go` is there.
busy_apt() {
  python3 - "$BOXDIR" <<'END'
import fcntl, os, sys, time
held = [open(sys.argv[1] + path, "a") for path in ("/var/lib/apt/lists/lock", "/var/lib/dpkg/lock-frontend")]
for f in held:
    fcntl.lockf(f, fcntl.LOCK_EX)
open("held", "w").close()
while not os.path.exists("go"):
    time.sleep(0.2)
END
}

@test "a fresh machine: packages, programs, group, service, and it answers" {
  fails 2 on_box ps -A
  says "stead is not installed there"
  says "stead setup -H $BOX"
  # What this user's ssh keeps open knows nothing of the group.
  ssh_user_config "ControlMaster auto" "ControlPath $SANDBOX/shared" "ControlPersist yes"
  ok ssh -p "$(ssh_port)" pi@127.0.0.1 true
  test -S "$SANDBOX/shared"
  # A power cut in the middle of dpkg's work, and a configuration that outlived its package.
  sed '/^$/q' "$BOXDIR/var/lib/dpkg/status" >"$BOXDIR/var/lib/dpkg/updates/0001"
  mkdir -p "$BOXDIR/var/lib/apt/lists" "$BOXDIR/etc/haproxy"
  echo mine >"$BOXDIR/etc/haproxy/haproxy.cfg"
  busy_apt 3>&- &
  within 20 test -e held
  on_box setup --yes >said 2>&1 3>&- &
  within 60 grep -q "another apt runs there" said
  touch go
  wait $! || { cat said; return 1; }
  ok cat said
  says "installing crun"
  says "completing what dpkg was interrupted at"
  is "$(cat "$BOXDIR/etc/haproxy/haproxy.cfg")" mine
  says "made the group stead"
  says "pi is in the group stead now"
  says "started the daemon"
  says "$BOX answers"
  told "enable --quiet stead.service"
  told "disable --now --quiet haproxy.service"
  grep -q "^ExecStart=/usr/local/bin/stead daemon" "$BOXDIR/usr/local/lib/systemd/system/stead.service"
  is "$(stat -c %a "$BOXDIR/usr/local/libexec/stead" "$BOXDIR/usr/local/bin/stead" | xargs)" "755 755"
  not test -e "$BOXDIR/usr/sbin/policy-rc.d"
  is "$(ls "$BOXDIR/var/tmp")" ""
  cmp "$BATS_TEST_DIRNAME/../data/stead.1" "$BOXDIR/usr/local/share/man/man1/stead.1"
  cmp "$BATS_TEST_DIRNAME/../data/stead.bash" "$BOXDIR/usr/local/share/bash-completion/completions/stead"
  is "$(stat -c %a "$BOXDIR/usr/local/share/man/man1" "$BOXDIR/usr/local/share/man/man1/stead.1" | xargs)" "755 644"
  ok on_box ps -A
  ok on_box version
  ok on_box info
  ssh -p "$(ssh_port)" -O exit pi@127.0.0.1
  ssh_user_config
}

@test "again: nothing changes" {
  local daemon
  daemon=$(cat "$BOXDIR/run/daemon.pid")
  ok on_box setup --yes
  says "packages: all there"
  says "the programs are there already"
  says "stead is there, pi is in it"
  says_not "started"
  is "$(cat "$BOXDIR/run/daemon.pid")" "$daemon"
}

@test "an update replaces what differs, and restarts the daemon" {
  local daemon
  daemon=$(cat "$BOXDIR/run/daemon.pid")
  echo >>"$BOXDIR/usr/local/libexec/stead/stead-notify"
  # What a run that was killed leaves.
  cp "$STEAD_EXE" "$BOXDIR/usr/local/bin/.stead.new"
  rm "$BOXDIR/usr/local/bin/stead"
  printf '#!/bin/sh\n# Made by stead setup while it installs packages: nginx\nexit 101\n' >"$BOXDIR/usr/sbin/policy-rc.d"
  : >"$BOXDIR/var/log/systemctl"
  ok on_box setup --yes
  says "installed stead"
  says "restarted the daemon; containers ran on"
  not test -e "$BOXDIR/usr/local/bin/.stead.new"
  not test -e "$BOXDIR/usr/sbin/policy-rc.d"
  told "disable --now --quiet nginx.service"
  not told "disable --now --quiet haproxy.service"
  not is "$(cat "$BOXDIR/run/daemon.pid")" "$daemon"
  ok on_box ps -A
}

@test "a man page that differs is replaced, and the daemon let alone" {
  local daemon
  daemon=$(cat "$BOXDIR/run/daemon.pid")
  echo old >"$BOXDIR/usr/local/share/man/man1/stead.1"
  ok on_box setup --yes
  says "installed stead"
  says_not "restarted"
  cmp "$BATS_TEST_DIRNAME/../data/stead.1" "$BOXDIR/usr/local/share/man/man1/stead.1"
  is "$(cat "$BOXDIR/run/daemon.pid")" "$daemon"
}

@test "a run that ended before the daemon was restarted: the next one does it" {
  local daemon
  daemon=$(cat "$BOXDIR/run/daemon.pid")
  echo >>"$BOXDIR/usr/local/libexec/stead/stead-notify"
  touch "$BOXDIR/run/no-reload"
  fails 1 on_box setup --yes
  says "installed stead"
  is "$(cat "$BOXDIR/run/daemon.pid")" "$daemon"
  rm "$BOXDIR/run/no-reload"
  ok on_box setup --yes
  says "the programs are there already"
  says "restarted the daemon; containers ran on"
  not is "$(cat "$BOXDIR/run/daemon.pid")" "$daemon"
  ok on_box setup --yes
  says_not "restarted"
}

@test "sudo that wants a password: asked for on the terminal, or the way out" {
  echo 'pi ALL=(ALL) ALL' >"$BOXDIR/etc/sudoers.d/pi"
  fails 2 setsid --wait "$STEAD_EXE" -H "$BOX" setup --yes
  says "there is no terminal to ask for it"
  ok "$BATS_TEST_DIRNAME/terminal" "$STEAD_EXE" -H "$BOX" setup --yes <<'END'
until(rb"Password of pi.*for sudo: ")
type_(b"raspberry")
ends(0)
END
  says_not raspberry
  says "answers"
  # What is not answered leaves the terminal as it was.
  ok "$BATS_TEST_DIRNAME/terminal" sh -c "trap : INT; '$STEAD_EXE' -H $BOX setup --yes; echo; stty -a; echo all is seen" <<'END'
until(rb"for sudo: ")
os.write(fd, b"\x03")
until(rb"[^-]echo [^\0]*all is seen")
ends(0)
END
  ok "$BATS_TEST_DIRNAME/terminal" "$STEAD_EXE" -H "$BOX" setup --yes <<'END'
while read():
    if seen.endswith(b"for sudo: "):
        type_(b"wrong")
ends(1)
END
  says "setup did not come to its end"
  echo 'pi ALL=(ALL) NOPASSWD: ALL' >"$BOXDIR/etc/sudoers.d/pi"
}
