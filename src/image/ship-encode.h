// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A layer's tar as what differs from old layers: segments (image/ship-segment.h) into an emitter.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "image/ship-emit.h"
#include "image/ship-index.h"
#include "image/stream.h"

typedef struct ShipOldLayer {
	uint64_t size; /* of its tar */
	bool far;      /* only its index is here: whole pieces are all that can be used of it */
} ShipOldLayer;

typedef struct ShipEncodeOptions {
	uint64_t tar_size, from; /* bytes of the tar before `from` are there already */
	const ShipIndex *index;  /* of old layers; its base numbers are those of the segments */
	const ShipOldLayer *old;
	size_t n_old;
	/** As for the decoder; for layers that are not far. */
	int (*read_old)(void *user, uint32_t base, uint64_t offset, void *p, size_t n, Err *err);
	void *user;
	ShipIndexWriter *made; /* gets the pieces of the tar: the index of what will be old next time. NULL = not wanted */
} ShipEncodeOptions;

int ship_encode_delta(Stream *tar, const ShipEncodeOptions *o, ShipEmitter *e, Err *err);
/** The tar (`tar_size` bytes) from `from` on, as it is. */
int ship_encode_whole(Stream *tar, uint64_t tar_size, uint64_t from, ShipEmitter *e, Err *err);
