// SPDX-License-Identifier: Apache-2.0
/*
 * Releases live in the store alone: they are asked for when somebody deploys, rolls back, lists or removes an image, which is
 * seldom, and models are large. The copies of files are written before the row that refers to them is, and swept after the rows
 * that referred to them have gone, so a row never points at what is not there.
 */
#include "daemon/release.h"

#include <errno.h>
#include <fcntl.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/image.h"
#include "daemon/json.h"
#include "daemon/release-diff.h"
#include "store/store.h"

#define NEAREST_NONE "stack '%s' has no release to roll back to"

void release_done(Release *r)
{
	free(r->kind);
	free(r->result);
	free(r->who);
	free(r->commit);
	free(r->author);
	stack_free(r->model);
	strv_free(r->images);
	strv_free(r->new_networks);
	strv_free(r->new_volumes);
	*r = (Release) { 0 };
}

/* ── files ────────────────────────────────────────────────────────── */

static char *files_dir(const Daemon *d)
{
	return xasprintf("%s/files/sha256", d->o.state_dir);
}

char *release_file_path(const Daemon *d, const FileSource *f)
{
	return f->digest ? xasprintf("%s/files/sha256/%s", d->o.state_dir, f->digest) : xstrdup(f->file);
}

static int write_copy(Daemon *d, const char *hex, const Buf *b, Err *err)
{
	AUTO_FREE char *dir = files_dir(d);
	int r = dir_make(dir, 0700);
	if (r < 0)
		return err_errno(err, r, "%s", dir);
	AUTO_CLOSE int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "%s", dir);
	if (faccessat(fd, hex, F_OK, 0) == 0)
		return 0;
	r = file_write_atomic(fd, hex, b->data ? b->data : "", b->len, 0600, true);
	return r < 0 ? err_errno(err, r, "%s/%s", dir, hex) : 0;
}

static bool file_used(const Stack *model, char *const *services, const char *key, bool secret)
{
	for (char *const *name = services; name && *name; name++) {
		const Service *svc = stack_service(model, *name);
		const FileRef *refs = svc ? (secret ? svc->secrets : svc->configs) : NULL;
		for (size_t i = 0; refs && i < (secret ? svc->n_secrets : svc->n_configs); i++)
			if (str_eq(refs[i].source, key))
				return true;
	}
	return false;
}

static int freeze(Daemon *d, const Stack *model, FileSource *f, char *const *services, bool secret, bool dry, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	char hex[DIGEST_HEX_MAX];
	free_and_null(&f->digest);
	if (!f->file)
		return 0;
	int r = file_read(AT_FDCWD, f->file, LIMIT_CONFIG_FILE_BYTES, &b);
	if (r < 0 && !file_used(model, services, f->key, secret))
		return 0;
	if (r < 0)
		return err_errno(err, r, "%s '%s': %s", secret ? "secret" : "config", f->key, f->file);
	digest_sha256(b.data ? b.data : "", b.len, hex);
	r = dry ? 0 : write_copy(d, hex, &b, err);
	if (r == 0)
		f->digest = xstrdup(hex);
	return r;
}

int release_freeze(Daemon *d, Stack *model, char *const *services, bool dry, Err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < model->n_configs; i++)
		r = freeze(d, model, &model->configs[i], services, false, dry, err);
	for (size_t i = 0; r == 0 && i < model->n_secrets; i++)
		r = freeze(d, model, &model->secrets[i], services, true, dry, err);
	return r;
}

static char **digests_of(const Stack *model)
{
	char **v = NULL;
	for (size_t i = 0; i < model->n_configs + model->n_secrets; i++) {
		const FileSource *f = i < model->n_configs ? &model->configs[i] : &model->secrets[i - model->n_configs];
		if (f->digest && !strv_has(v, f->digest))
			strv_add(&v, f->digest);
	}
	return v;
}

void release_sweep_files(Daemon *d)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *dir = files_dir(d);
	StoreRelease *rows = NULL;
	size_t n = 0;
	uv_fs_t req;
	uv_dirent_t e;
	if (access(dir, F_OK) < 0)
		return;
	if (store_releases_load(d->store, NULL, &rows, &n, &err) < 0) {
		log_warning("%s", err_text(&err));
		return;
	}
	if (uv_fs_scandir(NULL, &req, dir, 0, NULL) >= 0) {
		while (uv_fs_scandir_next(&req, &e) != UV_EOF) {
			bool needed = false;
			for (size_t i = 0; !needed && i < n; i++)
				needed = strv_has(rows[i].files, e.name);
			AUTO_FREE char *path = xasprintf("%s/%s", dir, e.name);
			if (!needed && unlink(path) < 0)
				log_warning("%s: %s", path, strerror(errno));
		}
		uv_fs_req_cleanup(&req);
	}
	store_releases_free(rows, n);
}

/* ── images ───────────────────────────────────────────────────────── */

static const char *running_image(const StackState *s, const char *service)
{
	for (size_t i = 0; i < s->d->n_containers; i++) {
		const Container *c = s->d->containers[i];
		if (str_eq(c->stack, s->name) && str_eq(c->svc.name, service) && c->role == ROLE_CURRENT)
			return c->image_id;
	}
	return NULL;
}

int release_images(StackState *s, const Stack *model, char *const *services, char ***ret, Err *err)
{
	AUTO_STRV char **images = NULL;
	for (size_t i = 0; i < model->n_services; i++) {
		const Service *svc = &model->services[i];
		bool chosen = strv_has(services, svc->name);
		const char *id = chosen ? NULL : running_image(s, svc->name);
		Image *img = NULL;
		if (!id) {
			int r = daemon_find_image(s->d, svc->image, &img, NULL, chosen ? err : NULL);
			if (r < 0 && chosen)
				return r;
			id = r == 0 ? img->id : NULL;
		}
		if (id)
			strv_setenv(&images, svc->name, id);
	}
	*ret = steal_ptr(&images);
	return 0;
}

bool release_needs_image(Daemon *d, const char *image_id, char **ret_stack, int *ret_number)
{
	StoreRelease *rows = NULL;
	size_t n = 0;
	bool needed = false;
	if (store_releases_load(d->store, NULL, &rows, &n, NULL) < 0)
		return true; /* not known: it stays */
	for (size_t i = n; !needed && i-- > 0;) {
		/* What failed is not gone back to. */
		if (!rows[i].current && !str_eq(rows[i].result, "success") && !str_eq(rows[i].result, "rolled back") &&
			!str_eq(rows[i].result, "running"))
			continue;
		json_t *images = json_loads(rows[i].images, 0, NULL), *v;
		const char *service;
		json_object_foreach(images, service, v)
			needed = needed || str_eq(json_string_value(v), image_id);
		json_decref(images);
		if (needed && ret_stack) {
			*ret_stack = xstrdup(rows[i].stack);
			*ret_number = rows[i].number;
		}
	}
	store_releases_free(rows, n);
	return needed;
}

/* ── rows ─────────────────────────────────────────────────────────── */

static char *dump(json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(o);
	return text;
}

static int parse(StoreRelease *row, Release *ret, Err *err)
{
	Release r = { .number = row->number, .base = row->base, .source = row->source, .current = row->current,
		.created = row->created };
	AUTO_ERR inner = ERR_INIT;
	json_t *o = json_loads(row->model, 0, NULL), *images = json_loads(row->images, 0, NULL), *made = json_loads(row->made, 0, NULL);
	int e = stack_from_json(o, &r.model, NULL, &inner);
	if (e < 0)
		(void) err_set(err, e, "release %d of stack '%s' cannot be read: %s", row->number, row->stack, err_text(&inner));
	r.images = json_to_pairs(images);
	r.new_networks = json_to_strv(json_object_get(made, "networks"));
	r.new_volumes = json_to_strv(json_object_get(made, "volumes"));
	r.kind = steal_ptr(&row->kind);
	r.result = steal_ptr(&row->result);
	r.who = steal_ptr(&row->who);
	r.commit = steal_ptr(&row->commit);
	r.author = steal_ptr(&row->author);
	json_decref(o);
	json_decref(images);
	json_decref(made);
	if (e < 0)
		release_done(&r);
	else
		*ret = r;
	return e;
}

/** With model and images. 1: no such release. */
static int release_load(Daemon *d, const char *stack, int number, Release *ret, Err *err)
{
	StoreRelease row = { 0 };
	int r = store_release_load(d->store, stack, number, &row, err);
	if (r == 0)
		r = parse(&row, ret, err);
	store_release_done(&row);
	return r;
}

static int load_where(Daemon *d, const char *stack, bool (*fits)(const StoreRelease *), Release *ret, Err *err)
{
	StoreRelease *rows;
	size_t n;
	int number = 0;
	int r = store_releases_load(d->store, stack, &rows, &n, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		if (fits(&rows[i]))
			number = rows[i].number;
	store_releases_free(rows, n);
	return number ? release_load(d, stack, number, ret, err) : 1;
}

static bool is_current(const StoreRelease *r)
{
	return r->current;
}

static bool is_unfinished(const StoreRelease *r)
{
	return str_eq(r->result, "running");
}

int release_current(Daemon *d, const char *stack, Release *ret, Err *err)
{
	return load_where(d, stack, is_current, ret, err);
}

int release_unfinished(Daemon *d, const char *stack, Release *ret, Err *err)
{
	return load_where(d, stack, is_unfinished, ret, err);
}

char **release_unfinished_stacks(Daemon *d)
{
	AUTO_ERR err = ERR_INIT;
	StoreRelease *rows;
	size_t n;
	char **names = NULL;
	if (store_releases_load(d->store, NULL, &rows, &n, &err) < 0) {
		log_error("%s", err_text(&err));
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		if (is_unfinished(&rows[i]) && !strv_has(names, rows[i].stack))
			strv_add(&names, rows[i].stack);
	store_releases_free(rows, n);
	return names;
}

int release_next(Daemon *d, const char *stack, int *ret, Err *err)
{
	StoreRelease *rows;
	size_t n;
	int r = store_releases_load(d->store, stack, &rows, &n, err);
	if (r < 0)
		return r;
	*ret = n ? rows[n - 1].number + 1 : 1;
	store_releases_free(rows, n);
	return 0;
}

int release_insert(Daemon *d, const char *stack, const Release *r, bool current, Err *err)
{
	Release before = { 0 };
	int e = release_current(d, stack, &before, err);
	if (e < 0)
		return e;
	AUTO_STRV char **files = digests_of(r->model);
	AUTO_FREE char *model = dump(stack_to_json(r->model));
	AUTO_FREE char *images = dump(json_pairs(r->images));
	AUTO_FREE char *changes = dump(release_diff(e == 0 ? before.model : NULL, before.images, r->model, r->images));
	AUTO_FREE char *made = dump(json_pack("{s:o, s:o}", "networks", json_strv(r->new_networks), "volumes", json_strv(r->new_volumes)));
	release_done(&before);
	StoreRelease row = {
		.stack = (char *) stack,
		.number = r->number,
		.kind = r->kind,
		.result = (char *) "running",
		.base = r->base,
		.source = r->source,
		.created = r->created,
		.who = r->who,
		.commit = r->commit,
		.author = r->author,
		.changes = changes,
		.images = images,
		.files = files,
		.model = model,
		.made = made,
	};
	e = store_release_insert(d->store, &row, err);
	return e == 0 && current ? store_release_set_current(d->store, stack, r->number, err) : e;
}

int release_end(Daemon *d, const char *stack, int number, const char *result, json_t *report, Err *err)
{
	AUTO_FREE char *text = report ? dump(report) : NULL;
	return store_release_end(d->store, stack, number, result, time_real(), text, err);
}

int release_commit(Daemon *d, const char *stack, const Release *r, json_t *report, Err *err)
{
	int e = release_end(d, stack, r->number, "success", report, err);
	if (e == 0)
		e = store_release_set_current(d->store, stack, r->number, err);
	if (e == 0 && str_eq(r->kind, "rollback") && r->base)
		e = store_release_result(d->store, stack, r->base, "rolled back", err);
	return e;
}

static bool is_target(const StoreRelease *r)
{
	return str_eq(r->result, "success") || str_eq(r->result, "rolled back");
}

/* The release that the current one (or the one whose content it has) replaced, or the next older one that is still there. */
static int default_target(const StoreRelease *rows, size_t n)
{
	int from = 0, best = 0;
	for (size_t i = 0; i < n; i++)
		if (rows[i].current)
			from = rows[i].source ? rows[i].source : rows[i].number;
	for (size_t i = 0; i < n; i++)
		if (is_target(&rows[i]) && !rows[i].current && rows[i].number < from && !str_eq(rows[i].result, "rolled back"))
			best = rows[i].number;
	return best;
}

static int find_target(const StoreRelease *rows, size_t n, const char *stack, int to, int *ret, Err *err)
{
	int nearest = 0;
	for (size_t i = 0; i < n; i++) {
		const StoreRelease *r = &rows[i];
		if (is_target(r) && !r->current && (!nearest || abs(r->number - to) <= abs(nearest - to)))
			nearest = r->number;
		if (r->number != to)
			continue;
		if (r->current)
			return err_set(err, -EINVAL, "release %d of stack '%s' is the one that runs", to, stack);
		if (is_target(r)) {
			*ret = to;
			return 0;
		}
	}
	for (size_t i = 0; i < n; i++)
		if (rows[i].number == to && nearest)
			return err_set(err, -EINVAL, "release %d of stack '%s' never served (%s); the nearest that did is %d (stead rollback --to %d)",
				to, stack, rows[i].result, nearest, nearest);
	if (!nearest)
		return err_set(err, -ENOENT, NEAREST_NONE, stack);
	return err_set(err, -ENOENT, "stack '%s' has no release %d; the nearest is %d (stead rollback --to %d), `stead releases` lists all", stack,
		to, nearest, nearest);
}

int release_target(Daemon *d, const char *stack, int to, Release *ret, Err *err)
{
	StoreRelease *rows;
	size_t n;
	int number = 0;
	int r = store_releases_load(d->store, stack, &rows, &n, err);
	if (r < 0)
		return r;
	if (to)
		r = find_target(rows, n, stack, to, &number, err);
	else if (!(number = default_target(rows, n)))
		r = err_set(err, -ENOENT, NEAREST_NONE, stack);
	store_releases_free(rows, n);
	return r < 0 ? r : release_load(d, stack, number, ret, err);
}

bool release_same(Daemon *d, const char *stack, const Stack *model, char *const *images)
{
	Release now = { 0 };
	if (release_current(d, stack, &now, NULL) != 0)
		return false;
	json_t *a = stack_to_json(now.model), *b = stack_to_json(model), *c = json_pairs(now.images), *e = json_pairs(images);
	bool same = json_equal(a, b) && json_equal(c, e);
	json_decref(a);
	json_decref(b);
	json_decref(c);
	json_decref(e);
	release_done(&now);
	return same;
}

/* ── what is beyond the bound ─────────────────────────────────────── */

static int keep_of(const Stack *model)
{
	int keep = 0;
	for (size_t i = 0; i < model->n_services; i++)
		if (model->services[i].deploy_rules.keep > keep)
			keep = model->services[i].deploy_rules.keep;
	return keep ? keep : 5;
}

static void prune_image(Daemon *d, const char *id)
{
	AUTO_ERR err = ERR_INIT;
	const Image *img = daemon_image_by_id(d, id);
	json_t *list = NULL;
	if (!img || image_users(d, img) || release_needs_image(d, id, NULL, NULL))
		return;
	if (image_remove(d, id, true, &list, &err) < 0)
		log_warning("image %s: %s", id, err_text(&err));
	json_decref(list);
}

void release_trim(StackState *s)
{
	Daemon *d = s->d;
	AUTO_ERR err = ERR_INIT;
	AUTO_STRV char **images = NULL;
	StoreRelease *rows;
	size_t n;
	int keep = s->model ? keep_of(s->model) : 0, kept = 0, failed = 0, gone = 0;
	if (store_releases_load(d->store, s->name, &rows, &n, &err) < 0) {
		log_warning("%s", err_text(&err));
		return;
	}
	for (size_t i = n; i-- > 0;) {
		if (rows[i].current || str_eq(rows[i].result, "running"))
			continue;
		/* Failures go with the releases before them. */
		if (is_target(&rows[i]) ? ++kept <= keep : ++failed <= RELEASES_FAILED_KEPT && kept <= keep)
			continue;
		if (store_release_delete(d->store, s->name, rows[i].number, &err) < 0)
			break;
		gone++;
		json_t *o = json_loads(rows[i].images, 0, NULL), *v;
		const char *service;
		json_object_foreach(o, service, v)
			if (json_is_string(v) && !strv_has(images, json_string_value(v)))
				strv_add(&images, json_string_value(v));
		json_decref(o);
	}
	store_releases_free(rows, n);
	for (char **id = images; id && *id; id++)
		prune_image(d, *id);
	if (gone)
		release_sweep_files(d);
}

/* ── for people ───────────────────────────────────────────────────── */

static json_t *optional(const char *s)
{
	return s ? json_safe(s) : json_null();
}

static json_t *changes_of(const StoreRelease *r, const char *service)
{
	json_t *all = json_loads(r->changes, 0, NULL), *list = json_array(), *change;
	size_t i;
	json_array_foreach(all, i, change)
		if (!service || str_eq(json_string_value(json_object_get(change, "service")), service))
			json_array_append(list, change);
	json_decref(all);
	return list;
}

static json_t *summary(const StoreRelease *r, const char *service)
{
	char created[TIME_TEXT_MAX];
	double seconds = (double) ((r->ended ? r->ended : time_real()) - r->created) / (double) NSEC_PER_SEC;
	return json_pack("{s:i, s:s, s:s, s:f, s:o, s:o, s:o, s:s, s:i, s:i, s:o, s:b}", "number", r->number, "kind", r->kind, "created",
		time_rfc3339(r->created, created), "seconds", seconds, "who", optional(r->who), "commit", optional(r->commit), "author",
		optional(r->author), "result", r->result, "base", r->base, "source", r->source, "changes", changes_of(r, service), "current",
		r->current);
}

int release_list_json(Daemon *d, const char *stack, const char *service, json_t **ret, Err *err)
{
	StoreRelease *rows;
	size_t n;
	int r = store_releases_load(d->store, stack, &rows, &n, err);
	if (r < 0)
		return r;
	json_t *list = json_array();
	for (size_t i = 0; i < n; i++) {
		json_t *o = summary(&rows[i], service);
		if (service && !json_array_size(json_object_get(o, "changes")))
			json_decref(o);
		else
			json_array_append_new(list, o);
	}
	store_releases_free(rows, n);
	*ret = list;
	return 0;
}

static int nearest_number(Daemon *d, const char *stack, int number)
{
	StoreRelease *rows;
	size_t n;
	int nearest = 0;
	if (store_releases_load(d->store, stack, &rows, &n, NULL) < 0)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (!nearest || abs(rows[i].number - number) <= abs(nearest - number))
			nearest = rows[i].number;
	store_releases_free(rows, n);
	return nearest;
}

int release_show_json(Daemon *d, const char *stack, int number, json_t **ret, Err *err)
{
	StoreRelease row = { 0 };
	int r = store_release_load(d->store, stack, number, &row, err);
	int nearest = r > 0 ? nearest_number(d, stack, number) : 0;
	if (r > 0 && nearest)
		return err_set(err, -ENOENT, "stack '%s' has no release %d; the nearest is %d", stack, number, nearest);
	if (r > 0)
		return err_set(err, -ENOENT, "stack '%s' has no release %d", stack, number);
	if (r < 0)
		return r;
	json_t *o = summary(&row, NULL), *report = row.report ? json_loads(row.report, 0, NULL) : NULL;
	json_object_set_new(o, "report", report ? report : json_null());
	store_release_done(&row);
	*ret = o;
	return 0;
}
