// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "daemon/filter.h"

static const char *const known[] = { "label", "label!", "name", "status", "dangling", "id", NULL };

static Filter *parse(const char *text)
{
	Filter *f = NULL;
	AUTO_ERR err = ERR_INIT;
	if (filter_read(text, known, &f, &err) < 0)
		fail_msg("%s: %s", text, err_text(&err));
	return f;
}

static void both_encodings(void **state)
{
	static const char *const texts[] = { "{\"status\":{\"running\":true,\"exited\":true,\"dead\":false}}", "{\"status\":[\"running\",\"exited\"]}" };
	for (size_t i = 0; i < 2; i++) {
		Filter *f = parse(texts[i]);
		assert_true(filter_match(f, "status", "running"));
		assert_true(filter_match(f, "status", "exited"));
		assert_false(filter_match(f, "status", "dead"));
		assert_false(filter_match(f, "status", NULL));
		assert_true(filter_match(f, "name", "anything"));
		json_decref(f);
	}
}

static void nothing_filters_nothing(void **state)
{
	static const char *const texts[] = { NULL, "", "{}", "{\"status\":{}}", "{\"status\":[]}" };
	char *labels[] = { (char *) "a=b", NULL };
	for (size_t i = 0; i < 5; i++) {
		Filter *f = parse(texts[i]);
		assert_true(filter_match(f, "status", "x"));
		assert_true(filter_match_labels(f, labels));
		assert_true(filter_match_labels(f, NULL));
		json_decref(f);
	}
}

static void labels_all_must_hold(void **state)
{
	char *labels[] = { (char *) "a=b", (char *) "c=", (char *) "long=x", NULL };
	static const struct {
		const char *text;
		bool match;
	} cases[] = {
		{ "{\"label\":[\"a\"]}", true },           { "{\"label\":[\"a=b\",\"c\"]}", true },  { "{\"label\":[\"a=b\",\"d\"]}", false },
		{ "{\"label\":[\"a=x\"]}", false },        { "{\"label\":[\"lon\"]}", false },       { "{\"label!\":[\"a\"]}", false },
		{ "{\"label!\":[\"a=x\"]}", true },        { "{\"label\":[\"a\"],\"label!\":[\"d\"]}", true },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		Filter *f = parse(cases[i].text);
		assert_int_equal(filter_match_labels(f, labels), cases[i].match);
		json_decref(f);
	}
}

static void texts(void **state)
{
	static const struct {
		const char *wanted, *value;
		bool match;
	} cases[] = {
		{ "web", "blog-web-1", true },    { "^web", "blog-web-1", false }, { "^blog", "blog-web-1", true }, { "-1$", "blog-web-1", true },
		{ "web$", "blog-web-1", false },  { "^a$", "a", true },            { "^a$", "aa", false },          { "", "x", true },
		{ ".*", "x", false },             { "^", "x", true },              { "$", "x", true },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		Filter *f = json_pack("{s:[s]}", "name", cases[i].wanted);
		assert_int_equal(filter_match_text(f, "name", cases[i].value), cases[i].match);
		json_decref(f);
	}
	Filter *f = parse("{\"id\":[\"abc\"]}");
	assert_true(filter_match_prefix(f, "id", "abcdef"));
	assert_false(filter_match_prefix(f, "id", "ab"));
	json_decref(f);
}

static void booleans(void **state)
{
	AUTO_ERR err = ERR_INIT;
	bool b = false;
	static const char *const yes[] = { "{\"dangling\":[\"1\"]}", "{\"dangling\":{\"true\":true}}", "{\"dangling\":[\"True\"]}" };
	for (size_t i = 0; i < 3; i++) {
		Filter *f = parse(yes[i]);
		assert_int_equal(filter_bool(f, "dangling", false, &b, NULL), 0);
		assert_true(b);
		json_decref(f);
	}
	assert_int_equal(filter_bool(NULL, "dangling", true, &b, NULL), 0);
	assert_true(b);
	Filter *f = parse("{\"dangling\":[\"maybe\"]}");
	assert_int_equal(filter_bool(f, "dangling", true, &b, &err), -EINVAL);
	json_decref(f);
	f = parse("{\"dangling\":[\"1\",\"0\"]}");
	assert_int_equal(filter_bool(f, "dangling", true, &b, &err), -EINVAL);
	json_decref(f);
}

static void refuses(void **state)
{
	static const char *const bad[] = { "{", "[]", "\"x\"", "{\"nonsense\":[\"a\"]}", "{\"status\":[1]}", "{\"status\":\"a\"}", "{\"status\":{\"a\":1}}" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		Filter *f = NULL;
		AUTO_ERR err = ERR_INIT;
		assert_int_equal(filter_read(bad[i], known, &f, &err), -EINVAL);
		assert_null(f);
		assert_non_null(err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_encodings),
		cmocka_unit_test(nothing_filters_nothing),
		cmocka_unit_test(labels_all_must_hold),
		cmocka_unit_test(texts),
		cmocka_unit_test(booleans),
		cmocka_unit_test(refuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
