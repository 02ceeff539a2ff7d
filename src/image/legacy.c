// SPDX-License-Identifier: Apache-2.0
#include "image/legacy.h"

#include <errno.h>
#include <jansson.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/reference.h"

static int load_json(const ArchiveIndex *a, const char *name, json_t **ret, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	json_error_t e;
	int r = archive_index_get(a, name, &b, err);
	if (r < 0)
		return r;
	*ret = json_loadb(buf_cstr(&b), b.len, JSON_REJECT_DUPLICATES, &e);
	if (!json_is_object(*ret)) {
		json_decref(*ret);
		return err_set(err, -EINVAL, "'%s' is not a JSON map", name);
	}
	return 0;
}

static bool id_valid(const char *s)
{
	return s && strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

/* Names of the layers from the bottom up, and the topmost one's json. */
static int walk_parents(const ArchiveIndex *a, const char *top, char ***ret_ids, json_t **ret_json, Err *err)
{
	AUTO_STRV char **up = NULL;
	AUTO_FREE char *id = xstrdup(top);
	json_t *first = NULL;
	int r = 0;
	while (r == 0 && id) {
		json_t *o = NULL;
		AUTO_FREE char *name = xasprintf("%s/json", id);
		if (!id_valid(id))
			r = err_set(err, -EINVAL, "'%.80s' is not a layer's id", id);
		else if (strv_len(up) >= LIMIT_IMAGE_LAYERS)
			r = err_set(err, -EINVAL, "more than %d layers, or a loop of parents", LIMIT_IMAGE_LAYERS);
		else
			r = load_json(a, name, &o, err);
		if (r < 0)
			break;
		strv_add(&up, id);
		str_set(&id, json_string_value(json_object_get(o, "parent")));
		if (str_empty(id))
			free_and_null(&id);
		if (first)
			json_decref(o);
		else
			first = o;
	}
	if (r < 0) {
		json_decref(first);
		return r;
	}
	for (size_t n = strv_len(up); n > 0; n--)
		strv_add(ret_ids, up[n - 1]);
	*ret_json = first;
	return 0;
}

typedef struct LegacySource {
	const ArchiveIndex *a;
	const ArchiveMember *m;
} LegacySource;

static int open_layer(void *user, Stream **ret, Err *err)
{
	const LegacySource *l = user;
	*ret = stream_file(l->a->fd, l->m->offset, l->m->size);
	return 0;
}

static int digests_of(const ArchiveIndex *a, char *const *members, json_t *ret, Err *err)
{
	for (; *members; members++) {
		char digest[sizeof(DIGEST_PREFIX) + 64];
		LegacySource l = { a, archive_index_find(a, *members) };
		AUTO_STREAM packed = NULL;
		AUTO_STREAM plain = NULL;
		if (!l.m)
			return err_set(err, -ENOENT, "'%s' is not in the archive", *members);
		int r = open_layer(&l, &packed, err);
		if (r < 0 || (r = stream_unpack(steal_ptr(&packed), LIMIT_LAYER_BYTES, &plain, NULL, err)) < 0)
			return r;
		AUTO_STREAM hash = stream_hash(plain);
		if ((r = stream_hash_finish(hash, digest, NULL, err)) < 0)
			return err_wrap(err, "'%s'", *members);
		(void) json_array_append_new(ret, json_string(digest));
	}
	return 0;
}

static void copy_key(json_t *to, const json_t *from, const char *key)
{
	json_t *v = json_object_get(from, key);
	if (v)
		(void) json_object_set(to, key, v);
}

static int load_one(Store *s, const ArchiveIndex *a, const char *top, const char *tag, ImageList *out, Err *err)
{
	static const char *const keys[] = { "architecture", "os", "created", "config", "author", "docker_version" };
	AUTO_STRV char **ids = NULL;
	AUTO_STRV char **members = NULL;
	AUTO_BUF config = BUF_INIT;
	Image *image = NULL;
	json_t *v1 = NULL;
	int r = walk_parents(a, top, &ids, &v1, err);
	if (r < 0)
		return r;
	for (char **id = ids; id && *id; id++)
		strv_take(&members, xasprintf("%s/layer.tar", *id));
	json_t *diff_ids = json_array();
	json_t *root = json_pack("{s:{s:s, s:o}}", "rootfs", "type", "layers", "diff_ids", diff_ids);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		copy_key(root, v1, keys[i]);
	json_decref(v1);
	r = digests_of(a, members, diff_ids, err);
	AUTO_FREE char *text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(root);
	if (r < 0)
		return r;
	buf_str(&config, text);
	r = archive_stage_image(s, a, &config, members, NULL, strv_len(members), &image, err);
	if (r < 0)
		return r;
	strv_add(&image->tags, tag);
	archive_add_image(out, image);
	return 0;
}

static int load_repository(Store *s, const ArchiveIndex *a, const char *name, const json_t *tags, ImageList *ret, Err *err)
{
	const char *tag;
	const json_t *id;
	json_object_foreach((json_t *) tags, tag, id)
	{
		AUTO_FREE char *written = xasprintf("%s:%s", name, tag);
		AUTO_FREE char *normal = NULL;
		int r = reference_normalise(written, &normal, err);
		if (r < 0)
			return err_wrap(err, "repositories");
		if (ret->n >= LIMIT_ARCHIVE_IMAGES)
			return err_set(err, -EFBIG, "repositories: more than %d images", LIMIT_ARCHIVE_IMAGES);
		r = load_one(s, a, json_is_string(id) ? json_string_value(id) : "", normal, ret, err);
		if (r < 0)
			return err_wrap(err, "image %s", normal);
	}
	return 0;
}

int legacy_load(Store *s, const ArchiveIndex *a, ImageList *ret, Err *err)
{
	json_t *root;
	const char *name;
	const json_t *tags;
	int r = load_json(a, "repositories", &root, err);
	if (r < 0)
		return r;
	json_object_foreach(root, name, tags)
		if ((r = load_repository(s, a, name, tags, ret, err)) < 0)
			break;
	if (r == 0 && ret->n == 0)
		r = err_set(err, -EINVAL, "repositories: names no image");
	json_decref(root);
	return r;
}
