// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * DNS messages (RFC 1035, RFC 6891), as far as a server of few record types that forwards the rest needs
 * them. Everything that comes in is hostile (RFC 9267 lists what others got wrong): each length is checked
 * against the end of the message, names in a question may not be compressed, compression pointers elsewhere
 * are skipped, never followed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_HEADER 12
#define DNS_QUERY_MAX 4096 /* longer queries are refused */
#define DNS_MESSAGE_MAX 65535
#define DNS_UDP_MIN 512  /* what every client takes (RFC 1035 2.3.4) */
#define DNS_UDP_MAX 4096 /* our answers over UDP at most, however much a client would take */
#define DNS_NAME_MAX 256 /* a name as text and NUL */

enum { DNS_TYPE_A = 1, DNS_TYPE_PTR = 12, DNS_TYPE_AAAA = 28, DNS_TYPE_OPT = 41, DNS_TYPE_ANY = 255 };
enum { DNS_CLASS_IN = 1, DNS_CLASS_ANY = 255 };
enum {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5
};

typedef struct DnsQuery {
	uint16_t id;
	uint16_t type, class;
	char name[DNS_NAME_MAX]; /* lower case, without the last dot; "" when it holds what no host's name
				    does, or for the root */
	size_t question_end;     /* offset behind the question; 0 when there is none that can be repeated */
	bool edns;
	uint16_t udp_size; /* what the client takes over UDP, at least DNS_UDP_MIN */
} DnsQuery;

/**
 * <0: not a query at all, to be passed over in silence; 0: good; >0: the response code to answer with (`ret`
 * is filled as far as dns_reply_begin needs it).
 */
int dns_parse_query(const uint8_t *p, size_t n, DnsQuery *ret);

/**
 * Whether `p` answers the query `q` (both whole messages): a response with the id `id` and the same question.
 * Gives its response code, or <0.
 */
int dns_check_response(const uint8_t *p, size_t n, uint16_t id, const uint8_t *q, size_t q_len);

typedef struct DnsReply {
	uint8_t *p;
	size_t n, max;
	size_t reserve; /* for the OPT record at the end */
	bool edns;
	bool full; /* something did not fit: the truncation bit will be set */
} DnsReply;

/** Begins an answer to the query `q`, which `parsed` was made from, in `buf`; `max` (at least DNS_UDP_MIN) is
 * what may be sent. */
void dns_reply_begin(
	DnsReply *r, uint8_t *buf, size_t max, const uint8_t *q, const DnsQuery *parsed, int rcode);
/** An address of the question's name: 4 or 16 bytes. False when it does not fit. */
bool dns_reply_address(DnsReply *r, const uint8_t *bytes, size_t n, uint32_t ttl);
/** A name as answer to a PTR query. */
bool dns_reply_ptr(DnsReply *r, const char *name, uint32_t ttl);
/** Completes it; gives its length. */
size_t dns_reply_end(DnsReply *r);

/** The address in a name below in-addr.arpa or ip6.arpa: its length (4 or 16), or 0. `name` is in lower case.
 */
size_t dns_reverse_address(const char *name, uint8_t ret[16]);

uint16_t dns_id(const uint8_t *p);
void dns_set_id(uint8_t *p, uint16_t id);
