// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What HAProxy has, or shall have, in HAProxy's own terms: backends of fixed names (slots), their servers, the entries of the map
 * that finds a request's route, and certificates. One type serves four: it is made from an EdgeTable, written into a
 * configuration for a new process (haproxy-config.h), read back from a process that was taken over (answers.h), and two of them
 * are compared, which gives the commands that lead from one to the other (converge.h).
 *
 * Backends cannot be made at run time (HAProxy 2.6), so SLOTS_MIN empty ones are there from the start, and a backend of the table
 * gets a free one. More than there are slots need a new process with twice as many.
 */

#include "base/buf.h"
#include "edge/edge.h"

#define SLOTS_MIN 32
#define SERVER_NAME_MAX 18  /* 16 digits of the container's id, with STANDBY_SUFFIX for its second entry */
#define STANDBY_SUFFIX "b"

typedef enum ServerState {
	SERVER_READY,
	SERVER_DRAIN, /* no new requests */
	SERVER_MAINT, /* as DRAIN; it goes as soon as it has no connection */
} ServerState;

typedef struct ProxyServer {
	char name[SERVER_NAME_MAX];
	char address[46];
	uint16_t port;
	ServerState state;
	bool backup;  /* takes requests while no other of the slot is up */
	bool watched; /* down as soon as a connection to it fails, until a check reaches it again */
} ProxyServer;

typedef struct ProxySlot {
	char *backend; /* name in the table; NULL = free */
	ProxyServer *servers;
	size_t n_servers;
} ProxySlot;

typedef struct ProxyEntry {
	char *key, *value;
} ProxyEntry;

/** A certificate with its key, as HAProxy knows it. */
typedef struct ProxyCert {
	char *file;      /* absolute path, the name at the runtime API too */
	char digest[65]; /* sha-256 of the file's content: another one = it is loaded again */
	char *pem;       /* its content; NULL in what was read back */
	char **names;    /* server names that it is for */
} ProxyCert;

typedef struct ProxyState {
	ProxySlot *slots;
	size_t n_slots;
	ProxyEntry *routes; /* in order of their keys (strcmp) */
	size_t n_routes;
	ProxyCert *certs; /* the first is the default, in order of files */
	size_t n_certs;
} ProxyState;

ProxyState *proxy_state_new(size_t n_slots);
ProxyState *proxy_state_copy(const ProxyState *s);
void proxy_state_free(ProxyState *s);
void proxy_state_freep(ProxyState **s);
#define AUTO_PROXY_STATE __attribute__((cleanup(proxy_state_freep))) ProxyState

ProxyServer *proxy_slot_server(const ProxySlot *slot, const char *name);
ProxyServer *proxy_slot_add(ProxySlot *slot, const char *name, const char *address, uint16_t port, ServerState state);
void proxy_state_add_route(ProxyState *s, const char *key, const char *value);
/** Brings the routes into their order; after the last proxy_state_add_route. */
void proxy_state_sort(ProxyState *s);
/** The slot of a backend, or -1. */
int proxy_state_slot(const ProxyState *s, const char *backend);
/** Server names in HAProxy: the first digits of the container's id. One on standby is there twice: as itself, for what it still has in hand, and as a backup. */
void proxy_server_name(const char *container_id, char dst[SERVER_NAME_MAX]);

/** What the wanted state has beyond the table: see edge-private.h for who answers. */
typedef struct RouteHooks {
	/** HTTPS is served for it with a certificate that clients can expect: HTTP is redirected. */
	bool (*redirect)(void *user, const EdgeRoute *r);
	/** The account's thumbprint (RFC 8555 section 8.1) if challenges for the route's host are answered here, else NULL. */
	const char *(*thumbprint)(void *user, const EdgeRoute *r);
	/** GET and HEAD go through the cache; appends what the cache must know of the route ([A-Za-z0-9._:-] only). */
	bool (*cache)(void *user, const EdgeRoute *r, Buf *ret);
	void *user;
} RouteHooks;

/**
 * The state for a table that edge_table_check has passed. A backend keeps the slot that it has in `have`; another gets one that is free
 * there and has no server left. -ENOSPC: more slots are needed.
 */
int proxy_state_make(const EdgeTable *t, const ProxyState *have, const RouteHooks *hooks, ProxyState **ret);
/**
 * The value of a route's entry: "SLOT", "SLOT|retry+" where another server may take over, "SLOT|tls", "SLOT|tls+", or "SLOT|FLAGS|BODY|LIMIT|RETRY|TIMEOUT|HOLD|ID|CACHE" where it has options (haproxy-config.c reads
 * it); with a cache its first field is "cache". Appended.
 */
void proxy_route_value(const EdgeRoute *r, const EdgeBackend *b, int slot, const RouteHooks *hooks, Buf *ret);
/** The key of a route's entry: host, path and a slash. */
void proxy_route_key(const Route *r, Buf *ret);
