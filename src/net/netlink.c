// SPDX-License-Identifier: Apache-2.0

/*
 * A batch is built in one buffer: netlink_add closes the message before it by its length, so attributes can
 * be put with libmnl's plain functions. The answers come in order of the requests; those that belong to an
 * older, failed call are skipped by their sequence number. For rtnetlink the kernel goes on with the next
 * message after an error, for nfnetlink a batch is taken back whole: in both cases the first error is the one
 * to report.
 */

#include "net/netlink.h"

#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/netns.h"

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

#define DUMP_MAX 32768  /* what the kernel puts into one datagram of a dump at most */
#define ANSWER_MAX 8192 /* one answer; an interface's description takes some 2 KiB */

static int socket_open(int netns_fd, int protocol, Err *err)
{
	int fd, r;

	if (netns_fd >= 0) {
		r = netns_socket(netns_fd, AF_NETLINK, SOCK_RAW, protocol, &fd, err);
		return r < 0 ? r : fd;
	}
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	return fd < 0 ? err_errno(err, -errno, "open a netlink socket") : fd;
}

int netlink_open(Netlink *nl, int protocol, int netns_fd, Err *err)
{
	static const int on = 1;
	/* An answer that never comes would be a kernel bug; better an error than a daemon that hangs. */
	static const struct timeval patience = { .tv_sec = 5 };

	*nl = (Netlink){ .fd = socket_open(netns_fd, protocol, err) };
	if (nl->fd < 0) {
		int r = nl->fd;

		nl->fd = -1;
		return r;
	}
	(void) setsockopt(nl->fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	(void) setsockopt(nl->fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	(void) setsockopt(nl->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	nl->seq = (uint32_t) time(NULL);
	return 0;
}

void netlink_close(Netlink *nl)
{
	if (nl->fd >= 0)
		close(nl->fd);
	free(nl->buf);
	*nl = (Netlink){ .fd = -1 };
}

/* By ioctl(2) on the socket: it answers from the namespace that the socket is in. */
int netlink_ifindex(const Netlink *nl, const char *ifname)
{
	struct ifreq ifr = { 0 };

	memcpy(ifr.ifr_name, ifname, strnlen(ifname, IFNAMSIZ - 1));
	return ioctl(nl->fd, SIOCGIFINDEX, &ifr) < 0 ? 0 : ifr.ifr_ifindex;
}

/* The length of the last message is known only when the next one begins. */
static void close_message(Netlink *nl)
{
	if (nl->open) {
		const struct nlmsghdr *m = (void *) (nl->buf + nl->used);

		assert(m->nlmsg_len <= NETLINK_MESSAGE_MAX);
		nl->used += MNL_ALIGN(m->nlmsg_len);
		nl->open = false;
	}
}

static struct nlmsghdr *add(Netlink *nl, uint16_t type, uint16_t flags, const void *extra, size_t n)
{
	struct nlmsghdr *m;

	close_message(nl);
	/* A pointer into the buffer is handed out, so it grows only between messages. */
	if (nl->size - nl->used < NETLINK_MESSAGE_MAX) {
		nl->size = nl->size ? nl->size * 2 : NETLINK_MESSAGE_MAX;
		nl->buf = xreallocarray(nl->buf, nl->size, 1);
	}
	m = mnl_nlmsg_put_header(nl->buf + nl->used);
	m->nlmsg_type = type;
	m->nlmsg_flags = NLM_F_REQUEST | flags;
	m->nlmsg_seq = ++nl->seq;
	nl->open = true;
	if (n)
		memcpy(mnl_nlmsg_put_extra_header(m, n), extra, n);
	return m;
}

struct nlmsghdr *netlink_add(Netlink *nl, uint16_t type, uint16_t flags, const void *extra, size_t n,
	const char *what, int tolerate)
{
	struct nlmsghdr *m = add(nl, type, flags | NLM_F_ACK, extra, n);

	assert(nl->n < NETLINK_BATCH_MAX);
	nl->sent[nl->n].what = what;
	nl->sent[nl->n].tolerate = tolerate;
	nl->sent[nl->n].seq = m->nlmsg_seq;
	nl->n++;
	return m;
}

struct nlmsghdr *netlink_add_silent(Netlink *nl, uint16_t type, uint16_t flags, const void *extra, size_t n)
{
	struct nlmsghdr *m = add(nl, type, flags, extra, n);

	if (!nl->silent)
		nl->silent = m->nlmsg_seq;
	return m;
}

static void discard(Netlink *nl)
{
	nl->used = 0;
	nl->open = false;
	nl->n = 0;
	nl->silent = 0;
}

static int receive(Netlink *nl, char *buf, size_t size, Err *err)
{
	ssize_t n;

	do
		n = recv(nl->fd, buf, size, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? err_errno(err, -errno, "receive from netlink") : (int) n;
}

static int send_all(Netlink *nl, Err *err)
{
	static const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	close_message(nl);
	if (sendto(nl->fd, nl->buf, nl->used, 0, (const void *) &kernel, sizeof(kernel)) < 0)
		return err_errno(err, -errno, "send to netlink");
	return 0;
}

static int find_text(const struct nlattr *a, void *user)
{
	if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
		*(const char **) user = mnl_attr_get_str(a);
	return MNL_CB_OK;
}

/* The kernel's own words (NETLINK_EXT_ACK), or NULL. With NETLINK_CAP_ACK the request is cut to its header.
 */
static const char *kernel_text(const struct nlmsghdr *m)
{
	const char *text = NULL;

	if (m->nlmsg_flags & NLM_F_ACK_TLVS)
		(void) mnl_attr_parse(m, sizeof(struct nlmsgerr), find_text, &text);
	return text;
}

static int report(const struct nlmsghdr *m, int code, const char *what, Err *err)
{
	const char *text = kernel_text(m);

	err_errno(err, code, "%s%s%s%s", what, text ? " (" : "", text ? text : "", text ? ")" : "");
	return code;
}

typedef struct Exchange {
	void (*each)(void *user, const struct nlmsghdr *m); /* what is no plain answer; or NULL */
	void *user;
	unsigned left;
	int failed;
} Exchange;

/* An error for a batch's opening mark, which is in no list as it has no answer when all goes well: nothing
 * more will come. */
static bool is_refused(const Netlink *nl, const struct nlmsghdr *m, const struct nlmsgerr *e)
{
	return e->error < 0 && nl->silent && m->nlmsg_seq == nl->silent;
}

/* Takes the answers in one datagram; counts down x->left; sets x->failed to the first failure. */
static void take_answers(Netlink *nl, const char *buf, int n, Exchange *x, Err *err)
{
	for (const struct nlmsghdr *m = (const void *) buf; mnl_nlmsg_ok(m, n); m = mnl_nlmsg_next(m, &n)) {
		const struct nlmsgerr *e = mnl_nlmsg_get_payload(m);

		if (m->nlmsg_type != NLMSG_ERROR && x->each)
			x->each(x->user, m);
		if (m->nlmsg_type != NLMSG_ERROR || mnl_nlmsg_get_payload_len(m) < sizeof(*e))
			continue;
		if (is_refused(nl, m, e)) {
			if (x->failed == 0)
				x->failed = report(m, e->error, "the kernel refuses the whole batch", err);
			x->left = 0;
			return;
		}
		for (unsigned i = 0; i < nl->n; i++) {
			if (nl->sent[i].seq != m->nlmsg_seq || !nl->sent[i].what)
				continue;
			if (e->error < 0 && e->error != nl->sent[i].tolerate && x->failed == 0)
				x->failed = report(m, e->error, nl->sent[i].what, err);
			nl->sent[i].what = NULL;
			x->left--;
			break;
		}
	}
}

int netlink_query(Netlink *nl, void (*each)(void *user, const struct nlmsghdr *m), void *user, Err *err)
{
	char buf[ANSWER_MAX]
		__attribute__((aligned(NLMSG_ALIGNTO))); /* no heap: the reaper's thread comes here */
	Exchange x = { each, user, nl->n, 0 };
	int r = send_all(nl, err);

	while (r >= 0 && x.left) {
		r = receive(nl, buf, sizeof(buf), err);
		if (r >= 0)
			take_answers(nl, buf, r, &x, err);
	}
	discard(nl);
	return r < 0 ? r : x.failed;
}

int netlink_commit(Netlink *nl, Err *err)
{
	return netlink_query(nl, NULL, NULL, err);
}

/* Gives 1 at the end of the dump. */
static int take_dump(Netlink *nl, const char *buf, int n, void (*each)(void *user, const struct nlmsghdr *m),
	void *user, Err *err)
{
	for (const struct nlmsghdr *m = (const void *) buf; mnl_nlmsg_ok(m, n); m = mnl_nlmsg_next(m, &n)) {
		const struct nlmsgerr *e = mnl_nlmsg_get_payload(m);

		if (m->nlmsg_seq != nl->seq)
			continue;
		if (m->nlmsg_type == NLMSG_DONE)
			return 1;
		if (m->nlmsg_type != NLMSG_ERROR)
			each(user, m);
		else if (mnl_nlmsg_get_payload_len(m) >= sizeof(*e) && e->error)
			return report(m, e->error, "list", err);
	}
	return 0;
}

int netlink_dump(Netlink *nl, uint16_t type, const void *extra, size_t n,
	void (*each)(void *user, const struct nlmsghdr *m), void *user, Err *err)
{
	AUTO_FREE char *buf = xmalloc(DUMP_MAX);
	int r;

	(void) add(nl, type, NLM_F_DUMP, extra, n);
	r = send_all(nl, err);
	while (r == 0) {
		r = receive(nl, buf, DUMP_MAX, err);
		if (r >= 0)
			r = take_dump(nl, buf, r, each, user, err);
	}
	discard(nl);
	return r < 0 ? r : 0;
}
