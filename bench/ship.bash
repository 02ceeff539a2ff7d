# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Shipping over ssh to localhost (an sshd of its own on a loopback port), beside `docker save | gzip | ssh … docker load` and beside
# sending the changed layers whole. bench/ship-images makes the images: two versions each, of which the receiver has the first.
#
# SHIP_PAIRS="jar shaded node c base jre" picks some of them; SHIP_IMAGES=DIR keeps the images elsewhere.

SHIP_PAIRS=${SHIP_PAIRS:-jar shaded node c base jre}
SHIP_IMAGES=${SHIP_IMAGES:-$TOP/build/bench/ship-images}

ship_goal() { # PAIR: bytes on the wire
  case $1 in
    jar) echo 32000 ;;
    shaded) echo 160000 ;;
    node) echo 220000 ;;
    c) echo 100000 ;;
    base) echo 600000 ;;
    jre) echo 6000000 ;;
  esac
}
ship_what() {
  case $1 in
    jar) echo "fat jar, one class" ;;
    shaded) echo "shaded jar, all times" ;;
    node) echo "Node, rebuilt" ;;
    c) echo "C program rebuilt" ;;
    base) echo "base, security updates" ;;
    jre) echo "JRE under a jar" ;;
  esac
}
kb() { awk -v n="$1" 'BEGIN { printf n < 10e6 ? "%.0f kB" : "%.0f MB", n < 10e6 ? n / 1e3 : n / 1e6 }'; }

# --- both ends

far() { "$EXE" -H "unix://$FAR/run/stead.sock" "$@"; }

far_start() {
  local NAME PORTS i
  . "$FAR/env"
  setsid "$EXE" daemon --name "$NAME" --state-dir "$FAR/state" --run-dir "$FAR/run" --edge-http off --edge-https off >>"$FAR/log" 2>&1 </dev/null &
  echo $! >"$FAR/pid"
  disown $!
  for ((i = 0; i < 1000; i++)); do
    far version >/dev/null 2>&1 && return 0
    sleep 0.02
  done
  tail -n 20 "$FAR/log" >&2
  return 1
}

# sshd and the user's side of it; $1 begins the command line of sshd (another network namespace).
ship_sshd() { # [PREFIX…]
  local d=$SANDBOX/ssh PORTS NAME
  . "$SANDBOX/env"
  SSH_PORT=$((PORTS + 95))
  mkdir -p "$d/bin" "$d/far" "$d/home" /run/sshd # an empty home: what root's shell does when it starts is nobody's time
  [[ -s $d/host ]] || ssh-keygen -q -t ed25519 -N '' -f "$d/host"
  [[ -s $d/id ]] || ssh-keygen -q -t ed25519 -N '' -f "$d/id"
  cp "$d/id.pub" "$d/authorized"
  ln -sfn "$EXE" "$d/far/stead"
  printf '%s\n' "Port $SSH_PORT" "ListenAddress 127.0.0.1" "HostKey $d/host" "AuthorizedKeysFile $d/authorized" "PidFile $d/sshd.pid" \
    "StrictModes no" "UsePAM no" "PasswordAuthentication no" "PermitRootLogin prohibit-password" "SetEnv PATH=$d/far:/usr/bin:/bin:/usr/sbin:/sbin HOME=$d/home" >"$d/sshd_config"
  printf '[127.0.0.1]:%s %s\n' "$SSH_PORT" "$(cut -d' ' -f1-2 "$d/host.pub")" >"$d/known"
  printf '[127.0.0.1]:%s %s\n' "$((SSH_PORT + 1))" "$(cut -d' ' -f1-2 "$d/host.pub")" >>"$d/known"
  printf '%s\n' "UserKnownHostsFile $d/known" "GlobalKnownHostsFile none" "IdentityFile $d/id" "IdentitiesOnly yes" "IdentityAgent none" >"$d/config"
  printf '#!/bin/sh\nexec %s -F %s "$@"\n' "$(type -P ssh)" "$d/config" >"$d/bin/ssh"
  chmod 755 "$d/bin/ssh"
  rm -f "$d/sshd.pid"
  "$@" /usr/sbin/sshd -f "$d/sshd_config" -E "$d/log"
  local i
  for ((i = 0; i < 200; i++)); do
    [[ -s $d/sshd.pid ]] && break
    sleep 0.05
  done
  SSH="$d/bin/ssh -p $SSH_PORT 127.0.0.1"
}
ship_sshd_stop() {
  [[ ! -s $SANDBOX/ssh/sshd.pid ]] || kill "$(cat "$SANDBOX/ssh/sshd.pid")" 2>/dev/null || true
}

# Docker twice, one for each end.
ship_docker_start() {
  have_docker || return 1
  docker_start || return 1
  NEAR_DOCKER=$DOCKER_HOST NEAR_DOCKER_PID=$DOCKER_PID
  SANDBOX=$SANDBOX/far-docker docker_start || return 1
  FAR_DOCKER=$DOCKER_HOST
}
ship_docker_stop() {
  docker_stop
  [[ -z ${NEAR_DOCKER_PID:-} ]] || { DOCKER_PID=$NEAR_DOCKER_PID; docker_stop; }
  NEAR_DOCKER_PID=''
}

# --- what a worker takes

# Peak RSS (kB) of sender and receiver, growth of the receiving daemon, and bytes that the receiver wrote, until the file STOP is there. It
# looks all the time, and so takes what a ship that is timed needs itself.
ship_watch() { # STOP RESULT
  local send=0 receive=0 written=0 idle far_rss=0 pid v
  idle=$(rss_kb "$(cat "$FAR/pid")")
  while [[ ! -e $1 ]]; do
    for pid in $(pgrep -f "stead-worker ship-(send|receive) "); do
      v=$(awk '/^VmHWM/ { print $2 }' "/proc/$pid/status" 2>/dev/null) || continue
      if grep -qs ship-send "/proc/$pid/cmdline"; then
        [[ ${v:-0} -le $send ]] || send=$v
      elif grep -qs ship-receive "/proc/$pid/cmdline"; then # and not one that has just ended
        [[ ${v:-0} -le $receive ]] || receive=$v
        v=$(awk '/^write_bytes/ { print $2 }' "/proc/$pid/io" 2>/dev/null) || continue
        [[ ${v:-0} -le $written ]] || written=$v
      fi
    done
    v=$(rss_kb "$(cat "$FAR/pid")")
    [[ $((v - idle)) -le $far_rss ]] || far_rss=$((v - idle))
    sleep 0.01
  done
  echo "$send $((receive + far_rss)) $written" >"$2"
}
far_layers() { find "$FAR/state/layers" -name '*.json' | wc -l; }

# As if these had not been shipped: the receiver has so many layers as before, the sender no index.
ship_forget() { # LAYERS IMAGE…
  local i layers=$1
  shift
  far rmi "$@" >/dev/null 2>&1 || true
  for ((i = 0; i < 300; i++)); do
    [[ $(far_layers) -gt $layers ]] || break
    sleep 0.1
  done
  rm -f "$SANDBOX"/state/cache/ship/*.index
}

# --- a pair

# The layers of the new version that the old one lacks: their tars in $WORK/changed.
ship_changed_layers() { # DIR
  rm -rf "$WORK/changed" && mkdir -p "$WORK/changed/new"
  tar -C "$WORK/changed/new" -xf "$1/new.tar"
  tar -xOf "$1/old.tar" manifest.json >"$WORK/changed/old.json"
  local config old layer i=0
  config=$(jq -r '.[0].Config' "$WORK/changed/old.json")
  old=$(tar -xOf "$1/old.tar" "$config" | jq -r '.rootfs.diff_ids[]')
  while IFS=$'\t' read -r id layer; do
    i=$((i + 1))
    grep -qxF "$id" <<<"$old" || mv "$WORK/changed/new/$layer" "$WORK/changed/$i.tar"
  done < <(jq -r --slurpfile c "$WORK/changed/new/$(jq -r '.[0].Config' "$WORK/changed/new/manifest.json")" \
    '[$c[0].rootfs.diff_ids, .[0].Layers] | transpose[] | @tsv' "$WORK/changed/new/manifest.json")
  rm -rf "$WORK/changed/new"
}

ship_whole() { # changed layers, zstd: to the other side's disk, unpacked
  local i
  for i in "$WORK"/changed/*.tar; do
    mkdir -p "$FAR/whole"
    # shellcheck disable=SC2086 # SSH is a command
    zstd -q -3 -c "$i" | tee >(wc -c >>"$WORK/whole.bytes") | $SSH "zstd -d -q -c | tar -C $FAR/whole -xf -" || return 1
  done
  sync -f "$FAR"
}
ship_docker() { # IMAGE
  # shellcheck disable=SC2086
  docker -H "$NEAR_DOCKER" save "$1" | gzip | tee >(wc -c >"$WORK/docker.bytes") | $SSH "docker -H $FAR_DOCKER load"
}

# What stands to be written to disk is nobody's time.
ship_timed() { sync -f "$FAR" && timed "$@"; }
ship_mine() { # IMAGE
  PATH=$SANDBOX/ssh/bin:$PATH stead ship "$1" --to "ssh://127.0.0.1:$SSH_PORT$FAR/run/stead.sock" --json
}

ship_pair() { # PAIR
  local dir=$SHIP_IMAGES/$1 name=ship-$1 bytes whole_us docker_us='' mine_us sent unpacked send receive written watch what none layers
  what=$(ship_what "$1")
  none=$(far_layers)
  timed stead load -i "$dir/old.tar" && timed stead load -i "$dir/new.tar" && timed far load -i "$dir/old.tar" || return 0
  ship_changed_layers "$dir"
  layers=$(far_layers)
  ship_timed ship_mine "$name:2" || return 0
  mine_us=$took
  sent=$(tail -n 1 "$WORK/out" | jq '.bytes_sent + .bytes_received')
  ship_forget "$layers" "$name:2"
  rm -f "$WORK/stop" "$WORK/whole.bytes"
  ship_watch "$WORK/stop" "$WORK/watched" &
  watch=$!
  timed ship_mine "$name:2" || { touch "$WORK/stop"; return 0; }
  touch "$WORK/stop"
  wait "$watch"
  read -r send receive written <"$WORK/watched"
  rm -rf --one-file-system "${FAR:?}/whole"
  ship_timed ship_whole || return 0
  whole_us=$took
  bytes=$(awk '{ n += $1 } END { print n }' "$WORK/whole.bytes")
  unpacked=$(du -s --block-size=1 "$FAR/whole" | cut -f1) # small files take whole blocks, whoever writes them
  if [[ -n ${FAR_DOCKER:-} ]]; then
    timed docker -H "$NEAR_DOCKER" load -i "$dir/new.tar" && timed docker -H "$FAR_DOCKER" load -i "$dir/old.tar" &&
      ship_timed ship_docker "$name:2" && docker_us=$took
  fi
  row "$what: wire" "$(kb "$sent")" "$([[ -z $docker_us ]] || kb "$(cat "$WORK/docker.bytes")")" "$(kb "$bytes")" "at most $(kb "$(ship_goal "$1")")" \
    "$(verdict at_most "$sent" "$(ship_goal "$1")")"
  [[ -z $docker_us ]] || row "$what: time, docker" "$(ms "$mine_us")" "$(ms "$docker_us")" "$(ratio "$docker_us" "$mine_us") x" \
    "$(case $1 in base | jre) echo - ;; *) echo "at least 20 x" ;; esac)" "$(case $1 in base | jre) echo - ;; *) verdict at_least "$(ratio "$docker_us" "$mine_us")" 20 ;; esac)"
  row "$what: time, layers whole" "$(ms "$mine_us")" "$(ms "$whole_us")" "$(ratio "$whole_us" "$mine_us") x" "never slower" "$(verdict at_least "$whole_us" "$mine_us")"
  row "$what: receiver, above idle" "$(mb "$receive")" "" "" "at most 16 MB" "$(verdict at_most "$receive" 16000)"
  row "$what: sender" "$(mb "$send")" "" "" "at most 128 MB" "$(verdict at_most "$send" 128000)"
  row "$what: written / new layers" "$(kb "$written")" "" "$(awk -v a="$written" -v b="$unpacked" 'BEGIN { printf "%.2f", a / b }')" "at most 1.1" "$(verdict at_most "$written" $((unpacked * 11 / 10)))"
  # Or the next pair would find its new layers there.
  ship_forget "$none" "$name:1" "$name:2"
  stead rmi "$name:1" "$name:2" >/dev/null
  [[ -z ${FAR_DOCKER:-} ]] || { docker -H "$NEAR_DOCKER" rmi "$name:2" && docker -H "$FAR_DOCKER" rmi "$name:1" "$name:2"; } >/dev/null
}

# 1 Mbit/s, 100 ms there and back. Both ends and the line are in a network namespace; where the kernel has no netem, a relay delays.
ship_slow() {
  local shape='' port ns="bench-$$" target
  # A packet of the loopback's usual size would not fit into the line.
  if ! ip netns add "$ns" || ! ip -n "$ns" link set lo mtu 1500 up; then
    broke "no network namespace"
    return 0
  fi
  if ip netns exec "$ns" tc qdisc add dev lo root netem delay 50ms rate 1mbit 2>/dev/null; then
    shape=netem
  elif ip netns exec "$ns" tc qdisc add dev lo root tbf rate 1mbit burst 4k latency 2s 2>/dev/null; then
    shape=tbf
  fi
  ship_sshd ip netns exec "$ns"
  port=$SSH_PORT
  if [[ $shape != netem ]]; then
    port=$((SSH_PORT + 1))
    ip netns exec "$ns" "$BENCH/ship-line" "127.0.0.1:$port" "127.0.0.1:$SSH_PORT" 50 "$([[ $shape ]] && echo 0 || echo 1000000)" >"$WORK/line.log" 2>&1 &
    SHIP_LINE=$!
    sleep 0.5
  fi
  target=ssh://127.0.0.1:$port$FAR/run/stead.sock
  timed far load -i "$SHIP_IMAGES/jar/old.tar" && timed stead load -i "$SHIP_IMAGES/jar/old.tar" && timed stead load -i "$SHIP_IMAGES/jar/new.tar" || true
  PATH=$SANDBOX/ssh/bin:$PATH timed ip netns exec "$ns" "$EXE" -H "unix://$SANDBOX/run/stead.sock" ship ship-jar:2 --to "$target" --json &&
    row "fat jar over 1 Mbit/s, 100 ms" "$(ms "$took")" "" "${shape:-relay}" "within 5 s" "$(verdict at_most "$took" 5000000)"
  [[ -z ${SHIP_LINE:-} ]] || kill "$SHIP_LINE" 2>/dev/null || true
  ship_sshd_stop
  ip netns delete "$ns"
}

ship() {
  local pair
  FAR=$SANDBOX-far
  mkdir -p "$SHIP_IMAGES"
  # shellcheck disable=SC2086 # several
  "$BENCH/ship-images" "$SHIP_IMAGES" $SHIP_PAIRS || { broke "bench/ship-images"; return 0; }
  sandbox_new "$FAR"
  if ! far_start || ! ship_sshd; then
    broke "no second box"
    return 0
  fi
  ship_docker_start || echo "bench: no docker here" >&2
  row "" stead docker "layers whole" target ""
  for pair in $SHIP_PAIRS; do
    ship_pair "$pair"
  done
  ship_docker_stop
  ship_sshd_stop
  [[ " $SHIP_PAIRS " != *" jar "* ]] || ship_slow
  kill "$(cat "$FAR/pid")" 2>/dev/null || true
}
