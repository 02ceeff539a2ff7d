// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the load generator counts: requests, failures by reason, latencies, and which version of the
 * service answered when. Pure; times are given by the caller: intervals in ns, moments in ns since
 * the epoch.
 *
 * A request is counted once, when it has ended, as done or as failed for exactly one reason.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Why a request failed. RFC 9112 calls REFUSED…TRUNCATED a connection failure; nothing is retried here. */
typedef enum Failure {
	FAIL_REFUSED,   /* no connection */
	FAIL_RESET,     /* RST, or an HTTP/2 stream reset */
	FAIL_CLOSED,    /* the connection ended before the first byte of the answer */
	FAIL_TRUNCATED, /* it ended, or was reset, within the answer */
	FAIL_STATUS,    /* anything but 2xx (101 for a WebSocket) */
	FAIL_BODY,      /* whole, but not the body that was asked for */
	FAIL_TIMEOUT,
	FAIL_PROTOCOL,  /* no HTTP */
	FAIL_CUT,       /* a WebSocket ended without a close frame */
	N_FAILURES
} Failure;

/** Latencies in buckets of at most 1/64 width. */
typedef struct Histogram {
	uint64_t count, buckets[64 * 40];
	int64_t max;
} Histogram;

void histogram_add(Histogram *h, int64_t ns);
/** The latency that a share q (0…1) of all does not exceed, rounded up within its bucket; 0 when empty. */
int64_t histogram_quantile(const Histogram *h, double q);

typedef struct Counts {
	uint64_t done, failed, failures[N_FAILURES];
	uint64_t reused;      /* of the failures: on a connection that had served a request before (a keep-alive race) */
	uint64_t connections; /* opened */
	uint64_t messages;    /* WebSocket: echoes that came back right */
	uint64_t closes;      /* connections that the other side ended in an orderly way: close frame, GOAWAY, idle, Connection: close */
	uint64_t repeated;    /* HTTP/2 requests that the server said it has not processed (GOAWAY, REFUSED_STREAM), sent again */
	Histogram latency;
} Counts;

#define VERSION_MAX 32
#define VERSIONS_MAX 1024
#define CHANGES_MAX 4096
#define STATUSES_MAX 600
#define EXAMPLES_MAX 40

typedef struct VersionSeen {
	char name[VERSION_MAX];
	uint64_t requests;
	int64_t first, last;
} VersionSeen;

/** A version answered that had not answered for VERSION_QUIET, or never. */
typedef struct VersionChange {
	int64_t at;
	size_t version;
} VersionChange;
#define VERSION_QUIET (200 * 1000000LL)

typedef struct Example {
	int64_t at;
	const char *kind; /* borrowed, a constant */
	Failure why;
	char *detail;
} Example;

typedef struct Versions {
	VersionSeen *seen;
	size_t n_seen;
	VersionChange *changes;
	size_t n_changes;
	size_t current; /* of the last answer */
} Versions;

/** An answer with `name` in X-Version began at `now`. */
void versions_note(Versions *v, const char *name, int64_t now);
void versions_done(Versions *v);

typedef struct Failures {
	uint64_t statuses[STATUSES_MAX]; /* of FAIL_STATUS, by status */
	Example examples[EXAMPLES_MAX];  /* the first ones */
	size_t n_examples;
} Failures;

/** Counts a failure. status: what came instead of 2xx, else 0. Keeps a copy of `detail` if it is among the first. */
void counts_fail(Counts *c, Failures *f, const char *kind, Failure why, int status, const char *detail, int64_t now);
void failures_done(Failures *f);

json_t *counts_json(const Counts *c);
json_t *versions_json(const Versions *v);
json_t *changes_json(const Versions *v);
/** {"statuses": {…}, "examples": […]}, to be merged into the report. */
json_t *failures_json(const Failures *f);
/** Adds the numbers of `from` (but no histogram) to `to`. */
void counts_add(Counts *to, const Counts *from);
