// SPDX-License-Identifier: Apache-2.0
/*
 * The daemon's end of a worker's descriptor 3. Writes under way keep it: whoever has closed it is not called any more.
 */
#include <errno.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "daemon/build-parts.h"

#define READ_SIZE 65536

struct BuildContext {
	uv_pipe_t pipe; /* first: freed in its close callback */
	uv_shutdown_t shutdown;
	BuildContextCallbacks cb;
	Buf in;
	size_t waiting; /* bytes not yet written */
	bool closing, ended;
};

typedef struct ContextWrite {
	uv_write_t w;
	BuildContext *c;
	size_t n;
	char data[];
} ContextWrite;

static void context_closed(uv_handle_t *h)
{
	BuildContext *c = h->data;
	buf_done(&c->in);
	free(c);
}

void build_context_close(BuildContext *c)
{
	if (!c || c->closing)
		return;
	c->closing = true;
	uv_close((uv_handle_t *) &c->pipe, context_closed);
}

int build_context_open(Daemon *d, const BuildContextCallbacks *cb, BuildContext **ret, int *ret_theirs, Err *err)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return err_errno(err, -errno, "make a socket");
	BuildContext *c = xcalloc(1, sizeof(*c));
	c->cb = *cb;
	c->pipe.data = c;
	(void) uv_pipe_init(d->loop, &c->pipe, 0);
	int r = uv_pipe_open(&c->pipe, fds[0]);
	if (r < 0) {
		(void) close(fds[0]);
		(void) close(fds[1]);
		build_context_close(c);
		return err_errno(err, r, "make a socket");
	}
	*ret = c;
	*ret_theirs = fds[1];
	return 0;
}

static void written(uv_write_t *w, int status)
{
	ContextWrite *cw = w->data;
	BuildContext *c = cw->c;
	(void) status; /* a worker that reads no more has ended, or will say what is wrong */
	c->waiting -= cw->n;
	if (!c->closing && c->cb.written)
		c->cb.written(c->cb.user, c->waiting);
	free(cw);
}

size_t build_context_write(BuildContext *c, const void *p, size_t n)
{
	if (!n || c->ended)
		return c->waiting;
	ContextWrite *cw = xmalloc(sizeof(*cw) + n);
	cw->w.data = cw;
	cw->c = c;
	cw->n = n;
	memcpy(cw->data, p, n);
	uv_buf_t b = uv_buf_init(cw->data, (unsigned) n);
	if (uv_write(&cw->w, (uv_stream_t *) &c->pipe, &b, 1, written) < 0)
		free(cw);
	else
		c->waiting += n;
	return c->waiting;
}

void build_context_end(BuildContext *c)
{
	if (!c->ended)
		(void) uv_shutdown(&c->shutdown, (uv_stream_t *) &c->pipe, NULL);
	c->ended = true;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
	BuildContext *c = h->data;
	(void) suggested;
	*b = uv_buf_init(buf_reserve(&c->in, READ_SIZE), READ_SIZE);
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
	BuildContext *c = h->data;
	(void) b;
	if (n < 0) { /* the worker's end: its job tells how it went */
		(void) uv_read_stop(h);
		return;
	}
	buf_added(&c->in, (size_t) n);
	c->cb.read(c->cb.user, &c->in);
}

void build_context_read(BuildContext *c, bool on)
{
	if (c->closing)
		return;
	if (on)
		(void) uv_read_start((uv_stream_t *) &c->pipe, on_alloc, on_read);
	else
		(void) uv_read_stop((uv_stream_t *) &c->pipe);
}
