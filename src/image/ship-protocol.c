// SPDX-License-Identifier: Apache-2.0
#include "image/ship-protocol.h"

#include <endian.h>
#include <errno.h>

#include "base/digest.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/reference.h"

static int wrong(Err *err, const char *what)
{
	return err_set(err, -EPROTO, "the other side does not keep to the protocol: %s", what);
}

static int get_size(const json_t *o, const char *key, uint64_t max, uint64_t *ret, Err *err)
{
	const json_t *v = json_object_get(o, key);
	json_int_t n = json_integer_value(v);
	if (!json_is_integer(v) || n < 0 || (uint64_t) n > max)
		return err_set(err, -EPROTO, "the other side does not keep to the protocol: '%s' is no size up to %llu", key,
			(unsigned long long) max);
	*ret = (uint64_t) n;
	return 0;
}

static int get_digest(const json_t *v, char **ret, Err *err)
{
	const char *s = json_string_value(v);
	if (!s || !digest_valid(s))
		return wrong(err, "a digest is none");
	*ret = xstrdup(s);
	return 0;
}

static json_t *size_json(uint64_t n)
{
	return json_integer((json_int_t) n);
}

/* Offer. */

void ship_offer_done(ShipOffer *o)
{
	for (size_t i = 0; i < o->n; i++) {
		free(o->images[i].id);
		strv_free(o->images[i].tags);
		free(o->images[i].sizes);
	}
	free(o->images);
	*o = (ShipOffer) { 0 };
}

size_t ship_offer_configs(const ShipOffer *o)
{
	size_t n = 0;
	for (size_t i = 0; i < o->n; i++)
		n += o->images[i].config_size;
	return n;
}

static int parse_tag(const json_t *v, char ***tags, Err *err)
{
	const char *s = json_string_value(v);
	AUTO_FREE char *normal = NULL;
	if (!s)
		return wrong(err, "a tag is no text");
	int r = reference_normalise(s, &normal, err);
	if (r < 0)
		return r;
	if (!str_eq(normal, s))
		return wrong(err, "a tag is not in its full form");
	strv_take(tags, steal_ptr(&normal));
	return 0;
}

static int parse_offer_image(const json_t *o, ShipOfferImage *ret, Err *err)
{
	const json_t *tags = json_object_get(o, "tags"), *sizes = json_object_get(o, "sizes");
	uint64_t n;
	int r = get_digest(json_object_get(o, "id"), &ret->id, err);
	if (r < 0 || (r = get_size(o, "config_size", LIMIT_MANIFEST_BYTES, &n, err)) < 0)
		return r;
	ret->config_size = (size_t) n;
	if (!json_is_array(tags) || json_array_size(tags) > LIMIT_SHIP_TAGS || !json_is_array(sizes) || json_array_size(sizes) > LIMIT_IMAGE_LAYERS)
		return wrong(err, "an image's tags and layers are no lists of a fair length");
	for (size_t i = 0; i < json_array_size(tags); i++)
		if ((r = parse_tag(json_array_get(tags, i), &ret->tags, err)) < 0)
			return r;
	for (size_t i = 0; i < json_array_size(sizes); i++) {
		json_int_t size = json_integer_value(json_array_get(sizes, i));
		if (!json_is_integer(json_array_get(sizes, i)) || size < 0 || (uint64_t) size > LIMIT_LAYER_BYTES)
			return wrong(err, "a layer's size is none");
		*array_append(ret->sizes, ret->n_sizes) = (uint64_t) size;
	}
	return 0;
}

int ship_offer_parse(const json_t *o, ShipOffer *ret, Err *err)
{
	AUTO(ship_offer_done) ShipOffer offer = { 0 };
	const json_t *images = json_object_get(o, "images");
	uint64_t packed;
	if (!json_is_array(images) || json_array_size(images) == 0 || json_array_size(images) > LIMIT_SHIP_IMAGES)
		return err_set(err, -EPROTO, "%zu images at once: 1 to %d can be shipped together", json_array_size(images), LIMIT_SHIP_IMAGES);
	int r = get_size(o, "packed", LIMIT_SHIP_CONFIGS, &packed, err);
	if (r < 0)
		return r;
	offer.packed = (size_t) packed;
	for (size_t i = 0; i < json_array_size(images); i++)
		if ((r = parse_offer_image(json_array_get(images, i), array_append(offer.images, offer.n), err)) < 0)
			return r;
	if (ship_offer_configs(&offer) > LIMIT_SHIP_CONFIGS)
		return wrong(err, "the images' configurations are too large together; ship fewer images at once");
	*ret = offer;
	offer = (ShipOffer) { 0 };
	return 0;
}

json_t *ship_offer_json(const ShipOffer *o)
{
	json_t *images = json_array();
	for (size_t i = 0; i < o->n; i++) {
		const ShipOfferImage *m = &o->images[i];
		json_t *tags = json_array(), *sizes = json_array();
		for (char **t = m->tags; t && *t; t++)
			(void) json_array_append_new(tags, json_string(*t));
		for (size_t k = 0; k < m->n_sizes; k++)
			(void) json_array_append_new(sizes, size_json(m->sizes[k]));
		(void) json_array_append_new(images, json_pack("{s:s, s:o, s:o, s:o}", "id", m->id, "tags", tags, "config_size",
							     size_json(m->config_size), "sizes", sizes));
	}
	return json_pack("{s:{s:o, s:o}}", "offer", "images", images, "packed", size_json(o->packed));
}

/* Want. */

void ship_want_done(ShipWant *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->layers[i].diff_id);
	free(w->layers);
	strv_free(w->bases);
	free(w->arch);
	*w = (ShipWant) { 0 };
}

int ship_want_parse(const json_t *o, ShipWant *ret, Err *err)
{
	AUTO(ship_want_done) ShipWant w = { 0 };
	const json_t *layers = json_object_get(o, "layers"), *bases = json_object_get(o, "bases");
	const char *arch = json_string_value(json_object_get(o, "arch"));
	uint64_t likely;
	int r;
	if (!json_is_array(layers) || json_array_size(layers) > LIMIT_SHIP_IMAGES * LIMIT_IMAGE_LAYERS || !json_is_array(bases) ||
		json_array_size(bases) > LIMIT_SHIP_BASES)
		return wrong(err, "what it wants is no list of a fair length");
	if ((r = get_size(o, "likely", json_array_size(bases), &likely, err)) < 0 || (r = get_size(o, "free", INT64_MAX, &w.free, err)) < 0 || (r = get_size(o, "memory_free", INT64_MAX, &w.memory_free, err)) < 0)
		return r;
	for (size_t i = 0; i < json_array_size(layers); i++) {
		const json_t *item = json_array_get(layers, i);
		ShipWantLayer *l = array_append(w.layers, w.n);
		if ((r = get_digest(json_object_get(item, "diff_id"), &l->diff_id, err)) < 0 ||
			(r = get_size(item, "from", LIMIT_LAYER_BYTES, &l->from, err)) < 0)
			return r;
	}
	for (size_t i = 0; i < json_array_size(bases); i++) {
		char *digest;
		if ((r = get_digest(json_array_get(bases, i), &digest, err)) < 0)
			return r;
		strv_take(&w.bases, digest);
	}
	str_set(&w.arch, arch);
	w.likely = (size_t) likely;
	*ret = w;
	w = (ShipWant) { 0 };
	return 0;
}

json_t *ship_want_json(const ShipWant *w)
{
	json_t *layers = json_array();
	for (size_t i = 0; i < w->n; i++)
		(void) json_array_append_new(layers, json_pack("{s:s, s:o}", "diff_id", w->layers[i].diff_id, "from", size_json(w->layers[i].from)));
	json_t *o = json_pack("{s:o, s:o, s:o, s:o, s:o}", "layers", layers, "bases", ship_digests_json(w->bases), "likely",
		size_json(w->likely), "free", size_json(w->free), "memory_free", size_json(w->memory_free));
	if (w->arch)
		(void) json_object_set_new(o, "arch", json_string(w->arch));
	return json_pack("{s:o}", "want", o);
}

/* Layer. */

void ship_layer_done(ShipLayer *l)
{
	free(l->diff_id);
	free(l->bases);
	*l = (ShipLayer) { 0 };
}

int ship_layer_parse(const json_t *o, size_t n_bases, ShipLayer *ret, Err *err)
{
	AUTO(ship_layer_done) ShipLayer l = { 0 };
	const json_t *bases = json_object_get(o, "bases");
	const char *form = json_string_value(json_object_get(o, "form"));
	int r = get_digest(json_object_get(o, "diff_id"), &l.diff_id, err);
	if (r < 0 || (r = get_size(o, "tar_size", LIMIT_LAYER_BYTES, &l.tar_size, err)) < 0 || (r = get_size(o, "from", l.tar_size, &l.from, err)) < 0)
		return r;
	if (!str_eq(form, "delta") && !str_eq(form, "whole") && !str_eq(form, "resume"))
		return wrong(err, "a layer's form is none");
	if (!json_is_array(bases) || json_array_size(bases) > LIMIT_SHIP_BASES)
		return wrong(err, "a layer's bases are no list of a fair length");
	for (size_t i = 0; i < json_array_size(bases); i++) {
		json_int_t k = json_integer_value(json_array_get(bases, i));
		if (!json_is_integer(json_array_get(bases, i)) || k < 0 || (size_t) k >= n_bases)
			return wrong(err, "a layer's base is none");
		*array_append(l.bases, l.n_bases) = (uint32_t) k;
	}
	l.whole = l.n_bases == 0;
	*ret = l;
	l = (ShipLayer) { 0 };
	return 0;
}

json_t *ship_layer_json(const ShipLayer *l)
{
	json_t *bases = json_array();
	for (size_t i = 0; i < l->n_bases; i++)
		(void) json_array_append_new(bases, json_integer(l->bases[i]));
	return json_pack("{s:{s:s, s:o, s:o, s:s, s:o}}", "layer", "diff_id", l->diff_id, "tar_size", size_json(l->tar_size), "from",
		size_json(l->from), "form", l->from ? "resume" : l->n_bases ? "delta" : "whole", "bases", bases);
}

/* Lists of digests, positions. */

int ship_digests_parse(const json_t *o, char ***ret, Err *err)
{
	AUTO_STRV char **list = NULL;
	if (!json_is_array(o) || json_array_size(o) > LIMIT_SHIP_IMAGES * LIMIT_IMAGE_LAYERS)
		return wrong(err, "a list of digests is none");
	for (size_t i = 0; i < json_array_size(o); i++) {
		char *digest;
		int r = get_digest(json_array_get(o, i), &digest, err);
		if (r < 0)
			return r;
		strv_take(&list, digest);
	}
	*ret = steal_ptr(&list);
	return 0;
}

json_t *ship_digests_json(char *const *digests)
{
	json_t *list = json_array();
	for (; digests && *digests; digests++)
		(void) json_array_append_new(list, json_string(*digests));
	return list;
}

int ship_position_parse(const void *p, size_t n, uint64_t *ret, Err *err)
{
	uint64_t be;
	if (n != sizeof(be))
		return wrong(err, "a segment's end is no position");
	memcpy(&be, p, sizeof(be));
	*ret = be64toh(be);
	return *ret <= LIMIT_LAYER_BYTES ? 0 : wrong(err, "a segment's end is beyond any layer");
}

void ship_position_write(uint64_t pos, uint8_t ret[SHIP_POSITION])
{
	pos = htobe64(pos);
	memcpy(ret, &pos, sizeof(pos));
}
