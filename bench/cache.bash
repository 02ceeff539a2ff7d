# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Cached objects through the edge beside an nginx of its own that caches the same service, in alternating rounds, over HTTP and HTTPS.
# Both have one process or thread for each processor; the client (wrk) shares the machine with them.
#
#   BENCH_CACHE_ROUNDS=5 of BENCH_CACHE_SECONDS=3 each; BENCH_CACHE_CONNECTIONS=50

BENCH_CACHE_ROUNDS=${BENCH_CACHE_ROUNDS:-5} BENCH_CACHE_SECONDS=${BENCH_CACHE_SECONDS:-3}
BENCH_CACHE_CONNECTIONS=${BENCH_CACHE_CONNECTIONS:-50}

cache_nginx_config() { # DIRECTORY PORT SERVICE-ADDRESS
  cat <<END
worker_processes auto; pid $1/pid; error_log $1/error.log;
events { worker_connections 4096; }
http {
  access_log off; sendfile on; keepalive_requests 1000000000;
  client_body_temp_path $1/b; proxy_temp_path $1/p; fastcgi_temp_path $1/f; uwsgi_temp_path $1/u; scgi_temp_path $1/s;
  proxy_cache_path $1/cache levels=1:2 keys_zone=c:4m max_size=64m use_temp_path=off;
  server {
    listen 127.0.0.1:$2; listen 127.0.0.1:$(($2 + 1)) ssl http2;
    ssl_certificate $1/cert.pem; ssl_certificate_key $1/key.pem; ssl_protocols TLSv1.2 TLSv1.3;
    location / { proxy_pass http://$3; proxy_cache c; proxy_cache_valid 1h; add_header X-Cache \$upstream_cache_status; }
  }
}
END
}

cache_nginx_start() { # PORT SERVICE-ADDRESS
  local dir=$WORK/cache-nginx
  mkdir -p "$dir"
  # Where the edge has its own: in memory.
  mount -t tmpfs -o mode=755 tmpfs "$dir" || return 1
  timed openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=cache.test -keyout "$dir/key.pem" -out "$dir/cert.pem" || return 1
  cache_nginx_config "$dir" "$1" "$2" >"$dir/conf"
  timed nginx -p "$dir" -e "$dir/error.log" -c "$dir/conf"
}
cache_nginx_stop() {
  local dir=$WORK/cache-nginx i
  [[ ! -s $dir/pid ]] || kill "$(cat "$dir/pid")" 2>/dev/null || true
  for ((i = 0; i < 50; i++)); do
    [[ -s $dir/pid ]] || break
    sleep 0.1
  done
  umount -l "$dir" 2>/dev/null || true
}

# Requests a second; anything but an answer with status 200 is a failure.
cache_rate() { # URL
  wrk -t 1 -c "$BENCH_CACHE_CONNECTIONS" -d "$BENCH_CACHE_SECONDS" "$1" >"$WORK/wrk" 2>&1 || { broke "wrk $1"; return 1; }
  ! grep -E 'Non-2xx|Socket errors' "$WORK/wrk" >&2 || broke "errors at $1"
  awk '/^Requests\/sec/ { printf "%d\n", $2 }' "$WORK/wrk"
}

cache_pair() { # WHAT EDGE-URL NGINX-URL
  local i edge=() nginx=() e n
  for i in 1 2 3; do
    curl -sk -o "$WORK/out" "$2"
    curl -sk -o "$WORK/out" "$3"
  done
  is_hit() { curl -skD - -o "$WORK/out" "$1" | grep -qi '^x-cache: hit'; }
  is_hit "$2" && is_hit "$3" || { broke "$1 is not cached"; return 1; }
  for ((i = 0; i < BENCH_CACHE_ROUNDS; i++)); do
    edge+=("$(cache_rate "$2")") nginx+=("$(cache_rate "$3")")
  done
  e=$(median "${edge[@]}") n=$(median "${nginx[@]}")
  row "$1" "$e r/s" "$n r/s" "$(awk -v a="$e" -v b="$n" 'BEGIN { printf "%.2f", a / b }')" "${4:-}" \
    "$([[ -z ${4:-} ]] || verdict awk -v a="$e" -v b="$n" 'BEGIN { exit !(a >= 0.9 * b) }')"
}

cache() {
  local edge nginx address
  command -v wrk >/dev/null && command -v nginx >/dev/null || { row "cached objects" - - - "" "no wrk or no nginx here"; return 0; }
  mkdir -p "$WORK/cached"
  cd "$WORK/cached"
  cat >compose.yaml <<'END'
services:
  web: { image: tiny, command: [server], init: true, expose: [8080], x-stead: { routes: [{ host: 127.0.0.1, cache: 1h, tls: off }, { cache: 1h }] } }
END
  timed stead up -d --wait || return 0
  address=$(curl -sS --unix-socket "$SANDBOX/run/stead.sock" http://stead/v1.41/containers/cached-web-1/json | jq -r '.NetworkSettings.Networks[].IPAddress')
  edge=$(edge_port 0) nginx=$(($(edge_port 0) + 2))
  if cache_nginx_start "$nginx" "$address:8080"; then
    row "" stead nginx ratio target ""
    cache_pair "cached 100 KB" "http://127.0.0.1:$edge/data?size=102400" "http://127.0.0.1:$nginx/data?size=102400" "at least 0.90" || true
    cache_pair "cached 100 KB, TLS" "https://127.0.0.1:$((edge + 1))/data?size=102400" "https://127.0.0.1:$((nginx + 1))/data?size=102400" "at least 0.90" || true
    cache_pair "cached 1 KB" "http://127.0.0.1:$edge/data?size=1024" "http://127.0.0.1:$nginx/data?size=1024" || true
    cache_pair "cached 1 MB" "http://127.0.0.1:$edge/data?size=1048576" "http://127.0.0.1:$nginx/data?size=1048576" || true
  fi
  cache_nginx_stop
  timed stead down -v || true
  cd "$TOP"
}
