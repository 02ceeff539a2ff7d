// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Connection tracking. The kernel translates a flow as it did its first packet for as long as packets come.
 * With TCP a new connection is a new flow, but a UDP client that goes on sending from one port would never
 * notice that a published port was added or leads to another container now.
 */

#include "net/netlink.h"
#include "net/nft.h"

/** Forgets the UDP flows to these published ports (the others are passed over). `nl`: a netfilter socket (a
 * new one would cost a wait when it is closed). Best effort: logs at debug level. */
void conntrack_forget_udp(Netlink *nl, const NftPort *ports, size_t n);
