// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "image/parallel.h"

#define THINGS 100

typedef struct Work {
	int seen[THINGS];
	size_t fails; /* THINGS = none */
	Parallel p;
	bool noticed;
} Work;

static int one(void *user, size_t i, Err *err)
{
	Work *w = user;
	(void) __atomic_add_fetch(&w->seen[i], 1, __ATOMIC_SEQ_CST);
	if (i == w->fails)
		return err_set(err, -ENOSPC, "thing %zu", i);
	return 0;
}

static void all_once(void **state)
{
	Work w = { .fails = THINGS, .p = { .one = one, .user = &w, .n = THINGS } };
	assert_int_equal(parallel_run(&w.p, 4, NULL), 0);
	for (size_t i = 0; i < THINGS; i++)
		assert_int_equal(w.seen[i], 1);
	Work none = { .fails = THINGS, .p = { .one = one, .user = &none } };
	assert_int_equal(parallel_run(&none.p, 4, NULL), 0);
	assert_int_equal(none.seen[0], 0);
}

static void first_failure_ends(void **state)
{
	AUTO_ERR err = ERR_INIT;
	Work w = { .fails = 3, .p = { .one = one, .user = &w, .n = THINGS } };
	assert_int_equal(parallel_run(&w.p, 1, &err), -ENOSPC);
	assert_string_equal(err_text(&err), "thing 3");
	assert_int_equal(w.seen[3], 1);
	assert_int_equal(w.seen[4], 0);
}

/* Waits until the other has failed. */
static int two(void *user, size_t i, Err *err)
{
	Work *w = user;
	if (i == 1)
		return err_set(err, -EIO, "the second");
	while (!parallel_failed(&w->p))
		;
	w->noticed = true;
	return err_set(err, -ECANCELED, "the first");
}

static void others_notice(void **state)
{
	AUTO_ERR err = ERR_INIT;
	Work w = { .p = { .one = two, .user = &w, .n = 2 } };
	assert_int_equal(parallel_run(&w.p, 2, &err), -EIO);
	assert_string_equal(err_text(&err), "the second");
	assert_true(w.noticed);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(all_once), cmocka_unit_test(first_failure_ends), cmocka_unit_test(others_notice) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
