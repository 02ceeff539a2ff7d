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
/** What HAProxy must know of it: "ZONE:GENERATION:TTL:BYTES", the last the largest response that is kept. Appended. */
void cache_zone_words(const CacheZone *z, const char *generation, Buf *ret);

/** nginx's configuration. Appended. */
void cache_nginx_config(const CacheZone *zones, size_t n, Buf *ret);

/** For a public frontend, once: what cache_haproxy_rules refers to, and the rules for responses. Appended. */
void cache_haproxy_words(Buf *ret);
/**
 * HAProxy's rules for its public frontends, after var(txn.cache) was set for routes with a cache to what cache_zone_words gives. They set
 * var(txn.cached) if the backend `cache` is to be used, and then what it needs before the path: the last of the rules. Appended.
 */
void cache_haproxy_rules(bool tls, Buf *ret);
/** HAProxy's sections: the backend `cache` and what nginx asks, the frontend `cache_origin`. `jail`: HAProxy's root. Appended. */
void cache_haproxy_sections(const char *jail, const char *log_format, Buf *ret);
