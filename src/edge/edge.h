// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The edge: HAProxy as the only public process, and what stands behind it. The daemon says which routes lead
 * to which backends and where their servers are (EdgeTable); the edge makes it so and keeps it so. It is
 * level-triggered: edge_set replaces what is wanted, at any time and as often as anybody likes, and what is
 * in effect follows through HAProxy's runtime API, without a reload.
 *
 * HAProxy outlives the daemon, as the containers do, and is taken over by the next one. It is there only
 * while there are routes. The public sockets are the daemon's, handed over as descriptors: while a dead
 * HAProxy is started again, new connections wait in the backlog; a restarted daemon takes them back from the
 * running HAProxy (pidfd_getfd(2)).
 *
 * How a route is found (HAProxy's side is haproxy-config.c, the reference in C is edge_table_match): the host
 * without port and case, and of the routes with that host the longest path whose segments are those of the
 * request; if there is none, likewise the routes with "*." for the first label; then those for any host.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "model/stack.h"

#define EDGE_ROUTES_MAX 2000   /* routes of all stacks together: refused */
#define EDGE_BACKENDS_MAX 1024 /* backends: refused */
#define EDGE_SERVERS_MAX 200   /* servers of one backend: refused (replicas of two releases) */

typedef struct Edge Edge;

typedef struct EdgeServer {
	char *id;      /* of the container, 64 hex digits */
	char *address; /* IPv4 or IPv6 */
	uint16_t port;
	bool draining; /* no new requests; those in flight go on */
	bool trial;    /* of a version that has yet to prove itself */
	bool standby;  /* draining, but takes requests again, at once, when none of those on trial can be reached */
} EdgeServer;

typedef struct EdgeBackend {
	char *name; /* "STACK/SERVICE:PORT" */
	EdgeServer *servers;
	size_t n_servers;
	bool hold;       /* requests wait, up to hold_ns, instead of failing while it has no server that takes new ones */
	int64_t hold_ns;
	bool maintenance; /* 503 with the maintenance page */
	bool retry;       /* GET, HEAD and OPTIONS that a server breaks off before it answers are sent once more, also if it is the only one (a deploy is on) */
	char *version; /* a word for what its servers run. Once another one serves alone, what is cached is not used any more. NULL: no server takes requests */
} EdgeBackend;

typedef struct EdgeRoute {
	Route route; /* the model's, port resolved */
	char *stack, *service;
	char *backend; /* name of an EdgeBackend of the table */
} EdgeRoute;

typedef struct EdgeTable {
	EdgeRoute *routes;
	size_t n_routes;
	EdgeBackend *backends;
	size_t n_backends;
} EdgeTable;

EdgeTable *edge_table_new(void);
void edge_table_free(EdgeTable *t);
void edge_table_freep(EdgeTable **t);
#define AUTO_EDGE_TABLE __attribute__((cleanup(edge_table_freep))) EdgeTable
/** Appends; both copy what they are given. The pointer is valid until the next one is added. */
EdgeRoute *edge_table_add_route(EdgeTable *t, const Route *route, const char *stack, const char *service, const char *backend);
EdgeBackend *edge_table_add_backend(EdgeTable *t, const char *name);
EdgeServer *edge_backend_add_server(EdgeBackend *b, const char *id, const char *address, uint16_t port, bool draining);
EdgeBackend *edge_table_backend(const EdgeTable *t, const char *name);
bool edge_table_eq(const EdgeTable *a, const EdgeTable *b);
/**
 * Everything that is written into a configuration or sent to HAProxy is checked here first: hosts, paths, names, addresses, counts. The
 * model has made sure of it before; this is what the writer relies on. -EINVAL, -E2BIG; the text names the route or backend.
 */
int edge_table_check(const EdgeTable *t, Err *err);
/** The route for a request, or NULL. `host` as in the Host header, `path` without the query. */
const EdgeRoute *edge_table_match(const EdgeTable *t, const char *host, const char *path);

typedef struct EdgeOptions {
	const char *state_dir; /* access log and certificates, in DIR/edge */
	const char *run_dir;   /* configuration and sockets, in DIR/edge */
	const char *http, *https; /* "ADDR:PORT", "[ADDR]:PORT", ":PORT", "off" */
	const char *acme_server, *acme_email, *acme_ca; /* as in certs.h; NULL = none */
} EdgeOptions;

/** -EINVAL unless it is one of the forms above; `what` names the option in the text. */
int edge_address_check(const char *what, const char *s, Err *err);
/** -EINVAL unless the server is "off" or an https URL, the address (or NULL) one of mail, the file (or NULL) an absolute path. */
int edge_acme_check(const char *server, const char *email, const char *ca, Err *err);

/** Takes over a running HAProxy of this run directory, if there is one; none is started before the first route. */
int edge_new(uv_loop_t *loop, const EdgeOptions *o, Edge **ret, Err *err);
/** HAProxy and what is behind it run on. NULL is allowed. */
void edge_free(Edge *e);
/** They end: an orderly stop without containers, or no route is left. Requests in flight are finished by HAProxy itself. */
void edge_quit(Edge *e);

/** `err` is NULL when it is done; else what stands in the way (it is tried again all the same). */
typedef void (*EdgeDoneFn)(void *user, const Err *err);
/**
 * What is wanted from now on. Takes ownership of the table. `done` (may be NULL) is called once, from the loop: when this table or a later
 * one is in effect, or with why it cannot be. In effect means that each new request is answered by it; servers that are not in the table
 * any more take no requests, and leave HAProxy when their last connection has ended.
 */
void edge_set(Edge *e, EdgeTable *table, EdgeDoneFn done, void *user);
/** The `done` calls of this user will not come. */
void edge_forget(Edge *e, const void *user);

/** `err` NULL: `n` requests and tunnels are in flight. A server that HAProxy does not know (any more) has none. */
typedef void (*EdgeCountFn)(void *user, uint64_t n, const Err *err);
void edge_in_flight(Edge *e, const char *backend, const char *server_id, EdgeCountFn fn, void *user);

typedef struct EdgeStats {
	int64_t since;     /* real ns of the last edge_mark, or of the first request */
	uint64_t requests; /* answered */
	uint64_t errors;   /* of these, with a status of 500 or more, and those that were cut off by the server's side */
	int64_t p50, p99;  /* ns from the request's first byte to the response's last, resolution 1 ms; 0 without requests */
} EdgeStats;
/** Counted from the log since edge_mark. `server_id` NULL: all of the backend. False: nothing counted. */
bool edge_stats(const Edge *e, const char *backend, const char *server_id, EdgeStats *ret);
/** The backend's counts begin anew (a deploy). */
void edge_mark(Edge *e, const char *backend);

/** What is cached of the backend is not used any more, in effect as after edge_set. */
void edge_purge(Edge *e, const char *backend);

/**
 * What a table can be refused for before anything changes: ports that others hold (named, with what to do), too many routes, caches larger than
 * this machine. -EADDRINUSE, -EINVAL, -E2BIG, -ENOENT.
 */
int edge_check(Edge *e, const EdgeTable *table, Err *err);
/** Called once: `at` is the index of the route whose files cannot be used, and `err` says why; NULL: all can. */
typedef void (*EdgeCertCheckFn)(void *user, size_t at, const Err *err);
/** Reads the certificates of routes with TLS_FILES, of which there is at least one, in a worker. What edge_check cannot do without waiting. */
void edge_cert_check_files(Edge *e, const Route *const *routes, size_t n, EdgeCertCheckFn fn, void *user);

/** What TLS clients of a route get. Strings are borrowed until the loop runs again. */
typedef struct EdgeCertificate {
	const char *kind;   /* "off", "file", "acme", "self-signed" */
	bool own;           /* it is for this host; else the default one */
	int64_t not_after;  /* seconds since the epoch; 0 = not known */
	const char *issuer; /* or NULL */
	const char *error;  /* why it is not as wanted, or NULL */
	const char *ca;     /* file with the certificate of the box's authority, to be installed where it is to be trusted; NULL where it did not sign */
	int64_t next;       /* ACME: when the next attempt may come, seconds since the epoch; else 0 */
} EdgeCertificate;
void edge_certificate(const Edge *e, const Route *r, EdgeCertificate *ret);
/** File with the certificate of the box's authority; it is there once the edge has served HTTPS. Borrowed. */
const char *edge_authority(const Edge *e);

/** Why what is wanted is not in effect, although it has been tried; NULL: it is, or is about to be. Borrowed until the loop runs again. */
const char *edge_trouble(const Edge *e);
/** Process id of HAProxy, 0 while there is none. */
pid_t edge_pid(const Edge *e);
