#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What `stead setup` runs as root on a machine, in the directory that its archive was unpacked to: new/ has the programs, `packages` what
# is wanted ("a|b": whichever there is), `prefix` where the programs go, `user` whom to let use the socket. Every step looks first whether it is done, so it can be run
# again at any time; nothing of an old stead is replaced before the new one has been seen to start.
set -eu
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
DEBIAN_FRONTEND=noninteractive
export LC_ALL PATH DEBIAN_FRONTEND
umask 022
cd "$1"
prefix=$(cat prefix)
bindir=$prefix/bin
libexecdir=$prefix/libexec/stead
case $prefix in
  /usr | /usr/local) unitdir=$prefix/lib/systemd/system ;;
  *) unitdir=/etc/systemd/system ;;
esac
changed=''
# The daemon that runs is older than what is installed. It outlives a run that was cut short, and no boot.
restart=/run/stead-setup.restart
policy=/usr/sbin/policy-rc.d
policy_mark='Made by stead setup'

say() { echo "  $*"; }
fail() {
  echo "setup: $*" >&2
  exit 1
}
installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing() { # one package for each that is wanted and not there
  apt-cache pkgnames >names || true
  while read -r alternatives; do
    choice='' there=''
    for p in $(echo "$alternatives" | tr '|' ' '); do
      if installed "$p"; then there=1; fi
      if [ -z "$choice" ] && grep -qxF -- "$p" names; then choice=$p; fi
    done
    [ -n "$there" ] || echo "${choice:-${alternatives%%|*}}"
  done <packages
}

# A fresh machine may be at its own updates: apt's lists have no lock that can be waited for.
update_lists() {
  for pause in 5 10 20 40 80 0; do
    apt-get update -qq >apt.log 2>&1 && return 0
    grep -q 'Could not get lock' apt.log || break
    [ "$pause" != 5 ] || say "another apt runs there; waiting for it"
    sleep "$pause"
  done
  cat apt.log >&2
  return 1
}

# No question about a configuration file that is here already: it stays.
apt_try() { # PACKAGE…
  apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold "$@" </dev/null >apt.log 2>&1
}
apt_install() { # PACKAGE…
  apt_try "$@" && return 0
  grep -q 'dpkg --configure -a' apt.log || return 1
  say "completing what dpkg was interrupted at"
  dpkg --configure -a --force-confold </dev/null >apt.log 2>&1 && apt_try "$@"
}

# The daemon starts HAProxy and nginx itself: the services of packages that come now stay off, or they would take ports 80 and 443. The
# policy is what invoke-rc.d(8) asks; one of the machine's own rules on. Ours tells the next run what one that was killed had still to turn off.
forbid_services() {
  trap turn_off EXIT
  trap 'exit 1' HUP INT TERM
  [ ! -e "$policy" ] || grep -qsF "$policy_mark" "$policy" || return 0
  printf '#!/bin/sh\n# %s while it installs packages:%s\n' "$policy_mark" "$off" >"$policy.new"
  # shellcheck disable=SC2016 # for the file
  printf 'for a; do case $a in haproxy|haproxy.service|nginx|nginx.service) exit 101 ;; esac; done\nexit 0\n' >>"$policy.new"
  chmod 755 "$policy.new"
  mv -f "$policy.new" "$policy"
}
turn_off() {
  for s in $off; do
    [ -e "/lib/systemd/system/$s.service" ] || continue
    systemctl disable --now --quiet "$s.service" 2>/dev/null || say "could not turn the service $s off; it may take the ports 80 and 443"
  done
  off=''
  ! grep -qsF "$policy_mark" "$policy" || rm -f "$policy"
}

install_packages() {
  off=$(sed -n "s/^# $policy_mark.*packages://p" "$policy" 2>/dev/null || true)
  if [ -n "$(missing)" ]; then
    say "reading the package lists"
    update_lists || say "apt-get update failed; going on with the lists that are here"
    list=$(missing)
    for s in haproxy nginx; do
      case " $(echo "$list" | tr '\n' ' ')" in *" $s"*) off="$off $s" ;; esac
    done
    [ -z "$off" ] || forbid_services
    say "installing $(echo "$list" | tr '\n' ' ')"
    # shellcheck disable=SC2086 # words are wanted
    apt_install $list || {
      tail -n 15 apt.log >&2
      fail "apt-get could not install the packages; what it says stands above"
    }
  fi
  turn_off
}

# Programs from another system may lack libraries here, or want a newer C library.
check_programs() {
  for f in new/bin/* new/libexec/*; do
    lacks=$(ldd "$f" 2>&1 | grep -E 'not found|not a dynamic' | grep -v 'not a dynamic' || true)
    [ -z "$lacks" ] || fail "the program ${f##*/} does not run on this system: $lacks
Build stead on it or on one like it, and name the directory with --binary-dir."
  done
  new/bin/stead --version >/dev/null || fail "the new 'stead' does not start here"
}

# Renamed into place: who runs keeps running.
put() { # FILE MODE DIRECTORY [MARK that is made first]
  if cmp -s "$1" "$3/${1##*/}"; then return 0; fi
  [ -z "${4:-}" ] || : >"$4"
  mkdir -p "$3"
  cp "$1" "$3/.${1##*/}.new"
  chmod "$2" "$3/.${1##*/}.new"
  mv -f "$3/.${1##*/}.new" "$3/${1##*/}"
  changed=1
}
install_programs() {
  for f in new/libexec/*; do put "$f" 755 "$libexecdir" "$restart"; done
  put new/bin/stead 755 "$bindir" "$restart"
  put new/stead.service 644 "$unitdir" "$restart"
  put new/man/stead.1 644 "$prefix/share/man/man1"
  put new/completions/stead 644 "$prefix/share/bash-completion/completions"
  if [ -n "$changed" ]; then say "installed $("$bindir/stead" --version)"; else say "the programs are there already"; fi
}

install_group() {
  user=$(cat user)
  if ! getent group stead >/dev/null; then
    : >"$restart" # the socket of a daemon that runs is not the group's yet
    groupadd --system stead
    say "made the group stead"
  fi
  [ "$user" != root ] || return 0
  case " $(id -nG "$user") " in
    *" stead "*) ;;
    *)
      usermod -aG stead "$user"
      say "$user is in the group stead now (as good as root)"
      ;;
  esac
}

answers() {
  i=0
  while [ "$i" -lt 60 ]; do
    "$bindir/stead" -H unix:///run/stead/stead.sock version >version.txt 2>&1 && return 0
    i=$((i + 1))
    sleep 1
  done
  return 1
}

start() {
  systemctl daemon-reload
  systemctl enable --quiet stead.service
  if ! systemctl is-active --quiet stead.service; then
    systemctl start stead.service || true
    say "started the daemon; it starts at every boot"
  elif [ -e "$restart" ]; then
    systemctl restart stead.service || true
    say "restarted the daemon; containers ran on"
  fi
  answers || {
    journalctl -u stead.service -n 15 --no-pager >&2 2>/dev/null || true
    cat version.txt >&2
    fail "the daemon does not answer; its log stands above"
  }
  rm -f "$restart"
}

install_packages
check_programs
install_group
install_programs
start
say "the daemon answers"
