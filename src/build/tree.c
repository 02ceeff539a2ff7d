// SPDX-License-Identifier: Apache-2.0
#include "build/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/glob.h"
#include "image/sha256.h"

#define LINKS_MAX 40
#define XATTR_BYTES 65536

/* Entries of both kinds. */

static void copy_entry(const Entry *from, Entry *to)
{
	*to = *from;
	to->path = xstrdup(from->path);
	to->target = xstrdup(from->target);
	to->link = xstrdup(from->link);
	to->source = xstrdup(from->path);
	to->named = false;
	to->xattrs = NULL;
	to->n_xattrs = 0;
	for (size_t i = 0; i < from->n_xattrs; i++) {
		EntryXattr *x = array_append(to->xattrs, to->n_xattrs);
		x->name = xstrdup(from->xattrs[i].name);
		x->value = xstrdup(from->xattrs[i].value);
	}
}

static bool xattr_kept(const char *name)
{
	return str_eq(name, "security.capability") || str_starts(name, "system.posix_acl_") ||
		(str_starts(name, "user.") && !str_starts(name, "user.overlay."));
}

static int xattr_order(const void *a, const void *b)
{
	return strcmp(((const EntryXattr *) a)->name, ((const EntryXattr *) b)->name);
}

/* `fd`: of the file itself, or -1. */
static int take_xattrs(int dirfd, const char *name, int fd, Entry *e, Err *err)
{
	char none;
	if (fd >= 0 && flistxattr(fd, &none, 0) <= 0) /* most have none, and a path through /proc is dear */
		return 0;
	AUTO_FREE char *proc = xasprintf("/proc/self/fd/%d/%s", dirfd, name);
	if (llistxattr(proc, &none, 0) <= 0)
		return 0;
	AUTO_FREE char *names = xmalloc(XATTR_BYTES);
	AUTO_FREE char *value = xmalloc(XATTR_BYTES);
	ssize_t n = llistxattr(proc, names, XATTR_BYTES);
	if (n < 0)
		return err_errno(err, -errno, "'/%s': attributes", e->path);
	for (const char *at = names; at < names + n; at += strlen(at) + 1) {
		if (!xattr_kept(at))
			continue;
		ssize_t k = lgetxattr(proc, at, value, XATTR_BYTES);
		if (k < 0)
			return err_errno(err, -errno, "'/%s': attribute '%s'", e->path, at);
		EntryXattr *x = array_append(e->xattrs, e->n_xattrs);
		x->name = xstrdup(at);
		x->value = xmalloc((size_t) k * 2 + 1);
		hex_encode(value, (size_t) k, x->value);
	}
	if (e->n_xattrs)
		qsort(e->xattrs, e->n_xattrs, sizeof(*e->xattrs), xattr_order);
	return 0;
}

static char type_of(mode_t mode)
{
	return S_ISREG(mode) ? 'f' : S_ISDIR(mode) ? 'd' : S_ISLNK(mode) ? 'l' : S_ISCHR(mode) ? 'c' : S_ISBLK(mode) ? 'b' : S_ISFIFO(mode) ? 'p' : 's';
}

/* Takes ownership of path, also on failure. */
static int entry_of(char *path, int dirfd, const char *name, int fd, const struct stat *st, Entry *ret, Err *err)
{
	Entry e = {
		.path = path, .source = xstrdup(path), .type = type_of(st->st_mode), .mode = st->st_mode & 07777, .uid = st->st_uid, .gid = st->st_gid,
		.mtime = st->st_mtime, .inode = !S_ISDIR(st->st_mode) && st->st_nlink > 1 ? st->st_ino : 0,
	};
	char target[PATH_MAX];
	if (e.type == 'f')
		e.size = st->st_size;
	if (e.type == 'c' || e.type == 'b') {
		e.major = major(st->st_rdev);
		e.minor = minor(st->st_rdev);
	}
	int r = take_xattrs(dirfd, name, fd, &e, err);
	if (r == 0 && e.type == 'l') {
		ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);
		if (n < 0)
			r = err_errno(err, -errno, "'/%s'", path);
		else
			e.target = xstrndup(target, (size_t) n);
	}
	if (r < 0)
		entry_done(&e);
	else
		*ret = e;
	return r;
}

int tree_stat(const Tree *t, const char *path, Entry *ret, Err *err)
{
	struct stat st;
	size_t layer;
	if (t->list) {
		const Entry *e = *path ? entries_find(t->list, path) : NULL;
		if (e) {
			copy_entry(e, ret);
			return 1;
		}
		/* A directory of which only files were sent, or the root. */
		size_t i = entries_lower(t->list, path);
		while (i < t->list->n && strncmp(t->list->items[i].path, path, strlen(path)) == 0 && !path_below(t->list->items[i].path, path))
			i++;
		if (*path && (i == t->list->n || !path_below(t->list->items[i].path, path)))
			return 0;
		*ret = (Entry) { .path = xstrdup(path), .source = xstrdup(path), .type = 'd', .mode = 0755 };
		return 1;
	}
	int r = view_stat(t->view, path, &st, &layer, err);
	if (r <= 0)
		return r;
	r = entry_of(xstrdup(path), t->view->layers[layer], *path ? path : ".", -1, &st, ret, err);
	return r < 0 ? r : 1;
}

int tree_hash(const Tree *t, Entry *e, Err *err)
{
	if (e->type != 'f' || *e->hash)
		return 0;
	AUTO_CLOSE int fd = view_open(t->view, e->source, O_RDONLY, err);
	if (fd < 0)
		return fd;
	int r = sha256_fd(fd, e->hash, &e->size);
	return r < 0 ? err_errno(err, r, "'/%s'", e->source) : 0;
}

/* Resolving, in a list. */

static int resolve_in_list(const Entries *l, const char *path, bool follow, char **ret, Err *err)
{
	AUTO_FREE char *now = path_in_root("", path);
	for (int links = 0;; links++) {
		const Entry *e = NULL;
		char *p = now;
		/* The first component that is a symlink. */
		while (*p && !e) {
			p += strcspn(p + 1, "/") + 1;
			char c = *p;
			*p = '\0';
			const Entry *found = entries_find(l, now);
			*p = c;
			if (found && found->type == 'l' && (c || follow))
				e = found;
		}
		if (!e) {
			*ret = steal_ptr(&now);
			return 0;
		}
		if (links >= LINKS_MAX)
			return err_set(err, -ELOOP, "'%s' leads through more than %d symbolic links", path, LINKS_MAX);
		const char *slash = strrchr(e->path, '/');
		AUTO_FREE char *dir = xstrndup(e->path, slash ? (size_t) (slash - e->path) : 0);
		AUTO_FREE char *joined = xasprintf("%s%s", e->target, p);
		free(now);
		now = path_in_root(dir, joined);
	}
}

int tree_resolve(const Tree *t, const char *path, bool follow, char **ret, Err *err)
{
	return t->list ? resolve_in_list(t->list, path, follow, ret, err) : view_resolve(t->view, path, follow, ret, err);
}

/* Walking. */

typedef struct TreeWalk {
	const Tree *tree;
	const char *top;
	TreeFn fn;
	void *user;
} TreeWalk;

static int on_view_entry(void *user, const char *path, int dirfd, const char *name, const struct stat *st, Err *err)
{
	TreeWalk *w = user;
	Entry e = { 0 };
	if (S_ISSOCK(st->st_mode))
		return 0;
	AUTO_CLOSE int fd = S_ISREG(st->st_mode) ? openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
	if (S_ISREG(st->st_mode) && fd < 0)
		return err_errno(err, -errno, "'/%s%s%s'", w->top, *w->top ? "/" : "", path);
	int r = entry_of(xasprintf("%s%s%s", w->top, *w->top ? "/" : "", path), dirfd, name, fd, st, &e, err);
	if (r < 0)
		return r;
	if (fd >= 0 && (r = sha256_fd(fd, e.hash, &e.size)) < 0) {
		r = err_errno(err, r, "'/%s'", e.path);
		entry_done(&e);
		return r;
	}
	return w->fn(w->user, path, &e, err);
}

int tree_walk(const Tree *t, const char *path, TreeFn fn, void *user, Err *err)
{
	TreeWalk w = { t, path, fn, user };
	if (t->view)
		return view_walk(t->view, path, on_view_entry, &w, err);
	AUTO_FREE char *start = xasprintf("%s%s", path, *path ? "/" : "");
	size_t n = strlen(start);
	int r = 0;
	for (size_t i = entries_lower(t->list, start); r == 0 && i < t->list->n && strncmp(t->list->items[i].path, start, n) == 0; i++) {
		Entry e;
		copy_entry(&t->list->items[i], &e);
		r = fn(user, e.path + n, &e, err);
	}
	return r;
}

/* Patterns. */

typedef struct Names {
	char **items;
	size_t n;
} Names;

static void add_name(Names *l, const char *name, size_t n)
{
	if (!l->n || strlen(l->items[l->n - 1]) != n || strncmp(l->items[l->n - 1], name, n) != 0)
		*array_append(l->items, l->n) = xstrndup(name, n);
}

static int on_view_name(void *user, const char *path, int dirfd, const char *name, const struct stat *st, Err *err)
{
	add_name(user, name, strlen(name));
	return 0;
}

static int text_order(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* Names in a directory, in order. In a list "a", "a-b", "a/x" follow each other, so one may come twice. */
static int list_names(const Tree *t, const char *dir, char ***ret, Err *err)
{
	Names all = { 0 };
	size_t kept = 0;
	int r = 0;
	if (t->view) {
		r = view_list(t->view, dir, on_view_name, &all, err);
	} else {
		AUTO_FREE char *start = xasprintf("%s%s", dir, *dir ? "/" : "");
		size_t n = strlen(start);
		for (size_t i = entries_lower(t->list, start); i < t->list->n && strncmp(t->list->items[i].path, start, n) == 0; i++)
			add_name(&all, t->list->items[i].path + n, strcspn(t->list->items[i].path + n, "/"));
	}
	if (all.n)
		qsort(all.items, all.n, sizeof(char *), text_order);
	for (size_t i = 0; i < all.n; i++) {
		if (kept && str_eq(all.items[kept - 1], all.items[i]))
			free(all.items[i]);
		else
			all.items[kept++] = all.items[i];
	}
	all.n = kept;
	*array_append(all.items, all.n) = NULL;
	*ret = all.items;
	return r;
}

static int glob_below(const Tree *t, const char *dir, const char *pattern, char ***ret, Err *err);

/* `name` in `dir` is the component's match: on with the rest of the pattern. */
static int glob_descend(const Tree *t, const char *dir, const char *name, const char *rest, char ***ret, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s%s%s", dir, *dir ? "/" : "", name);
	Entry e;
	if (*rest)
		return glob_below(t, path, rest, ret, err);
	AUTO_FREE char *resolved = NULL;
	int r = tree_resolve(t, path, false, &resolved, err);
	if (r < 0 || (r = tree_stat(t, resolved, &e, err)) <= 0)
		return r;
	entry_done(&e);
	strv_add(ret, path);
	return 0;
}

static int glob_below(const Tree *t, const char *dir, const char *pattern, char ***ret, Err *err)
{
	size_t n = strcspn(pattern, "/");
	AUTO_FREE char *component = xstrndup(pattern, n);
	const char *rest = pattern + n + strspn(pattern + n, "/");
	if (!glob_is_pattern(component)) {
		AUTO_FREE char *name = glob_unescape(component);
		return glob_descend(t, dir, name, rest, ret, err);
	}
	Glob *g __attribute__((cleanup(glob_freep))) = NULL;
	AUTO_FREE char *resolved = NULL;
	AUTO_STRV char **names = NULL;
	int r = glob_compile(component, 0, &g, err);
	if (r < 0 || (r = tree_resolve(t, dir, true, &resolved, err)) < 0 || (r = list_names(t, resolved, &names, err)) < 0)
		return r;
	for (char **p = names; r == 0 && p && *p; p++)
		if (glob_match(g, *p))
			r = glob_descend(t, dir, *p, rest, ret, err);
	return r;
}

typedef struct DeepGlob {
	Glob *glob;
	Names names;
} DeepGlob;

static int on_deep(void *user, const char *path, int dirfd, const char *name, const struct stat *st, Err *err)
{
	DeepGlob *d = user;
	if (glob_match(d->glob, path))
		add_name(&d->names, path, strlen(path));
	return 0;
}

static int glob_deep(const Tree *t, const char *pattern, char ***ret, Err *err)
{
	DeepGlob d = { 0 };
	int r = glob_compile(pattern, GLOB_DEEP, &d.glob, err);
	if (r == 0 && t->view)
		r = view_walk(t->view, "", on_deep, &d, err);
	for (size_t i = 0; r == 0 && t->list && i < t->list->n; i++)
		(void) on_deep(&d, t->list->items[i].path, -1, NULL, NULL, NULL);
	for (size_t i = 0; i < d.names.n; i++)
		strv_take(ret, d.names.items[i]);
	free(d.names.items);
	glob_free(d.glob);
	return r;
}

int tree_glob(const Tree *t, const char *pattern, bool deep, char ***ret, Err *err)
{
	AUTO_FREE char *clean = path_in_root("", pattern);
	if (deep && strstr(clean, "**"))
		return glob_deep(t, clean, ret, err);
	if (*clean)
		return glob_below(t, "", clean, ret, err);
	strv_add(ret, "");
	return 0;
}
