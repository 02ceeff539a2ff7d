// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Networks in the kernel: a bridge for each network, a veth pair for each container on it. Names are derived
 * from the daemon's name and the object's id, so that after a crash everything can be found and matched, and
 * two daemons on one machine do not meet. What makes things is synchronous netlink (rtnetlink(7)), repeatable
 * (what is there already is brought to the wanted state), and takes well under a millisecond. Deleting an
 * interface makes the kernel wait for tens of milliseconds, so that is done behind the caller's back
 * (net/reaper.h).
 *
 * Names: bridge "st" TAG "-" 8 hex digits; host end of a veth pair "sv" TAG "-" 7 hex digits and one that
 * tells a pair from a dying predecessor; TAG = 4 hex digits of the hash of the daemon's name. Bridges carry a
 * device group (derived from the daemon's name, another one for internal networks), which is what the nft
 * rules match on: a new network needs no new rule.
 */

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "net/addr.h"

typedef struct Net Net;

/** Called from the loop when something is deleted (or was not there), `err` NULL, or could not be. */
typedef void (*NetDoneFn)(void *user, const Err *err);

/** `loop` NULL (tests): deleting waits, and calls `done` at once. */
int net_new(uv_loop_t *loop, const char *daemon_name, Net **ret, Err *err);
/** Waits for what is just being deleted; `done` is not called any more. */
void net_free(Net *n);

/** Bridge's name for a network id. */
const char *net_bridge_name(const Net *n, const char *network_id, char dst[IFNAMSIZ]);
/** What all of a daemon's bridges begin with. */
const char *net_bridge_prefix(const char *daemon_name, char dst[IFNAMSIZ]);
/** Host end's name (its last digit may differ in the kernel). */
const char *net_veth_name(const Net *n, const char *container_id, const char *ifname, char dst[IFNAMSIZ]);
/** Device groups of the bridges of a daemon of that name. */
uint32_t net_group(const char *daemon_name, bool internal);

typedef struct NetworkSpec {
	const char *id;
	Addr subnet;
	Addr gateway;  /* the bridge's own address */
	bool internal; /* no way out */
	int mtu;       /* 0 = 1500 */
} NetworkSpec;

/** Bridge, up, with its address. */
int network_create(Net *n, const NetworkSpec *s, Err *err);
/** In the background. A missing one is success. Remaining veths on it lose their bridge. `done` may be NULL.
 */
void network_delete(Net *n, const char *network_id, NetDoneFn done, void *user);

typedef struct EndpointSpec {
	const char *container_id;
	const char *network_id;
	int netns_fd;       /* borrowed */
	const char *ifname; /* inside: "eth0", … */
	Addr address;       /* with the subnet's prefix */
	uint8_t mac[6];     /* all zero = mac_from_addr(address) */
	Addr gateway;       /* default route, or unset: none by this endpoint */
	int mtu;            /* 0 = 1500 */
} EndpointSpec;

/** veth pair: host end on the bridge and up, other end in the namespace with name, MAC, address, route, up. A
 * half-made one is remade. */
int endpoint_attach(Net *n, const EndpointSpec *s, Err *err);
/** In the background: removes the pair of a container that runs on without this network, or whose address another one gets. A missing one is fine. */
void endpoint_detach(Net *n, const char *container_id, const char *ifname);
/**
 * For a namespace that is being removed: its pair goes with it, but not before the last socket in there. One that was closed with data for
 * a slow client lives on for minutes. The client has some seconds to take it, then the pair is deleted; sooner when the container gets
 * another one, whose address is the same.
 */
void endpoint_abandon(Net *n, const char *container_id, const char *ifname);

/**
 * Bridges and veths of this daemon that `known` does not hold (strv of names as net_bridge_name and
 * net_veth_name give them) are deleted in the background: what a crash left behind. Gives their number or <0.
 */
int net_sweep(Net *n, char *const *known, Err *err);

/**
 * IPv4 subnets that this host routes, but for the default route and those of this daemon's own bridges: what
 * pool_choose_subnet has to avoid. Array of the caller (free).
 */
int net_host_routes(Net *n, Addr **ret, size_t *ret_n, Err *err);

/**
 * Makes a subnet this daemon's own among the daemons of this machine, from its choice on (net/claim.h). 1: another
 * daemon has it: choose another one.
 */
int net_subnet_claim(Net *n, const Addr *subnet);
/** For when the network is gone. A subnet that was not claimed is fine. */
void net_subnet_release(Net *n, const Addr *subnet);

/**
 * Prepares for IPv4 forwarding, without which nothing gets into or out of a network. If it is off, stead turns it
 * on, but not before its rules are in place (nft_new does): `ret_guard` (strv of the caller, kept in RUN_DIR until
 * the next boot) gets the interfaces there are, between which those rules keep forwarding blocked, so that a
 * host with two interfaces does not become a router unasked. Give it to nft_new.
 */
int net_enable_forwarding(const char *run_dir, char ***ret_guard, Err *err);
/** Turns it on; for nft.c. */
int net_switch_forwarding_on(Err *err);

/**
 * Something on this host drops forwarded packets by policy (nftables, or the older iptables tables), which
 * stead never overrides: text for the user with the remedy (owned by the caller), or NULL.
 */
char *net_forward_policy_drop(const char *daemon_name);

/**
 * Takes a host port by binding it, without listening: nobody else can take it while the fd is open (the
 * caller's). `ip` unset or any = all addresses. -EADDRINUSE with a text that names the port; -EADDRNOTAVAIL:
 * the host has no such address.
 */
int net_port_hold(const char *protocol, const Addr *ip, uint16_t port, int *ret_fd, Err *err);
/** As net_port_hold, for the first free one of first..last. first = 0: any free port. */
int net_port_choose(const char *protocol, const Addr *ip, uint16_t first, uint16_t last, uint16_t *ret_port,
	int *ret_fd, Err *err);
