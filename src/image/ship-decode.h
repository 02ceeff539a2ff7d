// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A layer's tar out of the frames that a sender gives for it (image/ship-protocol.h): a Stream for store_stage_layer. Frames and
 * old layers are hostile; what comes out is nothing until its SHA-256 is the layer's. Holds a segment, a zstd window
 * of 2 MiB and little else.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "image/stream.h"

#define SHIP_WINDOW_LOG 21

typedef struct ShipDecodeOptions {
	uint64_t tar_size;
	size_t n_bases; /* that runs may refer to */
	/** The next frame into `frame`: 0, or negative. Called until tar_size is reached. */
	int (*next)(void *user, uint8_t *ret_type, Buf *frame, Err *err);
	/** n bytes of old layer `base` (< n_bases). */
	int (*read_base)(void *user, uint32_t base, uint64_t offset, void *p, size_t n, Err *err);
	void *user;
	bool *bad; /* set when the frames make no sense (or the old layer lacks what they refer to); may be NULL */
} ShipDecodeOptions;

Stream *ship_decode(const ShipDecodeOptions *o);
