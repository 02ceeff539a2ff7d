#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Limits, privileges and what protects the host. A limit that this kernel cannot enforce is refused.

load helpers

# Value of a cgroup file of a container's process: v2 name, or controller and v1 name.
cgroup_file() { # SERVICE V2-NAME CONTROLLER V1-NAME
  local pid path
  pid=$(inspect "$(container "$1")" .State.Pid)
  path=$(awk -F: '$1 == 0 { print $3 }' "/proc/$pid/cgroup")
  if [[ -e /sys/fs/cgroup$path/$2 ]]; then
    cat "/sys/fs/cgroup$path/$2"
  else
    path=$(awk -F: -v c="$3" '$2 ~ "(^|,)" c "(,|$)" { print $3 }' "/proc/$pid/cgroup")
    cat "/sys/fs/cgroup/$3$path/$4"
  fi
}

has_controller() {
  [[ -e /sys/fs/cgroup/$1 ]] || grep -qw "$1" /sys/fs/cgroup/cgroup.controllers 2>/dev/null
}

@test "memory limits are set, or refused where the kernel has no memory controller" {
  compose <<'END'
services:
  a: { image: tiny, mem_limit: 64m, mem_reservation: 32m }
  b: { image: tiny, deploy: { resources: { limits: { memory: 48M } } } }
END
  if ! has_controller memory; then
    fails 2 stead up -d
    says "cgroup_enable=memory"
    says "mem_limit"
    is "$(containers)" ""
    return 0
  fi
  ok stead up -d
  is "$(cgroup_file a memory.max memory memory.limit_in_bytes)" 67108864
  is "$(cgroup_file a memory.low memory memory.soft_limit_in_bytes)" 33554432
  is "$(cgroup_file b memory.max memory memory.limit_in_bytes)" 50331648
}

@test "a process killed for lack of memory is reported as such" {
  has_controller memory || skip "this kernel has no memory controller"
  compose <<'END'
services:
  a: { image: tiny, mem_limit: 24m, memswap_limit: 24m, command: "sh -c 'sleep 0.3; exec tail /dev/zero'" }
END
  ok stead up -d
  within 20 has_status exited a
  is "$(inspect "$(container a)" .State.OOMKilled)" true
  is "$(inspect "$(container a)" .State.ExitCode)" 137
  ok stead ps -a
  says "137"
}

@test "cpus, cpu_shares, cpuset and pids_limit" {
  compose <<'END'
services:
  a: { image: tiny, cpus: 0.5, pids_limit: 33 }
  b: { image: tiny }
END
  has_controller cpu && has_controller pids || skip "this kernel lacks the cpu or the pids controller"
  ok stead up -d
  local quota
  quota=$(cgroup_file a cpu.max cpu cpu.cfs_quota_us)
  is "${quota%% *}" 50000
  is "$(cgroup_file a pids.max pids pids.max)" 33
  is "$(cgroup_file b pids.max pids pids.max)" 1024
}

@test "the number of processes is really limited" {
  has_controller pids || skip "this kernel lacks the pids controller"
  compose <<'END'
services:
  a: { image: tiny, pids_limit: 12 }
END
  ok stead up -d
  run inside a sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do sleep 60 >/dev/null 2>&1 & done; echo all'
  says_not "all"
}

@test "ulimits" {
  compose <<'END'
services:
  a: { image: tiny, ulimits: { nofile: { soft: 111, hard: 222 }, core: 0 } }
END
  ok stead up -d
  is "$(inside a sh -c 'ulimit -Sn; ulimit -Hn; ulimit -c' | tr '\n' ' ')" "111 222 0 "
}

caps() { inside "$1" sed -n 's/^CapEff:\t*//p' /proc/self/status; }

@test "capabilities: few by default, cap_add, cap_drop, privileged" {
  compose <<'END'
services:
  plain: { image: tiny }
  more: { image: tiny, cap_add: [NET_ADMIN] }
  none: { image: tiny, cap_drop: [ALL] }
  one: { image: tiny, cap_drop: [ALL], cap_add: [CHOWN] }
  user: { image: tiny, user: app }
END
  ok stead up -d
  local net_raw=$((1 << 13)) mknod=$((1 << 27)) net_admin=$((1 << 12)) plain
  plain=$((16#$(caps plain)))
  is $((plain & net_raw)) 0
  is $((plain & mknod)) 0
  is $((plain & net_admin)) 0
  [ $((plain & 1)) -eq 1 ]
  is $((16#$(caps more) & net_admin)) "$net_admin"
  is $((16#$(caps none))) 0
  is $((16#$(caps one))) 1
  is $((16#$(caps user))) 0
}

@test "privileged has all devices and capabilities" {
  compose <<'END'
services:
  a: { image: tiny, privileged: true }
END
  ok stead up -d
  [ $((16#$(caps a) & (1 << 21))) -ne 0 ]
  ok inside a test -e /dev/kmsg
}

# The runtime sets these last, just before it executes the command.
process_has() { # SERVICE FIELD VALUE
  [ "$(inside "$1" sed -n "s/^$2:\t*//p" /proc/1/status)" = "$3" ]
}

@test "no_new_privs for those that do not run as root, or who ask" {
  compose <<'END'
services:
  root: { image: tiny }
  user: { image: tiny, user: app }
  asks: { image: tiny, security_opt: ["no-new-privileges:true"] }
END
  ok stead up -d
  local s
  for s in user asks; do
    within 20 process_has "$s" NoNewPrivs 1
  done
  process_has root NoNewPrivs 0
}

@test "a seccomp filter is on, kernel settings are read-only, secrets of the kernel are masked" {
  compose <<'END'
services:
  a: { image: tiny }
  open: { image: tiny, security_opt: ["seccomp:unconfined"] }
END
  ok stead up -d
  within 20 process_has a Seccomp 2
  process_has open Seccomp 0
  run inside a sh -c 'echo 1 > /proc/sys/kernel/panic'
  [ "$status" -ne 0 ]
  is "$(inside a cat /proc/kcore 2>/dev/null | head -c 10)" ""
  run inside a sh -c 'echo x > /sys/kernel/uevent_helper'
  [ "$status" -ne 0 ]
}

@test "devices" {
  [ -e /dev/fuse ] || [ -e /dev/net/tun ] || skip "this host has neither /dev/fuse nor /dev/net/tun"
  local dev=/dev/fuse
  [ -e "$dev" ] || dev=/dev/net/tun
  compose <<END
services:
  a: { image: tiny, devices: ["$dev:/dev/mine"] }
  b: { image: tiny }
END
  ok stead up -d
  ok inside a test -c /dev/mine
  run inside b test -e "$dev"
  [ "$status" -ne 0 ]
}

@test "pid and ipc: own by default, shared when asked" {
  compose <<'END'
services:
  a: { image: tiny }
  host: { image: tiny, pid: host }
  b: { image: tiny, pid: "service:a" }
END
  ok stead up -d
  [ "$(inside a ps | wc -l)" -le 5 ]
  [ "$(inside host ps | wc -l)" -gt 10 ]
  within 20 runs b "sleep 1000000"
  is "$(inside a readlink /proc/1/ns/pid)" "$(inside b readlink /proc/1/ns/pid)"
}

@test "tty and stdin_open" {
  compose <<'END'
services:
  a: { image: tiny, tty: true, command: "sh -c 'tty > /tmp/tty; exec sleep 1000'" }
  b: { image: tiny, stdin_open: true, command: cat }
  c: { image: tiny, command: cat }
END
  ok stead up -d
  within 20 inside a grep -q /dev/ /tmp/tty
  has_status running b
  within 20 has_status exited c
}
