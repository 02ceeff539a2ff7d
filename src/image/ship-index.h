// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What pieces a layer's tar has (image/ship-cut.h): their kinds, lengths and hashes in order, and of headers the hashes of their paths.
 * Made once for each layer and kept as STATE/cache/ship/NAME.index; sent, without the paths, to a sender that has not the layer.
 *
 *   "stdship" and SHIP_CUT_VERSION, length of the tar, number of pieces, number of paths (0 or that of the headers), 64 bits each
 *   for each piece a varint, length << 2 | kind;  for each header and piece of contents its hash;  for each header its path's two hashes
 *   XXH3 of all that
 *
 * Numbers are little-endian. Hashes only propose: what comes out is checked against the layer's SHA-256.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "image/layers.h"
#include "image/ship-cut.h"

/** An index in the making: pieces in their order. Zero is its initial state. */
typedef struct ShipIndexWriter {
	Buf kinds, hashes, names;
	uint64_t size, pieces, paths;
} ShipIndexWriter;

void ship_index_put(ShipIndexWriter *w, const ShipPiece *p, uint64_t hash);
/** Appends it to `ret`, and frees what `w` holds. */
void ship_index_finish(ShipIndexWriter *w, Buf *ret);
void ship_index_writer_done(ShipIndexWriter *w);

/** The index of a tar. */
int ship_index_make(Stream *tar, Buf *ret, Err *err);
/** The index of a layer that is here; from the cache, or made and kept there. */
int ship_index_get(Store *s, const char *diff_id, Buf *ret, Err *err);
/** One that came from elsewhere is kept / looked for. 1: found. It is checked when it is used. */
void ship_index_keep(Store *s, const char *diff_id, const Buf *index);
int ship_index_find(Store *s, const char *diff_id, Buf *ret);
/** The same index without paths. */
int ship_index_strip(const Buf *index, Buf *ret, Err *err);

/** Many indexes in one, to look things up in. */

typedef struct ShipChunk {
	uint64_t hash, pos;
	uint32_t len, base;
} ShipChunk;

typedef struct ShipOldFile {
	uint64_t path, loose; /* hashes */
	uint64_t header, contents, size; /* positions; bytes */
	uint32_t base;
} ShipOldFile;

typedef struct ShipIndex ShipIndex;

ShipIndex *ship_index_new(void);
void ship_index_free(ShipIndex *x);
void ship_index_freep(ShipIndex **x);
/** Bases are numbered from 0 in the order in which they are taken. Hostile: -EPROTO. 1: it is not taken, since there is enough. */
int ship_index_add(ShipIndex *x, uint32_t base, const Buf *index, uint64_t *ret_tar_size, Err *err);
/** Once, after the last one. */
void ship_index_ready(ShipIndex *x);
/** Borrowed, or NULL. The first base's, where several have it. */
const ShipChunk *ship_index_chunk(const ShipIndex *x, uint64_t hash, size_t len);
/** The one that begins there. */
const ShipChunk *ship_index_at(const ShipIndex *x, uint32_t base, uint64_t pos);
const ShipOldFile *ship_index_file(const ShipIndex *x, uint64_t path);
const ShipOldFile *ship_index_like(const ShipIndex *x, uint64_t loose);
