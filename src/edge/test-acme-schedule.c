// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "edge/acme-schedule.h"

#define NOW 1800000000LL
#define DAY 86400LL

static void renews_at_two_thirds(void **state)
{
	AcmeHistory h = { 0 };
	int64_t start = NOW, end = NOW + 90 * DAY;
	assert_int_equal(acme_renew_at(start, end), NOW + 60 * DAY);
	for (uint32_t jitter = 0; jitter < 4000000000U; jitter += 123456789U) {
		int64_t at = acme_next(&h, start, end, NOW, jitter);
		assert_true(at >= NOW + 60 * DAY && at < NOW + 63 * DAY);
		assert_int_equal(acme_next(&h, start, end, NOW + 30 * DAY, jitter), at);
	}
	/* Spread: two hosts of the same hour do not come back in the same minute. */
	assert_true(acme_next(&h, start, end, NOW, 1000) != acme_next(&h, start, end, NOW, 90000));
	/* Six days, and six minutes. */
	assert_true(acme_next(&h, NOW, NOW + 6 * DAY, NOW, 5) < NOW + 5 * DAY);
	int64_t soon = acme_next(&h, NOW, NOW + 360, NOW, 4711);
	assert_true(soon >= NOW + 240 && soon < NOW + 260);
	/* None yet, or long over: now. */
	assert_int_equal(acme_next(&h, 0, 0, NOW, 9), NOW);
	assert_true(acme_next(&h, NOW - 100 * DAY, NOW - 10 * DAY, NOW, 9) <= NOW);
}

/* Whatever happens in between: never five failures within an hour, and never a day without an attempt. */
static void backs_off(void **state)
{
	for (uint32_t jitter = 0; jitter < 10; jitter++) {
		AcmeHistory h = { 0 };
		int64_t now = NOW, at[40];
		for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
			now = acme_next(&h, 0, 0, now, jitter * 77777777U);
			at[i] = now;
			acme_began(&h, now);
			if (i >= 4)
				assert_true(at[i] - at[i - 4] > 3600);
			if (i)
				assert_true(at[i] - at[i - 1] >= 600 && at[i] - at[i - 1] <= DAY + DAY / 10);
		}
		acme_succeeded(&h, now);
		assert_int_equal(acme_next(&h, 0, 0, now, 0), now);
	}
}

static void a_failure_does_not_bring_the_renewal_forward(void **state)
{
	AcmeHistory h = { 0 };
	acme_began(&h, NOW - 1);
	assert_true(acme_next(&h, NOW, NOW + 90 * DAY, NOW, 0) >= NOW + 60 * DAY);
}

static void waits_as_it_is_told(void **state)
{
	AcmeHistory h = { 0 };
	acme_began(&h, NOW);
	acme_told_to_wait(&h, NOW + 3 * DAY, NOW);
	assert_int_equal(acme_next(&h, 0, 0, NOW, 0), NOW + 3 * DAY);
	/* No moment, one in the past, one in a hundred years. */
	acme_told_to_wait(&h, 0, NOW);
	assert_int_equal(acme_next(&h, 0, 0, NOW, 0), NOW + 3600);
	acme_told_to_wait(&h, NOW - DAY, NOW);
	assert_int_equal(acme_next(&h, 0, 0, NOW, 0), NOW + 3600);
	acme_told_to_wait(&h, NOW + 36500 * DAY, NOW);
	assert_int_equal(acme_next(&h, 0, 0, NOW, 0), NOW + 7 * DAY);
}

static void survives_clocks_that_jump(void **state)
{
	AcmeHistory h = { 0 };
	/* Ten years ahead when it failed, then set right. */
	acme_began(&h, NOW + 3650 * DAY);
	acme_told_to_wait(&h, 0, NOW + 3650 * DAY);
	int64_t at = acme_next(&h, 0, 0, NOW, 0);
	assert_int_equal(at, NOW + 600);
	assert_int_equal(acme_next(&h, 0, 0, NOW + 500, 0), at);
	/* From 1970 to now: everything is due, nothing overflows. */
	AcmeHistory old = { 0 };
	acme_began(&old, 100);
	assert_true(acme_next(&old, 0, 0, NOW, 0) <= NOW);
}

/* A clock that is 70 days ahead: what the server gives is due when it comes. */
static void a_clock_that_is_ahead_does_not_use_up_what_a_server_gives(void **state)
{
	AcmeHistory h = { 0 };
	int64_t now = NOW + 70 * DAY;
	acme_began(&h, now);
	acme_succeeded(&h, now);
	assert_int_equal(acme_next(&h, NOW, NOW + 90 * DAY, now + 60, 0), now + 2 * DAY);
	/* Nor do short ones wait longer than they last. */
	assert_int_equal(acme_next(&h, NOW, NOW + 360, now + 60, 0), now + 240);
	/* Set right, it is the certificate that counts again, whatever the clock comes to later. */
	assert_int_equal(acme_next(&h, NOW, NOW + 90 * DAY, NOW, 0), NOW + 60 * DAY);
	assert_int_equal(acme_next(&h, NOW, NOW + 90 * DAY, now, 0), NOW + 60 * DAY);
}

static void preflights_are_cheap(void **state)
{
	assert_int_equal(acme_preflight_delay(1), 2);
	assert_int_equal(acme_preflight_delay(3), 8);
	assert_int_equal(acme_preflight_delay(1000), 600);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(renews_at_two_thirds),
		cmocka_unit_test(backs_off),
		cmocka_unit_test(a_failure_does_not_bring_the_renewal_forward),
		cmocka_unit_test(waits_as_it_is_told),
		cmocka_unit_test(survives_clocks_that_jump),
		cmocka_unit_test(a_clock_that_is_ahead_does_not_use_up_what_a_server_gives),
		cmocka_unit_test(preflights_are_cheap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
