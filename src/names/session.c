// SPDX-License-Identifier: Apache-2.0

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "names/control.h"
#include "names/server.h"

#define RECORDS_PER_ROUND 256
#define FDS_MAX 2

static void on_record_ready(Source *control, uint32_t events);

static Server *server_of_listener(Source *listener)
{
	return (Server *) ((char *) listener - offsetof(Server, listener));
}

static Server *server_of_control(Source *control)
{
	return (Server *) ((char *) control - offsetof(Server, control));
}

static void send_record(Server *s, NamesType type, void *record, size_t size)
{
	*(NamesHeader *) record =
		(NamesHeader){ NAMES_MAGIC, NAMES_VERSION, (uint16_t) type, (uint32_t) size };
	/* A daemon that does not read its list will connect again. */
	if (send(s->control.fd, record, size, MSG_NOSIGNAL) < 0)
		(void) shutdown(s->control.fd, SHUT_RDWR);
}

/* ── what the daemon says ─────────────────────────────────────────── */

static int on_hello(Server *s, const NamesRecord *r, int fds[FDS_MAX])
{
	NamesWelcome w = { .pid = getpid(), .endpoints = (uint32_t) s->n_endpoints };
	NamesHeader end;

	s->quit = false;
	s->table.generation++;
	send_record(s, NAMES_WELCOME, &w, sizeof(w));
	for (size_t i = 0; i < s->n_endpoints; i++) {
		NamesId id = { 0 };

		memcpy(id.id, s->endpoints[i]->id, sizeof(id.id));
		send_record(s, NAMES_LISTED, &id, sizeof(id));
	}
	send_record(s, NAMES_LIST_END, &end, sizeof(end));
	return 0;
}

static int on_upstreams(Server *s, const NamesRecord *r, int fds[FDS_MAX])
{
	s->upstreams = r->upstreams;
	return 0;
}

static int on_endpoint(Server *s, const NamesRecord *r, int fds[FDS_MAX])
{
	int udp = steal_fd(&fds[0]), tcp = steal_fd(&fds[1]);

	if (udp >= 0 && tcp < 0) {
		(void) close(udp);
		return -EPROTO;
	}
	return server_endpoint_set(s, &r->endpoint, udp, tcp);
}

static int on_endpoint_gone(Server *s, const NamesRecord *r, int fds[FDS_MAX])
{
	Endpoint *e = server_endpoint(s, r->id.id);

	if (e)
		server_endpoint_remove(s, e);
	return 0;
}

static int on_set(Server *s, const NamesRecord *r, int fds[FDS_MAX])
{
	return table_set(&s->table, &r->set);
}

static int on_synced(Server *s, const NamesRecord *r, int fds[FDS_MAX])
{
	for (size_t i = 0; i < s->n_endpoints;) {
		if (s->endpoints[i]->generation == s->table.generation)
			i++;
		else
			server_endpoint_remove(s, s->endpoints[i]);
	}
	table_drop_stale(&s->table);
	return 0;
}

static int on_quit(Server *s, const NamesRecord *r, int fds[FDS_MAX])
{
	s->quit = true;
	return 0;
}

static int (*const handlers[])(Server *s, const NamesRecord *r, int fds[FDS_MAX]) = {
	[NAMES_HELLO] = on_hello,
	[NAMES_UPSTREAMS] = on_upstreams,
	[NAMES_ENDPOINT] = on_endpoint,
	[NAMES_ENDPOINT_GONE] = on_endpoint_gone,
	[NAMES_SET] = on_set,
	[NAMES_SYNCED] = on_synced,
	[NAMES_QUIT] = on_quit,
};

/* ── the socket ───────────────────────────────────────────────────── */

static void take_fds(struct msghdr *m, int fds[FDS_MAX])
{
	size_t n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (n < FDS_MAX)
				fds[n++] = fd;
			else
				(void) close(fd);
		}
	}
}

/* >0: a record was handled; 0: none there; <0: the connection is over. */
static int take_record(Server *s)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} space;
	/* The buffer of the answers is free while the daemon is listened to, and as large as any record. */
	NamesRecord *record = (NamesRecord *) s->out;
	struct iovec io = { record, sizeof(*record) };
	struct msghdr m = {
		.msg_iov = &io, .msg_iovlen = 1, .msg_control = &space, .msg_controllen = sizeof(space)
	};
	NamesFailed failed = { 0 };
	int fds[FDS_MAX] = { -1, -1 };
	ssize_t n = recvmsg(s->control.fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int r;

	/* A daemon that ended without reading all answers: what it said before it did is still there. */
	if (n < 0 && errno == ECONNRESET)
		return 1;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	take_fds(&m, fds);
	r = m.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -EPROTO : control_check(record, (size_t) n);
	if (r == 0)
		r = handlers[record->header.type](s, record, fds);
	for (size_t i = 0; i < FDS_MAX; i++)
		if (fds[i] >= 0)
			(void) close(fds[i]);
	if (r < 0) {
		failed.type = (size_t) n >= sizeof(NamesHeader) ? record->header.type : 0;
		failed.code = r;
		send_record(s, NAMES_FAILED, &failed, sizeof(failed));
	}
	return 1;
}

static void on_record_ready(Source *control, uint32_t events)
{
	Server *s = server_of_control(control);
	int r = 1;

	for (int i = 0; r > 0 && i < RECORDS_PER_ROUND; i++)
		r = take_record(s);
	if (r < 0) {
		source_close(control);
		s->quit = s->quit || s->n_endpoints == 0;
	}
}

void session_ready(Source *listener, uint32_t events)
{
	Server *s = server_of_listener(listener);
	struct ucred peer;
	socklen_t n = sizeof(peer);
	int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0 || peer.uid != 0) {
		(void) close(fd);
		return;
	}
	/* One daemon at a time: a new connection means that the old one is dead or dying; its last words
	 * count. */
	while (s->control.fd >= 0 && take_record(s) > 0)
		;
	source_close(&s->control);
	s->control = (Source){ fd, on_record_ready };
	if (source_watch(s, &s->control, EPOLLIN) < 0)
		source_close(&s->control);
}
