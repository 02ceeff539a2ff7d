// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "run/caps.h"

#define V(...) ((char **) (const char *[]) { __VA_ARGS__, NULL })

static void test_rules(void **state)
{
	(void) state;
	uint64_t set;
	assert_int_equal(__builtin_popcountll(caps_default()), 11);
	assert_false(caps_have(caps_default(), "NET_RAW"));
	assert_int_equal(caps_apply(caps_default(), V("net_admin"), V("CAP_CHOWN"), &set, NULL), 0);
	assert_true(caps_have(set, "NET_ADMIN"));
	assert_false(caps_have(set, "CHOWN"));
	assert_true(caps_have(set, "SETUID"));
	assert_int_equal(caps_apply(caps_default(), V("NET_RAW"), V("ALL"), &set, NULL), 0);
	assert_int_equal(set, 1ULL << cap_parse("NET_RAW"));
	assert_int_equal(caps_apply(caps_default(), V("all"), V("SYS_ADMIN"), &set, NULL), 0);
	assert_int_equal(__builtin_popcountll(set), 40);
	assert_false(caps_have(set, "SYS_ADMIN"));
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(caps_apply(0, V("FLY"), NULL, &set, &err), -EINVAL);
	assert_non_null(strstr(err_text(&err), "cap_add"));
}

static void test_numbers(void **state)
{
	(void) state;
	assert_int_equal(cap_parse("CHOWN"), 0);
	assert_int_equal(cap_parse("NET_RAW"), 13);
	assert_int_equal(cap_parse("SYS_ADMIN"), 21);
	assert_int_equal(cap_parse("SETFCAP"), 31);
	assert_int_equal(cap_parse("CHECKPOINT_RESTORE"), 40);
	json_t *a = caps_to_json(1ULL << 13 | 1);
	assert_int_equal(json_array_size(a), 2);
	assert_string_equal(json_string_value(json_array_get(a, 1)), "CAP_NET_RAW");
	json_decref(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rules), cmocka_unit_test(test_numbers) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
