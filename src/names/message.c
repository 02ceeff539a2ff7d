// SPDX-License-Identifier: Apache-2.0

#include "names/message.h"

#include <errno.h>
#include <string.h>

#define FLAG_QR 0x8000U
#define FLAG_AA 0x0400U
#define FLAG_TC 0x0200U
#define FLAG_RD 0x0100U
#define FLAG_RA 0x0080U
#define OPCODE 0x7800U
#define RCODE 0x000fU

#define WIRE_NAME_MAX 255U
#define LABEL_MAX 63U
#define POINTER_BITS 0xc0U
#define OPT_SIZE 11U    /* an OPT record without options */
#define RR_FIXED 10U    /* type, class, ttl, length */
#define RECORDS_MAX 32U /* further records in a query: refused */

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t) (p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t) (v >> 8);
	p[1] = (uint8_t) v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

uint16_t dns_id(const uint8_t *p)
{
	return get16(p);
}

void dns_set_id(uint8_t *p, uint16_t id)
{
	put16(p, id);
}

/* What names of hosts, services and containers are made of. */
static bool plain(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t) (c + 'a' - 'A') : c;
}

/*
 * Reads an uncompressed name at `at`; gives the offset behind it, or 0. `text` gets it in lower case; "" if a
 * label holds anything but letters, digits, '-' and '_'.
 */
static size_t read_name(const uint8_t *p, size_t n, size_t at, char text[DNS_NAME_MAX])
{
	size_t begin = at, used = 0;
	bool good = true;

	while (at < n && p[at]) {
		size_t len = p[at++];

		if (len > LABEL_MAX || len > n - at || at + len - begin >= WIRE_NAME_MAX)
			return 0;
		if (used)
			text[used++] = '.';
		for (size_t i = 0; i < len; i++) {
			uint8_t c = lower(p[at + i]);

			good = good && plain(c);
			text[used++] = (char) c;
		}
		at += len;
	}
	if (at >= n)
		return 0;
	text[good ? used : 0] = 0;
	return at + 1;
}

/* The offset behind a name that may end in a pointer, which is not followed; 0 if it runs out. */
static size_t skip_name(const uint8_t *p, size_t n, size_t at)
{
	while (at < n) {
		size_t len = p[at];

		if ((len & POINTER_BITS) == POINTER_BITS)
			return n - at >= 2 ? at + 2 : 0;
		if (len > LABEL_MAX)
			return 0;
		if (len == 0)
			return at + 1;
		at += 1 + len;
	}
	return 0;
}

/* Looks for an OPT record behind the question. False: malformed. */
static bool read_records(const uint8_t *p, size_t n, size_t at, unsigned records, DnsQuery *ret)
{
	if (records > RECORDS_MAX)
		return false;
	while (records--) {
		size_t name = at, len;
		uint16_t type;

		at = skip_name(p, n, at);
		if (!at || n - at < RR_FIXED)
			return false;
		type = get16(p + at);
		len = get16(p + at + 8);
		if (len > n - at - RR_FIXED)
			return false;
		if (type == DNS_TYPE_OPT) {
			if (ret->edns || p[name] != 0)
				return false; /* one only, of the root (RFC 6891 6.1.1) */
			ret->edns = true;
			ret->udp_size = get16(p + at + 2);
		}
		at += RR_FIXED + len;
	}
	return true;
}

int dns_parse_query(const uint8_t *p, size_t n, DnsQuery *ret)
{
	unsigned flags;
	size_t at;

	memset(ret, 0, sizeof(*ret));
	ret->udp_size = DNS_UDP_MIN;
	if (n < DNS_HEADER)
		return -EINVAL;
	flags = get16(p + 2);
	if (flags & FLAG_QR) /* answering answers makes loops */
		return -EINVAL;
	ret->id = get16(p);
	if (flags & OPCODE)
		return DNS_NOTIMP;
	if (n > DNS_QUERY_MAX || get16(p + 4) != 1)
		return DNS_FORMERR;
	at = read_name(p, n, DNS_HEADER, ret->name);
	if (!at || n - at < 4)
		return DNS_FORMERR;
	ret->type = get16(p + at);
	ret->class = get16(p + at + 2);
	ret->question_end = at + 4;
	if (!read_records(p, n, at + 4, (unsigned) get16(p + 6) + get16(p + 8) + get16(p + 10), ret))
		return DNS_FORMERR;
	if (ret->udp_size < DNS_UDP_MIN)
		ret->udp_size = DNS_UDP_MIN;
	return 0;
}

int dns_check_response(const uint8_t *p, size_t n, uint16_t id, const uint8_t *q, size_t q_len)
{
	DnsQuery asked;
	size_t i;

	if (n < DNS_HEADER || get16(p) != id || !(get16(p + 2) & FLAG_QR))
		return -EINVAL;
	if (dns_parse_query(q, q_len, &asked) != 0)
		return -EINVAL;
	/* An error may come without the question (RFC 1035 does not ask for it). */
	if (get16(p + 4) == 0 && (get16(p + 2) & RCODE) != DNS_NOERROR)
		return get16(p + 2) & RCODE;
	if (get16(p + 4) != 1 || n < asked.question_end)
		return -EINVAL;
	for (i = DNS_HEADER; i < asked.question_end - 4; i++)
		if (lower(p[i]) != lower(q[i]))
			return -EINVAL;
	if (memcmp(p + i, q + i, 4) != 0)
		return -EINVAL;
	return get16(p + 2) & RCODE;
}

void dns_reply_begin(
	DnsReply *r, uint8_t *buf, size_t max, const uint8_t *q, const DnsQuery *parsed, int rcode)
{
	size_t question = parsed->question_end ? parsed->question_end - DNS_HEADER : 0;

	*r = (DnsReply){ .p = buf, .n = DNS_HEADER + question, .max = max, .edns = parsed->edns };
	r->reserve = parsed->edns ? OPT_SIZE : 0;
	put16(buf, parsed->id);
	put16(buf + 2, FLAG_QR | FLAG_RA | (get16(q + 2) & (OPCODE | FLAG_RD)) | (unsigned) rcode);
	put16(buf + 4, question != 0);
	memset(buf + 6, 0, 6);
	if (question)
		memcpy(buf + DNS_HEADER, q + DNS_HEADER, question);
}

/* An answer's beginning, for `len` bytes of data; where to write them, or NULL. */
static uint8_t *add_answer(DnsReply *r, unsigned type, uint32_t ttl, size_t len)
{
	uint8_t *p = r->p + r->n;
	size_t room = r->max - r->n - r->reserve;

	if (r->full || room < 2 + RR_FIXED + len) {
		r->full = true;
		return NULL;
	}
	put16(p, POINTER_BITS << 8 | DNS_HEADER); /* the question's name */
	put16(p + 2, type);
	put16(p + 4, DNS_CLASS_IN);
	put32(p + 6, ttl);
	put16(p + 10, (unsigned) len);
	r->n += 2 + RR_FIXED + len;
	put16(r->p + 6, get16(r->p + 6) + 1U);
	return p + 2 + RR_FIXED;
}

bool dns_reply_address(DnsReply *r, const uint8_t *bytes, size_t n, uint32_t ttl)
{
	uint8_t *p = add_answer(r, n == 4 ? DNS_TYPE_A : DNS_TYPE_AAAA, ttl, n);

	if (p)
		memcpy(p, bytes, n);
	return p != NULL;
}

/* Writes a name as labels; gives its length or 0 if it is not one. `ret` has WIRE_NAME_MAX bytes. */
static size_t write_name(const char *name, uint8_t *ret)
{
	size_t used = 0;

	while (*name) {
		size_t len = strcspn(name, ".");

		if (len == 0 || len > LABEL_MAX || used + len + 2 > WIRE_NAME_MAX)
			return 0;
		ret[used++] = (uint8_t) len;
		memcpy(ret + used, name, len);
		used += len;
		name += len + (name[len] == '.');
	}
	ret[used++] = 0;
	return used;
}

bool dns_reply_ptr(DnsReply *r, const char *name, uint32_t ttl)
{
	uint8_t wire[WIRE_NAME_MAX];
	size_t n = write_name(name, wire);
	uint8_t *p = n ? add_answer(r, DNS_TYPE_PTR, ttl, n) : NULL;

	if (p)
		memcpy(p, wire, n);
	return p != NULL;
}

size_t dns_reply_end(DnsReply *r)
{
	if (r->full)
		put16(r->p + 2, get16(r->p + 2) | FLAG_TC);
	if (r->edns) {
		uint8_t *p = r->p + r->n;

		memset(p, 0, OPT_SIZE);
		put16(p + 1, DNS_TYPE_OPT);
		put16(p + 3, DNS_UDP_MAX);
		put16(r->p + 10, 1);
		r->n += OPT_SIZE;
	}
	return r->n;
}

static size_t reverse_v4(const char *name, uint8_t ret[16])
{
	for (int i = 3; i >= 0; i--) {
		unsigned v = 0, digits = 0;

		for (; *name >= '0' && *name <= '9' && digits < 3; name++, digits++)
			v = v * 10 + (unsigned) (*name - '0');
		if (!digits || v > 255 || *name++ != '.')
			return 0;
		ret[i] = (uint8_t) v;
	}
	return strcmp(name, "in-addr.arpa") == 0 ? 4 : 0;
}

static size_t reverse_v6(const char *name, uint8_t ret[16])
{
	for (int i = 31; i >= 0; i--) {
		const char *digits = "0123456789abcdef";
		const char *d = *name ? strchr(digits, *name) : NULL;
		unsigned v;

		if (!d || name[1] != '.')
			return 0;
		v = (unsigned) (d - digits);
		ret[i / 2] = (uint8_t) (i % 2 ? v : (v << 4 | ret[i / 2]));
		name += 2;
	}
	return strcmp(name, "ip6.arpa") == 0 ? 16 : 0;
}

size_t dns_reverse_address(const char *name, uint8_t ret[16])
{
	size_t n = reverse_v4(name, ret);

	return n ? n : reverse_v6(name, ret);
}
