// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "notify/notice.h"

static char *lines[] = { (char *) (uintptr_t) "starting", (char *) (uintptr_t) "\x1b[31mno database\x1b[0m", NULL };

static const Notice failed = {
	.kind = NOTICE_DEPLOY_FAILED, .stack = "blog", .service = "api", .release = 7, .base = 6, .who = "ann@box", .commit = "0a1b2c3 add search",
	.author = "Ann", .step = "health", .text = "It was not healthy within 60s.", .log_lines = lines, .took_ns = 61234 * NSEC_PER_MSEC,
	.next = "stead releases 7", .url = "https://blog.example.com", .id = "00ff", .time = 1700000000 * NSEC_PER_SEC, .host = "box",
};

static void document(void **state)
{
	json_t *o = notice_to_json(&failed);
	json_t *want = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:f, s:[s, s]}", "version", 1, "event",
		"deploy.failed", "id", "00ff", "time", "2023-11-14T22:13:20.000000000Z", "host", "box", "stack", "blog", "service", "api", "release", 7, "base",
		6, "who", "ann@box", "commit", "0a1b2c3 add search", "author", "Ann", "step", "health", "text", "It was not healthy within 60s.", "next",
		"stead releases 7", "url", "https://blog.example.com", "seconds", 61.234, "log", "starting", "no database");
	if (!json_equal(o, want))
		fail_msg("%s\n%s", json_dumps(o, JSON_SORT_KEYS), json_dumps(want, JSON_SORT_KEYS));
	Notice n;
	assert_int_equal(notice_from_json(o, &n, NULL), 0);
	assert_int_equal(n.kind, NOTICE_DEPLOY_FAILED);
	assert_int_equal(n.took_ns, failed.took_ns);
	assert_int_equal(n.time, failed.time);
	json_t *again = notice_to_json(&n);
	assert_true(json_equal(again, want));
	notice_done(&n);
	json_decref(again);
	json_decref(want);
	json_decref(o);
}

static void little_is_known(void **state)
{
	Notice n = { .kind = NOTICE_DEPLOY_STARTED, .stack = "blog", .text = " \n", .time = 1700000000 * NSEC_PER_SEC };
	json_t *o = notice_to_json(&n);
	assert_int_equal(json_object_size(o), 4); /* version, event, time, stack */
	json_decref(o);
}

static void huge(void **state)
{
	AUTO_FREE char *big = xmalloc(100000);
	memset(big, '"', 99999); /* twice as long in JSON */
	big[99999] = '\0';
	AUTO_STRV char **log = NULL;
	for (int i = 0; i < 400; i++)
		strv_take(&log, xasprintf("line %d %.*s", i, i == 399 ? 5000 : 50, big));
	Notice n = { .kind = NOTICE_ROLLED_BACK, .stack = big, .service = big, .who = big, .commit = big, .author = big, .step = big, .text = big, .next = big,
		     .url = big, .id = big, .host = big, .log_lines = log };
	json_t *o = notice_to_json(&n);
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
	assert_true(strlen(text) <= LIMIT_NOTICE_BYTES);
	const json_t *kept = json_object_get(o, "log");
	size_t count = json_array_size(kept);
	assert_true(count > 50 && count <= LIMIT_NOTICE_LINES);
	/* The last ones, in order. */
	assert_true(str_starts(json_string_value(json_array_get(kept, count - 1)), "line 399 "));
	assert_true(str_starts(json_string_value(json_array_get(kept, count - 2)), "line 398 "));
	assert_true(str_ends(json_string_value(json_array_get(kept, count - 1)), "\xe2\x80\xa6"));
	json_decref(o);
}

static void not_a_notice(void **state)
{
	static const char *const bad[] = { "{}", "[]", "{\"version\":2,\"event\":\"deploy.failed\",\"stack\":\"a\"}",
					   "{\"version\":1,\"event\":\"deploy.odd\",\"stack\":\"a\"}", "{\"version\":1,\"event\":\"deploy.failed\"}",
					   "{\"version\":1,\"stack\":\"a\"}" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json_t *o = json_loads(bad[i], 0, NULL);
		Notice n;
		AUTO_ERR err = ERR_INIT;
		assert_int_equal(notice_from_json(o, &n, &err), -EINVAL);
		json_decref(o);
	}
	/* Of another type: as if it were not there. */
	json_t *o = json_loads("{\"version\":1,\"event\":\"deploy.failed\",\"stack\":\"a\",\"who\":7,\"release\":\"x\",\"log\":[1,\"b\"],\"seconds\":-1}", 0, NULL);
	Notice n;
	assert_int_equal(notice_from_json(o, &n, NULL), 0);
	assert_null(n.who);
	assert_int_equal(n.release, 0);
	assert_string_equal(n.log_lines[0], "b");
	assert_null(n.log_lines[1]);
	notice_done(&n);
	json_decref(o);
}

static void what_is_shown(void **state)
{
	static const struct {
		NoticeKind kind;
		int release;
		const char *title;
	} cases[] = {
		{ NOTICE_DEPLOY_STARTED, 7, "blog: deploy of release 7 has begun" },
		{ NOTICE_DEPLOY_SUCCEEDED, 7, "blog: release 7 is deployed" },
		{ NOTICE_DEPLOY_FAILED, 7, "blog: deploy of release 7 failed" },
		{ NOTICE_DEPLOY_FAILED, 0, "blog: deploy of a release failed" },
		{ NOTICE_ROLLED_BACK, 5, "blog: rolled back to release 5" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		Notice n = { .kind = cases[i].kind, .stack = "blog", .release = cases[i].release };
		AUTO_FREE char *title = notice_title(&n);
		assert_string_equal(title, cases[i].title);
		assert_string_equal(notice_class(n.kind), "deploy");
		assert_true(str_starts(notice_event(n.kind), "deploy."));
	}
	NoticeFact facts[NOTICE_FACTS_MAX];
	AUTO_BUF b = BUF_INIT;
	size_t n = notice_facts(&failed, facts);
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s=%s;", facts[i].name, facts[i].value);
	notice_facts_done(facts, n);
	assert_string_equal(buf_cstr(&b), "Service=api;Release=7;Still serving=6;Failed step=health;Commit=0a1b2c3 add search;Author=Ann;By=ann@box;Took=1m1s;");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(document),	cmocka_unit_test(little_is_known), cmocka_unit_test(huge),
		cmocka_unit_test(not_a_notice), cmocka_unit_test(what_is_shown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
