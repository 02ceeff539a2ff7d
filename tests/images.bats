#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Images without a registry: bootstrap, load, save, import; and archives that mean harm.

load helpers

# --- building archives by hand

# A docker archive of the layers given as tar files, bottom first.
docker_archive() { # OUT NAME LAYER.tar…
  local out=$1 name=$2 dir i=0 ids=() files=() layer config
  shift 2
  dir=$(mktemp -d ./archive.XXXXXX)
  for layer in "$@"; do
    cp "$layer" "$dir/layer$i.tar"
    ids+=("sha256:$(sha256sum "$layer" | cut -d' ' -f1)")
    files+=("layer$i.tar")
    i=$((i + 1))
  done
  jq -n --args '{architecture: $a, os: "linux", config: {Cmd: ["sleep", "1000"], Env: ["PATH=/bin"]},
    rootfs: {type: "layers", diff_ids: $ARGS.positional}}' --arg a "$(architecture)" "${ids[@]}" >"$dir/config.tmp"
  config=$(sha256sum "$dir/config.tmp" | cut -d' ' -f1).json
  mv "$dir/config.tmp" "$dir/$config"
  jq -n --args '[{Config: $c, RepoTags: [$n], Layers: $ARGS.positional}]' --arg c "$config" --arg n "$name" "${files[@]}" >"$dir/manifest.json"
  tar -C "$dir" -cf "$out" .
  rm -r "$dir"
}

architecture() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    armv*) echo arm ;;
    *) uname -m ;;
  esac
}

# The layers directory holds what the images need and nothing else.
layers() { find "$SANDBOX/state/layers" -mindepth 1 -maxdepth 1 | sort; }

refuses_archive() { # FILE TEXT…
  local before file=$1 text
  shift
  before=$(layers)
  run stead load -i "$file"
  [ "$status" -eq 2 ] || { echo "$file: exit code $status"; return 1; }
  for text in "$@"; do says "$text"; done
  is "$(layers)" "$before"
}

teardown() {
  rm -rf evil
  stead -p "$PROJECT" down -t 0 >/dev/null 2>&1 || true
  local image
  for image in evil:1 hand hand:1 other:1; do stead rmi -f "$image" >/dev/null 2>&1 || true; done
  leftovers
  sanitizers_silent
}

@test "bootstrap: an image from the distribution's packages, on a shared base" {
  timeout 60 apt-get update -qq -o Dir::State::lists="$PWD" -o Debug::NoLocking=1 >/dev/null 2>&1 || skip "the package mirror cannot be reached"
  ok timeout 800 "$STEAD_EXE" -H "unix://$SOCK" image bootstrap boot-a --packages busybox --cmd '["busybox", "httpd", "-f", "-p", "80"]' --port 80 --env A=1
  ok timeout 800 "$STEAD_EXE" -H "unix://$SOCK" image bootstrap boot-b --packages ed
  ok stead images
  says "boot-a"
  says "boot-b"
  # The same base, and one layer for its own packages.
  local a b
  a=$(stead inspect boot-a | jq -r '.[0].RootFS.Layers[]')
  b=$(stead inspect boot-b | jq -r '.[0].RootFS.Layers[]')
  is "$(head -n 1 <<<"$a")" "$(head -n 1 <<<"$b")"
  [ "$(tail -n 1 <<<"$a")" != "$(tail -n 1 <<<"$b")" ]
  is "$(stead inspect boot-a | jq -r '.[0].Config.ExposedPorts | keys[0]')" 80/tcp
  is "$(stead inspect boot-a | jq -r '.[0].Config.Env | index("A=1") != null')" true

  compose <<'END'
services:
  web: { image: boot-a }
  ed: { image: boot-b, command: [sleep, "1000"] }
END
  ok stead up -d
  ok stead exec -T ed ed --version
  says "ed"
  ok stead exec -T web dpkg -l busybox
  ok stead down -t 0
  ok stead rmi boot-b
  ok stead rmi boot-a
}

@test "bootstrap: a package that does not exist leaves nothing behind" {
  timeout 60 apt-get update -qq -o Dir::State::lists="$PWD" -o Debug::NoLocking=1 >/dev/null 2>&1 || skip "the package mirror cannot be reached"
  fails 1 timeout 800 "$STEAD_EXE" -H "unix://$SOCK" image bootstrap nothing --packages no-such-package-anywhere
  says "no-such-package-anywhere"
  ok stead images
  says_not "nothing"
}

@test "save and load: plain, gzip and zstd" {
  ok stead save -o tiny.tar tiny
  tar -tf tiny.tar | grep -q manifest.json
  gzip -k tiny.tar
  local id
  id=$(stead inspect tiny | jq -r '.[0].Id')
  local f
  ok stead rmi tiny
  ok stead load -i tiny.tar.gz
  says "tiny"
  is "$(stead inspect tiny | jq -r '.[0].Id')" "$id"
  if command -v zstd >/dev/null; then
    zstd -q tiny.tar
    ok stead rmi tiny
    ok stead load -i tiny.tar.zst
  fi
  ok stead rmi tiny
  ok stead load -i tiny.tar
  is "$(stead inspect tiny | jq -r '.[0].Id')" "$id"
  # Loading it once more is quick and changes nothing.
  ok stead load -i tiny.tar
  compose <<'END'
services: { a: { image: tiny } }
END
  ok stead up -d
  ok stead down -t 0
}

@test "load from standard input" {
  ok stead save -o tiny.tar tiny
  ok bash -c "'$STEAD_EXE' -H unix://$SOCK load < tiny.tar"
  says "tiny"
}

@test "OCI archives, as skopeo writes them" {
  command -v skopeo >/dev/null || skip "no skopeo here"
  ok stead save -o tiny.tar tiny
  ok skopeo copy --insecure-policy -q docker-archive:tiny.tar oci-archive:oci.tar:other:1
  ok stead load -i oci.tar
  ok stead images
  says "other"
}

@test "what stead saved, others can read" {
  command -v skopeo >/dev/null || skip "no skopeo here"
  ok stead save -o tiny.tar tiny
  ok skopeo inspect docker-archive:tiny.tar
  says "$(architecture)"
}

@test "import: a root file system with its settings" {
  ok stead import "$STEAD_TEST_CACHE/tiny.tar" hand --cmd '["sleep", "77"]' --env PATH=/bin --env X=y --user app --workdir /srv --port 8080/tcp
  is "$(stead inspect hand | jq -r '.[0].Config | .User + " " + .WorkingDir + " " + (.Cmd | join(" "))')" "app /srv sleep 77"
}

@test "layers: whiteouts, opaque directories, hard links, devices, ownership" {
  mkdir -p evil/l1/{gone,opaque,keep} evil/l2/opaque evil/l2/gone
  echo 1 >evil/l1/gone/file
  echo 1 >evil/l1/opaque/old
  echo 1 >evil/l1/keep/file
  ln evil/l1/keep/file evil/l1/keep/link
  chown 1234:4321 evil/l1/keep/file
  chmod 4755 evil/l1/keep/file
  mknod evil/l1/keep/null c 1 3
  ln -s ../keep/file evil/l1/keep/sym
  mkdir -p evil/l1/bin
  tar -C evil/l1 --numeric-owner -cf evil/1.tar .
  echo 2 >evil/l2/opaque/new
  touch evil/l2/opaque/.wh..wh..opq evil/l2/gone/.wh.file evil/l2/.wh.keep2
  tar -C evil/l2 --numeric-owner -cf evil/2.tar .
  docker_archive hand.tar hand:1 "$STEAD_TEST_CACHE/tiny.tar" evil/1.tar evil/2.tar
  ok stead load -i hand.tar
  compose <<'END'
services: { a: { image: "hand:1" } }
END
  ok stead up -d
  is "$(inside a ls /opaque)" new
  is "$(inside a ls /gone)" ""
  is "$(inside a stat -c '%u %g %a %h' /keep/link)" "1234 4321 4755 2"
  is "$(inside a stat -c '%t %T' /keep/null)" "1 3"
  is "$(inside a cat /keep/sym)" 1
  ok stead down -t 0
}

@test "an archive that climbs out with ../ is refused" {
  mkdir -p evil/d
  echo pwned >evil/pwned
  (cd evil/d && tar -P -cf ../1.tar ../pwned)
  docker_archive evil.tar evil:1 "$STEAD_TEST_CACHE/tiny.tar" evil/1.tar
  refuses_archive evil.tar ".."
  run find "$SANDBOX/state" -name pwned
  is "$output" ""
}

@test "absolute paths and symlinks lead nowhere outside" {
  local target=$SANDBOX/outside
  mkdir -p "$target" evil/a evil/b/escape
  # A symlink out of the tree in one layer, a file written through it in the next.
  ln -s "$target" evil/a/escape
  tar -C evil/a -cf evil/1.tar escape
  echo pwned >evil/b/escape/pwned
  tar -C evil/b -cf evil/2.tar escape/pwned
  docker_archive evil.tar evil:1 "$STEAD_TEST_CACHE/tiny.tar" evil/1.tar evil/2.tar
  run stead load -i evil.tar
  is "$(ls "$target")" ""
  # The same within one layer: link first, then through it.
  tar -C evil/b -rf evil/1.tar escape/pwned
  docker_archive evil.tar evil:1 "$STEAD_TEST_CACHE/tiny.tar" evil/1.tar
  run stead load -i evil.tar
  is "$(ls "$target")" ""
  # An absolute name.
  echo pwned >evil/abs
  tar -P -cf evil/3.tar --transform "s#^evil/abs#$target/abs#" evil/abs
  docker_archive evil.tar evil:1 "$STEAD_TEST_CACHE/tiny.tar" evil/3.tar
  run stead load -i evil.tar
  is "$(ls "$target")" ""
}

@test "a hard link to something outside is refused" {
  mkdir evil
  echo secret >evil/secret
  ln evil/secret evil/link
  tar -P -cf evil/1.tar --transform 's#^evil/secret#x#;s#^evil/link#y#' evil/secret evil/link
  # The link's target is rewritten to climb out of the tree.
  tar -P -cf evil/2.tar --transform "flags=h;s#.*#../../../../etc/passwd#" --transform 's#^evil/link#y#;s#^evil/secret#x#' evil/secret evil/link
  docker_archive evil.tar evil:1 "$STEAD_TEST_CACHE/tiny.tar" evil/2.tar
  refuses_archive evil.tar ".."
}

@test "wrong digests are refused" {
  mkdir -p evil good-layer
  # One that is not here yet: a layer that is known by its digest is not read again.
  head -c 10000 /dev/urandom >good-layer/file
  tar -C good-layer -cf good-layer.tar file
  docker_archive good.tar evil:1 good-layer.tar
  tar -C evil -xf good.tar
  # A layer with other bytes than the configuration's digest says.
  mkdir -p evil-layer && echo other >evil-layer/file
  tar -C evil-layer -cf evil/layer0.tar file
  tar -C evil -cf evil.tar .
  refuses_archive evil.tar "digest"
}

@test "truncated archives are refused" {
  ok stead save -o tiny.tar tiny
  ok stead rmi tiny
  local size n
  size=$(stat -c %s tiny.tar)
  for n in 0 100 512 $((size / 3)) $((size - 20000)); do
    head -c "$n" tiny.tar >cut.tar
    refuses_archive cut.tar
  done
  gzip -c tiny.tar | head -c 100000 >cut.tar.gz
  refuses_archive cut.tar.gz
  ok stead load -i tiny.tar
}

@test "what is no archive at all" {
  head -c 100000 /dev/urandom >noise
  refuses_archive noise
  echo '{}' >manifest.json
  tar -cf empty.tar manifest.json
  refuses_archive empty.tar
  fails 2 stead load -i does-not-exist.tar
  says "does-not-exist.tar"
}

@test "a full disk while unpacking: an error, and nothing half there" {
  local small=$SANDBOX/small
  mkdir -p "$small"
  mount -t tmpfs -o size=3m tmpfs "$small" || skip "cannot mount a tmpfs here"
  # A second daemon whose whole state lies on the small disk.
  "$STEAD_EXE" daemon --name "${NAME}s" --state-dir "$small/state" --run-dir "$SANDBOX/srun" >"$SANDBOX/small.log" 2>&1 </dev/null 3>&- &
  local pid=$!
  within 60 curl -sS --unix-socket "$SANDBOX/srun/stead.sock" http://stead/_ping
  ok stead save -o "$SANDBOX/full.tar" tiny
  head -c 3000000 /dev/urandom >fill
  mkdir -p evil && tar -cf evil/fill.tar fill
  docker_archive big.tar evil:1 "$STEAD_TEST_CACHE/tiny.tar" evil/fill.tar
  run "$STEAD_EXE" -H "unix://$SANDBOX/srun/stead.sock" load -i big.tar
  local code=$status text=$output
  local left
  left=$(find "$small/state/layers" -mindepth 1 -maxdepth 1 2>/dev/null)
  local alive=0
  kill -0 "$pid" && alive=1
  kill "$pid" && wait "$pid" || true
  "$SANDBOX_TOOLS/leftovers" --name "${NAME}s" --state-dir "$small/state" --run-dir "$SANDBOX/srun" || true
  umount -l "$SANDBOX/srun/netns" 2>/dev/null || true
  umount "$small"
  [ "$code" -eq 2 ]
  [[ $text == *space* ]]
  is "$alive" 1
  is "$left" ""
}

@test "rmi: by name; refused while in use; layers go with the last image" {
  docker_archive other.tar other:1 "$STEAD_TEST_CACHE/tiny.tar"
  local before
  before=$(layers)
  ok stead load -i other.tar
  compose <<'END'
services: { a: { image: "other:1" } }
END
  ok stead up -d
  fails 1 stead rmi other:1
  says "other:1"
  ok stead down -t 0
  ok stead rmi other:1
  is "$(layers)" "$before"
  fails 1 stead rmi other:1
}

@test "rmi answers all the same when a layer cannot be removed, and says so" {
  mkdir evil
  echo one >evil/one && tar -C evil -cf evil/1.tar one
  docker_archive other.tar other:1 evil/1.tar
  local before stuck
  before=$(layers)
  ok stead load -i other.tar
  stuck=$(comm -13 <(cat <<<"$before") <(layers) | grep -E '/[0-9a-f]{32}$')
  mount -t tmpfs tmpfs "$stuck"
  run stead rmi other:1
  local code=$status text=$output
  umount "$stuck"
  is "$code" 0
  [[ $text == *"Deleted: sha256:"* && $text == *"$(basename "$stuck")"* && $text == *"stead image prune"* ]]
  ok stead image prune -f
  says_not "Deleted"
  is "$(layers)" "$before"
}

@test "image prune removes what no name holds" {
  mkdir evil
  echo one >evil/one && tar -C evil -cf evil/1.tar one
  echo two >evil/two && tar -C evil -cf evil/2.tar two
  docker_archive a.tar other:1 evil/1.tar
  docker_archive b.tar other:1 evil/2.tar
  local before
  before=$(layers)
  ok stead load -i a.tar
  ok stead load -i b.tar
  ok stead image prune -f
  says "Deleted: sha256:"
  is "$(layers | wc -l)" $(($(wc -l <<<"$before") + 3)) # the other image's layer, its sizes and its recipe
  ok stead rmi other:1
  is "$(layers)" "$before"
}
