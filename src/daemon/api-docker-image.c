// SPDX-License-Identifier: Apache-2.0
/*
 * Docker Engine API 1.41, section Images.
 */
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/api.h"
#include "daemon/filters.h"
#include "daemon/image.h"
#include "daemon/json.h"
#include "image/reference.h"

json_t *image_tags_json(const Image *img)
{
	json_t *list = json_array();
	for (char **t = img->tags; t && *t; t++) {
		AUTO_FREE char *shown = reference_show(*t);
		json_array_append_new(list, json_string(shown));
	}
	return list;
}

/* A reference filter is a name, a name with tag, or either with * (path.Match as docker has it, without character classes). */
static bool glob(const char *pattern, const char *s)
{
	for (; *pattern; pattern++, s++) {
		if (*pattern == '*') {
			for (const char *p = s;; p++) {
				if (glob(pattern + 1, p))
					return true;
				if (!*p || *p == '/')
					return false;
			}
		}
		if (*pattern != *s || !*s)
			return false;
	}
	return !*s;
}

static bool reference_matches(const Filters *f, const Image *img)
{
	char *const *wishes = filters_get(f, "reference");
	if (!wishes)
		return true;
	for (; *wishes; wishes++)
		for (char **t = img->tags; t && *t; t++) {
			AUTO_FREE char *shown = reference_show(*t);
			const char *slash = strrchr(shown, '/');
			AUTO_FREE char *name = xstrndup(shown, strlen(shown) - strlen(strrchr(slash ? slash : shown, ':') ?: ""));
			if (glob(*wishes, shown) || glob(*wishes, name))
				return true;
		}
	return false;
}

static bool dangling_matches(const Filters *f, const Image *img)
{
	char *const *v = filters_get(f, "dangling");
	if (!v || !*v)
		return true;
	bool wish = str_eq(*v, "true") || str_eq(*v, "1") || str_eq(*v, "True");
	return wish == (strv_len(img->tags) == 0);
}

static void list(Daemon *d, HttpRequest *r, char *const *args)
{
	static const char *const known[] = { "reference", "dangling", "label", "before", "since", NULL };
	AUTO_ERR err = ERR_INIT;
	AUTO_FILTERS f = { 0 };
	if (filters_parse(r, known, &f, &err) < 0) {
		http_error_err(r, &err);
		return;
	}
	json_t *out = json_array();
	for (size_t i = 0; i < d->n_images; i++) {
		const Image *img = d->images[i];
		if (!reference_matches(&f, img) || !dangling_matches(&f, img) || !filters_match_labels(&f, img->config.labels))
			continue;
		json_array_append_new(out, json_pack("{s:s, s:s, s:o, s:[], s:I, s:I, s:I, s:I, s:o, s:I}", "Id", img->id, "ParentId", "", "RepoTags",
			image_tags_json(img), "RepoDigests", "Created", (json_int_t) (img->created / NSEC_PER_SEC), "Size", (json_int_t) img->size,
			"VirtualSize", (json_int_t) img->size, "SharedSize", (json_int_t) -1, "Labels", json_pairs(img->config.labels), "Containers",
			(json_int_t) -1));
	}
	http_reply_json(r, 200, out);
}

static json_t *set_of(char *const *v)
{
	json_t *o = json_object();
	for (; v && *v; v++)
		json_object_set_new(o, *v, json_object());
	return o;
}

static json_t *nullable_strv(char *const *v)
{
	return v ? json_strv(v) : json_null();
}

json_t *healthcheck_json(const Healthcheck *h)
{
	json_t *o = json_pack("{s:o}", "Test", json_strv(h->test));
	const struct {
		const char *key;
		int64_t value;
	} fields[] = { { "Interval", h->interval }, { "Timeout", h->timeout }, { "StartPeriod", h->start_period }, { "Retries", h->retries } };
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (fields[i].value > 0)
			json_object_set_new(o, fields[i].key, json_integer(fields[i].value));
	return o;
}

static json_t *config_json(const ImageConfig *c)
{
	json_t *o = json_pack("{s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:o}", "User", c->user ? c->user : "", "Env", json_strv(c->env), "Cmd",
		nullable_strv(c->cmd), "Entrypoint", nullable_strv(c->entrypoint), "WorkingDir", c->working_dir ? c->working_dir : "",
		"ExposedPorts", set_of(c->exposed_ports), "Volumes", set_of(c->volumes), "Labels", json_pairs(c->labels));
	if (c->stop_signal)
		json_object_set_new(o, "StopSignal", json_string(c->stop_signal));
	if (c->shell)
		json_object_set_new(o, "Shell", json_strv(c->shell));
	if (c->healthcheck.test)
		json_object_set_new(o, "Healthcheck", healthcheck_json(&c->healthcheck));
	return o;
}

static void inspect(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	Image *img = NULL;
	char created[TIME_TEXT_MAX];
	if (daemon_find_image(d, args[0], &img, NULL, &err) < 0) {
		http_error_err(r, &err);
		return;
	}
	json_t *layers = json_array();
	for (size_t i = 0; i < img->n_layers; i++)
		json_array_append_new(layers, json_string(img->layers[i].diff_id));
	json_t *o = json_pack("{s:s, s:o, s:[], s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "Id", img->id, "RepoTags", image_tags_json(img),
		"RepoDigests", "Parent", "", "Comment", "", "Created", time_rfc3339(img->created, created), "Author", "", "Architecture",
		img->architecture, "Os", img->os, "Size", (json_int_t) img->size, "VirtualSize", (json_int_t) img->size);
	json_object_set_new(o, "Config", config_json(&img->config));
	json_object_set_new(o, "ContainerConfig", config_json(&img->config));
	json_object_set_new(o, "GraphDriver", json_pack("{s:s, s:{}}", "Name", "overlay2", "Data"));
	json_object_set_new(o, "RootFS", json_pack("{s:s, s:o}", "Type", "layers", "Layers", layers));
	json_object_set_new(o, "Metadata", json_pack("{s:s}", "LastTagTime", "0001-01-01T00:00:00Z"));
	http_reply_json(r, 200, o);
}

static void history(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	Image *img = NULL;
	if (daemon_find_image(d, args[0], &img, NULL, &err) < 0) {
		http_error_err(r, &err);
		return;
	}
	json_t *config = json_loads(img->config_json, 0, NULL), *item, *out = json_array();
	json_t *entries = json_object_get(config, "history");
	size_t i, layer = 0;
	json_array_foreach(entries, i, item) {
		const char *when = json_string_value(json_object_get(item, "created"));
		const char *by = json_string_value(json_object_get(item, "created_by"));
		const char *comment = json_string_value(json_object_get(item, "comment"));
		bool empty = json_is_true(json_object_get(item, "empty_layer"));
		int64_t created = 0, size = 0;
		if (when)
			(void) time_parse_rfc3339(when, &created);
		if (!empty && layer < img->n_layers)
			size = img->layers[layer++].size;
		bool last = i + 1 == json_array_size(entries);
		/* Newest first. */
		json_array_insert_new(out, 0, json_pack("{s:s, s:I, s:s, s:o, s:I, s:s}", "Id", last ? img->id : "<missing>", "Created",
			(json_int_t) (created / NSEC_PER_SEC), "CreatedBy", by ? by : "", "Tags", last ? image_tags_json(img) : json_null(), "Size",
			(json_int_t) size, "Comment", comment ? comment : ""));
	}
	json_decref(config);
	http_reply_json(r, 200, out);
}

static void tag(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	Image *img = NULL;
	const char *repo = http_query(r, "repo"), *name = http_query(r, "tag");
	if (str_empty(repo)) {
		http_error(r, 400, "repo: a name is needed");
		return;
	}
	AUTO_FREE char *ref = str_empty(name) ? xstrdup(repo) : xasprintf("%s:%s", repo, name);
	if (daemon_find_image(d, args[0], &img, NULL, &err) < 0 || image_tag(d, img, ref, &err) < 0)
		http_error_err(r, &err);
	else
		http_reply(r, 201, NULL, NULL, 0);
}

static void remove_image(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	json_t *out = NULL;
	if (image_remove(d, args[0], http_query_bool(r, "force", false), &out, &err) < 0)
		http_error_err(r, &err);
	else
		http_reply_json(r, 200, out);
}

static void prune(Daemon *d, HttpRequest *r, char *const *args)
{
	static const char *const known[] = { "dangling", "until", "label", NULL };
	AUTO_ERR err = ERR_INIT;
	AUTO_FILTERS f = { 0 };
	json_t *out = NULL;
	int64_t bytes = 0;
	if (filters_parse(r, known, &f, &err) < 0) {
		http_error_err(r, &err);
		return;
	}
	if (filters_get(&f, "until") || filters_get(&f, "label")) {
		http_error(r, 501, "prune: the filters 'until' and 'label' are not supported");
		return;
	}
	char *const *dangling = filters_get(&f, "dangling");
	bool all = dangling && *dangling && (str_eq(*dangling, "false") || str_eq(*dangling, "0"));
	if (image_prune(d, all, &out, &bytes, &err) < 0)
		http_error_err(r, &err);
	else
		http_reply_json(r, 200, json_pack("{s:o, s:I}", "ImagesDeleted", out, "SpaceReclaimed", (json_int_t) bytes));
}

static void save_one(Daemon *d, HttpRequest *r, char *const *args)
{
	image_api_save(d, r, args);
}

static void save_named(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_STRV char **names = http_query_all(r, "names");
	image_api_save(d, r, names);
}

static void load(Daemon *d, HttpRequest *r, char *const *args)
{
	image_api_load(d, r);
}

static void pull(Daemon *d, HttpRequest *r, char *const *args)
{
	http_error(r, 501, "pulling from a registry is not supported yet; load the image (stead load -i FILE) or make it (stead image bootstrap)");
}

const ApiRoute api_docker_image_routes[] = {
	{ "GET", "/images/json", list, false },
	{ "GET", "/images/get", save_named, false },
	{ "POST", "/images/load", load, true },
	{ "POST", "/images/create", pull, false },
	{ "POST", "/images/prune", prune, false },
	{ "GET", "/images/**/json", inspect, false },
	{ "GET", "/images/**/history", history, false },
	{ "GET", "/images/**/get", save_one, false },
	{ "POST", "/images/**/tag", tag, false },
	{ "DELETE", "/images/**", remove_image, false },
	{ NULL, NULL, NULL, false },
};
