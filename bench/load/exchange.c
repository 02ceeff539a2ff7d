// SPDX-License-Identifier: Apache-2.0
/*
 * Bodies are judged byte by byte: bench/server.c answers with a pattern that does not repeat at any power of
 * two, so that a piece that is lost, doubled or taken from another answer does not pass.
 */
#include "bench/load/load.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "base/time.h"

#define PATTERN_PERIOD 23
#define POST_BODY_MAX 4096

const char *pattern(size_t at)
{
	static char text[PATTERN_MAX + PATTERN_PERIOD];

	if (!text[0]) {
		for (size_t i = 0; i < sizeof text; i++)
			text[i] = (char) ('a' + i % PATTERN_PERIOD);
	}
	return text + at % PATTERN_PERIOD;
}

/** What a path of bench/server.c answers with. */
static Expect expect_of(const char *path, size_t *ret_len)
{
	uint64_t size = 1000;

	if (str_starts(path, "/echo"))
		return EXPECT_ECHO;
	if (str_starts(path, "/slow") || str_starts(path, "/big")) {
		*ret_len = 102400;
		return EXPECT_PATTERN;
	}
	if (!str_starts(path, "/data"))
		return EXPECT_ANY;
	const char *p = strstr(path, "size=");
	if (p)
		size = strtoull(p + 5, NULL, 10);
	*ret_len = (size_t) size;
	return EXPECT_PATTERN;
}

void exchange_begin(Exchange *x, Worker *w)
{
	Kind *k = w->kind;

	*x = (Exchange){ .load = w->load, .kind = k, .open = true };
	x->post = k->post && (!k->get || w->turns % 2 == 1);
	x->path = x->post ? k->post : k->get;
	x->begun = time_mono();
	x->deadline = x->begun + w->load->timeout;
	x->expect = expect_of(x->path, &x->expect_len);
	if (x->post && w->load->post_body) {
		x->body = w->load->post_body;
		x->body_len = strlen(x->body);
	} else if (x->post) {
		/* Mostly small; now and then one that does not fit into a segment or a buffer. */
		x->body = pattern((size_t) random());
		x->body_len = random() % 64 == 0 ? PATTERN_MAX : (size_t) random() % POST_BODY_MAX;
	}
	if (x->expect == EXPECT_ECHO)
		x->expect_len = x->body_len;
	w->turns++;
}

void exchange_header(Exchange *x, const char *name, size_t name_len, const char *value, size_t value_len)
{
	char version[VERSION_MAX];

	if (name_len != 9 || strncasecmp(name, "X-Version", 9) != 0)
		return;
	(void) snprintf(version, sizeof version, "%.*s", (int) value_len, value);
	versions_note(&x->load->versions, version, time_real());
}

void exchange_body(Exchange *x, const char *p, size_t n)
{
	const char *want = x->expect == EXPECT_ECHO ? x->body + x->got : NULL;

	for (size_t done = 0, part; done < n && !x->wrong && x->expect != EXPECT_ANY; done += part, x->got += part) {
		part = n - done < PATTERN_MAX ? n - done : PATTERN_MAX;
		if (x->got + part > x->expect_len || memcmp(p + done, want ? want + done : pattern(x->got), part) != 0) {
			x->wrong = true;
			return;
		}
	}
	if (x->expect == EXPECT_ANY)
		x->got += n;
}

void exchange_end(Exchange *x)
{
	Counts *c = &x->kind->counts;

	if (x->status < 200 || x->status > 299) {
		exchange_fail(x, FAIL_STATUS, false, "%s %s: %d", x->post ? "POST" : "GET", x->path, x->status);
		return;
	}
	if (x->wrong || (x->expect != EXPECT_ANY && x->got != x->expect_len)) {
		exchange_fail(x, FAIL_BODY, false, "%s: the body is right for %zu bytes, of %zu", x->path, x->got, x->expect_len);
		return;
	}
	x->open = false;
	c->done++;
	histogram_add(&c->latency, time_mono() - x->begun);
}

void exchange_fail(Exchange *x, Failure why, bool reused, const char *fmt, ...)
{
	char text[256], detail[320];
	va_list args;

	va_start(args, fmt);
	(void) vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	(void) snprintf(detail, sizeof detail, "%s (after %.3f s%s)", text, (double) (time_mono() - x->begun) / NSEC_PER_SEC,
		reused ? ", on a connection in use" : "");
	x->open = false;
	x->kind->counts.reused += reused;
	counts_fail(&x->kind->counts, &x->load->failures, x->kind->name, why, x->status, detail, time_real());
}

Failure link_failure(int why, bool connected, bool answered)
{
	if (why == -ETIMEDOUT)
		return FAIL_TIMEOUT;
	if (why == -EPROTO)
		return FAIL_PROTOCOL;
	if (!connected)
		return why == -ECONNREFUSED || why == -EHOSTUNREACH || why == -ENETUNREACH ? FAIL_REFUSED : FAIL_RESET;
	if (answered)
		return FAIL_TRUNCATED;
	return why == 0 ? FAIL_CLOSED : FAIL_RESET;
}
