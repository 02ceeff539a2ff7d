// SPDX-License-Identifier: Apache-2.0

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/socket.h>

#include "net/addr.h"

static Addr cidr(const char *s)
{
	Addr a;

	assert_int_equal(addr_parse_cidr(s, &a), 0);
	return a;
}

static void parses_and_prints(void **state)
{
	static const char *const good[] = { "0.0.0.0", "10.0.0.1", "255.255.255.255", "::", "::1",
		"fd00::1:2" };
	static const char *const bad[] = { "", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4 ", " 1.2.3.4",
		"01.2.3.4x", "::g", "1.2.3.4/24", "fe80::1%eth0", "localhost" };
	char text[ADDR_TEXT_MAX];
	Addr a;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(addr_parse(good[i], &a), 0);
		assert_string_equal(addr_text(&a, text), good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_true(addr_parse(bad[i], &a) < 0);
	assert_true(addr_parse(NULL, &a) < 0);
	a = (Addr){ 0 };
	assert_string_equal(addr_cidr_text(&a, text), "");
}

static void parses_subnets(void **state)
{
	static const char *const bad[] = { "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1",
		"10.0.0.0/8/8", "/8", "::/129",
		"1111111111111111111111111111111111111111111111111111111111111111111111111111111111/1" };
	char text[ADDR_TEXT_MAX];
	Addr a = cidr("10.1.2.3/12"), net;

	assert_string_equal(addr_cidr_text(&a, text), "10.1.2.3/12");
	net = addr_network(&a);
	assert_string_equal(addr_cidr_text(&net, text), "10.0.0.0/12");
	a = cidr("fd00:1:2:3::9/63");
	net = addr_network(&a);
	assert_string_equal(addr_cidr_text(&net, text), "fd00:1:2:2::/63");
	a = cidr("1.2.3.4/0");
	net = addr_network(&a);
	assert_string_equal(addr_cidr_text(&net, text), "0.0.0.0/0");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_true(addr_parse_cidr(bad[i], &a) < 0);
}

static void compares(void **state)
{
	Addr a = cidr("10.1.0.0/16"), b = cidr("10.1.255.255/32"), c = cidr("10.2.0.0/16"),
	     all = cidr("0.0.0.0/0"), six = cidr("::/0"), unset = { 0 };

	assert_true(addr_in(&b, &a));
	assert_false(addr_in(&b, &c));
	assert_true(addr_in(&b, &all));
	assert_false(addr_in(&b, &six));
	assert_false(addr_in(&unset, &all));
	assert_true(addr_overlap(&a, &b));
	assert_true(addr_overlap(&b, &a));
	assert_false(addr_overlap(&a, &c));
	assert_true(addr_overlap(&all, &c));
	assert_true(addr_is_any(&all));
	assert_false(addr_is_any(&unset));
	assert_false(addr_is_any(&a));
	a = addr_from_v4(0x0a000001, 24);
	assert_int_equal(addr_v4(&a), 0x0a000001);
}

static void makes_macs(void **state)
{
	Addr a = cidr("172.17.0.2/16");
	char text[MAC_TEXT_MAX];
	uint8_t mac[6];

	mac_from_addr(&a, mac);
	assert_string_equal(mac_text(mac, text), "02:42:ac:11:00:02");
	assert_int_equal(mac_parse("02:42:AC:11:00:03", mac), 0);
	assert_string_equal(mac_text(mac, text), "02:42:ac:11:00:03");
	assert_true(mac_parse("01:00:5e:00:00:01", mac) < 0); /* multicast */
	assert_true(mac_parse("00:00:00:00:00:00", mac) < 0);
	assert_true(mac_parse("02-42-ac-11-00-03", mac) < 0);
	assert_true(mac_parse("02:42:ac:11:00", mac) < 0);
	assert_true(mac_parse(NULL, mac) < 0);
	a = cidr("fd00::1/64");
	mac_from_addr(&a, mac);
	assert_int_equal(mac[0], 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_and_prints),
		cmocka_unit_test(parses_subnets),
		cmocka_unit_test(compares),
		cmocka_unit_test(makes_macs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
