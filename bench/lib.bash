# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the measurements share: a stead daemon and a Docker daemon, each in a place of its own, timing,
# and the table that is printed.

BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOP=$(dirname "$BENCH")
# shellcheck source=../tests/sandbox.bash
. "$TOP/tests/sandbox.bash"

EXE=$TOP/build/src/main/stead
unset COMPOSE_PROJECT_NAME COMPOSE_FILE COMPOSE_PROFILES STEAD_HOST DOCKER_HOST

broken=0
broke() {
  printf 'BROKEN: %s\n' "$*" >&2
  broken=$((broken + 1))
}

# --- time

now_us() { local t=$EPOCHREALTIME; echo $((${t%[.,]*} * 1000000 + 10#${t#*[.,]})); }

# Runs a command; its duration in µs is in $took.
timed() {
  local begin status=0
  begin=$(now_us)
  "$@" >"$WORK/out" 2>&1 </dev/null || status=$?
  took=$(($(now_us) - begin))
  [[ $status -eq 0 ]] || {
    broke "exit code $status: $*"
    tail -n 15 "$WORK/out" >&2
    return "$status"
  }
}

median() { printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : int((v[NR / 2] + v[NR / 2 + 1]) / 2) }'; }
ms() { awk -v us="$1" 'BEGIN { printf us < 100000 ? "%.1f ms" : "%.0f ms", us / 1000 }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.1f", b ? a / b : 0 }'; }
mb() { awk -v kb="$1" 'BEGIN { printf "%.1f MB", kb / 1000 }'; }
at_least() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a >= b) }'; }
at_most() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a <= b) }'; }

# --- the table

row() { # WHAT STEAD DOCKER RESULT TARGET reached|missed|-
  printf '%-34s %12s %12s %10s  %-18s %s\n' "$@" | tee -a "$RESULTS"
}
verdict() { # CONDITION…: prints reached or missed
  if "$@"; then echo reached; else echo MISSED; fi
}

# --- stead

stead() { "$EXE" -H "unix://$SANDBOX/run/stead.sock" "$@"; }
stead_pid() { cat "$SANDBOX/pid"; }
stead_start() { # [OPTION…]
  local i NAME PORTS
  . "$SANDBOX/env"
  setsid "$EXE" daemon --name "$NAME" --state-dir "$SANDBOX/state" --run-dir "$SANDBOX/run" \
    --edge-http "127.0.0.1:$((PORTS + 90))" --edge-https "127.0.0.1:$((PORTS + 91))" "$@" >>"$SANDBOX/log" 2>&1 </dev/null &
  echo $! >"$SANDBOX/pid"
  disown $!
  for ((i = 0; i < 1000; i++)); do
    curl -s --max-time 2 -o /dev/null --unix-socket "$SANDBOX/run/stead.sock" http://stead/_ping && return 0
    sandbox_alive "$(stead_pid)" || break
    sleep 0.02
  done
  tail -n 20 "$SANDBOX/log" >&2
  echo "bench: the daemon did not start" >&2
  return 1
}
stead_stop() {
  local i
  kill "$(stead_pid)" 2>/dev/null || return 0
  for ((i = 0; i < 100; i++)); do
    sandbox_alive "$(stead_pid)" || return 0
    sleep 0.1
  done
  return 1
}
stead_leftovers() {
  local NAME PORTS
  . "$SANDBOX/env"
  "$TOP/tools/leftovers" --name "$NAME" --state-dir "$SANDBOX/state" --run-dir "$SANDBOX/run" "$@"
}
stead_pids() { # the daemon and all that is its own but the containers
  local NAME PORTS
  . "$SANDBOX/env"
  "$TOP/tools/leftovers" --all --name "$NAME" --state-dir "$SANDBOX/state" --run-dir "$SANDBOX/run" |
    awk -F'\t' '$1 == "daemon" || ($1 == "process" && $3 ~ /^(conmon|stead-)/) { print $2 }'
}

# --- docker

have_docker() { command -v dockerd >/dev/null && command -v docker-compose >/dev/null && command -v docker >/dev/null; }

# A Docker daemon in network and mount namespaces of its own: its bridges, its packet rules and its
# containerd touch nothing of this machine, and are gone when it is.
docker_start() {
  local i
  DOCKER_DIR=$SANDBOX/docker
  export DOCKER_HOST=unix://$DOCKER_DIR/docker.sock
  mkdir -p "$DOCKER_DIR"
  # shellcheck disable=SC2016 # expanded by the inner shell
  setsid unshare --net --mount --propagation private bash -c '
    ip link set lo up
    [ ! -d /run/containerd ] || mount -t tmpfs tmpfs /run/containerd
    mkdir -p "$1/exec" && mount -t tmpfs tmpfs "$1/exec"
    exec dockerd --host "unix://$1/docker.sock" --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/docker.pid" \
      --storage-driver overlay2' dockerd "$DOCKER_DIR" >"$DOCKER_DIR/log" 2>&1 </dev/null &
  DOCKER_PID=$!
  for ((i = 0; i < 300; i++)); do
    docker version >/dev/null 2>&1 && return 0
    [[ -d /proc/$DOCKER_PID ]] || break
    sleep 0.1
  done
  tail -n 15 "$DOCKER_DIR/log" >&2
  echo "bench: dockerd did not start; measuring stead alone" >&2
  unset DOCKER_HOST
  return 1
}
docker_stop() {
  [[ -n ${DOCKER_PID:-} ]] || return 0
  kill "$DOCKER_PID" 2>/dev/null || true
  wait "$DOCKER_PID" 2>/dev/null || true
  DOCKER_PID=''
}
# dockerd, containerd, the shims: all processes that live in dockerd's mount namespace or name its directory.
docker_pids() {
  local dir exe
  for dir in /proc/[0-9]*; do
    exe=$(readlink "$dir/exe" 2>/dev/null) || continue
    case ${exe##*/} in
      dockerd | containerd | containerd-shim* | docker-proxy | docker-init)
        grep -qsF "$DOCKER_DIR" "$dir/cmdline" && echo "${dir#/proc/}"
        ;;
    esac
  done
  return 0
}

pss_kb() { # PID…
  local pid sum=0 kb
  for pid in "$@"; do
    kb=$(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup" 2>/dev/null) || continue
    sum=$((sum + ${kb:-0}))
  done
  echo "$sum"
}
rss_kb() { awk '/^VmRSS:/ { print $2 }' "/proc/$1/status"; }
fds() { find "/proc/$1/fd" -mindepth 1 | wc -l; }
