// SPDX-License-Identifier: Apache-2.0
/*
 * An image is kept as its configuration blob, from which the struct is made again at loading: the
 * blob is what the id is the digest of, so nothing can drift apart. What is not in it (unpacked sizes
 * of layers, tags) has its own rows.
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/sql.h"

static int put_layers(Store *s, const Image *i, Err *err)
{
	Sql q = sql_begin(s, "DELETE FROM image_layers WHERE image = ?");
	sql_text(&q, i->id);
	int r = sql_run(&q, err, "store the layers of image", i->id);
	for (size_t k = 0; k < i->n_layers && r >= 0; k++) {
		q = sql_begin(s, "INSERT INTO image_layers (image, pos, diff_id, size) VALUES (?, ?, ?, ?)");
		sql_text(&q, i->id);
		sql_int(&q, (int64_t) k);
		sql_text(&q, i->layers[k].diff_id);
		sql_int(&q, i->layers[k].size);
		r = sql_run(&q, err, "store the layers of image", i->id);
	}
	return r < 0 ? r : 0;
}

static int put_image(Store *s, const Image *i, Err *err)
{
	Sql q = sql_begin(s, "INSERT INTO images (id, config, created, size) VALUES (?, ?, ?, ?) ON CONFLICT (id)"
			     " DO UPDATE SET config = excluded.config, created = excluded.created, size = excluded.size");
	sql_text(&q, i->id);
	sql_text(&q, i->config_json);
	sql_int(&q, i->created);
	sql_int(&q, i->size);
	int r = sql_run(&q, err, "store image", i->id);
	if (r >= 0)
		r = put_layers(s, i, err);
	for (size_t k = 0; k < strv_len(i->tags) && r >= 0; k++)
		r = store_tag_put(s, i->tags[k], i->id, err);
	for (size_t k = 0; k < strv_len(i->digests) && r >= 0; k++)
		r = store_tag_put(s, i->digests[k], i->id, err);
	return r < 0 ? r : 0;
}

int store_image_put(Store *s, const Image *i, Err *err)
{
	/* Several rows: a transaction of their own, unless the caller has one. */
	bool own = sqlite3_get_autocommit(s->db);
	int r = own ? store_begin(s, err) : 0;
	if (r < 0)
		return r;
	r = put_image(s, i, err);
	if (!own)
		return r;
	if (r == 0)
		return store_commit(s, err);
	store_rollback(s);
	return r;
}

int store_image_delete(Store *s, const char *id, Err *err)
{
	Sql q = sql_begin(s, "DELETE FROM images WHERE id = ?");
	sql_text(&q, id);
	int r = sql_run(&q, err, "delete image", id);
	return r < 0 ? r : 0;
}

int store_tag_put(Store *s, const char *ref, const char *image_id, Err *err)
{
	Sql q = sql_begin(s, "INSERT INTO tags (ref, image) VALUES (?, ?) ON CONFLICT (ref) DO UPDATE SET image = excluded.image");
	sql_text(&q, ref);
	sql_text(&q, image_id);
	int r = sql_run(&q, err, "store tag", ref);
	return r < 0 ? r : 0;
}

int store_tag_delete(Store *s, const char *ref, Err *err)
{
	Sql q = sql_begin(s, "DELETE FROM tags WHERE ref = ?");
	sql_text(&q, ref);
	int r = sql_run(&q, err, "delete tag", ref);
	return r < 0 ? r : 0;
}

/* ---- loading ---- */

static int load_layers(Store *s, Image *i, Err *err)
{
	int r;
	Sql q = sql_begin(s, "SELECT diff_id, size FROM image_layers WHERE image = ? ORDER BY pos");
	sql_text(&q, i->id);
	for (size_t k = 0; (r = sql_row(&q, err, "load layers")) > 0; k++) {
		AUTO_FREE char *diff_id = sql_get_text(&q);
		if (k < i->n_layers && str_eq(i->layers[k].diff_id, diff_id))
			i->layers[k].size = sql_get_int(&q);
	}
	return r;
}

static int load_tags(Store *s, Image *i, Err *err)
{
	int r;
	Sql q = sql_begin(s, "SELECT ref FROM tags WHERE image = ? ORDER BY ref");
	sql_text(&q, i->id);
	while ((r = sql_row(&q, err, "load tags")) > 0) {
		char *ref = sql_get_text(&q);
		strv_take(strchr(ref, '@') ? &i->digests : &i->tags, ref);
	}
	return r;
}

/** The rows of the images table alone. */
static int load_rows(Store *s, Image ***v, size_t *n, Err *err)
{
	int r;
	Sql q = sql_begin(s, "SELECT id, config, created, size FROM images ORDER BY created, rowid");
	while ((r = sql_row(&q, err, "load images")) > 0) {
		Image *i = NULL;
		AUTO_ERR why = ERR_INIT;
		AUTO_FREE char *id = sql_get_text(&q);
		AUTO_FREE char *config = sql_get_text(&q);
		if (image_from_config(config, strlen(config), &i, &why) < 0 || !str_eq(i->id, id)) {
			log_warning("image %s is left out: its configuration in the state database is damaged%s%s", id,
				i ? "" : ": ", i ? "" : err_text(&why));
			image_free(i);
			continue;
		}
		i->created = sql_get_int(&q);
		i->size = sql_get_int(&q);
		*array_append(*v, *n) = i;
	}
	return r;
}

int store_images_load(Store *s, Image ***ret, size_t *ret_n, Err *err)
{
	Image **v = NULL;
	size_t n = 0;
	int r = load_rows(s, &v, &n, err);
	for (size_t k = 0; k < n && r >= 0; k++) {
		r = load_layers(s, v[k], err);
		if (r >= 0)
			r = load_tags(s, v[k], err);
	}
	if (r < 0) {
		store_images_free(v, n);
		return r;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

void store_images_free(Image **v, size_t n)
{
	for (size_t k = 0; k < n; k++)
		image_free(v[k]);
	free(v);
}
