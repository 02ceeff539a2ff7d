// SPDX-License-Identifier: Apache-2.0

#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/digest.h"
#include "base/str.h"

static unsigned family_bits(const Addr *a)
{
	return a->family == AF_INET6 ? 128 : 32;
}

int addr_parse(const char *s, Addr *ret)
{
	Addr a = { 0 };

	if (!s)
		return -EINVAL;
	a.family = strchr(s, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(a.family, s, a.bytes) != 1)
		return -EINVAL;
	a.prefix = family_bits(&a);
	*ret = a;
	return 0;
}

int addr_parse_cidr(const char *s, Addr *ret)
{
	char text[ADDR_TEXT_MAX];
	const char *slash = s ? strchr(s, '/') : NULL;
	uint32_t prefix;
	Addr a;

	if (!slash || (size_t) (slash - s) >= sizeof(text))
		return -EINVAL;
	memcpy(text, s, slash - s);
	text[slash - s] = 0;
	if (addr_parse(text, &a) < 0 || parse_u32_max(slash + 1, family_bits(&a), &prefix) < 0)
		return -EINVAL;
	a.prefix = prefix;
	*ret = a;
	return 0;
}

const char *addr_text(const Addr *a, char dst[ADDR_TEXT_MAX])
{
	dst[0] = 0;
	if (a->family)
		(void) inet_ntop(a->family, a->bytes, dst, ADDR_TEXT_MAX);
	return dst;
}

const char *addr_cidr_text(const Addr *a, char dst[ADDR_TEXT_MAX])
{
	size_t n = strlen(addr_text(a, dst));

	if (n)
		(void) snprintf(dst + n, ADDR_TEXT_MAX - n, "/%u", a->prefix);
	return dst;
}

bool addr_eq(const Addr *a, const Addr *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, family_bits(a) / 8) == 0;
}

bool addr_set(const Addr *a)
{
	return a->family != 0;
}

Addr addr_network(const Addr *a)
{
	Addr n = *a;

	for (unsigned i = 0; i < sizeof(n.bytes); i++) {
		if (i * 8 >= n.prefix)
			n.bytes[i] = 0;
		else if (n.prefix - i * 8 < 8)
			n.bytes[i] &= (uint8_t) (0xff << (8 - (n.prefix - i * 8)));
	}
	return n;
}

bool addr_in(const Addr *a, const Addr *subnet)
{
	Addr masked = *a, net = addr_network(subnet);

	if (!a->family || a->family != subnet->family)
		return false;
	masked.prefix = subnet->prefix;
	masked = addr_network(&masked);
	return addr_eq(&masked, &net);
}

bool addr_overlap(const Addr *a, const Addr *b)
{
	return a->prefix >= b->prefix ? addr_in(a, b) : addr_in(b, a);
}

uint32_t addr_v4(const Addr *a)
{
	return (uint32_t) a->bytes[0] << 24 | a->bytes[1] << 16 | a->bytes[2] << 8 | a->bytes[3];
}

Addr addr_from_v4(uint32_t v, uint8_t prefix)
{
	return (Addr){ .family = AF_INET, .prefix = prefix, .bytes = { v >> 24, v >> 16, v >> 8, v } };
}

bool addr_is_any(const Addr *a)
{
	static const uint8_t zero[16];

	return a->family && memcmp(a->bytes, zero, family_bits(a) / 8) == 0;
}

void mac_from_addr(const Addr *a, uint8_t ret[6])
{
	char hex[DIGEST_HEX_MAX];

	ret[0] = 0x02;
	ret[1] = 0x42;
	if (a->family == AF_INET) {
		memcpy(ret + 2, a->bytes, 4);
		return;
	}
	digest_sha256(a->bytes, sizeof(a->bytes), hex);
	hex[8] = 0;
	(void) hex_decode(hex, 4, ret + 2);
}

int mac_parse(const char *s, uint8_t ret[6])
{
	static const uint8_t zero[6];
	uint8_t mac[6];

	if (!s || strlen(s) != MAC_TEXT_MAX - 1)
		return -EINVAL;
	for (unsigned i = 0; i < 6; i++) {
		char pair[3] = { s[i * 3], s[i * 3 + 1], 0 };

		if (hex_decode(pair, 1, mac + i) < 0 || (i < 5 && s[i * 3 + 2] != ':'))
			return -EINVAL;
	}
	if ((mac[0] & 1) || memcmp(mac, zero, 6) == 0)
		return -EINVAL;
	memcpy(ret, mac, 6);
	return 0;
}

const char *mac_text(const uint8_t mac[6], char dst[MAC_TEXT_MAX])
{
	(void) snprintf(dst, MAC_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		mac[4], mac[5]);
	return dst;
}
