#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A process that is started in a running container brings nothing of the host along, at no moment.

load helpers

# Of a file inside, as the command of `exec -d` sees it: it is started with no streams, as health probes are.
seen_by_detached() { # SERVICE COMMAND
  inside "$1" rm -f /tmp/seen
  stead exec -d "$1" sh -c "($2) >/tmp/seen.new; mv /tmp/seen.new /tmp/seen"
  within 20 inside "$1" test -e /tmp/seen
  inside "$1" cat /tmp/seen
}

@test "/dev/null is the container's, not the host's" {
  compose <<'END'
services:
  a:
    image: tiny
    healthcheck: { test: 'for fd in 0 1 2; do stat -L -c %d:%i /proc/self/fd/$$fd; done >/tmp/new; mv /tmp/new /tmp/probe', interval: 100ms }
END
  ok stead up -d
  local null
  null=$(inside a stat -c %d:%i /dev/null)
  not is "$null" "$(stat -c %d:%i /dev/null)"
  is "$(seen_by_detached a 'stat -L -c %d:%i /proc/self/fd/0 /proc/self/fd/2')" "$null
$null"
  within 20 has_health healthy a
  is "$(inside a head -n 1 /tmp/probe)" "$null"
}

@test "no process with more rights is ever seen inside" {
  compose <<'END'
services:
  a:
    image: tiny
    cap_add: [SYS_PTRACE]
    command: [sh, -c, 'while :; do grep -h ^CapPrm /proc/[0-9]*/status 2>/dev/null; done | awk "!seen[\$$0]++ {print; fflush()}" >/tmp/caps']
END
  ok stead up -d
  local i own
  own=$(inside a grep ^CapPrm /proc/self/status)
  within 20 inside a test -s /tmp/caps
  for ((i = 0; i < 60; i++)); do inside a true; done
  is "$(inside a cat /tmp/caps)" "$own"
}
