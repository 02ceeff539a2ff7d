// SPDX-License-Identifier: Apache-2.0
#include "image/ship-source.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"

void ship_source_free(ShipSource *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++)
		image_free(s->images[i]);
	free(s->images);
	s->free(s);
}

void ship_source_freep(ShipSource **s)
{
	ship_source_free(*s);
}

static int state_open(ShipSource *s, const char *diff_id, Stream **ret, uint64_t *ret_size, Err *err)
{
	LayerInfo info;
	int r = store_layer(s->store, diff_id, &info, err);
	if (r == 0)
		r = err_set(err, -ENOENT, "it is missing under %s/layers", s->store->path);
	if (r < 0 || (r = store_layer_tar(s->store, diff_id, ret, err)) < 0)
		return r;
	*ret_size = (uint64_t) info.tar_size;
	return 0;
}

static void state_free(ShipSource *s)
{
	free(s);
}

static int state_image(Store *store, const json_t *item, Image **ret, Err *err)
{
	AUTO_BUF config = BUF_INIT;
	const char *id = json_string_value(json_object_get(item, "id"));
	const json_t *tags = json_object_get(item, "tags");
	int r = store_read_blob(store, id ? id : "", &config, err);
	if (r < 0 || (r = image_from_config(buf_cstr(&config), config.len, ret, err)) < 0)
		return r;
	for (size_t i = 0; i < json_array_size(tags); i++)
		if (json_is_string(json_array_get(tags, i)))
			strv_add(&(*ret)->tags, json_string_value(json_array_get(tags, i)));
	for (size_t k = 0; k < (*ret)->n_layers; k++) {
		LayerInfo info = { 0 };
		r = store_layer(store, (*ret)->layers[k].diff_id, &info, err);
		if (r == 0)
			r = err_set(err, -ENOENT, "layer %s is missing under %s/layers", (*ret)->layers[k].diff_id, store->path);
		if (r < 0)
			return r;
		(*ret)->layers[k].size = info.tar_size;
	}
	return (*ret)->n_layers ? 0 : err_set(err, -EINVAL, "image %s has no layers", id);
}

int ship_source_state(Store *store, const json_t *images, ShipSource **ret, Err *err)
{
	ShipSource *s __attribute__((cleanup(ship_source_freep))) = xcalloc(1, sizeof(*s));
	*s = (ShipSource) { .store = store, .open = state_open, .free = state_free };
	if (!json_array_size(images))
		return err_set(err, -EINVAL, "no image to ship");
	for (size_t i = 0; i < json_array_size(images); i++) {
		int r = state_image(store, json_array_get(images, i), array_append(s->images, s->n), err);
		if (r < 0)
			return r;
	}
	*ret = steal_ptr(&s);
	return 0;
}
