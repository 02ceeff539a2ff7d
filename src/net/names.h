// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The daemon's side of stead-names, the DNS server behind 127.0.0.11 in every container. stead-names is a
 * process of its own that outlives the daemon; this starts it if it is not there, tells it what is where, and
 * starts it again if it ends. Calls put records on a socket and return at once (some microseconds); what the
 * server cannot take at once is kept and sent from the loop.
 *
 * After a restart of the daemon: names_new, then names_endpoint_add and names_set for everything that runs,
 * then names_synced: what the server holds from before and was not named again is dropped then.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/names-protocol.h"
#include "net/addr.h"

typedef struct Names Names;

/** Joins a running server, if there is one (else it is started with the first endpoint). `lost` (may be NULL)
 * is called after stead-names had to be started again: everything is to be told anew, names_synced at the
 * end. */
int names_new(
	uv_loop_t *loop, const char *run_dir, void (*lost)(void *user), void *user, Names **ret, Err *err);
/** The server runs on. */
void names_free(Names *n);
/** Where names of the outside are asked. Order counts; at most 3. */
void names_upstreams(Names *n, const Addr *servers, size_t n_servers);

typedef struct NamesEndpoint {
	const char *id;              /* container id */
	int netns_fd;                /* borrowed */
	const char *const *networks; /* ids of the networks it is on; NULL-terminated */
	const Addr *dns;             /* its own upstreams (`dns:`); none = the host's */
	size_t n_dns;
	bool forward; /* false: no names of the outside (only on internal networks) */
} NamesEndpoint;

/**
 * Gives the container its resolver: sockets in its namespace, the rule there that leads port 53 of 127.0.0.11
 * to them (an image may so bind port 53 itself), and the server's record. An endpoint that the server already
 * has keeps its sockets and gets the new networks; so remove it when its namespace is replaced.
 */
int names_endpoint_add(Names *n, const NamesEndpoint *e, Err *err);
void names_endpoint_remove(Names *n, const char *id);

/**
 * The names of one address on one network (replaces those it had): service, container name, aliases, 12
 * digits of the id, hostname. The first is what a PTR query gives, with ".NETWORK_NAME" behind. At most
 * NAMES_PER_ADDRESS_MAX. A name that cannot stand in DNS is left out, with a warning in the log.
 */
int names_set(Names *n, const char *network_id, const char *network_name, const Addr *address,
	const char *const *names, Err *err);
void names_clear(Names *n, const char *network_id, const Addr *address);

/** Everything has been told (after names_new or `lost`): the server drops the rest. */
void names_synced(Names *n);
/** Ends the server; for when the last container has gone. It is started again when needed. */
void names_quit(Names *n);
/** Process id of the server, 0 if it does not run. */
pid_t names_pid(const Names *n);
