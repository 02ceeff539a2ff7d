// SPDX-License-Identifier: Apache-2.0

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/claim.h"

/* Two daemons: each has opened the file for itself. */
typedef struct Two {
	char path[64];
	Claims *a, *b;
} Two;

static int setup(void **state)
{
	Two *t = calloc(1, sizeof(*t));
	char path[] = "/tmp/test-claim.XXXXXX";
	int fd = mkstemp(path);

	if (!t || fd < 0)
		return -1;
	(void) close(fd);
	(void) snprintf(t->path, sizeof(t->path), "%s", path);
	t->a = claims_new(path);
	t->b = claims_new(path);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	Two *t = *state;

	claims_free(t->a);
	claims_free(t->b);
	(void) unlink(t->path);
	free(t);
	return 0;
}

static Addr subnet(const char *text)
{
	Addr a;

	assert_int_equal(addr_parse_cidr(text, &a), 0);
	return a;
}

static void one_daemon_alone_has_a_subnet(void **state)
{
	Two *t = *state;
	Addr s = subnet("172.20.0.0/16"), other = subnet("172.21.0.0/16");

	assert_int_equal(claims_take(t->a, &s), 0);
	assert_int_equal(claims_take(t->a, &s), 0);
	assert_int_equal(claims_take(t->b, &s), 1);
	assert_int_equal(claims_take(t->b, &other), 0);
	claims_release(t->a, &s);
	assert_int_equal(claims_take(t->b, &s), 0);
}

static void overlaps_count(void **state)
{
	Two *t = *state;
	Addr whole = subnet("192.168.0.0/20"), part = subnet("192.168.15.0/24"), beside = subnet("192.168.16.0/20");

	assert_int_equal(claims_take(t->a, &whole), 0);
	assert_int_equal(claims_take(t->b, &part), 1);
	assert_int_equal(claims_take(t->b, &beside), 0);
}

static void the_end_of_a_daemon_frees_its_claims(void **state)
{
	Two *t = *state;
	Addr s = subnet("255.255.255.0/24");

	assert_int_equal(claims_take(t->a, &s), 0);
	claims_free(t->a);
	t->a = claims_new(t->path);
	assert_int_equal(claims_take(t->b, &s), 0);
	assert_int_equal(claims_take(t->a, &s), 1);
}

static void without_the_file_nothing_is_refused(void **state)
{
	Claims *c = claims_new("/nowhere/at/all");
	Addr s = subnet("172.20.0.0/16");

	assert_int_equal(claims_take(c, &s), 0);
	claims_release(c, &s);
	claims_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_daemon_alone_has_a_subnet, setup, teardown),
		cmocka_unit_test_setup_teardown(overlaps_count, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_of_a_daemon_frees_its_claims, setup, teardown),
		cmocka_unit_test(without_the_file_nothing_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
