# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds of a small application beside BuildKit (docker build with DOCKER_BUILDKIT=1) and `buildah bud --layers`: 2,000 files (22 MB) of source
# and two stages. The first copies the list of packages and "installs" them, copies the source and "compiles" it (cp); the second takes
# the result. BUILD_ROUNDS=5 rounds, each with contents that nobody has seen before; in each round every builder in turn builds
#
#   cold         its caches know the base image and nothing else
#   no change    three times
#   one file     after one of the 2,000 has changed
#
# All three have the same base image (`tiny`, out of one archive) and the same directory. What was written before is synced before each
# build, so that nobody waits for another one's data. A RUN instruction prints how long its own command took, by its own clock; what
# is left of the build's time is the builder's overhead. buildah runs with --isolation chroot, the least that it can do for a RUN.
#
# The list of what is new in the image after one file has changed comes from the archives that the builders save: the size of each layer
# whose digest the image before did not have. Memory is looked at in a round of its own (/proc/PID/status, VmHWM), since looking costs time.

BUILD_ROUNDS=${BUILD_ROUNDS:-5}
BUILD_QUIET=3

# A context whose contents depend on the seed.
build_context() { # DIRECTORY SEED
  python3 - "$1" "$2" <<'END'
import os, random, sys
top, seed = sys.argv[1], int(sys.argv[2])
random.seed(seed)
for i in range(2000):
    path = "%s/src/m%02d/f%02d.js" % (top, i // 40, i % 40)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(random.randbytes(4000 + i * 7))
with open(top + "/package.json", "w") as f:
    f.write('{"name": "app", "version": "1.0.%d"}\n' % seed)
END
  cat >"$1/Dockerfile" <<'END'
FROM tiny AS build
WORKDIR /app
COPY package.json ./
RUN b=$EPOCHREALTIME; mkdir modules; for i in 1 2 3 4 5 6 7 8; do cp /bin/busybox modules/$i; done; e=$EPOCHREALTIME; echo took $((${e%.*}${e#*.} - ${b%.*}${b#*.})) us
COPY src src
RUN b=$EPOCHREALTIME; cp -r src dist; e=$EPOCHREALTIME; echo took $((${e%.*}${e#*.} - ${b%.*}${b#*.})) us
FROM tiny
WORKDIR /app
COPY package.json ./
COPY --from=build /app/dist dist
CMD ["sleep", "1000000"]
END
}

# --- the builders: each builds the directory $1 as the image `app`

build_stead() { XDG_CACHE_HOME=$WORK/build/cache stead --progress plain build -t app "$1"; }
build_docker() { DOCKER_BUILDKIT=1 "$BUILD_DOCKER" build --progress plain -t app "$1"; }
build_buildah() { build_bud bud --layers --isolation chroot --pull-never --signature-policy "$WORK/build/buildah/policy.json" -t app "$1"; }

build_bud() {
  local dir=$WORK/build/buildah
  CONTAINERS_REGISTRIES_CONF=$dir/registries.conf CONTAINERS_STORAGE_CONF=$dir/storage.conf \
    buildah --root "$dir/root" --runroot "$dir/run" --storage-driver overlay "$@"
}
build_buildah_start() {
  local dir=$WORK/build/buildah
  command -v buildah >/dev/null || return 1
  mkdir -p "$dir"
  echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$dir/policy.json"
  printf '%s\n' 'unqualified-search-registries = ["docker.io"]' 'short-name-mode = "disabled"' >"$dir/registries.conf"
  printf '[storage]\ndriver = "overlay"\nrunroot = "%s"\ngraphroot = "%s"\n' "$dir/run" "$dir/root" >"$dir/storage.conf"
  timed build_bud pull --policy never "docker-archive:$1"
}
build_buildah_stop() {
  local mount
  while read -r mount; do
    umount "$mount"
  done < <(awk -v dir="$WORK/build/buildah/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r)
}

# The docker that came with dockerd: a newer one builds only with a plugin.
build_docker_start() { # BASE-ARCHIVE
  local version
  have_docker || return 1
  version=$(dockerd --version | sed -n 's/^Docker version \([0-9.]*\).*/\1/p')
  while read -r BUILD_DOCKER; do
    [[ $("$BUILD_DOCKER" --version) == *" $version"[+,]* ]] && break
    BUILD_DOCKER=''
  done < <(type -ap docker)
  [[ -n $BUILD_DOCKER ]] || { echo "bench: no docker of version $version, dockerd's" >&2; return 1; }
  docker_start && timed "$BUILD_DOCKER" load -q -i "$1"
}

# --- one build

# Its time is in $took, that of its RUN instructions in $own (µs).
build_once() { # BUILDER DIRECTORY
  sync -f "$SANDBOX"
  timed "build_$1" "$2" || return 1
  own=$(awk 'match($0, /took [0-9]+ us/) { split(substr($0, RSTART, RLENGTH), w, " "); sum += w[2] } END { print sum + 0 }' "$WORK/out")
}

# Digest and size of the layers of a saved image, a line each.
build_layers() { # ARCHIVE
  python3 - "$1" <<'END'
import json, os, sys, tarfile
with tarfile.open(sys.argv[1]) as t:
    m = json.load(t.extractfile("manifest.json"))[0]
    ids = json.load(t.extractfile(m["Config"]))["rootfs"]["diff_ids"]
    for digest, name in zip(ids, m["Layers"]):
        member = t.getmember(name)
        while member.issym() or member.islnk():  # docker has one of what is twice
            link = member.linkname
            member = t.getmember(link if member.islnk() else os.path.normpath(os.path.join(os.path.dirname(name), link)))
        print(digest, member.size)
END
}
build_save() { # BUILDER ARCHIVE
  rm -f "$2"
  case $1 in
    stead) stead save -o "$2" app ;;
    docker) "$BUILD_DOCKER" save -o "$2" app ;;
    buildah) build_bud push -q --signature-policy "$WORK/build/buildah/policy.json" localhost/app "docker-archive:$2:app" ;;
  esac
}
# Bytes of the layers of $2 that $1 has not.
build_new_bytes() { # LAYERS-BEFORE LAYERS-AFTER
  awk 'NR == FNR { had[$1] = 1; next } !had[$1] { sum += $2 } END { print sum + 0 }' "$1" "$2"
}

# The peak of stead's worker, as it grows, until stopped.
build_watch() { # FILE
  exec python3 - "$(stead_pid)" "$1" <<'END'
import sys, time
daemon, out = sys.argv[1], sys.argv[2]
peak = 0
while True:
    try:
        children = open("/proc/%s/task/%s/children" % (daemon, daemon)).read().split()
    except OSError:
        break
    for pid in children:
        try:
            text = open("/proc/%s/status" % pid).read()
        except OSError:
            continue
        if "Name:\tstead-worker" in text and "VmHWM:" in text:
            kb = int(text.split("VmHWM:")[1].split()[0])
            if kb > peak:
                peak = kb
                open(out, "w").write("%d\n" % peak)
    time.sleep(0.001)
END
}

# --- the rounds

build_round() { # ROUND
  local dir=$WORK/build/context$1 builder i file
  build_context "$dir" "$1"
  for builder in "${build_with[@]}"; do
    build_once "$builder" "$dir" || return 1
    build_cold[$builder]+=" $took"
  done
  for builder in "${build_with[@]}"; do
    for ((i = 0; i < BUILD_QUIET; i++)); do
      build_once "$builder" "$dir" || return 1
      [[ $own -eq 0 ]] || broke "$builder runs something although nothing has changed"
      build_same[$builder]+=" $took"
    done
    if [[ $1 -eq 1 ]]; then build_save "$builder" "$WORK/build/$builder.tar" && build_layers "$WORK/build/$builder.tar" >"$WORK/build/$builder.before"; fi
  done
  file=$dir/src/m25/f07.js
  echo "// changed in round $1" >>"$file"
  for builder in "${build_with[@]}"; do
    build_once "$builder" "$dir" || return 1
    [[ $own -gt 0 ]] || broke "$builder does not say how long its RUN took"
    build_one[$builder]+=" $took"
    build_over[$builder]+=" $((took - own))"
    if [[ $1 -eq 1 ]]; then build_save "$builder" "$WORK/build/$builder.tar" && build_layers "$WORK/build/$builder.tar" >"$WORK/build/$builder.after"; fi
  done
  rm -rf "$dir"
}

build_memory() {
  local dir=$WORK/build/memory watch
  build_context "$dir" 0
  echo 0 >"$WORK/build/peak"
  build_watch "$WORK/build/peak" &
  watch=$!
  build_once stead "$dir" && build_once stead "$dir" && echo changed >>"$dir/src/m01/f01.js" && build_once stead "$dir"
  kill "$watch"
  wait "$watch" 2>/dev/null || true
}

build_median() { # A LIST OF NUMBERS
  # shellcheck disable=SC2086
  [[ -z $1 ]] || median $1
}

# WHAT FIGURES-OF(array) TARGET LIMIT(µs, 0 = none) FACTOR: a row beside BuildKit, one beside buildah
build_row() {
  local -n figures=$2
  local m d b reached
  m=$(build_median "${figures[stead]}") d=$(build_median "${figures[docker]:-}") b=$(build_median "${figures[buildah]:-}")
  reached=$(verdict build_reached "$m" "${d:-0}" "$4" "$5")
  row "$1" "$(ms "$m")" "${d:+$(ms "$d")}" "${d:+$(ratio "$d" "$m") x}" "$3" "$reached"
  [[ -z $b ]] || row "… buildah" "" "$(ms "$b")" "$(ratio "$b" "$m") x" "" ""
}
build_reached() { # MINE THEIRS(0 = not there) LIMIT FACTOR
  [[ $3 -eq 0 || $1 -le $3 ]] && { [[ $2 -eq 0 ]] || at_most $(($1 * $4)) "$2"; }
}

build() {
  local i builder build_with=(stead) peak BUILD_DOCKER=''
  local -A build_cold=() build_same=() build_one=() build_over=()
  mkdir -p "$WORK/build"
  timed stead save -o "$WORK/build/base.tar" tiny || return 0
  if build_docker_start "$WORK/build/base.tar"; then build_with+=(docker); else echo "bench: no BuildKit (docker.io) to compare builds with" >&2; fi
  if build_buildah_start "$WORK/build/base.tar"; then build_with+=(buildah); else echo "bench: no buildah to compare builds with" >&2; fi
  for ((i = 1; i <= BUILD_ROUNDS; i++)); do
    build_round "$i" || break
  done
  docker_stop
  unset DOCKER_HOST
  build_buildah_stop
  [[ -n ${build_over[stead]:-} ]] || return 0
  build_memory
  build_row "build, no change" build_same "50 ms, 10 x" 50000 10
  build_row "… one file: all but its RUN" build_over "200 ms, 10 x" 200000 10
  build_row "… one file: all of it" build_one "" 0 1
  build_row "… cold" build_cold "not slower" 0 1
  for builder in "${build_with[@]}"; do
    i=$(build_new_bytes "$WORK/build/$builder.before" "$WORK/build/$builder.after")
    case $builder in
      stead) row "… one file: new in the image" "$i B" "" "" "under 64 kB" "$(verdict at_most "$i" 64000)" ;;
      *) row "… $builder" "" "$i B" "" "" "" ;;
    esac
  done
  peak=$(<"$WORK/build/peak")
  row "… peak RSS of the worker" "$(mb "$peak")" "" "" "at most 12 MB" "$(verdict at_most "$peak" 12000)"
}
