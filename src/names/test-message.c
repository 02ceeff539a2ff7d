// SPDX-License-Identifier: Apache-2.0

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "names/message.h"

#define HEADER(flags, qd, an, ns, ar) "\x12\x34" flags "\0" qd "\0" an "\0" ns "\0" ar
#define QUERY(question) HEADER("\x01\0", "\1", "\0", "\0", "\0") question
#define PARSE(text, q) dns_parse_query((const uint8_t *) text, sizeof(text) - 1, q)
#define WEB                                                                                                  \
	"\3WeB\7default\0"                                                                                   \
	"\0\1\0\1"
#define OPT "\0\0\x29\x05\x00\0\0\0\0\0\0"

static DnsQuery q;

static void parses(void **state)
{
	assert_int_equal(PARSE(QUERY(WEB), &q), 0);
	assert_string_equal(q.name, "web.default");
	assert_int_equal(q.id, 0x1234);
	assert_int_equal(q.type, DNS_TYPE_A);
	assert_int_equal(q.class, DNS_CLASS_IN);
	assert_int_equal(q.udp_size, 512);
	assert_false(q.edns);
	assert_int_equal(q.question_end, sizeof(QUERY(WEB)) - 1);
	assert_int_equal(PARSE(HEADER("\x01\0", "\1", "\0", "\0", "\1") WEB OPT, &q), 0);
	assert_true(q.edns);
	assert_int_equal(q.udp_size, 1280);
	/* The root, and names that no host has, are no text; they are forwarded as they are. */
	assert_int_equal(PARSE(QUERY("\0\0\2\0\1"), &q), 0);
	assert_string_equal(q.name, "");
	assert_int_equal(PARSE(QUERY("\4a\0b \0\0\1\0\1"), &q), 0);
	assert_string_equal(q.name, "");
	assert_int_equal(PARSE(QUERY("\3a.b\0\0\1\0\1"), &q), 0);
	assert_string_equal(q.name, "");
}

static void passes_over(void **state)
{
	assert_true(PARSE("", &q) < 0);
	assert_true(PARSE("\x12\x34\x01\0\0\1\0\0\0\0\0", &q) < 0);               /* 11 bytes */
	assert_true(PARSE(HEADER("\x81\0", "\1", "\0", "\0", "\0") WEB, &q) < 0); /* a response */
}

static void refuses(void **state)
{
	assert_int_equal(PARSE(HEADER("\x11\0", "\1", "\0", "\0", "\0") WEB, &q), DNS_NOTIMP);
	assert_int_equal(PARSE(HEADER("\x01\0", "\0", "\0", "\0", "\0"), &q), DNS_FORMERR);
	assert_int_equal(PARSE(HEADER("\x01\0", "\2", "\0", "\0", "\0") WEB WEB, &q), DNS_FORMERR);
	assert_int_equal(PARSE(QUERY("\3we"), &q), DNS_FORMERR);             /* the label runs out */
	assert_int_equal(PARSE(QUERY("\3web"), &q), DNS_FORMERR);            /* no end */
	assert_int_equal(PARSE(QUERY("\3web\0\0\1\0"), &q), DNS_FORMERR);    /* half a class */
	assert_int_equal(PARSE(QUERY("\xc0\x0c\0\1\0\1"), &q), DNS_FORMERR); /* points at itself */
	assert_int_equal(PARSE(QUERY("\x40"
				     "a\0\0\1\0\1"),
				 &q),
		DNS_FORMERR);
	assert_int_equal(PARSE(HEADER("\x01\0", "\1", "\0", "\0", "\1") WEB, &q),
		DNS_FORMERR); /* promised record missing */
	assert_int_equal(
		PARSE(HEADER("\x01\0", "\1", "\0", "\0", "\2") WEB OPT OPT, &q), DNS_FORMERR); /* twice */
	assert_int_equal(PARSE(HEADER("\x01\0", "\1", "\0", "\0", "\1") WEB "\0\0\x29\x05\0\0\0\0\0\0\1", &q),
		DNS_FORMERR);
	assert_int_equal(PARSE(HEADER("\x01\0", "\1", "\0", "\0", "\1") WEB "\xff", &q), DNS_FORMERR);
	assert_int_equal(PARSE(HEADER("\x01\0", "\1", "\xff", "\0", "\0") WEB, &q), DNS_FORMERR);
}

static void bounds_names(void **state)
{
	uint8_t p[600] = "\x12\x34\1\0\0\1";
	size_t n = DNS_HEADER;

	/* 127 labels of one letter: 255 bytes with the end, which is the most; one more is too much. */
	for (int i = 0; i < 127; i++) {
		p[n++] = 1;
		p[n++] = 'a';
	}
	n++; /* end */
	p[n + 1] = 1;
	p[n + 3] = 1;
	assert_int_equal(dns_parse_query(p, n + 4, &q), 0);
	assert_int_equal(strlen(q.name), 253);
	p[n - 1] = 1;
	p[n] = 'a';
	p[n + 1] = 0;
	assert_int_equal(dns_parse_query(p, n + 6, &q), DNS_FORMERR);
}

static void answers(void **state)
{
	static const uint8_t query[] = HEADER("\x01\0", "\1", "\0", "\0", "\1") WEB OPT;
	static const uint8_t address[4] = { 10, 0, 0, 2 };
	uint8_t buf[512];
	DnsReply r;
	size_t n;

	assert_int_equal(dns_parse_query(query, sizeof(query) - 1, &q), 0);
	dns_reply_begin(&r, buf, sizeof(buf), query, &q, DNS_NOERROR);
	assert_true(dns_reply_address(&r, address, 4, 10));
	n = dns_reply_end(&r);
	static const uint8_t expected[] =
		"\x12\x34\x81\x80\0\1\0\1\0\0\0\1" WEB "\xc0\x0c\0\1\0\1\0\0\0\x0a\0\4\x0a\0\0\2"
		"\0\0\x29\x10\0\0\0\0\0\0\0";
	assert_int_equal(n, sizeof(expected) - 1);
	assert_memory_equal(buf, expected, n);
}

static void fills_to_the_brim(void **state)
{
	static const uint8_t query[] = HEADER("\x01\0", "\1", "\0", "\0", "\1") WEB OPT;
	static const uint8_t address[4] = { 10, 0, 0, 2 };
	uint8_t buf[513];
	unsigned count = 0;
	DnsReply r;
	size_t n;

	buf[512] = 0x5a;
	assert_int_equal(dns_parse_query(query, sizeof(query) - 1, &q), 0);
	dns_reply_begin(&r, buf, 512, query, &q, DNS_NOERROR);
	while (dns_reply_address(&r, address, 4, 10))
		count++;
	n = dns_reply_end(&r);
	assert_true(n <= 512 && n > 512 - 16);
	assert_int_equal(count, 29);
	assert_int_equal(buf[7], count);
	assert_true(buf[2] & 2); /* truncated */
	assert_int_equal(buf[512], 0x5a);
}

static void answers_errors_without_a_question(void **state)
{
	static const uint8_t query[] = QUERY("\3we");
	uint8_t buf[512];
	DnsReply r;

	assert_int_equal(dns_parse_query(query, sizeof(query) - 1, &q), DNS_FORMERR);
	dns_reply_begin(&r, buf, sizeof(buf), query, &q, DNS_FORMERR);
	assert_int_equal(dns_reply_end(&r), DNS_HEADER);
	assert_int_equal(buf[3] & 15, DNS_FORMERR);
	assert_int_equal(buf[5], 0);
}

#define CHECK(text, id)                                                                                      \
	dns_check_response((const uint8_t *) text, sizeof(text) - 1, id, query, sizeof(query) - 1)

static void checks_responses(void **state)
{
	static const uint8_t query[] = QUERY(WEB);

	assert_int_equal(CHECK(HEADER("\x81\x80", "\1", "\0", "\0", "\0") WEB, 0x1234), 0);
	assert_int_equal(CHECK(HEADER("\x81\x83", "\1", "\0", "\0", "\0") WEB, 0x1234), DNS_NXDOMAIN);
	assert_int_equal(
		CHECK(HEADER("\x81\x80", "\1", "\0", "\0", "\0") "\3web\7DEFAULT\0\0\1\0\1", 0x1234), 0);
	assert_int_equal(CHECK(HEADER("\x81\x82", "\0", "\0", "\0", "\0"), 0x1234), DNS_SERVFAIL);
	assert_true(CHECK(HEADER("\x81\x80", "\0", "\0", "\0", "\0"), 0x1234) < 0);
	assert_true(CHECK(HEADER("\x81\x80", "\1", "\0", "\0", "\0") WEB, 0x1235) < 0);
	assert_true(CHECK(HEADER("\x01\x00", "\1", "\0", "\0", "\0") WEB, 0x1234) < 0);
	assert_true(CHECK(HEADER("\x81\x80", "\1", "\0", "\0", "\0") "\3wab\7default\0\0\1\0\1", 0x1234) < 0);
	assert_true(
		CHECK(HEADER("\x81\x80", "\1", "\0", "\0", "\0") "\3web\7default\0\0\x1c\0\1", 0x1234) < 0);
	assert_true(CHECK(HEADER("\x81\x80", "\1", "\0", "\0", "\0") "\3web", 0x1234) < 0);
}

static void reads_reverse_names(void **state)
{
	static const uint8_t six[16] = { 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x1a };
	static const char *const bad[] = { "", "1.0.0.10", "0.0.10.in-addr.arpa", "256.0.0.10.in-addr.arpa",
		"1.1.0.0.10.in-addr.arpa", "a.0.0.10.in-addr.arpa", "1.0.0.10.in-addr.arpa.x", "1.ip6.arpa" };
	uint8_t a[16];

	assert_int_equal(dns_reverse_address("2.0.17.172.in-addr.arpa", a), 4);
	assert_memory_equal(a, ((uint8_t[]){ 172, 17, 0, 2 }), 4);
	assert_int_equal(
		dns_reverse_address(
			"a.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", a),
		16);
	assert_memory_equal(a, six, 16);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(dns_reverse_address(bad[i], a), 0);
}

static void writes_names(void **state)
{
	static const uint8_t query[] = QUERY("\1"
					     "2\0\0\x0c\0\1");
	uint8_t buf[512];
	DnsReply r;

	assert_int_equal(dns_parse_query(query, sizeof(query) - 1, &q), 0);
	dns_reply_begin(&r, buf, sizeof(buf), query, &q, 0);
	assert_true(dns_reply_ptr(&r, "web.net", 10));
	assert_false(dns_reply_ptr(&r, "a..b", 10));
	assert_false(
		dns_reply_ptr(&r, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 10));
	assert_int_equal(dns_reply_end(&r), sizeof(query) - 1 + 12 + 9);
	assert_memory_equal(buf + r.n - 9, "\3web\3net", 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses),
		cmocka_unit_test(passes_over),
		cmocka_unit_test(refuses),
		cmocka_unit_test(bounds_names),
		cmocka_unit_test(answers),
		cmocka_unit_test(fills_to_the_brim),
		cmocka_unit_test(answers_errors_without_a_question),
		cmocka_unit_test(checks_responses),
		cmocka_unit_test(reads_reverse_names),
		cmocka_unit_test(writes_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
