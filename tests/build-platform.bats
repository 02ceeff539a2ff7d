#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Builds for another architecture: through the kernel's handler and qemu, natively where a stage says so, and not begun where nothing runs its programs.

load helpers

BINFMT=/proc/sys/fs/binfmt_misc

setup_file() {
  [[ $(uname -m) == x86_64 ]] || skip "made for x86-64 machines"
  sandbox_up
}

teardown_file() {
  [[ -f $SANDBOX/env ]] || return 0
  local status=0
  handler_gone
  sandbox_down || status=1
  sandbox_destroy "$SANDBOX"
  return "$status"
}

# The kernel's table is the whole machine's: what is there already stays, and the tests do without.
handler_gone() {
  [[ ! -e $SANDBOX/registered ]] || echo -1 >"$BINFMT/qemu-aarch64"
  [[ ! -e $SANDBOX/mounted ]] || umount "$BINFMT"
  rm -f "$SANDBOX/registered" "$SANDBOX/mounted"
}
handler() { # as the package registers it
  command -v qemu-aarch64-static >/dev/null || skip "needs qemu-aarch64-static (package qemu-user-static)"
  if [[ ! -e $BINFMT/register ]]; then
    mount -t binfmt_misc binfmt_misc "$BINFMT" || skip "there is no binfmt_misc here"
    touch "$SANDBOX/mounted"
  fi
  [[ ! -e $BINFMT/qemu-aarch64 ]] || return 0
  printf '%s' ':qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:'"$(command -v qemu-aarch64-static):F" >"$BINFMT/register"
  touch "$SANDBOX/registered"
}

# A program for arm64 in 200 bytes: writes the machine's name, as the kernel gives it, to the file that its argument names.
program() { # FILE
  python3 - "$1" <<'END'
import os, struct, sys
def mov(reg, value):
    return [0xD2800000 | (value & 0xFFFF) << 5 | reg, 0xF2A00000 | (value >> 16) << 5 | reg]
def call(number):
    return [0xD2800000 | number << 5 | 8, 0xD4000001] # mov x8, number; svc 0
BASE, BUF = 0x400000, 0x400800
code = mov(0, BUF) + call(160) # uname
code += [0x92800000 | 99 << 5, 0xF9400000 | 2 << 10 | 31 << 5 | 1] + mov(2, 0x241) + mov(3, 0o644) + call(56) # openat(AT_FDCWD, argv[1], …)
code += mov(1, BUF + 4 * 65) + mov(2, 7) + call(64) # write
code += mov(0, 0) + call(93) # exit
text = struct.pack("<%dI" % len(code), *code)
head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 0xB7, 1, BASE + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
head += struct.pack("<IIQQQQQQ", 1, 7, 0, BASE, BASE, 120 + len(text), 0x1000, 0x1000)
with open(sys.argv[1], "wb") as f:
    f.write(head + text)
os.chmod(sys.argv[1], 0o755)
END
}

@test "without a handler: the package's name, before anything is built" {
  [[ ! -e $BINFMT/qemu-aarch64 ]] || skip "this machine has a handler for arm64"
  program where
  cat >Dockerfile <<'END'
FROM --platform=$BUILDPLATFORM tiny AS native
RUN echo begun
FROM scratch
COPY where /
RUN ["/where", "/made"]
END
  fails 1 stead build --platform linux/arm64 .
  says "Dockerfile:3"
  says "apt install qemu-user-static"
  says_not begun
  # What runs nothing needs none.
  sed -i '/where"/d' Dockerfile
  ok stead build --platform linux/arm64 -t "arm:$PROJECT" .
  is "$(stead inspect "arm:$PROJECT" | jq -r '.[0].Architecture')" arm64
  fails 2 stead build --platform linux/pdp11 .
  fails 2 stead build --platform windows/amd64 .
}

@test "through a handler: RUN in stages of the target, natively where a stage says so" {
  handler
  program where
  cat >Dockerfile <<'END'
FROM --platform=$BUILDPLATFORM tiny AS native
ARG TARGETPLATFORM TARGETARCH BUILDARCH
RUN uname -m >/machine; echo $TARGETPLATFORM $TARGETARCH $BUILDARCH >/arguments
FROM scratch AS base
COPY where /
RUN ["/where", "/made"]
FROM base
COPY --from=native /machine /arguments /
RUN ["/where", "/again"]
END
  ok stead build --platform linux/arm64 -t "arm:$PROJECT" .
  is "$(stead inspect "arm:$PROJECT" | jq -r '.[0].Architecture')" arm64
  is "$(<"$(layer_of "arm:$PROJECT" 1)/made")" aarch64
  is "$(<"$(layer_of "arm:$PROJECT" 2)/machine")" x86_64
  is "$(<"$(layer_of "arm:$PROJECT" 2)/arguments")" "linux/arm64 arm64 amd64"
  is "$(<"$(layer_of "arm:$PROJECT" 3)/again")" aarch64
  # A further build, on top of an image of that architecture.
  printf 'FROM --platform=linux/arm64 arm:%s\nRUN ["/where", "/third"]\n' "$PROJECT" >Dockerfile
  ok stead build -t "more:$PROJECT" .
  is "$(<"$(layer_of "more:$PROJECT" 4)/third")" aarch64
  is "$(stead inspect "more:$PROJECT" | jq -r '.[0].Architecture')" arm64
  # The cache keeps the two architectures apart.
  printf 'FROM tiny\nRUN uname -m >/machine\n' >Dockerfile
  ok stead build -t "here:$PROJECT" .
  is "$(<"$(layer_of "here:$PROJECT" 1)/machine")" x86_64
}
