#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Images go from one box to another as what differs: two daemons on this machine, joined by the CLI.

load helpers
load ship

setup_file() { sandbox_up && box_new; }
teardown_file() {
  local status=0
  box_remove || status=1
  sandbox_down || status=1
  sandbox_destroy "$SANDBOX"
  return "$status"
}

ship_json() { # FILTER, of the last ship's --json
  jq -r "$1" <<<"$(tail -n 1 <<<"$output")"
}

@test "an image arrives whole, with its tags, and runs" {
  ok stead ship tiny --to "$BOX_URL"
  says "tiny:latest"
  says "sent "
  is "$(box_id tiny)" "$(here_id tiny)"
  compose <<'END'
services:
  s: { image: tiny, command: [server] , environment: { PORT: "8080" } }
END
  ok box up -d --wait
  ok box down
}

@test "a second image costs what is new in it" {
  app one a
  ok stead load -i one.tar
  ok stead ship one --to "$BOX_URL"
  app one b
  ok stead load -i one.tar
  ok stead ship one --to "$BOX_URL" --json
  is "$(box_id one)" "$(here_id one)"
  is "$(ship_json .layers)" 2
  is "$(ship_json .layers_sent)" 1
  is "$(ship_json '.image_bytes > 6000000')" true
  is "$(ship_json '.bytes_saved == .image_bytes - .bytes_sent')" true
  is "$(ship_json '.seconds > 0')" true
  is "$(ship_json '.images[0].tags[0]')" one:latest
  # Nothing is left to send.
  ok stead ship one --to "$BOX_URL" --json
  is "$(ship_json .layers_sent)" 0
  is "$(ship_json '.bytes_sent < 2000')" true
}

@test "the way back is the same" {
  app back a
  ok box load -i back.tar
  ok stead ship back --from "$BOX_URL"
  is "$(here_id back)" "$(box_id back)"
}

@test "an image that is not there: nothing happens, and the nearest names are told" {
  fails 2 stead ship tinny --to "$BOX_URL"
  says "No such image: tinny; did you mean 'tiny:latest'?"
  fails 2 stead ship tiny:v9 --to "$BOX_URL"
  says "'tiny:latest'"
  fails 2 stead ship nothing-like-it --to "$BOX_URL"
  says_not "did you mean"
  fails 2 stead ship tiny
  says "--to HOST"
  fails 2 stead ship tiny --to "$BOX_URL" --from "$BOX_URL"
  fails 2 stead ship ./none.tar --to "$BOX_URL"
  fails 2 stead ship tiny --to unix:///nowhere/stead.sock
  says "/nowhere/stead.sock"
}

@test "another architecture is refused before anything is sent, with what would fix it" {
  noise arch 100000 >file
  tar -cf arch.tar file
  archive foreign s390x arch.tar
  ok stead load -i foreign.tar
  [[ ! -e /proc/sys/fs/binfmt_misc/qemu-s390x ]] || skip "this machine runs s390x"
  fails 2 stead ship foreign --to "$BOX_URL"
  says "s390x"
  says "--platform linux/$(here_arch)"
  not box_has foreign
}
