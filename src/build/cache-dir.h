// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A directory on the client's side that a build's cache comes from or goes to: the worker's end. The client only reads and
 * writes files that it is told, by these names: "oci-layout", "index.json" and "blobs/sha256/HEX". Frames over the context's
 * connection (build/context.h); N is the directory's number in the build's options:
 *   worker: J {"cache": {"dir": N, "read": NAME}}      client: C frames with the file's bytes, then J {"cache": "end"};
 *                                                      or J {"cache": "missing"}
 *   worker: J {"cache": {"dir": N, "lock": true}}      client: J {"cache": "done"}; J {"cache": "busy"}: another one writes to it
 *   worker: J {"cache": {"dir": N, "sizes": [NAME…]}}  client: J {"cache": "sizes", "sizes": [bytes, or null where it is missing]}
 *   worker: J {"cache": {"dir": N, "write": true}}, C frames, J {"cache": {"dir": N, "name": NAME}}
 *                                                      client: J {"cache": "done"}, the file being durable
 *   worker: J {"cache": {"dir": N, "keep": [NAME…]}}   client: J {"cache": "done"}; other blobs are removed, the lock is left
 * J {"cache": "failed", "text": TEXT} answers any of these.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "build/context.h"
#include "image/stream.h"

#define CACHE_BLOBS "blobs/sha256/"

typedef struct CacheDir {
	json_int_t number;
	char *name;        /* for messages: as the user wrote it */
	bool final_only;   /* write the layers of the result alone (BuildKit's mode=min) */
	bool ignore_error; /* one that cannot be written is a warning */
} CacheDir;

/** A file of at most `max` bytes. 1: read; 0: it is missing. */
int cache_dir_read(Context *c, const CacheDir *d, const char *name, size_t max, Buf *ret, Err *err);
/** The bytes of a file, as they come; a missing one is an error of the first read. The next question takes away what is left of them. */
Stream *cache_dir_stream(Context *c, const CacheDir *d, const char *name);
/** Waits until nobody else writes to it. */
int cache_dir_lock(Context *c, const CacheDir *d, Err *err);
/** A number for each name, null for what is missing. `names` is taken over; `ret` is the caller's. */
int cache_dir_sizes(Context *c, const CacheDir *d, json_t *names, json_t **ret, Err *err);

typedef struct CachePut {
	const char *name; /* NULL: blobs/sha256/ and the digest of what was written */
	bool pack;        /* zstd */
	const char *diff_id; /* what the stream has to hash to, or NULL */
} CachePut;

typedef struct CacheBlob {
	char hex[DIGEST_HEX_MAX];
	int64_t size;
} CacheBlob;

/** Writes what the stream gives; `in` stays the caller's. */
int cache_dir_put(Context *c, const CacheDir *d, Stream *in, const CachePut *put, CacheBlob *ret, Err *err);
/** The last: removes other blobs than these (NULL: none), gives up the lock. Takes ownership. */
int cache_dir_keep(Context *c, const CacheDir *d, json_t *names, Err *err);
