// SPDX-License-Identifier: Apache-2.0
#include "cli/context.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/context-cache.h"

typedef struct Walk {
	Context *c;
	const Ignore *ignore;
	const char *root; /* for messages */
	Buf path;         /* of what is looked at */
	unsigned depth;
	Err *err;
} Walk;

/* ── the walk ─────────────────────────────────────────────────────── */

static ContextFile *add(Walk *w, const char *path, char type, const struct stat *st)
{
	ContextFile *f = array_append(w->c->files, w->c->n);
	*f = (ContextFile) { .path = xstrdup(path), .type = type, .mode = st->st_mode & 07777, .mtime = st->st_mtim, .ctime = st->st_ctim, .ino = st->st_ino, .dev = st->st_dev,
		.names = st->st_nlink };
	return f;
}

static int add_link(Walk *w, int dir, const char *name, const char *path, const struct stat *st)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);
	if (n < 0)
		return err_errno(w->err, -errno, "%s/%s", w->root, path);
	target[n] = '\0';
	if (!str_is_utf8(target, (size_t) n))
		return err_set(w->err, -EILSEQ, "%s/%s: the link's target is not UTF-8; name the link in .dockerignore", w->root, path);
	add(w, path, 'l', st)->target = xstrdup(target);
	return 0;
}

static int walk_dir(Walk *w, int dir);

static int walk_below(Walk *w, int dir, const char *name, const char *path, const struct stat *st, bool ignored)
{
	if (ignored && !ignore_walk_below(w->ignore, path))
		return 0;
	if (w->depth >= LIMIT_PATH_DEPTH)
		return err_set(w->err, -ELOOP, "%s/%s: more than %d directories deep", w->root, path, LIMIT_PATH_DEPTH);
	AUTO_CLOSE int below = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (below < 0)
		return err_errno(w->err, -errno, "%s/%s; change its mode, or name it in .dockerignore", w->root, path);
	size_t at = w->c->n;
	if (!ignored)
		add(w, path, 'd', st);
	w->depth++;
	int r = walk_dir(w, below);
	w->depth--;
	/* One that is left out, with something in it that is not. */
	if (r == 0 && ignored && w->c->n > at)
		add(w, buf_cstr(&w->path), 'd', st);
	return r;
}

static int walk_entry(Walk *w, int dir, const char *name, const char *path)
{
	struct stat st;
	bool ignored = ignore_match(w->ignore, path, NULL);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT) /* gone meanwhile */
			return 0;
		return err_errno(w->err, -errno, "%s/%s", w->root, path);
	}
	if (!S_ISDIR(st.st_mode) && ignored)
		return 0;
	if (!str_is_utf8(path, strlen(path)))
		return err_set(w->err, -EILSEQ, "%s/%s: the name is not UTF-8; rename it, or name it in .dockerignore", w->root, path);
	if (w->c->n >= LIMIT_LAYER_ENTRIES)
		return err_set(w->err, -E2BIG, "%s: more than %d files; name in .dockerignore what the build does not need", w->root, LIMIT_LAYER_ENTRIES);
	if (S_ISDIR(st.st_mode))
		return walk_below(w, dir, name, path, &st, ignored);
	if (S_ISLNK(st.st_mode))
		return add_link(w, dir, name, path, &st);
	if (S_ISREG(st.st_mode))
		add(w, path, 'f', &st)->size = st.st_size;
	else if (!S_ISSOCK(st.st_mode))
		strv_take(&w->c->warnings, xasprintf("%s is %s: it is not sent", path, S_ISFIFO(st.st_mode) ? "a pipe" : "a device"));
	return 0;
}

/* `dir` stays the caller's; w->path is its path. */
static int walk_dir(Walk *w, int dir)
{
	int fd = fcntl(dir, F_DUPFD_CLOEXEC, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	size_t len = w->path.len;
	int r = 0;
	if (!d) {
		r = -errno;
		if (fd >= 0)
			(void) close(fd);
		return err_errno(w->err, r, "%s/%s", w->root, buf_cstr(&w->path));
	}
	for (struct dirent *e; r == 0 && (errno = 0, e = readdir(d));) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		if (len)
			buf_char(&w->path, '/');
		buf_str(&w->path, e->d_name);
		r = walk_entry(w, dir, e->d_name, buf_cstr(&w->path));
		w->path.data[w->path.len = len] = '\0';
	}
	if (r == 0 && errno)
		r = err_errno(w->err, -errno, "%s/%s", w->root, buf_cstr(&w->path));
	(void) closedir(d);
	return r;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const ContextFile *) a)->path, ((const ContextFile *) b)->path);
}

/* ── contents ─────────────────────────────────────────────────────── */

static int by_file(const void *a, const void *b)
{
	const ContextFile *x = *(ContextFile *const *) a, *y = *(ContextFile *const *) b;
	int r = (x->dev > y->dev) - (x->dev < y->dev);
	if (r == 0)
		r = (x->ino > y->ino) - (x->ino < y->ino);
	return r ? r : strcmp(x->path, y->path);
}

/* Names of one file: each but the first says which that is. */
static void find_links(Context *c)
{
	AUTO_FREE ContextFile **order = xcalloc(c->n + 1, sizeof(*order));
	size_t n = 0;
	for (size_t i = 0; i < c->n; i++)
		if (c->files[i].type == 'f' && c->files[i].names > 1)
			order[n++] = &c->files[i];
	if (n)
		qsort(order, n, sizeof(*order), by_file);
	for (size_t i = 1, first = 0; i < n; i++) {
		if (order[i]->dev == order[first]->dev && order[i]->ino == order[first]->ino)
			order[i]->link = order[first]->path;
		else
			first = i;
	}
}

static bool unchanged(const ContextFile *f, const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_ino == f->ino && st->st_size == f->size && st->st_mtim.tv_sec == f->mtime.tv_sec &&
	       st->st_mtim.tv_nsec == f->mtime.tv_nsec;
}

int context_open(const Context *c, size_t index, Err *err)
{
	const ContextFile *f = &c->files[index];
	struct stat st;
	AUTO_CLOSE int fd = openat(c->dir, f->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "%s%s", f->path, errno == EACCES ? " (change its mode, or name it in .dockerignore)" : "");
	if (fstat(fd, &st) < 0 || !unchanged(f, &st))
		return err_set(err, -EIO, "%s has changed since the build began; build again", f->path);
	return steal_fd(&fd);
}

/* 1: all is as it was last time. */
static int hash_files(Context *c, const char *cache, Err *err)
{
	ContextCache *known = context_cache_load(cache);
	int r = context_cache_take(known, c);
	for (size_t i = 0; r == 0 && i < c->n; i++) {
		ContextFile *f = &c->files[i];
		if (f->type != 'f' || *f->hash)
			continue;
		AUTO_CLOSE int fd = context_open(c, i, err);
		r = fd < 0 ? fd : digest_sha256_fd(fd, f->hash);
		if (fd >= 0 && r < 0)
			r = err_errno(err, r, "%s", f->path);
		c->hashed++;
	}
	context_cache_free(known);
	return r;
}

/* ── the manifest ─────────────────────────────────────────────────── */

static void put_text(Buf *b, const char *key, const char *text)
{
	buf_printf(b, "\"%s\":\"", key);
	for (const char *p = text; *p;) {
		size_t n = 0;
		while ((unsigned char) p[n] >= 0x20 && p[n] != '"' && p[n] != '\\')
			n++;
		buf_append(b, p, n);
		p += n;
		if (*p)
			buf_printf(b, "\\u%04x", (unsigned) (unsigned char) *p++);
	}
	buf_char(b, '"');
}

static void put_file(Buf *b, const ContextFile *f)
{
	buf_char(b, '{');
	put_text(b, "path", f->path);
	buf_printf(b, ",\"type\":\"%c\",\"mode\":%u", f->type, (unsigned) f->mode);
	if (f->type == 'f')
		buf_printf(b, ",\"size\":%lld,\"hash\":\"%s\"", (long long) f->size, f->hash);
	if (f->link) {
		buf_char(b, ',');
		put_text(b, "link", f->link);
	}
	if (f->type == 'l') {
		buf_char(b, ',');
		put_text(b, "target", f->target);
	}
	buf_printf(b, ",\"mtime\":%lld}\n", (long long) f->mtime.tv_sec);
}

const Buf *context_manifest(Context *c)
{
	bool made = c->manifest.len;
	for (size_t i = 0; !made && i < c->n; i++)
		put_file(&c->manifest, &c->files[i]);
	return &c->manifest;
}

int context_scan(const char *dir, const Ignore *ignore, const char *cache, Context *ret, Err *err)
{
	Context c = CONTEXT_INIT;
	Walk w = { .c = &c, .ignore = ignore, .root = dir, .err = err };
	int64_t began = time_real();
	c.dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c.dir < 0)
		return err_errno(err, -errno, "the build context %s", dir);
	int r = walk_dir(&w, c.dir);
	buf_done(&w.path);
	if (r == 0) {
		if (c.n)
			qsort(c.files, c.n, sizeof(*c.files), by_path);
		find_links(&c);
		r = hash_files(&c, cache, err);
	}
	if (r < 0) {
		context_done(&c);
		return err_wrap(err, "build context");
	}
	if (r == 0) {
		const Buf *m = context_manifest(&c);
		digest_sha256(buf_cstr(m), m->len, c.hash);
		context_cache_save(cache, &c, began);
	}
	*ret = c;
	return 0;
}

void context_done(Context *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free(c->files[i].path);
		free(c->files[i].target);
	}
	free(c->files);
	buf_done(&c->manifest);
	strv_free(c->warnings);
	if (c->dir >= 0)
		(void) close(c->dir);
	*c = (Context) CONTEXT_INIT;
}

char *context_cache_path(const char *dir)
{
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	char hex[DIGEST_HEX_MAX];
	if ((str_empty(xdg) || xdg[0] != '/') && (str_empty(home) || home[0] != '/'))
		return NULL;
	AUTO_FREE char *base = !str_empty(xdg) && xdg[0] == '/' ? xasprintf("%s/stead/contexts", xdg) : xasprintf("%s/.cache/stead/contexts", home);
	if (dir_make(base, 0700) < 0)
		return NULL;
	digest_sha256(dir, strlen(dir), hex);
	return xasprintf("%s/%.32s", base, hex);
}
