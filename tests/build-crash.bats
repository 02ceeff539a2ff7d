#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# kill -9 at any moment of a build: of the daemon, the worker, the client. Store and cache are usable afterwards, and the same files make the same image.
# The seed is printed; STEAD_TEST_SEED=N does the same once more.

load helpers

nothing_builds() { [[ -z $(find "$SANDBOX/run/containers" "$SANDBOX/run/netns" -mindepth 1 -maxdepth 1) ]]; }
workers() { pgrep -f "stead-worker [a-z-]+ $SANDBOX/state"; }
no_worker() { ! workers; }

# All layers have their side files, and nothing is under way.
store_is_whole() {
  local bad=0 path
  for path in "$SANDBOX"/state/layers/*; do
    [[ -d $path || -d ${path%.*} ]] || { echo "$path without its directory"; bad=1; }
    [[ ! -d $path || -e $path.json ]] || { echo "$path without its side file"; bad=1; }
  done
  [[ -z $(find "$SANDBOX/state/tmp" -mindepth 1 ! -name lock) ]] || { find "$SANDBOX/state/tmp"; bad=1; }
  return "$bad"
}

# The files of an image, as one sees them in a container. Times of what a step makes differ, and are not looked at.
files() { # IMAGE
  local lower=''
  lower=$(stead inspect "$1" | jq -r '.[0].RootFS.Layers | reverse[] | .[7:39]' | sed "s|^|$SANDBOX/state/layers/|" | paste -sd:)
  mkdir -p "$SANDBOX/merged"
  mount -t overlay overlay -o "ro,lowerdir=$lower:$SANDBOX/merged" "$SANDBOX/merged" || return 1
  (cd "$SANDBOX/merged" && find . -printf '%y %m %U:%G %s %p %l\n' | awk '$1 != "d" || $4 = "-"' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum)
  umount "$SANDBOX/merged"
}

project() { # ROUND
  mkdir -p src/sub
  echo "$1" >src/changing
  [[ -e src/large ]] || head -c 3000000 /dev/urandom >src/large
  [[ -e src/sub/a ]] || touch src/sub/{a,b,c}
  tar -C src -czf archive.tar.gz sub changing
  cat >Dockerfile <<END
FROM tiny AS one
COPY src /one
RUN usleep 50000; cp /one/large /one/copy; echo $1 >/one/round
FROM tiny AS two
ADD archive.tar.gz /two/
RUN --mount=type=cache,target=/cache usleep 30000; echo $1 >>/cache/rounds; rm /two/sub/b; echo $1 >/two/round
FROM tiny
WORKDIR /app
COPY --from=one /one ./one
COPY --from=two /two ./two
RUN usleep 30000; cat one/round two/round >both
END
}

victim() { # NAME: its pid
  case $1 in
    daemon) daemon_pid ;;
    client) echo "$client" ;;
    worker) workers | head -n 1 ;;
  esac
}

@test "kill -9 of daemon, worker or client at any moment of a build" {
  local seed=${STEAD_TEST_SEED:-$RANDOM} round who delay pid victims=(daemon worker client) hits=0 begin span most
  echo "seed $seed"
  RANDOM=$seed
  # How long one takes here, when all but what changes is known.
  for round in first second; do
    project "$round"
    begin=$(date +%s%3N)
    ok stead build -t "built:$PROJECT" .
    span=$(($(date +%s%3N) - begin))
  done
  most=$span
  for round in $(seq 20); do
    project "$round"
    who=${victims[RANDOM % 3]}
    delay=$((RANDOM % span))
    delay=$((delay / 1000)).$(printf %03d $((delay % 1000)))
    "$STEAD_EXE" -H "unix://$SOCK" build -t "built:$PROJECT" . >build.log 2>&1 </dev/null 3>&- 4>&- &
    client=$!
    sleep "$delay"
    pid=$(victim "$who")
    [[ -z $pid ]] || kill -KILL "$pid" 2>/dev/null || true
    # What comes too late, as the machine had other things to do while this was measured, comes sooner the next time.
    if wait "$client"; then
      span=$((span * 2 / 3 + 1))
    else
      hits=$((hits + 1))
      span=$((span * 5 / 4 < most ? span * 5 / 4 + 1 : most))
    fi
    echo "round $round: $who after $delay s: $(tail -n 1 build.log)"
    if [[ $who == daemon ]]; then
      within 20 daemon_gone
      daemon_start
    fi
    within 30 nothing_builds
    within 30 no_worker
    ok leftovers
    within 30 store_is_whole
    ok stead build -t "built:$PROJECT" .
    ok stead save -o saved.tar "built:$PROJECT" # compares each layer with its digest
    ok stead build --no-cache -t "fresh:$PROJECT" .
    files "built:$PROJECT" >built
    files "fresh:$PROJECT" >fresh
    grep -q ./app/both built
    diff fresh built
  done
  [[ $hits -gt 3 ]] # the rest was too late
  ok stead rmi "built:$PROJECT" "fresh:$PROJECT"
  ok stead image prune -f
  within 30 store_is_whole
}
