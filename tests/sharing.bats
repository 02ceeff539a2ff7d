#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Containers that use the namespaces of others: network_mode, ipc and pid with service:NAME.

load helpers

@test "who shares a network has its addresses and its names" {
  compose <<'END'
services:
  db: { image: tiny, hostname: dbhost }
  side: { image: tiny, network_mode: "service:db" }
  web: { image: tiny, command: [httpd, -f, -p, "80", -h, /etc] }
END
  ok stead up -d
  is "$(inside side hostname)" dbhost
  is "$(inside side cat /etc/hosts)" "$(inside db cat /etc/hosts)"
  is "$(inside side ip -o -4 addr)" "$(inside db ip -o -4 addr)"
  within 20 inside side nslookup web
}

@test "a shared network stays while its owner is stopped, and ends with the last" {
  compose <<'END'
services:
  db: { image: tiny, init: true, ports: ["PORT:80"], command: [sh, -c, "httpd -p 80 -h /etc; exec sleep 1000"] }
  side: { image: tiny, init: true, network_mode: "service:db" }
END
  sed -i "s/PORT/$(port 1)/" compose.yaml
  ok stead up -d
  ok stead restart db
  is "$(inside db readlink /proc/self/ns/net)" "$(inside side readlink /proc/self/ns/net)"
  local ns
  ns=$(inside side readlink /proc/self/ns/net)
  ok stead stop db
  ok stead start db
  is "$(inside db readlink /proc/self/ns/net)" "$ns"
  within 20 curl -fsS -m 10 "http://127.0.0.1:$(port 1)/hostname"
  ok stead stop db
  ok stead stop side
  ok stead start
  [ "$(inside db readlink /proc/self/ns/net)" = "$(inside side readlink /proc/self/ns/net)" ]
}

@test "a shared ipc has one /dev/shm" {
  compose <<'END'
services:
  a: { image: tiny, shm_size: 3m }
  b: { image: tiny, ipc: "service:a" }
END
  ok stead up -d
  ok inside b sh -c 'echo shared >/dev/shm/x'
  is "$(inside a cat /dev/shm/x)" shared
  is "$(inside a readlink /proc/self/ns/ipc)" "$(inside b readlink /proc/self/ns/ipc)"
  ok inside a sh -c 'mount | grep -q "/dev/shm .*size=3072k"'
}

@test "the host's network comes with the host's name" {
  compose <<'END'
services:
  a: { image: tiny, network_mode: host }
END
  ok stead up -d
  is "$(inside a hostname)" "$(hostname)"
}
