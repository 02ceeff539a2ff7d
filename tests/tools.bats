#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The tools that watch over the source and over the machine must themselves be able to fail.

load helpers

tree() {
  mkdir -p docs src/base src/model src/cli
  cat >docs/ARCHITECTURE.md <<'END'
| src/ | holds | may include |
| --- | --- | --- |
| `base/` | strings | – |
| `model/` | structs | base |
| `cli/` | commands | base |
END
  printf '// SPDX-License-Identifier: Apache-2.0\n#include "base/x.h"\n' >src/model/x.c
  printf '// SPDX-License-Identifier: Apache-2.0\n' >src/base/x.h
}

@test "check-layers accepts what the table allows" {
  tree
  ok "$SANDBOX_TOOLS/check-layers" .
}

@test "check-layers catches a forbidden include" {
  tree
  echo '#include "model/x.h"' >>src/cli/y.c
  fails 1 "$SANDBOX_TOOLS/check-layers" .
  says "src/cli/y.c:1"
  says "cli/ may not include model/"
}

@test "check-layers catches an include upwards, a bare one and an unknown room" {
  tree
  echo '#  include "cli/y.h"' >>src/base/x.h
  echo '#include "x.h"' >>src/model/x.c
  mkdir src/attic
  fails 1 "$SANDBOX_TOOLS/check-layers" .
  says "src/base/x.h:2"
  says "src/model/x.c:3"
  says "src/attic"
}

@test "check-layers fails without a table" {
  tree
  echo nothing >docs/ARCHITECTURE.md
  fails 2 "$SANDBOX_TOOLS/check-layers" .
}

@test "check-sources catches a missing licence line and a shell" {
  tree
  ok "$SANDBOX_TOOLS/check-sources" .
  echo 'int f(void);' >src/cli/bare.h
  printf '// SPDX-License-Identifier: Apache-2.0\nstatic const char *a[] = {"sh", "-c", "x"};\n' >src/cli/shell.c
  fails 1 "$SANDBOX_TOOLS/check-sources" .
  says "src/cli/bare.h"
  says "src/cli/shell.c:2"
}

@test "check-sources catches a test that a busy machine would fail" {
  tree
  mkdir tests
  printf '#!/usr/bin/env bats\n# SPDX-License-Identifier: Apache-2.0\n  within 20 true\n' >tests/a.bats
  ok "$SANDBOX_TOOLS/check-sources" .
  printf '  with%s 5 true\n' in >>tests/a.bats
  fails 1 "$SANDBOX_TOOLS/check-sources" .
  says "tests/a.bats:4"
}

@test "leftovers finds stray directories, mounts, interfaces, rules and processes" {
  ok leftovers
  local id tag
  id=$(printf x | sha256sum | cut -d' ' -f1)
  tag=$(printf %s "$NAME" | sha256sum | cut -c1-4)
  mkdir -p "$SANDBOX/state/containers/$id" "$SANDBOX/state/volumes/stray"
  ip link add "st$tag-00000001" type bridge
  mkdir -p "$SANDBOX/run/containers/$id/rootfs"
  mount -t tmpfs tmpfs "$SANDBOX/run/containers/$id/rootfs"
  fails 1 leftovers --wait 0
  umount "$SANDBOX/run/containers/$id/rootfs"
  ip link delete "st$tag-00000001"
  rm -r "$SANDBOX/state/containers/$id" "$SANDBOX/state/volumes/stray" "$SANDBOX/run/containers/$id"
  says "$SANDBOX/state/containers/$id"
  says "$SANDBOX/state/volumes/stray"
  says "$SANDBOX/run/containers/$id/rootfs"
  says "st$tag-00000001"
  ok leftovers
}

@test "leftovers finds a container that the database has forgotten" {
  compose <<'END'
services: { a: { image: tiny } }
END
  ok stead up -d
  ok leftovers
  local other=$SANDBOX/forgetful
  mkdir -p "$other"
  # The same kernel state, seen with an empty database.
  cp "$SANDBOX/state/state.db" "$other/before.db"
  daemon_stop
  cp "$SANDBOX/state/state.db" "$other/keep.db"
  sqlite3 "$SANDBOX/state/state.db" 'PRAGMA foreign_keys = OFF; DELETE FROM containers;'
  run leftovers --wait 0
  cp "$other/keep.db" "$SANDBOX/state/state.db"
  rm -f "$SANDBOX/state/state.db-wal" "$SANDBOX/state/state.db-shm"
  daemon_start
  is "$status" 1
  says "conmon"
  says "cgroup"
  says "mount"
  says "stead-names without a daemon"
}

names_servers() { # [OPTION…]
  leftovers "$@" | awk -F'\t' '$3 ~ /stead-names/ { print $2 }'
}

@test "leftovers finds a names server that its daemon has lost" {
  compose <<'END'
services: { a: { image: tiny } }
END
  ok stead up -d
  local old new
  old=$(names_servers --all)
  [[ $old =~ ^[0-9]+$ ]]
  is "$(readlink "/proc/$old/exe")" "$(realpath "${STEAD_EXE%/*}/../names/stead-names")"
  daemon_kill
  ok leftovers # it answers on while no daemon runs
  rm "$SANDBOX/run/names.sock"
  daemon_start
  within 20 two_servers
  new=$(names_servers --all | grep -vx "$old")
  is "$(names_servers --wait 0)" "$old"
  fails 1 leftovers --wait 0
  says "one of 2 stead-names"
  kill "$old"
  ok leftovers
  is "$(names_servers --all)" "$new"
  within 20 inside a nslookup a
}

two_servers() {
  [ "$(names_servers --all | wc -l)" -eq 2 ]
}

@test "an orderly end with nothing running leaves the kernel as it was found" {
  compose <<'END'
services: { a: { image: tiny } }
END
  ok stead up -d
  ok stead down -t 0
  daemon_stop
  run leftovers
  daemon_start
  is "$output" ""
}

@test "the examples' files are valid, for each version that they have" {
  local version
  ok "$STEAD_EXE" -f "$BATS_TEST_DIRNAME/../examples/guestbook/compose.yaml" config
  for version in 1 2 3; do
    VERSION=$version ok "$STEAD_EXE" -f "$BATS_TEST_DIRNAME/../examples/moco/compose.yaml" config
    says "moco/front:$version"
  done
}
