#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Images go from one box to another as what differs: two daemons on this machine, joined by the CLI.

load helpers
load ship

ship_json() { # FILTER, of the last ship's --json
  jq -r "$1" <<<"$(tail -n 1 <<<"$output")"
}

@test "an image arrives whole, with its tags, and runs" {
  ok stead ship tiny --to "$FAR_URL"
  says "tiny:latest"
  says "sent "
  is "$(far_id tiny)" "$(here_id tiny)"
  compose <<'END'
services:
  s: { image: tiny, command: [server] , environment: { PORT: "8080" } }
END
  ok far up -d --wait
  ok far down
}

@test "a second image costs what is new in it" {
  app one a
  ok stead load -i one.tar
  ok stead ship one --to "$FAR_URL"
  app one b
  ok stead load -i one.tar
  ok stead ship one --to "$FAR_URL" --json
  is "$(far_id one)" "$(here_id one)"
  is "$(ship_json .layers)" 2
  is "$(ship_json .layers_sent)" 1
  is "$(ship_json '.image_bytes > 6000000')" true
  is "$(ship_json '.bytes_saved == .image_bytes - .bytes_sent')" true
  is "$(ship_json '.seconds > 0')" true
  is "$(ship_json '.images[0].tags[0]')" one:latest
  # Nothing is left to send.
  ok stead ship one --to "$FAR_URL" --json
  is "$(ship_json .layers_sent)" 0
  is "$(ship_json '.bytes_sent < 2000')" true
}

@test "the way back is the same" {
  app back a
  ok far load -i back.tar
  ok stead ship back --from "$FAR_URL"
  is "$(here_id back)" "$(far_id back)"
}

@test "an image that is not there: nothing happens, and the nearest names are told" {
  fails 2 stead ship tinny --to "$FAR_URL"
  says "No such image: tinny; did you mean 'tiny:latest'?"
  fails 2 stead ship tiny:v9 --to "$FAR_URL"
  says "'tiny:latest'"
  fails 2 stead ship nothing-like-it --to "$FAR_URL"
  says_not "did you mean"
  fails 2 stead ship tiny
  says "--to HOST"
  fails 2 stead ship tiny --to "$FAR_URL" --from "$FAR_URL"
  fails 2 stead ship ./none.tar --to "$FAR_URL"
  fails 2 stead ship tiny --to unix:///nowhere/stead.sock
  says "/nowhere/stead.sock"
}

@test "another architecture is refused before anything is sent, with what would fix it" {
  noise arch 100000 >file
  tar -cf arch.tar file
  archive foreign s390x arch.tar
  ok stead load -i foreign.tar
  [[ ! -e /proc/sys/fs/binfmt_misc/qemu-s390x ]] || skip "this machine runs s390x"
  fails 2 stead ship foreign --to "$FAR_URL"
  says "s390x"
  says "--platform linux/$(here_arch)"
  not far_has foreign
}

# ── what can befall it

eval "$(declare -f teardown | sed '1s/teardown/helpers_teardown/')"
teardown() {
  link_down
  helpers_teardown && as_far leftovers && as_far sanitizers_silent
}

workers() { # SANDBOX VERB: their process ids
  pgrep -f "stead-worker $2 $1/state\$" || true
}
no_workers() {
  [[ -z $(workers "$SANDBOX" ship-send)$(workers "$FAR" ship-receive) ]]
}
# The rest comes with the next try, and no more than that.
goes_on() { # NAME
  ok stead ship "$1" --to "$FAR_URL" --json
  is "$(far_id "$1")" "$(here_id "$1")"
  is "$(ship_json '.bytes_sent < 7500000')" true
}

@test "a connection that is cut is made again, and goes on where it stopped" {
  link_up
  new_image cut c1
  echo 7000000 >"$LINK/cut"
  ok stead ship cut --to "$LINK_URL" --json
  says "was lost"
  not test -e "$LINK/cut"
  is "$(far_id cut)" "$(here_id cut)"
  is "$(ship_json '.bytes_sent >= 8000000 and .bytes_sent < 14000000')" true
}

@test "Ctrl-C: nothing is visible, and the next command goes on" {
  link_up
  new_image interrupted c2
  ship_held interrupted
  kill -INT "$ship"
  wait "$ship" && status=0 || status=$?
  is "$status" 130
  output=$(cat ship.out)
  says "goes on where this one stopped"
  release
  within 20 no_workers
  not far_has interrupted
  goes_on interrupted
}

@test "a sender that is killed" {
  link_up
  new_image sender c3
  ship_held sender
  kill -KILL "$(workers "$SANDBOX" ship-send)"
  release
  wait "$ship" && status=0 || status=$?
  is "$status" 1
  output=$(cat ship.out)
  says "killed by signal 9"
  not far_has sender
  goes_on sender
}

@test "a receiver that is killed" {
  link_up
  new_image receiver c4
  ship_held receiver
  kill -KILL "$(workers "$FAR" ship-receive)"
  release
  wait "$ship" && status=0 || status=$?
  is "$status" 1
  output=$(cat ship.out)
  says "killed by signal 9"
  not far_has receiver
  goes_on receiver
}

@test "the receiving daemon is killed: the ship waits for it and goes on" {
  link_up
  new_image daemon c5
  ship_held daemon
  far_kill
  release
  far_start
  wait "$ship" && status=0 || status=$?
  output=$(cat ship.out)
  is "$status" 0
  is "$(far_id daemon)" "$(here_id daemon)"
}

@test "the sending daemon is killed: so is its worker, and nothing is visible" {
  link_up
  new_image here c6
  ship_held here
  daemon_kill
  daemon_start
  release
  wait "$ship" && status=0 || status=$?
  output=$(cat ship.out)
  is "$status" 0
  is "$(far_id here)" "$(here_id here)"
}

@test "two send the same at once, and a third something else" {
  new_image twice c7
  new_image other c8
  local a b c
  stead ship twice --to "$FAR_URL" >a.out 2>&1 3>&- 4>&- & a=$!
  stead ship twice --to "$FAR_URL" >b.out 2>&1 3>&- 4>&- & b=$!
  stead ship other --to "$FAR_URL" >c.out 2>&1 3>&- 4>&- & c=$!
  wait "$a" || { cat a.out; return 1; }
  wait "$b" || { cat b.out; return 1; }
  wait "$c" || { cat c.out; return 1; }
  is "$(far_id twice)" "$(here_id twice)"
  is "$(far_id other)" "$(here_id other)"
}

@test "a peer that answers nonsense, or ends early" {
  link_up
  local text
  for text in 'HTTP/1.0 400 Bad Request\r\n\r\n' '{"ship":1}' 'J\0\0\0\0\0\0\x0b{"ship":99}' 'J\0\0\0\0\0\0\x02[]'; do
    printf "$text" >"$LINK/nonsense"
    capture timeout 100 "$STEAD_EXE" -H "$HERE_URL" ship tiny --to "$LINK_URL" --progress quiet
    [[ $status -eq 1 || $status -eq 2 ]] || { echo "$status: $output"; return 1; }
    [[ -n $output ]]
    within 20 no_workers
  done
  says "is it a stead?"
}

# The other box with its state on a file system of this size, until small_end.
small_begin() { # SIZE
  small=$SANDBOX/$PROJECT/small
  mkdir -p "$small"
  mount -t tmpfs -o "size=$1" tmpfs "$small"
  far_stop
  mkdir "$small/state"
  (
    SANDBOX=$FAR
    . "$FAR/env"
    printf '%s\n' "$STEAD_EXE" daemon --name "$NAME" --state-dir "$small/state" --run-dir "$FAR/run" >"$FAR/small.argv"
  )
  mapfile -t argv <"$FAR/small.argv"
  setsid "${argv[@]}" >>"$FAR/log" 2>&1 </dev/null 3>&- 4>&- &
  small_pid=$!
  disown "$small_pid"
  within 60 far_api GET /_ping
}
small_end() {
  kill -TERM "$small_pid"
  within 60 not sandbox_alive "$small_pid"
  umount "$small"
  far_start
}

@test "no room: told before anything is sent, and nothing is left" {
  new_image large c9
  small_begin 24m
  dd if=/dev/zero of="$small/fill" bs=1M count=12 2>dd.log
  capture stead ship large --to "$FAR_URL"
  local left
  left=$(find "$small/state/layers" -mindepth 1 | wc -l)
  small_end
  is "$status" 2
  says "are needed on the file system"
  is "$left" 0
}

@test "room for the layers and no more: what is kept for a further try gives way" {
  noise c10 40000000 >data
  tar --numeric-owner --mtime=@0 -cf full.layer.tar data
  archive full "$(here_arch)" full.layer.tar
  ok stead load -i full.tar
  small_begin 70m
  link_up
  # Some of it is kept by a first try; for both there is no room.
  ship_held full
  kill -INT "$ship"
  wait "$ship" || true
  release
  within 20 no_workers
  capture stead ship full --to "$FAR_URL"
  local id
  id=$(far_id full)
  small_end
  is "$status $id" "0 $(here_id full)" || { echo "$output"; return 1; }
}

# ── deploy ───────────────────────────────────────────────────────────

@test "deploy sends what the box lacks first, and its plan says so" {
  app web a
  ok stead load -i web.tar
  compose <<'END'
services:
  w: { image: web }
END
  ok far deploy --plan --ship-from "$HERE_URL"
  says "send image web"
  says "start 1 container(s) of web"
  not far_has web
  fails 2 far deploy --ship-from "$HERE_URL" --no-ship
  says "web"
  ok far deploy --ship-from "$HERE_URL"
  says "web: sent "
  is "$(far_id web)" "$(here_id web)"
  # A newer one of the same name goes, too, an older one does not.
  sleep 1
  app web b
  ok stead load -i web.tar
  ok far deploy --ship-from "$HERE_URL"
  is "$(far_id web)" "$(here_id web)"
  ok far deploy --ship-from "$HERE_URL"
  says "nothing has changed"
  # What the box would refuse is refused before anything is sent.
  app web c
  ok stead load -i web.tar
  compose <<'END'
services:
  w: { image: web, mem_reservation: 900000g }
END
  fails 2 far deploy --ship-from "$HERE_URL"
  says "stop-first"
  not is "$(far_id web)" "$(here_id web)"
  far down -t 0
}
