// SPDX-License-Identifier: Apache-2.0
/* Frames of either end, in pieces whose lengths the input says; and what is shown of them. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/ship-relay.h"
#include "cli/ship-view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_control(void *user, bool from_sender, const json_t *value)
{
	ship_view_control(user, from_sender, value, 1000, NSEC_PER_SEC);
}

static void on_position(void *user, uint64_t tar)
{
	ship_view_position(user, tar);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Relay r;
	ShipView v = { 0 };
	if (size < 2)
		return 0;
	relay_init(&r);
	r.control = on_control;
	r.position = on_position;
	r.user = &v;
	ShipLane *l = data[0] & 1 ? &r.back : &r.there;
	size_t step = (size_t) data[1] + 1, in = 0;
	for (size_t at = 2; at < size; at += step) {
		size_t n = size - at < step ? size - at : step;
		in += n;
		if (relay_feed(&r, l, data + at, n, NULL) < 0)
			break;
		AUTO_FREE char *text = ship_view_text(&v, in, 5 * NSEC_PER_SEC);
		if (l->out.len > in || !text)
			abort();
	}
	relay_done(&r);
	return 0;
}
