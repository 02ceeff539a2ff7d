// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * nfnetlink (linux/netfilter/nfnetlink.h) on top of net/netlink.h: message headers, and the marks around an
 * nftables transaction, whose messages take effect together or not at all. Written against the kernel's
 * interface since the few messages here are fixed; the rules that people read are text for nft(8).
 */

#include "net/netlink.h"

/** A message of `subsys` (NFNL_SUBSYS_…) with its header; `flags`, `what`, `tolerate` as netlink_add. */
struct nlmsghdr *nfnl_add(Netlink *nl, uint8_t subsys, uint8_t type, uint8_t family, uint16_t flags,
	const char *what, int tolerate);
/** Marks around a transaction. */
void nfnl_batch_begin(Netlink *nl);
void nfnl_batch_end(Netlink *nl);
/** A dump of `subsys`. */
int nfnl_dump(Netlink *nl, uint8_t subsys, uint8_t type, uint8_t family,
	void (*each)(void *user, const struct nlmsghdr *m), void *user, Err *err);
/** The 32-bit attribute in network order that nftables uses for numbers. */
void nfnl_put_be32(struct nlmsghdr *m, uint16_t type, uint32_t value);
/** An attribute of `data` wrapped as NFTA_DATA_VALUE. */
void nfnl_put_data(struct nlmsghdr *m, uint16_t type, const void *data, size_t n);
