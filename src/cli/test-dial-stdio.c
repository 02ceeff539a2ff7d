// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "cli/dial-stdio.h"

static void versions(void **state)
{
	static const struct {
		const char *a, *b;
		int fit;
	} cases[] = {
		{ "0.1.0", "0.1.0", 1 }, { "0.1.0", "0.2.9", 1 }, { "1.9.0", "1.8.3-rc1", 1 }, { "0.1.0", "0.3.0", 0 }, { "1.0.0", "0.0.0", 0 },
		{ "2.10", "2.9", 1 }, { "2.0.0", "1.1.0", 0 }, { "", "0.1.0", -EINVAL }, { "1", "1.0", -EINVAL }, { "1.x", "1.0", -EINVAL },
		{ "v1.0", "1.0", -EINVAL }, { "1.99999999999", "1.0", -EINVAL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (dial_versions_fit(cases[i].a, cases[i].b) != cases[i].fit || dial_versions_fit(cases[i].b, cases[i].a) != cases[i].fit)
			fail_msg("%s and %s: not %d", cases[i].a, cases[i].b, cases[i].fit);
	}
}

static void greetings(void **state)
{
	AUTO_ERR err = ERR_INIT;
	json_t *o = dial_greeting("/run/x.sock");
	assert_string_equal(json_string_value(json_object_get(o, "socket")), "/run/x.sock");
	assert_int_equal(dial_check_greeting(o, "box", &err), 0);
	(void) json_object_set_new(o, "version", json_string("7.0.0"));
	assert_int_equal(dial_check_greeting(o, "ssh://box", &err), -ENOTSUP);
	assert_non_null(strstr(err_text(&err), "ssh://box: stead 7.0.0 is there, and " STEAD_VERSION " here"));
	assert_non_null(strstr(err_text(&err), "stead setup -H ssh://box"));
	(void) json_object_set_new(o, "version", json_integer(7));
	assert_int_equal(dial_check_greeting(o, "box", &err), -EPROTO);
	json_decref(o);
	o = json_pack("{s:s, s:s}", "docker", "x", "version", STEAD_VERSION);
	assert_int_equal(dial_check_greeting(o, "box", &err), -EPROTO);
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(versions), cmocka_unit_test(greetings) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
