// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The load generator's middle: kinds of load, their workers (a connection each), and the exchange, which
 * is one request and how its answer is judged. http1.c, http2.c and websocket.c hold the workers.
 *
 * A worker asks for its turn (worker_next), is started when the kind's rate and its own pause allow, does
 * one request, and asks again. Nothing is ever retried: what HTTP lets a client repeat (RFC 9110 section 9.2.2)
 * is a failure here, because it is one for somebody's client.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "bench/load/link.h"
#include "bench/load/stats.h"

typedef struct Load Load;
typedef struct Kind Kind;
typedef struct Worker Worker;

typedef struct WorkerOps {
	size_t size; /* of the struct that begins with a Worker */
	void (*init)(Worker *w); /* may be NULL */
	/** Its turn: sends a request. */
	void (*turn)(Worker *w);
	/** Every 100 ms: deadlines. */
	void (*tick)(Worker *w, int64_t now);
	/** No further requests; those in flight go on. */
	void (*stop)(Worker *w);
	/** A request is in flight. */
	bool (*busy)(const Worker *w);
	void (*done)(Worker *w);
} WorkerOps;

struct Worker {
	Load *load;
	Kind *kind;
	const WorkerOps *ops;
	uv_timer_t pace;
	uint64_t turns;
};

struct Kind {
	const char *name;
	const WorkerOps *ops;
	size_t connections;  /* workers; 0 = this kind is left out */
	double rate;         /* requests per second of all its workers, 0 = no limit */
	const char *get, *post; /* paths; both: in turn; NULL = never */
	bool keep;           /* false: a new connection for each request */
	int64_t pause_min, pause_max; /* ns between an answer and the next request of a worker */
	int64_t next;        /* the kind's next turn, monotonic */
	Worker **workers;
	Counts counts;
};

struct Load {
	uv_loop_t *loop;
	LinkTarget target;
	const char *host;       /* header Host */
	const char *post_body, *post_type; /* NULL: bytes of the pattern */
	int64_t timeout;        /* ns a request may take */
	Kind *kinds;
	size_t n_kinds;
	bool stopping;
	Versions versions;
	Failures failures;
};

extern const WorkerOps http1_ops, http2_ops, websocket_ops;

/** Asks for the next turn, at the earliest after `pause` ns. */
void worker_next(Worker *w, int64_t pause);
/** A random pause of the kind. */
int64_t worker_pause(const Worker *w);

typedef enum Expect { EXPECT_ANY, EXPECT_PATTERN, EXPECT_ECHO } Expect;

typedef struct Exchange {
	Load *load;
	Kind *kind;
	bool open; /* begun, and not ended */
	bool post;
	const char *path;
	const char *body; /* of the request; borrowed from the pattern or the options */
	size_t body_len;
	Expect expect;
	size_t expect_len;
	int64_t begun, deadline; /* monotonic */
	int status;
	size_t got; /* bytes of the answer's body */
	bool wrong;
} Exchange;

/** A new request of w, begun now. */
void exchange_begin(Exchange *x, Worker *w);
void exchange_header(Exchange *x, const char *name, size_t name_len, const char *value, size_t value_len);
void exchange_body(Exchange *x, const char *p, size_t n);
/** The answer is whole: counts it, as done or as failed by its status or body. */
void exchange_end(Exchange *x);
/** It failed for this reason. reused: its connection had served a request before. */
void exchange_fail(Exchange *x, Failure why, bool reused, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/** A link's end as a reason: `answered` if bytes of the answer had come. */
Failure link_failure(int why, bool connected, bool answered);

/** n bytes of the pattern abc…w that begin at any place; n is at most PATTERN_MAX. */
const char *pattern(size_t at);
#define PATTERN_MAX 65536
