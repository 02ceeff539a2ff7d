// SPDX-License-Identifier: Apache-2.0

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/str.h"
#include "net/network.h"
#include "net/nft-text.h"

static NftPort port(uint8_t protocol, const char *ip, uint16_t number, const char *to, uint16_t to_port)
{
	NftPort p = { .protocol = protocol, .port = number, .to_port = to_port };

	if (ip)
		assert_int_equal(addr_parse(ip, &p.ip), 0);
	if (to)
		assert_int_equal(addr_parse(to, &p.to), 0);
	return p;
}

static void has(const Buf *b, const char *part)
{
	if (!strstr(buf_cstr(b), part))
		fail_msg("'%s' is not in:\n%s", part, buf_cstr(b));
}

static void writes_ports(void **state)
{
	const NftPort ports[] = {
		port(IPPROTO_TCP, NULL, 8080, "172.17.0.2", 80),
		port(IPPROTO_UDP, "0.0.0.0", 53, "172.17.0.3", 5353),
		port(IPPROTO_TCP, "127.0.0.1", 5432, "172.17.0.4", 5432),
	};
	AUTO_BUF b = BUF_INIT;

	assert_int_equal(nft_text("default", NULL, ports, 3, &b, NULL), 0);
	has(&b, "table inet stead_default\ndelete table inet stead_default\ntable inet stead_default {\n");
	has(&b, "\tmap published {\n\t\ttype inet_proto . ipv4_addr . inet_service : ipv4_addr . "
		"inet_service\n"
		"\t\telements = {\n\t\t\ttcp . 127.0.0.1 . 5432 : 172.17.0.4 . 5432,\n\t\t}\n\t}\n");
	has(&b, "\t\telements = {\n\t\t\ttcp . 8080 : 172.17.0.2 . 80,\n\t\t\tudp . 53 : 172.17.0.3 . "
		"5353,\n\t\t}\n\t}\n");
}

static void writes_no_empty_elements(void **state)
{
	AUTO_BUF b = BUF_INIT;

	assert_int_equal(nft_text("a-b_1", NULL, NULL, 0, &b, NULL), 0);
	assert_null(strstr(buf_cstr(&b), "elements"));
	assert_null(strstr(buf_cstr(&b), "iifname"));
}

static void groups_are_per_daemon(void **state)
{
	assert_int_not_equal(net_group("a", false), net_group("b", false));
	assert_int_not_equal(net_group("a", false), net_group("a", true));
	assert_true(net_group("a", true) <= INT32_MAX);
	assert_true(net_group("a", false) > 0);
}

static void writes_guard(void **state)
{
	char eth[] = "eth0", wlan[] = "wlan0";
	char *guard[] = { eth, wlan, NULL };
	AUTO_BUF b = BUF_INIT;

	assert_int_equal(nft_text("default", guard, NULL, 0, &b, NULL), 0);
	has(&b, "iifname { \"eth0\", \"wlan0\" } oifname { \"eth0\", \"wlan0\" } drop");
}

static void refuse(const char *name, const char *guard, const NftPort *p, const char *says)
{
	AUTO_STRV char **guards = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF b = BUF_INIT;

	if (guard)
		strv_add(&guards, guard);
	assert_int_equal(nft_text(name, guards, p, p ? 1 : 0, &b, &err), -EINVAL);
	assert_int_equal(b.len, 0);
	if (!strstr(err_text(&err), says))
		fail_msg("'%s' does not say '%s'", err_text(&err), says);
}

static void refuses_what_would_break_out(void **state)
{
	NftPort p;

	refuse("a b", NULL, NULL, "cannot name");
	refuse("a;flush ruleset", NULL, NULL, "cannot name");
	refuse("a\n", NULL, NULL, "cannot name");
	refuse("", NULL, NULL, "cannot name");
	refuse("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL, NULL,
		"cannot name");
	refuse("a", "eth\"0", NULL, "interface name");
	refuse("a", "eth\n", NULL, "interface name");
	refuse("a", "eth*", NULL, "interface name");
	refuse("a", "", NULL, "interface name");
	p = port(IPPROTO_ICMP, NULL, 1, "10.0.0.1", 1);
	refuse("a", NULL, &p, "tcp or udp");
	p = port(IPPROTO_TCP, NULL, 0, "10.0.0.1", 1);
	refuse("a", NULL, &p, "port numbers");
	p = port(IPPROTO_TCP, NULL, 1, "10.0.0.1", 0);
	refuse("a", NULL, &p, "port numbers");
	p = port(IPPROTO_TCP, NULL, 1, NULL, 1);
	refuse("a", NULL, &p, "container's IPv4");
	p = port(IPPROTO_TCP, "::1", 1, "10.0.0.1", 1);
	refuse("a", NULL, &p, "IPv6");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_ports),
		cmocka_unit_test(writes_no_empty_elements),
		cmocka_unit_test(groups_are_per_daemon),
		cmocka_unit_test(writes_guard),
		cmocka_unit_test(refuses_what_would_break_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
