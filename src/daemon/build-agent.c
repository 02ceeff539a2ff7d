// SPDX-License-Identifier: Apache-2.0
/*
 * What a hostile container can cost is bounded: LIMIT_AGENT_CONNECTIONS connections are open at once, and a further one is not accepted
 * before one of them closes; each holds one message at most, or its answer.
 */
#include "daemon/build-agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"

#define LENGTH 4U         /* bytes before each message */
#define READ_SIZE 16384   /* more than nearly all messages have */

typedef struct AgentConn {
	uv_pipe_t pipe; /* first: freed in its close callback */
	uv_write_t write;
	BuildAgent *agent; /* NULL: it is being closed */
	Buf in, out;
	uint32_t asked;    /* the number of what was asked; 0: nothing is */
} AgentConn;

struct BuildAgent {
	uv_pipe_t listener; /* first: freed in its close callback */
	uint32_t (*ask)(void *user, const void *p, size_t n);
	void *user;
	AgentConn *conns[LIMIT_AGENT_CONNECTIONS];
	size_t n;
	bool waiting; /* somebody waits to be accepted */
};

static void accept_some(BuildAgent *a);

/* ── a connection ─────────────────────────────────────────────────── */

static void conn_freed(uv_handle_t *h)
{
	AgentConn *c = h->data;
	buf_done(&c->in);
	buf_done(&c->out);
	free(c);
}

static void conn_close(AgentConn *c)
{
	BuildAgent *a = c->agent;
	if (!a)
		return;
	c->agent = NULL;
	for (size_t i = 0; i < a->n; i++)
		if (a->conns[i] == c)
			a->conns[i--] = a->conns[--a->n];
	uv_close((uv_handle_t *) &c->pipe, conn_freed);
}

static void conn_lost(AgentConn *c)
{
	BuildAgent *a = c->agent;
	conn_close(c);
	if (a)
		accept_some(a);
}

static uint32_t message_length(const Buf *in)
{
	const uint8_t *p = (const uint8_t *) in->data;
	return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

static void alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	AgentConn *c = h->data;
	(void) suggested;
	*buf = uv_buf_init(buf_reserve(&c->in, READ_SIZE), READ_SIZE);
}

static void conn_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

/* Asks as soon as a message is whole. */
static void conn_go_on(AgentConn *c)
{
	if (c->in.len >= LENGTH) {
		uint32_t n = message_length(&c->in);
		if (n == 0 || n > LIMIT_AGENT_MESSAGE) {
			conn_lost(c);
			return;
		}
		if (c->in.len - LENGTH >= n) {
			(void) uv_read_stop((uv_stream_t *) &c->pipe);
			c->asked = c->agent->ask(c->agent->user, c->in.data + LENGTH, n);
			buf_consume(&c->in, LENGTH + n);
			if (!c->in.len)
				buf_done(&c->in);
			return;
		}
	}
	int r = uv_read_start((uv_stream_t *) &c->pipe, alloc, conn_read);
	if (r < 0 && r != UV_EALREADY)
		conn_lost(c);
}

static void conn_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	AgentConn *c = stream->data;
	(void) buf;
	if (n > 0)
		buf_added(&c->in, (size_t) n);
	if (n < 0)
		conn_lost(c);
	else if (c->agent && n > 0)
		conn_go_on(c);
}

static void conn_written(uv_write_t *w, int status)
{
	AgentConn *c = w->data;
	buf_done(&c->out);
	if (!c->agent)
		return;
	if (status < 0)
		conn_lost(c);
	else
		conn_go_on(c);
}

static void conn_answer(AgentConn *c, const void *p, size_t n)
{
	const uint8_t length[LENGTH] = { (uint8_t) (n >> 24), (uint8_t) (n >> 16), (uint8_t) (n >> 8), (uint8_t) n };
	c->asked = 0;
	if (n == 0 || n > LIMIT_AGENT_MESSAGE) {
		conn_lost(c);
		return;
	}
	buf_append(&c->out, length, LENGTH);
	buf_append(&c->out, p, n);
	c->write.data = c;
	uv_buf_t buf = uv_buf_init(c->out.data, (unsigned) c->out.len);
	if (uv_write(&c->write, (uv_stream_t *) &c->pipe, &buf, 1, conn_written) < 0) {
			conn_lost(c);
	}
}

/* ── the socket ───────────────────────────────────────────────────── */

/* One that is not taken over stays with the listener, which looks for no other meanwhile. */
static void accept_some(BuildAgent *a)
{
	if (!a->waiting || a->n == LIMIT_AGENT_CONNECTIONS)
		return;
	a->waiting = false;
	AgentConn *c = xcalloc(1, sizeof(*c));
	c->pipe.data = c;
	c->agent = a;
	(void) uv_pipe_init(a->listener.loop, &c->pipe, 0);
	a->conns[a->n++] = c;
	if (uv_accept((uv_stream_t *) &a->listener, (uv_stream_t *) &c->pipe) < 0)
		conn_close(c);
	else
		conn_go_on(c);
}

static void on_connection(uv_stream_t *stream, int status)
{
	BuildAgent *a = stream->data;
	if (status < 0)
		return;
	a->waiting = true;
	accept_some(a);
}

static void agent_freed(uv_handle_t *h)
{
	free(h);
}

/* Through the directory's descriptor: the path alone is longer than a socket address takes. */
static int make_socket(const BuildAgentOptions *o)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	AUTO_CLOSE int dir = open(o->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (dir < 0 || fd < 0)
		return -errno;
	(void) snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/%s", dir, o->name);
	if (bind(fd, (struct sockaddr *) &sa, sizeof(sa)) < 0 || fchownat(dir, o->name, o->uid, o->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
		fchmodat(dir, o->name, o->mode & 07777, 0) < 0)
		return -errno;
	return steal_fd(&fd);
}

int build_agent_open(uv_loop_t *loop, const BuildAgentOptions *o, BuildAgent **ret, Err *err)
{
	int fd = make_socket(o);
	if (fd < 0)
		return err_errno(err, fd, "make the socket of an SSH agent");
	BuildAgent *a = xcalloc(1, sizeof(*a));
	a->ask = o->ask;
	a->user = o->user;
	a->listener.data = a;
	(void) uv_pipe_init(loop, &a->listener, 0);
	int r = uv_pipe_open(&a->listener, fd);
	if (r < 0)
		(void) close(fd);
	else
		r = uv_listen((uv_stream_t *) &a->listener, LIMIT_AGENT_CONNECTIONS, on_connection);
	if (r < 0) {
		uv_close((uv_handle_t *) &a->listener, agent_freed);
		return err_errno(err, r, "make the socket of an SSH agent");
	}
	*ret = a;
	return 0;
}

bool build_agent_answer(BuildAgent *a, uint32_t number, const void *p, size_t n)
{
	for (size_t i = 0; number && i < a->n; i++) {
		if (a->conns[i]->asked == number) {
			conn_answer(a->conns[i], p, n);
			return true;
		}
	}
	return false;
}

void build_agent_close(BuildAgent *a)
{
	if (!a)
		return;
	while (a->n)
		conn_close(a->conns[0]);
	uv_close((uv_handle_t *) &a->listener, agent_freed);
}
