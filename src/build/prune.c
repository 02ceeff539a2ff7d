// SPDX-License-Identifier: Apache-2.0
/*
 * Everything is put into one list by its last use, whatever it is, and goes from the front. A layer goes with the last record that
 * names it, so that one counts for nothing before; layers of images count for nothing at all.
 *
 * Builds may run meanwhile. What they have found in the cache, they hold: layers by the lock that a sweep waits for, mounts by locks of
 * their own, lists in memory. Only contents of files are looked for a second time, so those that were used of late stay (`busy`).
 */
#include "build/prune.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/layers.h"
#include "image/report.h"
#include "image/sandbox.h"
#include "model/image.h"

#define RECORD_MAX 65536
#define DESCRIPTION_MAX 256
#define LITTER_AGE 86400   /* seconds after which a file that is not finished belongs to nobody */
#define USE_GRAIN 7200     /* seconds: use is not noted more often than each hour */

typedef enum Kind { KIND_STEP, KIND_ALIAS, KIND_LIST, KIND_FILE, KIND_MOUNT, KIND_CONTEXT, KINDS } Kind;

/* One of many: its name as bytes, or the number of what else is known of it. */
typedef struct Item {
	int64_t used, size;
	uint32_t more; /* KIND_STEP, KIND_MOUNT, KIND_CONTEXT: index into `mores` */
	uint8_t kind;
	bool shared, in_use;
	uint8_t hex[32];
} Item;

typedef struct More {
	char *name, *description;
	size_t *layers; /* indexes */
	size_t n_layers;
} More;

typedef struct CachedLayer {
	char name[33];
	int64_t size;
	size_t refs;
	bool needed; /* by an image */
} CachedLayer;

typedef struct Prune {
	int state, records, lists, files, mounts, contexts, tmp;
	Item *items;
	size_t n_items;
	More *mores;
	size_t n_mores;
	CachedLayer *known; /* in order of their names, once all are known */
	size_t n_known;
	json_t *needed;  /* set of layers' names and image ids */
	json_t *stays;   /* set of records (hex) and lists that belong to steps of images */
	const json_t *options;
	int64_t total, freed;
	int64_t told_bytes[KINDS]; /* of those that are told as one */
	int64_t told_used[KINDS];
} Prune;

static void prune_done(Prune *p)
{
	const int fds[] = { p->records, p->lists, p->files, p->mounts, p->contexts, p->tmp, p->state };
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			(void) close(fds[i]);
	for (size_t i = 0; i < p->n_mores; i++) {
		free(p->mores[i].name);
		free(p->mores[i].description);
		free(p->mores[i].layers);
	}
	free(p->mores);
	free(p->items);
	free(p->known);
	json_decref(p->needed);
	json_decref(p->stays);
}

/* ── what is there ────────────────────────────────────────────────── */

static int64_t stat_bytes(const struct stat *st)
{
	return (int64_t) st->st_blocks * 512;
}

static DIR *open_list(int at, const char *name)
{
	int fd = at < 0 ? -1 : openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? NULL : fdopendir(fd);
}

/* What a worker that was killed has left half-written. */
static void drop_litter(int at, const char *name, const struct stat *st)
{
	if (S_ISREG(st->st_mode) && st->st_mtime + LITTER_AGE < time(NULL))
		(void) unlinkat(at, name, 0);
}

typedef void (*ItemFn)(Prune *p, Item *item, const char *name);

/* Files named by digests. */
static void list_hex(Prune *p, int at, const char *dir, Kind kind, ItemFn fn)
{
	DIR *d = open_list(at, dir);
	for (struct dirent *e; d && (e = readdir(d));) {
		struct stat st;
		Item item = { .kind = (uint8_t) kind };
		if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (strlen(e->d_name) != 64 || hex_decode(e->d_name, sizeof(item.hex), item.hex) < 0) {
			drop_litter(dirfd(d), e->d_name, &st);
			continue;
		}
		item.used = st.st_mtime;
		item.size = stat_bytes(&st);
		if (fn)
			fn(p, &item, e->d_name);
		*array_append(p->items, p->n_items) = item;
	}
	if (d)
		(void) closedir(d);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const CachedLayer *) a)->name, ((const CachedLayer *) b)->name);
}

static size_t find_layer(const Prune *p, const char *name)
{
	CachedLayer key;
	(void) snprintf(key.name, sizeof(key.name), "%s", name);
	const CachedLayer *l = p->n_known ? bsearch(&key, p->known, p->n_known, sizeof(key), by_name) : NULL;
	return l ? (size_t) (l - p->known) : SIZE_MAX;
}

static void list_layers(Prune *p)
{
	DIR *d = open_list(p->state, "layers");
	for (struct dirent *e; d && (e = readdir(d));) {
		AUTO_BUF b = BUF_INIT;
		size_t n = strcspn(e->d_name, ".");
		if (n != 32 || !str_eq(e->d_name + n, ".json") || file_read(dirfd(d), e->d_name, RECORD_MAX, &b) < 0)
			continue;
		json_t *o = json_loadb(buf_cstr(&b), b.len, 0, NULL);
		CachedLayer *l = array_append(p->known, p->n_known);
		(void) snprintf(l->name, sizeof(l->name), "%.32s", e->d_name);
		l->size = json_integer_value(json_object_get(o, "size"));
		l->needed = json_object_get(p->needed, l->name);
		json_decref(o);
	}
	if (d)
		(void) closedir(d);
	if (p->n_known)
		qsort(p->known, p->n_known, sizeof(*p->known), by_name);
}

static void take_layers(Prune *p, Item *item, const json_t *ids)
{
	More *m = array_append(p->mores, p->n_mores);
	item->more = (uint32_t) p->n_mores - 1;
	item->shared = true;
	for (size_t i = 0; i < json_array_size(ids); i++) {
		const char *id = json_string_value(json_array_get(ids, i));
		char name[33];
		if (!id || !digest_valid(id))
			continue;
		layer_dir_name(id, name);
		size_t at = find_layer(p, name);
		if (at == SIZE_MAX) {
			item->shared = false; /* it can give nothing any more */
			continue;
		}
		*array_append(m->layers, m->n_layers) = at;
		p->known[at].refs++;
		item->shared = item->shared && p->known[at].needed;
	}
}

static void take_record(Prune *p, Item *item, const char *name)
{
	AUTO_BUF b = BUF_INIT;
	(void) file_read(p->records, name, RECORD_MAX, &b);
	json_t *o = json_loadb(buf_cstr(&b), b.len, 0, NULL);
	const json_t *ids = json_object_get(o, "layers");
	const char *image = json_string_value(json_object_get(o, "image")), *list = json_string_value(json_object_get(o, "list"));
	const char *what = json_string_value(json_object_get(o, "what"));
	if (!json_is_array(ids)) {
		item->kind = KIND_ALIAS;
		item->shared = image && json_object_get(p->needed, image);
	} else {
		take_layers(p, item, ids);
		p->mores[item->more].description = xstrdup(what ? what : "a step");
		if (item->shared)
			(void) json_object_set_new(p->stays, name, json_true());
		if (item->shared && list)
			(void) json_object_set_new(p->stays, list, json_true());
	}
	json_decref(o);
}

static void list_files(Prune *p)
{
	DIR *d = open_list(p->state, "build/files");
	for (struct dirent *e; d && (e = readdir(d));) {
		struct stat st;
		if (strlen(e->d_name) == 2 && e->d_name[0] != '.')
			list_hex(p, dirfd(d), e->d_name, KIND_FILE, NULL);
		else if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			drop_litter(dirfd(d), e->d_name, &st);
	}
	if (d)
		(void) closedir(d);
}

/* Bytes on disk below a directory of strangers' files; links to files are counted once a name. */
static int64_t tree_bytes(int at, const char *name, int depth)
{
	DIR *d = depth < LIMIT_PATH_DEPTH ? open_list(at, name) : NULL;
	int64_t sum = 0;
	for (struct dirent *e; d && (e = readdir(d));) {
		struct stat st;
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, "..") || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		sum += stat_bytes(&st);
		if (S_ISDIR(st.st_mode))
			sum += tree_bytes(dirfd(d), e->d_name, depth + 1);
	}
	if (d)
		(void) closedir(d);
	return sum;
}

/* A lock that nobody else has, or -1. */
static int lock_mount(const Prune *p, const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/lock", name);
	AUTO_CLOSE int fd = openat(p->mounts, path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 ? -1 : steal_fd(&fd);
}

static void take_mount(Prune *p, Item *item, const char *name)
{
	AUTO_BUF id = BUF_INIT;
	AUTO_FREE char *path = xasprintf("%s/lock", name);
	AUTO_FREE char *data = xasprintf("%s/data", name);
	struct stat st;
	if (fstatat(p->mounts, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
		item->used = st.st_mtime;
	(void) file_read(p->mounts, path, DESCRIPTION_MAX, &id); /* build/cache.c writes its id there */
	/* Not longer than it takes to know: a build that finds it locked would go without. */
	int lock = lock_mount(p, name);
	item->in_use = lock < 0;
	if (lock >= 0)
		(void) close(lock);
	item->size = tree_bytes(p->mounts, data, 0);
	p->mores[item->more].description = xasprintf("cache mount %s", id.len && str_is_utf8(id.data, id.len) ? id.data : name);
}

static void take_context(Prune *p, Item *item, const char *name)
{
	item->size = tree_bytes(p->contexts, name, 0);
}

static void list_dirs(Prune *p, const char *path, Kind kind, ItemFn fn)
{
	DIR *d = open_list(p->state, path);
	for (struct dirent *e; d && (e = readdir(d));) {
		struct stat st;
		if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
			continue;
		Item item = { .kind = (uint8_t) kind, .used = st.st_mtime, .more = (uint32_t) p->n_mores };
		array_append(p->mores, p->n_mores)->name = xstrdup(e->d_name);
		fn(p, &item, e->d_name);
		if (item.size)
			*array_append(p->items, p->n_items) = item;
	}
	if (d)
		(void) closedir(d);
}

static int by_use(const void *a, const void *b)
{
	const Item *x = a, *y = b;
	int r = (x->used > y->used) - (x->used < y->used);
	return r ? r : x->kind != y->kind ? x->kind - y->kind : memcmp(x->hex, y->hex, sizeof(x->hex));
}

/* An alias of a step that stays is worth as much as that. */
static void mark_aliases(Prune *p)
{
	for (size_t i = 0; i < p->n_items; i++) {
		Item *item = &p->items[i];
		AUTO_BUF b = BUF_INIT;
		char name[65];
		hex_encode(item->hex, sizeof(item->hex), name);
		if (item->kind == KIND_LIST)
			item->shared = json_object_get(p->stays, name);
		if (item->kind != KIND_ALIAS || item->shared || file_read(p->records, name, RECORD_MAX, &b) < 0)
			continue;
		json_t *o = json_loadb(buf_cstr(&b), b.len, 0, NULL);
		const char *same = json_string_value(json_object_get(o, "same"));
		item->shared = same && json_object_get(p->stays, same);
		json_decref(o);
	}
}

static void collect(Prune *p)
{
	list_layers(p);
	list_hex(p, p->state, "build/cache", KIND_STEP, take_record);
	list_hex(p, p->state, "build/lists", KIND_LIST, NULL);
	list_files(p);
	list_dirs(p, "build/mounts", KIND_MOUNT, take_mount);
	list_dirs(p, "build/contexts", KIND_CONTEXT, take_context);
	mark_aliases(p);
	for (size_t i = 0; i < p->n_items; i++)
		p->total += p->items[i].size;
	for (size_t i = 0; i < p->n_known; i++)
		p->total += p->known[i].refs && !p->known[i].needed ? p->known[i].size : 0;
	if (p->n_items)
		qsort(p->items, p->n_items, sizeof(*p->items), by_use);
}

/* ── what goes ────────────────────────────────────────────────────── */

static int64_t number(const Prune *p, const char *key, int64_t otherwise)
{
	const json_t *v = json_object_get(p->options, key);
	return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

static bool option(const Prune *p, const char *key)
{
	return json_is_true(json_object_get(p->options, key));
}

static const char *type_of(const Item *item)
{
	static const char *const types[] = { [KIND_STEP] = "regular", [KIND_ALIAS] = "internal", [KIND_LIST] = "internal", [KIND_FILE] = "source.local",
		[KIND_MOUNT] = "exec.cachemount", [KIND_CONTEXT] = "internal" };
	_Static_assert(ARRAY_SIZE(types) == KINDS, "each kind has a type");
	return types[item->kind];
}

/* By which it is told, and named in filters. The caller's. */
static char *id_of(const Prune *p, const Item *item)
{
	char name[65];
	if (item->kind == KIND_MOUNT)
		return xstrdup(p->mores[item->more].name);
	if (item->kind != KIND_STEP)
		return xstrdup(type_of(item));
	hex_encode(item->hex, sizeof(item->hex), name);
	return xstrdup(name);
}

static bool listed(const json_t *list, const char *word, bool prefix)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));
		if (s && (prefix ? str_starts(word, s) && *s : str_eq(word, s)))
			return true;
	}
	return !list;
}

static bool is_wanted(const Prune *p, const Item *item)
{
	AUTO_FREE char *id = id_of(p, item);
	return listed(json_object_get(p->options, "types"), type_of(item), false) && listed(json_object_get(p->options, "ids"), id, true);
}

static bool is_busy(const Prune *p, const Item *item)
{
	int64_t busy = number(p, "busy", 0);
	return item->in_use || (busy && (item->kind == KIND_FILE || item->kind == KIND_CONTEXT) && item->used >= busy - USE_GRAIN);
}

static bool goes(const Prune *p, const Item *item)
{
	if (is_busy(p, item) || !is_wanted(p, item))
		return false;
	if (item->used < number(p, "expired", INT64_MIN))
		return true;
	return item->used < number(p, "before", INT64_MAX) && p->total > number(p, "keep", 0) && (option(p, "all") || !item->shared);
}

/* A cache that a package manager trusts is never half there: it leaves its name first. */
static int remove_mount(Prune *p, const char *name)
{
	AUTO_FREE char *data = xasprintf("%s/data", name);
	char hidden[40] = "rm-";
	int lock = lock_mount(p, name), r = 0;
	if (lock < 0)
		return -EBUSY;
	hex_random(16, hidden + 3);
	if (renameat(p->mounts, data, p->tmp, hidden) < 0)
		r = -errno;
	(void) close(lock);
	if (r == 0)
		(void) tree_remove(p->tmp, hidden); /* what is left is a sweep's */
	return r;
}

static int remove_item(Prune *p, const Item *item)
{
	char name[65], path[80];
	hex_encode(item->hex, sizeof(item->hex), name);
	(void) snprintf(path, sizeof(path), "%.2s/%s", name, name);
	switch ((Kind) item->kind) {
	case KIND_STEP:
	case KIND_ALIAS:
		return unlinkat(p->records, name, 0) < 0 ? -errno : 0;
	case KIND_LIST:
		return unlinkat(p->lists, name, 0) < 0 ? -errno : 0;
	case KIND_FILE:
		return unlinkat(p->files, path, 0) < 0 ? -errno : 0;
	case KIND_MOUNT:
		return remove_mount(p, p->mores[item->more].name);
	case KIND_CONTEXT:
		return tree_remove(p->contexts, p->mores[item->more].name);
	default:
		return -EINVAL;
	}
}

/* What goes with it: its own bytes, and layers that nothing else names. */
static int64_t release(Prune *p, const Item *item)
{
	int64_t bytes = item->size;
	if (item->kind != KIND_STEP)
		return bytes;
	const More *m = &p->mores[item->more];
	for (size_t i = 0; i < m->n_layers; i++) {
		CachedLayer *l = &p->known[m->layers[i]];
		bytes += --l->refs == 0 && !l->needed ? l->size : 0;
	}
	return bytes;
}

static int64_t layers_bytes(const Prune *p, const Item *item)
{
	int64_t bytes = item->size;
	const More *m = &p->mores[item->more];
	for (size_t i = 0; i < m->n_layers; i++)
		bytes += p->known[m->layers[i]].size;
	return bytes;
}

static void tell(const char *id, const char *type, const char *description, int64_t bytes, const Item *item)
{
	json_t *text = json_string(description);
	report_line(json_pack("{s:{s:s, s:s, s:o, s:I, s:b, s:b, s:I}}", "cache", "id", id, "type", type, "description", text ? text : json_string(""), "size",
		(json_int_t) bytes, "shared", item->shared, "in_use", item->in_use, "used", (json_int_t) item->used));
}

static void tell_item(Prune *p, const Item *item, int64_t bytes)
{
	if (item->kind != KIND_STEP && item->kind != KIND_MOUNT) {
		size_t as = item->kind == KIND_FILE ? KIND_FILE : KIND_ALIAS;
		p->told_bytes[as] += bytes;
		p->told_used[as] = item->used;
		return;
	}
	AUTO_FREE char *id = id_of(p, item);
	tell(id, type_of(item), p->mores[item->more].description, bytes, item);
}

static void tell_rest(const Prune *p)
{
	static const struct {
		Kind kind;
		const char *id, *description;
	} rest[] = { { KIND_FILE, "source.local", "contents of build contexts" }, { KIND_ALIAS, "internal", "lists of files, and what leads to steps" } };
	for (size_t i = 0; i < ARRAY_SIZE(rest); i++) {
		const Item item = { .used = p->told_used[rest[i].kind] };
		if (p->told_bytes[rest[i].kind])
			tell(rest[i].id, rest[i].id, rest[i].description, p->told_bytes[rest[i].kind], &item);
	}
}

static void prune(Prune *p)
{
	bool list = option(p, "list"), dry = list || option(p, "dry_run");
	for (size_t i = 0; i < p->n_items; i++) {
		const Item *item = &p->items[i];
		if ((!list && !goes(p, item)) || (!dry && remove_item(p, item) < 0))
			continue;
		int64_t bytes = release(p, item);
		p->total -= bytes;
		p->freed += bytes;
		/* Where it is only listed, a step has all that it made, also what an image shares with it. */
		tell_item(p, item, list && item->kind == KIND_STEP && item->shared ? layers_bytes(p, item) : bytes);
	}
	tell_rest(p);
	report_freed(p->freed);
}

/* ── the job ──────────────────────────────────────────────────────── */

static void need_all(Prune *p, const char *key)
{
	const json_t *list = json_object_get(p->options, key);
	for (size_t i = 0; i < json_array_size(list); i++)
		if (json_is_string(json_array_get(list, i)))
			(void) json_object_set_new(p->needed, json_string_value(json_array_get(list, i)), json_true());
}

static int open_below(const Prune *p, const char *name)
{
	return openat(p->state, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int build_prune_job(const char *state_dir, const json_t *options, Err *err)
{
	AUTO(prune_done) Prune p = { .state = -1, .records = -1, .lists = -1, .files = -1, .mounts = -1, .contexts = -1, .tmp = -1,
		.needed = json_object(), .stays = json_object(), .options = options };
	p.state = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p.state < 0)
		return err_errno(err, -errno, "%s", state_dir);
	/* What is not there holds nothing. */
	p.records = open_below(&p, "build/cache");
	p.lists = open_below(&p, "build/lists");
	p.files = open_below(&p, "build/files");
	p.mounts = open_below(&p, "build/mounts");
	p.contexts = open_below(&p, "build/contexts");
	p.tmp = open_below(&p, "tmp");
	int r = sandbox_enter(state_dir, err);
	if (r < 0)
		return r;
	need_all(&p, "layers");
	need_all(&p, "images");
	collect(&p);
	prune(&p);
	return 0;
}
