#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Builds that fail, and input that is hostile: what is said, what is left, and what a step may not do.

load helpers

dockerfile() { cat >Dockerfile; }

nothing_builds() { [[ -z $(find "$SANDBOX/run/containers" "$SANDBOX/run/netns" -mindepth 1 -maxdepth 1) ]]; }

# --- a shell in a step that failed

@test "--shell-on-fail: a shell in what the step has left, as it was" {
  echo hush >token
  dockerfile <<'END'
FROM tiny
WORKDIR /work
ENV GREETING=hello
RUN --mount=type=secret,id=s --mount=type=tmpfs,target=/scratch echo left >file; echo begun; exit 9
END
  ok "$BATS_TEST_DIRNAME/terminal" "$STEAD_EXE" -H "unix://$SOCK" build --shell-on-fail --secret id=s,src=token . <<'END'
until(rb"a shell in what it has left")
prompt()
type_(b"echo =$GREETING=$(cat file)=$(pwd)=$(cat /run/secrets/s)=$(id -u)=")
until(rb"=hello=left=/work=hush=0=")
type_(b"grep -c ' /scratch ' /proc/mounts; tty")
until(rb"\n1\r\n/dev/")
type_(b"exit 5")
ends(1)
END
  says "Dockerfile:4: RUN: the command ended with exit code 9"
  within 20 nothing_builds
}

@test "--shell-on-fail: as the step's user, and Ctrl-C is the shell's" {
  dockerfile <<'END'
FROM tiny
USER app
RUN false
END
  ok "$BATS_TEST_DIRNAME/terminal" "$STEAD_EXE" -H "unix://$SOCK" build --shell-on-fail . <<'END'
until(rb"a shell in what it has left")
prompt()
type_(b"echo =$(id -u)=")
until(rb"=1000=")
prompt()
type_(b"sleep 1000")
until(rb"sleep 1000")
interrupt(rb"[#$] ")
type_(b"exit")
ends(1)
END
  says "exit code 1"
  within 20 nothing_builds
}

@test "--shell-on-fail: an image without a shell" {
  cp "$(layer_of tiny 0)/bin/busybox" false
  dockerfile <<'END'
FROM scratch
COPY false /
RUN ["/false"]
END
  ok "$BATS_TEST_DIRNAME/terminal" "$STEAD_EXE" -H "unix://$SOCK" build --shell-on-fail . <<'END'
ends(1)
END
  says "no shell in the step that failed"
  says "/bin/sh"
  says "exit code 1"
  says_not "this is a shell"
  within 20 nothing_builds
}

@test "--shell-on-fail without a terminal is refused before anything is built" {
  dockerfile <<'END'
FROM tiny
RUN echo begun; false
END
  fails 2 "$STEAD_EXE" -H "unix://$SOCK" build --shell-on-fail . </dev/null
  says "--shell-on-fail needs a terminal"
  says_not begun
}

@test "a terminal that goes away in the shell ends the build" {
  dockerfile <<'END'
FROM tiny
RUN false
END
  ok "$BATS_TEST_DIRNAME/terminal" "$STEAD_EXE" -H "unix://$SOCK" build --shell-on-fail . <<'END'
until(rb"a shell in what it has left")
prompt()
os.close(fd)
os.waitpid(pid, 0)
END
  within 20 nothing_builds
}

# --- what is said

@test "a source that is not there: the rule that hid it, or what was looked for" {
  mkdir -p src
  echo x >src/secret.key
  printf '# comment\n*.md\n**/*.key\n' >.dockerignore
  printf 'FROM tiny\nCOPY src/secret.key /\n' >Dockerfile
  fails 2 stead build .
  says "Dockerfile:2: COPY"
  says "src/secret.key"
  says "line 3 of .dockerignore"
  says "**/*.key"
  printf 'FROM tiny\nCOPY *.nothing /\n' >Dockerfile
  fails 2 stead build .
  says "*.nothing"
  printf 'FROM tiny\nCOPY --from=tiny /nothing /\n' >Dockerfile
  fails 2 stead build .
  says "nothing"
  printf 'FROM tiny\nRUN --mount=type=bind,source=src/secret.key,target=/k cat /k\n' >Dockerfile
  fails 2 stead build .
  says "line 3 of .dockerignore"
}

@test "the last lines of a step that fails are shown, also where output is not" {
  dockerfile <<'END'
FROM tiny
RUN i=0; while [ $i -lt 3000 ]; do echo "line $i"; i=$((i + 1)); done; echo "the reason" >&2; exit 3
END
  fails 1 stead build -q .
  says "the reason"
  says "line 2999"
  says_not "line 10
"
  says "exit code 3"
}

# --- what a step may take, and do

@test "--memory and --cpus are the step's limits, and a step that wants more memory is told so" {
  dockerfile <<'END'
FROM tiny
RUN cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null >/memory; \
    cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null >/cpus; true
END
  ok stead build --memory 96m --cpus 0.5 -t "built:$PROJECT" .
  grep -qx 100663296 "$(layer_of "built:$PROJECT" 1)/memory"
  grep -qE '^50000( 100000)?$' "$(layer_of "built:$PROJECT" 1)/cpus"
  fails 2 stead build --memory none .
  fails 2 stead build --cpus -1 .
  dockerfile <<'END'
FROM tiny
RUN dd if=/dev/zero of=/dev/null bs=200M count=1
END
  fails 1 stead build --memory 24m .
  says "Dockerfile:2: RUN"
  says "more memory than it may have"
  says "--memory"
  ok stead build --memory 400m .
}

@test "a step has a service's protection: capabilities, filter, masked and read-only paths" {
  cat >look <<'END'
grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status
awk '{ print $5, $6 }' /proc/self/mountinfo | grep -E '^/(proc|sys|dev)' | sort
echo x 2>/dev/null >/proc/sys/kernel/hostname && echo written
wc -c /proc/kcore 2>&1
ls /proc/acpi /sys/firmware 2>&1
unshare -m true 2>&1
ls /dev | sort
END
  dockerfile <<'END'
FROM tiny
COPY look /look
RUN sh /look >/seen 2>&1
END
  ok stead build -t "built:$PROJECT" .
  compose <<END
services: { s: { image: "built:$PROJECT", command: "sh -c 'sh /look >/look.new 2>&1; mv /look.new /as-service; exec sleep 1000000'" } }
END
  ok stead up -d
  within 60 inside s test -s /as-service
  inside s cat /as-service >service
  grep -q '^Seccomp:.*2$' service
  diff service "$(layer_of "built:$PROJECT" 2)/seen"
}

# --- contexts that escape

@test "nothing outside of the context can be copied" {
  local outside=$SANDBOX/outside-$PROJECT source
  echo outside >"$outside"
  ln -s "$outside" absolute
  ln -s "../outside-$PROJECT" relative
  ln -s / root
  ln -s .. up
  for source in "../outside-$PROJECT" "/../outside-$PROJECT" "a/../../outside-$PROJECT" absolute relative "root$outside" "up/outside-$PROJECT"; do
    printf 'FROM tiny\nCOPY %s /got\n' "$source" >Dockerfile
    capture stead build --no-cache .
    [[ $status -eq 2 ]] || { echo "COPY $source: $status: $output"; return 1; }
    says "Dockerfile:2: COPY"
  done
  # With the directory they come as links, which lead nowhere in particular.
  printf 'FROM tiny\nCOPY . /all/\n' >Dockerfile
  ok stead build -t "built:$PROJECT" .
  is "$(readlink "$(layer_of "built:$PROJECT" 1)/all/absolute")" "$outside"
  printf 'FROM tiny\nRUN --mount=type=bind,source=absolute,target=/m cat /m\n' >Dockerfile
  fails 2 stead build .
  says_not outside$'\n'
}

@test "links in a stage lead to its own files, for COPY --from and for mounts" {
  local host=$SANDBOX/host-file
  echo "of the host" >"$host"
  cat >base <<END
FROM tiny AS a
RUN ln -s $host /link && ln -s ../../../../../../../..$host /up && mkdir -p /root$SANDBOX && echo "of the stage" >/root$host && ln -s / /root/all
END
  local name
  for name in link up root/all$host; do
    { cat base; printf 'FROM tiny\nCOPY --from=a /%s /got\n' "$name"; } >Dockerfile
    fails 2 stead build .
    says "$name"
    { cat base; printf 'FROM tiny\nRUN --mount=type=bind,from=a,source=/%s,target=/m cat /m\n' "$name"; } >Dockerfile
    fails 2 stead build .
    says_not "of the host"
  done
  # Where they lead to something, it is the stage's.
  { cat base; printf 'RUN mkdir -p %s && cp /root%s %s\nFROM tiny\nCOPY --from=a /link /got\n' "$SANDBOX" "$host" "$host"; } >Dockerfile
  ok stead build -t "built:$PROJECT" .
  is "$(<"$(layer_of "built:$PROJECT" 1)/got")" "of the stage"
  # Targets of COPY and of mounts, through links of the image.
  printf 'FROM tiny\nRUN ln -s %s /target\nCOPY Dockerfile /target/file\nRUN --mount=type=tmpfs,target=/target/sub true\n' "$SANDBOX/escape" >Dockerfile
  ok stead build -t "built:$PROJECT" .
  not test -e "$SANDBOX/escape"
  test -f "$(layer_of "built:$PROJECT" 2)$SANDBOX/escape/file"
}

# --- archives

# POST /build of a tar as it is, without a client that would look at it.
post() { # FILE
  output=$(api POST /build -H 'Content-Type: application/x-tar' -H 'Expect:' -T "$1" 2>&1) || true
}

no_temporary() { [[ -z $(find "$SANDBOX/state/tmp" -mindepth 1 ! -name lock) ]]; }

@test "a context by POST /build that is hostile" {
  python3 - <<'END'
import io, tarfile
def make(name, *entries):
    with tarfile.open(name + ".tar", "w", format=tarfile.GNU_FORMAT) as t:
        for info, data in (("Dockerfile", b"FROM tiny\nCOPY . /ctx/\n"),) + entries:
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
def special(name, kind, to=""):
    i = tarfile.TarInfo(name)
    i.type, i.linkname, i.devmajor, i.devminor = kind, to, 1, 3
    return i, b""
make("up", ("../../escaped", b"x"))
make("absolute", ("/escaped", b"x"))
make("through", special("d", tarfile.SYMTYPE, "/"), ("d/escaped", b"x"))
make("hard", special("h", tarfile.LNKTYPE, "/etc/passwd"))
make("device", special("dev", tarfile.CHRTYPE))
make("deep", ("/".join(["d"] * 2000), b"x"))
make("name", ("n" * 300, b"x"))
END
  head -c 2100 up.tar >cut.tar
  head -c 20000000 /dev/urandom >noise.tar
  : >empty.tar
  local name
  for name in up absolute through hard device deep name cut noise empty; do
    post "$name.tar"
    echo "$name: $output"
    daemon_alive
    case $name in
      device) says "Successfully built" ;;
      *) says '"error"' ;;
    esac
    not test -e /escaped -o -e "$SANDBOX/escaped" -o -e "$SANDBOX/state/escaped" -o -e "$SANDBOX/state/build/escaped"
    within 20 no_temporary
  done
}

@test "a tar bomb is refused, as a context and as an archive of ADD" {
  command -v zstd >/dev/null || skip "needs zstd"
  mkdir ctx
  printf 'FROM tiny\nADD bomb /in/\n' >ctx/Dockerfile
  # 3 GiB of zeros in some 100 KB; 1 TiB and 40 GiB of nothing in sparse files.
  head -c 3G /dev/zero >ctx/zeros
  tar -C ctx -c zeros | zstd -q >packed.zst
  rm ctx/zeros
  local size before kind
  for size in 1T 40G; do
    truncate -s "$size" ctx/hole
    tar -C ctx -cSf "hole-$size.tar" hole Dockerfile
    rm ctx/hole
  done
  before=$(du -s --block-size=1M "$SANDBOX/state" | cut -f1)
  for kind in packed.zst hole-1T.tar hole-40G.tar; do
    cp "$kind" ctx/bomb
    fails 1 timeout 120 "$STEAD_EXE" -H "unix://$SOCK" build ./ctx
    says "Dockerfile:2: ADD"
    says "/in/bomb"
    within 20 no_temporary
    post "$kind"
    says '"error"'
    says "build context"
    within 20 no_temporary
  done
  # Less than any of them would have taken.
  [[ $(du -s --block-size=1M "$SANDBOX/state" | cut -f1) -lt $((before + 500)) ]]
}

# --- no space

small() { "$STEAD_EXE" -H "unix://$SANDBOX/srun/stead.sock" "$@"; }
used() { df --output=used --block-size=1M "$SANDBOX/small" | tail -n 1 | tr -d ' '; }
# Nothing but what a finished build keeps.
as_before() { # MEGABYTES
  [[ $(used) -le $(($1 + 5)) && -z $(find "$SANDBOX/small/state/tmp" -mindepth 1 ! -name lock) ]]
}

on_small() {
  local before
  ok small import "$STEAD_TEST_CACHE/tiny.tar" tiny --env PATH=/bin || return 1
  ok small build -q - <<<"FROM tiny" || return 1
  before=$(used)
  # What a step writes.
  printf 'FROM tiny\nRUN dd if=/dev/zero of=/f bs=1M count=200\n' >Dockerfile
  fails 1 small build . && says "No space left on device" && within 30 as_before "$before" || return 1
  # What comes from the client.
  head -c 150M /dev/urandom >big
  printf 'FROM tiny\nCOPY big /\n' >Dockerfile
  fails 1 small build . && says "no space left on the file system of the state directory" && says "stead image prune" || return 1
  within 30 as_before "$before" || return 1
  # What comes to POST /build.
  tar -cf big.tar Dockerfile big
  output=$(curl -sS --max-time 120 --unix-socket "$SANDBOX/srun/stead.sock" -X POST -H 'Content-Type: application/x-tar' -H 'Expect:' -T big.tar http://stead/build)
  says "no space left" && within 30 as_before "$before" || return 1
  # What an archive holds.
  python3 -c 'import os, sys; sys.stdout.buffer.writelines([os.urandom(20000)] * 8000)' >big # no bomb, but packs well
  tar -czf packed.tar.gz big
  rm big big.tar
  printf 'FROM tiny\nADD packed.tar.gz /\n' >Dockerfile
  fails 1 small build . && says "space" && within 30 as_before "$before" || return 1
  # Too little to begin with.
  fallocate -l 90M "$SANDBOX/small/ballast"
  fails 1 small build -q - <<<"FROM tiny" && says "make room" || return 1
  rm "$SANDBOX/small/ballast"
  printf 'FROM tiny\nRUN true\n' >Dockerfile
  ok small build -q .
}

@test "a full disk: an error that says so, and nothing half there" {
  local small=$SANDBOX/small
  mkdir -p "$small"
  mount -t tmpfs -o size=140m tmpfs "$small" || skip "cannot mount a tmpfs here"
  # A second daemon whose whole state lies on the small disk.
  "$STEAD_EXE" daemon --name "${NAME}s" --state-dir "$small/state" --run-dir "$SANDBOX/srun" >"$SANDBOX/small.log" 2>&1 </dev/null 3>&- &
  local pid=$! failed=0
  within 90 curl -sS --unix-socket "$SANDBOX/srun/stead.sock" http://stead/_ping
  on_small || failed=1
  kill -TERM "$pid" && wait "$pid" || true
  "$SANDBOX_TOOLS/leftovers" --name "${NAME}s" --state-dir "$small/state" --run-dir "$SANDBOX/srun" || failed=1
  umount -l "$SANDBOX/srun/netns" 2>/dev/null || true
  umount -l "$small"
  is "$failed" 0
}

# --- at once

@test "builds of one image at once: all have it, and it is the same" {
  echo content >file
  dockerfile <<'END'
FROM tiny AS a
RUN --mount=type=cache,target=/c,sharing=locked sleep 0.3; echo a >/a
FROM tiny
COPY file /file
RUN sleep 0.3; echo made >/made
COPY --from=a /a /a
END
  local i pids=() id
  for i in 1 2 3; do
    "$STEAD_EXE" -H "unix://$SOCK" build -q -t "built:$PROJECT" . >"id$i" 2>"err$i" 3>&- &
    pids+=($!)
  done
  for i in 1 2 3; do
    wait "${pids[i - 1]}" || { cat "err$i"; return 1; }
  done
  is "$(<"$(layer_of "built:$PROJECT" 2)/made")" made
  ok stead save -o saved.tar "built:$PROJECT"
  # Whose image has the name, and whose steps the cache, is for each to be who comes last.
  id=$(stead inspect "built:$PROJECT" | jq -r '.[0].Id')
  grep -qx "$id" id1 id2 id3
  ok stead build -q .
  grep -qx "$output" id1 id2 id3
  id=$output
  ok stead build -q .
  is "$output" "$id"
}
