// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The cache of builds: what a step made, under the SHA-256 of all that it depends on. STATE/build/cache/HEX is a record,
 * a JSON object; STATE/build/lists/HEX is the list of files that a COPY made (build/entries.h). A record appears by
 * rename, so several builds may use the cache at once and a kill at any moment leaves it usable. One that a power cut
 * has cut off, or whose layers are gone, is as good as none. Records:
 *   {"layers": [diff_id…], "sizes": […], "list": HEX?, "created": RFC 3339, "seconds": N, "what": TEXT}   a step
 *   {"same": HEX}                                                                                     another record
 *   {"image": "sha256:…"}                                                                             a result
 * Layers that a record names are kept by sweeps (image/trash.c reads them here).
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "build/entries.h"

typedef struct Cache {
	int records, lists, mounts; /* directories */
} Cache;

/** Makes the directories. */
int cache_open(int state, Cache *ret, Err *err);
void cache_close(Cache *c);

/** The record, marked as used; NULL if there is none. The caller's. */
json_t *cache_get(Cache *c, const char *key);
/** Writes a record; not durable by itself. Takes ownership of it. */
int cache_put(Cache *c, const char *key, json_t *record, Err *err);
/** A list by its digest; -ENOENT. */
int cache_get_list(Cache *c, const char *hex, Entries *ret);
int cache_put_list(Cache *c, const char *hex, const Entries *l, Err *err);

/** Builds a key of strings, each with its length, so that no two sequences give the same. */
typedef struct CacheKey {
	Buf text;
} CacheKey;
void key_add(CacheKey *k, const char *s);
void key_add_strv(CacheKey *k, char *const *v);
/** Empties it. */
void key_finish(CacheKey *k, char hex[DIGEST_HEX_MAX]);

typedef struct MountOwner {
	uint32_t uid, gid;
	mode_t mode;
} MountOwner;

/**
 * The directory of a cache mount, build/mounts/NAME/data relative to the state directory, made when it is new. `suffix`
 * tells private ones apart. ret_lock: a descriptor that marks it as in use while it is open; with `lock` as nobody
 * else's. 1: somebody else has it.
 */
int cache_mount(Cache *c, const char *id, unsigned suffix, const MountOwner *owner, bool lock, int *ret_lock, char **ret_path, Err *err);
