# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A pull of a 300 MB image (PULL_RUNS=3 times each) from a registry on this machine, beside `docker pull` and `skopeo copy`: into
# containers-storage, where it is unpacked as in ours, and into a directory, where it stays packed.

PULL_RUNS=${PULL_RUNS:-3}

# Four layers of some 75 MB in files of all sizes, which gzip makes a good half of; the same each time.
pull_image() { # OUT
  python3 - "$1" <<'END'
import gzip, hashlib, io, json, os, platform, random, sys, tarfile
out = sys.argv[1]
random.seed(1)
os.makedirs(out + "/blobs/sha256")
words = [random.randbytes(60).hex().encode() for _ in range(3000)]
arch = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}.get(platform.machine(), platform.machine())

def blob(data, kind):
    name = hashlib.sha256(data).hexdigest()
    with open(out + "/blobs/sha256/" + name, "wb") as f:
        f.write(data)
    return {"mediaType": kind, "digest": "sha256:" + name, "size": len(data)}

layers, ids = [], []
for number, (files, size) in enumerate([(2000, 40000), (1500, 40000), (600, 130000), (40, 2000000)]):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as t:
        for i in range(files):
            data = b"".join(random.choice(words) if random.random() < 0.75 else random.randbytes(60) for _ in range(size // 100))[:size]
            info = tarfile.TarInfo("usr/l%d/d%d/f%d" % (number, i % 50, i))
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    ids.append("sha256:" + hashlib.sha256(raw.getvalue()).hexdigest())
    layers.append(blob(gzip.compress(raw.getvalue(), 6, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip"))
config = blob(json.dumps({"architecture": arch, "os": "linux", "config": {"Cmd": ["true"]}, "rootfs": {"type": "layers", "diff_ids": ids}}).encode(),
              "application/vnd.oci.image.config.v1+json")
kind = "application/vnd.oci.image.manifest.v1+json"
manifest = blob(json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}).encode(), kind)
with open(out + "/index.json", "w") as f:
    json.dump({"schemaVersion": 2, "manifests": [manifest]}, f)
with open(out + "/oci-layout", "w") as f:
    f.write('{"imageLayoutVersion":"1.0.0"}')
END
}

# The peak of each process of the pull, summed; until stopped. Written as it grows.
pull_watch() { # FILE
  local worker pid kb
  local -A peak
  while :; do
    for worker in $(pgrep -P "$(stead_pid)" stead-worker); do
      for pid in "$worker" $(pgrep -P "$worker"); do
        kb=$(awk '/^VmHWM:/ { print $2 }' "/proc/$pid/status" 2>/dev/null) || continue
        peak[$pid]=${kb:-${peak[$pid]:-0}}
      done
    done
    local sum=0
    for pid in "${!peak[@]}"; do sum=$((sum + peak[$pid])); done
    echo "$sum" >"$1"
    sleep 0.05
  done
}

pull_written() { awk '/^write_bytes:/ { print $2 }' "/proc/$(stead_pid)/io"; }

pull() {
  local dir=$WORK/pull NAME PORTS ref registry watch i before written peak size mine=() docker=() skopeo=() packed=() inner=''
  command -v docker-registry >/dev/null && command -v skopeo >/dev/null || { broke "pull: needs docker-registry and skopeo"; return 0; }
  . "$SANDBOX/env"
  ref=127.0.0.1:$((PORTS + 80))/big:1
  mkdir -p "$dir"
  pull_image "$dir/oci"
  cat >"$dir/registry.yml" <<END
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $dir/registry}}
http: {addr: "127.0.0.1:$((PORTS + 80))"}
END
  docker-registry serve "$dir/registry.yml" >"$dir/log" 2>&1 </dev/null &
  registry=$!
  sleep 1
  timed skopeo --insecure-policy copy -q --dest-tls-verify=false "oci:$dir/oci" "docker://$ref" || { kill "$registry"; return 0; }
  if have_docker && docker_start; then
    # Docker's daemon has a loopback of its own, and so needs a registry of its own, of the same files.
    nsenter --net="/proc/$DOCKER_PID/ns/net" docker-registry serve "$dir/registry.yml" >"$dir/inner.log" 2>&1 </dev/null &
    inner=$!
    sleep 1
  fi
  for ((i = 0; i < PULL_RUNS; i++)); do
    timed stead pull -q "$ref" && mine+=("$took")
    stead rmi "$ref" >/dev/null
    timed skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$ref" "dir:$dir/copy" && packed+=("$took")
    timed skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$ref" "containers-storage:[overlay@$dir/storage+$dir/storage-run]$ref" &&
      skopeo+=("$took")
    umount "$dir/storage/overlay" 2>/dev/null || true # it mounts that onto itself
    rm -rf --one-file-system "$dir/copy" "$dir/storage" "$dir/storage-run"
    [[ -n $inner ]] || continue
    timed docker pull -q "$ref" && docker+=("$took")
    docker rmi "$ref" >/dev/null 2>&1
  done
  # Once more for what it takes: to look on costs processor time, which the others would not pay.
  before=$(pull_written)
  pull_watch "$dir/peak" &
  watch=$!
  timed stead pull -q "$ref" || true
  kill "$watch"
  written=$(($(pull_written) - before))
  peak=$(<"$dir/peak")
  size=$(curl -sS --unix-socket "$SANDBOX/run/stead.sock" "http://stead/images/$ref/json" | jq .Size)
  [[ -z $inner ]] || { kill "$inner"; docker_stop; unset DOCKER_HOST; }
  kill "$registry"
  local m d s p
  m=$(median "${mine[@]}") s=$(median "${skopeo[@]}") p=$(median "${packed[@]}")
  d=$([[ ${#docker[@]} -eq 0 ]] || median "${docker[@]}")
  row "pull of 300 MB" "$(ms "$m")" "${d:+$(ms "$d")}" "${d:+$(ratio "$d" "$m") x}" "not slower" "${d:+$(verdict at_most "$m" "$d")}"
  row "… skopeo copy, unpacked" "" "$(ms "$s")" "$(ratio "$s" "$m") x" "not slower" "$(verdict at_most "$m" "$s")"
  row "… skopeo copy, packed as it is" "" "$(ms "$p")" "$(ratio "$p" "$m") x" "" -
  row "… peak RSS of its processes" "$(mb "$peak")" "" "" "at most 20 MB" "$(verdict at_most "$peak" 20000)"
  row "… written for each byte unpacked" "$(ratio "$written" "$size")" "" "" "at most 1.1" "$(verdict at_most "$written" $((size * 11 / 10)))"
}
