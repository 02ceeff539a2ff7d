// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How far a ship is, from the control frames that pass (image/ship-protocol.h).
 */

#include "cli/progress.h"
#include "cli/ship-relay.h"

typedef struct ShipView {
	Progress progress;
	size_t layers, wanted;   /* of the images; that the receiver lacks */
	size_t begun;            /* of those */
	bool answered;           /* the receiver has said which */
	bool sizes_unknown;      /* of some layers: they are learnt when they are sent */
	uint64_t image_bytes;    /* tar bytes of all layers, and the configurations */
	uint64_t begun_bytes;    /* tar bytes of the layers that have begun */
	uint64_t over_bytes;     /* of those that are over */
	uint64_t skipped_bytes;  /* of them, what was there from an earlier try */
	uint64_t from, position; /* in the layer that is on its way */
	int64_t started;         /* monotonic: the first layer of this try, 0 = not yet */
	uint64_t sent_before;    /* bytes over the line by then */
	size_t told;             /* plain: layers that were told */
} ShipView;

/** A frame J. `sent`: bytes over the line so far, `now` monotonic. */
void ship_view_control(ShipView *v, bool from_sender, const json_t *value, uint64_t sent, int64_t now);
/** The receiver's last word: of compressed layers that it had, only it knows how large they are. */
void ship_view_done(ShipView *v, const json_t *images);
/** A frame S. */
void ship_view_position(ShipView *v, uint64_t tar);
/** "layer 2 of 3, sent 1.2 MB, saved 45 MB, 310 kB/s, 12 s left". Of the caller. `sent`: bytes so far, `now` monotonic. */
char *ship_view_text(const ShipView *v, uint64_t sent, int64_t now);
/** "16 kB", "168 MB": base 1000, three digits at most. Of the caller. */
char *ship_bytes(uint64_t n);
