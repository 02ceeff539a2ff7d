// SPDX-License-Identifier: Apache-2.0
/*
 * A server on loopback in the same thread and on the same loop: it answers what the test says, in pieces, as soon as a
 * request is complete.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "io/probe.h"

#define PATIENCE (60 * NSEC_PER_SEC) /* never reached but by a defect */

typedef struct Peer {
	uv_tcp_t tcp;
	uv_write_t write;
	Buf request;
	char in[512];
} Peer;

static uv_loop_t loop;
static uv_tcp_t listener;
static uint16_t port;
static const char *answer; /* NULL: none comes */
static bool endless;       /* it is sent again and again */
static bool hang_up;       /* the connection ends with the answer */
static Buf last_request;
static size_t n_peers;

static int n_results, last_status;
static Buf last_body;
static Err last_err = ERR_INIT;
static int64_t last_took;

static void on_result(void *user, const ProbeResult *r)
{
	n_results++;
	last_status = r->status;
	last_took = r->took_ns;
	buf_clear(&last_body);
	buf_append(&last_body, r->body, r->body_len);
	err_done(&last_err);
	if (r->err)
		(void) err_set(&last_err, r->err->code, "%s", r->err->text);
	*(bool *) user = true;
}

static void peer_closed(uv_handle_t *h)
{
	Peer *p = h->data;
	buf_done(&p->request);
	free(p);
	n_peers--;
}

static void close_peer(Peer *p)
{
	if (!uv_is_closing((uv_handle_t *) &p->tcp))
		uv_close((uv_handle_t *) &p->tcp, peer_closed);
}

static void say(Peer *p);

static void said(uv_write_t *w, int status)
{
	Peer *p = w->data;
	if (status < 0)
		close_peer(p);
	else if (endless)
		say(p);
	else if (hang_up)
		close_peer(p);
}

static void say(Peer *p)
{
	uv_buf_t b = uv_buf_init((char *) (uintptr_t) answer, (unsigned) strlen(answer));
	p->write.data = p;
	assert_int_equal(uv_write(&p->write, (uv_stream_t *) &p->tcp, &b, 1, said), 0);
}

static void peer_alloc(uv_handle_t *h, size_t n, uv_buf_t *b)
{
	Peer *p = h->data;
	*b = uv_buf_init(p->in, sizeof(p->in));
}

static void peer_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	Peer *p = s->data;
	if (n < 0) {
		close_peer(p);
		return;
	}
	buf_append(&p->request, b->base, (size_t) n);
	if (!strstr(buf_cstr(&p->request), "\r\n\r\n"))
		return;
	buf_clear(&last_request);
	buf_append(&last_request, p->request.data, p->request.len);
	if (answer)
		say(p);
}

static void on_peer(uv_stream_t *s, int status)
{
	Peer *p = xcalloc(1, sizeof(*p));
	p->tcp.data = p;
	assert_int_equal(status, 0);
	assert_int_equal(uv_tcp_init(&loop, &p->tcp), 0);
	n_peers++;
	assert_int_equal(uv_accept(s, (uv_stream_t *) &p->tcp), 0);
	assert_int_equal(uv_read_start((uv_stream_t *) &p->tcp, peer_alloc, peer_read), 0);
}

static int setup(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int n = sizeof(a);
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(uv_tcp_init(&loop, &listener), 0);
	assert_int_equal(uv_tcp_bind(&listener, (struct sockaddr *) &a, 0), 0);
	assert_int_equal(uv_listen((uv_stream_t *) &listener, 16, on_peer), 0);
	assert_int_equal(uv_tcp_getsockname(&listener, (struct sockaddr *) &a, &n), 0);
	port = ntohs(a.sin_port);
	return 0;
}

static int teardown(void **state)
{
	uv_close((uv_handle_t *) &listener, NULL);
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(n_peers, 0);
	buf_done(&last_request);
	buf_done(&last_body);
	err_done(&last_err);
	return uv_loop_close(&loop);
}

/** One probe to its end. */
static void ask(const ProbeOptions *o)
{
	bool done = false;
	AUTO_ERR err = ERR_INIT;
	if (probe_start(&loop, o, on_result, &done, NULL, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_false(done); /* never from inside the call */
	while (!done)
		(void) uv_run(&loop, UV_RUN_ONCE);
}

static void get(const char *text, bool close_after, size_t body_max)
{
	ProbeOptions o = { .address = "127.0.0.1", .port = port, .path = "/health?x=1", .timeout_ns = PATIENCE, .body_max = body_max };
	answer = text;
	hang_up = close_after;
	ask(&o);
}

static void connects(void **state)
{
	ProbeOptions o = { .address = "127.0.0.1", .port = port, .timeout_ns = PATIENCE };
	ask(&o);
	assert_int_equal(last_status, 0);
	assert_int_equal(last_err.code, 0);
	assert_true(last_took > 0);
}

static void request_is_plain(void **state)
{
	get("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nUP", false, 100);
	assert_int_equal(last_status, 200);
	assert_int_equal(last_err.code, 0);
	assert_string_equal(buf_cstr(&last_body), "UP");
	AUTO_FREE char *host = xasprintf("\r\nHost: 127.0.0.1:%u\r\n", port);
	assert_true(str_starts(buf_cstr(&last_request), "GET /health?x=1 HTTP/1.1\r\n"));
	assert_non_null(strstr(last_request.data, host));
	assert_non_null(strstr(last_request.data, "\r\nConnection: close\r\n"));
	ProbeOptions o = { .address = "127.0.0.1", .port = port, .path = "/", .host = "app.example.com", .timeout_ns = PATIENCE };
	ask(&o);
	assert_non_null(strstr(last_request.data, "\r\nHost: app.example.com\r\n"));
}

static void any_status_is_an_answer(void **state)
{
	get("HTTP/1.1 301 Moved\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", false, 100);
	assert_int_equal(last_status, 301);
	assert_int_equal(last_err.code, 0);
	get("HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhelp\r\n0\r\n\r\n", false, 100);
	assert_int_equal(last_status, 500);
	assert_string_equal(buf_cstr(&last_body), "help");
	get("HTTP/1.0 404 No\r\n\r\nnot here", true, 3);
	assert_int_equal(last_status, 404);
	assert_int_equal(last_err.code, 0);
	assert_string_equal(buf_cstr(&last_body), "not");
}

static void cut_off_and_nonsense(void **state)
{
	AUTO_FREE char *place = xasprintf("127.0.0.1:%u", port);
	get("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", true, 100);
	assert_int_equal(last_status, 200);
	assert_int_equal(last_err.code, -EPROTO);
	assert_non_null(strstr(last_err.text, "before its body was complete"));
	assert_non_null(strstr(last_err.text, place));
	get("", true, 100);
	assert_int_equal(last_status, 0);
	assert_non_null(strstr(last_err.text, "before an answer came"));
	get("SSH-2.0-x\r\n", false, 100);
	assert_int_equal(last_status, 0);
	assert_non_null(strstr(last_err.text, "not valid HTTP"));
}

static void endless_body_ends(void **state)
{
	static char piece[70000];
	memset(piece, 'x', sizeof(piece) - 1);
	memcpy(piece, "HTTP/1.0 200 OK\r\n\r\n", 19);
	endless = true;
	get(piece, false, 1000);
	assert_int_equal(last_status, 200);
	assert_int_equal(last_err.code, 0);
	assert_int_equal(last_body.len, 1000);
	/* Headers without an end are an error. */
	memcpy(piece, "HTTP/1.0 200 OK\r\nX:", 19);
	get(piece, false, 1000);
	assert_int_equal(last_err.code, -EPROTO);
	assert_non_null(strstr(last_err.text, "too large"));
	endless = false;
}

static void silence_times_out(void **state)
{
	ProbeOptions o = { .address = "127.0.0.1", .port = port, .path = "/", .timeout_ns = 5 * NSEC_PER_MSEC };
	answer = NULL;
	ask(&o);
	assert_int_equal(last_err.code, -ETIMEDOUT);
	assert_non_null(strstr(last_err.text, "within 5ms"));
	assert_true(last_took >= 5 * NSEC_PER_MSEC);
}

static void nobody_listens(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	/* Bound, not listening: nobody else can listen there meanwhile. */
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *) &a, n), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *) &a, &n), 0);
	ProbeOptions o = { .address = "127.0.0.1", .port = ntohs(a.sin_port), .path = "/", .timeout_ns = PATIENCE };
	ask(&o);
	assert_int_equal(last_status, 0);
	assert_int_equal(last_err.code, -ECONNREFUSED);
	assert_true(str_starts(last_err.text, "cannot connect to 127.0.0.1:"));
	/* An address that no route leads to fails at once, still from the loop. */
	o.address = "255.255.255.255";
	ask(&o);
	assert_true(last_err.code < 0);
}

static void cancelled(void **state)
{
	ProbeOptions o = { .address = "127.0.0.1", .port = port, .path = "/", .timeout_ns = PATIENCE };
	bool done = false;
	Probe *p = NULL;
	int before = n_results;
	answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	/* At once, while it connects; and later, with the answer perhaps on its way. */
	for (int turns = 0; turns < 4; turns++) {
		assert_int_equal(probe_start(&loop, &o, on_result, &done, &p, NULL), 0);
		for (int i = 0; i < turns && !done; i++)
			(void) uv_run(&loop, UV_RUN_NOWAIT);
		if (!done)
			probe_cancel(p);
		else
			before++;
		done = false;
		for (int i = 0; i < 10; i++)
			(void) uv_run(&loop, UV_RUN_NOWAIT);
		assert_false(done);
	}
	assert_int_equal(n_results, before);
	probe_cancel(NULL);
}

static void bad_options(void **state)
{
	static const ProbeOptions bad[] = {
		{ .address = "localhost", .port = 80, .timeout_ns = 1 },
		{ .address = "", .port = 80, .timeout_ns = 1 },
		{ .address = "127.0.0.1", .port = 0, .timeout_ns = 1 },
		{ .address = "127.0.0.1", .port = 80, .path = "x", .timeout_ns = 1 },
		{ .address = "127.0.0.1", .port = 80, .path = "/ HTTP/1.1\r\nX: y", .timeout_ns = 1 },
		{ .address = "127.0.0.1", .port = 80, .path = "/\xc3\xa9", .timeout_ns = 1 },
		{ .address = "127.0.0.1", .port = 80, .path = "/", .host = "a\nb", .timeout_ns = 1 },
		{ .address = "127.0.0.1", .port = 80, .path = "/", .host = "", .timeout_ns = 1 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		AUTO_ERR err = ERR_INIT;
		assert_int_equal(probe_start(&loop, &bad[i], on_result, NULL, NULL, &err), -EINVAL);
		assert_non_null(err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connects),
		cmocka_unit_test(request_is_plain),
		cmocka_unit_test(any_status_is_an_answer),
		cmocka_unit_test(cut_off_and_nonsense),
		cmocka_unit_test(endless_body_ends),
		cmocka_unit_test(silence_times_out),
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(cancelled),
		cmocka_unit_test(bad_options),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
