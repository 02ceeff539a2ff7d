// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Old layers that new ones are made from, opened when first read and read anywhere (image/recipe.h, "A map").
 */

#include <stdint.h>

#include "base/err.h"
#include "image/layers.h"

typedef struct ShipBases ShipBases;

/** `digests`: borrowed while it lives. */
ShipBases *ship_bases_new(Store *s, char *const *digests);
void ship_bases_free(ShipBases *b);
/** n bytes of base `k`'s tar from `offset`; a range that is not there is an error. */
int ship_bases_read(ShipBases *b, uint32_t k, uint64_t offset, void *p, size_t n, Err *err);
