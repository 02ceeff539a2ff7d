// SPDX-License-Identifier: Apache-2.0
/*
 * A real server on a socket in a temporary directory; the client is a raw descriptor in the same
 * thread, and the loop turns while the test waits for an answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "io/http-server.h"

static char dir[] = "/tmp/stead-test-http-XXXXXX";
static char *path;
static uv_loop_t loop;
static HttpServer *server;
static HttpRequest *held; /* the last request of /hold or /events, until closed */
static int n_closed;
static size_t uploaded;
static bool upload_ended, drained;
static Buf hijack_seen;

static void on_closed(void *user)
{
	n_closed++;
	if (user == &held)
		held = NULL;
}

static void on_drained(void *user)
{
	drained = true;
}

static void on_upload(void *user, const void *p, size_t n)
{
	uploaded += n;
	if (n)
		return;
	upload_ended = true;
	http_reply(held, 200, "text/plain", "stored", 6);
}

static void on_hijacked(void *user, const void *p, size_t n)
{
	if (n) {
		buf_append(&hijack_seen, p, n);
		(void) http_stream_write(held, p, n);
		return;
	}
	buf_str(&hijack_seen, "<end>");
	(void) http_stream_write(held, "bye", 3);
	http_stream_end(held);
}

static void answer_echo(HttpRequest *r)
{
	size_t n;
	const char *body = http_body(r, &n);
	AUTO_FREE char *text = xasprintf("%s %s q=%s b=%d body=%zu:%.20s", http_method(r), http_path(r),
		http_query(r, "q") ? http_query(r, "q") : "-", http_query_bool(r, "b", false), n, body);
	http_add_header(r, "X-Test", "a\r\nb");
	http_reply(r, 200, "text/plain", text, strlen(text));
}

static void answer_stream(HttpRequest *r)
{
	http_stream_begin(r, 200, "application/json");
	(void) http_stream_write(r, "one", 3);
	(void) http_stream_write(r, "", 0);
	(void) http_stream_json(r, json_pack("{s:i}", "two", 2));
	http_stream_end(r);
}

static void answer_json(HttpRequest *r)
{
	AUTO_ERR err = ERR_INIT;
	json_t *value;
	if (http_body_json(r, &value, &err) < 0)
		http_error_err(r, &err);
	else
		http_reply_json(r, 201, value);
}

static void answer_hold(HttpRequest *r)
{
	held = r;
	http_set_user(r, &held, on_closed);
}

static void answer_events(HttpRequest *r)
{
	answer_hold(r);
	http_on_drained(r, on_drained);
	http_stream_begin(r, 200, "application/json");
}

static void answer_upload(HttpRequest *r)
{
	answer_hold(r);
	if (!http_query_bool(r, "paused", false))
		http_on_body(r, on_upload);
}

static void on_early_upload(void *user, const void *p, size_t n)
{
	uploaded += n;
	if (n) {
		(void) http_stream_write(held, "+", 1);
		return;
	}
	(void) http_stream_write(held, "end", 3);
	http_stream_end(held);
}

/** As image loads do: the answer begins before the body has come. */
static void answer_early(HttpRequest *r)
{
	answer_hold(r);
	http_stream_begin(r, 200, "application/json");
	http_on_body(r, on_early_upload);
}

static void answer_attach(HttpRequest *r)
{
	answer_hold(r);
	http_hijack(r, on_hijacked);
}

static void answer_error(HttpRequest *r)
{
	http_error(r, 404, "no such thing: '%s\xff'", http_query(r, "q"));
}

static void answer_nothing(HttpRequest *r)
{
	http_reply(r, 204, NULL, NULL, 0);
}

static void answer_refuse(HttpRequest *r)
{
	http_error(r, 403, "not allowed");
}

static void on_request(void *user, HttpRequest *r)
{
	static const struct {
		const char *path;
		void (*answer)(HttpRequest *r);
	} routes[] = {
		{ "/echo", answer_echo },     { "/stream", answer_stream },   { "/json", answer_json },
		{ "/hold", answer_hold },     { "/events", answer_events },   { "/upload", answer_upload },
		{ "/attach", answer_attach }, { "/error", answer_error },     { "/nothing", answer_nothing },
		{ "/upload/refused", answer_refuse }, { "/upload/early", answer_early },
	};
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		if (str_eq(http_path(r), routes[i].path)) {
			routes[i].answer(r);
			return;
		}
	http_error(r, 404, "page not found");
}

static bool is_streaming(void *user, const HttpRequest *r)
{
	return str_starts(http_path(r), "/upload");
}

/* ---- the client's side ---- */

static int dial(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	memcpy(a.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *) &a, sizeof(a)), 0);
	return fd;
}

static void turn(void)
{
	(void) uv_run(&loop, UV_RUN_NOWAIT);
}

static void send_bytes(int fd, const char *p, size_t n)
{
	int64_t end = time_mono() + 60 * NSEC_PER_SEC;
	while (n) {
		ssize_t r = send(fd, p, n, MSG_NOSIGNAL);
		if (r < 0 && errno == EPIPE)
			return;
		if (r > 0) {
			p += r;
			n -= (size_t) r;
		}
		turn();
		assert_true(time_mono() < end);
	}
}

static void send_text(int fd, const char *s)
{
	send_bytes(fd, s, strlen(s));
}

/** Reads until `needle` has come (NULL: until the end of file). False when the end came before. */
static bool await(int fd, Buf *b, const char *needle)
{
	int64_t end = time_mono() + 60 * NSEC_PER_SEC;
	for (;;) {
		char p[65536];
		if (needle && b->len && memmem(b->data, b->len, needle, strlen(needle)))
			return true;
		ssize_t n = recv(fd, p, sizeof(p), 0);
		if (n > 0)
			buf_append(b, p, (size_t) n);
		else if (n == 0 || errno == ECONNRESET)
			return !needle;
		else
			turn();
		if (time_mono() > end)
			fail_msg("no '%s' came; got: %s", needle ? needle : "end of file", buf_cstr(b));
	}
}

static void await_flag(const bool *flag)
{
	int64_t end = time_mono() + 60 * NSEC_PER_SEC;
	while (!*flag) {
		turn();
		assert_true(time_mono() < end);
	}
}

static void await_clients(size_t n)
{
	int64_t end = time_mono() + 60 * NSEC_PER_SEC;
	while (http_server_clients(server) != n) {
		turn();
		assert_true(time_mono() < end);
	}
}

static void await_nobody(void)
{
	await_clients(0);
}

static void await_held(bool there)
{
	int64_t end = time_mono() + 60 * NSEC_PER_SEC;
	while ((held != NULL) != there) {
		(void) uv_run(&loop, UV_RUN_NOWAIT);
		assert_true(time_mono() < end);
	}
}

/** Sends, reads until needle, closes. The answer is the caller's. */
static char *ask(const char *text, const char *needle)
{
	AUTO_CLOSE int fd = dial();
	AUTO_BUF b = BUF_INIT;
	send_text(fd, text);
	assert_true(await(fd, &b, needle));
	return buf_steal(&b);
}

#define GET(target) "GET " target " HTTP/1.1\r\nHost: x\r\n\r\n"

static int setup(void **state)
{
	HttpHandlers h = { .streaming = is_streaming, .request = on_request };
	if (!mkdtemp(dir))
		return -1;
	path = xasprintf("%s/sock", dir);
	return uv_loop_init(&loop) || http_server_new(&loop, path, 0600, getgid(), &h, &server, NULL);
}

static int teardown(void **state)
{
	http_server_free(server);
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	int r = uv_loop_close(&loop);
	if (access(path, F_OK) == 0)
		r = -1;
	free(path);
	buf_done(&hijack_seen);
	return tree_remove(AT_FDCWD, dir) || r;
}

/* ---- tests ---- */

static void answers_with_headers(void **state)
{
	AUTO_FREE char *s = ask(GET("/echo?q=a%20b&b=1"), "body=");
	assert_true(str_starts(s, "HTTP/1.1 200 OK\r\n"));
	assert_non_null(strstr(s, "\r\nApi-Version: 1.41\r\n"));
	assert_non_null(strstr(s, "\r\nDocker-Experimental: false\r\n"));
	assert_non_null(strstr(s, "\r\nOstype: linux\r\n"));
	assert_non_null(strstr(s, "\r\nServer: stead/" STEAD_VERSION " (linux)\r\n"));
	assert_non_null(strstr(s, "\r\nX-Test: a??b\r\n"));
	assert_non_null(strstr(s, "GET /echo q=a b b=1 body=0:"));
}

static void head_has_no_body(void **state)
{
	AUTO_FREE char *s = ask("HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\nHEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n" GET("/nothing"), " 204 ");
	assert_non_null(strstr(s, "Content-Length: 26"));
	assert_null(strstr(s, "HEAD /echo"));
	assert_null(strstr(s, "one"));
}

static void pipelined_in_order(void **state)
{
	AUTO_FREE char *s = ask(GET("/echo?q=1") GET("/stream") "POST /echo?q=2 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" GET("/echo?q=3"), "q=3");
	char *one = strstr(s, "q=1"), *stream = strstr(s, "3\r\none\r\na\r\n{\"two\":2}\n\r\n0\r\n\r\n"), *two = strstr(s, "q=2 b=0 body=5:hello");
	assert_true(one && stream && two && one < stream && stream < two);
}

static void byte_by_byte_and_chunked(void **state)
{
	AUTO_CLOSE int fd = dial();
	AUTO_BUF b = BUF_INIT;
	const char *text = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
	for (const char *p = text; *p; p++) {
		send_bytes(fd, p, 1);
		turn();
	}
	assert_true(await(fd, &b, "body=7:abcdefg"));
}

static void closes_when_asked(void **state)
{
	AUTO_FREE char *s = ask("GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL);
	assert_non_null(strstr(s, "\r\nConnection: close\r\n"));
	AUTO_FREE char *t = ask("GET /stream HTTP/1.0\r\n\r\n", NULL);
	assert_non_null(strstr(t, "\r\n\r\none{\"two\":2}\n"));
	AUTO_FREE char *u = ask("GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /echo?q=2 HTTP/1.0\r\n\r\n", NULL);
	assert_non_null(strstr(u, "\r\nConnection: keep-alive\r\n"));
	assert_non_null(strstr(u, "q=2"));
}

static void json_bodies(void **state)
{
	AUTO_FREE char *s = ask("POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n{\"a\": 1}", "{\"a\":1}\n");
	assert_true(str_starts(s, "HTTP/1.1 201 Created\r\n"));
	AUTO_FREE char *t = ask("POST /json HTTP/1.1\r\nHost: x\r\n\r\n", "{}\n");
	assert_non_null(t);
	AUTO_FREE char *u = ask("POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n{\"a\"", "}\n");
	assert_true(str_starts(u, "HTTP/1.1 400 Bad Request\r\n"));
	assert_non_null(strstr(u, "not valid JSON: line 1"));
	AUTO_FREE char *v = ask(GET("/error?q=%22x"), "}\n");
	assert_non_null(strstr(v, "{\"message\":\"no such thing: '\\\"x?'\"}\n"));
}

static void refuses(void **state)
{
	static const struct {
		const char *text, *status;
	} cases[] = {
		{ "nonsense\r\n\r\n", "400" },
		{ "GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", "400" },
		{ "GET /a?b=%zz HTTP/1.1\r\nHost: x\r\n\r\n", "400" },
		{ "GET a HTTP/1.1\r\nHost: x\r\n\r\n", "400" },
		{ "GET / HTTP/1.1\r\n\r\n", "400" },
		{ "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400" },
		{ "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "400" },
		{ "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400" },
		{ "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\n", "400" },
		{ "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n", "400" },
		{ "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400" },
		{ "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400" },
		{ "GET / HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n", "400" },
		{ "POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc", "400" },
		{ "POST / HTTP/1.1\r\nHost: x\r\nExpect: magic\r\nContent-Length: 1\r\n\r\n", "417" },
		{ "GET / HTTP/3.7\r\nHost: x\r\n\r\n", "505" },
		{ "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4194305\r\n\r\n", "413" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *s = ask(cases[i].text, NULL);
		AUTO_FREE char *want = xasprintf("HTTP/1.1 %s ", cases[i].status);
		if (!str_starts(s, want) || !strstr(s, "{\"message\":"))
			fail_msg("case %zu (%s): %s", i, cases[i].text, s);
	}
}

static void limits_hold(void **state)
{
	AUTO_BUF big = BUF_INIT;
	buf_str(&big, "GET / HTTP/1.1\r\nHost: x\r\n");
	for (int i = 0; i < 700; i++)
		buf_printf(&big, "X-%d: %0100d\r\n", i, i);
	AUTO_FREE char *s = ask(buf_cstr(&big), NULL);
	assert_true(str_starts(s, "HTTP/1.1 431 "));

	AUTO_CLOSE int fd = dial();
	AUTO_BUF b = BUF_INIT;
	AUTO_FREE char *mb = xcalloc(1, 1 << 20);
	send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 6; i++) {
		send_text(fd, "100000\r\n");
		send_bytes(fd, mb, 1 << 20);
		send_text(fd, "\r\n");
	}
	assert_true(await(fd, &b, NULL));
	assert_true(str_starts(buf_cstr(&b), "HTTP/1.1 413 "));
}

static void continues(void **state)
{
	AUTO_CLOSE int fd = dial();
	AUTO_BUF b = BUF_INIT;
	send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
	assert_true(await(fd, &b, "100 Continue\r\n\r\n"));
	send_text(fd, "abc");
	assert_true(await(fd, &b, "body=3:abc"));
}

static void uploads_stream(void **state)
{
	AUTO_CLOSE int fd = dial();
	AUTO_BUF b = BUF_INIT;
	AUTO_FREE char *mb = xcalloc(1, 1 << 20);
	uploaded = 0;
	upload_ended = false;
	send_text(fd, "POST /upload?paused=1 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10485760\r\n\r\n");
	assert_true(await(fd, &b, "100 Continue"));
	/* Paused: the kernel's buffers fill and the client has to wait. */
	size_t sent = 0;
	for (int i = 0; i < 200; i++) {
		ssize_t n = send(fd, mb, 1 << 16, MSG_NOSIGNAL);
		sent += n > 0 ? (size_t) n : 0;
		turn();
	}
	assert_true(sent < 2 << 20);
	assert_int_equal(uploaded, 0);
	http_on_body(held, on_upload);
	for (; sent < 10485760; sent += sent < 9 << 20 ? 1 << 20 : 10485760 - sent)
		send_bytes(fd, mb, sent < 9 << 20 ? 1 << 20 : 10485760 - sent);
	assert_true(await(fd, &b, "stored"));
	assert_true(upload_ended);
	assert_int_equal(uploaded, 10485760);
	send_text(fd, GET("/echo?q=again"));
	assert_true(await(fd, &b, "q=again"));
}

static void upload_with_an_early_answer(void **state)
{
	AUTO_CLOSE int fd = dial();
	AUTO_BUF b = BUF_INIT;
	uploaded = 0;
	send_text(fd, "POST /upload/early HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 6\r\n\r\n");
	assert_true(await(fd, &b, "200 OK"));
	assert_true(str_starts(buf_cstr(&b), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"));
	send_text(fd, "abc");
	assert_true(await(fd, &b, "+"));
	send_text(fd, "def");
	assert_true(await(fd, &b, NULL));
	assert_non_null(strstr(buf_cstr(&b), "end\r\n0\r\n\r\n"));
	assert_int_equal(uploaded, 6);
}

static void upload_refused_while_sending(void **state)
{
	AUTO_CLOSE int fd = dial();
	AUTO_BUF b = BUF_INIT;
	AUTO_FREE char *mb = xcalloc(1, 1 << 20);
	send_text(fd, "POST /upload/refused HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\n");
	for (int i = 0; i < 4; i++)
		send_bytes(fd, mb, 1 << 20);
	assert_true(await(fd, &b, NULL));
	assert_true(str_starts(buf_cstr(&b), "HTTP/1.1 403 "));
	assert_non_null(strstr(buf_cstr(&b), "not allowed"));
}

static void client_gone(void **state)
{
	int closed = n_closed;
	int fd = dial();
	send_text(fd, GET("/hold"));
	await_held(true);
	(void) close(fd);
	await_held(false);
	assert_int_equal(n_closed, closed + 1);

	AUTO_BUF b = BUF_INIT;
	fd = dial();
	send_text(fd, GET("/events"));
	assert_true(await(fd, &b, "\r\n\r\n"));
	(void) close(fd);
	for (int i = 0; i < 3 && held; i++) /* writing to nobody must not end the test by SIGPIPE */
		(void) http_stream_write(held, "x", 1);
	await_held(false);

	fd = dial(); /* in the middle of an upload */
	send_text(fd, "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
	await_held(true);
	(void) close(fd);
	await_held(false);
}

static void half_closed_client_is_answered(void **state)
{
	AUTO_CLOSE int fd = dial();
	AUTO_BUF b = BUF_INIT;
	send_text(fd, GET("/echo?q=1") GET("/hold"));
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	await_held(true);
	for (int i = 0; i < 5; i++)
		turn();
	assert_non_null(held);
	http_reply(held, 200, "text/plain", "held", 4);
	assert_true(await(fd, &b, NULL));
	assert_non_null(strstr(buf_cstr(&b), "q=1"));
	assert_non_null(strstr(buf_cstr(&b), "held"));
}

static void half_closed_then_gone(void **state)
{
	int fd = dial();
	send_text(fd, GET("/hold"));
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	await_held(true);
	(void) close(fd);
	await_held(false);
}

static void hijacks(void **state)
{
	for (int upgrade = 0; upgrade < 2; upgrade++) {
		AUTO_CLOSE int fd = dial();
		AUTO_BUF b = BUF_INIT;
		buf_clear(&hijack_seen);
		/* The raw bytes come right behind the request. */
		AUTO_FREE char *text = xasprintf("POST /attach HTTP/1.1\r\nHost: x\r\n%sContent-Length: 2\r\n\r\n{}early",
			upgrade ? "Connection: Upgrade\r\nUpgrade: tcp\r\n" : "");
		send_text(fd, text);
		assert_true(await(fd, &b, "early"));
		assert_true(str_starts(buf_cstr(&b), upgrade ? "HTTP/1.1 101 UPGRADED\r\n" : "HTTP/1.1 200 OK\r\n"));
		assert_non_null(strstr(buf_cstr(&b), "Content-Type: application/vnd.docker.raw-stream\r\n"));
		assert_int_equal(strstr(buf_cstr(&b), "Upgrade: tcp") != NULL, upgrade);
		assert_non_null(strstr(buf_cstr(&b), "Api-Version: 1.41"));
		send_text(fd, " GET / HTTP/1.1\r\n\r\n");
		assert_true(await(fd, &b, " GET / HTTP/1.1\r\n\r\n"));
		assert_int_equal(shutdown(fd, SHUT_WR), 0);
		assert_true(await(fd, &b, NULL));
		assert_true(str_ends(buf_cstr(&b), "\r\n\r\nbye"));
		assert_true(str_ends(buf_cstr(&hijack_seen), "<end>"));
		await_held(false);
	}
}

static void hijack_can_pause(void **state)
{
	AUTO_CLOSE int fd = dial();
	AUTO_BUF b = BUF_INIT;
	buf_clear(&hijack_seen);
	send_text(fd, "POST /attach HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_true(await(fd, &b, "\r\n\r\n"));
	http_body_pause(held, true);
	turn();
	send_text(fd, "input");
	for (int i = 0; i < 5; i++)
		turn();
	assert_int_equal(hijack_seen.len, 0);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	http_body_pause(held, false);
	assert_true(await(fd, &b, NULL));
	assert_string_equal(buf_cstr(&hijack_seen), "input<end>");
}

static void backlog_is_told(void **state)
{
	AUTO_CLOSE int fd = dial();
	AUTO_BUF b = BUF_INIT;
	AUTO_FREE char *block = xcalloc(1, 1 << 16);
	drained = false;
	send_text(fd, GET("/events"));
	assert_true(await(fd, &b, "\r\n\r\n"));
	size_t waiting = 0, n = 0;
	for (; waiting <= LIMIT_API_BACKLOG; n++)
		waiting = http_stream_write(held, block, 1 << 16);
	turn();
	assert_false(drained);
	while (!drained) {
		char p[65536];
		if (recv(fd, p, sizeof(p), 0) < 0)
			turn();
	}
	await_flag(&drained);
	http_stream_end(held);
	assert_true(await(fd, &b, "0\r\n\r\n"));
}

static void too_many_clients(void **state)
{
	int fds[LIMIT_API_CLIENTS + 1];
	for (size_t i = 0; i < LIMIT_API_CLIENTS; i++) {
		fds[i] = dial();
		send_text(fds[i], GET("/hold"));
		await_held(true);
		held = NULL; /* not the last one that is held: closed() is then only counted */
	}
	await_clients(LIMIT_API_CLIENTS);
	/* One more waits until somebody goes. */
	AUTO_BUF b = BUF_INIT;
	fds[LIMIT_API_CLIENTS] = dial();
	send_text(fds[LIMIT_API_CLIENTS], GET("/echo?q=last"));
	for (int i = 0; i < 5; i++)
		turn();
	assert_int_equal(http_server_clients(server), LIMIT_API_CLIENTS);
	(void) close(fds[0]);
	assert_true(await(fds[LIMIT_API_CLIENTS], &b, "q=last"));
	/* That one is idle now and makes room for a new one. */
	AUTO_FREE char *s = ask(GET("/echo?q=new"), "q=new");
	assert_non_null(s);
	for (size_t i = 1; i <= LIMIT_API_CLIENTS; i++)
		(void) close(fds[i]);
	await_nobody();
}

/* Room is made by those that want nothing, not by one that is about to ask: a new client, or one whose request is on its way. */
static void who_makes_room(void **state)
{
	enum { N = LIMIT_API_CLIENTS };
	int fds[N + 1];
	AUTO_BUF answer = BUF_INIT, last = BUF_INIT;
	await_nobody();
	for (size_t i = 0; i < N; i++) {
		AUTO_BUF b = BUF_INIT;
		fds[i] = dial();
		send_text(fds[i], GET("/echo?q=first"));
		assert_true(await(fds[i], &b, "q=first"));
		uint64_t then = uv_now(&loop);
		while (i == 0 && uv_now(&loop) <= then)
			turn();
	}
	/* The one that has been idle longest has asked again, and the server sees the new client first. */
	fds[N] = dial();
	assert_int_equal(http_server_clients(server), N);
	send_text(fds[0], GET("/echo?q=second"));
	send_text(fds[N], GET("/echo?q=new"));
	assert_true(await(fds[N], &last, "q=new"));
	assert_true(await(fds[0], &answer, "q=second"));
	for (size_t i = 0; i <= N; i++)
		(void) close(fds[i]);
	await_nobody();
	/* A new one that has not asked yet keeps its place for a moment. */
	for (size_t i = 0; i < N - 1; i++) {
		fds[i] = dial();
		send_text(fds[i], GET("/hold"));
		await_held(true);
		held = NULL;
	}
	for (uint64_t begin = 0; begin == 0;) {
		await_clients(N - 1);
		begin = uv_now(&loop);
		fds[N - 1] = dial();
		await_clients(N);
		fds[N] = dial();
		for (int i = 0; i < 5; i++)
			turn();
		if (uv_now(&loop) - begin < 1000)
			break;
		(void) close(fds[N - 1]); /* the moment is over before it could be seen */
		(void) close(fds[N]);
		begin = 0;
	}
	AUTO_BUF early = BUF_INIT, late = BUF_INIT;
	send_text(fds[N - 1], GET("/echo?q=early"));
	send_text(fds[N], GET("/echo?q=late"));
	assert_true(await(fds[N - 1], &early, "q=early"));
	assert_true(await(fds[N], &late, "q=late"));
	for (size_t i = 0; i <= N; i++)
		(void) close(fds[i]);
	await_nobody();
	/* But not for ever. */
	for (size_t i = 0; i < N; i++)
		fds[i] = dial();
	AUTO_FREE char *s = ask(GET("/echo?q=patient"), "q=patient");
	assert_non_null(s);
	for (size_t i = 0; i < N; i++)
		(void) close(fds[i]);
	await_nobody();
}

static void no_descriptor_left(void **state)
{
	enum { FILES = 64 };
	struct rlimit old, low;
	int fds[3], fill[FILES];
	size_t n = 0;
	await_nobody();
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = dial();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = FILES;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	while (n < FILES && (fill[n] = dup(fds[0])) >= 0)
		n++;
	assert_true(n > 0 && n < FILES);
	/* One after the other is told, as there is but one spare descriptor; whether it has asked yet or not. */
	for (size_t i = 0; i < 2; i++) {
		AUTO_BUF b = BUF_INIT;
		if (i == 1)
			(void) send(fds[i], GET("/echo"), strlen(GET("/echo")), MSG_NOSIGNAL);
		assert_true(await(fds[i], &b, NULL));
		assert_non_null(strstr(buf_cstr(&b), "HTTP/1.1 503 "));
		assert_non_null(strstr(buf_cstr(&b), "{\"message\":\"no further client can be served now: Too many open files"));
		assert_int_equal(shutdown(fds[i], SHUT_RDWR), 0);
	}
	while (n)
		(void) close(fill[--n]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	/* The third has waited. */
	AUTO_BUF b = BUF_INIT;
	send_text(fds[2], GET("/echo?q=third"));
	assert_true(await(fds[2], &b, "q=third"));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void) close(fds[i]);
	await_nobody();
}

static void socket_file(void **state)
{
	struct stat st;
	HttpHandlers h = { .request = on_request };
	HttpServer *other = NULL;
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
	AUTO_FREE char *file = xasprintf("%s/file", dir);
	assert_int_equal(file_write(AT_FDCWD, file, "x", 1, 0600), 0);
	assert_int_equal(http_server_new(&loop, file, 0600, getgid(), &h, &other, &err), -EEXIST);
	assert_non_null(strstr(err_text(&err), "not a socket"));
	AUTO_FREE char *longer = xasprintf("%s/%0120d", dir, 1);
	assert_int_equal(http_server_new(&loop, longer, 0600, getgid(), &h, &other, &err), -ENAMETOOLONG);
	AUTO_FREE char *nowhere = xasprintf("%s/none/sock", dir);
	assert_int_equal(http_server_new(&loop, nowhere, 0600, getgid(), &h, &other, &err), -ENOENT);
	assert_non_null(strstr(err_text(&err), nowhere));
	/* A stale socket is replaced. */
	AUTO_FREE char *stale = xasprintf("%s/stale", dir);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	memcpy(a.sun_path, stale, strlen(stale) + 1);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *) &a, sizeof(a)), 0);
	assert_int_equal(http_server_new(&loop, stale, 0660, getgid(), &h, &other, NULL), 0);
	http_server_free(other);
	assert_int_equal(access(stale, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_with_headers),
		cmocka_unit_test(head_has_no_body),
		cmocka_unit_test(pipelined_in_order),
		cmocka_unit_test(byte_by_byte_and_chunked),
		cmocka_unit_test(closes_when_asked),
		cmocka_unit_test(json_bodies),
		cmocka_unit_test(refuses),
		cmocka_unit_test(limits_hold),
		cmocka_unit_test(continues),
		cmocka_unit_test(uploads_stream),
		cmocka_unit_test(upload_with_an_early_answer),
		cmocka_unit_test(upload_refused_while_sending),
		cmocka_unit_test(client_gone),
		cmocka_unit_test(half_closed_client_is_answered),
		cmocka_unit_test(half_closed_then_gone),
		cmocka_unit_test(hijacks),
		cmocka_unit_test(hijack_can_pause),
		cmocka_unit_test(backlog_is_told),
		cmocka_unit_test(too_many_clients),
		cmocka_unit_test(who_makes_room),
		cmocka_unit_test(no_descriptor_left),
		cmocka_unit_test(socket_file),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
