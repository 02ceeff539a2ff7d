// SPDX-License-Identifier: Apache-2.0
#include "edge/runtime.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/mem.h"
#include "edge/answers.h"

typedef struct Request {
	struct Request *next;
	Buf text;
	RuntimeFn fn;
	void *user;
} Request;

/* The connection outlives a cancel until its handles are closed. */
typedef struct Link {
	RuntimeApi *a; /* NULL once it is cancelled */
	uv_poll_t poll;
	uv_timer_t timer;
	int fd, handles;
	size_t sent;
	Buf answer;
} Link;

struct RuntimeApi {
	uv_loop_t *loop;
	struct sockaddr_un name;
	Request *first, **last;
	Link *link; /* of the first request */
	uv_idle_t *starter; /* the next one begins in the loop's next turn, so that no callback is called from within a call */
};

static void begin(uv_idle_t *idle);

static void link_closed(uv_handle_t *h)
{
	Link *l = h->data;
	if (--l->handles)
		return;
	buf_done(&l->answer);
	free(l);
}

static void link_close(Link *l)
{
	(void) uv_poll_stop(&l->poll);
	uv_close((uv_handle_t *) &l->poll, link_closed);
	uv_close((uv_handle_t *) &l->timer, link_closed);
	(void) close(l->fd);
	l->a = NULL;
}

static void request_free(Request *r)
{
	buf_done(&r->text);
	free(r);
}

static Request *take_first(RuntimeApi *a)
{
	Request *r = a->first;
	a->first = r->next;
	if (!a->first)
		a->last = &a->first;
	return r;
}

static void schedule(RuntimeApi *a)
{
	if (a->first && !a->link)
		(void) uv_idle_start(a->starter, begin);
}

/* Ends the first request; `a` may be gone afterwards. */
static void finish(RuntimeApi *a, const char *answer, const Err *err)
{
	Request *r = take_first(a);
	RuntimeFn fn = r->fn;
	void *user = r->user;
	Link *l = a->link;
	AUTO_BUF text = BUF_INIT;
	a->link = NULL;
	if (answer)
		buf_str(&text, answer);
	if (l)
		link_close(l);
	request_free(r);
	schedule(a);
	fn(user, answer ? buf_cstr(&text) : NULL, err);
}

static void fail(RuntimeApi *a, int r, const char *what)
{
	AUTO_ERR err = ERR_INIT;
	(void) err_errno(&err, r, "HAProxy's runtime API: %s", what);
	finish(a, NULL, &err);
}

static void timed_out(uv_timer_t *t)
{
	Link *l = t->data;
	if (l->a)
		fail(l->a, -ETIMEDOUT, "no answer");
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	Link *l = poll->data;
	RuntimeApi *a = l->a;
	const Buf *text = &a->first->text;
	if (l->sent < text->len) {
		ssize_t n = send(l->fd, text->data + l->sent, text->len - l->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			fail(a, -errno, "send");
			return;
		}
		l->sent += n > 0 ? (size_t) n : 0;
		if (l->sent == text->len)
			(void) uv_poll_start(poll, UV_READABLE, on_poll);
		return;
	}
	ssize_t n = recv(l->fd, buf_reserve(&l->answer, 16384), 16384, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		fail(a, -errno, "receive");
	} else if (n == 0) {
		finish(a, buf_cstr(&l->answer), NULL);
	} else {
		buf_added(&l->answer, (size_t) n);
		if (l->answer.len > ANSWER_MAX)
			fail(a, -EFBIG, "the answer has no end");
	}
}

static int link_open(RuntimeApi *a)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* A unix socket connects at once, or not: EAGAIN says that the backlog is full. */
	if (fd < 0 || connect(fd, (const void *) &a->name, sizeof(a->name)) < 0)
		return -errno;
	Link *l = xcalloc(1, sizeof(*l));
	l->a = a;
	l->poll.data = l->timer.data = l;
	int r = uv_poll_init(a->loop, &l->poll, fd);
	if (r < 0) {
		free(l);
		return r;
	}
	(void) uv_timer_init(a->loop, &l->timer);
	l->fd = steal_fd(&fd);
	l->handles = 2;
	(void) uv_timer_start(&l->timer, timed_out, RUNTIME_TIMEOUT_MSEC, 0);
	(void) uv_poll_start(&l->poll, UV_WRITABLE, on_poll);
	a->link = l;
	return 0;
}

static void begin(uv_idle_t *idle)
{
	RuntimeApi *a = idle->data;
	(void) uv_idle_stop(idle);
	if (!a->first || a->link)
		return;
	int r = link_open(a);
	if (r < 0)
		fail(a, r, "connect");
}

static void free_handle(uv_handle_t *h)
{
	free(h);
}

RuntimeApi *runtime_api_new(uv_loop_t *loop, const char *path)
{
	RuntimeApi *a = xcalloc(1, sizeof(*a));
	a->loop = loop;
	a->last = &a->first;
	a->name.sun_family = AF_UNIX;
	(void) snprintf(a->name.sun_path, sizeof(a->name.sun_path), "%s", path);
	a->starter = xcalloc(1, sizeof(*a->starter));
	a->starter->data = a;
	(void) uv_idle_init(loop, a->starter);
	return a;
}

/** Drops what is queued and what is under way, without a call. */
static void runtime_api_cancel(RuntimeApi *a)
{
	if (a->link)
		link_close(a->link);
	a->link = NULL;
	while (a->first)
		request_free(take_first(a));
	(void) uv_idle_stop(a->starter);
}

void runtime_api_free(RuntimeApi *a)
{
	if (!a)
		return;
	runtime_api_cancel(a);
	uv_close((uv_handle_t *) a->starter, free_handle);
	free(a);
}

void runtime_api_send(RuntimeApi *a, const char *command, RuntimeFn fn, void *user)
{
	Request *r = xcalloc(1, sizeof(*r));
	buf_str(&r->text, command);
	buf_char(&r->text, '\n');
	r->fn = fn;
	r->user = user;
	*a->last = r;
	a->last = &r->next;
	schedule(a);
}
