# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Sandboxes: the directories in which tests and benchmarks run daemons of their own. A root holds all
# sandboxes of a run; a sandbox (one for each file of tests) has
#
#   state/ run/   the daemon's --state-dir and --run-dir
#   env           shell variables: NAME (--name), PORTS (first of 100 port numbers to publish)
#   pid           of the daemon
#   log           its stderr
#   asan.*        sanitizer reports, of it and of its children
#   t1/ t2/ …     the directories of the tests' projects

SANDBOX_TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")/../tools" && pwd)

# Where overlayfs can have its upper directory: not on another overlay, as in many CI containers.
sandbox_can_overlay() { # DIRECTORY
  local d=$1/overlay ok=1
  mkdir -p "$d"/{lower,upper,work,merged}
  if mount -t overlay overlay -o "lowerdir=$d/lower,upperdir=$d/upper,workdir=$d/work" "$d/merged" 2>/dev/null; then
    umount "$d/merged"
    ok=0
  fi
  rm -rf "${d:?}"
  return "$ok"
}

# Prints a new root. Short, because the path of a unix socket has 107 characters at most.
sandbox_root() {
  local base root
  for base in ${STEAD_TEST_BASE:-/var/tmp /tmp /var/lib /dev/shm}; do
    root=$(mktemp -d "$base/st.XXXXXX" 2>/dev/null) || continue
    chmod 755 "$root"
    if sandbox_can_overlay "$root"; then
      echo "$root"
      return 0
    fi
    rmdir "$root" 2>/dev/null
  done
  echo "no file system here takes overlayfs; set STEAD_TEST_BASE to a directory on ext4, xfs or btrfs" >&2
  return 1
}

# Runs, or is still on its way out: only a zombie has given back its files, and with them its locks.
sandbox_alive() { # PID
  local state
  state=$(sed -n 's/^State:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null)
  [[ -n $state && $state != [ZX]* ]]
}

sandbox_root_remove() { # ROOT
  sandbox_destroy_all "$1"
  [[ $1 == */st.* ]] || return 1
  rm -rf --one-file-system "${1:?}"
}

# LeakSanitizer needs ptrace, which some sandboxes forbid; without it the rest of ASan still works.
sandbox_asan_options() {
  local leaks=0
  if command -v setpriv >/dev/null && [[ $(cat /proc/sys/kernel/yama/ptrace_scope 2>/dev/null || echo 0) -lt 3 ]]; then
    leaks=1
  fi
  echo "detect_leaks=$leaks:abort_on_error=0:exitcode=99:allocator_may_return_null=1"
}

sandbox_new() { # DIRECTORY
  local dir=$1
  mkdir -p "$dir"/{state,run}
  ( # one after the other, or two that begin at once may choose the same ports
    flock 9
    echo "NAME=t$(tr -dc 'a-z0-9' </dev/urandom | head -c 5)"
    echo "PORTS=$(sandbox_ports "$(dirname "$dir")")"
  ) >"$dir/env" 9>"$(dirname "$dir")/ports.lock"
}

# A hundred of which nobody listens on one and no other sandbox of this root has one; below what the kernel chooses from.
sandbox_ports() { # ROOT
  local ports try
  for ((try = 0; try < 100; try++)); do
    ports=$((10000 + RANDOM % 220 * 100))
    grep -qsx "PORTS=$ports" "$1"/*/env && continue
    ss -Htuln 2>/dev/null | awk -v from="$ports" '{ sub(/.*:/, "", $5); if ($5 >= from && $5 < from + 100) taken = 1 } END { exit taken }' && break
  done
  echo "$ports"
}

# Ends what a sandbox's daemon left, however it ended: first the daemon, then all that is its own.
sandbox_destroy() { # DIRECTORY
  local dir=$1 NAME='' PORTS='' kind what rest round
  [[ $dir == */st.*/* && -f $dir/env ]] || return 0
  # shellcheck disable=SC1091
  . "$dir/env"
  [[ -n $NAME ]] || return 1
  for round in 1 2 3; do
    while IFS=$'\t' read -r kind what rest; do
      case $kind in
        daemon | process) kill -KILL "$what" 2>/dev/null ;;
        mount) [[ $what == "$dir"/* ]] && umount -l "$what" ;;
        link) ip link delete "$what" ;;
        table)
          # shellcheck disable=SC2086 # family and name
          nft delete table $what
          ;;
        cgroup) [[ $what == /sys/fs/cgroup/* ]] && find "$what" -depth -type d -exec rmdir {} + ;;
      esac 2>/dev/null
    done < <("$SANDBOX_TOOLS/leftovers" --all --name "$NAME" --state-dir "$dir/state" --run-dir "$dir/run")
    sleep 0.1
  done
  rm -rf --one-file-system "${dir:?}"
}

sandbox_destroy_all() { # ROOT
  local env
  for env in "$1"/*/env; do
    [[ -f $env ]] && sandbox_destroy "${env%/env}"
  done
  return 0
}
