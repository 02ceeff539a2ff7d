// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "daemon/detach.h"

static void keys(void **state)
{
	DetachKeys d;
	assert_int_equal(detach_keys_parse(NULL, &d, NULL), 0);
	assert_int_equal(d.n, 2);
	assert_memory_equal(d.keys, "\x10\x11", 2);
	assert_int_equal(detach_keys_parse("ctrl-@,a,ctrl-_,ctrl-z", &d, NULL), 0);
	assert_memory_equal(d.keys, "\x00"
				    "a\x1f\x1a",
		4);
	static const char *const bad[] = { "ctrl-", "ctrl-1", "ab", "a,", ",", "ctrl-pp", "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		AUTO_ERR err = ERR_INIT;
		assert_int_equal(detach_keys_parse(bad[i], &d, &err), -EINVAL);
	}
}

static void finds_the_sequence(void **state)
{
	DetachKeys d;
	AUTO_BUF out = BUF_INIT;
	assert_int_equal(detach_keys_parse(NULL, &d, NULL), 0);
	assert_false(detach_keys_feed(&d, "ab\x10", 3, &out));
	assert_string_equal(buf_cstr(&out), "ab");
	assert_false(detach_keys_feed(&d, "c\x10\x10", 3, &out));
	assert_string_equal(buf_cstr(&out), "ab\x10"
					    "c\x10");
	assert_true(detach_keys_feed(&d, "\x11xyz", 4, &out));
	assert_string_equal(buf_cstr(&out), "ab\x10"
					    "c\x10");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(keys), cmocka_unit_test(finds_the_sequence) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
