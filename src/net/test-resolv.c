// SPDX-License-Identifier: Apache-2.0

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/str.h"
#include "net/resolv.h"

static void reads_all_keys(void **state)
{
	char text[ADDR_TEXT_MAX];
	ResolvConf c;

	resolv_parse(
		"# comment\n;also\nnameserver 127.0.0.53\r\n  nameserver\tfd00::1  \nnameserver "
		"1.1.1.1\nnameserver 8.8.8.8\n"
		"domain a.example\nsearch b.example c.example\noptions edns0 trust-ad\nsortlist 10.0.0.0\n",
		&c);
	assert_int_equal(c.n_servers, 3);
	assert_string_equal(addr_text(&c.servers[0], text), "127.0.0.53");
	assert_string_equal(addr_text(&c.servers[1], text), "fd00::1");
	assert_int_equal(strv_len(c.search), 2);
	assert_string_equal(c.search[0], "b.example");
	assert_string_equal(c.options[1], "trust-ad");
	resolv_done(&c);
}

static void skips_what_it_cannot_use(void **state)
{
	ResolvConf c;

	resolv_parse("nameserver\nnameserver fe80::1%eth0\nnameserver nonsense\nnameserverx "
		     "1.1.1.1\nsearch\n\n\nsearch \x01"
		     "bad",
		&c);
	assert_int_equal(c.n_servers, 0);
	assert_null(c.search);
	resolv_done(&c);
}

static void missing_file_is_empty(void **state)
{
	ResolvConf c;

	assert_int_equal(resolv_read("/nonexistent/resolv.conf", &c, NULL), 0);
	assert_int_equal(c.n_servers, 0);
	resolv_done(&c);
	assert_true(resolv_read("/dev", &c, NULL) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_all_keys),
		cmocka_unit_test(skips_what_it_cannot_use),
		cmocka_unit_test(missing_file_is_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
