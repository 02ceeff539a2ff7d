# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The language of the integration tests. A file of tests gets a daemon of its own with one image,
# `tiny` (busybox, udp-echo, ssh-ask, server; users root and app), and each test an empty directory t1, t2, … to write
# its compose.yaml to, which also names the project. After each test the project is taken down, and
# nothing of it may be left in the kernel or on disk.
#
#   compose <<'END'             writes compose.yaml
#   stead …                     the CLI, talking to this file's daemon
#   ok CMD…                     must succeed; its output (stdout and stderr) is in $output
#   fails CODE CMD…             must end with this exit code
#   says TEXT / says_not TEXT   $output has / lacks it
#   is GOT WANTED               the same text
#   not CMD…                    must fail
#   within SECONDS CMD…         succeeds at last; 20 s or more, as the machine may have other things to do
#   inside SERVICE CMD…         runs in its first container
#   inspect CONTAINER FILTER    a jq filter over the container's Docker JSON
#   status SERVICE [N]          running, exited, …
#   health SERVICE [N]          starting, healthy, unhealthy
#   port N                      a port number of this file's own

. "$BATS_TEST_DIRNAME/sandbox.bash"

STEAD_BUILD=${STEAD_BUILD:-$BATS_TEST_DIRNAME/../build}
STEAD_EXE=$(cd "$STEAD_BUILD" && pwd)/src/main/stead
SANDBOX=${STEAD_TEST_ROOT:?run them with tools/test bats}/$(basename "$BATS_TEST_FILENAME" .bats)
SOCK=$SANDBOX/run/stead.sock
unset COMPOSE_PROJECT_NAME COMPOSE_FILE COMPOSE_PROFILES STEAD_HOST DOCKER_HOST

stead() { "$STEAD_EXE" -H "unix://$SOCK" "$@"; }

api() { # METHOD PATH [CURL-OPTION…]
  local method=$1 path=$2
  shift 2
  curl -sS --max-time 120 --unix-socket "$SOCK" -X "$method" "$@" "http://stead$path"
}

# --- the daemon

daemon_argv() {
  printf '%s\n' "$STEAD_EXE" daemon --name "$NAME" --state-dir "$SANDBOX/state" --run-dir "$SANDBOX/run"
}

daemon_start() { # [OPTION…]
  local argv i
  . "$SANDBOX/env"
  mapfile -t argv < <(daemon_argv)
  # File descriptor 3 is bats' own: whoever inherits it keeps bats waiting.
  ASAN_OPTIONS=$(sandbox_asan_options):log_path=$SANDBOX/asan \
    UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:log_path=$SANDBOX/asan \
    setsid "${argv[@]}" "$@" >>"$SANDBOX/log" 2>&1 </dev/null 3>&- 4>&- &
  echo $! >"$SANDBOX/pid"
  disown $! # its end, which may be by kill -9, is not to be commented
  for ((i = 0; i < 900; i++)); do
    api GET /_ping >/dev/null 2>&1 && return 0
    daemon_alive || break
    sleep 0.1
  done
  echo "the daemon did not come up:"
  tail -n 40 "$SANDBOX/log"
  return 1
}

daemon_pid() { cat "$SANDBOX/pid"; }
daemon_alive() { sandbox_alive "$(daemon_pid)"; }
daemon_gone() { ! daemon_alive; }
daemon_stop() {
  kill -TERM "$(daemon_pid)" 2>/dev/null || return 0
  within 60 daemon_gone
}
daemon_kill() {
  kill -KILL "$(daemon_pid)" 2>/dev/null || return 0
  within 20 daemon_gone
}

# What a power cut does, as far as one can without cutting power: every process of the daemon and its
# containers ends at once, and /run is empty afterwards.
power_cut() {
  local kind what rest
  while IFS=$'\t' read -r kind what rest; do
    case $kind in
      daemon | process) kill -KILL "$what" 2>/dev/null || true ;;
    esac
  done < <(leftovers --all)
  within 20 nothing_runs
  while IFS=$'\t' read -r kind what rest; do
    case $kind in
      mount) umount -l "$what" ;;
      link) ip link delete "$what" 2>/dev/null || true ;;
      # shellcheck disable=SC2086 # family and name
      table) nft delete table $what ;;
      cgroup) find "$what" -depth -type d -exec rmdir {} + 2>/dev/null || true ;;
    esac
  done < <(leftovers --all)
  find "$SANDBOX/run" -xdev -mindepth 1 -delete
}

# Also ends what was being started just now.
nothing_runs() {
  local kind what rest left=0
  while IFS=$'\t' read -r kind what rest; do
    [[ $kind == process || $kind == daemon ]] || continue
    kill -KILL "$what" 2>/dev/null || true
    left=1
  done < <(leftovers --all)
  [[ $left -eq 0 ]]
}

leftovers() {
  "$SANDBOX_TOOLS/leftovers" --wait 60 --name "$NAME" --state-dir "$SANDBOX/state" --run-dir "$SANDBOX/run" "$@"
}

# The image is imported, not bootstrapped, in most files: it is ready in no time so. The archive is
# also the root file system, so that `tiny` has nothing but what tests/tiny/make put there.
tiny_image() {
  stead import "$STEAD_TEST_CACHE/tiny.tar" tiny --cmd '["sleep", "1000000"]' --env PATH=/bin >"$SANDBOX/import.log" 2>&1 || {
    cat "$SANDBOX/import.log"
    return 1
  }
}

# --- set-up and tear-down; a file may define its own

sandbox_up() {
  sandbox_destroy "$SANDBOX"
  sandbox_new "$SANDBOX"
  daemon_start && tiny_image
}

sandbox_down() {
  . "$SANDBOX/env"
  daemon_stop
  sanitizers_silent
}

setup_file() { sandbox_up; }
teardown_file() {
  local status=0
  sandbox_down || status=1
  sandbox_destroy "$SANDBOX"
  return "$status"
}

setup() {
  . "$SANDBOX/env"
  PROJECT=t$BATS_TEST_NUMBER
  mkdir -p "$SANDBOX/$PROJECT"
  cd "$SANDBOX/$PROJECT" || return 1
  daemon_alive || daemon_start # a test that failed may have left it so
}

teardown() {
  local status=0
  cd "$SANDBOX/$PROJECT" || return 1
  if daemon_alive; then
    stead -p "$PROJECT" down -v -t 0 --remove-orphans >down.log 2>&1 || {
      status=1
      cat down.log
    }
    leftovers || status=1
  else
    echo "the daemon does not run any more"
    status=1
  fi
  sanitizers_silent || status=1
  if [[ $status -ne 0 || ${BATS_TEST_COMPLETED:-} != 1 ]]; then
    echo "--- the daemon's log"
    tail -n 30 "$SANDBOX/log"
  fi
  return "$status"
}

sanitizers_silent() {
  local report found=0
  for report in "$SANDBOX"/asan.*; do
    [[ -e $report && $report != *.seen ]] || continue
    found=1
    echo "--- $report"
    head -n 60 "$report"
    mv "$report" "$report.seen" 2>/dev/null
  done
  [[ $found -eq 0 ]]
}

# --- words

compose() { cat >"${1:-compose.yaml}"; }

# As bats' run, which has opinions on exit codes.
capture() { output=$("$@" 2>&1) && status=0 || status=$?; }

ok() {
  capture "$@"
  [[ $status -eq 0 ]] || {
    printf '%s\n' "failed ($status): $*" "$output"
    return 1
  }
}

fails() {
  local code=$1
  shift
  capture "$@"
  [[ $status -eq $code ]] || {
    printf '%s\n' "exit code $status, not $code: $*" "$output"
    return 1
  }
}

says() {
  [[ $output == *"$1"* ]] || {
    printf '%s\n' "no \"$1\" in:" "$output"
    return 1
  }
}

says_not() {
  [[ $output != *"$1"* ]] || {
    printf '%s\n' "\"$1\" should not be in:" "$output"
    return 1
  }
}

not() {
  ! "$@" || { echo "should not be: $*"; return 1; }
}

is() {
  [[ $1 == "$2" ]] || {
    printf '%s\n' "got:    $1" "wanted: $2"
    return 1
  }
}

within() {
  local seconds=$1 end
  shift
  end=$((SECONDS + seconds + 1))
  while ! "$@" >"$SANDBOX/within.out" 2>&1; do
    if [[ $SECONDS -ge $end ]]; then
      printf '%s\n' "not within $seconds s: $*"
      cat "$SANDBOX/within.out"
      return 1
    fi
    sleep 0.1
  done
}

inside() {
  local service=$1
  shift
  stead exec -T "$service" "$@" </dev/null
}

container() { # SERVICE [N]
  echo "$PROJECT-$1-${2:-1}"
}

inspect() { api GET "/v1.41/containers/$1/json" | jq -r "$2"; }
status() { inspect "$(container "$@")" .State.Status; }
health() { inspect "$(container "$@")" '.State.Health.Status'; }
id_of() { inspect "$(container "$@")" .Id; }
started_at() { inspect "$(container "$@")" .State.StartedAt; }

layer_of() { # IMAGE N: the directory of its N-th layer
  echo "$SANDBOX/state/layers/$(stead inspect "$1" | jq -r ".[0].RootFS.Layers[$2]" | cut -c8-39)"
}
has_status() { [[ $(status "$2" "${3:-1}") == "$1" ]]; } # STATUS SERVICE [N]
has_health() { [[ $(health "$2" "${3:-1}") == "$1" ]]; }
# Its output, without the times.
logged() { # SERVICE TEXT
  [[ $(stead logs --no-log-prefix "$1") == *"$2"* ]]
}
# Between the start of a container and that of its command the runtime still has things to do.
runs() { # SERVICE COMMAND-LINE
  inside "$1" ps | grep -qF -- "$2"
}
# Names of all containers of the project, running or not, in order.
containers() {
  api GET "/v1.41/containers/json?all=1" | jq -r --arg p "$PROJECT" \
    '[.[] | select(.Labels["com.docker.compose.project"] == $p) | .Names[0] | ltrimstr("/")] | sort | join(" ")'
}

port() { echo $((PORTS + $1)); }

fetch() { # URL: its body, with a short patience
  curl -sS --max-time 20 --noproxy '*' "$@"
}
