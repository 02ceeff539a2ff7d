// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP/2 with nghttp2. A worker is a connection with STREAMS requests in flight at a time. What the server says it has not
 * processed (a stream above GOAWAY's last one, or reset with REFUSED_STREAM; RFC 9113 section 8.7) is sent again and counted as
 * repeated: every client does so, with POST too. All else that ends without its answer is a failure.
 */
#include "bench/load/load.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/time.h"

#define STREAMS 8
#define FAIL_PAUSE (20 * NSEC_PER_MSEC)

typedef struct Stream {
	int32_t id; /* 0: none; -1: waits for a connection */
	Exchange x;
	size_t sent; /* of the request's body */
	bool answered, ended;
} Stream;

typedef struct Http2 {
	Worker w;
	Link *link;
	bool ready, going_away; /* going_away: no further requests on this connection */
	uint64_t served;
	nghttp2_session *session;
	Stream streams[STREAMS];
} Http2;

static void http2_submit(Http2 *h, Stream *s);
static void http2_renew(Http2 *h);

static void http2_flush(Http2 *h)
{
	AUTO_BUF out = BUF_INIT;
	const uint8_t *p;
	ssize_t n;

	while (h->session && (n = nghttp2_session_mem_send(h->session, &p)) > 0)
		buf_append(&out, p, (size_t) n);
	if (out.len > 0)
		link_send(h->link, out.data, out.len);
}

static void http2_drop(Http2 *h)
{
	link_close(h->link);
	h->link = NULL;
	h->ready = h->going_away = false;
	h->served = 0;
	nghttp2_session_del(h->session);
	h->session = NULL;
}

static bool http2_any(const Http2 *h)
{
	for (size_t i = 0; i < STREAMS; i++)
		if (h->streams[i].id != 0)
			return true;
	return false;
}

static void stream_failed(Http2 *h, Stream *s, Failure why, const char *what)
{
	exchange_fail(&s->x, why, h->served > 0 && !s->answered, "%s %s: %s after %zu bytes", s->x.post ? "POST" : "GET", s->x.path, what,
		s->x.got);
	s->id = 0;
	worker_next(&h->w, FAIL_PAUSE);
}

/** The connection is no more: with it go all its streams but those that it refused. */
static void http2_lost(Http2 *h, int why, bool connected)
{
	for (size_t i = 0; i < STREAMS; i++) {
		Stream *s = &h->streams[i];
		if (s->id > 0 || (s->id == -1 && !connected))
			stream_failed(h, s, link_failure(why, connected, s->answered), why == 0 ? "closed" : uv_strerror(why));
	}
	http2_drop(h);
	http2_renew(h);
}

/* --- what nghttp2 says */

static Stream *stream_of(Http2 *h, int32_t id)
{
	for (size_t i = 0; i < STREAMS; i++)
		if (id > 0 && h->streams[i].id == id)
			return &h->streams[i];
	return NULL;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value,
	size_t value_len, uint8_t flags, void *user)
{
	Stream *s = stream_of(user, frame->hd.stream_id);
	uint32_t status = 0;

	if (!s)
		return 0;
	if (name_len == 7 && memcmp(name, ":status", 7) == 0) {
		for (size_t i = 0; i < value_len && i < 3; i++)
			status = status * 10 + (uint32_t) (value[i] - '0');
		s->x.status = (int) status;
		s->answered = true;
	}
	exchange_header(&s->x, (const char *) name, name_len, (const char *) value, value_len);
	return 0;
}

static int on_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *user)
{
	Stream *s = stream_of(user, id);
	if (s)
		exchange_body(&s->x, (const char *) p, n);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	Http2 *h = user;
	Stream *s = stream_of(h, frame->hd.stream_id);

	if (frame->hd.type == NGHTTP2_GOAWAY && !h->going_away) {
		h->going_away = true;
		h->w.kind->counts.closes++;
	}
	if (s && s->id > 0 && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) && s->x.status / 100 != 1)
		s->ended = true;
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
	Http2 *h = user;
	Stream *s = stream_of(h, id);
	char text[64];

	if (!s)
		return 0;
	if (s->ended) { /* what is said after the end of the answer (RST_STREAM with NO_ERROR) does not matter */
		exchange_end(&s->x);
		s->id = 0;
		h->served++;
		worker_next(&h->w, worker_pause(&h->w));
		return 0;
	}
	if (code == NGHTTP2_REFUSED_STREAM) {
		h->w.kind->counts.repeated++;
		s->id = -1;
		return 0;
	}
	(void) snprintf(text, sizeof text, "stream reset with %s", nghttp2_http2_strerror(code));
	stream_failed(h, s, s->answered ? FAIL_TRUNCATED : FAIL_RESET, text);
	return 0;
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *p, size_t n, uint32_t *flags, nghttp2_data_source *source,
	void *user)
{
	Stream *s = source->ptr;
	size_t rest = s->x.body_len - s->sent;

	if (n > rest)
		n = rest;
	memcpy(p, s->x.body + s->sent, n);
	s->sent += n;
	if (s->sent == s->x.body_len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t) n;
}

static void session_new(Http2 *h)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 }, { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20 } };

	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		abort(); /* no memory */
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_chunk);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	if (nghttp2_session_client_new(&h->session, callbacks, h) != 0)
		abort();
	nghttp2_session_callbacks_del(callbacks);
	(void) nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings));
	(void) nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, 16 << 20);
}

/* --- the link */

/** Once a connection that goes away has no stream left, the next begins. */
static void http2_renew(Http2 *h)
{
	bool waiting = false;

	for (size_t i = 0; i < STREAMS; i++) {
		if (h->streams[i].id > 0)
			return;
		waiting = waiting || h->streams[i].id == -1;
	}
	if (h->link && !h->going_away)
		return;
	http2_drop(h);
	for (size_t i = 0; waiting && i < STREAMS; i++)
		if (h->streams[i].id == -1)
			http2_submit(h, &h->streams[i]);
}

static void on_ready(void *user)
{
	Http2 *h = user;

	h->ready = true;
	session_new(h);
	for (size_t i = 0; i < STREAMS; i++)
		if (h->streams[i].id == -1)
			http2_submit(h, &h->streams[i]);
	http2_flush(h);
}

static void on_data(void *user, const char *p, size_t n)
{
	Http2 *h = user;
	ssize_t used = nghttp2_session_mem_recv(h->session, (const uint8_t *) p, n);

	if (used < 0) {
		http2_lost(h, -EPROTO, true);
		return;
	}
	/* Refused on a connection that stays: once more on it. */
	for (size_t i = 0; i < STREAMS && !h->going_away; i++)
		if (h->streams[i].id == -1)
			http2_submit(h, &h->streams[i]);
	http2_flush(h);
	http2_renew(h);
}

static void on_end(void *user, int why, bool connected)
{
	Http2 *h = user;

	h->link = NULL;
	if (!http2_any(h) && !h->going_away)
		h->w.kind->counts.closes++;
	http2_lost(h, why, connected);
}

static const LinkEvents link_events = { on_ready, on_data, on_end };

/* --- requests */

static nghttp2_nv field(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *) name, (uint8_t *) value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE };
}

static void http2_submit(Http2 *h, Stream *s)
{
	const Load *load = h->w.load;
	char length[24];
	size_t n = 4;

	s->id = -1;
	if (!h->link) {
		h->link = link_open(load->loop, &load->target, load->target.tls != NULL, &link_events, h);
		h->w.kind->counts.connections++;
	}
	if (!h->ready || h->going_away)
		return;
	(void) snprintf(length, sizeof length, "%zu", s->x.body_len);
	nghttp2_nv fields[7] = { field(":method", s->x.post ? "POST" : "GET"), field(":scheme", load->target.tls ? "https" : "http"),
		field(":authority", load->host), field(":path", s->x.path) };
	fields[n++] = field("user-agent", "stead-load");
	if (s->x.post) {
		fields[n++] = field("content-type", load->post_type ? load->post_type : "application/octet-stream");
		fields[n++] = field("content-length", length);
	}
	nghttp2_data_provider body = { .source.ptr = s, .read_callback = read_body };
	s->sent = 0;
	s->answered = s->ended = false;
	s->x.status = 0;
	s->x.got = 0;
	int32_t id = nghttp2_submit_request(h->session, NULL, fields, n, s->x.post ? &body : NULL, NULL);
	if (id > 0)
		s->id = id;
	else
		h->going_away = true; /* out of stream numbers */
}

static void http2_turn(Worker *w)
{
	Http2 *h = (Http2 *) w;
	bool more = false;

	for (size_t i = 0; i < STREAMS; i++) {
		Stream *s = &h->streams[i];
		if (s->id != 0)
			continue;
		if (more) { /* the next turn fills the next stream */
			worker_next(w, 0);
			break;
		}
		exchange_begin(&s->x, w);
		http2_submit(h, s);
		more = true;
	}
	http2_flush(h);
	http2_renew(h);
}

static void http2_tick(Worker *w, int64_t now)
{
	Http2 *h = (Http2 *) w;

	for (size_t i = 0; i < STREAMS; i++) {
		Stream *s = &h->streams[i];
		if (s->id == 0 || now < s->x.deadline)
			continue;
		if (s->id > 0)
			(void) nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
		stream_failed(h, s, FAIL_TIMEOUT, h->ready ? "no whole answer" : "no connection");
	}
	http2_flush(h);
	if (h->link && !h->ready && !http2_any(h))
		http2_drop(h); /* a connection that does not come about */
	http2_renew(h);
}

static bool http2_busy(const Worker *w)
{
	return http2_any((const Http2 *) w);
}

static void http2_stop(Worker *w)
{
	if (!http2_busy(w))
		http2_drop((Http2 *) w);
}

static void http2_done(Worker *w)
{
	http2_drop((Http2 *) w);
}

const WorkerOps http2_ops = { sizeof(Http2), NULL, http2_turn, http2_tick, http2_stop, http2_busy, http2_done };
