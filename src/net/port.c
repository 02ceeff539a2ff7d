// SPDX-License-Identifier: Apache-2.0

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/network.h"

/* Nothing is ever read from a held UDP socket: packets that reach it (none, once the rules are in) are to
 * cost no memory. */
static void shrink(int fd)
{
	static const int least = 1;

	(void) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least));
}

static socklen_t make_sockaddr(const Addr *ip, uint16_t port, struct sockaddr_storage *ss)
{
	struct sockaddr_in *sin = (void *) ss;
	struct sockaddr_in6 *sin6 = (void *) ss;

	memset(ss, 0, sizeof(*ss));
	if (ip && ip->family == AF_INET6) {
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(port);
		memcpy(&sin6->sin6_addr, ip->bytes, 16);
		return sizeof(*sin6);
	}
	sin->sin_family = AF_INET;
	sin->sin_port = htons(port);
	if (ip && ip->family)
		memcpy(&sin->sin_addr, ip->bytes, 4);
	return sizeof(*sin);
}

static int port_error(int code, const char *protocol, const char *ip, uint16_t port, Err *err)
{
	if (code == -EADDRINUSE)
		return err_set(err, code,
			"port %u/%s%s%s is already taken on this host; stop what uses it (see: ss -lnp) or "
			"publish another port",
			port, protocol, *ip ? " on " : "", ip);
	if (code == -EADDRNOTAVAIL)
		return err_set(err, code, "this host has no address %s to publish port %u/%s on", ip, port,
			protocol);
	return err_errno(err, code, "take port %u/%s", port, protocol);
}

/*
 * Bound without SO_REUSEADDR the port is nobody else's, be it another daemon's bound socket. But then
 * connections that linger in TIME_WAIT are in the way as well, which they should not be: only in that case a
 * second try goes by the weaker rule (nobody listens).
 */
static int bind_alone(int fd, int type, const struct sockaddr_storage *ss, socklen_t n)
{
	static const int on = 1;

	if (bind(fd, (const void *) ss, n) == 0)
		return 0;
	if (errno != EADDRINUSE || type != SOCK_STREAM)
		return -errno;
	(void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return bind(fd, (const void *) ss, n) < 0 ? -errno : 0;
}

int net_port_hold(const char *protocol, const Addr *ip, uint16_t port, int *ret_fd, Err *err)
{
	static const int on = 1;
	int type = str_eq(protocol, "udp") ? SOCK_DGRAM : SOCK_STREAM;
	struct sockaddr_storage ss;
	socklen_t n = make_sockaddr(ip, port, &ss);
	AUTO_CLOSE int fd = socket(ss.ss_family, type | SOCK_CLOEXEC, 0);
	char text[ADDR_TEXT_MAX] = "";
	int r;

	if (fd < 0)
		return err_errno(err, -errno, "open a socket");
	if (ss.ss_family == AF_INET6)
		(void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	shrink(fd);
	r = bind_alone(fd, type, &ss, n);
	if (r < 0) {
		if (ip && !addr_is_any(ip))
			(void) addr_text(ip, text);
		return port_error(r, protocol, text, port, err);
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int bound_port(int fd, uint16_t *ret)
{
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);

	if (getsockname(fd, (void *) &ss, &n) < 0)
		return -errno;
	/* The port is at the same place in both families. */
	*ret = ntohs(((struct sockaddr_in *) &ss)->sin_port);
	return 0;
}

int net_port_choose(const char *protocol, const Addr *ip, uint16_t first, uint16_t last, uint16_t *ret_port,
	int *ret_fd, Err *err)
{
	int fd = -1, r;

	if (!first) {
		r = net_port_hold(protocol, ip, 0, &fd, err);
		if (r == 0)
			r = bound_port(fd, ret_port);
		if (r == 0)
			*ret_fd = fd;
		return r;
	}
	for (uint32_t p = first; p <= last; p++) {
		r = net_port_hold(protocol, ip, (uint16_t) p, ret_fd, err);
		if (r == 0)
			*ret_port = (uint16_t) p;
		if (r != -EADDRINUSE)
			return r;
	}
	return err_set(err, -EADDRINUSE,
		"all ports from %u to %u/%s are already taken on this host; publish another range", first,
		last, protocol);
}
