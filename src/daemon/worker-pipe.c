// SPDX-License-Identifier: Apache-2.0
#include "daemon/worker-pipe.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

#define READ_SIZE 65536

struct WorkerPipe {
	uv_pipe_t pipe;
	uv_shutdown_t shutdown;
	WorkerPipeCallbacks cb;
	Buf in;
	size_t waiting;
	bool ended; /* nothing more is written */
};

typedef struct PipeWrite {
	uv_write_t w;
	WorkerPipe *p;
	size_t n;
	char data[];
} PipeWrite;

static void pipe_closed(uv_handle_t *h)
{
	WorkerPipe *p = h->data;
	buf_done(&p->in);
	free(p);
}

void worker_pipe_close(WorkerPipe *p)
{
	if (p)
		uv_close((uv_handle_t *) &p->pipe, pipe_closed);
}

int worker_pipe_open(uv_loop_t *loop, const WorkerPipeCallbacks *cb, WorkerPipe **ret, int *ret_theirs, Err *err)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return err_errno(err, -errno, "make a socket");
	WorkerPipe *p = xcalloc(1, sizeof(*p));
	p->cb = *cb;
	p->pipe.data = p;
	(void) uv_pipe_init(loop, &p->pipe, 0);
	int r = uv_pipe_open(&p->pipe, fds[0]);
	if (r < 0) {
		(void) close(fds[0]);
		(void) close(fds[1]);
		worker_pipe_close(p);
		return err_errno(err, r, "make a socket");
	}
	*ret = p;
	*ret_theirs = fds[1];
	return 0;
}

/* Those under way when the pipe is closed are called, too, before it is freed. */
static void written(uv_write_t *w, int status)
{
	PipeWrite *pw = w->data;
	WorkerPipe *p = pw->p;
	p->waiting -= pw->n;
	free(pw);
	if (p->cb.written && !uv_is_closing((uv_handle_t *) &p->pipe))
		p->cb.written(p->cb.user, p->waiting);
}

size_t worker_pipe_write(WorkerPipe *p, const void *data, size_t n)
{
	if (!n || p->ended)
		return p->waiting;
	PipeWrite *pw = xmalloc(sizeof(*pw) + n);
	pw->w.data = pw;
	pw->p = p;
	pw->n = n;
	memcpy(pw->data, data, n);
	uv_buf_t b = uv_buf_init(pw->data, (unsigned) n);
	if (uv_write(&pw->w, (uv_stream_t *) &p->pipe, &b, 1, written) < 0)
		free(pw);
	else
		p->waiting += n;
	return p->waiting;
}

void worker_pipe_end(WorkerPipe *p)
{
	if (!p->ended)
		(void) uv_shutdown(&p->shutdown, (uv_stream_t *) &p->pipe, NULL);
	p->ended = true;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
	WorkerPipe *p = h->data;
	*b = uv_buf_init(buf_reserve(&p->in, READ_SIZE), READ_SIZE);
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
	WorkerPipe *p = h->data;
	if (n < 0) {
		(void) uv_read_stop(h);
		if (p->cb.ended)
			p->cb.ended(p->cb.user);
		return;
	}
	buf_added(&p->in, (size_t) n);
	if (n > 0)
		p->cb.read(p->cb.user, &p->in);
}

void worker_pipe_read(WorkerPipe *p, bool on)
{
	if (on)
		(void) uv_read_start((uv_stream_t *) &p->pipe, on_alloc, on_read);
	else
		(void) uv_read_stop((uv_stream_t *) &p->pipe);
}
