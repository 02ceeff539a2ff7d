// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What images, layers and archives may be compressed with: gzip (RFC 1952), zstd (RFC 8878), xz (The .xz File Format 1.1.0) and bzip2. Each
 * is its own library, behind one function that takes some bytes and gives some. Checksums are checked, memory is bounded
 * (LIMIT_UNPACK_WINDOW).
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CODEC_MAGIC_MAX 6

/** Both ends move forward as bytes are taken and given. */
typedef struct CodecIo {
	const uint8_t *in;
	size_t in_len;
	uint8_t *out;
	size_t out_len;
} CodecIo;

typedef struct Codec {
	const char *name;
	const char *magic;
	size_t magic_len;
	uint8_t mask; /* of the first byte: what of it counts */
	/** NULL: out of memory. */
	void *(*open)(void);
	/**
	 * Goes on. 1: that was the end of a member (zstd: a frame), a further one may follow; 0: not yet. Nothing taken and nothing given is 0, too.
	 * -EBADMSG: damaged; -EFBIG: needs too much memory.
	 */
	int (*step)(void *state, CodecIo *io, Err *err);
	void (*close)(void *state);
} Codec;

/** By its first bytes; NULL: none of them. */
const Codec *codec_find(const void *head, size_t n);
