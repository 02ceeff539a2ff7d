# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the demos share: a daemon of their own, apart from an installed stead, and images from packages. Who
# sources this sets name, state and run (--name, --state-dir, --run-dir) before, and daemon_options.

exe=$PWD/build/src/main/stead
socket=$run/stead.sock
unset COMPOSE_PROJECT_NAME COMPOSE_FILE COMPOSE_PROFILES STEAD_HOST

stead() { "$exe" -H "unix://$socket" "$@"; }
step() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }
# Without a terminal no colours.
[[ -t 1 ]] || step() { printf '\n==> %s\n' "$*"; }
answers() { curl -s --max-time 2 --noproxy '*' -o /dev/null --unix-socket "$socket" http://stead/_ping; }

daemon_pid() {
  local pid
  pid=$(cat "$run/demo.pid" 2>/dev/null) || return 1
  [[ $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) == *" daemon --name $name --state-dir $state "* ]] || return 1
  echo "$pid"
}

daemon_start() {
  local pid i
  if pid=$(daemon_pid) && answers; then
    # Built anew since: the new one takes over; containers run on.
    [[ $(readlink "/proc/$pid/exe") != "$exe" ]] || return 0
    daemon_stop
  fi
  mkdir -p "$state" "$run"
  setsid "$exe" daemon --name "$name" --state-dir "$state" --run-dir "$run" "${daemon_options[@]}" >>"$state/daemon.log" 2>&1 </dev/null &
  pid=$!
  echo "$pid" >"$run/demo.pid"
  for ((i = 0; i < 150; i++)); do
    answers && return 0
    [[ -e /proc/$pid/exe ]] || break
    sleep 0.1
  done
  tail -n 20 "$state/daemon.log" >&2
  echo "the daemon did not start; its last words are above, all of them in $state/daemon.log" >&2
  exit 1
}

daemon_stop() {
  local pid i
  pid=$(daemon_pid) || return 0
  kill "$pid"
  for ((i = 0; i < 100; i++)); do
    [[ -e /proc/$pid/exe ]] || { rm -f "$run/demo.pid"; return 0; }
    sleep 0.1
  done
  echo "the daemon (process $pid) does not end" >&2
  return 1
}

# The first of some package names that this distribution knows.
known_package() {
  local p
  for p in "$@"; do
    [[ -z $(apt-cache search --names-only "^$p\$") ]] || { echo "$p"; return; }
  done
  echo "$1"
}

image() { # NAME [PACKAGES]
  if stead inspect "$1" >/dev/null 2>&1; then
    echo "$1 is here already"
  else
    step "image $1 from ${2:+the packages }${2:-the smallest set of packages}"
    stead image bootstrap "$1" ${2:+--packages "$2"}
  fi
}
# What the Dockerfiles build on, unless all that they make is here.
base_image() { # IMAGE…
  local made
  for made; do
    stead inspect "$made" >/dev/null 2>&1 || { image debian:bookworm-slim; return; }
  done
}
mariadb_packages() {
  echo "$(known_package mariadb-server-core mariadb-server-core-10.6 mariadb-server),$(known_package mariadb-client-core mariadb-client-core-10.6 mariadb-client)"
}

# PORT, or the first free one after it.
free_port() { # PORT
  local port=$1
  while (exec 9<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    port=$((port + 1))
  done
  echo "$port"
}

# Takes the project down and ends the daemon; images stay, and volumes unless -v is said.
demo_end() { # COMPOSE-FILE --if-running|'' -v|''
  if [[ ! -d $state || ($2 == --if-running && ! -S $socket) ]]; then
    [[ $2 == --if-running ]] || echo "there is no demo"
    return 0
  fi
  [[ $EUID -eq 0 ]] || { echo "the demo belongs to root: sudo $0 stop" >&2; exit 1; }
  if [[ ! -x $exe ]]; then
    # `make clean` comes before a build that could take it down properly.
    echo "$0: build first (make), then stop" >&2
    exit 1
  fi
  daemon_start
  # shellcheck disable=SC2086 # an option or nothing
  stead -f "$1" down $3
  daemon_stop
  echo "stopped; data and images stay in $state"
}

demo_remove() {
  [[ $state == /?*demo* && $run == /?*demo* ]] || exit 1
  if grep -q " $run/\| $state/" /proc/self/mounts; then
    awk -v s="$state/" -v r="$run/" 'index($2, s) == 1 || index($2, r) == 1 { print $2 }' /proc/self/mounts | while read -r m; do umount "$m"; done
  fi
  rm -rf --one-file-system "${state:?}" "${run:?}"
  echo "removed $state"
}

demo_usage() {
  sed -n '3,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
  exit 2
}
