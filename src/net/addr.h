// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Internet addresses and subnets in binary form. Text from outside is parsed once, here, and everything
 * that is generated (nft rules, hosts files) is printed from the binary form.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define ADDR_TEXT_MAX 64 /* any address with its prefix, and NUL */
#define MAC_TEXT_MAX 18

/** family 0 = unset. `prefix` is the length of the subnet's mask (32 or 128 for a lone address). */
typedef struct Addr {
	uint8_t family; /* 0, AF_INET or AF_INET6 */
	uint8_t prefix;
	uint8_t bytes[16]; /* network order; IPv4 uses the first four */
} Addr;

/** "10.0.0.1" or "fd00::1"; prefix becomes 32 or 128. -EINVAL. */
int addr_parse(const char *s, Addr *ret);
/** "10.0.0.0/24"; host bits may be set (see addr_network). -EINVAL. */
int addr_parse_cidr(const char *s, Addr *ret);
/** Without the prefix. "" for an unset one. */
const char *addr_text(const Addr *a, char dst[ADDR_TEXT_MAX]);
/** With "/prefix". */
const char *addr_cidr_text(const Addr *a, char dst[ADDR_TEXT_MAX]);
/** Same family and bytes; the prefix does not count. */
bool addr_eq(const Addr *a, const Addr *b);
bool addr_set(const Addr *a);
/** The subnet: host bits cleared. */
Addr addr_network(const Addr *a);
/** `a` (its prefix ignored) lies within `subnet`. */
bool addr_in(const Addr *a, const Addr *subnet);
/** Two subnets share an address. */
bool addr_overlap(const Addr *a, const Addr *b);
/** IPv4 in host order, and back. */
uint32_t addr_v4(const Addr *a);
Addr addr_from_v4(uint32_t host_order, uint8_t prefix);
/** 0.0.0.0, ::. */
bool addr_is_any(const Addr *a);

/** The MAC that Docker gives to an IPv4 address: 02:42 and its four bytes; from a hash for IPv6. */
void mac_from_addr(const Addr *a, uint8_t ret[6]);
/** "02:42:ac:11:00:02"; a unicast address that is not all zero. -EINVAL. */
int mac_parse(const char *s, uint8_t ret[6]);
const char *mac_text(const uint8_t mac[6], char dst[MAC_TEXT_MAX]);
