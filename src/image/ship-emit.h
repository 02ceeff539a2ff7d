// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Segments on their way out: written (image/ship-segment.h), compressed, handed on as frames. Segments of mostly new bytes are
 * compressed fast, those that tell differences as well as zstd can; where that changes, a new zstd frame begins.
 */

#include <stdint.h>

#include "base/err.h"
#include "image/ship-segment.h"

/** D and S frames of a layer (image/ship-protocol.h). */
typedef int (*ShipFrameFn)(void *user, uint8_t type, const void *p, size_t n, Err *err);

typedef struct ShipEmitter ShipEmitter;

/** `level`: zstd's, for differences. `pos`: where in the tar the first segment begins. */
ShipEmitter *ship_emitter_new(int level, uint64_t pos, ShipFrameFn fn, void *user);
void ship_emitter_free(ShipEmitter *e);
void ship_emitter_freep(ShipEmitter **e);
/** Where the current segment is written. */
SegmentWriter *ship_emitter_segment(ShipEmitter *e);
/** Hands the segment on if it has grown enough, or in any case (if there is anything in it) with `end`. */
int ship_emitter_flush(ShipEmitter *e, bool end, Err *err);
