// SPDX-License-Identifier: Apache-2.0
#include "build/cache-layout.h"

#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

void cache_layout_done(CacheLayout *l)
{
	for (size_t i = 0; i < l->n; i++) {
		json_decref(l->items[i].descriptor);
		json_decref(l->items[i].manifest);
	}
	free(l->items);
	*l = (CacheLayout) { 0 };
}

static const char *text_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

bool cache_hex_valid(const char *s)
{
	return s && strlen(s) == DIGEST_HEX_MAX - 1 && strspn(s, "0123456789abcdef") == DIGEST_HEX_MAX - 1;
}

char *cache_blob_name(const json_t *descriptor)
{
	const char *digest = text_of(descriptor, "digest");
	return digest && digest_valid(digest) ? xasprintf(CACHE_BLOBS "%s", digest + strlen(DIGEST_PREFIX)) : NULL;
}

json_int_t cache_blob_size(const json_t *descriptor)
{
	const json_t *size = json_object_get(descriptor, "size");
	return json_is_integer(size) && json_integer_value(size) >= 0 ? json_integer_value(size) : -1;
}

const char *cache_annotation(const json_t *descriptor, const char *key)
{
	return text_of(json_object_get(descriptor, "annotations"), key);
}

json_t *cache_blob_json(Context *c, const CacheDir *d, const json_t *descriptor, size_t max, Err *err)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_FREE char *name = cache_blob_name(descriptor);
	char hex[DIGEST_HEX_MAX];
	json_error_t e;
	if (!name) {
		(void) err_set(err, -EINVAL, "%s: index.json names something without a digest", d->name);
		return NULL;
	}
	int r = cache_dir_read(c, d, name, max, &text, err);
	if (r == 0)
		(void) err_set(err, -ENOENT, "%s: %s is missing", d->name, name);
	if (r <= 0)
		return NULL;
	digest_sha256(buf_cstr(&text), text.len, hex);
	if (!str_eq(hex, name + strlen(CACHE_BLOBS))) {
		(void) err_set(err, -EIO, "%s: %s is damaged: its digest is %s", d->name, name, hex);
		return NULL;
	}
	json_t *o = json_loadb(buf_cstr(&text), text.len, JSON_REJECT_DUPLICATES, &e);
	if (!o)
		(void) err_set(err, -EINVAL, "%s: %s: %s", d->name, name, e.text);
	return o;
}

static bool is_ours(const json_t *manifest)
{
	const json_t *layers = json_object_get(manifest, "layers");
	return str_eq(text_of(json_object_get(manifest, "config"), "mediaType"), CACHE_CONFIG_TYPE) && json_is_array(layers) &&
		json_array_size(layers) <= CACHE_LAYERS_MAX;
}

int cache_layout_read(Context *c, const CacheDir *d, CacheLayout *ret, Err *err)
{
	AUTO_BUF text = BUF_INIT;
	json_error_t e;
	int r = cache_dir_read(c, d, "index.json", LIMIT_MANIFEST_BYTES, &text, err);
	if (r <= 0)
		return r;
	json_t *index = json_loadb(buf_cstr(&text), text.len, JSON_REJECT_DUPLICATES, &e);
	const json_t *list = json_object_get(index, "manifests");
	if (!index)
		r = err_set(err, -EINVAL, "%s/index.json: %s", d->name, e.text);
	else if (!json_is_array(list) || json_array_size(list) > CACHE_MANIFESTS_MAX)
		r = err_set(err, -EINVAL, "%s/index.json has no list of at most %d manifests", d->name, CACHE_MANIFESTS_MAX);
	int64_t room = CACHE_MANIFESTS_BYTES;
	for (size_t i = 0; r == 1 && i < json_array_size(list); i++) {
		CacheManifest *m = array_append(ret->items, ret->n);
		m->descriptor = json_incref(json_array_get(list, i));
		int64_t size = cache_blob_size(m->descriptor);
		if (size < 0 || size > room || size > LIMIT_MANIFEST_BYTES)
			continue;
		room -= size;
		m->manifest = cache_blob_json(c, d, m->descriptor, (size_t) size, NULL);
		if (m->manifest && !is_ours(m->manifest)) {
			json_decref(m->manifest);
			m->manifest = NULL;
		}
	}
	json_decref(index);
	return r;
}

/* Records. */

static json_t *clean_layers(const json_t *record, json_t *out)
{
	const json_t *ids = json_object_get(record, "layers"), *sizes = json_object_get(record, "sizes");
	json_t *layers = json_array(), *bytes = json_array();
	bool good = json_is_array(ids) && json_array_size(ids) <= LIMIT_IMAGE_LAYERS && json_array_size(sizes) == json_array_size(ids);
	for (size_t i = 0; good && i < json_array_size(ids); i++) {
		const char *id = json_string_value(json_array_get(ids, i));
		const json_t *size = json_array_get(sizes, i);
		good = id && digest_valid(id) && json_is_integer(size) && json_integer_value(size) >= 0;
		(void) json_array_append(layers, json_array_get(ids, i));
		(void) json_array_append(bytes, json_array_get(sizes, i));
	}
	(void) json_object_set_new(out, "layers", layers);
	(void) json_object_set_new(out, "sizes", bytes);
	if (good)
		return out;
	json_decref(out);
	return NULL;
}

json_t *cache_record_clean(const json_t *record)
{
	const char *same = text_of(record, "same"), *created = text_of(record, "created"), *list = text_of(record, "list");
	const json_t *seconds = json_object_get(record, "seconds");
	int64_t when;
	if (list && !cache_hex_valid(list))
		return NULL;
	if (same)
		return cache_hex_valid(same) ? json_pack("{s:s, s:s*}", "same", same, "list", list) : NULL;
	if (!created || time_parse_rfc3339(created, &when) < 0)
		return NULL;
	json_t *out = json_pack("{s:s, s:s*, s:f, s:s*}", "created", created, "list", list, "seconds", json_number_value(seconds), "what",
		text_of(record, "what"));
	return out ? clean_layers(record, out) : NULL;
}
