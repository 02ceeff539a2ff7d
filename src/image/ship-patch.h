// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * New bytes as old ones that were moved and partly changed: bsdiff's idea (Percival, "Naive differences of executable code", 2003),
 * with hashes of 12 bytes to find matches in place of a suffix array, which is some ten times faster and little worse.
 */

#include <stddef.h>
#include <stdint.h>

typedef struct ShipPatchOps {
	/** new[at, at + n) is old[from, from + n) but for some bytes. */
	void (*add)(void *user, size_t at, size_t from, size_t n);
	/** new[at, at + n) is nowhere in old. */
	void (*extra)(void *user, size_t at, size_t n);
	void *user;
} ShipPatchOps;

typedef struct ShipPatcher ShipPatcher; /* the tables, used again */

ShipPatcher *ship_patcher_new(void);
void ship_patcher_free(ShipPatcher *p);

/** `guess`: where in old the first bytes of new are likely. Ops come in the order of new, which they cover. */
void ship_patch(ShipPatcher *p, const uint8_t *new, size_t n, const uint8_t *old, size_t m, size_t guess, const ShipPatchOps *ops);
