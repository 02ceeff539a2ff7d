// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The container's end of its resolver: sockets inside its namespace for 127.0.0.11, port 53. An image may
 * serve DNS itself and bind port 53 of all addresses (Pi-hole, dnsmasq, BIND), so our sockets are bound to
 * another port, and packets are led there and back by rules in the namespace, as Docker does. Unlike Docker's
 * these rewrite the port of each packet as it is sent (all of it is on lo), without address translation: so
 * no connection tracking is switched on in the namespace, which would slow down all the container's traffic.
 */

#include "base/err.h"

/** Opens the sockets (bound; TCP listens) and loads the rules; both are the caller's. Repeatable: older rules
 * are replaced. About 0.3 ms. */
int resolver_open(int netns_fd, int *ret_udp, int *ret_tcp, Err *err);
