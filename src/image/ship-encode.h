// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A layer as what differs from old layers.
 */

#include <stdint.h>

#include "base/err.h"
#include "image/ship-emit.h"
#include "image/stream.h"

/** The tar (`tar_size` bytes) from `from` on, as it is. */
int ship_encode_whole(Stream *tar, uint64_t tar_size, uint64_t from, ShipEmitter *e, Err *err);
