// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "notify/text.h"

static void clean(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "plain\nlines", "plain\nlines" },
		{ "\x1b[1;31mred\x1b[0m \x1b[K", "red " },
		{ "\x1b]0;title\a:\x1b]8;;http://x\x1b\\link", ":link" },
		{ "\x1b]never ended", "" },
		{ "\x1b", "" },
		{ "a\x1b[", "a" },
		{ "\x1b(Bx", "Bx" },
		{ "a\tb\r\nc\bd\x7f", "a    b\ncd" },
		{ "bad \xff\xc3 end", "bad \xef\xbf\xbd\xef\xbf\xbd end" },
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, /* a surrogate */
		{ "caf\xc3\xa9 \xf0\x9f\x9a\x80", "caf\xc3\xa9 \xf0\x9f\x9a\x80" },
		{ "a\xe2\x80\xae" "b\xe2\x81\xa6" "c\xc2\x85", "abc" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_BUF b = BUF_INIT;
		text_clean(&b, cases[i].in);
		assert_string_equal(buf_cstr(&b), cases[i].out);
	}
}

static const char *amp(char c)
{
	return c == '&' ? "&amp;" : NULL;
}

static void expect_put(const char *s, size_t room, TextUnit unit, const char *(*escape)(char), const char *want, size_t left)
{
	AUTO_BUF b = BUF_INIT;
	TextOut o = { .buf = &b, .room = room, .unit = unit, .escape = escape };
	bool whole = text_put(&o, s);
	assert_string_equal(buf_cstr(&b), want);
	assert_int_equal(o.room, left);
	assert_int_equal(whole, !strstr(want, "\xe2\x80\xa6") && (*want || !*s));
}

static void cut(void **state)
{
	expect_put("hello", 5, TEXT_BYTES, NULL, "hello", 0);
	expect_put("hello!", 5, TEXT_UTF16, NULL, "hell\xe2\x80\xa6", 0);
	expect_put("hello!", 5, TEXT_BYTES, NULL, "he\xe2\x80\xa6", 0);
	expect_put("hello!", 2, TEXT_BYTES, NULL, "", 2);
	/* Never half a character, never half an entity. */
	expect_put("a\xf0\x9f\x9a\x80" "bc", 3, TEXT_UTF16, NULL, "a\xe2\x80\xa6", 1);
	expect_put("a\xf0\x9f\x9a\x80" "b", 4, TEXT_UTF16, NULL, "a\xf0\x9f\x9a\x80" "b", 0);
	expect_put("a&b", 6, TEXT_UTF16, amp, "a\xe2\x80\xa6", 4);
	expect_put("a&b", 7, TEXT_UTF16, amp, "a&amp;b", 0);
	expect_put("\"\n\\", 5, TEXT_JSON, NULL, "\"\xe2\x80\xa6", 0);
	expect_put("\"\n\\", 6, TEXT_JSON, NULL, "\"\n\\", 0);
	assert_int_equal(text_prefix("a\xc3\xa9", 2), 1);
	assert_int_equal(text_prefix("a\xc3\xa9", 3), 3);
	assert_int_equal(text_prefix("\xc3\xa9", 1), 0);
}

static void last_lines(void **state)
{
	char *lines[] = { (char *) (uintptr_t) "one", (char *) (uintptr_t) "two", (char *) (uintptr_t) "three", NULL };
	static const struct {
		size_t room;
		const char *want;
		size_t n;
	} cases[] = { { 100, "one\ntwo\nthree\n", 3 }, { 13, "two\nthree\n", 2 }, { 9, "three\n", 1 }, { 5, "t\xe2\x80\xa6\n", 1 }, { 1, "", 0 } };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_BUF b = BUF_INIT;
		TextOut o = { .buf = &b, .room = cases[i].room, .unit = TEXT_BYTES };
		assert_int_equal(text_put_last_lines(&o, lines), cases[i].n);
		assert_string_equal(buf_cstr(&b), cases[i].want);
		assert_int_equal(o.room, cases[i].room - b.len);
	}
	AUTO_BUF b = BUF_INIT;
	TextOut o = { .buf = &b, .room = 100 };
	assert_int_equal(text_put_last_lines(&o, NULL), 0);
	assert_int_equal(text_put_last_lines(&o, lines + 3), 0);
}

static void raw(void **state)
{
	AUTO_BUF b = BUF_INIT;
	TextOut o = { .buf = &b, .room = 4, .unit = TEXT_BYTES, .escape = amp };
	assert_true(text_put_raw(&o, "&x&"));
	assert_false(text_put_raw(&o, "&&"));
	assert_string_equal(buf_cstr(&b), "&x&");
	assert_true(text_blank(NULL) && text_blank("") && text_blank(" \n\t"));
	assert_false(text_blank(" x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clean),
		cmocka_unit_test(cut),
		cmocka_unit_test(last_lines),
		cmocka_unit_test(raw),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
