// SPDX-License-Identifier: Apache-2.0
#include "io/probe.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "io/probe-reply.h"

struct Probe {
	uv_tcp_t tcp;
	uv_timer_t timer;
	uv_connect_t connect;
	uv_write_t write;
	unsigned handles;
	ProbeFn fn; /* NULL: cancelled, or it has been called */
	void *user;
	char *place;   /* "10.0.0.2:8080", for errors */
	char *request; /* NULL = TCP only */
	ProbeReply reply;
	Err err;
	int64_t started, timeout;
	bool connected;
	char in[4096];
};

static void on_closed(uv_handle_t *h)
{
	Probe *p = h->data;
	if (--p->handles)
		return;
	probe_reply_done(&p->reply);
	err_done(&p->err);
	free(p->place);
	free(p->request);
	free(p);
}

static void close_probe(Probe *p)
{
	p->fn = NULL;
	uv_close((uv_handle_t *) &p->timer, on_closed);
	uv_close((uv_handle_t *) &p->tcp, on_closed);
}

void probe_cancel(Probe *p)
{
	if (p)
		close_probe(p);
}

static void finish(Probe *p)
{
	ProbeFn fn = p->fn;
	const ProbeResult result = {
		.status = p->reply.status,
		.body = buf_cstr(&p->reply.body),
		.body_len = p->reply.body.len,
		.took_ns = time_mono() - p->started,
		.err = p->err.code ? &p->err : NULL,
	};
	/* Closing is asynchronous: what the result borrows is there until the loop's next turn. */
	close_probe(p);
	fn(p->user, &result);
}

static void fail(Probe *p, int code, const char *what)
{
	(void) err_errno(&p->err, code, "%s %s", what, p->place);
	finish(p);
}

static void on_timer(uv_timer_t *t)
{
	Probe *p = t->data;
	if (!p->err.code) {
		AUTO_FREE char *took = format_duration(p->timeout);
		const char *what = !p->connected ? "no connection to" : p->reply.status ? "no complete answer from" : "no answer from";
		(void) err_set(&p->err, -ETIMEDOUT, "%s %s within %s", what, p->place, took);
	}
	finish(p);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
	Probe *p = h->data;
	*buf = uv_buf_init(p->in, sizeof(p->in));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	Probe *p = s->data;
	if (n == 0)
		return;
	if (n < 0 && n != UV_EOF) {
		fail(p, (int) n, "the answer of");
		return;
	}
	ProbeReplyState state = probe_reply_feed(&p->reply, buf->base, n > 0 ? (size_t) n : 0);
	if (state == PROBE_REPLY_BAD)
		(void) err_set(&p->err, -EPROTO, "the answer of %s is not valid HTTP: %s", p->place, p->reply.bad_text);
	if (state != PROBE_REPLY_MORE || p->reply.body_bytes >= LIMIT_PROBE_BODY)
		finish(p);
}

/** What answers may do so before it has read the request, or close without reading it: the reading side sees which. */
static void on_written(uv_write_t *w, int status)
{
}

/** A connection to a free port of this host can meet itself (a simultaneous open, RFC 9293 section 3.5): nobody listens there. */
static bool is_own_end(const uv_tcp_t *tcp)
{
	struct sockaddr_storage a = { 0 }, b = { 0 };
	int n = sizeof(a), m = sizeof(b);
	return uv_tcp_getsockname(tcp, (struct sockaddr *) &a, &n) == 0 && uv_tcp_getpeername(tcp, (struct sockaddr *) &b, &m) == 0 && n == m &&
	       memcmp(&a, &b, (size_t) n) == 0;
}

static void on_connected(uv_connect_t *c, int status)
{
	Probe *p = c->data;
	if (!p->fn)
		return; /* closed meanwhile */
	if (status == 0 && is_own_end(&p->tcp))
		status = -ECONNREFUSED;
	if (status < 0) {
		fail(p, status, "cannot connect to");
		return;
	}
	p->connected = true;
	if (!p->request) {
		finish(p);
		return;
	}
	uv_buf_t buf = uv_buf_init(p->request, (unsigned) strlen(p->request));
	int r = uv_write(&p->write, (uv_stream_t *) &p->tcp, &buf, 1, on_written);
	if (r == 0)
		r = uv_read_start((uv_stream_t *) &p->tcp, on_alloc, on_read);
	if (r < 0)
		fail(p, r, "cannot ask");
}

static bool is_plain(const char *s)
{
	for (; *s; s++)
		if (*s <= ' ' || *s == 0x7f) /* char may be signed: nothing beyond ASCII passes then, nor where it is not */
			return false;
	return true;
}

static int check_options(const ProbeOptions *o, struct sockaddr_storage *ret, Err *err)
{
	bool six = strchr(o->address, ':') != NULL;
	int r = six ? uv_ip6_addr(o->address, o->port, (struct sockaddr_in6 *) ret) :
		      uv_ip4_addr(o->address, o->port, (struct sockaddr_in *) ret);
	if (r < 0 || o->port == 0)
		return err_set(err, -EINVAL, "'%s' port %u is no address to probe", o->address, o->port);
	if (o->path && (*o->path != '/' || !is_plain(o->path)))
		return err_set(err, -EINVAL, "a probe's path must begin with / and have neither spaces nor control characters");
	if (o->host && (!*o->host || !is_plain(o->host)))
		return err_set(err, -EINVAL, "a probe's host name must have neither spaces nor control characters");
	return 0;
}

static char *make_request(const ProbeOptions *o, const char *place)
{
	return xasprintf("GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: stead/" STEAD_VERSION "\r\n"
			 "Accept: */*\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n",
		o->path, o->host ? o->host : place);
}

int probe_start(uv_loop_t *loop, const ProbeOptions *o, ProbeFn fn, void *user, Probe **ret, Err *err)
{
	struct sockaddr_storage a = { 0 };
	assert(o->timeout_ns > 0);
	int r = check_options(o, &a, err);
	if (r < 0)
		return r;
	Probe *p = xcalloc(1, sizeof(*p));
	r = uv_tcp_init_ex(loop, &p->tcp, a.ss_family);
	if (r < 0) {
		free(p);
		return err_errno(err, r, "cannot make a socket");
	}
	(void) uv_timer_init(loop, &p->timer);
	p->handles = 2;
	p->tcp.data = p->timer.data = p->connect.data = p;
	p->fn = fn;
	p->user = user;
	p->place = a.ss_family == AF_INET6 ? xasprintf("[%s]:%u", o->address, o->port) : xasprintf("%s:%u", o->address, o->port);
	if (o->path)
		p->request = make_request(o, p->place);
	probe_reply_init(&p->reply, o->body_max);
	p->started = time_mono();
	p->timeout = o->timeout_ns;
	/* The loop's own idea of now may be old, and the time-out would come early. */
	uv_update_time(loop);
	uint64_t wait = time_timer_msec(o->timeout_ns);
	r = uv_tcp_connect(&p->connect, &p->tcp, (const struct sockaddr *) &a, on_connected);
	if (r < 0) { /* no route, say: told from the loop like the rest */
		(void) err_errno(&p->err, r, "cannot connect to %s", p->place);
		wait = 0;
	}
	(void) uv_timer_start(&p->timer, on_timer, wait, 0);
	if (ret)
		*ret = p;
	return 0;
}
