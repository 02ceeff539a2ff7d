// SPDX-License-Identifier: Apache-2.0
#include "daemon/volume.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/events.h"
#include "daemon/operation.h"
#include "daemon/state.h"
#include "image/job.h"

static VolState *volume_new(Daemon *d, const char *name, const char *stack, const char *key)
{
	VolState *v = xcalloc(1, sizeof(*v));
	v->name = xstrdup(name);
	v->stack = xstrdup(stack);
	v->key = xstrdup(key);
	v->driver = xstrdup("local");
	v->created = time_real();
	v->path = xasprintf("%s/volumes/%s/_data", d->o.state_dir, name);
	return v;
}

static int volume_keep(Daemon *d, VolState *v, Err *err)
{
	int r = state_insert_volume(d, v, err);
	if (r < 0) {
		state_volume_free(v);
		return r;
	}
	*array_append(d->vols, d->n_vols) = v;
	events_volume(d, v, "create");
	return 0;
}

int volume_prepare(StackState *s, const Stack *model, const Volume *m, VolState **ret, Err *err)
{
	Daemon *d = s->d;
	VolState *v = NULL;
	if (daemon_find_volume(d, m->name, &v, NULL) == 0) {
		*ret = v;
		return 0;
	}
	if (m->external)
		return err_set(err, -ENOENT, "volume '%s' is declared as external, but there is none of that name", m->name);
	v = volume_new(d, m->name, model->name, m->key);
	v->labels = strv_dup(m->labels);
	strv_setenv(&v->labels, "com.docker.compose.project", model->name);
	strv_setenv(&v->labels, "com.docker.compose.volume", m->key);
	int r = volume_keep(d, v, err);
	if (r < 0)
		return r;
	*ret = v;
	return 1;
}

/* ── where mounts come from ───────────────────────────────────────── */

static VolState *anonymous_of(const Container *old, const char *target)
{
	for (size_t i = 0; old && i < old->n_binds; i++)
		if (old->binds[i].vol && old->binds[i].vol->anonymous && str_eq(old->binds[i].target, target))
			return old->binds[i].vol;
	return NULL;
}

static int bind_anonymous(Container *c, const char *target, bool read_only, const Container *old, Err *err)
{
	VolState *v = anonymous_of(old, target);
	if (!v) {
		char name[65];
		hex_random(32, name);
		v = volume_new(c->d, name, NULL, NULL);
		v->anonymous = true;
		int r = volume_keep(c->d, v, err);
		if (r < 0)
			return r;
	}
	Bind *b = array_append(c->binds, c->n_binds);
	b->type = MOUNT_VOLUME;
	b->vol = v;
	b->source = xstrdup(v->path);
	b->target = xstrdup(target);
	b->read_only = read_only;
	return 0;
}

static int bind_volume(Container *c, const Stack *model, const Mount *m, Err *err)
{
	const Volume *top = stack_volume(model, m->source);
	VolState *v = NULL;
	if (!top || daemon_find_volume(c->d, top->name, &v, NULL) < 0)
		return err_set(err, -ENOENT, "volume '%s' is not there", top ? top->name : m->source);
	Bind *b = array_append(c->binds, c->n_binds);
	b->type = MOUNT_VOLUME;
	b->vol = v;
	b->source = m->subpath ? xasprintf("%s/%s", v->path, m->subpath) : xstrdup(v->path);
	b->target = xstrdup(m->target);
	b->read_only = m->read_only;
	return 0;
}

static int bind_mount(Container *c, const Stack *model, const Mount *m, const Container *old, Err *err)
{
	if (m->type == MOUNT_VOLUME && !m->source)
		return bind_anonymous(c, m->target, m->read_only, old, err);
	if (m->type == MOUNT_VOLUME)
		return bind_volume(c, model, m, err);
	Bind *b = array_append(c->binds, c->n_binds);
	b->type = m->type;
	b->source = xstrdup(m->source);
	b->target = xstrdup(m->target);
	b->read_only = m->read_only;
	return 0;
}

static bool target_taken(const Container *c, const char *target)
{
	for (size_t i = 0; i < c->n_binds; i++)
		if (str_eq(c->binds[i].target, target))
			return true;
	for (char **t = c->svc.tmpfs; t && *t; t++) {
		size_t n = strcspn(*t, ":");
		if (strlen(target) == n && strncmp(*t, target, n) == 0)
			return true;
	}
	return false;
}

int volume_binds(Container *c, const Stack *model, const Container *old, Err *err)
{
	for (size_t i = 0; i < c->svc.n_mounts; i++) {
		int r = bind_mount(c, model, &c->svc.mounts[i], old, err);
		if (r < 0)
			return r;
	}
	const Image *img = daemon_image_by_id(c->d, c->image_id);
	for (char **v = img ? img->config.volumes : NULL; v && *v; v++) {
		if (target_taken(c, *v))
			continue;
		int r = bind_anonymous(c, *v, false, old, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int volume_make_sources(Container *c, Err *err)
{
	for (size_t i = 0; i < c->n_binds; i++) {
		const Bind *b = &c->binds[i];
		if (b->type == MOUNT_TMPFS)
			continue;
		if (access(b->source, F_OK) == 0)
			continue;
		bool make = b->type == MOUNT_VOLUME;
		for (size_t k = 0; !make && k < c->svc.n_mounts; k++)
			make = str_eq(c->svc.mounts[k].target, b->target) && c->svc.mounts[k].create_host_path;
		if (!make)
			return err_set(err, -ENOENT, "%s, to be mounted at %s, does not exist", b->source, b->target);
		int r = dir_make(b->source, 0755);
		if (r < 0)
			return err_errno(err, r, "%s", b->source);
	}
	return 0;
}

/* ── copy-up ──────────────────────────────────────────────────────── */

static bool dir_is_empty(const char *path)
{
	DIR *d = opendir(path);
	if (!d)
		return false;
	bool empty = true;
	for (struct dirent *e; empty && (e = readdir(d));)
		empty = str_eq(e->d_name, ".") || str_eq(e->d_name, "..");
	(void) closedir(d);
	return empty;
}

/* Some layer has something at this path: a look that saves a worker for the many volumes where none has. */
static bool image_has(Daemon *d, const Image *img, const char *path)
{
	for (size_t i = 0; i < img->n_layers; i++) {
		char name[33];
		layer_dir_name(img->layers[i].diff_id, name);
		AUTO_FREE char *dir = xasprintf("%s/layers/%s", d->o.state_dir, name);
		AUTO_CLOSE int root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		AUTO_CLOSE int fd = root < 0 ? -1 : open_in_root(root, path, O_PATH, 0);
		if (fd >= 0)
			return true;
	}
	return false;
}

static const Bind *next_to_fill(Container *c, const Image *img)
{
	for (size_t i = 0; i < c->n_binds; i++) {
		const Bind *b = &c->binds[i];
		bool nocopy = false;
		for (size_t k = 0; k < c->svc.n_mounts; k++)
			nocopy = nocopy || (c->svc.mounts[k].nocopy && str_eq(c->svc.mounts[k].target, b->target));
		if (b->vol && !b->vol->filled && !nocopy && dir_is_empty(b->vol->path) && image_has(c->d, img, b->target))
			return b;
	}
	return NULL;
}

typedef struct CopyUp {
	Container *c;
	VolState *vol;
	void (*done)(Container *c, const Err *err);
} CopyUp;

static void copied(void *user, JobResult *result, const Err *err)
{
	CopyUp *copy = user;
	Container *c = copy->c;
	void (*done)(Container *, const Err *) = copy->done;
	copy->vol->filled = true; /* also when the image had nothing to copy: it is not asked again in this run */
	free(copy);
	AUTO_ERR next = ERR_INIT;
	int r = err ? 0 : volume_copy_up(c, done, &next);
	if (err || r != 0)
		done(c, err ? err : r < 0 ? &next : NULL);
}

int volume_copy_up(Container *c, void (*done)(Container *c, const Err *err), Err *err)
{
	const Image *img = daemon_image_by_id(c->d, c->image_id);
	const Bind *b = img ? next_to_fill(c, img) : NULL;
	if (!b)
		return 1;
	AUTO_STRV char **layers = image_layer_names(img);
	CopyUp *copy = xcalloc(1, sizeof(*copy));
	*copy = (CopyUp) { .c = c, .vol = b->vol, .done = done };
	JobCallbacks cb = { .done = copied, .lost = free, .user = copy };
	int r = job_copy_up(c->d->jobs, layers, b->target, b->vol->path, &cb, NULL, err);
	if (r < 0) {
		free(copy);
		return r;
	}
	return 0;
}

/* ── removal ──────────────────────────────────────────────────────── */

size_t volume_users(const Daemon *d, const VolState *v)
{
	size_t users = 0;
	for (size_t i = 0; i < d->n_containers; i++)
		for (size_t k = 0; k < d->containers[i]->n_binds; k++)
			if (d->containers[i]->binds[k].vol == v) {
				users++;
				break;
			}
	return users;
}

int volume_remove(Daemon *d, VolState *v, Err *err)
{
	if (volume_users(d, v))
		return err_set(err, -EBUSY, "volume '%s' is in use by %zu container(s)", v->name, volume_users(d, v));
	AUTO_FREE char *dir = xasprintf("%s/volumes/%s", d->o.state_dir, v->name);
	/* The row first: a directory without a row is swept at the next start, a row without its data would lie. */
	int r = state_delete_volume(d, v, err);
	if (r == 0)
		r = job_remove_tree(d->jobs, dir, err);
	if (r < 0)
		return r;
	events_volume(d, v, "destroy");
	for (size_t i = 0; i < d->n_vols; i++)
		if (d->vols[i] == v)
			d->vols[i--] = d->vols[--d->n_vols];
	state_volume_free(v);
	return 0;
}

static void remove_reported(StackState *s, VolState *v)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *name = xstrdup(v->name);
	operation_report(s, "volume", name, NULL, "removing");
	if (volume_remove(s->d, v, &err) < 0)
		operation_warn(s, "volume '%s' stays: %s", name, err_text(&err));
	else
		operation_report(s, "volume", name, NULL, "removed");
}

void volume_remove_by_name(StackState *s, const char *name)
{
	VolState *v = NULL;
	if (daemon_find_volume(s->d, name, &v, NULL) == 0)
		remove_reported(s, v);
}

void volume_remove_stack(StackState *s)
{
	for (size_t i = s->d->n_vols; i-- > 0;)
		if (i < s->d->n_vols && str_eq(s->d->vols[i]->stack, s->name))
			remove_reported(s, s->d->vols[i]);
}

void volume_remove_anonymous(Container *c)
{
	for (size_t i = 0; i < c->n_binds; i++) {
		VolState *v = c->binds[i].vol;
		AUTO_ERR err = ERR_INIT;
		if (!v || !v->anonymous)
			continue;
		c->binds[i].vol = NULL;
		if (!volume_users(c->d, v) && volume_remove(c->d, v, &err) < 0)
			log_warning("%s: %s", c->name, err_text(&err));
	}
}
