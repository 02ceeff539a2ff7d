// SPDX-License-Identifier: Apache-2.0
/*
 * Images: list, inspect, history, tag, removal, prune; load and save are jobs (image-api.c).
 */
#include <errno.h>
#include <fnmatch.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/api-docker.h"
#include "daemon/image.h"
#include "daemon/json.h"
#include "image/reference.h"

/* ── list ─────────────────────────────────────────────────────────── */

/** "redis", "redis:*", "*:7" against one tag, as docker's reference filter. */
static bool tag_fits(const json_t *patterns, const char *tag)
{
	AUTO_FREE char *shown = reference_show(tag);
	const char *colon = strrchr(shown, ':');
	AUTO_FREE char *name = colon && !strchr(colon, '/') ? xstrndup(shown, (size_t) (colon - shown)) : xstrdup(shown);
	for (size_t i = 0; i < json_array_size(patterns); i++) {
		const char *p = json_string_value(json_array_get(patterns, i));
		if (fnmatch(p, shown, FNM_PATHNAME) == 0 || fnmatch(p, name, FNM_PATHNAME) == 0)
			return true;
	}
	return false;
}

/** Takes the tags out that the reference filter does not want; false when none is left. */
static bool keep_tags(const Filter *f, const Image *img, json_t *summary)
{
	const json_t *patterns = filter_values(f, "reference");
	if (!patterns)
		return true;
	json_t *kept = json_array();
	for (char *const *t = img->tags; t && *t; t++)
		if (tag_fits(patterns, *t)) {
			AUTO_FREE char *shown = reference_show(*t);
			json_array_append_new(kept, json_safe(shown));
		}
	bool any = json_array_size(kept) > 0;
	json_object_set_new(summary, "RepoTags", kept);
	return any;
}

static int filter_moment(Daemon *d, const Filter *f, const char *key, int64_t *ret, Err *err)
{
	const json_t *list = filter_values(f, key);
	Image *img = NULL;
	*ret = 0;
	if (!list)
		return 0;
	int r = daemon_find_image(d, json_string_value(json_array_get(list, 0)), &img, NULL, err);
	if (r == 0)
		*ret = img->created;
	return r;
}

static int by_creation(const void *a, const void *b)
{
	const Image *x = *(Image *const *) a, *y = *(Image *const *) b;
	return x->created < y->created ? 1 : x->created > y->created ? -1 : strcmp(x->id, y->id);
}

static void list(Daemon *d, HttpRequest *r, char *const *args)
{
	static const char *const known[] = { "before", "dangling", "label", "label!", "reference", "since", NULL };
	AUTO_ERR err = ERR_INIT;
	Filter *f = NULL;
	bool dangling = false;
	int64_t before = 0, since = 0;
	if (!docker_filters(r, known, &f))
		return;
	if (filter_bool(f, "dangling", false, &dangling, &err) < 0 || filter_moment(d, f, "before", &before, &err) < 0 ||
		filter_moment(d, f, "since", &since, &err) < 0) {
		http_error_err(r, &err);
		json_decref(f);
		return;
	}
	json_t *answer = json_array();
	AUTO_FREE Image **sorted = xmemdup(d->images, d->n_images * sizeof(*d->images));
	qsort(sorted, d->n_images, sizeof(*sorted), by_creation);
	for (size_t i = 0; i < d->n_images; i++) {
		const Image *img = sorted[i];
		if (!filter_match_labels(f, img->config.labels) || (before && img->created >= before) || (since && img->created <= since))
			continue;
		if (filter_values(f, "dangling") && dangling != (strv_len(img->tags) == 0))
			continue;
		json_t *o = docker_image_summary(d, img);
		if (keep_tags(f, img, o))
			json_array_append(answer, o);
		json_decref(o);
	}
	json_decref(f);
	http_reply_json(r, 200, answer);
}

/* ── one image ────────────────────────────────────────────────────── */

static Image *find_image(Daemon *d, HttpRequest *r, const char *ref)
{
	AUTO_ERR err = ERR_INIT;
	Image *img = NULL;
	if (daemon_find_image(d, ref, &img, NULL, &err) < 0) {
		http_error_err(r, &err);
		return NULL;
	}
	return img;
}

static void inspect(Daemon *d, HttpRequest *r, char *const *args)
{
	const Image *img = find_image(d, r, args[0]);
	if (img)
		http_reply_json(r, 200, docker_image_inspect(d, img));
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

/** The configuration's history, newest first, with the sizes of the layers that its entries made. */
static void history(Daemon *d, HttpRequest *r, char *const *args)
{
	const Image *img = find_image(d, r, args[0]);
	if (!img)
		return;
	json_t *blob = json_loads(img->config_json, 0, NULL), *entry;
	json_t *answer = json_array();
	size_t i, layer = 0;
	json_array_foreach(json_object_get(blob, "history"), i, entry) {
		int64_t created = 0, size = 0;
		(void) time_parse_rfc3339(text_of(entry, "created"), &created);
		if (!json_is_true(json_object_get(entry, "empty_layer")) && layer < img->n_layers)
			size = img->layers[layer++].size;
		json_array_insert_new(answer, 0, json_pack("{s:s, s:I, s:s, s:n, s:I, s:s}", "Id", "<missing>", "Created",
			(json_int_t) (created / NSEC_PER_SEC), "CreatedBy", text_of(entry, "created_by"), "Tags", "Size",
			(json_int_t) size, "Comment", text_of(entry, "comment")));
	}
	json_decref(blob);
	/* An image without a history still has its layers. */
	for (; layer < img->n_layers; layer++)
		json_array_insert_new(answer, 0, json_pack("{s:s, s:I, s:s, s:n, s:I, s:s}", "Id", "<missing>", "Created",
			(json_int_t) (img->created / NSEC_PER_SEC), "CreatedBy", "", "Tags", "Size", (json_int_t) img->layers[layer].size, "Comment", ""));
	json_t *top = json_array_get(answer, 0);
	if (top) {
		json_t *tags = json_array();
		for (char *const *t = img->tags; t && *t; t++) {
			AUTO_FREE char *shown = reference_show(*t);
			json_array_append_new(tags, json_safe(shown));
		}
		json_object_set_new(top, "Id", json_string(img->id));
		json_object_set_new(top, "Tags", json_array_size(tags) ? json_incref(tags) : json_null());
		json_decref(tags);
	}
	http_reply_json(r, 200, answer);
}

static void tag(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	Image *img = find_image(d, r, args[0]);
	if (!img)
		return;
	const char *repo = http_query(r, "repo"), *name = http_query(r, "tag");
	if (str_empty(repo)) {
		http_error(r, 400, "repo: a name for the tag is needed");
		return;
	}
	AUTO_FREE char *ref = str_empty(name) ? xstrdup(repo) : xasprintf("%s:%s", repo, name);
	if (image_tag(d, img, ref, &err) < 0)
		http_error_err(r, &err);
	else
		http_reply(r, 201, NULL, NULL, 0);
}

/* ── removal: the answer comes when the layers have gone from the disk, too, as docker's does ── */

typedef struct Removal {
	HttpRequest *r; /* NULL once the client has gone */
	json_t *answer;
} Removal;

static void removal_gone(void *user)
{
	((Removal *) user)->r = NULL;
}

static void removal_done(void *user, const char *warning)
{
	Removal *m = user;
	if (m->r) {
		http_set_user(m->r, NULL, NULL);
		if (warning)
			http_add_header(m->r, "X-Stead-Warning", warning);
		http_reply_json(m->r, 200, m->answer);
	} else {
		json_decref(m->answer);
	}
	free(m);
}

/* Takes ownership of `answer`. */
static void sweep_and_answer(Daemon *d, HttpRequest *r, json_t *answer)
{
	Removal *m = xcalloc(1, sizeof(*m));
	*m = (Removal) { r, answer };
	http_set_user(r, m, removal_gone);
	image_sweep(d, removal_done, m);
}

static bool has_deleted(const json_t *changes)
{
	for (size_t i = 0; i < json_array_size(changes); i++)
		if (json_object_get(json_array_get(changes, i), "Deleted"))
			return true;
	return false;
}

static void remove_image(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	json_t *changes = NULL;
	if (image_remove(d, args[0], http_query_bool(r, "force", false), &changes, &err) < 0)
		http_error_err(r, &err);
	else if (has_deleted(changes))
		sweep_and_answer(d, r, changes);
	else
		http_reply_json(r, 200, changes);
}

static void prune(Daemon *d, HttpRequest *r, char *const *args)
{
	static const char *const known[] = { "dangling", NULL };
	AUTO_ERR err = ERR_INIT;
	Filter *f = NULL;
	bool dangling = true;
	json_t *changes = NULL;
	int64_t bytes = 0;
	bool dry = http_query_bool(r, "dry-run", false);
	if (!docker_filters(r, known, &f))
		return;
	int e = filter_bool(f, "dangling", true, &dangling, &err);
	if (e == 0)
		e = image_prune(d, !dangling, dry, &changes, &bytes, &err);
	json_decref(f);
	if (e < 0)
		http_error_err(r, &err);
	else if (dry)
		http_reply_json(r, 200, json_pack("{s:o, s:I}", "ImagesDeleted", changes, "SpaceReclaimed", (json_int_t) bytes));
	else
		sweep_and_answer(d, r, json_pack("{s:o, s:I}", "ImagesDeleted", changes, "SpaceReclaimed", (json_int_t) bytes));
}

/* ── archives ─────────────────────────────────────────────────────── */

static void load(Daemon *d, HttpRequest *r, char *const *args)
{
	image_api_load(d, r);
}

static void save_one(Daemon *d, HttpRequest *r, char *const *args)
{
	char *names[] = { args[0], NULL };
	image_api_save(d, r, names);
}

static void save(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_STRV char **names = http_query_all(r, "names");
	image_api_save(d, r, names);
}

const ApiRoute api_docker_image_routes[] = {
	{ "GET", "/images/json", list, false },
	{ "GET", "/images/get", save, false },
	{ "POST", "/images/load", load, true },
	{ "POST", "/images/prune", prune, false },
	{ "GET", "/images/**/json", inspect, false },
	{ "GET", "/images/**/history", history, false },
	{ "GET", "/images/**/get", save_one, false },
	{ "POST", "/images/**/tag", tag, false },
	{ "DELETE", "/images/**", remove_image, false },
	{ NULL, NULL, NULL, false },
};
