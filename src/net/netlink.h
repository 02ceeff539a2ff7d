// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A netlink socket (netlink(7), rtnetlink(7)) with requests in batches: several messages go out in one system
 * call, and the kernel's answer to each is awaited. The kernel works on them while it takes them in, so
 * nothing here blocks on the outside.
 */

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define NETLINK_BATCH_MAX 24     /* answers awaited by one batch; our own code, so beyond is a bug */
#define NETLINK_MESSAGE_MAX 4096 /* bytes of one message; likewise */

typedef struct Netlink {
	int fd; /* -1 = closed */
	uint32_t seq;
	char *buf;
	size_t used, size;
	bool open;       /* the last message still grows */
	uint32_t silent; /* sequence number of the first message without answer; 0 = none */
	unsigned n;      /* answers to come */
	struct {
		uint32_t seq;
		int tolerate;     /* negative errno that counts as success, or 0 */
		const char *what; /* for the error's text */
	} sent[NETLINK_BATCH_MAX];
} Netlink;

/** Opens `protocol` (NETLINK_ROUTE, …) in the namespace `netns_fd`, or in ours when that is -1. */
int netlink_open(Netlink *nl, int protocol, int netns_fd, Err *err);
void netlink_close(Netlink *nl);
/** Index of an interface in the socket's namespace, 0 = there is none. Also while another thread uses the socket. */
int netlink_ifindex(const Netlink *nl, const char *ifname);

/**
 * Begins a message with an extra header of `n` bytes, which is copied from `extra`. `what` (a literal) names
 * it in errors; `tolerate`: a negative errno that is no failure, or 0. Attributes follow with mnl_attr_put_*.
 */
struct nlmsghdr *netlink_add(Netlink *nl, uint16_t type, uint16_t flags, const void *extra, size_t n,
	const char *what, int tolerate);
/** As netlink_add for a message without answer (batch marks of nfnetlink). */
struct nlmsghdr *netlink_add_silent(Netlink *nl, uint16_t type, uint16_t flags, const void *extra, size_t n);
/** Sends all, awaits all answers; the first failure's code and text. The batch is empty then. */
int netlink_commit(Netlink *nl, Err *err);
/** As netlink_commit, for requests that are answered with data: each message is given to `each`. */
int netlink_query(Netlink *nl, void (*each)(void *user, const struct nlmsghdr *m), void *user, Err *err);
/** Sends one dump request (NLM_F_DUMP added) and gives each message of the answer to `each`. */
int netlink_dump(Netlink *nl, uint16_t type, const void *extra, size_t n,
	void (*each)(void *user, const struct nlmsghdr *m), void *user, Err *err);
