# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A second box on this machine, for what goes between two: a daemon of its own in a sandbox of its own.
#
#   far …               the CLI, talking to it
#   far_api …           its API, as `api`
#   far_start, far_stop, far_kill
#   link_up             a line to it that can be held and cut: LINK, its directory; LINK_URL: unix://…
#   FAR                 its sandbox; FAR_URL: unix://…

FAR=${SANDBOX}-b
FAR_SOCK=$FAR/run/stead.sock
FAR_URL=unix://$FAR_SOCK
HERE_URL=unix://$SOCK

far() { "$STEAD_EXE" -H "$FAR_URL" "$@"; }
far_api() { SOCK=$FAR_SOCK api "$@"; }
far_pid() { cat "$FAR/pid"; }

# The words of helpers.bash, for the other sandbox.
as_far() {
  (
    SANDBOX=$FAR SOCK=$FAR_SOCK
    . "$FAR/env"
    "$@"
  )
}
far_start() { as_far daemon_start "$@"; }
far_stop() { as_far daemon_stop; }
far_kill() { as_far daemon_kill; }

far_new() {
  sandbox_destroy "$FAR"
  sandbox_new "$FAR"
  far_start
}
far_remove() {
  local status=0
  far_stop || status=1
  as_far sanitizers_silent || status=1
  sandbox_destroy "$FAR"
  return "$status"
}

# What is no image's, no layer's and no container's: nothing of a ship is left but what a further try goes on with.
far_layers() { find "$FAR/state/layers" -mindepth 1 -maxdepth 1 -type d 2>/dev/null | wc -l; }
far_has() { far_api GET "/images/$1/json" | jq -e .Id >/dev/null; }
far_id() { far_api GET "/images/$1/json" | jq -r .Id; }
here_id() { api GET "/images/$1/json" | jq -r .Id; }

# A docker archive NAME.tar of an image NAME whose layers are the tars given, bottom first.
archive() { # NAME ARCHITECTURE TAR…
  local name=$1 arch=$2 tar ids='' files='' dir=archive.$1
  shift 2
  mkdir -p "$dir"
  for tar in "$@"; do
    ids+="\"sha256:$(sha256sum <"$tar" | cut -d' ' -f1)\","
    cp "$tar" "$dir/$(basename "$tar")"
    files+="\"$(basename "$tar")\","
  done
  printf '{"architecture":"%s","os":"linux","created":"%s","config":{"Cmd":["sleep","1000000"],"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    "$arch" "$(date -u +%FT%TZ)" "${ids%,}" >"$dir/config.json"
  printf '[{"Config":"config.json","RepoTags":["%s:latest"],"Layers":[%s]}]' "$name" "${files%,}" >"$dir/manifest.json"
  tar -C "$dir" -cf "$name.tar" manifest.json config.json "${@##*/}"
}

# BYTES of what does not compress, the same for the same SEED.
noise() { # SEED BYTES
  openssl enc -aes-128-ctr -pass "pass:$1" -nosalt -pbkdf2 -iter 1 </dev/zero 2>/dev/null | head -c "$2"
}

here_arch() { api GET /stead/v1/box | jq -r .architecture; }

# app:latest on the file's own daemon: the files of tiny, and a layer with a file of noise by this seed in the middle of another that stays.
app() { # NAME SEED
  local base=$STEAD_TEST_CACHE/tiny.tar
  mkdir -p "files.$1/srv"
  {
    noise same 3000000
    noise "$2" 2000
    noise alike 1000000
  } >"files.$1/srv/data"
  tar -C "files.$1" --sort=name --numeric-owner --mtime=@0 -cf "layer.$1.$2.tar" srv
  archive "$1" "$(here_arch)" "$base" "layer.$1.$2.tar"
}

# --- a line between (tests/ship-link), and a ship that it holds

link_up() {
  LINK=$PWD/link LINK_URL=unix://$PWD/link/sock
  mkdir -p "$LINK"
  "$BATS_TEST_DIRNAME/ship-link" "$LINK/sock" "$FAR_SOCK" "$LINK" >link.log 2>&1 </dev/null 3>&- 4>&- &
  echo $! >link.pid
  disown $!
  within 20 test -S "$LINK/sock"
}
link_down() { [[ ! -s link.pid ]] || kill -KILL "$(cat link.pid)" 2>/dev/null || true; }

# An image of 8 MB that nothing there is like.
new_image() { # NAME SEED
  noise "$2" 8000000 >data
  tar --numeric-owner --mtime=@0 -cf "$1.layer.tar" data
  archive "$1" "$(here_arch)" "$1.layer.tar"
  ok stead load -i "$1.tar"
}

# A ship that has stopped half-way; its process is in $ship, its output in ship.out.
ship_held() { # NAME…
  echo 4000000 >"$LINK/hold"
  "$STEAD_EXE" -H "$HERE_URL" ship "$@" --to "$LINK_URL" --json >ship.out 2>&1 3>&- 4>&- &
  ship=$!
  within 60 test -e "$LINK/held"
}
release() { rm -f "$LINK/hold" "$LINK/held"; }

# A box more for each file, and away with it.
setup_file() { sandbox_up && far_new; }
teardown_file() {
  local status=0
  far_remove || status=1
  sandbox_down || status=1
  sandbox_destroy "$SANDBOX"
  return "$status"
}
