// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "build/entries.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define FILE_OF(path) "{\"path\":\"" path "\",\"type\":\"f\",\"mode\":420,\"size\":3,\"hash\":\"" HEX "\"}\n"

static int parse(const char *text, Entries *ret, Err *err)
{
	return entries_parse(text, strlen(text), ret, err);
}

static void what_is_written_is_read(void **state)
{
	/* Plain lines, and those that need the JSON reader: escapes, names that are no UTF-8, attributes, links. */
#define FIRST                                                                                                  \
	"{\"type\":\"d\",\"path\":\"a\",\"mode\":493,\"mtime\":-17}\n"                                              \
	"{\"type\":\"f\",\"path\":\"a/b\",\"mode\":2541,\"uid\":3,\"gid\":4,\"size\":9,\"hash\":\"" HEX "\",\"mtime\":5}\n" \
	"{\"type\":\"f\",\"path\":\"a/c\",\"mode\":420,\"size\":0,\"hash\":\"" HEX "\",\"link\":\"a/b\",\"xattrs\":{\"user.x\":\"00ff\"}}\n" \
	"{\"type\":\"c\",\"path\":\"a/d\",\"mode\":420,\"uid\":4294967294,\"gid\":0,\"major\":1,\"minor\":3}\n"
#define LAST "{\"type\":\"d\",\"path_hex\":\"ff41\",\"mode\":448}\n"
	static const char text[] = FIRST "{\"type\":\"l\",\"path\":\"a/e\",\"mode\":511,\"target\":\"../\\u00e4 \\\"x\\\"\"}\n" LAST;
	static const char written[] = FIRST "{\"type\":\"l\",\"path\":\"a/e\",\"mode\":511,\"target\":\"../ä \\\"x\\\"\"}\n" LAST;
	AUTO_ENTRIES l = { 0 };
	AUTO_ENTRIES again = { 0 };
	AUTO_BUF out = BUF_INIT;
	char one[DIGEST_HEX_MAX], two[DIGEST_HEX_MAX];
	(void) state;
	assert_int_equal(parse(text, &l, NULL), 0);
	assert_int_equal(l.n, 6);
	assert_string_equal(l.items[4].target, "../ä \"x\"");
	assert_string_equal(l.items[5].path, "\xff"
					     "A");
	assert_int_equal(l.items[1].mode, 04755);
	assert_true(l.items[1].uid == 3 && l.items[1].gid == 4 && l.items[1].size == 9 && l.items[1].mtime == 5);
	entries_write(&l, &out);
	assert_string_equal(buf_cstr(&out), written);
	assert_int_equal(entries_parse(out.data, out.len, &again, NULL), 0);
	assert_int_equal(again.n, l.n);
	for (size_t i = 0; i < l.n; i++)
		assert_true(entry_same(&l.items[i], &again.items[i]));
	entries_digest(&l, one);
	again.items[0].mtime = 99; /* times do not count */
	entries_digest(&again, two);
	assert_string_equal(one, two);
	again.items[0].mode = 0700;
	entries_digest(&again, two);
	assert_string_not_equal(one, two);
}

static void pieces_of_any_size(void **state)
{
	static const char text[] = FILE_OF("a") FILE_OF("a-b") FILE_OF("a/b");
	(void) state;
	for (size_t piece = 1; piece < sizeof(text); piece++) {
		AUTO_ENTRIES l = { 0 };
		for (size_t at = 0; at < sizeof(text) - 1; at += piece) {
			size_t n = sizeof(text) - 1 - at < piece ? sizeof(text) - 1 - at : piece;
			assert_int_equal(entries_feed(&l, text + at, n, NULL), 0);
		}
		assert_int_equal(entries_end(&l, NULL), 0);
		assert_int_equal(l.n, 3);
		assert_non_null(entries_find(&l, "a-b"));
		assert_null(entries_find(&l, "a/"));
		assert_int_equal(entries_lower(&l, "a/"), 2);
	}
}

static void bad_lists_are_refused(void **state)
{
	static const char *const cases[] = {
		FILE_OF("/a"), FILE_OF("../a"), FILE_OF("a/../b"), FILE_OF("a/./b"), FILE_OF("a//b"), FILE_OF("a/"), FILE_OF(""), FILE_OF("."),
		FILE_OF("b") FILE_OF("a"), FILE_OF("a") FILE_OF("a"), "[]\n", "{}\n", "x\n",
		"{\"path\":\"a\",\"type\":\"f\",\"mode\":420,\"size\":3}\n", "{\"path\":\"a\",\"type\":\"f\",\"mode\":420,\"hash\":\"abc\"}\n",
		"{\"path\":\"a\",\"type\":\"s\"}\n", "{\"path\":\"a\",\"type\":\"d\",\"mode\":4096}\n", "{\"path\":\"a\",\"type\":\"d\",\"mode\":-1}\n",
		"{\"path\":\"a\",\"type\":\"d\",\"uid\":4294967295}\n", "{\"path\":\"a\",\"type\":\"l\"}\n", "{\"path\":\"a\",\"type\":\"l\",\"target\":\"\"}\n",
		"{\"path\":\"a\",\"path\":\"b\",\"type\":\"d\"}\n", "{\"path\":\"a\",\"type\":\"d\",\"mode\":01}\n", "{\"path\":\"a\\u0000b\",\"type\":\"d\"}\n",
		"{\"path\":\"a\",\"type\":\"d\",\"xattrs\":{\"user.x\":\"0\"}}\n", "{\"path_hex\":\"00\",\"type\":\"d\"}\n", "{\"path\":\"a\",\"type\":\"d\"}",
		"{\"path\":\"a\",\"type\":\"d\",\"size\":99999999999999999999}\n",
	};
	(void) state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_ENTRIES l = { 0 };
		AUTO_ERR err = ERR_INIT;
		if (parse(cases[i], &l, &err) != -EINVAL || !err.text)
			fail_msg("taken: %s", cases[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read), cmocka_unit_test(pieces_of_any_size), cmocka_unit_test(bad_lists_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
