// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The edge's inside: what its files share. Who is who:
 *
 *   edge.c            joins all below; edge_set, waiters, retries
 *   table.c           EdgeTable and the reference matcher
 *   proxy-state.c     EdgeTable to HAProxy's terms
 *   haproxy-config.c  these terms to a configuration and map files (pure)
 *   converge.c        two such states to the commands that lead from one to the other (pure)
 *   answers.c         HAProxy's answers to states (pure)
 *   runtime.c         one command after the other over HAProxy's socket
 *   haproxy.c         the process: start, take over, watch, replace, end
 *   listen.c          public sockets
 *   log.c, stats.c    log pipe to access log and histograms
 *   cert-refused.c    those that HAProxy would not load
 *   cert.c            certificates, behind the functions edge_cert_*
 *   cache.c           nginx, behind the functions edge_cache_*
 */

#include "edge/cert-refused.h"
#include "edge/converge.h"
#include "edge/edge.h"
#include "edge/haproxy.h"
#include "edge/listen.h"
#include "edge/log.h"
#include "edge/proxy-state.h"
#include "edge/stats.h"

struct Certs;
struct Cache;

typedef struct EdgeWaiter {
	struct EdgeWaiter *next;
	uint64_t serial; /* of the table it waits for */
	EdgeDoneFn fn;
	void *user;
} EdgeWaiter;

typedef struct InFlight InFlight;

struct Edge {
	uv_loop_t *loop;
	char *dir;       /* RUN/edge */
	char *state_dir; /* STATE/edge */
	ListenAddress http, https;
	char *acme_server, *acme_email, *acme_ca; /* NULL = none */
	EdgeTable *wanted; /* never NULL */
	uint64_t serial;   /* of the last edge_set */
	EdgeWaiter *waiters;
	InFlight *in_flight;

	int fds[HAPROXY_FDS]; /* ours: listeners and the log's pipe; -1 = none */
	Haproxy *haproxy;
	EdgeLog *log;
	Stats *stats;
	struct Certs *certs; /* cert.c's own */
	struct Cache *cache; /* cache.c's own */

	ProxyState *have;  /* what the running process has; NULL = unknown, it is replaced */
	ProxyState *after; /* what it has once the commands under way, or the start, are done */
	Commands commands;
	size_t next_command;     /* of `commands` */
	RefusedCerts refused;
	uint64_t running_serial; /* of the table that `after` is for */
	uint64_t reported;       /* serial whose failure was told to the log */
	bool reaping;            /* the commands delete what is in maintenance */
	bool without_certs;      /* the last start failed: the next is tried with none */
	bool quitting;
	int64_t released;  /* monotonic ns: the running process was told to let go of the ports; 0 = it was not */
	char *trouble;     /* why what is wanted is not in effect, NULL = it is, or is about to be */
	unsigned failures; /* in a row */
	unsigned reaps;    /* in a row without an end */
	uv_idle_t *kick;   /* heap: the next step is due in this turn of the loop */
	uv_timer_t *retry, *reap;
};

/** What is wanted has changed beyond the table (a certificate came, the cache is ready): the edge converges again. Called from anywhere. */
void edge_kick(Edge *e);
/** HAProxy runs and has all that is wanted. */
bool edge_in_effect(const Edge *e);

/*
 * Certificates (cert.c, which joins the edge with certs.h). edge.c calls these; what changes later is told with edge_kick.
 *
 * A certificate is a file below STATE/edge whose content (certificate, chain, key; PEM, without empty lines) is also given to HAProxy through
 * the runtime API: converge.c compares digests and does `new/set/commit ssl cert` and `add/del ssl crt-list`. So to renew one, only its
 * digest and pem have to differ the next time edge_cert_state is asked.
 */
int edge_cert_open(Edge *e, Err *err);
void edge_cert_close(Edge *e);
/** The table that is wanted from now on: obtain what it lacks, forget what nobody wants. */
void edge_cert_table(Edge *e, const EdgeTable *t);
/** edge_in_effect has become true. */
void edge_cert_in_effect(Edge *e);
/** HAProxy may be started: the default certificate, which it takes at its start or not at all, is there or cannot be had. Else edge_kick follows. */
bool edge_cert_ready(const Edge *e);
/** Appends to s->certs; the default certificate first. */
void edge_cert_state(Edge *e, ProxyState *s);
/** RouteHooks; `user` is the Edge. */
bool edge_cert_redirect(void *user, const EdgeRoute *r);
const char *edge_cert_thumbprint(void *user, const EdgeRoute *r);

/*
 * The cache (cache.c; what HAProxy and nginx are told: cache-config.c). Requests to a route with the flag "c" (RouteHooks.cache gave true) may go to the
 * backend `cache`, nginx on a unix socket in HAProxy's chroot. nginx asks the frontend `cache_origin`, which leads to the slot.
 */
int edge_cache_open(Edge *e, Err *err);
/** nginx stays. */
void edge_cache_close(Edge *e);
/** nginx ends. */
void edge_cache_quit(Edge *e);
/** The table that is wanted from now on: nginx is there while a route asks for it. */
void edge_cache_table(Edge *e, const EdgeTable *t);
/**
 * HAProxy has what the table says: only its servers take requests. Puts aside what was cached of other versions. True: there was something, so that
 * edge_cache_route says otherwise than before.
 */
bool edge_cache_settle(Edge *e, const EdgeTable *t);
/** nginx is missing, or its caches would be too many or too large for this machine. */
int edge_cache_check(const EdgeTable *t, Err *err);
/** RouteHooks; `user` is the Edge. False: its requests go straight to the service. */
bool edge_cache_route(void *user, const EdgeRoute *r, Buf *ret);
