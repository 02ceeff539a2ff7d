// SPDX-License-Identifier: Apache-2.0

/*
 * A query as a container sends it, answered from a small table; and the same bytes as a resolver's answer to
 * a fixed query.
 */

#include <stdlib.h>
#include <string.h>

#include "names/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void check_reply(const DnsReply *r, size_t n)
{
	if (n < DNS_HEADER || n > r->max || n != r->n)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const uint8_t asked[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0\3web\0\0\1\0\1";
	static const uint8_t address[16] = { 10, 0, 0, 2 };
	uint8_t *out = malloc(DNS_UDP_MIN), reverse[16];
	DnsQuery q;
	DnsReply r;
	int code = dns_parse_query(p, n, &q);

	if (code >= 0) {
		if (strlen(q.name) >= sizeof(q.name) || q.question_end > n)
			abort();
		dns_reply_begin(&r, out, DNS_UDP_MIN, p, &q, code);
		if (code == 0) {
			(void) dns_reverse_address(q.name, reverse);
			(void) dns_reply_ptr(&r, q.name, 1);
			while (dns_reply_address(&r, address, q.type == DNS_TYPE_AAAA ? 16 : 4, 1))
				;
		}
		check_reply(&r, dns_reply_end(&r));
		/* What is a query can be asked again and compared with itself. */
		if (code == 0 && dns_check_response(p, n, q.id, p, n) >= 0)
			abort(); /* a query is no response */
	}
	(void) dns_check_response(p, n, 0x1234, asked, sizeof(asked) - 1);
	free(out);
	return 0;
}
