// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Directories here that a build's cache comes from or goes to (--cache-from, --cache-to): the client's end of
 * build/cache-dir.h. The worker names files, and only "oci-layout", "index.json" and "blobs/sha256/HEX" are names; what is
 * written has a temporary name until it is whole and durable.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct BuildingCache {
	char *path;
	bool writable;
	bool busy;      /* somebody else writes to it */
	int dir, blobs; /* -1: not opened, or not there */
	int file;       /* that is being written; -1 = none */
	char tmp[40];   /* its name, beside blobs */
	int64_t moved;  /* bytes read or written */
	int failed;     /* of the file that is being written: negative errno */
} BuildingCache;

/**
 * What --cache-from or --cache-to says: a path, or BuildKit's "type=local,src=DIR" and "type=local,dest=DIR[,mode=min|max][,ignore-error=true]".
 * Relative paths start from `base`. 1: it is another kind of cache; for one to read from that is a warning, which has been printed.
 */
int building_cache_parse(const char *text, bool write, const char *base, BuildingCache *ret, json_t **ret_option, Err *err);
void building_cache_done(BuildingCache *c);

typedef struct FrameOut {
	int (*send)(void *user, uint8_t type, const void *p, size_t n, Err *err);
	void *user;
} FrameOut;

/** Does what the worker asks, {"dir": …} of a J frame, and answers it. An error is the connection's. */
int building_cache_request(BuildingCache *caches, size_t n, const json_t *question, const FrameOut *out, Err *err);
/** The bytes of a C frame. */
void building_cache_bytes(BuildingCache *caches, size_t n, const void *p, size_t len);
