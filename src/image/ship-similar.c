// SPDX-License-Identifier: Apache-2.0
#include "image/ship-similar.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

#define IMAGES_MAX 2000 /* that are looked at */

typedef struct Candidate {
	char **layers; /* diff ids */
	int score;
	int64_t time;
} Candidate;

typedef struct Candidates {
	Candidate *items;
	size_t n;
} Candidates;

static void candidates_done(Candidates *c)
{
	for (size_t i = 0; i < c->n; i++)
		strv_free(c->items[i].layers);
	free(c->items);
}

static const json_t *diff_ids(const json_t *config)
{
	return json_object_get(json_object_get(config, "rootfs"), "diff_ids");
}

static bool array_has(const json_t *list, const char *s)
{
	for (size_t i = 0; s && i < json_array_size(list); i++)
		if (str_eq(json_string_value(json_array_get(list, i)), s))
			return true;
	return false;
}

/* A step of the history that is in the other one, too. */
static bool has_step(const json_t *history, const char *step)
{
	for (size_t i = 0; !str_empty(step) && i < json_array_size(history); i++)
		if (str_eq(json_string_value(json_object_get(json_array_get(history, i), "created_by")), step))
			return true;
	return false;
}

static int likeness(const json_t *a, const json_t *b)
{
	static const char *const keys[] = { "Entrypoint", "Cmd", "WorkingDir", "Labels", "ExposedPorts", "User" };
	const json_t *ids = diff_ids(b), *history = json_object_get(b, "history");
	const json_t *config_a = json_object_get(a, "config"), *config_b = json_object_get(b, "config");
	int score = 0;
	for (size_t i = 0; i < json_array_size(diff_ids(a)); i++)
		score += 4 * array_has(ids, json_string_value(json_array_get(diff_ids(a), i)));
	for (size_t i = 0; i < json_array_size(json_object_get(a, "history")); i++)
		score += 2 *
			has_step(history, json_string_value(json_object_get(json_array_get(json_object_get(a, "history"), i), "created_by")));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const json_t *x = json_object_get(config_a, keys[i]), *y = json_object_get(config_b, keys[i]);
		score += x && y && !json_is_null(x) && json_equal(x, y) ? 3 : 0;
	}
	return score;
}

static void add_candidate(Candidates *c, const json_t *config, int score, int64_t when)
{
	Candidate *n = array_append(c->items, c->n);
	n->score = score;
	n->time = when;
	for (size_t i = 0; i < json_array_size(diff_ids(config)) && i < LIMIT_IMAGE_LAYERS; i++) {
		const char *id = json_string_value(json_array_get(diff_ids(config), i));
		if (id && digest_valid(id))
			strv_add(&n->layers, id);
	}
}

static void look_at(Store *s, const char *name, const ImageList *images, json_t *const *configs, Candidates *c)
{
	AUTO_BUF b = BUF_INIT;
	struct stat st;
	int best = 0;
	if (strlen(name) != 64 || fstatat(s->blobs, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || file_read(s->blobs, name, LIMIT_MANIFEST_BYTES, &b) < 0)
		return;
	json_t *config = json_loadb(b.data, b.len, JSON_REJECT_DUPLICATES, NULL);
	for (size_t i = 0; config && i < images->n; i++) {
		int score = likeness(configs[i], config);
		best = score > best ? score : best;
	}
	if (config)
		add_candidate(c, config, best, st.st_mtime);
	json_decref(config);
}

static int by_likeness(const void *a, const void *b)
{
	const Candidate *x = a, *y = b;
	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return (x->time < y->time) - (x->time > y->time);
}

/* What the new images have themselves comes last: it seldom resembles what they add to it. */
static bool is_new(const ImageList *images, const char *diff_id)
{
	for (size_t i = 0; i < images->n; i++)
		for (size_t k = 0; k < images->items[i]->n_layers; k++)
			if (str_eq(images->items[i]->layers[k].diff_id, diff_id))
				return true;
	return false;
}

static void take_layers(Store *s, const Candidates *c, const ImageList *images, size_t max, bool shared, char ***ret, size_t *ret_likely)
{
	for (size_t i = 0; i < c->n; i++) {
		for (char **id = c->items[i].layers; id && *id; id++) {
			LayerInfo info;
			if (strv_len(*ret) < max && is_new(images, *id) == shared && !strv_has(*ret, *id) && store_layer(s, *id, &info, NULL) == 1)
				strv_add(ret, *id);
		}
		if (!shared && !*ret_likely && c->items[i].score)
			*ret_likely = strv_len(*ret);
	}
}

int ship_similar(Store *s, const ImageList *images, size_t max, char ***ret, size_t *ret_likely, Err *err)
{
	AUTO(candidates_done) Candidates c = { 0 };
	AUTO_STRV char **layers = NULL;
	int copy = openat(s->blobs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (!d)
		return err_errno(err, -errno, "%s/blobs/sha256", s->path);
	json_t **configs = xcalloc(images->n, sizeof(*configs));
	for (size_t i = 0; i < images->n; i++)
		configs[i] = json_loads(images->items[i]->config_json, 0, NULL);
	for (struct dirent *e; c.n < IMAGES_MAX && (e = readdir(d));)
		look_at(s, e->d_name, images, configs, &c);
	(void) closedir(d);
	for (size_t i = 0; i < images->n; i++)
		json_decref(configs[i]);
	free(configs);
	if (c.n)
		qsort(c.items, c.n, sizeof(*c.items), by_likeness);
	*ret_likely = 0;
	take_layers(s, &c, images, max, false, &layers, ret_likely);
	take_layers(s, &c, images, max, true, &layers, ret_likely);
	*ret = steal_ptr(&layers);
	return 0;
}
