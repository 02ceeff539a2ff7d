// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Packet rules of one daemon: one nftables table "inet stead_NAME" (nft(8)). The rules themselves are fixed
 * text (they match on the device groups of the bridges, see net/network.h), so only published ports change:
 * elements of two maps. The whole table is loaded as one transaction by a child `nft -f -` at start and
 * whenever somebody flushed it; ports are added and removed in-process, within a millisecond, by one netlink
 * transaction each.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"
#include "net/addr.h"

/** A published port: packets to host `ip`:`port` go to `to`:`to_port`. */
typedef struct NftPort {
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	Addr ip;          /* unset or any = all IPv4 addresses of the host */
	uint16_t port;
	Addr to; /* IPv4 address of the container */
	uint16_t to_port;
} NftPort;

typedef struct Nft Nft;

/**
 * Starts with the ports that are to be published now (after a restart: those of the running containers);
 * loads the table in the background, `ready` is called once with an error or NULL when it is in place. Then
 * watches for others deleting the table and loads it again. `guard`: from net_enable_forwarding, may be NULL.
 */
int nft_new(uv_loop_t *loop, const char *daemon_name, char *const *guard, const NftPort *ports, size_t n,
	void (*ready)(void *user, const Err *err), void *user, Nft **ret, Err *err);
/** Stops watching; the table stays (containers outlive the daemon). */
void nft_free(Nft *n);

/** Adds ports; those with the same protocol, ip and port are replaced. Synchronous. */
int nft_publish(Nft *n, const NftPort *ports, size_t n_ports, Err *err);
/** Removes ports by protocol, ip and port; missing ones are success. */
int nft_unpublish(Nft *n, const NftPort *ports, size_t n_ports, Err *err);
/** 1: our table is in the kernel; 0: not. */
int nft_present(Nft *n);
/** Deletes the table: when nothing of this daemon runs any more. */
int nft_remove(Nft *n, Err *err);

/** The whole ruleset as nft(8) text. -EINVAL for a name or interface that may not stand in it. Pure. */
int nft_text(const char *daemon_name, char *const *guard, const NftPort *ports, size_t n, Buf *ret, Err *err);
