// SPDX-License-Identifier: Apache-2.0
/* Names are resolved by a script in the place of the worker; what answers is a listener of the test, on all of 127/8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "edge/acme-preflight.h"

static uv_loop_t loop;
static uv_tcp_t server;
static uint16_t port;
static char scratch[] = "/tmp/stead-test-preflight-XXXXXX";
static const char *answer; /* status and what stands after the token; NULL: the right one */
static int asked;

static void on_closed(uv_handle_t *h)
{
	free(h);
}

static void on_alloc(uv_handle_t *h, size_t n, uv_buf_t *buf)
{
	static char space[4096];
	*buf = uv_buf_init(space, sizeof(space) - 1);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	if (n > 0) {
		static const char before[] = "GET /.well-known/acme-challenge/";
		asked++;
		buf->base[n] = 0;
		assert_true(str_starts(buf->base, before));
		AUTO_FREE char *token = xstrndup(buf->base + strlen(before), strcspn(buf->base + strlen(before), " "));
		AUTO_FREE char *text = answer ? xstrdup(answer) : xasprintf("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%s.thumb\n", token);
		uv_buf_t out = uv_buf_init(text, (unsigned) strlen(text));
		assert_true(uv_try_write(s, &out, 1) > 0);
	}
	if (!uv_is_closing((uv_handle_t *) s))
		uv_close((uv_handle_t *) s, on_closed);
}

static void on_connection(uv_stream_t *s, int status)
{
	uv_tcp_t *c = xcalloc(1, sizeof(*c));
	(void) uv_tcp_init(&loop, c);
	assert_int_equal(uv_accept(s, (uv_stream_t *) c), 0);
	(void) uv_read_start((uv_stream_t *) c, on_alloc, on_read);
}

static int setup(void **state)
{
	struct sockaddr_in a;
	int n = sizeof(a);
	assert_non_null(mkdtemp(scratch));
	assert_int_equal(setenv("STEAD_LIBEXECDIR", scratch, 1), 0);
	assert_int_equal(uv_loop_init(&loop), 0);
	(void) uv_ip4_addr("0.0.0.0", 0, &a);
	(void) uv_tcp_init(&loop, &server);
	assert_int_equal(uv_tcp_bind(&server, (struct sockaddr *) &a, 0), 0);
	assert_int_equal(uv_listen((uv_stream_t *) &server, 8, on_connection), 0);
	(void) uv_tcp_getsockname(&server, (struct sockaddr *) &a, &n);
	port = ntohs(a.sin_port);
	return 0;
}

static int teardown(void **state)
{
	uv_close((uv_handle_t *) &server, NULL);
	while (uv_run(&loop, UV_RUN_DEFAULT))
		;
	(void) uv_loop_close(&loop);
	return tree_remove(AT_FDCWD, scratch);
}

typedef struct Seen {
	int calls;
	char *text;
} Seen;

static void on_done(void *user, const Err *err)
{
	Seen *s = user;
	s->calls++;
	s->text = err ? xstrdup(err_text(err)) : NULL;
}

/* What stands in the way, or NULL; owned by the caller. */
static char *check(const char *report, const char *with)
{
	AUTO_FREE char *worker = xasprintf("#!/bin/sh\n[ \"$1\" = resolve ] && grep -q '\"name\":\"a.example.com\"' && echo '%s'\n", report);
	AUTO_FREE char *path = xasprintf("%s/stead-worker", scratch);
	const PreflightOptions o = { .loop = &loop, .host = "a.example.com", .thumbprint = "thumb", .state_dir = scratch, .http_port = port };
	AUTO_ERR err = ERR_INIT;
	Seen s = { 0 };
	Preflight *p;
	answer = with;
	asked = 0;
	assert_int_equal(file_write(AT_FDCWD, path, worker, strlen(worker), 0755), 0);
	if (preflight_start(&o, on_done, &s, &p, &err) < 0)
		fail_msg("%s", err_text(&err));
	while (!s.calls)
		assert_true(uv_run(&loop, UV_RUN_ONCE));
	assert_int_equal(s.calls, 1);
	return s.text;
}

#define assert_says(text, ...)                                                                               \
	do {                                                                                                 \
		AUTO_FREE char *got_ = check(__VA_ARGS__);                                                   \
		if (!got_ || !strstr(got_, text))                                                            \
			fail_msg("no '%s' in: %s", text, got_);                                              \
	} while (0)

static void the_way_is_free(void **state)
{
	assert_null(check("{\"addresses\":[\"127.0.0.1\"]}", NULL));
	assert_int_equal(asked, 1);
	/* One IPv4 address is enough: a server tries the next. TEST-NET-1 leads nowhere. */
	assert_null(check("{\"addresses\":[\"127.0.0.3\",\"127.0.0.2\"]}", NULL));
}

static void what_is_in_the_way(void **state)
{
	assert_says("no address in the DNS (Name or service not known): add an A record", "{\"error\":\"Name or service not known\",\"code\":-113}", NULL);
	assert_says("no address in the DNS", "{\"addresses\":[]}", NULL);
	assert_says("HTTP status 404", "{\"addresses\":[\"127.0.0.1\"]}", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
	assert_says("another answer than ours", "{\"addresses\":[\"127.0.0.1\"]}", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
	assert_says("is not answered by this edge", "{\"addresses\":[\"127.0.0.1\"]}", "no HTTP\r\n\r\n");
	assert_says("garbage", "{\"addresses\":[\"garbage\"]}", NULL);
}

/* Whoever asks over IPv6 does not come back over IPv4 as long as something answers there. */
static void every_ipv6_address_counts(void **state)
{
	assert_says("IPv6 address ::ffff:0:1", "{\"addresses\":[\"::ffff:0:1\",\"127.0.0.1\"]}", NULL);
	assert_says("remove the AAAA record", "{\"addresses\":[\"100::1\",\"127.0.0.1\"]}", NULL);
}

static void calls_off(void **state)
{
	AUTO_FREE char *path = xasprintf("%s/stead-worker", scratch);
	const PreflightOptions o = { .loop = &loop, .host = "a.example.com", .thumbprint = "thumb", .state_dir = scratch, .http_port = port };
	static const char slow[] = "#!/bin/sh\nexec sleep 1000\n";
	Seen s = { 0 };
	Preflight *p;
	assert_int_equal(file_write(AT_FDCWD, path, slow, strlen(slow), 0755), 0);
	assert_int_equal(preflight_start(&o, on_done, &s, &p, NULL), 0);
	preflight_cancel(p);
	(void) uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(s.calls, 0);
}

static void kinds_of_addresses(void **state)
{
	assert_true(address_is_own("127.0.0.1") && address_is_own("127.9.9.9"));
	assert_false(address_is_own("192.0.2.77") || address_is_own("2001:db8::77") || address_is_own("") || address_is_own("x"));
	assert_true(address_is_private("127.0.0.1") && address_is_private("192.168.1.1") && address_is_private("::1") && address_is_private("fe80::1") &&
		address_is_private("fd00::1"));
	assert_false(address_is_private("8.8.8.8") || address_is_private("2606:4700::1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_way_is_free),
		cmocka_unit_test(what_is_in_the_way),
		cmocka_unit_test(every_ipv6_address_counts),
		cmocka_unit_test(calls_off),
		cmocka_unit_test(kinds_of_addresses),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
