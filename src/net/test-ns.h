// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * For tests that need the kernel: a network and mount namespace of the test's own stands for "the host".
 * Without root the test is skipped (77).
 */

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/addr.h"
#include "net/netns.h"

#define WAIT_MS 60000  /* for what must come */
#define NOTHING_MS 150 /* for what must not come */
#define RESEND_MS 500

static char test_run_dir[] = "/tmp/stead-test-net-XXXXXX";

static inline void test_loopback_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM, 0);

	(void) ioctl(fd, SIOCSIFFLAGS, &ifr);
}

static pid_t test_owner;

/* What is mounted goes with the mount namespace, the empty directory would stay. */
static void test_remove_run_dir(void)
{
	if (getpid() != test_owner)
		return;
	(void) umount2(test_run_dir, MNT_DETACH);
	(void) rmdir(test_run_dir);
}

/* In main before anything else; ends the process where it cannot be done. */
static void test_enter_namespaces(void)
{
	AUTO_ERR err = ERR_INIT;

	if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0) {
		printf("skipped: needs root, to make network namespaces (%m)\n");
		exit(77);
	}
	if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("sysfs", "/sys", "sysfs", 0, NULL) < 0 || !mkdtemp(test_run_dir) ||
		mount("test", test_run_dir, "tmpfs", 0, "size=16m") < 0 ||
		netns_setup(test_run_dir, &err) < 0) {
		printf("cannot prepare: %m %s\n", err_text(&err));
		exit(99);
	}
	test_owner = getpid();
	(void) atexit(test_remove_run_dir);
	test_loopback_up();
}

static inline Addr test_addr(const char *text)
{
	Addr a = { 0 };

	if (addr_parse_cidr(text, &a) < 0 && addr_parse(text, &a) < 0) {
		printf("bad address in test: %s\n", text);
		exit(99);
	}
	return a;
}

static inline struct sockaddr_in test_sockaddr(const char *ip, uint16_t port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port) };

	inet_pton(AF_INET, ip, &sin.sin_addr);
	return sin;
}

/* A socket in namespace `ns` (-1: the host's), bound to ip:port. TCP ones listen. */
static inline int test_server(int ns, int type, const char *ip, uint16_t port)
{
	struct sockaddr_in sin = test_sockaddr(ip, port);
	int fd = -1, on = 1;

	if (ns < 0)
		fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	else
		(void) netns_socket(ns, AF_INET, type, 0, &fd, NULL);
	if (type == SOCK_STREAM)
		(void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (void *) &sin, sizeof(sin)) < 0 ||
		(type == SOCK_STREAM && listen(fd, 8) < 0)) {
		printf("cannot serve %s:%u: %m\n", ip, port);
		exit(99);
	}
	return fd;
}

static inline bool test_readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

/*
 * A datagram from namespace `from` to ip:port arrives at `server`, and the answer comes back. `ret_peer` (may
 * be NULL) gets the address that the server saw. It is sent again each RESEND_MS: the first one may meet an interface
 * that the kernel has not quite brought up yet.
 */
static inline bool test_udp(
	int from, const char *ip, uint16_t port, int server, int ms, char ret_peer[INET_ADDRSTRLEN])
{
	struct sockaddr_in to = test_sockaddr(ip, port), peer;
	AUTO_CLOSE int fd = -1;
	char byte;

	if (from < 0)
		fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	else
		(void) netns_socket(from, AF_INET, SOCK_DGRAM, 0, &fd, NULL);
	if (connect(fd, (void *) &to, sizeof(to)) < 0)
		return false;
	for (; ms > 0; ms -= RESEND_MS) {
		int wait = ms < RESEND_MS ? ms : RESEND_MS;
		socklen_t n = sizeof(peer);

		if (send(fd, "?", 1, 0) != 1 || !test_readable(server, wait) ||
			recvfrom(server, &byte, 1, 0, (void *) &peer, &n) != 1)
			continue;
		if (ret_peer)
			inet_ntop(AF_INET, &peer.sin_addr, ret_peer, INET_ADDRSTRLEN);
		if (sendto(server, "!", 1, 0, (void *) &peer, n) == 1 && test_readable(fd, wait) && recv(fd, &byte, 1, 0) == 1)
			return byte == '!';
	}
	return false;
}

/* A TCP connection from `from` to ip:port arrives at `server` and carries a byte each way. */
static inline bool test_tcp(int from, const char *ip, uint16_t port, int server, int ms)
{
	struct sockaddr_in to = test_sockaddr(ip, port);
	AUTO_CLOSE int fd = -1;
	AUTO_CLOSE int conn = -1;
	char byte = 0;

	while (test_readable(server, 0)) { /* of an earlier try, which did not wait for it */
		conn = accept4(server, NULL, NULL, SOCK_CLOEXEC);
		(void) close(steal_fd(&conn));
	}
	if (from < 0)
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	else
		(void) netns_socket(from, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0, &fd, NULL);
	if (connect(fd, (void *) &to, sizeof(to)) < 0 && errno != EINPROGRESS)
		return false;
	if (!test_readable(server, ms))
		return false;
	conn = accept4(server, NULL, NULL, SOCK_CLOEXEC);
	if (conn < 0 || send(conn, "!", 1, 0) != 1 || !test_readable(fd, ms) || recv(fd, &byte, 1, 0) != 1)
		return false;
	return send(fd, &byte, 1, 0) == 1 && test_readable(conn, ms) && recv(conn, &byte, 1, 0) == 1 &&
	       byte == '!';
}
