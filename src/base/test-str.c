// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

static void numbers(void **state)
{
	uint64_t u;
	int64_t i;
	uint32_t w;
	double d;
	assert_int_equal(parse_u64("18446744073709551615", &u), 0);
	assert_true(u == UINT64_MAX);
	assert_int_equal(parse_u64("18446744073709551616", &u), -ERANGE);
	assert_int_equal(parse_u64("", &u), -EINVAL);
	assert_int_equal(parse_u64(" 1", &u), -EINVAL);
	assert_int_equal(parse_u64("1x", &u), -EINVAL);
	assert_int_equal(parse_i64("-9223372036854775808", &i), 0);
	assert_true(i == INT64_MIN);
	assert_int_equal(parse_i64("9223372036854775808", &i), -ERANGE);
	assert_int_equal(parse_i64("-", &i), -EINVAL);
	assert_int_equal(parse_u32_max("65536", 65535, &w), -ERANGE);
	assert_int_equal(parse_double("0.50", &d), 0);
	assert_true(d > 0.499 && d < 0.501);
	assert_int_equal(parse_double("1e3", &d), -EINVAL);
}

static void bytes(void **state)
{
	int64_t n;
	assert_int_equal(parse_bytes("10m", &n), 0);
	assert_int_equal(n, 10 << 20);
	assert_int_equal(parse_bytes("1.5GiB", &n), 0);
	assert_int_equal(n, 3LL << 29);
	assert_int_equal(parse_bytes("512b", &n), 0);
	assert_int_equal(n, 512);
	assert_int_equal(parse_bytes("64 MB", &n), 0);
	assert_int_equal(n, 64 << 20);
	assert_int_equal(parse_bytes("10x", &n), -EINVAL);
	assert_int_equal(parse_bytes("m", &n), -EINVAL);
	assert_int_equal(parse_bytes("9999999p", &n), -ERANGE);
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} ok[] = { { "1m30s", 90000000000 }, { "500ms", 500000000 }, { "1.5s", 1500000000 }, { "0", 0 },
		{ "2h", 7200000000000 }, { "100us", 100000 },
		{ "1.4ns", 1 }, { "1.5ns", 2 }, { "0.9us", 900 } };
	for (size_t i = 0; i < ARRAY_SIZE(ok); i++) {
		int64_t ns;
		assert_int_equal(parse_duration(ok[i].text, &ns), 0);
		assert_int_equal(ns, ok[i].ns);
		AUTO_FREE char *text = format_duration(ns);
		int64_t again;
		assert_int_equal(parse_duration(text, &again), 0);
		assert_int_equal(again, ns);
	}
	int64_t ns;
	assert_int_equal(parse_duration("10", &ns), -EINVAL);
	assert_int_equal(parse_duration("s", &ns), -EINVAL);
	assert_int_equal(parse_duration("-1s", &ns), -EINVAL);
}

static void utf8(void **state)
{
	assert_true(str_is_utf8("gr\xc3\xbc\xc3\x9f", 6));
	assert_false(str_is_utf8("\xc0\xaf", 2));     /* overlong */
	assert_false(str_is_utf8("\xed\xa0\x80", 3)); /* surrogate */
	assert_false(str_is_utf8("\xc3", 1));
	assert_false(str_is_utf8("\xf4\x90\x80\x80", 4));
}

static void vectors(void **state)
{
	AUTO_STRV char **v = NULL;
	strv_setenv(&v, "A", "1");
	strv_setenv(&v, "AB", "2");
	strv_setenv(&v, "A", "3");
	assert_int_equal(strv_len(v), 2);
	assert_string_equal(strv_env(v, "A"), "3");
	assert_null(strv_env(v, "B"));
	AUTO_STRV char **w = strv_dup(v);
	assert_true(strv_eq(v, w));
}

static void errors(void **state)
{
	AUTO_ERR e = ERR_INIT;
	assert_int_equal(err_set(&e, -ENOENT, "no image %s", "x"), -ENOENT);
	assert_int_equal(err_wrap(&e, "service '%s'", "web"), -ENOENT);
	assert_string_equal(err_text(&e), "service 'web': no image x");
}

static void digests(void **state)
{
	char hex[DIGEST_HEX_MAX];
	digest_sha256("abc", 3, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_true(digest_valid("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
	assert_false(digest_valid("sha256:../../../../../../../../../../../../../../../../../../../../../abcd"));
	assert_false(digest_valid("sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers), cmocka_unit_test(bytes), cmocka_unit_test(durations), cmocka_unit_test(utf8),
		cmocka_unit_test(vectors), cmocka_unit_test(errors), cmocka_unit_test(digests),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
