// SPDX-License-Identifier: Apache-2.0
/* Documents of the other side: what is taken can be written and is taken again. */
#include "base/mem.h"
#include "base/str.h"
#include "image/ship-protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void offer(const json_t *o)
{
	ShipOffer a = { 0 }, b = { 0 };
	if (ship_offer_parse(json_object_get(o, "offer"), &a, NULL) == 0) {
		json_t *copy = ship_offer_json(&a);
		if (ship_offer_parse(json_object_get(copy, "offer"), &b, NULL) < 0 || b.n != a.n || ship_offer_configs(&a) != ship_offer_configs(&b))
			abort();
		json_decref(copy);
	}
	ship_offer_done(&a);
	ship_offer_done(&b);
}

static void want(const json_t *o)
{
	ShipWant a = { 0 }, b = { 0 };
	if (ship_want_parse(json_object_get(o, "want"), &a, NULL) == 0) {
		json_t *copy = ship_want_json(&a);
		if (ship_want_parse(json_object_get(copy, "want"), &b, NULL) < 0 || b.n != a.n || b.likely != a.likely)
			abort();
		json_decref(copy);
	}
	ship_want_done(&a);
	ship_want_done(&b);
}

static void layer(const json_t *o)
{
	ShipLayer a = { 0 }, b = { 0 };
	if (ship_layer_parse(json_object_get(o, "layer"), 4, &a, NULL) == 0) {
		json_t *copy = ship_layer_json(&a);
		if (a.from > a.tar_size || ship_layer_parse(json_object_get(copy, "layer"), 4, &b, NULL) < 0 || !str_eq(a.diff_id, b.diff_id))
			abort();
		json_decref(copy);
	}
	ship_layer_done(&a);
	ship_layer_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_STRV char **digests = NULL;
	json_t *o = json_loadb((const char *) data, size, JSON_REJECT_DUPLICATES, NULL);
	if (!o)
		return 0;
	offer(o);
	want(o);
	layer(o);
	(void) ship_digests_parse(json_object_get(o, "again"), &digests, NULL);
	json_decref(o);
	return 0;
}
