// SPDX-License-Identifier: Apache-2.0
/*
 * Caches that were exported elsewhere. They are asked after this machine's own: the records of all of them are read when the first
 * step is not known here. A step that they know is done; its layers come when something looks into them, or the result needs
 * them, so that those of a stage that is only copied from stay where they are.
 *
 * A layer that then turns out to be missing or wrong was never there: the stages that stand on it begin anew, with all that they
 * have done since in the cache. Steps of other stages that had copied from it stay as they are: they hold what the step made once.
 */
#include "build/cache-layout.h"

#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/parts.h"

#define RECORDS_BYTES (32 << 20) /* of all configurations: further ones are passed over */
#define LAYERS_MAX 100000        /* that are known of */

void imports_done(Imports *i)
{
	json_decref(i->records);
	json_decref(i->layers);
	json_decref(i->lists);
	json_decref(i->notes);
	json_decref(i->bad);
	free(i->lost);
	*i = (Imports) { 0 };
}

static void warn(const char *format, const char *text)
{
	AUTO_FREE char *whole = xasprintf("%s%s", format, text);
	json_t *o = json_string(whole);
	build_event(json_pack("{s:o}", "warning", o ? o : json_string("the build cache that was to be read is damaged")));
}

/* ── what they have ───────────────────────────────────────────────── */

void cache_identity(const Build *b, char ret[DIGEST_HEX_MAX])
{
	CacheKey k = { BUF_INIT };
	const char *tag = b->o.tags ? b->o.tags[0] : "", *slash = strrchr(tag, '/');
	AUTO_FREE char *repository = xstrndup(tag, slash ? (size_t) (slash - tag) + strcspn(slash, ":@") : strcspn(tag, ":@"));
	key_add(&k, repository);
	key_add(&k, b->o.dockerfile_name);
	key_add(&k, b->o.target);
	key_add(&k, b->o.platform);
	key_finish(&k, ret);
}

/* A layer that is named but not there (mode=min leaves some behind) will do as long as nothing looks into it. */
static void expect_layers(Imports *im, const json_t *record)
{
	const json_t *ids = json_object_get(record, "layers");
	for (size_t i = 0; i < json_array_size(ids); i++)
		if (json_object_size(im->layers) < LAYERS_MAX && !json_object_get(im->layers, json_string_value(json_array_get(ids, i))))
			(void) json_object_set_new(im->layers, json_string_value(json_array_get(ids, i)), json_null());
}

static void take_records(Imports *im, json_t *config)
{
	const char *key;
	json_t *record;
	json_object_foreach(json_object_get(config, "records"), key, record)
	{
		json_t *clean = cache_hex_valid(key) && !json_object_get(im->records, key) ? cache_record_clean(record) : NULL;
		if (!clean)
			continue;
		expect_layers(im, clean);
		(void) json_object_set_new(im->records, key, clean);
	}
}

static void take_blobs(Imports *im, size_t dir, const json_t *manifest)
{
	const json_t *layers = json_object_get(manifest, "layers");
	for (size_t i = 0; i < json_array_size(layers); i++) {
		const json_t *descriptor = json_array_get(layers, i);
		const char *diff_id = cache_annotation(descriptor, CACHE_DIFF_ID), *list = cache_annotation(descriptor, CACHE_LIST);
		AUTO_FREE char *name = cache_blob_name(descriptor);
		json_t *to = name && diff_id && digest_valid(diff_id) ? im->layers : name && cache_hex_valid(list) ? im->lists : NULL;
		if (to)
			(void) json_object_set_new(to, diff_id ? diff_id : list, json_pack("{s:i, s:s}", "dir", (int) dir, "blob", name));
	}
}

/* 1: it holds a cache. */
static int take_manifest(Build *b, size_t dir, const CacheManifest *m, const char *own, Err *err)
{
	Imports *im = &b->imports;
	const json_t *descriptor = json_object_get(m->manifest, "config");
	int64_t size = cache_blob_size(descriptor);
	if (!m->manifest)
		return 0;
	if (size < 0 || size > CACHE_CONFIG_MAX || im->bytes + size > RECORDS_BYTES)
		return err_set(err, -EFBIG, "%s: more records of steps than are read", b->o.cache_from[dir].name);
	im->bytes += size;
	json_t *config = cache_blob_json(&b->context, &b->o.cache_from[dir], descriptor, (size_t) size, err);
	if (!config)
		return -EIO;
	take_records(im, config);
	take_blobs(im, dir, m->manifest);
	if (str_eq(cache_annotation(m->descriptor, CACHE_NAME), own))
		(void) json_object_update(im->notes, json_object_get(config, "notes"));
	json_decref(config);
	return 1;
}

static void load_dir(Build *b, size_t dir)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_CACHE_LAYOUT l = { 0 };
	char own[DIGEST_HEX_MAX];
	bool any = false;
	cache_identity(b, own);
	int r = cache_layout_read(&b->context, &b->o.cache_from[dir], &l, &err);
	for (size_t i = 0; i < l.n; i++) {
		int taken = take_manifest(b, dir, &l.items[i], own, &err);
		any = any || taken == 1;
		r = taken < 0 ? taken : r;
	}
	if (r < 0)
		warn("--cache-from ", err_text(&err));
	else if (!any)
		warn("--cache-from: no build cache is in ", b->o.cache_from[dir].name);
}

static Imports *imports(Build *b)
{
	Imports *im = &b->imports;
	if (im->records || !b->o.n_cache_from)
		return im;
	*im = (Imports) { .records = json_object(), .layers = json_object(), .lists = json_object(), .notes = json_object(), .bad = json_object() };
	for (size_t i = 0; i < b->o.n_cache_from; i++)
		load_dir(b, i);
	return im;
}

json_t *import_record(Build *b, const char *key)
{
	return json_incref(json_object_get(imports(b)->records, key));
}

const json_t *import_note(Build *b, const char *place)
{
	return json_object_get(imports(b)->notes, place);
}

/* ── contents ─────────────────────────────────────────────────────── */

typedef struct Source {
	Build *b;
	const json_t *at;
} Source;

static Stream *blob_stream(Build *b, const json_t *at)
{
	size_t dir = (size_t) json_integer_value(json_object_get(at, "dir"));
	return cache_dir_stream(&b->context, &b->o.cache_from[dir], json_string_value(json_object_get(at, "blob")));
}

static int open_blob(void *user, Stream **ret, Err *err)
{
	const Source *s = user;
	(void) err;
	*ret = blob_stream(s->b, s->at);
	return 0;
}

static int fetch_list(Build *b, const char *hex, Entries *ret, Err *err)
{
	const json_t *at = json_object_get(b->imports.lists, hex);
	AUTO_ENTRIES l = { 0 };
	AUTO_STREAM plain = NULL;
	AUTO_FREE char *chunk = xmalloc(65536);
	char now[DIGEST_HEX_MAX];
	ssize_t n;
	if (!at)
		return -ENOENT;
	int r = stream_unpack(blob_stream(b, at), LIMIT_CONTEXT_MANIFEST, &plain, NULL, err);
	while (r == 0 && (n = stream_read(plain, chunk, 65536, err)) != 0)
		r = n < 0 ? (int) n : entries_feed(&l, chunk, (size_t) n, err);
	if (r == 0)
		r = entries_end(&l, err);
	if (r < 0)
		return r;
	entries_digest(&l, now);
	if (!str_eq(now, hex))
		return err_set(err, -EIO, "the list of files %s is damaged", hex);
	(void) cache_put_list(&b->cache, hex, &l, NULL);
	*ret = l;
	l = (Entries) { 0 };
	return 0;
}

int build_list(Build *b, const char *hex, Entries *ret)
{
	int r = cache_get_list(&b->cache, hex, ret);
	return r < 0 && b->imports.lists ? fetch_list(b, hex, ret, NULL) : r;
}

bool import_has_layer(Build *b, const char *diff_id)
{
	return json_object_get(imports(b)->layers, diff_id);
}

/* What a record said of a size was only said. */
static void correct_size(Build *b, const char *diff_id, int64_t size)
{
	for (size_t i = 0; i < b->n_stages; i++)
		for (size_t k = 0; k < b->stages[i].layers.n; k++)
			if (str_eq(b->stages[i].layers.diff_ids[k], diff_id))
				b->stages[i].layers.sizes[k] = size;
}

static int fetch_layer(Build *b, const char *diff_id, Err *err)
{
	Source s = { b, json_object_get(b->imports.layers, diff_id) };
	char now[sizeof(DIGEST_PREFIX) + 64];
	LayerInfo info = { 0 };
	const StageOptions o = { .diff_id = diff_id, .whole = true };
	bool here = build_has_layer(b, diff_id, NULL), promised = json_is_object(s.at);
	int r = here ? 0 : promised ? store_stage_layer(&b->store, open_blob, &s, &o, now, &info, err) : err_set(err, -ENOENT, "it was not exported");
	if (r == 0 && !here)
		correct_size(b, diff_id, info.size);
	if (r < 0 && promised) {
		AUTO_FREE char *text = xasprintf("--cache-from: layer %.19s: %s; what it holds is made anew", diff_id, err_text(err));
		warn("", text);
		(void) json_object_set_new(b->imports.bad, diff_id, json_true());
	}
	if (r < 0)
		str_set(&b->imports.lost, diff_id);
	(void) json_object_del(b->imports.layers, diff_id);
	return r < 0 ? r : 0;
}

int import_layers(Build *b, const LayerStack *l, Err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && b->imports.layers && i < l->n; i++)
		if (import_has_layer(b, l->diff_ids[i]))
			r = fetch_layer(b, l->diff_ids[i], err);
	return r;
}

/* ── one that was not there after all ─────────────────────────────── */

bool import_retry(Build *b, Err *err)
{
	AUTO_FREE char *lost = steal_ptr(&b->imports.lost);
	bool any = false;
	for (size_t i = 0; lost && i < b->n_stages; i++) {
		BuildStage *s = &b->stages[i];
		bool stands_on = false;
		for (size_t k = 0; k < s->layers.n; k++)
			stands_on = stands_on || str_eq(s->layers.diff_ids[k], lost);
		/* One whose RUN goes on has all its layers. */
		if (!stands_on || s->run)
			continue;
		if (s->began)
			build_event(json_pack("{s:I, s:s, s:f, s:I}", "step", s->step, "state", "done", "seconds", 0.0, "bytes", (json_int_t) 0));
		why_forget(b, s);
		build_stage_done(s);
		*s = (BuildStage) { .def = s->def, .index = s->index, .plan = s->plan };
		any = true;
	}
	if (any && err) {
		err_done(err);
		*err = (Err) ERR_INIT;
	}
	return any;
}
