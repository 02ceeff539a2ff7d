// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/time.h"

static void round_trip(void **state)
{
	char text[TIME_TEXT_MAX];
	int64_t ns;
	assert_string_equal(time_rfc3339(1704164645000000006, text), "2024-01-02T03:04:05.000000006Z");
	assert_int_equal(time_parse_rfc3339(text, &ns), 0);
	assert_true(ns == 1704164645000000006);
	assert_int_equal(time_parse_rfc3339("2024-01-02T04:04:05.5+01:00", &ns), 0);
	assert_true(ns == 1704164645500000000);
	assert_string_equal(time_rfc3339(0, text), "0001-01-01T00:00:00Z");
}

static void refused(void **state)
{
	static const char *const bad[] = { "", "2024", "2024-13-01T00:00:00Z", "2024-01-02T03:04:05", "2024-01-02T03:04:05Zx",
		"9999-01-01T00:00:00Z", "2024-01-02 03:04:05Z" };
	int64_t ns;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(time_parse_rfc3339(bad[i], &ns), -EINVAL);
}

static void moments(void **state)
{
	int64_t ns, now = 1704164645LL * NSEC_PER_SEC;
	assert_int_equal(time_parse_moment("10m", now, &ns), 0);
	assert_true(ns == now - 600 * NSEC_PER_SEC);
	assert_int_equal(time_parse_moment("1704164645.25", now, &ns), 0);
	assert_true(ns == now + NSEC_PER_SEC / 4);
	assert_int_equal(time_parse_moment("2024-01-02", now, &ns), 0);
	assert_int_equal(time_parse_moment("2024-01-02T03:04", now, &ns), 0);
	assert_int_equal(time_parse_moment("yesterday", now, &ns), -EINVAL);
}

static void timers(void **state)
{
	assert_int_equal(time_timer_msec(0), 0);
	assert_int_equal(time_timer_msec(-1), 0);
	assert_int_equal(time_timer_msec(1), 3);
	assert_int_equal(time_timer_msec(5 * NSEC_PER_MSEC), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(round_trip), cmocka_unit_test(refused), cmocka_unit_test(moments), cmocka_unit_test(timers) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
