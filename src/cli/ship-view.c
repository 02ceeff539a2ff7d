// SPDX-License-Identifier: Apache-2.0
#include "cli/ship-view.h"

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/client.h"

char *ship_bytes(uint64_t n)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB" };
	double value = (double) n;
	size_t unit = 0;
	while (value >= 999.5 && unit + 1 < ARRAY_SIZE(units)) {
		value /= 1000;
		unit++;
	}
	return xasprintf(unit && value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

static char *seconds_left(int64_t seconds)
{
	if (seconds >= 3600)
		return xasprintf("%lld h %lld min", (long long) seconds / 3600, (long long) seconds / 60 % 60);
	return seconds >= 60 ? xasprintf("%lld min %lld s", (long long) seconds / 60, (long long) seconds % 60) :
			       xasprintf("%lld s", (long long) seconds);
}

/* Tar bytes that have come about in this try, and that are still to come: later layers are taken for as large as those that have begun. */
static void amounts(const ShipView *v, uint64_t *ret_done, uint64_t *ret_left)
{
	uint64_t in_layer = v->begun_bytes - v->over_bytes;
	*ret_done = v->over_bytes + v->position - v->skipped_bytes;
	*ret_left = in_layer > v->position ? in_layer - v->position : 0;
	if (v->wanted > v->begun)
		*ret_left += (v->wanted - v->begun) * (v->begun_bytes / v->begun);
}

char *ship_view_text(const ShipView *v, uint64_t sent, int64_t now)
{
	AUTO_BUF out = BUF_INIT;
	uint64_t done, left;
	if (!v->begun)
		return xstrdup(!v->layers ? "reading what is to be sent" :
			       !v->answered ? "asking the other box what it has" :
			       v->wanted ? "finding out what differs" : "all layers are there");
	AUTO_FREE char *sent_text = ship_bytes(sent);
	amounts(v, &done, &left);
	buf_printf(&out, "layer %zu of %zu, sent %s", v->begun, v->wanted > v->begun ? v->wanted : v->begun, sent_text);
	if (done > sent) {
		AUTO_FREE char *saved = ship_bytes(done - sent);
		buf_printf(&out, ", saved %s", saved);
	}
	double seconds = (double) (now - v->started) / NSEC_PER_SEC;
	if (seconds >= 0.5) {
		AUTO_FREE char *rate = ship_bytes((uint64_t) ((double) (sent - v->sent_before) / seconds));
		buf_printf(&out, ", %s/s", rate);
	}
	if (seconds >= 1 && done && left) {
		AUTO_FREE char *time_left = seconds_left((int64_t) (seconds * (double) left / (double) done) + 1);
		buf_printf(&out, ", %s left", time_left);
	}
	return buf_steal(&out);
}

static void take_offer(ShipView *v, const json_t *offer)
{
	json_t *image, *size;
	size_t i, k;
	v->layers = v->wanted = v->begun = 0;
	v->image_bytes = v->begun_bytes = v->over_bytes = v->skipped_bytes = v->from = v->position = 0;
	v->sizes_unknown = v->answered = false;
	v->started = 0;
	json_array_foreach(json_object_get(offer, "images"), i, image)
	{
		v->image_bytes += (uint64_t) json_number(image, "config_size");
		json_array_foreach(json_object_get(image, "sizes"), k, size)
		{
			v->layers++;
			v->image_bytes += (uint64_t) json_integer_value(size);
			v->sizes_unknown = v->sizes_unknown || !json_integer_value(size);
		}
	}
}

static void take_layer(ShipView *v, const json_t *layer, uint64_t sent, int64_t now)
{
	uint64_t size = (uint64_t) json_number(layer, "tar_size");
	if (!v->started) {
		v->started = now;
		v->sent_before = sent;
	}
	v->over_bytes = v->begun_bytes;
	v->begun_bytes += size;
	v->begun++;
	v->from = v->position = (uint64_t) json_number(layer, "from");
	v->skipped_bytes += v->from;
	if (v->sizes_unknown)
		v->image_bytes += size;
}

void ship_view_control(ShipView *v, bool from_sender, const json_t *value, uint64_t sent, int64_t now)
{
	const json_t *offer = json_object_get(value, "offer"), *layer = json_object_get(value, "layer"), *want = json_object_get(value, "want");
	if (from_sender && offer)
		take_offer(v, offer);
	else if (from_sender && layer)
		take_layer(v, layer, sent, now);
	else if (!from_sender && want) {
		v->wanted = json_array_size(json_object_get(want, "layers"));
		v->answered = true;
	}
}

void ship_view_done(ShipView *v, const json_t *images)
{
	json_t *image;
	uint64_t bytes = 0;
	size_t i;
	json_array_foreach((json_t *) images, i, image)
		bytes += (uint64_t) json_number(image, "size");
	if (v->sizes_unknown && bytes > v->image_bytes)
		v->image_bytes = bytes;
}

void ship_view_position(ShipView *v, uint64_t tar)
{
	if (tar >= v->from && tar <= v->begun_bytes - v->over_bytes)
		v->position = tar;
}
