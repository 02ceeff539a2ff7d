// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What has come of a layer, kept so that a connection that was cut goes on where it stopped: the frames of the wire
 * (image/ship-protocol.h), one layer document and its segments, then maybe another from where the first stopped. It ends
 * behind a whole segment. STATE/cache/ship/NAME.part; held by one receiver at a time: a second one that gets the same layer has a
 * nameless one. A layer is read from it a second time where unpacking needs that.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "image/layers.h"

typedef struct ShipPart {
	char *diff_id;
	char *name;     /* below the state directory; NULL = nameless */
	int dir, fd;    /* dir borrowed */
	uint64_t end;   /* of what is kept: behind a whole segment */
	uint64_t write; /* of what is written */
	uint64_t from;  /* position in the tar that `end` leads to */
	uint64_t read;
	bool forgotten; /* nothing is kept any more */
} ShipPart;

/** Opens it, with what an earlier try has left. */
int ship_part_open(Store *s, const char *diff_id, ShipPart *ret, Err *err);
void ship_part_close(ShipPart *p);
/** Forgets all that was kept. */
int ship_part_clear(ShipPart *p, Err *err);
/** The same, and what comes from now on is not kept either: there is no room. */
void ship_part_forget(ShipPart *p);
/** The layer is here: it goes. */
void ship_part_remove(ShipPart *p);

/** A frame that has come. After a segment's end (`position`), it is kept. */
int ship_part_append(ShipPart *p, uint8_t type, const void *data, size_t n, Err *err);
void ship_part_keep(ShipPart *p, uint64_t position);
/** Frames from the first on. 1: the next, 0: the end. */
void ship_part_rewind(ShipPart *p);
int ship_part_next(ShipPart *p, uint8_t *ret_type, Buf *ret, Err *err);
