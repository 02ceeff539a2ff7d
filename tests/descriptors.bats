#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A daemon that may open few files: what does not fit is refused with the limit's name, and afterwards all is as before.

load helpers

setup_file() { (ulimit -Sn 64 && ulimit -Hn 64 && sandbox_up); }

descriptors() { find "/proc/$(daemon_pid)/fd" -mindepth 1 | wc -l; }
at_most() { [ "$(descriptors)" -le "$1" ]; }
# Hundredths of a second that the daemon has worked.
worked() {
  local stat
  read -ra stat <"/proc/$(daemon_pid)/stat"
  echo $((stat[13] + stat[14]))
}

# Connections that the daemon has not accepted yet, to the socket under the name that it was bound to.
waiting_clients() { [ "$(ss -Hxl "src = unix:$SOCK.new" | awk '{ print $3 }')" -ge "$1" ]; }

services() { # N
  local i
  echo services:
  for ((i = 1; i <= $1; i++)); do
    echo "  s$i: { image: tiny, command: \"sh -c 'echo hello; exec sleep 1000'\", healthcheck: { test: 'true', interval: 200ms } }"
  done
}

@test "a stack that needs more is refused, and one that needs less runs" {
  local before
  services 1 | compose
  ok stead up -d
  ok stead down -t 0
  before=$(descriptors)
  services 45 | compose # each has one descriptor while it runs
  fails 1 stead up -d
  says "Too many open files: this process may have 64"
  is "$(containers)" ""
  ok leftovers
  within 20 at_most "$before"
  services 3 | compose
  ok stead up -d --wait
  ok stead down -t 0
  within 20 at_most "$before"
}

@test "more commands at once than it can start" {
  services 2 | compose
  ok stead up -d --wait
  local before i pids=()
  before=$(descriptors)
  # All have asked before the daemon hears of the first.
  kill -STOP "$(daemon_pid)"
  for ((i = 0; i < 30; i++)); do
    stead exec -T s1 sleep 3 >"exec$i.txt" 2>&1 </dev/null 3>&- &
    pids+=($!)
  done
  local asked=''
  within 20 waiting_clients 30 && asked=all
  kill -CONT "$(daemon_pid)"
  is "$asked" all
  local failed=0
  for i in "${pids[@]}"; do wait "$i" || failed=$((failed + 1)); done
  echo "$failed failed"; cat exec*.txt
  [ "$failed" -gt 0 ]
  not grep -vh "Too many open files: this process may have 64" exec*.txt
  within 20 at_most "$before"
  ok inside s1 true
  within 20 has_health healthy s1
  has_status running s2
}

@test "clients that say nothing" {
  services 1 | compose
  ok stead up -d --wait
  local before i pids=() begin
  before=$(descriptors)
  for ((i = 0; i < 80; i++)); do
    nc -d -U "$SOCK" >/dev/null 2>&1 3>&- &
    pids+=($!)
  done
  sleep 1
  begin=$(worked)
  sleep 3
  # They wait, and are not asked about again and again.
  [ $(($(worked) - begin)) -lt 150 ]
  kill "${pids[@]}" 2>/dev/null || true
  within 20 stead ps
  within 60 at_most "$before"
}

@test "logs that are followed by many" {
  services 3 | compose
  ok stead up -d --wait
  local before i pids=()
  before=$(descriptors)
  for ((i = 0; i < 12; i++)); do
    timeout 5 "$STEAD_EXE" -H "unix://$SOCK" logs -f >"logs$i.txt" 2>&1 </dev/null 3>&- &
    pids+=($!)
  done
  for i in "${pids[@]}"; do wait "$i" || true; done
  daemon_alive
  within 20 at_most "$before"
  ok stead logs
  says hello
}
