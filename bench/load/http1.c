// SPDX-License-Identifier: Apache-2.0
#include "bench/load/answer.h"

#include <errno.h>

#include "base/time.h"

/* Whom nobody answers should not be asked a thousand times a second. */
#define FAIL_PAUSE (20 * NSEC_PER_MSEC)

typedef struct Http1 {
	Worker w;
	Link *link;
	bool ready;        /* the link is connected */
	uint64_t served;   /* answers that came over it */
	Exchange x;
	Answer answer;
	Buf request;
} Http1;

static void http1_drop(Http1 *h)
{
	link_close(h->link);
	h->link = NULL;
	h->ready = false;
	h->served = 0;
}

static void http1_answered(Http1 *h)
{
	bool keep = http_should_keep_alive(&h->answer.parser);

	exchange_end(&h->x);
	h->served++;
	if (h->w.kind->keep && !keep)
		h->w.kind->counts.closes++;
	if (!h->w.kind->keep || !keep)
		http1_drop(h);
	worker_next(&h->w, worker_pause(&h->w));
}

static void http1_failed(Http1 *h)
{
	http1_drop(h);
	worker_next(&h->w, FAIL_PAUSE);
}

/* --- the link */

static void on_data(void *user, const char *p, size_t n)
{
	Http1 *h = user;

	if (!h->x.open) {
		h->x.status = 0;
		exchange_fail(&h->x, FAIL_PROTOCOL, true, "%zu bytes that nobody asked for: %.*s", n, (int) (n < 40 ? n : 40), p);
		http1_drop(h);
		return;
	}
	size_t used = answer_read(&h->answer, p, n);
	if (h->answer.complete && used < n) {
		exchange_fail(&h->x, FAIL_PROTOCOL, false, "%s: %zu bytes after the answer's end", h->x.path, n - used);
		http1_failed(h);
	} else if (h->answer.complete) {
		http1_answered(h);
	} else if (h->answer.parser.http_errno != HPE_OK) {
		exchange_fail(&h->x, FAIL_PROTOCOL, false, "%s: %s: %.*s", h->x.path,
			http_errno_description(h->answer.parser.http_errno), (int) (n < 40 ? n : 40), p);
		http1_failed(h);
	}
}

static void on_end(void *user, int why, bool connected)
{
	Http1 *h = user;
	bool reused = h->served > 0 && h->answer.bytes == 0;

	h->link = NULL;
	h->ready = false;
	h->served = 0;
	if (!h->x.open) {
		h->w.kind->counts.closes++;
		return;
	}
	if (why == 0 && h->answer.bytes > 0) {
		(void) answer_read(&h->answer, NULL, 0);
		if (h->answer.complete) { /* an answer may end with its connection, RFC 9112 section 6.3 */
			http1_answered(h);
			return;
		}
	}
	exchange_fail(&h->x, link_failure(why, connected, h->answer.bytes > 0), reused, "%s %s: %s after %zu bytes",
		h->x.post ? "POST" : "GET", h->x.path, why == 0 ? "closed" : uv_strerror(why), h->answer.bytes);
	http1_failed(h);
}

static void http1_send(Http1 *h)
{
	Exchange *x = &h->x;
	const char *type = h->w.load->post_type ? h->w.load->post_type : "application/octet-stream";

	buf_clear(&h->request);
	buf_printf(&h->request, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: stead-load\r\n", x->post ? "POST" : "GET", x->path, h->w.load->host);
	if (!h->w.kind->keep)
		buf_str(&h->request, "Connection: close\r\n");
	if (x->post)
		buf_printf(&h->request, "Content-Type: %s\r\nContent-Length: %zu\r\n", type, x->body_len);
	buf_str(&h->request, "\r\n");
	if (x->post)
		buf_append(&h->request, x->body, x->body_len);
	link_send(h->link, h->request.data, h->request.len);
}

static void on_ready(void *user)
{
	Http1 *h = user;
	h->ready = true;
	if (h->x.open)
		http1_send(h);
}

static const LinkEvents link_events = { on_ready, on_data, on_end };

/* --- the worker */

static void http1_turn(Worker *w)
{
	Http1 *h = (Http1 *) w;

	exchange_begin(&h->x, w);
	answer_begin(&h->answer, &h->x);
	if (h->link && h->ready) {
		http1_send(h);
		return;
	}
	h->link = link_open(w->load->loop, &w->load->target, false, &link_events, h);
	w->kind->counts.connections++;
}

static void http1_tick(Worker *w, int64_t now)
{
	Http1 *h = (Http1 *) w;

	if (!h->x.open || now < h->x.deadline)
		return;
	exchange_fail(&h->x, FAIL_TIMEOUT, h->served > 0 && h->answer.bytes == 0, "%s %s: %s, %zu bytes", h->x.post ? "POST" : "GET", h->x.path,
		h->ready ? "no whole answer" : "no connection", h->answer.bytes);
	http1_failed(h);
}

static bool http1_busy(const Worker *w)
{
	return ((const Http1 *) w)->x.open;
}

static void http1_stop(Worker *w)
{
	if (!http1_busy(w))
		http1_drop((Http1 *) w);
}

static void http1_init(Worker *w)
{
	Http1 *h = (Http1 *) w;
	h->x = (Exchange){ .load = w->load, .kind = w->kind };
}

static void http1_done(Worker *w)
{
	Http1 *h = (Http1 *) w;
	http1_drop(h);
	buf_done(&h->request);
	answer_done(&h->answer);
}

const WorkerOps http1_ops = { sizeof(Http1), http1_init, http1_turn, http1_tick, http1_stop, http1_busy, http1_done };
