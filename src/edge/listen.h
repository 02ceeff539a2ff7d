// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The public sockets: bound by the daemon, handed to HAProxy as descriptors. "ADDR:PORT" gives one socket, ":PORT" one of IPv4 and one of IPv6
 * (where the kernel has IPv6), each for its family alone, so that a client's IPv4 address looks like one.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

typedef struct ListenAddress {
	struct sockaddr_in v4;  /* sin_family 0 = none */
	struct sockaddr_in6 v6; /* sin6_family 0 = none */
} ListenAddress;

/** "off" gives none. -EINVAL. */
int listen_parse(const char *s, ListenAddress *ret);
uint16_t listen_port(const ListenAddress *a);

/**
 * Binds and listens. -EADDRINUSE: the text names who holds the port, where /proc says so, and what to do; `option` is the daemon's option to change.
 */
int listen_open(const struct sockaddr *a, socklen_t n, const char *option, int *ret_fd, Err *err);
/** Our own duplicate of a listening socket of another process, if descriptor `fd` of it is one on that address; pidfd_getfd(2). -errno otherwise. */
int listen_take(int pidfd, int fd, const struct sockaddr *a, socklen_t n, int *ret_fd);
bool listen_held_by(uint16_t port, pid_t pid);
