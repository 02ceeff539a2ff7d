// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: what can be written at once is written at once; the rest is copied and queued in libuv, whose queue length is
 * the backlog that callers are told. An error of a write is never acted upon here, where a handler is
 * in the middle of its work with the request: it comes again in the callback of the queued write,
 * from the loop, and ends the connection there.
 */
#include <errno.h>
#include <stdarg.h>
#include <strings.h>
#include <time.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/http-conn.h"

#define JSON_TYPE "application/json"

/* ---- the request ---- */

const char *http_method(const HttpRequest *r)
{
	return r->conn->msg.method;
}

const char *http_path(const HttpRequest *r)
{
	return r->conn->msg.path;
}

const char *http_query(const HttpRequest *r, const char *key)
{
	return query_get(&r->conn->msg.query, key);
}

char **http_query_all(const HttpRequest *r, const char *key)
{
	char **v = NULL;
	const Query *q = &r->conn->msg.query;
	for (size_t i = 0; i < q->n_params; i++)
		if (str_eq(q->params[i].key, key))
			strv_add(&v, q->params[i].value);
	return v;
}

bool http_query_bool(const HttpRequest *r, const char *key, bool otherwise)
{
	return query_bool(http_query(r, key), otherwise);
}

const char *http_header(const HttpRequest *r, const char *name)
{
	return http_message_header(&r->conn->msg, name);
}

const char *http_body(const HttpRequest *r, size_t *ret_len)
{
	*ret_len = r->conn->msg.body.len;
	return buf_cstr(&r->conn->msg.body);
}

int http_body_json(const HttpRequest *r, json_t **ret, Err *err)
{
	size_t n;
	const char *p = http_body(r, &n);
	json_error_t e;
	if (n == 0) {
		*ret = json_object();
		return 0;
	}
	json_t *value = json_loadb(p, n, 0, &e);
	if (!value)
		return err_set(err, -EINVAL, "the request's body is not valid JSON: line %d, column %d: %s", e.line, e.column, e.text);
	*ret = value;
	return 0;
}

void http_set_user(HttpRequest *r, void *user, void (*closed)(void *user))
{
	r->user = user;
	r->closed = closed;
}

void http_on_body(HttpRequest *r, void (*chunk)(void *user, const void *p, size_t n))
{
	r->chunk = chunk;
	conn_kick(r->conn);
}

void http_body_pause(HttpRequest *r, bool pause)
{
	r->paused = pause;
	conn_kick(r->conn);
}

/* ---- writing ---- */

typedef struct WriteReq {
	uv_write_t req;
	char data[];
} WriteReq;

static void on_written(uv_write_t *req, int status)
{
	HttpConn *c = req->handle->data;
	free(req);
	if (c->closing)
		return;
	if (status < 0) {
		conn_abort(c);
		return;
	}
	HttpRequest *r = c->req;
	if (r && r->backlogged && uv_stream_get_write_queue_size((uv_stream_t *) &c->pipe) <= LIMIT_API_BACKLOG / 2) {
		r->backlogged = false;
		if (r->drained)
			r->drained(r->user);
	}
}

void conn_write(HttpConn *c, const uv_buf_t *bufs, unsigned n)
{
	uv_stream_t *stream = (uv_stream_t *) &c->pipe;
	if (c->closing)
		return;
	int done = uv_try_write(stream, bufs, n);
	size_t skip = done > 0 ? (size_t) done : 0;
	size_t total = 0;
	for (unsigned i = 0; i < n; i++)
		total += bufs[i].len;
	if (skip == total)
		return;
	WriteReq *w = xmalloc(sizeof(*w) + total - skip);
	size_t len = 0;
	for (unsigned i = 0; i < n; i++) {
		size_t cut = skip < bufs[i].len ? skip : bufs[i].len;
		skip -= cut;
		if (bufs[i].len > cut)
			memcpy(w->data + len, bufs[i].base + cut, bufs[i].len - cut);
		len += bufs[i].len - cut;
	}
	uv_buf_t b = uv_buf_init(w->data, (unsigned) len);
	if (uv_write(&w->req, stream, &b, 1, on_written) < 0)
		free(w);
}

static uv_buf_t bytes(const void *p, size_t n)
{
	return (uv_buf_t) { .base = (char *) (uintptr_t) p, .len = n };
}

static size_t backlog(HttpRequest *r)
{
	size_t n = uv_stream_get_write_queue_size((uv_stream_t *) &r->conn->pipe);
	if (n > LIMIT_API_BACKLOG)
		r->backlogged = true;
	return n;
}

/* ---- heads ---- */

static void head_common(HttpRequest *r, Buf *b, const char *type)
{
	char date[64];
	time_t now = time(NULL);
	struct tm tm;
	(void) gmtime_r(&now, &tm);
	(void) strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	buf_printf(b, "Api-Version: 1.41\r\nDocker-Experimental: false\r\nOstype: linux\r\n"
		      "Server: stead/" STEAD_VERSION " (linux)\r\nDate: %s\r\n", date);
	if (type)
		buf_printf(b, "Content-Type: %s\r\n", type);
	buf_append(b, r->headers.data, r->headers.len);
}

static void head_begin(HttpRequest *r, Buf *b, int status, const char *type)
{
	const HttpMessage *m = &r->conn->msg;
	/* With the request's body not read to its end, the next request cannot be found. */
	r->keep = m->keep_alive && m->complete && !r->conn->server->closing;
	buf_printf(b, "HTTP/1.1 %d %s\r\n", status, http_status_str((enum http_status) status));
	head_common(r, b, type);
}

static void head_end(HttpRequest *r, Buf *b)
{
	if (!r->keep)
		buf_str(b, "Connection: close\r\n");
	else if (r->conn->msg.http10)
		buf_str(b, "Connection: keep-alive\r\n");
	buf_str(b, "\r\n");
}

void http_add_header(HttpRequest *r, const char *name, const char *value)
{
	buf_printf(&r->headers, "%s: ", name);
	for (const char *p = value; *p; p++)
		buf_char(&r->headers, (unsigned char) *p < 0x20 || *p == 0x7f ? '?' : *p);
	buf_str(&r->headers, "\r\n");
}

/* ---- whole answers ---- */

void http_reply(HttpRequest *r, int status, const char *type, const void *body, size_t n)
{
	AUTO_BUF head = BUF_INIT;
	bool bodiless = status == 204 || status == 304;
	head_begin(r, &head, status, bodiless ? NULL : type);
	if (!bodiless)
		buf_printf(&head, "Content-Length: %zu\r\n", n);
	head_end(r, &head);
	uv_buf_t b[2] = { bytes(head.data, head.len), bytes(body, n) };
	conn_write(r->conn, b, bodiless || r->head || n == 0 ? 1 : 2);
	request_finish(r, r->keep);
}

static int dump_to_buf(const char *p, size_t n, void *user)
{
	buf_append(user, p, n);
	return 0;
}

/** Compact, with a newline, as Go's encoder writes it. Takes ownership. */
static int dump(json_t *value, Buf *b)
{
	int r = value ? json_dump_callback(value, dump_to_buf, b, JSON_COMPACT | JSON_ENCODE_ANY) : -1;
	json_decref(value);
	buf_char(b, '\n');
	return r;
}

void http_reply_json(HttpRequest *r, int status, json_t *value)
{
	AUTO_BUF b = BUF_INIT;
	if (dump(value, &b) < 0)
		http_error(r, 500, "the answer could not be written as JSON");
	else
		http_reply(r, status, JSON_TYPE, b.data, b.len);
}

/** A JSON string of any bytes: a child's error text need not be UTF-8. */
static json_t *text_json(char *text)
{
	json_t *s = json_string(text);
	if (s)
		return s;
	for (char *p = text; *p; p++)
		if ((unsigned char) *p >= 0x80)
			*p = '?';
	return json_string(text);
}

void http_error(HttpRequest *r, int status, const char *fmt, ...)
{
	AUTO_FREE char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	http_reply_json(r, status, json_pack("{s:o}", "message", text_json(text)));
}

void http_error_err(HttpRequest *r, const Err *err)
{
	static const struct {
		int code, status;
	} map[] = {
		{ -ENOENT, 404 }, { -EEXIST, 409 }, { -EBUSY, 409 }, { -EINVAL, 400 }, { -EFBIG, 413 }, { -ENOTSUP, 501 },
	};
	int status = 500;
	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (map[i].code == err->code)
			status = map[i].status;
	http_error(r, status, "%s", err_text(err));
}

/* ---- streams ---- */

void http_stream_begin(HttpRequest *r, int status, const char *type)
{
	AUTO_BUF head = BUF_INIT;
	/* An answer that begins before a body that is read as a stream: the body is still wanted. */
	if (r->streaming_body && status < 300)
		conn_continue(r->conn);
	r->chunked = !r->conn->msg.http10;
	head_begin(r, &head, status, type);
	if (r->chunked)
		buf_str(&head, "Transfer-Encoding: chunked\r\n");
	else
		r->keep = false; /* the end of the connection is the end of the body */
	head_end(r, &head);
	r->state = REQUEST_STREAM;
	uv_buf_t b = bytes(head.data, head.len);
	conn_write(r->conn, &b, 1);
}

size_t http_stream_write(HttpRequest *r, const void *p, size_t n)
{
	char size[20];
	if (n == 0 || r->head)
		return backlog(r);
	if (r->state != REQUEST_HIJACKED && r->chunked) {
		int len = snprintf(size, sizeof(size), "%zx\r\n", n);
		uv_buf_t b[3] = { bytes(size, (size_t) len), bytes(p, n), bytes("\r\n", 2) };
		conn_write(r->conn, b, 3);
	} else {
		uv_buf_t b = bytes(p, n);
		conn_write(r->conn, &b, 1);
	}
	return backlog(r);
}

size_t http_stream_json(HttpRequest *r, json_t *value)
{
	AUTO_BUF b = BUF_INIT;
	if (dump(value, &b) < 0)
		return backlog(r); /* half a value would spoil the whole stream */
	return http_stream_write(r, b.data, b.len);
}

void http_on_drained(HttpRequest *r, void (*drained)(void *user))
{
	r->drained = drained;
}

void http_stream_end(HttpRequest *r)
{
	if (r->state == REQUEST_STREAM && r->chunked && !r->head) {
		uv_buf_t b = bytes("0\r\n\r\n", 5);
		conn_write(r->conn, &b, 1);
	}
	request_finish(r, r->state == REQUEST_STREAM && r->keep);
}

void http_hijack(HttpRequest *r, void (*chunk)(void *user, const void *p, size_t n))
{
	AUTO_BUF head = BUF_INIT;
	bool upgrade = r->conn->msg.upgrade_tcp;
	buf_str(&head, upgrade ? "HTTP/1.1 101 UPGRADED\r\n" : "HTTP/1.1 200 OK\r\n");
	head_common(r, &head, "application/vnd.docker.raw-stream");
	if (upgrade)
		buf_str(&head, "Connection: Upgrade\r\nUpgrade: tcp\r\n");
	buf_str(&head, "\r\n");
	r->state = REQUEST_HIJACKED;
	r->head = false;
	r->told_end = false;
	r->chunk = chunk;
	uv_buf_t b = bytes(head.data, head.len);
	conn_write(r->conn, &b, 1);
	conn_kick(r->conn);
}
