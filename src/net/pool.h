// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which subnet a network gets and which address a container gets. Pure: what is taken is given as
 * lists. Subnets come from Docker's pools (172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in /20s),
 * without those that touch a route of the host or a network that exists.
 */

#include <stddef.h>

#include "net/addr.h"

/** The first free subnet. -ENOSPC with a text that says what to do. */
int pool_choose_subnet(const Addr *taken, size_t n_taken, Addr *ret, Err *err);

typedef struct PoolSpec {
	Addr subnet;   /* a network address */
	Addr ip_range; /* or unset: addresses without a wish come from here */
	Addr gateway;  /* never handed out */
} PoolSpec;

/**
 * Completes and checks what a file or a request says: `subnet` CIDR (NULL: chosen with pool_choose_subnet),
 * `gateway` (NULL: the first address), `ip_range` (NULL: none). -EINVAL with a text; -EEXIST where a wished
 * subnet overlaps `taken`.
 */
int pool_spec(const char *subnet, const char *ip_range, const char *gateway, const Addr *taken,
	size_t n_taken, PoolSpec *ret, Err *err);

/**
 * An address that is neither in `used` nor the subnet's first, last (broadcast) or gateway one. The search
 * starts after `last` (unset: at the front), so that an address that was just given back is not handed out at
 * once. The result has the subnet's prefix. -ENOSPC.
 */
int pool_choose_address(
	const PoolSpec *p, const Addr *used, size_t n_used, const Addr *last, Addr *ret, Err *err);
/** Checks a wished address ("ipv4_address"): in the subnet, usable, not in `used` (-EADDRINUSE). */
int pool_check_address(
	const PoolSpec *p, const char *wish, const Addr *used, size_t n_used, Addr *ret, Err *err);
