#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Networks: names, addresses, isolation, published ports.

load helpers

web='{ image: tiny, command: "httpd -f -p 80 -h /var/www" }'

@test "services find each other by service name, container name and alias" {
  compose <<END
services:
  web:
    image: tiny
    command: httpd -f -p 80 -h /var/www
    networks: { default: { aliases: [www.internal] } }
  client: { image: tiny }
END
  ok stead up -d
  local name
  for name in web "$PROJECT-web-1" www.internal; do
    within 20 inside client wget -q -O - "http://$name/"
  done
  ok inside client nslookup web
  says "127.0.0.11"
}

@test "a service's name gives all replicas, in changing order" {
  compose <<'END'
services:
  api: { image: tiny, command: "sh -c 'hostname > /var/www/index.html; exec httpd -f -p 80 -h /var/www'", scale: 3 }
  client: { image: tiny }
END
  ok stead up -d
  within 20 inside client wget -q -O - http://api/
  within 60 all_three
}

all_three() {
  ok inside client sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do wget -q -O - http://api/; done | sort | uniq | wc -l'
  is "$output" 3
}

@test "an unknown name does not resolve; a name without AAAA is empty, not unknown" {
  compose <<END
services:
  web: $web
  client: { image: tiny }
END
  ok stead up -d
  run inside client nslookup no-such-service.
  [ "$status" -ne 0 ]
  run inside client nslookup -type=aaaa web
  says_not "NXDOMAIN"
}

@test "two networks of a stack are closed to each other" {
  compose <<'END'
services:
  front: { image: tiny, networks: [a], command: "httpd -f -p 80 -h /var/www" }
  both: { image: tiny, networks: [a, b] }
  back: { image: tiny, networks: [b], command: "httpd -f -p 80 -h /var/www" }
networks: { a: {}, b: {} }
END
  ok stead up -d
  within 20 inside both timeout 10 wget -q -O - http://front/
  within 20 inside both timeout 10 wget -q -O - http://back/
  # Neither by name …
  run inside front timeout 2 wget -q -O - http://back/
  [ "$status" -ne 0 ]
  # … nor by address.
  local address
  address=$(inspect "$(container back)" ".NetworkSettings.Networks[\"${PROJECT}_b\"].IPAddress")
  [ -n "$address" ]
  run inside front timeout 2 wget -q -O - "http://$address/"
  [ "$status" -ne 0 ]
}

@test "two stacks are closed to each other" {
  mkdir -p one two
  (cd one && compose <<END && stead -p "$PROJECT" up -d
services: { web: $web }
END
  )
  (cd two && compose <<'END' && stead -p other up -d
services: { client: { image: tiny } }
END
  )
  local address
  address=$(inspect "$PROJECT-web-1" '.NetworkSettings.Networks[].IPAddress')
  run stead exec -T -p other client timeout 2 wget -q -O - "http://$address/"
  local result=$status
  ok stead -p other down
  [ "$result" -ne 0 ]
}

@test "internal: no way out, but inside names and connections work" {
  compose <<END
services:
  web:
    image: tiny
    command: httpd -f -p 80 -h /var/www
    networks: [closed]
  client: { image: tiny, networks: [closed] }
networks: { closed: { internal: true } }
END
  ok stead up -d
  within 20 inside client timeout 10 wget -q -O - http://web/
  ok inside client ip route
  says_not "default"
}

@test "an ordinary network has a default route" {
  compose <<'END'
services: { client: { image: tiny } }
END
  ok stead up -d
  ok inside client ip route
  says "default via"
}

@test "ipv4_address and a subnet of one's own" {
  compose <<'END'
services:
  web:
    image: tiny
    networks: { lan: { ipv4_address: 10.213.77.10 } }
networks:
  lan: { ipam: { config: [{ subnet: 10.213.77.0/24, gateway: 10.213.77.1 }] } }
END
  ok stead up -d
  ok inside web ip -4 addr show eth0
  says "10.213.77.10/24"
  ok inside web ip route
  says "default via 10.213.77.1"
}

@test "a published port is reached from the host, from another container and from outside" {
  local p outside
  p=$(port 1)
  compose <<END
services:
  web:
    image: tiny
    command: httpd -f -p 80 -h /var/www
    ports: ["$p:80"]
  other: { image: tiny, networks: [apart] }
networks: { apart: {}, default: {} }
END
  ok stead up -d
  # From the host itself, through loopback and through an address of its own.
  within 20 fetch "http://127.0.0.1:$p/"
  is "$(fetch "http://127.0.0.1:$p/")" "it works"
  outside_up
  is "$(fetch "http://$OUTSIDE_HOST:$p/")" "it works"
  # From a container on another network, by the host's address.
  ok inside other timeout 20 wget -q -O - "http://$OUTSIDE_HOST:$p/"
  is "$output" "it works"
  # From another machine.
  ok ip netns exec "$OUTSIDE_NS" curl -sS --max-time 20 "http://$OUTSIDE_HOST:$p/"
  is "$output" "it works"
  outside_down

  ok stead stop -t 0 web
  run fetch "http://127.0.0.1:$p/"
  [ "$status" -ne 0 ]
}

# A network namespace that plays another machine on the host's network.
outside_up() {
  outside_down
  OUTSIDE_NS=o-$NAME
  OUTSIDE_HOST=10.214.$((RANDOM % 250)).1
  ip netns add "$OUTSIDE_NS"
  ip link add "o0$NAME" type veth peer name "o1$NAME"
  ip link set "o1$NAME" netns "$OUTSIDE_NS"
  ip addr add "$OUTSIDE_HOST/24" dev "o0$NAME"
  ip link set "o0$NAME" up
  ip -n "$OUTSIDE_NS" addr add "${OUTSIDE_HOST%.*}.2/24" dev "o1$NAME"
  ip -n "$OUTSIDE_NS" link set "o1$NAME" up
  ip -n "$OUTSIDE_NS" link set lo up
  ip -n "$OUTSIDE_NS" route add default via "$OUTSIDE_HOST"
}
outside_down() {
  ip link delete "o0$NAME" 2>/dev/null || true
  ip netns delete "o-$NAME" 2>/dev/null || true
}
teardown_file() {
  local status=0
  . "$SANDBOX/env"
  outside_down
  sandbox_down || status=1
  sandbox_destroy "$SANDBOX"
  return "$status"
}

@test "what is not published cannot be reached from outside" {
  compose <<END
services:
  web: $web
END
  ok stead up -d
  local address
  address=$(inspect "$(container web)" '.NetworkSettings.Networks[].IPAddress')
  outside_up
  run ip netns exec "$OUTSIDE_NS" curl -sS --max-time 2 "http://$address/"
  outside_down
  [ "$status" -ne 0 ]
}

@test "a port published on 127.0.0.1 stays there" {
  local p
  p=$(port 2)
  compose <<END
services:
  web:
    image: tiny
    command: httpd -f -p 80 -h /var/www
    ports: ["127.0.0.1:$p:80"]
END
  ok stead up -d
  within 20 fetch "http://127.0.0.1:$p/"
  outside_up
  run ip netns exec "$OUTSIDE_NS" curl -sS --max-time 2 "http://$OUTSIDE_HOST:$p/"
  outside_down
  [ "$status" -ne 0 ]
}

published_server() { # PORT
  compose <<END
services:
  web: { image: tiny, command: [server], init: true, ports: ["127.0.0.1:$1:8080"] }
END
  ok stead up -d
  within 20 fetch "http://127.0.0.1:$1/data?size=1"
}

# A client that takes no more of its answer, so that data is left in the container's kernel; and says when it has come so far.
client_that_stops() { # PORT; in the background only
  exec python3 -c '
import socket, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"GET /data?size=100000000 HTTP/1.1\r\nHost: x\r\n\r\n")
s.recv(1)
open("stopped", "w")
time.sleep(600)' "$1"
}

@test "a slow client of the old container keeps nobody from the new one" {
  local p client i
  p=$(port 8)
  published_server "$p"
  client_that_stops "$p" 3>&- &
  client=$!
  within 20 test -e stopped
  ok stead restart -t 0
  within 20 fetch "http://127.0.0.1:$p/data?size=1"
  for i in {1..10}; do fetch "http://127.0.0.1:$p/data?size=1"; done
  ok stead down -t 0
  ok leftovers
  kill "$client"
}

# A client that asks at once and takes its answer when the file `take` is there; prints its length.
client_that_waits() { # PORT
  python3 -c '
import os, socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
s.settimeout(30)
s.connect(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"GET /data?size=20000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
while not os.path.exists("take"): time.sleep(0.05)
n = 0
while b := s.recv(65536): n += len(b)
print(n)' "$1"
}

@test "what a container has sent before its end still arrives" {
  local p client all
  p=$(port 9)
  published_server "$p"
  touch take
  all=$(client_that_waits "$p")
  [ "$all" -gt 20000 ]
  rm take
  client_that_waits "$p" >got 3>&- &
  client=$!
  # The kernel has more than half of it.
  within 20 inside web awk '$2 ~ /:1F90$/ && $5 ~ /^0000[3-9A-F]/ { waits = 1 } END { exit !waits }' /proc/net/tcp
  ok stead stop -t 0
  touch take
  wait "$client"
  is "$(cat got)" "$all"
}

# What "hello" is answered with, over a line that may lose it.
answers() { # TEXT COMMAND…
  local text=$1
  shift
  [[ $(echo -n hello | "$@") == *"$text"* ]]
}

@test "UDP, and both protocols on one number" {
  local p
  p=$(port 3)
  compose <<END
services:
  echo:
    image: tiny
    command: sh -c 'httpd -p 9000 -h /var/www; exec udp-echo 9000'
    ports: ["$p:9000/udp", "$p:9000/tcp"]
END
  ok stead up -d
  within 20 fetch "http://127.0.0.1:$p/"
  within 20 answers "said hello" nc -u -w 1 127.0.0.1 "$p"
}

@test "ranges of ports" {
  local p
  p=$(port 10)
  compose <<END
services:
  web:
    image: tiny
    command: sh -c 'httpd -p 8000 -h /var/www; httpd -p 8001 -h /var/www; exec httpd -f -p 8002 -h /var/www'
    ports: ["$p-$((p + 2)):8000-8002"]
END
  ok stead up -d
  local i
  for i in 0 1 2; do
    within 20 fetch "http://127.0.0.1:$((p + i))/"
  done
}

@test "a port without a host's number gets a free one; a range serves replicas" {
  local p
  p=$(port 20)
  compose <<END
services:
  web:
    image: tiny
    command: httpd -f -p 80 -h /var/www
    ports: ["80"]
  many:
    image: tiny
    command: httpd -f -p 80 -h /var/www
    ports: ["$p-$((p + 4)):80"]
    scale: 2
END
  ok stead up -d
  local free
  free=$(inspect "$(container web)" '.NetworkSettings.Ports["80/tcp"][0].HostPort')
  [ "$free" -gt 1023 ]
  within 20 fetch "http://127.0.0.1:$free/"
  local a b
  a=$(inspect "$(container many 1)" '.NetworkSettings.Ports["80/tcp"][0].HostPort')
  b=$(inspect "$(container many 2)" '.NetworkSettings.Ports["80/tcp"][0].HostPort')
  [ "$a" != "$b" ]
  within 20 fetch "http://127.0.0.1:$a/"
  within 20 fetch "http://127.0.0.1:$b/"
}

@test "the container sees the client's address, not the host's" {
  local p
  p=$(port 4)
  compose <<END
services:
  echo: { image: tiny, command: "udp-echo 7", ports: ["$p:7/udp"] }
END
  ok stead up -d
  outside_up
  within 20 answers "${OUTSIDE_HOST%.*}.2 said hello" ip netns exec "$OUTSIDE_NS" nc -u -w 1 "$OUTSIDE_HOST" "$p"
  outside_down
}

@test "a container reaches its own published port by the host's address" {
  local p
  p=$(port 5)
  compose <<END
services:
  web:
    image: tiny
    command: httpd -f -p 80 -h /var/www
    ports: ["$p:80"]
END
  ok stead up -d
  outside_up
  within 20 fetch "http://127.0.0.1:$p/"
  run inside web timeout 20 wget -q -O - "http://$OUTSIDE_HOST:$p/"
  outside_down
  is "$output" "it works"
}

@test "network_mode: none, host and service:" {
  local p
  p=$(port 6)
  compose <<END
services:
  alone: { image: tiny, network_mode: none }
  bare: { image: tiny, network_mode: host, command: "httpd -f -p 127.0.0.1:$p -h /var/www" }
  web: $web
  sidecar: { image: tiny, network_mode: "service:web" }
END
  ok stead up -d
  ok inside alone ip -o link
  is "$(wc -l <<<"$output")" 1
  within 20 fetch "http://127.0.0.1:$p/"
  within 20 inside sidecar wget -q -O - http://127.0.0.1/
}

@test "extra_hosts, dns and dns_search" {
  compose <<'END'
services:
  web:
    image: tiny
    extra_hosts: ["printer:10.1.2.3", "host.docker.internal:host-gateway"]
    dns: [10.99.99.99]
    dns_search: [example.org]
END
  ok stead up -d
  ok inside web cat /etc/hosts
  says "10.1.2.3"
  says "printer"
  says "host.docker.internal"
  says "$(id_of web | cut -c1-12)"
  ok inside web cat /etc/resolv.conf
  says "nameserver 127.0.0.11"
  says "search example.org"
}

@test "names of the outside are forwarded to the host's resolvers" {
  grep -q '^nameserver' /etc/resolv.conf || skip "this host has no resolver"
  local name
  name=$(sed -nE 's#^(URIs:|deb(-src)? (\[.*\] )?) *https?://([^/ ]+).*#\4#p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1)
  getent hosts "${name:=deb.debian.org}" >/dev/null || skip "this host cannot resolve $name"
  compose <<'END'
services: { client: { image: tiny } }
END
  ok stead up -d
  within 20 inside client nslookup "$name"
}

@test "an external network is used, not made and not removed" {
  compose first.yaml <<'END'
services: { web: { image: tiny, command: "httpd -f -p 80 -h /var/www" } }
networks: { default: { name: shared-net } }
END
  compose <<'END'
services: { client: { image: tiny } }
networks: { default: { name: shared-net, external: true } }
END
  fails 2 stead up -d
  says "shared-net"
  says "compose.yaml:2"
  ok stead -p provider -f first.yaml up -d
  ok stead up -d
  within 20 inside client wget -q -O - http://web/
  ok stead down
  ok api GET /networks/shared-net -f -o /dev/null
  ok stead -p provider -f first.yaml down
}

@test "subnets avoid the host's routes and each other" {
  compose <<'END'
services:
  a: { image: tiny, networks: [n1, n2, n3] }
networks: { n1: {}, n2: {}, n3: {} }
END
  ok stead up -d
  ok inside a ip -o -4 addr
  is "$(grep -c ' eth' <<<"$output")" 3
  # No two bridges and no route of the host overlap: the kernel would list the same subnet twice.
  is "$(ip -4 route | awk '/scope link/ { print $1 }' | sort | uniq -d)" ""
}

@test "sysctls of the network reach the namespace" {
  compose <<'END'
services:
  web: { image: tiny, sysctls: { net.core.somaxconn: 321 } }
END
  ok stead up -d
  is "$(inside web cat /proc/sys/net/core/somaxconn)" 321
}
