// SPDX-License-Identifier: Apache-2.0
/*
 * Directories on the way to a file are part of a layer, too, and what the topmost layer says of a directory counts: so they
 * get the attributes that the list or the layers below have for them. Times of directories are set at the end, since each
 * entry made in one changes them.
 *
 * Contents that come from the mirror are hashed while they are copied: the mirror is not synced, and what a power cut made
 * of a file must not get into an image.
 */
#include "build/layer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/pack.h"
#include "image/sha256.h"

#define CHUNK (128U << 10)
#define XATTR_BYTES 65536
#define OPAQUE "trusted.overlay.opaque"

typedef struct DirTime {
	char *path;
	int64_t mtime;
} DirTime;

typedef struct Maker {
	Store *store;
	const LayerSpec *spec;
	int root, parent;
	char *parent_path; /* of `parent`; NULL = none yet */
	DirTime *dirs;
	size_t n_dirs;
	char *chunk;
} Maker;

static int failed(Maker *m, const char *path, int code, Err *err)
{
	AUTO_FREE char *what = xasprintf("'/%s'", path);
	return store_write_failed(m->store, code, what, err);
}

static void note_time(Maker *m, const char *path, int64_t mtime)
{
	DirTime *d = array_append(m->dirs, m->n_dirs);
	d->path = xstrdup(path);
	d->mtime = mtime;
}

/* Attributes. */

static int set_xattrs(int dirfd, const char *name, const Entry *e, Err *err)
{
	AUTO_FREE char *proc = e->n_xattrs ? xasprintf("/proc/self/fd/%d/%s", dirfd, name) : NULL;
	for (size_t i = 0; i < e->n_xattrs; i++) {
		size_t n = strlen(e->xattrs[i].value) / 2;
		AUTO_FREE char *value = xmalloc(n + 1);
		if (hex_decode(e->xattrs[i].value, n, (uint8_t *) value) < 0 || lsetxattr(proc, e->xattrs[i].name, value, n, 0) < 0)
			return err_errno(err, -errno, "'/%s': attribute '%s'", e->path, e->xattrs[i].name);
	}
	return 0;
}

/* Owner before mode before xattrs: chown(2) clears setuid and capabilities. */
static int set_attributes(Maker *m, const char *name, const Entry *e, Err *err)
{
	if (fchownat(m->parent, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
		(e->type != 'l' && fchmodat(m->parent, name, e->mode, 0) < 0))
		return failed(m, e->path, -errno, err);
	int r = set_xattrs(m->parent, name, e, err);
	if (r < 0)
		return r;
	if (e->type == 'd') {
		note_time(m, e->path, e->mtime);
		return 0;
	}
	const struct timespec times[2] = { { .tv_sec = e->mtime }, { .tv_sec = e->mtime } };
	return utimensat(m->parent, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? failed(m, e->path, -errno, err) : 0;
}

/* Directories. */

/* xattrs of a directory below, all but overlayfs' own. */
static int keep_xattrs(int from, const char *path, int to, const char *name)
{
	AUTO_FREE char *source = xasprintf("/proc/self/fd/%d/%s", from, path);
	AUTO_FREE char *target = xasprintf("/proc/self/fd/%d/%s", to, name);
	char none;
	if (llistxattr(source, &none, 0) <= 0)
		return 0;
	AUTO_FREE char *names = xmalloc(XATTR_BYTES);
	AUTO_FREE char *value = xmalloc(XATTR_BYTES);
	ssize_t n = llistxattr(source, names, XATTR_BYTES);
	for (const char *at = names; at < names + n; at += strlen(at) + 1) {
		ssize_t k = str_starts(at, "trusted.overlay.") ? -1 : lgetxattr(source, at, value, XATTR_BYTES);
		if (k >= 0 && lsetxattr(target, at, value, (size_t) k, 0) < 0 && errno != ENOTSUP)
			return -errno;
	}
	return 0;
}

/* A directory on the way: as the list has it, as it is below, or new. */
static int make_way(Maker *m, int dirfd, const char *name, const char *path, Err *err)
{
	const Entry *e = entries_find(m->spec->list, path);
	struct stat st;
	size_t layer = 0;
	if (mkdirat(dirfd, name, 0700) < 0)
		return errno == EEXIST ? 0 : failed(m, path, -errno, err);
	int r = e && e->type == 'd' ? 0 : view_stat(m->spec->below, path, &st, &layer, err);
	if (r < 0)
		return r;
	bool below = r == 1 && S_ISDIR(st.st_mode);
	if (e && e->type == 'd')
		st = (struct stat) { .st_uid = e->uid, .st_gid = e->gid, .st_mode = e->mode, .st_mtime = e->mtime };
	else if (!below)
		st = (struct stat) { .st_uid = m->spec->uid, .st_gid = m->spec->gid, .st_mode = 0755, .st_mtime = m->spec->now };
	if (fchownat(dirfd, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 || fchmodat(dirfd, name, st.st_mode & 07777, 0) < 0)
		return failed(m, path, -errno, err);
	if (e && e->type == 'd')
		r = set_xattrs(dirfd, name, e, err);
	else if (below && (r = keep_xattrs(m->spec->below->layers[layer], path, dirfd, name)) < 0)
		r = failed(m, path, r, err);
	else
		r = 0;
	note_time(m, path, st.st_mtime);
	return r;
}

/* Opens the directory of `path`, making what is missing of it. Gives the last component. */
static int enter_parent(Maker *m, const char *path, const char **ret_name, Err *err)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *parent = xstrndup(path, slash ? (size_t) (slash - path) : 0);
	*ret_name = slash ? slash + 1 : path;
	if (m->parent_path && str_eq(parent, m->parent_path))
		return 0;
	int fd = openat(m->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (char *p = parent, *name = parent; fd >= 0 && *p; name = p) {
		p += strcspn(p, "/");
		char c = *p;
		*p = '\0';
		int r = make_way(m, fd, name, parent, err);
		int next = r < 0 ? -1 : openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (r == 0 && next < 0)
			r = failed(m, parent, -errno, err);
		(void) close(fd);
		if (r < 0)
			return r;
		fd = next;
		*p = c;
		p += c ? 1 : 0;
	}
	if (fd < 0)
		return failed(m, path, -errno, err);
	if (m->parent >= 0)
		(void) close(m->parent);
	m->parent = fd;
	free(m->parent_path);
	m->parent_path = steal_ptr(&parent);
	return 0;
}

/* Contents. */

static int copy_checked(Maker *m, int in, int out, const Entry *e, Err *err)
{
	char hex[DIGEST_HEX_MAX];
	ssize_t n;
	int r = 0;
	Sha256 sum;
	sha256_begin(&sum);
	while (r == 0 && (n = read(in, m->chunk, CHUNK)) != 0) {
		if (n < 0 && errno != EINTR)
			r = failed(m, e->path, -errno, err);
		if (n <= 0)
			continue;
		sha256_add(&sum, m->chunk, (size_t) n);
		if ((r = fd_write_all(out, m->chunk, (size_t) n)) < 0)
			r = failed(m, e->path, r, err);
	}
	sha256_end(&sum, hex);
	if (r == 0 && !str_eq(hex, e->hash)) {
		files_drop(m->spec->files, e->hash);
		r = err_set(err, -EAGAIN, "'%s' is damaged in the mirror of the build context, it was removed there: build again", e->path);
	}
	return r;
}

/* The kernel copies, where it can by sharing blocks. */
static int copy_plain(Maker *m, int in, int out, const Entry *e, Err *err)
{
	ssize_t n;
	while ((n = copy_file_range(in, NULL, out, NULL, 1U << 30, 0)) > 0)
		;
	if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP))
		while ((n = read(in, m->chunk, CHUNK)) > 0) {
			int r = fd_write_all(out, m->chunk, (size_t) n);
			if (r < 0)
				return failed(m, e->path, r, err);
		}
	return n < 0 ? failed(m, e->path, -errno, err) : 0;
}

static int write_file(Maker *m, const char *name, const Entry *e, Err *err)
{
	bool view = e->source && m->spec->from;
	AUTO_CLOSE int in = view ? view_open(m->spec->from, e->source, O_RDONLY, err) : files_read(m->spec->files, e->hash);
	if (in < 0)
		return view ? in : err_errno(err, in, "'/%s': its contents in the mirror of the build context", e->path);
	AUTO_CLOSE int out = openat(m->parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return failed(m, e->path, -errno, err);
	return view ? copy_plain(m, in, out, e, err) : copy_checked(m, in, out, e, err);
}

/* Entries. */

static int make_node(Maker *m, const char *name, const Entry *e, Err *err)
{
	mode_t type = e->type == 'c' ? S_IFCHR : e->type == 'b' ? S_IFBLK : S_IFIFO;
	if (type == S_IFCHR && !e->major && !e->minor)
		return err_set(err, -EINVAL, "'/%s' is a character device 0:0, which layers have another meaning for", e->path);
	return mknodat(m->parent, name, type | 0600, makedev(e->major, e->minor)) < 0 ? failed(m, e->path, -errno, err) : 0;
}

static int make_entry(Maker *m, const Entry *e, Err *err)
{
	const char *name;
	struct stat st;
	int r = enter_parent(m, e->path, &name, err);
	if (r < 0)
		return r;
	if (e->type != 'd' && (r = view_stat(m->spec->below, e->path, &st, NULL, err)) < 0)
		return r;
	if (e->type != 'd' && r == 1 && S_ISDIR(st.st_mode))
		return err_set(err, -EISDIR, "'/%s' is a directory in the image: something else cannot be copied over it", e->path);
	if (e->link)
		return linkat(m->root, e->link, m->parent, name, 0) < 0 ? failed(m, e->path, -errno, err) : 0;
	switch (e->type) {
	case 'd':
		r = mkdirat(m->parent, name, 0700) < 0 && errno != EEXIST ? failed(m, e->path, -errno, err) : 0;
		break;
	case 'f':
		r = write_file(m, name, e, err);
		break;
	case 'l':
		r = symlinkat(e->target, m->parent, name) < 0 ? failed(m, e->path, -errno, err) : 0;
		break;
	default:
		r = make_node(m, name, e, err);
	}
	return r < 0 ? r : set_attributes(m, name, e, err);
}

static int make_whiteout(Maker *m, const char *path, Err *err)
{
	const char *name;
	int r = enter_parent(m, path, &name, err);
	if (r < 0)
		return r;
	return mknodat(m->parent, name, S_IFCHR, makedev(0, 0)) < 0 ? failed(m, path, -errno, err) : 0;
}

static int set_times(Maker *m, Err *err)
{
	for (size_t i = m->n_dirs; i > 0; i--) {
		const DirTime *d = &m->dirs[i - 1];
		const struct timespec times[2] = { { .tv_sec = d->mtime }, { .tv_sec = d->mtime } };
		if (utimensat(m->root, d->path, times, AT_SYMLINK_NOFOLLOW) < 0)
			return failed(m, d->path, -errno, err);
	}
	return 0;
}

static int fill(Maker *m, Err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < m->spec->list->n; i++)
		if (!m->spec->skip || !m->spec->skip[i])
			r = make_entry(m, &m->spec->list->items[i], err);
	for (char *const *p = m->spec->gone; r == 0 && p && *p; p++)
		r = make_whiteout(m, *p, err);
	return r < 0 ? r : set_times(m, err);
}

static void maker_done(Maker *m)
{
	if (m->root >= 0)
		(void) close(m->root);
	if (m->parent >= 0)
		(void) close(m->parent);
	free(m->parent_path);
	for (size_t i = 0; i < m->n_dirs; i++)
		free(m->dirs[i].path);
	free(m->dirs);
	free(m->chunk);
}

/* Packing. */

static int pack(Store *s, const char *name, int64_t clamp, char diff_id[sizeof(DIGEST_PREFIX) + 64], LayerInfo *ret, Err *err)
{
	AUTO_FREE char *root = xasprintf("%s/root", name);
	AUTO_FREE char *file = xasprintf("%s/recipe", name);
	AUTO_CLOSE int rootfd = openat(s->tmp, root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int fd = openat(s->tmp, file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (rootfd < 0 || fd < 0)
		return store_write_failed(s, -errno, file, err);
	RecipeWriter *w __attribute__((cleanup(recipe_writer_freep))) = recipe_writer_new(fd);
	int r = pack_layer(rootfd, -1, clamp, w, diff_id, ret, err);
	return r < 0 ? r : recipe_finish(w, err);
}

/* Takes ownership of name. */
static int pack_and_stage(Store *s, char *name, int64_t clamp, char diff_id[sizeof(DIGEST_PREFIX) + 64], LayerInfo *ret, Err *err)
{
	LayerInfo there;
	int r = pack(s, name, clamp, diff_id, ret, err);
	if (r == 0)
		r = store_layer(s, diff_id, &there, err);
	if (r == 0)
		return store_stage_made(s, name, diff_id, ret, err);
	if (r == 1)
		*ret = there;
	(void) tree_remove(s->tmp, name);
	free(name);
	return r < 0 ? r : 0;
}

int layer_fill(Store *s, int dirfd, const LayerSpec *spec, Err *err)
{
	AUTO(maker_done) Maker m = { .store = s, .spec = spec, .parent = -1 };
	m.chunk = xmalloc(CHUNK);
	m.root = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return m.root < 0 ? err_errno(err, -errno, "a layer's directory") : fill(&m, err);
}

int layer_make(Store *s, const LayerSpec *spec, char ret_diff_id[sizeof(DIGEST_PREFIX) + 64], LayerInfo *ret, Err *err)
{
	char *name = NULL;
	int r = store_stage_begin(s, &name, err);
	if (r < 0)
		return r;
	AUTO_FREE char *root = xasprintf("%s/root", name);
	AUTO_CLOSE int fd = openat(s->tmp, root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = fd < 0 ? store_write_failed(s, -errno, root, err) : layer_fill(s, fd, spec, err);
	if (r == 0)
		return pack_and_stage(s, name, 0, ret_diff_id, ret, err);
	(void) tree_remove(s->tmp, name);
	free(name);
	return r;
}

/* An overlay's upper directory. */

/* Has it any that is not overlayfs's own, or one that hides what lies below? */
static bool has_attributes(int fd)
{
	static const char own[] = "trusted.overlay.";
	char names[1024];
	ssize_t n = flistxattr(fd, names, sizeof(names));
	for (const char *p = names; n > 0 && p < names + n; p += strlen(p) + 1)
		if (!str_starts(p, own) || str_eq(p, OPAQUE))
			return true;
	return n < 0 && errno != ENOTSUP;
}

/* As what lies below: overlayfs copies a directory up before anything changes in it, and places of mounts come and go. */
static bool is_mere_copy(int fd, const char *path, const View *below)
{
	struct stat st, old;
	if (fstat(fd, &st) < 0 || view_stat(below, path, &old, NULL, NULL) != 1 || st.st_mode != old.st_mode || st.st_uid != old.st_uid ||
		st.st_gid != old.st_gid || st.st_mtim.tv_sec != old.st_mtim.tv_sec || st.st_mtim.tv_nsec != old.st_mtim.tv_nsec)
		return false;
	AUTO_CLOSE int lower = view_open(below, path, O_RDONLY | O_DIRECTORY, NULL);
	return lower >= 0 && !has_attributes(fd) && !has_attributes(lower);
}

static int clean_upper(int dir, const char *path, const View *below, size_t *entries, Err *err);

/* overlayfs marks each new directory opaque, which says nothing where there was none before. 1: it went. */
static int clean_directory(int dir, const char *name, const char *path, const View *below, size_t *entries, Err *err)
{
	char value = 0;
	struct stat st;
	size_t before = *entries;
	AUTO_CLOSE int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? 0 : 1;
	if (r == 1 && fgetxattr(fd, OPAQUE, &value, 1) == 1) {
		r = view_stat(below, path, &st, NULL, err);
		if (r == 0 || (r == 1 && !S_ISDIR(st.st_mode)))
			(void) fremovexattr(fd, OPAQUE);
		r = r < 0 ? r : 1;
	}
	if (r == 1)
		r = clean_upper(fd, path, below, entries, err);
	return r < 0 ? r : fd >= 0 && *entries == before && is_mere_copy(fd, path, below) && unlinkat(dir, name, AT_REMOVEDIR) == 0;
}

/* Counts what is left of it. */
static int clean_upper(int dir, const char *path, const View *below, size_t *entries, Err *err)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;
	struct stat st;
	bool changed = false;
	int r = 0;
	if (!d)
		return err_errno(err, -errno, "'/%s'", path);
	bool known = fstat(dir, &st) == 0;
	while (r >= 0 && (e = readdir(d))) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		AUTO_FREE char *child = xasprintf("%s%s%s", path, *path ? "/" : "", e->d_name);
		r = e->d_type == DT_DIR || e->d_type == DT_UNKNOWN ? clean_directory(dir, e->d_name, child, below, entries, err) : 0;
		changed = changed || r == 1;
		*entries += r == 0;
	}
	if (known && changed)
		(void) futimens(dir, (const struct timespec[]) { st.st_atim, st.st_mtim });
	(void) closedir(d);
	return r < 0 ? r : 0;
}

int layer_from_upper(Store *s, char *name, const View *below, int64_t clamp, char ret_diff_id[sizeof(DIGEST_PREFIX) + 64], LayerInfo *ret,
	Err *err)
{
	AUTO_FREE char *root = xasprintf("%s/root", name);
	size_t entries = 0;
	AUTO_CLOSE int fd = openat(s->tmp, root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? err_errno(err, -errno, "%s", root) : clean_upper(fd, "", below, &entries, err);
	if (r == 0 && entries)
		return pack_and_stage(s, name, clamp, ret_diff_id, ret, err);
	(void) tree_remove(s->tmp, name);
	free(name);
	return r < 0 ? r : 1;
}

/* Differences. */

/* Something below a path that went, in the list of what is. */
static bool has_below(const Entries *l, const char *path)
{
	AUTO_FREE char *start = xasprintf("%s/", path);
	size_t i = entries_lower(l, start);
	return i < l->n && str_starts(l->items[i].path, start);
}

/* Its directory went, too: that has got the whiteout. */
static bool went_with_parent(const Entry *e, const Entries *old, const Entries *now)
{
	const char *slash = strrchr(e->path, '/');
	AUTO_FREE char *parent = xstrndup(e->path, slash ? (size_t) (slash - e->path) : 0);
	return slash && entries_find(old, parent) && !entries_find(now, parent);
}

/* 1: a whiteout would hide what lies below, or something that is still there. */
static int add_gone(const Entry *e, const Entries *old, const Entries *now, const View *below, char ***gone, Err *err)
{
	struct stat st;
	if (went_with_parent(e, old, now))
		return 0;
	if (e->link || e->inode || has_below(now, e->path))
		return 1;
	int r = view_stat(below, e->path, &st, NULL, err);
	if (r == 0)
		strv_add(gone, e->path);
	return r;
}

int layer_delta(const Entries *old, const Entries *now, const View *below, bool **ret_skip, char ***ret_gone, Err *err)
{
	AUTO_FREE bool *skip = xcalloc(now->n + 1, sizeof(bool));
	AUTO_STRV char **gone = NULL;
	int64_t all = 0, changed = 0;
	size_t i = 0, k = 0;
	int r = 0;
	while (r == 0 && (i < old->n || k < now->n)) {
		const Entry *o = i < old->n ? &old->items[i] : NULL, *e = k < now->n ? &now->items[k] : NULL;
		int c = !o ? 1 : !e ? -1 : strcmp(o->path, e->path);
		if (c < 0) {
			r = add_gone(o, old, now, below, &gone, err);
			i++;
			continue;
		}
		all += e->size;
		skip[k] = c == 0 && entry_same(o, e);
		changed += skip[k] ? 0 : e->size;
		/* Another type, or names of one file: what is below would shine through, or links would break. */
		if (!skip[k] && (e->link || e->inode || (c == 0 && (o->type != e->type || o->link))))
			r = 1;
		i += c == 0;
		k++;
	}
	if (r == 0 && changed * 2 > all)
		r = 1;
	if (r != 0)
		return r;
	*ret_skip = steal_ptr(&skip);
	*ret_gone = steal_ptr(&gone);
	return 0;
}
