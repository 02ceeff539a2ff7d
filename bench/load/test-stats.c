// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/time.h"
#include "bench/load/stats.h"

static void quantiles_are_at_most_two_percent_too_high(void **state)
{
	AUTO_FREE Histogram *h = xcalloc(1, sizeof *h);

	assert_true(histogram_quantile(h, 0.99) == 0);
	for (int64_t i = 1; i <= 100000; i++)
		histogram_add(h, i * 1000);
	int64_t p50 = histogram_quantile(h, 0.5), p99 = histogram_quantile(h, 0.99);
	assert_true(p50 >= 50000000 && p50 <= 51000000);
	assert_true(p99 >= 99000000 && p99 <= 100000000);
	assert_true(histogram_quantile(h, 1) == 100000000);
	assert_true(h->max == 100000000);
}

static void a_quantile_never_hides_the_one_slow_request(void **state)
{
	AUTO_FREE Histogram *h = xcalloc(1, sizeof *h);

	for (int i = 0; i < 99; i++)
		histogram_add(h, 1000);
	histogram_add(h, 7 * NSEC_PER_SEC);
	assert_true(histogram_quantile(h, 0.99) <= 1016);
	assert_true(histogram_quantile(h, 0.991) == 7 * NSEC_PER_SEC);
	histogram_add(h, INT64_MAX);
	histogram_add(h, -1);
	assert_true(h->max == INT64_MAX && h->count == 102);
}

static void a_version_that_comes_back_is_a_change(void **state)
{
	Versions v = { 0 };
	int64_t t = 1000 * NSEC_PER_SEC, ms = NSEC_PER_MSEC;

	versions_note(&v, "1", t);
	versions_note(&v, "1", t + 10 * ms);
	versions_note(&v, "2", t + 20 * ms);
	versions_note(&v, "1", t + 30 * ms); /* both, during a switch */
	versions_note(&v, "2", t + 40 * ms);
	assert_int_equal(v.n_changes, 2);
	versions_note(&v, "2", t + 230 * ms);
	versions_note(&v, "1", t + 240 * ms); /* rolled back */
	assert_int_equal(v.n_changes, 3);
	assert_true(v.changes[2].at == t + 240 * ms);
	assert_string_equal(v.seen[v.changes[2].version].name, "1");
	assert_int_equal(v.n_seen, 2);
	assert_int_equal(v.seen[0].requests, 4);
	assert_true(v.seen[1].first == t + 20 * ms && v.seen[1].last == t + 230 * ms);
	assert_int_equal(v.current, 0);
	versions_done(&v);
}

static void a_failure_is_counted_once_by_its_reason(void **state)
{
	AUTO_FREE Counts *c = xcalloc(1, sizeof *c), *sum = xcalloc(1, sizeof *sum);
	AUTO_FREE Failures *f = xcalloc(1, sizeof *f);

	for (int i = 0; i < EXAMPLES_MAX + 5; i++)
		counts_fail(c, f, "get", FAIL_STATUS, 502, "bad gateway", i);
	counts_fail(c, f, "get", FAIL_RESET, 0, NULL, 0);
	c->done = 3;
	assert_int_equal(c->failed, EXAMPLES_MAX + 6);
	assert_int_equal(c->failures[FAIL_STATUS], EXAMPLES_MAX + 5);
	assert_int_equal(f->n_examples, EXAMPLES_MAX);
	counts_add(sum, c);
	counts_add(sum, c);
	json_t *j = counts_json(sum), *details = failures_json(f);
	assert_int_equal(json_integer_value(json_object_get(j, "requests")), 2 * (EXAMPLES_MAX + 9));
	assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "failures"), "reset")), 2);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(details, "statuses"), "502")), EXAMPLES_MAX + 5);
	assert_null(json_object_get(json_object_get(details, "statuses"), "0"));
	json_decref(j);
	json_decref(details);
	failures_done(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quantiles_are_at_most_two_percent_too_high),
		cmocka_unit_test(a_quantile_never_hides_the_one_slow_request),
		cmocka_unit_test(a_version_that_comes_back_is_a_change),
		cmocka_unit_test(a_failure_is_counted_once_by_its_reason),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
