// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/probe-reply.h"

#define BODY_MAX 8

typedef struct Case {
	const char *text;
	ProbeReplyState state; /* once the connection ends */
	int status;
	const char *body; /* as far as kept */
} Case;

static ProbeReplyState feed(ProbeReply *r, const char *text, size_t piece)
{
	ProbeReplyState state = PROBE_REPLY_MORE;
	for (size_t n = strlen(text); n && state == PROBE_REPLY_MORE;) {
		size_t len = n < piece ? n : piece;
		state = probe_reply_feed(r, text, len);
		text += len;
		n -= len;
	}
	return state == PROBE_REPLY_MORE ? probe_reply_feed(r, NULL, 0) : state;
}

static void check(const Case *c)
{
	for (size_t piece = 1; piece < 100; piece += 7) {
		ProbeReply r;
		probe_reply_init(&r, BODY_MAX);
		ProbeReplyState state = feed(&r, c->text, piece);
		if (state != c->state || r.status != c->status || !str_eq(buf_cstr(&r.body), c->body))
			fail_msg("%s\n(pieces of %zu): state %d status %d body '%s' %s", c->text, piece, state, r.status, buf_cstr(&r.body),
				 r.bad_text ? r.bad_text : "");
		assert_true(state == PROBE_REPLY_COMPLETE ? r.bad_text == NULL : r.bad_text != NULL);
		probe_reply_done(&r);
	}
}

static void bodies(void **state)
{
	static const Case cases[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nUPmore", PROBE_REPLY_COMPLETE, 200, "UP" },
		{ "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n", PROBE_REPLY_COMPLETE, 503, "abcde" },
		{ "HTTP/1.0 200 OK\r\n\r\nto the end", PROBE_REPLY_COMPLETE, 200, "to the e" },
		{ "HTTP/1.1 204 Nothing\r\n\r\n", PROBE_REPLY_COMPLETE, 204, "" },
		{ "HTTP/1.1 301 Moved\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n", PROBE_REPLY_COMPLETE, 301, "" },
		{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
		  PROBE_REPLY_COMPLETE, 200, "x" },
		{ "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx", PROBE_REPLY_COMPLETE, 101, "" },
		{ "HTTP/1.1 200\r\nContent-Length: 10\r\n\r\n0123456789", PROBE_REPLY_COMPLETE, 200, "01234567" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check(&cases[i]);
}

static void refused(void **state)
{
	static const Case cases[] = {
		{ "", PROBE_REPLY_BAD, 0, "" },
		{ "HTTP/1.1 200 OK\r\nContent-Le", PROBE_REPLY_BAD, 0, "" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", PROBE_REPLY_BAD, 200, "abc" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", PROBE_REPLY_BAD, 200, "abc" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", PROBE_REPLY_BAD, 200, "" },
		{ "HTTP/1.1 100 Continue\r\n\r\n", PROBE_REPLY_BAD, 0, "" },
		{ "SSH-2.0-OpenSSH_9\r\n", PROBE_REPLY_BAD, 0, "" },
		{ "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", PROBE_REPLY_BAD, 0, "" },
		{ "HTTP/1.1 999 Own\r\nContent-Length: 0\r\n\r\n", PROBE_REPLY_BAD, 0, "" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", PROBE_REPLY_BAD, 0, "" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", PROBE_REPLY_BAD, 0, "" },
		{ "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na", PROBE_REPLY_BAD, 0, "" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\na", PROBE_REPLY_BAD, 0, "" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check(&cases[i]);
}

static void headers_have_a_limit(void **state)
{
	static const char *const endless[] = { "X: 0123456789\r\n", "HTTP/1.1 100 \r\n\r\n" };
	for (size_t i = 0; i < ARRAY_SIZE(endless); i++) {
		ProbeReply r;
		probe_reply_init(&r, BODY_MAX);
		size_t n = 0;
		if (i == 0)
			assert_int_equal(probe_reply_feed(&r, "HTTP/1.1 200 OK\r\n", 17), PROBE_REPLY_MORE);
		while (probe_reply_feed(&r, endless[i], strlen(endless[i])) == PROBE_REPLY_MORE)
			assert_true((n += strlen(endless[i])) < 8 * LIMIT_PROBE_HEADERS);
		assert_non_null(strstr(r.bad_text, "too large"));
		probe_reply_done(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies),
		cmocka_unit_test(refused),
		cmocka_unit_test(headers_have_a_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
