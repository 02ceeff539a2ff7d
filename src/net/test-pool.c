// SPDX-License-Identifier: Apache-2.0

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "net/pool.h"

static Addr cidr(const char *s)
{
	Addr a;

	assert_int_equal(addr_parse_cidr(s, &a), 0);
	return a;
}

static void assert_cidr(const Addr *a, const char *expected)
{
	char text[ADDR_TEXT_MAX];

	assert_string_equal(addr_cidr_text(a, text), expected);
}

static void subnets_in_order(void **state)
{
	Addr taken[40], got;
	size_t n = 0;

	for (;; n++) {
		AUTO_ERR err = ERR_INIT;
		int r = pool_choose_subnet(taken, n, &got, &err);

		if (r < 0) {
			assert_int_equal(r, -ENOSPC);
			assert_non_null(strstr(err_text(&err), "remove unused networks"));
			break;
		}
		taken[n] = got;
	}
	assert_int_equal(n, 31);
	assert_cidr(&taken[0], "172.17.0.0/16");
	assert_cidr(&taken[14], "172.31.0.0/16");
	assert_cidr(&taken[15], "192.168.0.0/20");
	assert_cidr(&taken[30], "192.168.240.0/20");
}

static void avoids_host_routes(void **state)
{
	Addr taken[] = { cidr("172.17.5.0/24"), cidr("172.16.0.0/14"), cidr("172.20.0.1/32") }, got;

	assert_int_equal(pool_choose_subnet(taken, 3, &got, NULL), 0);
	assert_cidr(&got, "172.21.0.0/16");
}

static void spec_completes(void **state)
{
	PoolSpec p;

	assert_int_equal(pool_spec(NULL, NULL, NULL, NULL, 0, &p, NULL), 0);
	assert_cidr(&p.subnet, "172.17.0.0/16");
	assert_cidr(&p.gateway, "172.17.0.1/16");
	assert_int_equal(pool_spec("10.9.8.0/24", "10.9.8.128/25", "10.9.8.254", NULL, 0, &p, NULL), 0);
	assert_cidr(&p.gateway, "10.9.8.254/24");
	assert_cidr(&p.ip_range, "10.9.8.128/25");
}

static void refuse(const char *subnet, const char *range, const char *gateway, const Addr *taken, size_t n,
	int code, const char *says)
{
	AUTO_ERR err = ERR_INIT;
	PoolSpec p;

	assert_int_equal(pool_spec(subnet, range, gateway, taken, n, &p, &err), code);
	if (!strstr(err_text(&err), says))
		fail_msg("'%s' does not say '%s'", err_text(&err), says);
}

static void spec_refuses(void **state)
{
	Addr taken = cidr("10.1.0.0/16");

	refuse("10.1.2.0/24", NULL, NULL, &taken, 1, -EEXIST, "overlaps 10.1.0.0/16");
	refuse("10.2.0.1/24", NULL, NULL, NULL, 0, -EINVAL, "did you mean 10.2.0.0/24");
	refuse("10.2.0.0", NULL, NULL, NULL, 0, -EINVAL, "not a subnet");
	refuse("fd00::/64", NULL, NULL, NULL, 0, -EINVAL, "IPv6");
	refuse("10.2.0.0/31", NULL, NULL, NULL, 0, -EINVAL, "from 8 to 30");
	refuse("10.2.0.0/24", NULL, "10.3.0.1", NULL, 0, -EINVAL, "no usable address");
	refuse("10.2.0.0/24", NULL, "10.2.0.255", NULL, 0, -EINVAL, "no usable address");
	refuse("10.2.0.0/24", "10.2.1.0/25", NULL, NULL, 0, -EINVAL, "not inside");
	refuse("10.2.0.0/24", "10.2.0.0/16", NULL, NULL, 0, -EINVAL, "not inside");
	refuse(NULL, NULL, "10.2.0.1", NULL, 0, -EINVAL, "needs a subnet");
}

static void addresses_in_turn(void **state)
{
	Addr used[300], last = { 0 }, got;
	PoolSpec p;
	size_t n = 0;

	assert_int_equal(pool_spec("10.0.0.0/29", NULL, NULL, NULL, 0, &p, NULL), 0);
	assert_int_equal(pool_choose_address(&p, used, n, NULL, &got, NULL), 0);
	assert_cidr(&got, "10.0.0.2/29");
	/* It is given back at once, and yet not handed out next. */
	last = got;
	assert_int_equal(pool_choose_address(&p, used, n, &last, &got, NULL), 0);
	assert_cidr(&got, "10.0.0.3/29");
	for (int i = 0; i < 5; i++) {
		assert_int_equal(pool_choose_address(&p, used, n, &last, &got, NULL), 0);
		used[n++] = last = got;
	}
	assert_cidr(&used[3], "10.0.0.6/29");
	assert_cidr(&used[4], "10.0.0.2/29"); /* went round */
	assert_int_equal(pool_choose_address(&p, used, n, &last, &got, NULL), -ENOSPC);
}

static void addresses_from_range(void **state)
{
	Addr used[8], got;
	PoolSpec p;
	size_t n = 0;

	assert_int_equal(pool_spec("10.0.0.0/24", "10.0.0.252/30", "10.0.0.253", NULL, 0, &p, NULL), 0);
	while (pool_choose_address(&p, used, n, NULL, &got, NULL) == 0)
		used[n++] = got;
	assert_int_equal(n, 2);
	assert_cidr(&used[0], "10.0.0.252/24");
	assert_cidr(&used[1], "10.0.0.254/24");
}

static void wished_addresses(void **state)
{
	Addr used = cidr("10.0.0.9/24"), got;
	PoolSpec p;

	assert_int_equal(pool_spec("10.0.0.0/24", "10.0.0.128/25", NULL, NULL, 0, &p, NULL), 0);
	assert_int_equal(pool_check_address(&p, "10.0.0.8", &used, 1, &got, NULL), 0);
	assert_cidr(&got, "10.0.0.8/24");
	assert_int_equal(pool_check_address(&p, "10.0.0.9", &used, 1, &got, NULL), -EADDRINUSE);
	assert_int_equal(pool_check_address(&p, "10.0.0.1", &used, 1, &got, NULL), -EADDRINUSE);
	assert_int_equal(pool_check_address(&p, "10.0.0.0", &used, 1, &got, NULL), -EINVAL);
	assert_int_equal(pool_check_address(&p, "10.0.0.255", &used, 1, &got, NULL), -EINVAL);
	assert_int_equal(pool_check_address(&p, "10.0.1.2", &used, 1, &got, NULL), -EINVAL);
	assert_int_equal(pool_check_address(&p, "fd00::2", &used, 1, &got, NULL), -EINVAL);
	assert_int_equal(pool_check_address(&p, "x", &used, 1, &got, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(subnets_in_order),
		cmocka_unit_test(avoids_host_routes),
		cmocka_unit_test(spec_completes),
		cmocka_unit_test(spec_refuses),
		cmocka_unit_test(addresses_in_turn),
		cmocka_unit_test(addresses_from_range),
		cmocka_unit_test(wished_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
