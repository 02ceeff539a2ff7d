// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Stream: bytes that a worker reads one after the other, from a file, through a decompressor, or
 * counted and hashed on the way. Blocking; for workers only.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/digest.h"
#include "base/err.h"

typedef struct Stream Stream;

struct Stream {
	/** Up to n bytes, 0 at the end, or negative errno. */
	ssize_t (*read)(Stream *s, void *p, size_t n, Err *err);
	/** Passes over n bytes; NULL = by reading. A file that ends before is noticed by the next read. */
	int (*skip)(Stream *s, uint64_t n, Err *err);
	void (*free)(Stream *s);
};

void stream_free(Stream *s);
void stream_freep(Stream **s);
#define AUTO_STREAM __attribute__((cleanup(stream_freep))) Stream *

ssize_t stream_read(Stream *s, void *p, size_t n, Err *err);
/** Exactly n bytes, or fewer at the end (then the number is given back). */
ssize_t stream_read_full(Stream *s, void *p, size_t n, Err *err);

/** A descriptor from where it stands (pipes too). The fd stays the caller's. */
Stream *stream_fd(int fd);
/** A piece of a file, by pread(2). The fd stays the caller's. */
Stream *stream_file(int fd, uint64_t offset, uint64_t length);
/** Bytes in memory; borrowed. */
Stream *stream_memory(const void *p, size_t n);

/**
 * What is in `inner` (owned by the result, also on failure), decompressed if it begins as gzip, zstd, xz or bzip2 do;
 * else as it is. Whoever reads to the end has read all of `inner`. -EBADMSG: damaged, cut off, or followed by something else. More than
 * LIMIT_LAYER_RATIO bytes for one, or than `max` in all, or a window beyond LIMIT_UNPACK_WINDOW end in -EFBIG.
 * ret_packed (may be NULL) says if it was compressed.
 */
int stream_unpack(Stream *inner, uint64_t max, Stream **ret, bool *ret_packed, Err *err);
/** -EFBIG: so many bytes out of so few are a decompression bomb (LIMIT_LAYER_RATIO). Holes of sparse files are bytes, too. */
int stream_check_ratio(uint64_t out, uint64_t in, Err *err);

/**
 * What is in `inner` (owned by the result), read ahead by a thread of its own, some blocks at most. To free it waits for a read of `inner` that
 * is under way. Where no thread can be made it is `inner` itself.
 */
Stream *stream_ahead(Stream *inner);

/** Counts and hashes (SHA-256) what is read through it. `inner` stays the caller's. */
Stream *stream_hash(Stream *inner);
/** Reads the rest and gives "sha256:…" of all. */
int stream_hash_finish(Stream *s, char digest[sizeof(DIGEST_PREFIX) + 64], uint64_t *ret_bytes, Err *err);
