// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Counts and durations of requests by backend and server. Durations go into log-linear buckets (1 ms up to 16 ms, then eight a power of two: 12 % apart),
 * so that a server costs some 700 bytes however many requests it has had.
 */

#include "edge/edge.h"
#include "edge/proxy-state.h"

#define HISTOGRAM_LINEAR 16
#define HISTOGRAM_STEPS 8
#define HISTOGRAM_TOP 22 /* 2^22 ms = 70 minutes; longer ones count as that */
#define HISTOGRAM_BUCKETS (HISTOGRAM_LINEAR + (HISTOGRAM_TOP - 4) * HISTOGRAM_STEPS)

typedef struct Histogram {
	uint32_t counts[HISTOGRAM_BUCKETS];
	uint64_t total;
} Histogram;

void histogram_add(Histogram *h, int64_t msec);
/** The middle of the bucket that holds the quantile (0…1), in ms; 0 if it is empty. */
double histogram_quantile(const Histogram *h, double q);

typedef struct Stats Stats;

Stats *stats_new(void);
void stats_free(Stats *s);
/** Which backend has which slot from now on. What nobody has any more is forgotten. */
void stats_slots(Stats *s, const ProxyState *state);
/** The backend's name, or NULL. */
const char *stats_backend(const Stats *s, const char *slot);
/** A request that a backend answered, or should have. `server` may be "". */
void stats_count(Stats *s, const char *slot, const char *server, bool error, int64_t msec);
/** A request that the cache made: none of the backend's. */
void stats_count_server(Stats *s, const char *slot, const char *server, bool error, int64_t msec);
bool stats_get(const Stats *s, const char *backend, const char *server, EdgeStats *ret);
void stats_mark(Stats *s, const char *backend);
