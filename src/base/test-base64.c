// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/mem.h"

static void both_ways(void **state)
{
	static const char *const pairs[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "\xff\xfe\xfd", "//79" } };
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		AUTO_FREE char *s = base64_encode(pairs[i][0], strlen(pairs[i][0]));
		AUTO_BUF b = BUF_INIT;
		assert_string_equal(s, pairs[i][1]);
		assert_int_equal(base64_decode(s, &b), 0);
		assert_string_equal(buf_cstr(&b), pairs[i][0]);
	}
}

static void other_spellings(void **state)
{
	AUTO_BUF b = BUF_INIT;
	assert_int_equal(base64_decode("__79", &b), 0);
	assert_string_equal(buf_cstr(&b), "\xff\xfe\xfd");
	assert_int_equal(base64_decode("Zm8", &b), 0);
	assert_string_equal(buf_cstr(&b), "\xff\xfe\xfd" "fo");
}

static void refused(void **state)
{
	static const char *const bad[] = { "Z", "Zm9v Zg==", "Zm9v\n", "=", "Zg=", "====", "Zm9vY", "Z!==" };
	AUTO_BUF b = BUF_INIT;
	buf_str(&b, "x");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(base64_decode(bad[i], &b), -EINVAL);
		assert_string_equal(buf_cstr(&b), "x");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(both_ways), cmocka_unit_test(other_spellings), cmocka_unit_test(refused) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
