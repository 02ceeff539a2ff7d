// SPDX-License-Identifier: Apache-2.0
#include "run/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"

#define PACKET_MAX (64U << 10)
#define WRITE_MAX 8192 /* conmon reads stdin in pieces of this size; a longer packet would be cut */

struct Attach {
	uv_poll_t poll; /* first: freed in its close callback */
	int fd;
	AttachCallbacks cb;
	Buf queue;
	bool paused, closing, end_input;
};

static void attach_freed(uv_handle_t *h)
{
	Attach *a = h->data;
	(void) close(a->fd);
	buf_done(&a->queue);
	free(a);
}

static void attach_end(Attach *a)
{
	if (a->closing)
		return;
	a->closing = true;
	(void) uv_poll_stop(&a->poll);
	if (a->cb.closed)
		a->cb.closed(a->cb.user);
	uv_close((uv_handle_t *) &a->poll, attach_freed);
}

void attach_close(Attach *a)
{
	if (!a || a->closing)
		return;
	memset(&a->cb, 0, sizeof(a->cb));
	attach_end(a);
}

static void attach_ready(uv_poll_t *h, int status, int events);

static void attach_poll(Attach *a)
{
	if (a->closing)
		return;
	int events = UV_DISCONNECT;
	if (!a->paused)
		events |= UV_READABLE;
	if (a->queue.len)
		events |= UV_WRITABLE;
	(void) uv_poll_start(&a->poll, events, attach_ready);
}

static void attach_read(Attach *a)
{
	char packet[PACKET_MAX];
	while (!a->paused && !a->closing) {
		ssize_t n = recv(a->fd, packet, sizeof(packet), MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			attach_end(a);
			return;
		}
		if (n > 1 && a->cb.output)
			a->cb.output(a->cb.user, packet[0] == 3 ? 2 : 1, packet + 1, (size_t) n - 1);
	}
}

/* True: all is written. */
static bool attach_flush(Attach *a)
{
	while (a->queue.len) {
		size_t n = a->queue.len < WRITE_MAX ? a->queue.len : WRITE_MAX;
		ssize_t k = send(a->fd, a->queue.data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == EAGAIN)
			return false;
		if (k < 0) {
			attach_end(a);
			return false;
		}
		buf_consume(&a->queue, (size_t) k);
	}
	if (a->end_input)
		(void) shutdown(a->fd, SHUT_WR);
	a->end_input = false;
	return true;
}

static void attach_ready(uv_poll_t *h, int status, int events)
{
	Attach *a = h->data;
	if (status < 0) {
		attach_end(a);
		return;
	}
	if (events & UV_WRITABLE) {
		bool empty = attach_flush(a);
		attach_poll(a);
		if (empty && !a->closing && a->cb.drained)
			a->cb.drained(a->cb.user);
	}
	if (events & UV_READABLE)
		attach_read(a);
	else if (events & UV_DISCONNECT)
		attach_end(a);
}

int attach_open(uv_loop_t *loop, const ContainerPaths *p, const AttachCallbacks *cb, Attach **ret, Err *err)
{
	/* Through the directory's descriptor: the path alone is longer than a socket address takes. */
	AUTO_CLOSE int dir = open(p->bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_set(err, -ENOENT, "attach: the container does not run");
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(err, -errno, "attach: make a socket");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	(void) snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/attach", dir);
	if (connect(fd, (struct sockaddr *) &sa, sizeof(sa)) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return err_set(err, -ENOENT, "attach: the container does not run");
		return err_errno(err, -errno, "attach: connect to conmon");
	}
	Attach *a = xcalloc(1, sizeof(*a));
	a->cb = *cb;
	a->fd = steal_fd(&fd);
	a->poll.data = a;
	(void) uv_poll_init(loop, &a->poll, a->fd);
	attach_poll(a);
	*ret = a;
	return 0;
}

ssize_t attach_write(Attach *a, const void *p, size_t n)
{
	buf_append(&a->queue, p, n);
	if (!attach_flush(a))
		attach_poll(a);
	return (ssize_t) a->queue.len;
}

void attach_close_stdin(Attach *a)
{
	a->end_input = true;
	if (!attach_flush(a))
		attach_poll(a);
}

void attach_pause(Attach *a, bool pause)
{
	a->paused = pause;
	attach_poll(a);
}

int container_resize(const ContainerPaths *p, unsigned rows, unsigned cols, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/ctl", p->bundle);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	char line[48];
	if (fd < 0)
		return err_set(err, -ENOENT, "resize: the container does not run");
	/* conmon takes no more than 1000, and so does no screen. */
	int n = snprintf(line, sizeof(line), "1 %u %u\n", rows > 1000 ? 1000 : rows, cols > 1000 ? 1000 : cols);
	int r = fd_write_all(fd, line, (size_t) n);
	return r < 0 ? err_errno(err, r, "resize the container's terminal") : 0;
}
