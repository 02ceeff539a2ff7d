// SPDX-License-Identifier: Apache-2.0
#include "daemon/image.h"

#include <errno.h>
#include <sys/utsname.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/events.h"
#include "daemon/operation.h"
#include "daemon/release.h"
#include "daemon/state.h"
#include "image/job.h"
#include "image/reference.h"
#include "model/nearest.h"

/* ── lookups ──────────────────────────────────────────────────────── */

Image *daemon_image_by_id(Daemon *d, const char *id)
{
	for (size_t i = 0; i < d->n_images; i++)
		if (str_eq(d->images[i]->id, id))
			return d->images[i];
	return NULL;
}

/* "redis@sha256:…", also with a tag before the digest, which the digest overrules. */
static Image *find_by_digest(Daemon *d, const char *ref, char **ret_ref)
{
	AUTO_REFERENCE r = { 0 };
	if (!strchr(ref, '@') || reference_parse(ref, &r, NULL) < 0)
		return NULL;
	AUTO_FREE char *key = xasprintf("%s/%s@%s", r.domain, r.path, r.digest);
	for (size_t i = 0; i < d->n_images; i++)
		if (strv_has(d->images[i]->digests, key)) {
			if (ret_ref)
				*ret_ref = steal_ptr(&key);
			return d->images[i];
		}
	return NULL;
}

static int find_by_prefix(Daemon *d, const char *ref, Image **ret)
{
	const char *hex = str_starts(ref, "sha256:") ? ref + 7 : ref;
	Image *found = NULL;
	if (strlen(hex) < 4 || strspn(hex, "0123456789abcdef") != strlen(hex))
		return -ENOENT;
	for (size_t i = 0; i < d->n_images; i++) {
		if (!str_starts(d->images[i]->id + 7, hex))
			continue;
		if (found)
			return -EINVAL;
		found = d->images[i];
	}
	*ret = found;
	return found ? 0 : -ENOENT;
}

int daemon_find_image(Daemon *d, const char *ref, Image **ret, char **ret_ref, Err *err)
{
	AUTO_FREE char *normal = NULL;
	if (reference_normalise(ref, &normal, NULL) == 0)
		for (size_t i = 0; i < d->n_images; i++)
			if (strv_has(d->images[i]->tags, normal)) {
				*ret = d->images[i];
				if (ret_ref)
					*ret_ref = steal_ptr(&normal);
				return 0;
			}
	*ret = find_by_digest(d, ref, ret_ref);
	if (*ret)
		return 0;
	int r = find_by_prefix(d, ref, ret);
	if (r == -EINVAL)
		return err_set(err, r, "the id prefix '%s' fits more than one image", ref);
	return r < 0 ? err_set(err, r, "No such image: %s", ref) : 0;
}

#define NEAREST_MAX 3

/* Everything before the tag. */
static size_t repository_length(const char *ref)
{
	const char *slash = strrchr(ref, '/'), *colon = strrchr(ref, ':');
	return colon && (!slash || colon > slash) ? (size_t) (colon - ref) : strlen(ref);
}

static bool meant(const char *ref, const char *tag)
{
	size_t n = repository_length(ref);
	AUTO_FREE char *repository = xstrndup(tag, repository_length(tag));
	if (strlen(repository) == n && strncmp(repository, ref, n) == 0)
		return true;
	unsigned allowed = edit_distance_allowed(ref);
	return edit_distance(ref, ref[n] ? tag : repository, allowed) <= allowed;
}

char *image_nearest(const Daemon *d, const char *ref)
{
	AUTO_BUF out = BUF_INIT;
	size_t n = 0;
	for (size_t i = 0; i < d->n_images; i++)
		for (char *const *t = d->images[i]->tags; t && *t && n < NEAREST_MAX; t++) {
			AUTO_FREE char *shown = reference_show(*t);
			if (!meant(ref, shown))
				continue;
			buf_printf(&out, "%s'%s'", n ? " or " : "", shown);
			n++;
		}
	return n ? buf_steal(&out) : NULL;
}

char **image_layer_names(const Image *img)
{
	char **names = NULL;
	char name[33];
	for (size_t i = 0; i < img->n_layers; i++) {
		bool again = false;
		for (size_t k = i + 1; k < img->n_layers; k++)
			again = again || str_eq(img->layers[i].diff_id, img->layers[k].diff_id);
		layer_dir_name(img->layers[i].diff_id, name);
		if (!again)
			strv_add(&names, name);
	}
	return names;
}

size_t image_users(const Daemon *d, const Image *img)
{
	size_t n = 0;
	for (size_t i = 0; i < d->n_containers; i++)
		n += str_eq(d->containers[i]->image_id, img->id);
	return n;
}

int image_platform_check(const Image *img, const char *platform, Err *err)
{
	if (!platform)
		return 0;
	struct utsname u;
	(void) uname(&u);
	const char *arch = strchr(platform, '/') ? strchr(platform, '/') + 1 : machine_architecture(u.machine);
	size_t n = strcspn(arch, "/");
	if (strlen(img->architecture) == n && strncmp(img->architecture, arch, n) == 0)
		return 0;
	return err_set(err, -EINVAL, "platform '%s' is asked for, but the image is %s/%s; load or make the image for that platform "
		"(stead image bootstrap --arch)", platform, img->os, img->architecture);
}

/* ── coming and going ─────────────────────────────────────────────── */

static void take_from(char ***list, const char *ref)
{
	char **kept = NULL;
	if (!strv_has(*list, ref))
		return;
	for (char **t = *list; *t; t++)
		if (!str_eq(*t, ref))
			strv_add(&kept, *t);
	strv_free(*list);
	*list = kept;
}

/* Also a digest. */
static void take_tag(Daemon *d, const char *tag)
{
	for (size_t i = 0; i < d->n_images; i++) {
		take_from(&d->images[i]->tags, tag);
		take_from(&d->images[i]->digests, tag);
	}
}

int image_tag(Daemon *d, Image *img, const char *reference, Err *err)
{
	AUTO_FREE char *tag = NULL;
	int r = reference_normalise(reference, &tag, err);
	if (r == 0 && strchr(tag, '@'))
		return err_set(err, -EINVAL, "'%s': a digest cannot be a tag", reference);
	/* What is so already needs no write, for which a build in which nothing has changed would wait. */
	if (r == 0 && !strv_has(img->tags, tag) && (r = state_set_tag(d, tag, img->id, err)) == 0) {
		take_tag(d, tag);
		strv_add(&img->tags, tag);
	}
	if (r < 0)
		return r;
	AUTO_FREE char *name = reference_show(tag);
	events_image(d, img->id, name, "tag");
	return 0;
}

int image_know_digest(Daemon *d, Image *img, const char *digest, Err *err)
{
	int r = state_set_tag(d, digest, img->id, err);
	if (r < 0)
		return r;
	take_tag(d, digest);
	strv_add(&img->digests, digest);
	return 0;
}

int image_add(Daemon *d, Image *img, Err *err)
{
	Image *known = daemon_image_by_id(d, img->id);
	AUTO_STRV char **tags = img->tags;
	img->tags = NULL;
	int r = state_begin(d, err);
	if (r < 0) {
		image_free(img);
		return r;
	}
	if (known) {
		image_free(img);
	} else {
		r = state_insert_image(d, img, err);
		if (r < 0) {
			state_rollback(d);
			image_free(img);
			return r;
		}
		*array_append(d->images, d->n_images) = img;
		known = img;
		events_image(d, img->id, NULL, "load");
	}
	for (char **t = tags; r == 0 && t && *t; t++)
		r = strchr(*t, '@') ? image_know_digest(d, known, *t, err) : image_tag(d, known, *t, err);
	int e = state_commit(d, r < 0 ? NULL : err);
	return r < 0 ? r : e;
}

static void drop(Daemon *d, Image *img)
{
	for (size_t i = 0; i < d->n_images; i++)
		if (d->images[i] == img)
			d->images[i--] = d->images[--d->n_images];
	image_free(img);
}

static int untag(Daemon *d, Image *img, const char *tag, json_t *list, Err *err)
{
	AUTO_FREE char *shown = reference_show(tag);
	AUTO_FREE char *copy = xstrdup(tag);
	int r = state_delete_tag(d, copy, err);
	if (r < 0)
		return r;
	take_tag(d, copy);
	json_array_append_new(list, json_pack("{s:s}", "Untagged", shown));
	events_image(d, img->id, shown, "untag");
	return 0;
}

static int delete_image(Daemon *d, Image *img, json_t *list, Err *err)
{
	int r = state_delete_image(d, img->id, err);
	if (r < 0)
		return r;
	json_array_append_new(list, json_pack("{s:s}", "Deleted", img->id));
	events_image(d, img->id, NULL, "delete");
	drop(d, img);
	return 0;
}

int image_remove(Daemon *d, const char *ref, bool force, json_t **ret, Err *err)
{
	Image *img = NULL;
	AUTO_FREE char *tag = NULL;
	int r = daemon_find_image(d, ref, &img, &tag, err);
	if (r < 0)
		return r;
	size_t users = image_users(d, img);
	bool digest = tag && strchr(tag, '@');
	bool last = !tag || strv_len(img->tags) == (digest ? 0 : 1);
	if (last && users)
		return err_set(err, -EBUSY, "image '%s' is used by %zu container(s); remove them first (stead down)", ref, users);
	AUTO_FREE char *stack = NULL;
	int number;
	if (last && release_needs_image(d, img->id, &stack, &number))
		return err_set(err, -EBUSY, "image '%s' is needed by release %d of stack '%s', to roll back to; it goes when newer releases have taken "
			"that one's place (x-stead.deploy.keep), or with the stack (stead down)", ref, number, stack);
	if (!tag && strv_len(img->tags) > 1 && !force)
		return err_set(err, -EBUSY, "image '%s' has more than one tag; name the tags, or force it", ref);
	json_t *list = json_array();
	if (tag) {
		r = untag(d, img, tag, list, err);
	} else {
		while (r == 0 && img->tags && img->tags[0])
			r = untag(d, img, img->tags[0], list, err);
	}
	if (r == 0 && last)
		r = delete_image(d, img, list, err);
	if (r < 0) {
		json_decref(list);
		return r;
	}
	*ret = list;
	return 0;
}

static bool layer_shared(const Daemon *d, const Image *img, const char *diff_id)
{
	for (size_t i = 0; i < d->n_images; i++)
		for (size_t k = 0; d->images[i] != img && k < d->images[i]->n_layers; k++)
			if (str_eq(d->images[i]->layers[k].diff_id, diff_id))
				return true;
	return false;
}

/* A service of a stack that has no container at the moment, or a scale of 0. */
static bool stack_needs(Daemon *d, const Image *img)
{
	for (size_t i = 0; i < d->n_stacks; i++) {
		const Stack *model = d->stacks[i]->model;
		for (size_t k = 0; model && k < model->n_services; k++) {
			Image *used = NULL;
			if (model->services[k].image && daemon_find_image(d, model->services[k].image, &used, NULL, NULL) == 0 && used == img)
				return true;
		}
	}
	return false;
}

static bool can_prune(Daemon *d, const Image *img, bool all)
{
	return !image_users(d, img) && (all || !strv_len(img->tags)) && !release_needs_image(d, img->id, NULL, NULL) && !stack_needs(d, img);
}

static bool has_layer(const Image *img, const char *diff_id)
{
	for (size_t i = 0; i < img->n_layers; i++)
		if (str_eq(img->layers[i].diff_id, diff_id))
			return true;
	return false;
}

typedef struct Prunable {
	const Image *img;
	int64_t size;
} Prunable;

static int by_size(const void *a, const void *b)
{
	const Prunable *x = a, *y = b;
	return x->size < y->size ? 1 : x->size > y->size ? -1 : strcmp(x->img->id, y->img->id);
}

/* A layer counts once, in the first image that has it. */
static int64_t own_size(const Daemon *d, const Prunable *v, const bool *goes, size_t before, const Image *img)
{
	int64_t size = 0;
	for (size_t i = 0; i < img->n_layers; i++) {
		bool counts = true;
		for (size_t k = 0; k < d->n_images; k++)
			counts = counts && (goes[k] || !has_layer(d->images[k], img->layers[i].diff_id));
		for (size_t k = 0; v && k < before; k++)
			counts = counts && !has_layer(v[k].img, img->layers[i].diff_id);
		size += counts ? img->layers[i].size : 0;
	}
	return size;
}

static json_t *list_prunable(Daemon *d, bool all, int64_t *ret_bytes)
{
	AUTO_FREE Prunable *v = xcalloc(d->n_images + 1, sizeof(*v));
	AUTO_FREE bool *goes = xcalloc(d->n_images + 1, sizeof(*goes));
	json_t *list = json_array();
	size_t n = 0;
	for (size_t i = 0; i < d->n_images; i++)
		goes[i] = can_prune(d, d->images[i], all);
	for (size_t i = 0; i < d->n_images; i++)
		if (goes[i])
			v[n++] = (Prunable) { d->images[i], own_size(d, NULL, goes, 0, d->images[i]) };
	qsort(v, n, sizeof(*v), by_size);
	for (size_t i = 0; i < n; i++) {
		json_t *tags = json_array();
		for (char *const *t = v[i].img->tags; t && *t; t++) {
			AUTO_FREE char *shown = reference_show(*t);
			(void) json_array_append_new(tags, json_string(shown));
		}
		(void) json_array_append_new(list, json_pack("{s:s, s:o, s:I}", "Deleted", v[i].img->id, "RepoTags", tags, "Size", (json_int_t) v[i].size));
		*ret_bytes += own_size(d, v, goes, i, v[i].img);
	}
	return list;
}

int image_prune(Daemon *d, bool all, bool dry_run, json_t **ret, int64_t *ret_bytes, Err *err)
{
	*ret_bytes = 0;
	if (dry_run) {
		*ret = list_prunable(d, all, ret_bytes);
		return 0;
	}
	json_t *list = json_array();
	int r = state_begin(d, err);
	if (r < 0) {
		json_decref(list);
		return r;
	}
	for (size_t i = d->n_images; r == 0 && i-- > 0;) {
		Image *img = d->images[i];
		if (!can_prune(d, img, all))
			continue;
		for (size_t k = 0; k < img->n_layers; k++)
			if (!layer_shared(d, img, img->layers[k].diff_id))
				*ret_bytes += img->layers[k].size;
		while (r == 0 && img->tags && img->tags[0])
			r = untag(d, img, img->tags[0], list, err);
		if (r == 0)
			r = delete_image(d, img, list, err);
	}
	int e = state_commit(d, r < 0 ? NULL : err);
	if (r == 0)
		r = e;
	if (r < 0) {
		json_decref(list);
		return r;
	}
	*ret = list;
	return 0;
}

void state_remove_stack_images(StackState *s, const char *which)
{
	bool any = false;
	for (size_t i = 0; s->model && i < s->model->n_services; i++) {
		AUTO_ERR err = ERR_INIT;
		json_t *list = NULL;
		const char *name = s->model->services[i].image;
		/* "local" are images without a name of their own, which only a build makes. */
		if (!str_eq(which, "all") || daemon_find_image(s->d, name, &(Image *) { NULL }, NULL, NULL) < 0)
			continue;
		if (image_remove(s->d, name, false, &list, &err) < 0)
			operation_warn(s, "%s", err_text(&err));
		else
			operation_report(s, "image", name, NULL, "removed");
		any = any || list;
		json_decref(list);
	}
	if (any)
		image_sweep(s->d, NULL, NULL);
}

void image_refs(void *user, char ***layers, char ***images)
{
	Daemon *d = user;
	char name[33];
	for (size_t i = 0; i < d->n_images; i++) {
		strv_add(images, d->images[i]->id);
		for (size_t k = 0; k < d->images[i]->n_layers; k++) {
			layer_dir_name(d->images[i]->layers[k].diff_id, name);
			strv_add(layers, name);
		}
	}
}

typedef struct Sweep {
	void (*done)(void *user, const char *warning); /* or NULL */
	void *user;
} Sweep;

static void sweep_end(Sweep *s, const Err *err)
{
	AUTO_FREE char *warning = err ? xasprintf("layers that no image needs any more are still on the disk: %s; `stead image prune` "
						  "tries again", err_text(err)) : NULL;
	if (warning)
		log_warning("%s", warning);
	if (s->done)
		s->done(s->user, warning);
	free(s);
}

static void swept(void *user, JobResult *result, const Err *err)
{
	sweep_end(user, err);
}

/* The daemon ends; the next one sweeps when it starts. */
static void sweep_lost(void *user)
{
	sweep_end(user, NULL);
}

void image_sweep(Daemon *d, void (*done)(void *user, const char *warning), void *user)
{
	AUTO_ERR err = ERR_INIT;
	Sweep *s = xcalloc(1, sizeof(*s));
	JobCallbacks cb = { .done = swept, .lost = sweep_lost, .user = s };
	bool delayed = jobs_delay_sweep(d->jobs);
	if (!delayed)
		*s = (Sweep) { done, user };
	if (job_sweep(d->jobs, &cb, NULL, &err) < 0)
		sweep_end(s, &err);
	if (delayed && done)
		done(user, NULL);
}
