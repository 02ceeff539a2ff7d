// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: http-parser is fed what read(2) gives and collects the decoded body in `body`, from which all ways of
 * reading take. One read(2) of at most 64 KiB is done only when `body` has nothing to give, so memory stays small and
 * poll(2) on the descriptor tells the truth. After a 101 the parser stops by itself and what follows
 * stays in `in`; a hijacked answer with 200 has no length, so its raw bytes are its body.
 *
 * A kept connection may have been closed by the daemon in the meantime. It is asked before each request, and
 * opened again where the client has opened it itself; also when the daemon closes it just then, as long as it has read nothing
 * of the request (EPIPE for the first byte), or the request may be made twice (GET, HEAD).
 */
#include "io/http-client.h"

#include <errno.h>
#include <http_parser.h>
#include <poll.h>
#include <signal.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "base/mem.h"
#include "base/str.h"

#define LINE_MAX_BYTES (16U << 20)
#define HEADERS_MAX (256U << 10)
#define ERROR_BODY_MAX (1U << 20)
#define PIECE (64U << 10)

struct HttpClient {
	int read_fd, write_fd;
	HttpTransport transport; /* without `dial`: only the descriptors are known */
	http_parser parser;
	Buf in;      /* read, not parsed: after a 101 */
	Buf body;    /* decoded, from body_at on not yet given out */
	size_t body_at;
	Buf headers; /* "name\0value\0" pairs */
	int status;
	bool in_value, headers_done, complete, head;
	bool used; /* a request has been sent on this connection */
	bool kept; /* the last request was not its first */
	size_t sent, received; /* bytes since the last request began */
	bool keep; /* and it may be followed by another one */
};

/* ---- the connection ---- */

static int connect_error(const char *path, int r, Err *err)
{
	if (r == -ENOENT || r == -ECONNREFUSED)
		return err_set(err, r, "the stead daemon is not running: nobody answers at %s; start it with "
				       "'sudo systemctl start stead', or in a terminal with 'sudo stead daemon'", path);
	if (r == -EACCES || r == -EPERM)
		return err_set(err, r, "no permission to talk to the stead daemon at %s: use sudo, or join its group with "
				       "'sudo usermod -aG stead $USER' and log in again", path);
	return err_errno(err, r, "cannot connect to the stead daemon at %s", path);
}

int http_dial_unix(const char *path, int *ret, Err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t n = strlen(path);
	if (n >= sizeof(a.sun_path))
		return err_set(err, -ENAMETOOLONG, "the path of the socket is too long: %s", path);
	memcpy(a.sun_path, path, n + 1);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(err, -errno, "socket");
	if (connect(fd, (struct sockaddr *) &a, sizeof(a)) < 0)
		return connect_error(path, -errno, err);
	*ret = steal_fd(&fd);
	return 0;
}

static int dial_path(void *user, int *ret_fd, Err *err)
{
	return http_dial_unix(user, ret_fd, err);
}

HttpClient *http_client_new(int read_fd, int write_fd)
{
	HttpClient *c = xcalloc(1, sizeof(*c));
	c->read_fd = read_fd;
	c->write_fd = write_fd;
	return c;
}

int http_client_open(const HttpTransport *t, HttpClient **ret, Err *err)
{
	int fd = -1;
	int r = t->dial(t->user, &fd, err);
	if (r < 0) {
		t->done(t->user);
		return r;
	}
	*ret = http_client_new(fd, fd);
	(*ret)->transport = *t;
	return 0;
}

int http_client_connect(const char *path, HttpClient **ret, Err *err)
{
	const HttpTransport t = { .dial = dial_path, .done = free, .user = xstrdup(path) };
	return http_client_open(&t, ret, err);
}

int http_client_wait(const HttpClient *c, Err *err)
{
	return c->transport.wait ? c->transport.wait(c->transport.user, err) : 0;
}

int http_client_lost(const HttpClient *c, Err *err)
{
	return c->transport.lost ? c->transport.lost(c->transport.user, err) : 0;
}

static void close_fds(HttpClient *c)
{
	if (c->write_fd >= 0 && c->write_fd != c->read_fd)
		(void) close(c->write_fd);
	if (c->read_fd >= 0)
		(void) close(c->read_fd);
	c->read_fd = c->write_fd = -1;
}

void http_client_free(HttpClient *c)
{
	if (!c)
		return;
	close_fds(c);
	buf_done(&c->in);
	buf_done(&c->body);
	buf_done(&c->headers);
	if (c->transport.done)
		c->transport.done(c->transport.user);
	free(c);
}

void http_client_freep(HttpClient **c)
{
	http_client_free(*c);
}

static bool readable_now(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	return poll(&p, 1, 0) > 0;
}

static int client_redial(HttpClient *c, Err *err)
{
	close_fds(c);
	c->used = false;
	int fd = -1;
	int r = c->transport.dial(c->transport.user, &fd, err);
	if (r < 0)
		return r;
	c->read_fd = c->write_fd = fd;
	return 0;
}

/** Before a request: the connection must be free, and if it is not alive any more a new one is made. */
static int client_prepare(HttpClient *c, Err *err)
{
	if (c->used && !c->complete && c->keep)
		return err_set(err, -EBUSY, "the connection is busy: the last answer was not read to its end");
	/* Nothing is due between two answers, so what can be read is the end. */
	bool dead = c->read_fd < 0 || (c->used && (!c->keep || readable_now(c->read_fd)));
	if (!dead)
		return 0;
	if (!c->transport.dial)
		return err_set(err, -ECONNRESET, "the connection to the daemon has been closed");
	return client_redial(c, err);
}

/** A write to a pipe whose reader is gone must fail, not end the process. */
static ssize_t write_quietly(int fd, const void *p, size_t n)
{
	ssize_t r = send(fd, p, n, MSG_NOSIGNAL);
	if (r >= 0 || errno != ENOTSOCK)
		return r;
	sigset_t pipe, old, pending;
	const struct timespec zero = { 0 };
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	(void) sigpending(&pending);
	(void) sigprocmask(SIG_BLOCK, &pipe, &old);
	r = write(fd, p, n);
	int e = errno;
	if (r < 0 && e == EPIPE && !sigismember(&pending, SIGPIPE))
		(void) sigtimedwait(&pipe, NULL, &zero);
	(void) sigprocmask(SIG_SETMASK, &old, NULL);
	errno = e;
	return r;
}

static int client_write(HttpClient *c, const void *p, size_t n)
{
	const char *at = p;
	while (n) {
		ssize_t r = write_quietly(c->write_fd, at, n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		at += r;
		n -= (size_t) r;
		c->sent += (size_t) r;
	}
	return 0;
}

/* ---- parsing ---- */

static int on_header_piece(HttpClient *c, const char *p, size_t n, bool value)
{
	if (c->headers_done)
		return 0; /* trailers */
	if (c->in_value != value) {
		buf_char(&c->headers, '\0');
		c->in_value = value;
	}
	buf_append(&c->headers, p, n);
	return c->headers.len > HEADERS_MAX ? -1 : 0;
}

static int on_field(http_parser *parser, const char *p, size_t n)
{
	return on_header_piece(parser->data, p, n, false);
}

static int on_value(http_parser *parser, const char *p, size_t n)
{
	return on_header_piece(parser->data, p, n, true);
}

static int on_headers(http_parser *parser)
{
	HttpClient *c = parser->data;
	buf_char(&c->headers, '\0');
	c->in_value = false;
	c->status = (int) parser->status_code;
	c->headers_done = c->status >= 200 || c->status == 101;
	return c->head ? 1 : 0;
}

static int on_body(http_parser *parser, const char *p, size_t n)
{
	HttpClient *c = parser->data;
	buf_append(&c->body, p, n);
	return 0;
}

static int on_complete(http_parser *parser)
{
	HttpClient *c = parser->data;
	if (!c->headers_done) { /* 100 Continue: the answer itself follows */
		buf_clear(&c->headers);
		return 0;
	}
	c->complete = true;
	c->keep = http_should_keep_alive(parser) && c->status != 101;
	http_parser_pause(parser, 1); /* what follows is no answer to anything: not parsed */
	return 0;
}

static const http_parser_settings settings = {
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_headers,
	.on_body = on_body,
	.on_message_complete = on_complete,
};

/** Reads once and parses. -EAGAIN (only without `wait`), or a fatal error with its text. */
static int client_fill(HttpClient *c, bool wait, Err *err)
{
	if (!wait && !readable_now(c->read_fd))
		return -EAGAIN;
	AUTO_FREE char *p = xmalloc(PIECE);
	ssize_t n;
	while ((n = read(c->read_fd, p, PIECE)) < 0 && errno == EINTR)
		;
	if (n < 0 && errno == EAGAIN && !wait)
		return -EAGAIN;
	int lost = n < 0 ? -errno : 0;
	if (n <= 0 && !c->complete) {
		int known = http_client_lost(c, err);
		if (known < 0)
			return known;
	}
	if (n < 0)
		return err_errno(err, lost, "the connection to the daemon was lost");
	c->received += (size_t) n;
	size_t used = http_parser_execute(&c->parser, &settings, p, (size_t) n);
	enum http_errno e = HTTP_PARSER_ERRNO(&c->parser);
	if (n == 0 && !c->complete)
		return err_set(err, -ECONNRESET, "the connection to the daemon was lost before its answer was complete; "
						 "see 'journalctl -u stead' for why");
	if (e != HPE_OK && e != HPE_PAUSED)
		return err_set(err, -EPROTO, "the answer is not HTTP: %s", http_errno_description(e));
	if (used < (size_t) n)
		buf_append(&c->in, p + used, (size_t) n - used);
	return 0;
}

/* ---- requests ---- */

static int send_stream(HttpClient *c, const HttpBody *b, bool chunked, size_t left, Err *err)
{
	AUTO_FREE char *p = xmalloc(PIECE + 32);
	size_t sent = 0;
	for (;;) {
		/* An answer that comes while the body is on its way may be a refusal. */
		while (!c->headers_done && readable_now(c->read_fd)) {
			int r = client_fill(c, true, err);
			if (r < 0)
				return r;
		}
		if (c->headers_done && c->status >= 400)
			return 0;
		size_t room = chunked || left > PIECE ? PIECE : left;
		char *data = p + 16;
		ssize_t n = room ? read(b->fd, data, room) : 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, -errno, "cannot read what is to be sent");
		if (n == 0 && left && !chunked)
			return err_set(err, -EIO, "the file became shorter while it was sent");
		size_t len = (size_t) n;
		if (chunked) {
			char size[16];
			int digits = snprintf(size, sizeof(size), "%zx\r\n", len);
			data -= digits;
			memcpy(data, size, (size_t) digits);
			len += (size_t) digits;
			memcpy(data + len, "\r\n", 2); /* n = 0: the last chunk and an empty trailer */
			len += 2;
		} else {
			left -= (size_t) n;
		}
		int r = client_write(c, data, len);
		if (r == -EPIPE || r == -ECONNRESET)
			return 0; /* the answer says why */
		if (r < 0)
			return err_errno(err, r, "cannot send to the daemon");
		sent += (size_t) n;
		if (n && b->progress)
			b->progress(b->user, sent);
		if (n == 0)
			return 0;
	}
}

static int send_request(HttpClient *c, const char *method, const char *target, const HttpBody *b, bool upgrade, Err *err)
{
	AUTO_FREE char *json = NULL;
	AUTO_BUF head = BUF_INIT;
	struct stat st;
	const char *data = b ? b->data : NULL;
	size_t len = b ? b->len : 0;
	bool stream = b && b->stream;
	bool chunked = stream;
	if (b && b->json) {
		json = json_dumps(b->json, JSON_COMPACT | JSON_ENCODE_ANY);
		if (!json)
			return err_set(err, -EINVAL, "the request could not be written as JSON");
		data = json;
		len = strlen(json);
	}
	if (stream && fstat(b->fd, &st) == 0 && S_ISREG(st.st_mode)) {
		off_t at = lseek(b->fd, 0, SEEK_CUR);
		len = at >= 0 && at < st.st_size ? (size_t) (st.st_size - at) : 0;
		chunked = false;
	}
	buf_printf(&head, "%s %s HTTP/1.1\r\nHost: stead\r\nUser-Agent: stead/" STEAD_VERSION "\r\n", method, target);
	if (upgrade)
		buf_str(&head, "Connection: Upgrade\r\nUpgrade: tcp\r\n");
	if (b && (json || b->type))
		buf_printf(&head, "Content-Type: %s\r\n", json ? "application/json" : b->type);
	if (b && !str_empty(b->registry_auth))
		buf_printf(&head, "X-Registry-Auth: %s\r\n", b->registry_auth);
	if (chunked)
		buf_str(&head, "Transfer-Encoding: chunked\r\n");
	else if (b || !str_eq(method, "GET"))
		buf_printf(&head, "Content-Length: %zu\r\n", len);
	buf_str(&head, "\r\n");
	if (data && !stream)
		buf_append(&head, data, len);
	int r = client_write(c, head.data, head.len);
	if (r < 0 && (r != -EPIPE || (c->kept && !c->sent)))
		return err_errno(err, r, "cannot send to the daemon");
	return stream && r == 0 ? send_stream(c, b, chunked, len, err) : 0;
}

static int request_once(HttpClient *c, const char *method, const char *target, const HttpBody *body, bool upgrade, Err *err)
{
	http_parser_init(&c->parser, HTTP_RESPONSE);
	c->parser.data = c;
	buf_clear(&c->in);
	buf_clear(&c->body);
	buf_clear(&c->headers);
	c->body_at = c->sent = c->received = 0;
	c->status = 0;
	c->in_value = c->headers_done = c->complete = false;
	c->head = str_eq(method, "HEAD");
	c->kept = c->used;
	c->used = c->keep = true;
	int r = send_request(c, method, target, body, upgrade, err);
	while (r == 0 && !c->headers_done)
		r = client_fill(c, true, err);
	if (r == 0)
		return c->status;
	c->keep = false;
	return r;
}

int http_request(HttpClient *c, const char *method, const char *target, const HttpBody *body, bool upgrade, Err *err)
{
	AUTO_ERR first = ERR_INIT;
	int r = client_prepare(c, err);
	if (r < 0)
		return r;
	r = request_once(c, method, target, body, upgrade, &first);
	bool harmless = c->sent == 0 || str_eq(method, "GET") || str_eq(method, "HEAD");
	if (r >= 0 || !c->kept || c->received || !harmless || !c->transport.dial || http_client_lost(c, NULL) < 0)
		return r >= 0 ? r : err_move(err, &first);
	r = client_redial(c, err);
	return r < 0 ? r : request_once(c, method, target, body, upgrade, err);
}

static int answer_error(HttpClient *c, Err *err)
{
	static const struct {
		int status, code;
	} map[] = {
		{ 400, -EINVAL }, { 403, -EACCES }, { 404, -ENOENT }, { 409, -EEXIST }, { 413, -EFBIG }, { 501, -ENOTSUP },
	};
	int code = -EIO;
	AUTO_BUF b = BUF_INIT;
	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (map[i].status == c->status)
			code = map[i].code;
	int r = http_read_all(c, ERROR_BODY_MAX, &b, err);
	if (r < 0)
		return r;
	json_t *o = json_loadb(buf_cstr(&b), b.len, 0, NULL);
	const char *text = json_string_value(json_object_get(o, "message"));
	if (text)
		(void) err_set(err, code, "%s", text);
	else
		(void) err_set(err, code, "the daemon answered %d: %.200s", c->status, buf_cstr(&b));
	json_decref(o);
	return code;
}

int http_call(HttpClient *c, const char *method, const char *target, const HttpBody *body, bool upgrade, Err *err)
{
	int r = http_request(c, method, target, body, upgrade, err);
	return r >= 400 ? answer_error(c, err) : r;
}

int http_call_json(HttpClient *c, const char *method, const char *target, const json_t *body, json_t **ret, Err *err)
{
	HttpBody b = { .json = body };
	AUTO_BUF text = BUF_INIT;
	json_error_t e;
	int r = http_call(c, method, target, body ? &b : NULL, false, err);
	if (r < 0)
		return r;
	r = http_read_all(c, SIZE_MAX, &text, err);
	if (r < 0)
		return r;
	json_t *value = text.len ? json_loadb(text.data, text.len, JSON_DECODE_ANY, &e) : json_null();
	if (!value)
		return err_set(err, -EPROTO, "the daemon's answer is not JSON: line %d: %s", e.line, e.text);
	if (ret)
		*ret = value;
	else
		json_decref(value);
	return 0;
}

int http_status(const HttpClient *c)
{
	return c->status;
}

const char *http_response_header(const HttpClient *c, const char *name)
{
	for (size_t at = 0; at < c->headers.len;) {
		const char *key = c->headers.data + at;
		const char *value = key + strlen(key) + 1;
		if (strcasecmp(key, name) == 0)
			return value;
		at = (size_t) (value - c->headers.data) + strlen(value) + 1;
	}
	return NULL;
}

/* ---- the body ---- */

static size_t body_left(const HttpClient *c)
{
	return c->body.len - c->body_at;
}

/** Drops what has been given out, and reads once more. */
static int body_fill(HttpClient *c, bool wait, Err *err)
{
	buf_consume(&c->body, c->body_at);
	c->body_at = 0;
	return client_fill(c, wait, err);
}

int http_read_all(HttpClient *c, size_t max, Buf *ret, Err *err)
{
	size_t total = 0;
	for (;;) {
		size_t n = body_left(c);
		if (n > max - total)
			return err_set(err, -EFBIG, "the daemon's answer is larger than %zu bytes", max);
		buf_append(ret, c->body.data + c->body_at, n);
		c->body_at += n;
		total += n;
		if (c->complete)
			return 0;
		int r = body_fill(c, true, err);
		if (r < 0)
			return r;
	}
}

int http_read_line(HttpClient *c, char **ret, size_t *ret_len, Err *err)
{
	size_t seen = 0;
	for (;;) {
		char *start = c->body.data + c->body_at;
		size_t n = body_left(c);
		char *nl = n > seen ? memchr(start + seen, '\n', n - seen) : NULL;
		if (!nl && c->complete && n == 0)
			return 0;
		if (nl || c->complete) {
			size_t len = nl ? (size_t) (nl - start) : n;
			start[len] = '\0';
			c->body_at += nl ? len + 1 : len;
			*ret = start;
			*ret_len = len;
			return 1;
		}
		if (n > LINE_MAX_BYTES)
			return err_set(err, -EFBIG, "a line of the daemon's answer is longer than %u bytes", LINE_MAX_BYTES);
		seen = n;
		int r = body_fill(c, true, err);
		if (r < 0)
			return r;
	}
}

static ssize_t body_read(HttpClient *c, void *p, size_t n, bool wait, Err *err)
{
	while (body_left(c) == 0) {
		if (c->complete)
			return 0;
		int r = body_fill(c, wait, err);
		if (r < 0)
			return r;
	}
	size_t len = n < body_left(c) ? n : body_left(c);
	memcpy(p, c->body.data + c->body_at, len);
	c->body_at += len;
	return (ssize_t) len;
}

ssize_t http_read(HttpClient *c, void *p, size_t n, Err *err)
{
	return body_read(c, p, n, true, err);
}

ssize_t http_read_some(HttpClient *c, void *p, size_t n, Err *err)
{
	return body_read(c, p, n, false, err);
}

bool http_pending(const HttpClient *c)
{
	return body_left(c) > 0 || c->complete;
}

int http_fd(const HttpClient *c)
{
	return c->read_fd;
}

void http_hijack_client(HttpClient *c, int *ret_read_fd, int *ret_write_fd, Buf *leftover)
{
	buf_append(leftover, c->body.data + c->body_at, body_left(c));
	buf_append(leftover, c->in.data, c->in.len);
	*ret_read_fd = c->read_fd;
	*ret_write_fd = c->write_fd;
	c->read_fd = c->write_fd = -1;
}

/* ---- targets ---- */

void http_url_append(Buf *url, const char *s)
{
	for (; *s; s++) {
		bool plain = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || strchr("-._~", *s);
		if (plain)
			buf_char(url, *s);
		else
			buf_printf(url, "%%%02X", (unsigned char) *s);
	}
}

void http_url_query(Buf *url, const char *key, const char *value)
{
	if (!value)
		return;
	buf_char(url, url->data && strchr(url->data, '?') ? '&' : '?');
	http_url_append(url, key);
	buf_char(url, '=');
	http_url_append(url, value);
}
