// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The old layers that a sender can use: of those that the receiver has, the ones that are here too, and of others their indexes,
 * which the receiver sends.
 */

#include "image/report.h"
#include "image/ship-bases.h"
#include "image/ship-encode.h"
#include "image/ship-index.h"
#include "image/ship-peer.h"
#include "image/ship-protocol.h"

typedef struct ShipOld {
	ShipIndex *index;
	ShipOldLayer *layers;
	size_t n;
	uint32_t *numbers; /* of each, in ShipWant.bases */
	ShipBases *bases;  /* NULL = all are far */
} ShipOld;

/** `store`: NULL = no layers are here. `bytes`: of the layers that are wanted. */
int ship_old_gather(Store *store, ShipPeer *peer, const ShipWant *want, uint64_t bytes, ShipOld *ret, Err *err);
/** Makes indexes of layers here that a receiver is likely to name for these images, until it has said something. */
void ship_old_prepare(Store *store, ShipPeer *peer, const ImageList *images);
void ship_old_done(ShipOld *o);
/** As ShipEncodeOptions wants it; `user` is the ShipOld. */
int ship_old_read(void *user, uint32_t base, uint64_t offset, void *p, size_t n, Err *err);
/** The receiver's part: answers {"index": …}. */
int ship_old_answer(Store *store, ShipPeer *peer, const ShipWant *want, const json_t *request, Err *err);
