// SPDX-License-Identifier: Apache-2.0
/*
 * What the build's steps were found by, and what they made, as an image layout in a directory of the client (build/cache-layout.h).
 * Blobs come first, each durable before the next; index.json is the last to be replaced, and only then blobs go that nothing
 * names any more. So a kill leaves what was there, or what is new, with blobs too many at the worst.
 *
 * Manifests of other builds stay: several services may share a directory. One that is not ours keeps all blobs, since only who
 * wrote it knows which are its own.
 */
#include "build/cache-layout.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "build/parts.h"

#define KEEP_MAX 10000 /* names of blobs, which have to fit a frame; with more of them nothing is removed */

typedef struct Export {
	Build *b;
	const CacheDir *d;
	CacheLayout old;
	char own[DIGEST_HEX_MAX];
	json_t *there;     /* diff_id or list's digest → descriptor of a blob that is in the directory */
	json_t *records;
	json_t *descriptors; /* of layers and lists, in the new manifest */
	json_t *config;      /* the descriptor of its configuration */
	json_t *done;      /* diff_ids and lists that have one */
} Export;

static void export_done(Export *x)
{
	cache_layout_done(&x->old);
	json_decref(x->there);
	json_decref(x->records);
	json_decref(x->descriptors);
	json_decref(x->config);
	json_decref(x->done);
}

/* ── what to export ───────────────────────────────────────────────── */

void export_note(Build *b, const char *key, json_t *record)
{
	if (!b->o.n_cache_to)
		return;
	if (!b->used)
		b->used = json_object();
	(void) json_object_set(b->used, key, record);
}

/* ── what is there ────────────────────────────────────────────────── */

static const char *descriptor_of(const json_t *descriptor)
{
	const char *diff_id = cache_annotation(descriptor, CACHE_DIFF_ID), *list = cache_annotation(descriptor, CACHE_LIST);
	return diff_id ? diff_id : list;
}

/* Blobs of earlier exports that are still there, whole as it seems. Those that were found wrong are written anew. */
static int find_blobs(Export *x, Err *err)
{
	json_t *names = json_array(), *sizes = NULL, *found = json_array();
	for (size_t i = 0; i < x->old.n; i++) {
		const json_t *layers = json_object_get(x->old.items[i].manifest, "layers");
		for (size_t k = 0; k < json_array_size(layers); k++) {
			json_t *descriptor = json_array_get(layers, k);
			const char *what = descriptor_of(descriptor);
			AUTO_FREE char *name = cache_blob_name(descriptor);
			if (!what || !name || json_object_get(x->b->imports.bad, what))
				continue;
			(void) json_array_append_new(names, json_string(name));
			(void) json_array_append(found, descriptor);
		}
	}
	int r = json_array_size(names) ? cache_dir_sizes(&x->b->context, x->d, names, &sizes, err) : 0;
	if (!json_array_size(found))
		json_decref(names);
	for (size_t i = 0; r == 0 && i < json_array_size(found); i++) {
		json_t *descriptor = json_array_get(found, i);
		const json_t *size = json_array_get(sizes, i);
		if (json_is_integer(size) && json_integer_value(size) == cache_blob_size(descriptor))
			(void) json_object_set(x->there, descriptor_of(descriptor), descriptor);
	}
	json_decref(sizes);
	json_decref(found);
	return r;
}

static int read_old(Export *x, Err *err)
{
	int r = cache_dir_lock(&x->b->context, x->d, err);
	if (r < 0)
		return r;
	/* One that cannot be read is replaced. */
	(void) cache_layout_read(&x->b->context, x->d, &x->old, NULL);
	return find_blobs(x, err);
}

/* ── blobs ────────────────────────────────────────────────────────── */

static void add_descriptor(Export *x, const char *what, json_t *descriptor)
{
	(void) json_array_append(x->descriptors, descriptor);
	(void) json_object_set(x->done, what, json_true());
}

static json_t *descriptor_new(const char *type, const CacheBlob *blob)
{
	AUTO_FREE char *digest = xasprintf(DIGEST_PREFIX "%s", blob->hex);
	return json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", digest, "size", (json_int_t) blob->size);
}

static int put_packed(Export *x, Stream *in, const char *diff_id, const char *list, Err *err)
{
	const CachePut put = { .pack = true, .diff_id = diff_id };
	CacheBlob blob;
	int r = cache_dir_put(&x->b->context, x->d, in, &put, &blob, err);
	if (r < 0)
		return r;
	json_t *descriptor = descriptor_new(diff_id ? CACHE_LAYER_TYPE : CACHE_LIST_TYPE, &blob);
	(void) json_object_set_new(descriptor, "annotations", json_pack("{s:s}", diff_id ? CACHE_DIFF_ID : CACHE_LIST, diff_id ? diff_id : list));
	add_descriptor(x, diff_id ? diff_id : list, descriptor);
	json_decref(descriptor);
	return 0;
}

static bool is_done(Export *x, const char *what)
{
	json_t *there = json_object_get(x->there, what);
	if (json_object_get(x->done, what))
		return true;
	if (there)
		add_descriptor(x, what, there);
	return there != NULL;
}

/* 1: it is not here, and cannot be had. */
static int put_layer(Export *x, const char *diff_id, Err *err)
{
	Build *b = x->b;
	AUTO_STREAM tar = NULL;
	AUTO(layer_stack_done) LayerStack one = { 0 };
	if (is_done(x, diff_id))
		return 0;
	layer_stack_push(&one, diff_id, 0);
	/* What comes from one directory and goes to another. */
	if (import_has_layer(b, diff_id) && (import_layers(b, &one, NULL) < 0 || store_commit(&b->store, NULL) < 0))
		return 1;
	if (!build_has_layer(b, diff_id, NULL) || store_layer_tar(&b->store, diff_id, &tar, NULL) < 0)
		return 1;
	return put_packed(x, tar, diff_id, NULL, err);
}

static int put_list(Export *x, const char *hex, Err *err)
{
	AUTO_ENTRIES l = { 0 };
	AUTO_BUF text = BUF_INIT;
	if (is_done(x, hex) || build_list(x->b, hex, &l) < 0)
		return 0;
	entries_write(&l, &text);
	entries_done(&l);
	AUTO_STREAM in = stream_memory(buf_cstr(&text), text.len);
	return put_packed(x, in, NULL, hex, err);
}

static bool in_result(const Build *b, const char *diff_id)
{
	const LayerStack *l = &b->stages[b->target].layers;
	for (size_t i = 0; i < l->n; i++)
		if (str_eq(l->diff_ids[i], diff_id))
			return true;
	return false;
}

static int put_record(Export *x, const char *key, json_t *record, Err *err)
{
	const json_t *ids = json_object_get(record, "layers");
	const char *list = json_string_value(json_object_get(record, "list"));
	int r = 0;
	for (size_t i = 0; r == 0 && i < json_array_size(ids); i++) {
		const char *id = json_string_value(json_array_get(ids, i));
		/* Steps whose layers stay behind are known all the same, as long as nothing looks into them. */
		if (!x->d->final_only || in_result(x->b, id))
			r = put_layer(x, id, err);
	}
	if (r == 0 && list)
		r = put_list(x, list, err);
	if (r == 0)
		(void) json_object_set(x->records, key, record);
	return r < 0 ? r : 0;
}

/* ── the manifest and the index ───────────────────────────────────── */

static int put_json(Export *x, json_t *value, const char *name, const char *type, json_t **ret, Err *err)
{
	const CachePut put = { .name = name };
	CacheBlob blob;
	AUTO_FREE char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);
	if (!text)
		abort();
	AUTO_STREAM in = stream_memory(text, strlen(text));
	int r = cache_dir_put(&x->b->context, x->d, in, &put, &blob, err);
	if (r == 0 && ret)
		*ret = descriptor_new(type, &blob);
	return r;
}

static int put_manifest(Export *x, json_t **ret, Err *err)
{
	json_t *config = json_pack("{s:O, s:O*}", "records", x->records, "notes", x->b->notes);
	int r = put_json(x, config, NULL, CACHE_CONFIG_TYPE, &x->config, err);
	json_decref(config);
	if (r < 0)
		return r;
	json_t *manifest = json_pack("{s:i, s:s, s:s, s:O, s:O}", "schemaVersion", 2, "mediaType", CACHE_MANIFEST_TYPE, "artifactType", CACHE_CONFIG_TYPE, "config",
		x->config, "layers", x->descriptors);
	r = put_json(x, manifest, NULL, CACHE_MANIFEST_TYPE, ret, err);
	json_decref(manifest);
	if (r < 0)
		return r;
	(void) json_object_set_new(*ret, "artifactType", json_string(CACHE_CONFIG_TYPE));
	return json_object_set_new(*ret, "annotations", json_pack("{s:s}", CACHE_NAME, x->own));
}

static void keep_blob(json_t *names, const json_t *descriptor)
{
	AUTO_FREE char *name = cache_blob_name(descriptor);
	if (name)
		(void) json_array_append_new(names, json_string(name));
}

static void keep_manifest(json_t *names, const json_t *descriptor, const json_t *manifest)
{
	const json_t *layers = json_object_get(manifest, "layers");
	keep_blob(names, descriptor);
	keep_blob(names, json_object_get(manifest, "config"));
	for (size_t i = 0; i < json_array_size(layers); i++)
		keep_blob(names, json_array_get(layers, i));
}

static bool is_ours(const json_t *descriptor)
{
	return str_eq(json_string_value(json_object_get(descriptor, "artifactType")), CACHE_CONFIG_TYPE);
}

/* The new manifest first, then those of other builds: the oldest fall off at the end. ret_names: blobs to keep; NULL: all. */
static json_t *make_index(Export *x, json_t *descriptor, json_t **ret_names)
{
	json_t *list = json_array(), *names = json_array();
	bool foreign = false;
	(void) json_array_append(list, descriptor);
	keep_blob(names, descriptor);
	for (size_t i = 0; i < x->old.n && json_array_size(list) < CACHE_MANIFESTS_MAX; i++) {
		const CacheManifest *m = &x->old.items[i];
		/* One of ours without its manifest is damaged, and of no use to anybody. */
		if (is_ours(m->descriptor) && (!m->manifest || str_eq(cache_annotation(m->descriptor, CACHE_NAME), x->own)))
			continue;
		(void) json_array_append(list, m->descriptor);
		keep_manifest(names, m->descriptor, m->manifest);
		foreign = foreign || !m->manifest;
	}
	if (foreign || json_array_size(names) > KEEP_MAX) {
		json_decref(names);
		names = NULL;
	}
	*ret_names = names;
	return json_pack("{s:i, s:s, s:o}", "schemaVersion", 2, "mediaType", CACHE_INDEX_TYPE, "manifests", list);
}

static int write_all(Export *x, Err *err)
{
	const char *key;
	json_t *record, *descriptor = NULL, *names = NULL;
	int r = read_old(x, err);
	if (r < 0)
		return r;
	json_object_foreach(x->b->used, key, record)
		if ((r = put_record(x, key, record, err)) < 0)
			return r;
	if ((r = put_manifest(x, &descriptor, err)) < 0)
		return r;
	json_t *index = make_index(x, descriptor, &names), *layout = json_pack("{s:s}", "imageLayoutVersion", "1.0.0");
	for (size_t i = 0; i < json_array_size(x->descriptors); i++)
		keep_blob(names, json_array_get(x->descriptors, i));
	keep_blob(names, x->config);
	r = put_json(x, layout, "oci-layout", NULL, NULL, err);
	if (r == 0)
		r = put_json(x, index, "index.json", NULL, NULL, err);
	if (r == 0)
		r = cache_dir_keep(&x->b->context, x->d, steal_ptr(&names), err);
	json_decref(names);
	json_decref(layout);
	json_decref(index);
	json_decref(descriptor);
	return r;
}

int export_caches(Build *b, Err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < b->o.n_cache_to; i++) {
		const CacheDir *d = &b->o.cache_to[i];
		AUTO_ERR why = ERR_INIT;
		AUTO(export_done) Export x = { .b = b, .d = d, .there = json_object(), .records = json_object(), .descriptors = json_array(), .done = json_object() };
		cache_identity(b, x.own);
		if (write_all(&x, &why) == 0)
			continue;
		AUTO_FREE char *text = xasprintf("--cache-to: %s", err_text(&why));
		if (d->ignore_error)
			build_event(json_pack("{s:s}", "warning", text));
		else
			r = err_set(err, why.code, "%s", text);
	}
	return r;
}
