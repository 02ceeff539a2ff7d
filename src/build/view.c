// SPDX-License-Identifier: Apache-2.0
/*
 * A path is looked for in one layer after the other, from the top. In each, it is followed as far as it goes: a
 * whiteout, or something that is no directory where one is needed, ends the search in all layers; an opaque
 * directory ends it behind this layer. A walk holds a descriptor of each layer that takes part in a directory, so
 * that names are never joined to long paths.
 */
#include "build/view.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/xattr.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

#define OPAQUE "trusted.overlay.opaque"
#define LINKS_MAX 40 /* as the kernel has it, path_resolution(7) */

void view_done(View *v)
{
	for (size_t i = 0; i < v->n; i++)
		(void) close(v->layers[i]);
	free(v->layers);
	*v = (View) { 0 };
}

void view_add(View *v, int layer)
{
	*array_append(v->layers, v->n) = layer;
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

static bool is_opaque(int dirfd, const char *path)
{
	char value = 0;
	AUTO_FREE char *proc = xasprintf("/proc/self/fd/%d/%s", dirfd, path);
	return lgetxattr(proc, OPAQUE, &value, 1) == 1 && value == 'y';
}

typedef enum Found {
	FOUND_HERE,
	FOUND_NOT,       /* look further down */
	FOUND_NOT_BELOW, /* nor there */
} Found;

/* Looks in one layer. `last`: nothing below this layer counts (an opaque directory was passed). */
static Found find_in(int layer, const char *path, struct stat *st, bool *last)
{
	AUTO_FREE char *prefix = xstrdup(path);
	for (char *p = prefix;; p++) {
		p += strcspn(p, "/");
		bool end = !*p;
		*p = '\0';
		if (fstatat(layer, *prefix ? prefix : ".", st, AT_SYMLINK_NOFOLLOW) < 0)
			return errno == ENOTDIR ? FOUND_NOT_BELOW : FOUND_NOT;
		if (is_whiteout(st) || (!end && !S_ISDIR(st->st_mode)))
			return FOUND_NOT_BELOW;
		if (S_ISDIR(st->st_mode) && is_opaque(layer, prefix))
			*last = true;
		if (end)
			return FOUND_HERE;
		*p = '/';
	}
}

int view_stat(const View *v, const char *path, struct stat *ret, size_t *ret_layer, Err *err)
{
	if (strlen(path) >= PATH_MAX)
		return err_set(err, -ENAMETOOLONG, "'%.60s…' is longer than %d bytes", path, PATH_MAX - 1);
	for (size_t i = v->n; i > 0; i--) {
		bool last = false;
		Found f = find_in(v->layers[i - 1], path, ret, &last);
		if (f == FOUND_HERE && ret_layer)
			*ret_layer = i - 1;
		if (f == FOUND_HERE)
			return 1;
		if (f == FOUND_NOT_BELOW || last)
			break;
	}
	return 0;
}

int view_open(const View *v, const char *path, int flags, Err *err)
{
	struct stat st;
	size_t layer;
	int r = view_stat(v, path, &st, &layer, err);
	if (r <= 0)
		return r < 0 ? r : err_set(err, -ENOENT, "'/%s' is not there", path);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return err_set(err, -EINVAL, "'/%s' is no file and no directory", path);
	int fd = openat(v->layers[layer], *path ? path : ".", flags | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_errno(err, -errno, "'/%s'", path) : fd;
}

/* Resolving. */

static void pop_component(Buf *done)
{
	while (done->len && done->data[done->len - 1] != '/')
		done->len--;
	if (done->len)
		done->len--;
	if (done->data)
		done->data[done->len] = '\0';
}

static int read_link(const View *v, size_t layer, const char *path, char **ret, Err *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(v->layers[layer], path, target, sizeof(target) - 1);
	if (n < 0)
		return err_errno(err, -errno, "'/%s'", path);
	*ret = xstrndup(target, (size_t) n);
	return 0;
}

int view_resolve(const View *v, const char *path, bool follow, char **ret, Err *err)
{
	AUTO_BUF done = BUF_INIT;
	AUTO_FREE char *rest = xstrdup(path);
	int links = 0;
	for (char *p = rest;;) {
		p += strspn(p, "/");
		size_t n = strcspn(p, "/"), before = done.len;
		struct stat st;
		size_t layer;
		if (!n)
			break;
		if (n <= 2 && strncmp(p, "..", n) == 0) { /* "." too */
			if (n == 2)
				pop_component(&done);
			p += n;
			continue;
		}
		buf_printf(&done, "%s%.*s", done.len ? "/" : "", (int) n, p);
		bool end = p[n + strspn(p + n, "/")] == '\0';
		int r = !end || follow ? view_stat(v, buf_cstr(&done), &st, &layer, err) : 0;
		if (r < 0)
			return r;
		p += n;
		if (r == 0 || !S_ISLNK(st.st_mode))
			continue;
		AUTO_FREE char *target = NULL;
		if (++links > LINKS_MAX)
			return err_set(err, -ELOOP, "'%s' leads through more than %d symbolic links", path, LINKS_MAX);
		if ((r = read_link(v, layer, done.data, &target, err)) < 0)
			return r;
		done.len = *target == '/' ? 0 : before;
		done.data[done.len] = '\0';
		char *joined = xasprintf("%s/%s", target, p);
		free(rest);
		p = rest = joined;
	}
	*ret = buf_steal(&done);
	return 0;
}

int view_read(const View *v, const char *path, size_t max, Buf *ret)
{
	AUTO_FREE char *resolved = NULL;
	int r = view_resolve(v, path, true, &resolved, NULL);
	if (r < 0)
		return r;
	AUTO_CLOSE int fd = view_open(v, resolved, O_RDONLY, NULL);
	if (fd < 0)
		return fd;
	char proc[40];
	(void) snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	return file_read(AT_FDCWD, proc, max, ret);
}

char *path_in_root(const char *base, const char *path)
{
	Buf b = BUF_INIT;
	AUTO_FREE char *joined = xasprintf("%s/%s", *path == '/' || !base ? "" : base, path);
	for (const char *p = joined; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && p[0] == '.' && p[1] == '.')
			pop_component(&b);
		else if (n && !(n == 1 && p[0] == '.'))
			buf_printf(&b, "%s%.*s", b.len ? "/" : "", (int) n, p);
		p += n;
		p += strspn(p, "/");
	}
	return buf_steal(&b);
}

/* Walking. */

typedef struct WalkName {
	char *name;
	size_t dir; /* which of the directories has it */
	struct stat st;
} WalkName;

typedef struct Walk {
	ViewFn fn;
	void *user;
	bool flat; /* do not go into directories */
	size_t entries;
} Walk;

static int name_order(const void *a, const void *b)
{
	const WalkName *x = a, *y = b;
	int c = strcmp(x->name, y->name);
	return c ? c : (x->dir > y->dir) - (x->dir < y->dir);
}

static int read_names(int dir, size_t index, WalkName **names, size_t *n, const char *path, Err *err)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;
	int r = 0;
	if (!d)
		return err_errno(err, -errno, "'/%s'", path);
	while (r == 0 && (e = readdir(d))) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		WalkName *w = array_append(*names, *n);
		w->name = xstrdup(e->d_name);
		w->dir = index;
		if (fstatat(dir, e->d_name, &w->st, AT_SYMLINK_NOFOLLOW) < 0)
			r = err_errno(err, -errno, "'/%s/%s'", path, e->d_name);
	}
	(void) closedir(d);
	return r;
}

static int walk_dirs(Walk *w, const int *dirs, size_t n, const char *path, int depth, Err *err);

/* The directories named `name` of those layers that take part in it, from dirs[first] on. */
static int walk_into(Walk *w, const int *dirs, size_t n, size_t first, const char *name, const char *path, int depth, Err *err)
{
	int *below = NULL;
	size_t n_below = 0;
	int r = 0;
	if (depth > LIMIT_PATH_DEPTH)
		return err_set(err, -ELOOP, "'%.60s…' is deeper than %d directories", path, LIMIT_PATH_DEPTH);
	for (size_t i = first; i < n; i++) {
		struct stat st;
		if (fstatat(dirs[i], name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (!S_ISDIR(st.st_mode))
			break;
		int fd = openat(dirs[i], name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0) {
			r = err_errno(err, -errno, "'/%s'", path);
			break;
		}
		*array_append(below, n_below) = fd;
		if (is_opaque(fd, "."))
			break;
	}
	if (r == 0)
		r = walk_dirs(w, below, n_below, path, depth + 1, err);
	for (size_t i = 0; i < n_below; i++)
		(void) close(below[i]);
	free(below);
	return r;
}

/* `dirs`: one directory in several layers, topmost first. */
static int walk_dirs(Walk *w, const int *dirs, size_t n, const char *path, int depth, Err *err)
{
	WalkName *names = NULL;
	size_t n_names = 0;
	int r = 0;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = read_names(dirs[i], i, &names, &n_names, path, err);
	if (n_names)
		qsort(names, n_names, sizeof(*names), name_order);
	for (size_t i = 0; r == 0 && i < n_names; i++) {
		const WalkName *e = &names[i];
		if ((i && str_eq(names[i - 1].name, e->name)) || is_whiteout(&e->st))
			continue;
		AUTO_FREE char *child = xasprintf("%s%s%s", path, *path ? "/" : "", e->name);
		if (++w->entries > LIMIT_LAYER_ENTRIES)
			r = err_set(err, -EFBIG, "more than %d files", LIMIT_LAYER_ENTRIES);
		else
			r = w->fn(w->user, child, dirs[e->dir], e->name, &e->st, err);
		if (r == 0 && !w->flat && S_ISDIR(e->st.st_mode))
			r = walk_into(w, dirs, n, e->dir, e->name, child, depth, err);
	}
	for (size_t i = 0; i < n_names; i++)
		free(names[i].name);
	free(names);
	return r;
}

static int walk(const View *v, const char *path, Walk *w, Err *err)
{
	int *dirs = NULL;
	size_t n = 0;
	int r = 0;
	for (size_t i = v->n; r == 0 && i > 0; i--) {
		struct stat st;
		bool last = false;
		Found f = find_in(v->layers[i - 1], path, &st, &last);
		if (f == FOUND_NOT_BELOW || (f == FOUND_HERE && !S_ISDIR(st.st_mode)))
			break;
		if (f == FOUND_HERE) {
			int fd = openat(v->layers[i - 1], *path ? path : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (fd < 0)
				r = err_errno(err, -errno, "'/%s'", path);
			else
				*array_append(dirs, n) = fd;
		}
		if (last)
			break;
	}
	if (r == 0)
		r = walk_dirs(w, dirs, n, "", 0, err);
	for (size_t i = 0; i < n; i++)
		(void) close(dirs[i]);
	free(dirs);
	return r;
}

int view_walk(const View *v, const char *path, ViewFn fn, void *user, Err *err)
{
	Walk w = { .fn = fn, .user = user };
	return walk(v, path, &w, err);
}

int view_list(const View *v, const char *path, ViewFn fn, void *user, Err *err)
{
	Walk w = { .fn = fn, .user = user, .flat = true };
	return walk(v, path, &w, err);
}
