// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What HAProxy and nginx must be told for the cache, as text. HAProxy's part is always the same; a route's own (which zone, which generation, for how
 * long) stands in its entry of routes.map. nginx's part depends on which routes have a cache, and how large, and on nothing else: no deploy changes it.
 *
 * A zone is what one route may fill: a directory, below /tmp as stead-cache lays it out, with a bound.
 */

#include "base/buf.h"
#include "edge/edge.h"

#define CACHE_ZONE_NAME 18       /* "m" or "d", 16 digits, NUL */
#define CACHE_GENERATION_NAME 17 /* 16 digits, NUL */
#define CACHE_MEMORY "/tmp/memory"
#define CACHE_DISK "/tmp/disk"

typedef struct CacheZone {
	char name[CACHE_ZONE_NAME];
	bool disk;     /* else in memory */
	int64_t bytes; /* at most */
	int64_t ttl;   /* s */
} CacheZone;

/** The zone of a route; false: it has no cache. */
bool cache_zone(const EdgeRoute *r, CacheZone *ret);
/** What HAProxy must know of it: "ZONE:GENERATION:TTL:BYTES:", the last the largest response that is kept. In the route's entry "SLOT:TIMEOUT:" follows. Appended. */
void cache_zone_words(const CacheZone *z, const char *generation, Buf *ret);

/** nginx's configuration. Appended. */
void cache_nginx_config(const CacheZone *zones, size_t n, Buf *ret);

/** For a public frontend, once: what cache_haproxy_rules refers to, and the rules for responses. Appended. */
void cache_haproxy_words(Buf *ret);
/** Of a request for a route with a cache: nothing speaks against it, as far as can be said without counting anything. Conditions of a rule, after cache_haproxy_words. */
#define CACHE_HAPROXY_FAST "METH_GET !cache_not !{ url32,in_table(cache_passed) }"
/**
 * HAProxy's rules for its public frontends, for requests that `condition` ("if …") says to be of routes with a cache: var(txn.route), whose first field is "cache", becomes
 * var(txn.slot) for what must not go there. Appended.
 */
void cache_haproxy_rules(const char *condition, Buf *ret);
/**
 * HAProxy's sections: the backend `cache` and what nginx asks, the frontend `cache_origin`. `jail`: HAProxy's root; `forwarded`: rules for the headers that tell the service of the client.
 * Appended.
 */
void cache_haproxy_sections(const char *jail, const char *log_format, const char *forwarded, Buf *ret);
