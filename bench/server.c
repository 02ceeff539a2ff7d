// SPDX-License-Identifier: Apache-2.0
/*
 * The web service that tests and measurements deploy. One static executable without libraries, so that
 * the image `tiny` (tests/tiny/make puts it there as /bin/server) needs nothing else; it knows what it
 * answered, ends in an orderly way at SIGTERM, and misbehaves when its environment asks for it.
 *
 *   services:
 *     web: { image: tiny, command: [server], expose: [8080], environment: { VERSION: "2" } }
 *
 * Environment
 *   ADDRESS, PORT   where it listens; all addresses, 8080
 *   VERSION         stands in the header X-Version of each answer ("1"); X-Host has the host's name
 *   START_DELAY     ms until it listens
 *   STOP_DELAY      ms that it serves on after SIGTERM before it begins to end
 *   LOG=1           a line for each request on stdout
 *   FAULT           what is wrong with this version:
 *     crash         ends at once with code 1 and a line on stderr
 *     silent        runs, never listens
 *     unhealthy     /health answers 503
 *     smoke         all but /health and /stats answer 500
 *     oom           takes memory until it is killed (at 2 GiB it gives up by itself); at once: before it listens
 *     exit          ends with code 3 as at SIGTERM, but lets who is connected ask once more (LINGER)
 *     die           ends with code 3 at once, and cuts what is in flight
 *     errors        as smoke
 *     leak          takes 8 MiB a second
 *     mixed         each FAULT_EVERY-th request (20) suffers the next of: reset, truncate, status (500), hang,
 *                   close (without an answer), body (wrong), garbage (no HTTP); each FAULT_EVERY-th WebSocket
 *                   message is, in turn, ws-cut or ws-body. /stats counts them, for the load generator's own test.
 *   FAULT_AFTER     ms until oom and leak begin (0), or exit, die and errors (5000); SIGUSR1 begins them now
 *
 * Paths
 *   GET /           a line with version, host and process
 *   GET /health     "UP"
 *   GET /data?…     size=N bytes of the pattern abc…w (1000) spread over ms=N (0) in pieces of 4 KiB, with
 *                   status=N (200), header=NAME:VALUE (may be repeated; %HH is decoded), chunked=1
 *   GET /big        /data?size=102400;  GET /slow is that with ms=1000
 *   POST /echo      the body, up to 64 MiB
 *   GET /headers    the request's head as it arrived
 *   GET /ws         WebSocket echo (RFC 6455); closed with 1001 at SIGTERM
 *   GET /stats      {"version", "connections", "requests", "paths": {…}, "faults": {…}} of this process
 *
 * One thread, epoll; a connection is a request being read, an answer being written, or a WebSocket.
 * At SIGTERM it stops listening, closes connections that wait for a request, ends the others after
 * their answer (with Connection: close), and exits with 0 when none is left.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sha1.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX 32768
#define BODY_MAX (64 << 20)
#define PIECE 4096
#define OOM_MAX ((size_t) 2 << 30)
#define MS 1000000LL
#define LINGER (300 * MS) /* an idle connection may have a request on its way */

typedef struct Bytes {
	char *data;
	size_t len, cap;
} Bytes;

typedef enum ConnState { READING, ANSWERING, WEBSOCKET, HANGING } ConnState;
typedef enum Fault {
	FAULT_NONE,
	RESET,
	TRUNCATE,
	STATUS,
	HANG,
	CLOSE,
	BODY,
	GARBAGE,
	WS_CUT,
	WS_BODY,
	N_FAULTS
} Fault;
static const char *const fault_names[N_FAULTS] = {
	"none", "reset", "truncate", "status", "hang", "close", "body", "garbage", "ws-cut", "ws-body"};
static const char *const paths[] = {
	"/", "/health", "/data", "/big", "/slow", "/echo", "/headers", "/ws", "/stats", "other"};
#define N_PATHS (sizeof paths / sizeof paths[0])

typedef struct Conn {
	LIST_ENTRY(Conn) all;
	LIST_ENTRY(Conn) timed; /* waits for `due` */
	int fd;
	ConnState state;
	uint32_t events;
	bool close, continued, said_goodbye, is_timed, dead;
	Fault fault;
	Bytes in, out;
	size_t sent;
	size_t pattern, pattern_at; /* bytes of the pattern that are still to be added to `out`, and where */
	bool chunked;
	int64_t interval, due; /* between pieces, ns; 0 = all at once */
} Conn;

typedef struct Request {
	char *head;   /* NUL-terminated */
	char method[16], path[2048], *query;
	char *body;
	size_t body_len, total; /* total: all bytes that it has in `in` */
	bool close, head_only;
} Request;

static struct {
	int epoll, listener, signals;
	const char *version, *fault;
	char host[65];
	bool log, stopping, any_dead;
	int exit_code;
	int64_t fault_at, stop_at; /* -1: never */
	unsigned fault_every, fault_next, ws_fault_next;
	uint64_t requests, connections, ws_messages, by_path[N_PATHS], faults[N_FAULTS];
	LIST_HEAD(, Conn) conns, timed;
} server = {.epoll = -1, .listener = -1, .signals = -1, .fault_at = -1, .stop_at = -1};

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 * MS + t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "server: %s: %s\n", what, strerror(errno));
	exit(1);
}

static long env_number(const char *name, long otherwise)
{
	const char *s = getenv(name);
	char *end;

	if (!s || !*s)
		return otherwise;
	long n = strtol(s, &end, 10);
	if (*end || n < 0) {
		fprintf(stderr, "server: %s is not a number: %s\n", name, s);
		exit(2);
	}
	return n;
}

static void bytes_room(Bytes *b, size_t n)
{
	if (b->cap - b->len >= n)
		return;
	while (b->cap - b->len < n)
		b->cap = b->cap ? b->cap * 2 : 4096;
	b->data = realloc(b->data, b->cap);
	if (!b->data)
		die("memory");
}

static void bytes_add(Bytes *b, const void *p, size_t n)
{
	bytes_room(b, n);
	memcpy(b->data + b->len, p, n);
	b->len += n;
}

__attribute__((format(printf, 2, 3))) static void bytes_printf(Bytes *b, const char *fmt, ...)
{
	char text[HEAD_MAX + 512];
	va_list args;

	va_start(args, fmt);
	int n = vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	if (n > 0)
		bytes_add(b, text, (size_t) n < sizeof text ? (size_t) n : sizeof text - 1);
}

static bool env_fault(const char *name)
{
	return server.fault && strcmp(server.fault, name) == 0;
}
static bool fault_begun(void)
{
	return server.fault_at >= 0 && now() >= server.fault_at;
}

/* --- connections */

/* Freed at the end of the round: epoll may have reported it once more already. */
static void conn_end(Conn *c, bool reset)
{
	struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	if (c->dead)
		return;
	if (reset)
		(void) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	close(c->fd);
	c->dead = server.any_dead = true;
}

static void conn_timed(Conn *c, int64_t due)
{
	c->due = due;
	if (!c->is_timed)
		LIST_INSERT_HEAD(&server.timed, c, timed);
	c->is_timed = true;
}

static void conn_untimed(Conn *c)
{
	if (c->is_timed)
		LIST_REMOVE(c, timed);
	c->is_timed = false;
}

static void conn_watch(Conn *c, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = c};

	if (c->events == events)
		return;
	c->events = events;
	if (epoll_ctl(server.epoll, EPOLL_CTL_MOD, c->fd, &e) < 0)
		die("epoll_ctl");
}

static void sweep(void)
{
	Conn *c, *next;

	if (!server.any_dead)
		return;
	server.any_dead = false;
	for (c = LIST_FIRST(&server.conns); c; c = next) {
		next = LIST_NEXT(c, all);
		if (!c->dead)
			continue;
		conn_untimed(c);
		LIST_REMOVE(c, all);
		free(c->in.data);
		free(c->out.data);
		free(c);
	}
}

/* --- requests */

/** Value of a header within a head that ends with an empty line, copied to dst; false if it is not there. */
static bool header(const char *head, const char *name, char *dst, size_t size)
{
	size_t n = strlen(name);

	for (const char *line = strstr(head, "\r\n"); line && line[2] != '\r' && line[2]; line = strstr(line + 2, "\r\n")) {
		const char *p = line + 2;
		if (strncasecmp(p, name, n) != 0 || p[n] != ':')
			continue;
		p += n + 1;
		p += strspn(p, " \t");
		size_t len = strcspn(p, "\r\n");
		snprintf(dst, size, "%.*s", (int) len, p);
		return true;
	}
	return false;
}

/** Measures a chunked body. Gives the bytes it has with its framing, 0 if more must come, -1 if it is none. */
static ssize_t chunks_measure(char *body, size_t len, size_t *ret_len)
{
	size_t at = 0, out = 0;

	for (;;) {
		char *eol = memmem(body + at, len - at, "\r\n", 2), *end;
		if (!eol)
			return len - at > 1024 ? -1 : 0;
		unsigned long n = strtoul(body + at, &end, 16);
		if (end == body + at || n > BODY_MAX)
			return -1;
		at = (size_t) (eol - body) + 2;
		if (len - at < n + 2)
			return 0;
		if (n == 0) { /* trailers are not expected here */
			*ret_len = out;
			return (ssize_t) at + 2;
		}
		at += n + 2;
		out += n;
	}
}

static void chunks_join(char *body, size_t len)
{
	char *from = body, *to = body;

	while (len > 0) {
		size_t n = strtoul(from, NULL, 16);
		from = strstr(from, "\r\n") + 2;
		memmove(to, from, n);
		to += n;
		from += n + 2;
		len -= n;
	}
}

/** 1: a whole request is there; 0: not yet; -1: not HTTP, or too much. */
static int request_read(Conn *c, Request *r)
{
	char value[64];
	char *end = c->in.len ? memmem(c->in.data, c->in.len, "\r\n\r\n", 4) : NULL;
	size_t head_len, have;

	if (!end)
		return c->in.len > HEAD_MAX ? -1 : 0;
	head_len = (size_t) (end - c->in.data) + 4;
	have = c->in.len - head_len;
	if (head_len > HEAD_MAX)
		return -1;
	r->head = strndup(c->in.data, head_len);
	if (sscanf(r->head, "%15[A-Z] %2047[^ \r\n] HTTP/1.", r->method, r->path) != 2)
		return -1;
	if ((r->query = strchr(r->path, '?')))
		*r->query++ = 0;
	r->close = header(r->head, "Connection", value, sizeof value) && strcasecmp(value, "close") == 0;
	r->head_only = strcmp(r->method, "HEAD") == 0;
	r->body = c->in.data + head_len;
	r->total = head_len;
	int whole = 1;
	if (header(r->head, "Transfer-Encoding", value, sizeof value)) {
		ssize_t n = chunks_measure(r->body, have, &r->body_len);
		if (n < 0 || have > BODY_MAX)
			return -1;
		r->total += (size_t) n;
		whole = n > 0;
		if (whole)
			chunks_join(r->body, r->body_len);
	} else if (header(r->head, "Content-Length", value, sizeof value)) {
		r->body_len = strtoul(value, NULL, 10);
		if (r->body_len > BODY_MAX)
			return -1;
		r->total += r->body_len;
		whole = have >= r->body_len;
	}
	if (!whole && !c->continued && header(r->head, "Expect", value, sizeof value)) {
		c->continued = true;
		(void) send(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL);
	}
	return whole;
}

/* --- answers */

static void pattern_add(Bytes *b, size_t at, size_t n)
{
	bytes_room(b, n);
	for (size_t i = 0; i < n; i++)
		b->data[b->len + i] = (char) ('a' + (at + i) % 23);
	b->len += n;
}

/** Head of an answer; length -1 = chunked. `more` are further header lines, each with its end. */
static void answer_head(Conn *c, const Request *r, int status, ssize_t length, const char *more)
{
	c->close = c->close || r->close || server.stopping;
	bytes_printf(&c->out, "HTTP/1.1 %d %s\r\nX-Version: %s\r\nX-Host: %s\r\n%s", status,
		status < 400 ? "OK" : "Error", server.version, server.host, more ? more : "Content-Type: text/plain\r\n");
	if (length >= 0)
		bytes_printf(&c->out, "Content-Length: %zd\r\n", length);
	else
		bytes_printf(&c->out, "Transfer-Encoding: chunked\r\n");
	bytes_printf(&c->out, "%s\r\n", c->close ? "Connection: close\r\n" : "");
	c->state = ANSWERING;
}

static void answer(Conn *c, const Request *r, int status, const char *type, const char *body, size_t len)
{
	char more[128];

	snprintf(more, sizeof more, "Content-Type: %s\r\n", type);
	answer_head(c, r, status, (ssize_t) len, more);
	if (!r->head_only)
		bytes_add(&c->out, body, len);
}

static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++, to++) {
		unsigned byte;
		if (*s == '%' && sscanf(s + 1, "%2x", &byte) == 1) {
			*to = (char) byte;
			s += 2;
		} else {
			*to = *s == '+' ? ' ' : *s;
		}
	}
	*to = 0;
}

static void answer_data(Conn *c, const Request *r, char *query)
{
	size_t size = 1000, used = 0;
	long ms = 0;
	int status = 200;
	bool chunked = false;
	char more[4096] = "", *rest = query, *pair;

	while ((pair = strsep(&rest, "&"))) {
		char *value = strchr(pair, '=');
		if (!value)
			continue;
		*value++ = 0;
		unescape(value);
		if (strcmp(pair, "size") == 0)
			size = strtoul(value, NULL, 10);
		else if (strcmp(pair, "ms") == 0)
			ms = strtol(value, NULL, 10);
		else if (strcmp(pair, "status") == 0)
			status = (int) strtol(value, NULL, 10);
		else if (strcmp(pair, "chunked") == 0)
			chunked = true;
		else if (strcmp(pair, "header") == 0 && used + strlen(value) + 3 < sizeof more)
			used += (size_t) snprintf(more + used, sizeof more - used, "%s\r\n", value);
	}
	if (status == 304 || r->head_only)
		chunked = false;
	answer_head(c, r, status, chunked ? -1 : (ssize_t) size, used ? more : NULL);
	if (r->head_only || status == 304)
		return;
	c->pattern = size;
	c->pattern_at = 0;
	c->chunked = chunked;
	c->interval = ms * MS / (int64_t) ((size + PIECE - 1) / PIECE + (size == 0));
}

static void answer_stats(Conn *c, const Request *r)
{
	Bytes b = {0};
	const char *comma = "";

	bytes_printf(&b, "{\"version\": \"%s\", \"host\": \"%s\", \"connections\": %llu, \"requests\": %llu, ", server.version,
		server.host, (unsigned long long) server.connections, (unsigned long long) server.requests);
	bytes_printf(&b, "\"ws_messages\": %llu, \"paths\": {", (unsigned long long) server.ws_messages);
	for (size_t i = 0; i < N_PATHS; i++, comma = ", ")
		bytes_printf(&b, "%s\"%s\": %llu", comma, paths[i], (unsigned long long) server.by_path[i]);
	bytes_printf(&b, "}, \"faults\": {");
	comma = "";
	for (int i = FAULT_NONE + 1; i < N_FAULTS; i++, comma = ", ")
		bytes_printf(&b, "%s\"%s\": %llu", comma, fault_names[i], (unsigned long long) server.faults[i]);
	bytes_printf(&b, "}}\n");
	answer(c, r, 200, "application/json", b.data, b.len);
	free(b.data);
}

static void base64(const uint8_t *p, size_t n, char *dst)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t) p[i] << 16 | (i + 1 < n ? (uint32_t) p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
		*dst++ = digits[v >> 18];
		*dst++ = digits[v >> 12 & 63];
		*dst++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
		*dst++ = i + 2 < n ? digits[v & 63] : '=';
	}
	*dst = 0;
}

static void answer_websocket(Conn *c, const Request *r)
{
	char key[128], accept[64];
	uint8_t digest[SHA1_DIGEST_LENGTH];
	SHA1_CTX sha;

	if (!header(r->head, "Sec-WebSocket-Key", key, sizeof key)) {
		answer(c, r, 400, "text/plain", "no WebSocket handshake\n", 23);
		return;
	}
	SHA1Init(&sha);
	SHA1Update(&sha, (const uint8_t *) key, strlen(key));
	SHA1Update(&sha, (const uint8_t *) "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
	SHA1Final(digest, &sha);
	base64(digest, sizeof digest, accept);
	bytes_printf(&c->out,
		"HTTP/1.1 101 Switching Protocols\r\nX-Version: %s\r\nX-Host: %s\r\nUpgrade: websocket\r\n"
		"Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		server.version, server.host, accept);
	c->state = WEBSOCKET;
}

static void answer_named(Conn *c, Request *r)
{
	char text[256], data[64];

	if (strcmp(r->path, "/") == 0) {
		snprintf(text, sizeof text, "version %s, host %s, process %d\n", server.version, server.host, getpid());
		answer(c, r, 200, "text/plain", text, strlen(text));
	} else if (strcmp(r->path, "/health") == 0) {
		bool up = !env_fault("unhealthy");
		answer(c, r, up ? 200 : 503, "text/plain", up ? "UP\n" : "DOWN: the database does not answer\n", up ? 3 : 35);
	} else if (strcmp(r->path, "/data") == 0) {
		answer_data(c, r, r->query);
	} else if (strcmp(r->path, "/big") == 0 || strcmp(r->path, "/slow") == 0) {
		snprintf(data, sizeof data, "size=102400&ms=%d", r->path[1] == 's' ? 1000 : 0);
		answer_data(c, r, data);
	} else if (strcmp(r->path, "/echo") == 0) {
		answer(c, r, 200, "application/octet-stream", r->body, r->body_len);
	} else if (strcmp(r->path, "/headers") == 0) {
		answer(c, r, 200, "text/plain", r->head, strlen(r->head));
	} else if (strcmp(r->path, "/ws") == 0) {
		answer_websocket(c, r);
	} else if (strcmp(r->path, "/stats") == 0) {
		answer_stats(c, r);
	} else {
		answer(c, r, 404, "text/plain", "no such path\n", 13);
	}
}

static Fault fault_of_request(const Request *r)
{
	if (!env_fault("mixed") || strcmp(r->path, "/health") == 0 || strcmp(r->path, "/stats") == 0)
		return FAULT_NONE;
	if (++server.fault_next % server.fault_every != 0)
		return FAULT_NONE;
	Fault f = RESET + (server.fault_next / server.fault_every - 1) % (GARBAGE - RESET + 1);
	/* A handshake that answers something else is nothing but a failed request. */
	if (strcmp(r->path, "/ws") == 0 && (f == TRUNCATE || f == BODY))
		f = RESET;
	server.faults[f]++;
	return f;
}

static void respond(Conn *c, Request *r)
{
	size_t path = 0;
	bool broken = env_fault("smoke") || (env_fault("errors") && fault_begun());

	while (path < N_PATHS - 1 && strcmp(r->path, paths[path]) != 0)
		path++;
	server.by_path[path]++;
	server.requests++;
	c->sent = c->out.len = c->pattern = 0;
	c->interval = 0;
	c->fault = fault_of_request(r);
	if (server.log) {
		printf("%s %s\n", r->method, r->path);
		fflush(stdout);
	}
	switch (c->fault) {
	case RESET:
	case CLOSE:
		conn_end(c, c->fault == RESET);
		return;
	case HANG:
		c->state = HANGING;
		return;
	case GARBAGE:
		bytes_add(&c->out, "SSH-2.0-OpenSSH_9.2\r\n\r\n", 23);
		c->close = true;
		c->state = ANSWERING;
		return;
	default:
		break;
	}
	if (c->fault == STATUS || (broken && strcmp(r->path, "/health") != 0 && strcmp(r->path, "/stats") != 0))
		answer(c, r, 500, "text/plain", "something is broken\n", 20);
	else
		answer_named(c, r);
	if (c->fault == BODY && c->pattern)
		c->pattern_at = 1;
	else if (c->fault == BODY)
		c->out.data[c->out.len - 1] ^= 1;
}

/* --- writing */

static void pattern_fill(Conn *c)
{
	size_t n = c->pattern < PIECE ? c->pattern : PIECE;

	if (c->chunked)
		bytes_printf(&c->out, "%zx\r\n", n);
	pattern_add(&c->out, c->pattern_at, n);
	c->pattern_at += n;
	c->pattern -= n;
	if (c->chunked)
		bytes_printf(&c->out, c->pattern ? "\r\n" : "\r\n0\r\n\r\n");
}

/** True: written, and more may be done. False: it waits for the socket or the clock, or has ended. */
static bool answer_write(Conn *c)
{
	for (;;) {
		while (c->pattern > 0 && c->interval == 0 && c->out.len < 65536)
			pattern_fill(c);
		/* All but the last byte, and then the end. */
		size_t want = c->out.len - c->sent - (c->fault == TRUNCATE && c->pattern == 0 ? 1 : 0);
		ssize_t n = want ? send(c->fd, c->out.data + c->sent, want, MSG_NOSIGNAL) : 0;
		if (n < 0 && errno == EAGAIN) {
			conn_watch(c, EPOLLOUT);
			return false;
		}
		if (n < 0) {
			conn_end(c, false);
			return false;
		}
		c->sent += (size_t) n;
		if ((size_t) n < want)
			continue;
		if (c->pattern == 0)
			break;
		c->sent = c->out.len = 0;
		if (c->interval) {
			conn_timed(c, now() + c->interval);
			conn_watch(c, 0);
			return false;
		}
	}
	c->sent = c->out.len = 0;
	if (c->fault == TRUNCATE || (c->close && c->state == ANSWERING)) {
		/* The rest of what the peer sends must not turn the end into a reset before it read the answer. */
		shutdown(c->fd, SHUT_WR);
		conn_end(c, false);
		return false;
	}
	if (c->state == ANSWERING)
		c->state = READING;
	return true;
}

/* --- WebSocket */

static void frame_add(Bytes *b, uint8_t first, const void *p, size_t n)
{
	uint8_t head[4] = {first, (uint8_t) (n < 126 ? n : 126), (uint8_t) (n >> 8), (uint8_t) n};

	bytes_add(b, head, n < 126 ? 2 : 4);
	bytes_add(b, p, n);
}

static void websocket_message(Conn *c, uint8_t first, char *payload, size_t n)
{
	switch (first & 15) {
	case 8:
		if (!c->said_goodbye)
			frame_add(&c->out, 0x88, payload, n < 2 ? n : 2);
		c->close = true;
		return;
	case 9:
		frame_add(&c->out, 0x8a, payload, n);
		return;
	case 10:
		return;
	}
	server.ws_messages++;
	if (env_fault("mixed") && server.ws_messages % server.fault_every == 0) {
		Fault f = server.ws_fault_next++ % 2 ? WS_BODY : WS_CUT;
		server.faults[f]++;
		if (f == WS_CUT) {
			conn_end(c, server.ws_fault_next % 4 == 1); /* a reset, or an end without a close frame */
			return;
		}
		if (n)
			payload[0] ^= 1;
	}
	frame_add(&c->out, first, payload, n);
}

/** Answers all frames that are there; those of clients are masked and have no more than 64 KiB here. */
static void websocket_read(Conn *c)
{
	size_t at = 0;

	while (c->in.len - at >= 6 && !c->close && !c->dead) {
		uint8_t *p = (uint8_t *) c->in.data + at;
		size_t n = p[1] & 127, head = n == 126 ? 8 : 6;
		if (n == 127 || !(p[1] & 128)) {
			conn_end(c, true);
			return;
		}
		if (c->in.len - at < head)
			break;
		if (n == 126)
			n = (size_t) p[2] << 8 | p[3];
		if (c->in.len - at < head + n)
			break;
		for (size_t i = 0; i < n; i++)
			p[head + i] ^= p[head - 4 + i % 4];
		websocket_message(c, p[0], (char *) p + head, n);
		at += head + n;
	}
	memmove(c->in.data, c->in.data + at, c->in.len - at);
	c->in.len -= at;
}

static void websocket_goodbye(Conn *c)
{
	static const uint8_t going_away[2] = {1001 >> 8, 1001 & 255};

	frame_add(&c->out, 0x88, going_away, 2);
	c->said_goodbye = true;
}

/* --- the loop */

/** Goes on with a connection as far as it gets without waiting. */
static void conn_run(Conn *c)
{
	while (!c->dead) {
		if (c->state == HANGING) {
			conn_watch(c, EPOLLRDHUP);
			return;
		}
		if (c->state == WEBSOCKET) {
			websocket_read(c);
			if (c->dead || !answer_write(c))
				return;
			if (c->close) {
				conn_end(c, false);
				return;
			}
			conn_watch(c, EPOLLIN);
			return;
		}
		if (c->state == READING) {
			Request r = {0};
			int whole = request_read(c, &r);
			if (whole < 0) {
				c->close = true;
				c->sent = c->out.len = 0;
				answer(c, &r, 400, "text/plain", "bad request\n", 12);
				c->in.len = 0;
			} else if (whole > 0) {
				conn_untimed(c);
				respond(c, &r);
				c->continued = false;
				memmove(c->in.data, c->in.data + r.total, c->in.len - r.total);
				c->in.len -= r.total;
			}
			free(r.head);
			if (whole == 0 && server.stopping && c->in.len == 0 && !c->is_timed) {
				conn_end(c, false);
				return;
			}
			if (whole == 0) {
				conn_watch(c, EPOLLIN);
				return;
			}
			continue;
		}
		if (!answer_write(c))
			return;
	}
}

static void conn_event(Conn *c, uint32_t events)
{
	if (c->dead)
		return;
	if (c->state == HANGING || (c->state == ANSWERING && !(events & EPOLLOUT))) {
		if (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP))
			conn_end(c, false);
		return;
	}
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
		bytes_room(&c->in, 16384);
		ssize_t n = recv(c->fd, c->in.data + c->in.len, c->in.cap - c->in.len, 0);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			conn_end(c, false);
			return;
		}
		c->in.len += (size_t) n;
	}
	conn_run(c);
}

static void accept_all(void)
{
	for (;;) {
		int one = 1, fd = accept4(server.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		Conn *c = calloc(1, sizeof *c);
		if (!c)
			die("memory");
		(void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		c->fd = fd;
		c->events = EPOLLIN;
		LIST_INSERT_HEAD(&server.conns, c, all);
		server.connections++;
		struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
		if (epoll_ctl(server.epoll, EPOLL_CTL_ADD, fd, &e) < 0)
			die("epoll_ctl");
	}
}

static void stop_begin(int exit_code)
{
	Conn *c;

	if (server.stopping)
		return;
	server.stopping = true;
	server.exit_code = exit_code;
	server.stop_at = -1;
	if (server.listener >= 0) {
		accept_all(); /* who is in the backlog has connected */
		close(server.listener);
	}
	server.listener = -1;
	LIST_FOREACH(c, &server.conns, all) {
		if (c->dead)
			continue;
		if (c->state == WEBSOCKET)
			websocket_goodbye(c);
		if (c->state == HANGING)
			conn_end(c, false);
		else if (c->state == READING && exit_code)
			conn_timed(c, now() + LINGER);
		else if (c->state != ANSWERING) /* which closes it, unless the request came together with the signal */
			conn_event(c, EPOLLIN), conn_run(c);
		else
			c->close = true;
	}
}

static void take_memory(void)
{
	static size_t taken;
	static int64_t last;
	bool leak = env_fault("leak");

	if (leak && now() - last < 125 * MS)
		return;
	last = now();
	char *p = malloc(1 << 20);
	if (!p || taken >= OOM_MAX) {
		fprintf(stderr, "server: took %zu MiB and nobody minded\n", taken >> 20);
		exit(1);
	}
	for (size_t i = 0; i < 1 << 20; i += 4096)
		((volatile char *) p)[i] = 1; /* what nobody reads again a compiler leaves out */
	taken += 1 << 20;
}

static void clock_run(void)
{
	Conn *c, *next;
	int64_t t = now();

	if (server.stop_at >= 0 && t >= server.stop_at)
		stop_begin(0);
	if (fault_begun() && !server.stopping && (env_fault("exit") || env_fault("die"))) {
		fprintf(stderr, "server: lost the connection to the database, giving up\n");
		if (env_fault("die"))
			exit(3);
		stop_begin(3);
	}
	if (fault_begun() && (env_fault("oom") || env_fault("leak")))
		take_memory();
	for (c = LIST_FIRST(&server.timed); c; c = next) {
		next = LIST_NEXT(c, timed);
		if (c->dead || t < c->due)
			continue;
		conn_untimed(c);
		if (c->state == READING) {
			conn_end(c, false);
			continue;
		}
		pattern_fill(c);
		conn_run(c);
	}
}

static int wait_ms(void)
{
	int64_t due = INT64_MAX;
	Conn *c;

	LIST_FOREACH(c, &server.timed, timed)
		if (!c->dead && c->due < due)
			due = c->due;
	if (server.stop_at >= 0 && server.stop_at < due)
		due = server.stop_at;
	if (server.fault_at >= 0 && !env_fault("errors") && !server.stopping) {
		int64_t step = fault_begun() ? now() + (env_fault("oom") ? 1 : 125) * MS : server.fault_at;
		if (step < due)
			due = step;
	}
	if (due == INT64_MAX)
		return -1;
	int64_t ms = (due - now() + MS - 1) / MS;
	return ms < 0 ? 0 : (int) (ms > 60000 ? 60000 : ms);
}

static int listen_at(void)
{
	const char *address = getenv("ADDRESS");
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t) env_number("PORT", 8080))};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (inet_pton(AF_INET, address && *address ? address : "0.0.0.0", &a.sin_addr) != 1) {
		fprintf(stderr, "server: ADDRESS is no IPv4 address: %s\n", address);
		exit(2);
	}
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0)
		die("socket");
	if (bind(fd, (struct sockaddr *) &a, sizeof a) < 0 || listen(fd, 1024) < 0)
		die("listen");
	return fd;
}

static void set_up(void)
{
	sigset_t set;

	LIST_INIT(&server.conns);
	LIST_INIT(&server.timed);
	server.version = getenv("VERSION") && *getenv("VERSION") ? getenv("VERSION") : "1";
	server.fault = getenv("FAULT");
	server.log = env_number("LOG", 0) > 0;
	server.fault_every = (unsigned) env_number("FAULT_EVERY", 20);
	if (server.fault_every == 0)
		server.fault_every = 1;
	if (gethostname(server.host, sizeof server.host - 1) < 0)
		die("gethostname");
	if (env_fault("crash")) {
		fprintf(stderr, "server: cannot reach the database: connection refused\n");
		exit(1);
	}
	if (env_fault("oom") || env_fault("leak"))
		server.fault_at = now() + env_number("FAULT_AFTER", 0) * MS;
	if (env_fault("exit") || env_fault("die") || env_fault("errors"))
		server.fault_at = now() + env_number("FAULT_AFTER", 5000) * MS;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	server.epoll = epoll_create1(EPOLL_CLOEXEC);
	server.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (server.epoll < 0 || server.signals < 0)
		die("set-up");
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = &server.signals};
	if (epoll_ctl(server.epoll, EPOLL_CTL_ADD, server.signals, &e) < 0)
		die("epoll_ctl");
}

static void start(void)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = &server.listener};

	if (env_fault("silent") || (env_fault("oom") && fault_begun()))
		return;
	server.listener = listen_at();
	if (epoll_ctl(server.epoll, EPOLL_CTL_ADD, server.listener, &e) < 0)
		die("epoll_ctl");
	printf("version %s listens on port %ld\n", server.version, env_number("PORT", 8080));
	fflush(stdout);
}

/** True: it is to end. */
static bool signalled(void)
{
	struct signalfd_siginfo info;
	bool end = false;

	while (read(server.signals, &info, sizeof info) > 0) {
		if (info.ssi_signo == SIGUSR1 && server.fault_at >= 0)
			server.fault_at = now();
		else if (info.ssi_signo != SIGUSR1)
			end = true;
	}
	return end;
}

int main(void)
{
	struct epoll_event events[256];
	long delay;

	set_up();
	for (delay = env_number("START_DELAY", 0); delay > 0; delay -= 10) {
		if (signalled())
			return 0;
		usleep(10000);
	}
	start();
	while (!server.stopping || !LIST_EMPTY(&server.conns)) {
		int n = epoll_wait(server.epoll, events, 256, wait_ms());
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr == &server.listener) {
				if (server.listener >= 0)
					accept_all();
			} else if (events[i].data.ptr != &server.signals) {
				conn_event(events[i].data.ptr, events[i].events);
			} else if (signalled() && server.stop_at < 0) {
				server.stop_at = now() + env_number("STOP_DELAY", 0) * MS;
			}
		}
		clock_run();
		sweep();
	}
	return server.exit_code;
}
