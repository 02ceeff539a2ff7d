// SPDX-License-Identifier: Apache-2.0
#include "image/blob-memory.h"

#include "base/digest.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/image.h"

#define FILE_MAX (64U << 10)
#define BLOBS_MAX 16

static char *file_name(const char *diff_id)
{
	char name[33];
	layer_dir_name(diff_id, name);
	return xasprintf("%s.blobs", name);
}

static bool is_blob(const json_t *o)
{
	return digest_valid(json_string_value(json_object_get(o, "digest"))) && json_is_integer(json_object_get(o, "size")) &&
		json_is_string(json_object_get(o, "type")) && json_is_string(json_object_get(o, "source"));
}

json_t *blob_memory_read(Store *s, const char *diff_id)
{
	AUTO_FREE char *file = file_name(diff_id);
	AUTO_BUF text = BUF_INIT;
	json_t *list = json_array();
	if (file_read(s->layers, file, FILE_MAX, &text) < 0)
		return list;
	json_t *o = json_loadb(buf_cstr(&text), text.len, 0, NULL);
	const json_t *blobs = json_object_get(o, "blobs");
	/* The name has the first half of the diff_id only. */
	if (str_eq(json_string_value(json_object_get(o, "diff_id")), diff_id))
		for (size_t i = 0; i < json_array_size(blobs) && i < BLOBS_MAX; i++)
			if (is_blob(json_array_get(blobs, i)))
				(void) json_array_append(list, json_array_get(blobs, i));
	json_decref(o);
	return list;
}

void blob_memory_add(Store *s, const char *diff_id, const char *digest, int64_t size, const char *type, const char *source)
{
	AUTO_FREE char *file = file_name(diff_id);
	json_t *old = blob_memory_read(s, diff_id), *list = json_array();
	json_t *blob = json_pack("{s:s, s:I, s:s, s:s}", "digest", digest, "size", (json_int_t) size, "type", type, "source", source);
	if (blob && json_array_size(old) && json_equal(json_array_get(old, 0), blob)) {
		json_decref(blob);
		json_decref(list);
		json_decref(old);
		return;
	}
	if (blob)
		(void) json_array_append_new(list, blob);
	for (size_t i = 0; i < json_array_size(old) && json_array_size(list) < BLOBS_MAX; i++)
		if (!json_equal(json_array_get(old, i), blob))
			(void) json_array_append(list, json_array_get(old, i));
	json_t *o = json_pack("{s:s, s:o}", "diff_id", diff_id, "blobs", list);
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	json_decref(old);
	if (text)
		(void) file_write_atomic(s->layers, file, text, strlen(text), 0600, false);
}

static char *manifest_name(const char *id)
{
	return xasprintf("%s.manifest", id + strlen(DIGEST_PREFIX));
}

int blob_memory_manifest(Store *s, const char *id, Buf *ret)
{
	AUTO_FREE char *name = manifest_name(id);
	return file_read(s->blobs, name, LIMIT_MANIFEST_BYTES, ret);
}

void blob_memory_keep_manifest(Store *s, const char *id, const Buf *text)
{
	AUTO_FREE char *name = manifest_name(id);
	(void) file_write_atomic(s->blobs, name, text->data, text->len, 0600, false);
}
