// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Shipping, for `ship` and for `deploy` to another box: opens both ends, relays, shows how far it is, and goes on by itself where the
 * connection was cut.
 */

#include "cli/ship-source.h"

typedef struct ShipTotals {
	uint64_t sent, received; /* bytes over the line from the sender, and back to it */
	uint64_t image_bytes;    /* of all layers of the images, as tar */
	size_t layers, layers_sent;
	int64_t took;            /* ns */
	json_t *images;          /* [{"id", "tags"}], as the receiver has them now */
} ShipTotals;

void ship_totals_done(ShipTotals *t);
#define AUTO_TOTALS __attribute__((cleanup(ship_totals_done))) ShipTotals

typedef struct ShipOrder {
	const ShipSource *source;
	const char *from, *to; /* hosts; NULL = the box that commands go to. `from` is for SOURCE_DAEMON */
	bool hint;             /* an image that is not there may be in Docker or Podman here */
} ShipOrder;

/** Adds to `t`. An exit code; errors have been printed. Signals are caught from then on (signals_release). */
int shipping_run(const Cli *cli, const ShipOrder *o, ShipTotals *t);
/** "sent 16 kB of 168 MB". Of the caller. */
char *shipping_summary(const ShipTotals *t);
/** {"bytes_sent", "bytes_received", "bytes_saved", "image_bytes", "seconds", "layers", "layers_sent", "images"}. New reference. */
json_t *shipping_json(const ShipTotals *t);
