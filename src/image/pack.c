// SPDX-License-Identifier: Apache-2.0
/*
 * Whiteouts and opaque directories stand in the tree as overlayfs knows them (character devices 0:0,
 * trusted.overlay.opaque) and in the tar as the image-spec has them (.wh. files), the reverse of what
 * unpack.c does. Of several names of one file the first in order holds the contents.
 */
#include "image/pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/sha256.h"
#include "image/tar.h"

#define CHUNK (128U << 10)
#define XATTR_MAX 65536
#define OPAQUE "trusted.overlay.opaque"

typedef struct Link {
	uint64_t ino; /* 0 = free */
	char *path;
} Link;

typedef struct Pack {
	RecipeWriter *recipe;
	Sha256 sum;
	int lowerfd;
	int file; /* the regular file at hand, or -1 */
	int64_t clamp;
	LayerInfo info;
	uint64_t entries;
	Link *links; /* hash table, open addressing, a power of two */
	size_t n_links, cap_links;
	char *chunk;
	char *names, *value; /* XATTR_MAX each, for the xattr calls */
} Pack;

static void add_bytes(Pack *p, const void *data, size_t n)
{
	sha256_add(&p->sum, data, n);
	p->info.tar_size += (int64_t) n;
}

static void add_raw(Pack *p, const void *data, size_t n)
{
	add_bytes(p, data, n);
	recipe_raw(p->recipe, data, n);
}

static void add_header(Pack *p, const TarEntry *e)
{
	AUTO_BUF b = BUF_INIT;
	tar_write_header(&b, e);
	add_raw(p, b.data, b.len);
	p->entries++;
}

/* Files with several names. */

static Link *link_slot(Pack *p, uint64_t ino)
{
	size_t i = (size_t) (ino * 0x9e3779b97f4a7c15ULL) & (p->cap_links - 1);
	while (p->links[i].ino && p->links[i].ino != ino)
		i = (i + 1) & (p->cap_links - 1);
	return &p->links[i];
}

static void links_grow(Pack *p)
{
	Link *old = p->links;
	size_t n = p->cap_links;
	p->cap_links = n ? n * 2 : 256;
	p->links = xcalloc(p->cap_links, sizeof(*p->links));
	for (size_t i = 0; i < n; i++)
		if (old[i].ino)
			*link_slot(p, old[i].ino) = old[i];
	free(old);
}

/* The first name of a file, or NULL if this is it (then it is kept). Borrowed. */
static const char *first_name(Pack *p, const struct stat *st, const char *path)
{
	if (st->st_nlink < 2)
		return NULL;
	if (p->n_links * 2 >= p->cap_links)
		links_grow(p);
	Link *l = link_slot(p, st->st_ino);
	if (l->ino)
		return l->path;
	*l = (Link) { st->st_ino, xstrdup(path) };
	p->n_links++;
	return NULL;
}

/* Attributes. */

/* Path of an entry for the xattr calls, which have no *at form: they take what /proc leads to. */
static char *proc_path(int dirfd, const char *name)
{
	return xasprintf("/proc/self/fd/%d/%s", dirfd, name);
}

static bool xattr_kept(const char *name)
{
	return str_eq(name, "security.capability") || str_starts(name, "system.posix_acl_") ||
		(str_starts(name, "user.") && !str_starts(name, "user.overlay."));
}

static int xattr_order(const void *a, const void *b)
{
	return strcmp(((const TarXattr *) a)->name, ((const TarXattr *) b)->name);
}

static int add_xattr(Pack *p, const char *proc, const char *name, const char *path, TarEntry *e, Err *err)
{
	ssize_t n = lgetxattr(proc, name, p->value, XATTR_MAX - 1);
	if (n < 0)
		return err_errno(err, -errno, "'%s': attribute '%s'", path, name);
	p->value[n] = '\0';
	TarXattr *x = array_append(e->xattrs, e->n_xattrs);
	x->name = xstrdup(name);
	x->value = xmemdup(p->value, (size_t) n + 1);
	x->len = (size_t) n;
	return 0;
}

/* Is there a directory of that name below, which an opaque one hides? */
static bool hides_something(const Pack *p, const char *path)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	if (p->lowerfd < 0)
		return true;
	AUTO_CLOSE int fd = (int) syscall(SYS_openat2, p->lowerfd, path, &how, sizeof(how));
	return fd >= 0;
}

/* Collects what belongs into the tar, removes what overlayfs has written for itself. */
static int take_xattrs(Pack *p, int dirfd, const char *name_in_dir, const char *path, TarEntry *e, bool *ret_opaque, Err *err)
{
	/* Most files have none; a path through /proc costs more than all else that is done for a small one. */
	if (p->file >= 0 && flistxattr(p->file, NULL, 0) == 0)
		return 0;
	AUTO_FREE char *proc = proc_path(dirfd, name_in_dir);
	ssize_t n = llistxattr(proc, p->names, XATTR_MAX);
	if (n < 0)
		return errno == ENOTSUP ? 0 : err_errno(err, -errno, "'%s': attributes", path);
	for (char *name = p->names; name < p->names + n; name += strlen(name) + 1) {
		char value = 0;
		if (xattr_kept(name)) {
			int r = add_xattr(p, proc, name, path, e, err);
			if (r < 0)
				return r;
		} else if (str_eq(name, OPAQUE)) {
			*ret_opaque = lgetxattr(proc, name, &value, 1) == 1 && value == 'y' && hides_something(p, path);
			if (!*ret_opaque && lremovexattr(proc, name) < 0)
				return err_errno(err, -errno, "'%s': removing attribute '%s'", path, name);
		} else if (str_starts(name, "trusted.overlay.") && lremovexattr(proc, name) < 0) {
			return err_errno(err, -errno, "'%s': removing attribute '%s'", path, name);
		}
	}
	if (e->n_xattrs)
		qsort(e->xattrs, e->n_xattrs, sizeof(*e->xattrs), xattr_order);
	return 0;
}

static int take_time(Pack *p, int dirfd, const char *name, const char *path, const struct stat *st, TarEntry *e, Err *err)
{
	e->mtime = st->st_mtim.tv_sec;
	if (p->clamp && e->mtime > p->clamp)
		e->mtime = p->clamp;
	if (e->mtime == st->st_mtim.tv_sec && !st->st_mtim.tv_nsec)
		return 0;
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = e->mtime } };
	return utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? err_errno(err, -errno, "'%s': its time", path) : 0;
}

/* Entries. */

static int add_contents(Pack *p, const char *path, uint64_t size, Err *err)
{
	static const char zero[TAR_BLOCK];
	if (size)
		recipe_file(p->recipe, path);
	for (uint64_t at = 0; at < size;) {
		size_t want = size - at < CHUNK ? (size_t) (size - at) : CHUNK;
		ssize_t n = pread(p->file, p->chunk, want, (off_t) at);
		if (n <= 0)
			return err_errno(err, n < 0 ? -errno : -EIO, "'%s'", path);
		add_bytes(p, p->chunk, (size_t) n);
		recipe_segment(p->recipe, at, (uint64_t) n);
		at += (uint64_t) n;
	}
	p->info.size += (int64_t) size;
	size_t padding = tar_padding(size);
	if (padding)
		add_raw(p, zero, padding);
	return 0;
}

static int add_directory(Pack *p, int fd, const char *path, Err *err);

static void add_marker(Pack *p, const char *path, const char *name, int64_t mtime)
{
	AUTO_FREE char *marker = xasprintf("%s%s%s", path, *path ? "/" : "", name);
	TarEntry e = { .type = TAR_FILE, .path = marker, .mode = 0600, .mtime = mtime };
	add_header(p, &e);
}

static int enter_directory(Pack *p, int dirfd, const char *name, const char *path, const TarEntry *e, bool opaque, Err *err)
{
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "'%s'", path);
	add_header(p, e);
	if (opaque)
		add_marker(p, path, ".wh..wh..opq", e->mtime);
	return add_directory(p, fd, path, err);
}

static int add_link_target(int dirfd, const char *name, const char *path, TarEntry *e, Err *err)
{
	char target[4097];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target));
	if (n < 0 || n == sizeof(target))
		return err_errno(err, n < 0 ? -errno : -ENAMETOOLONG, "'%s'", path);
	e->link = xstrndup(target, (size_t) n);
	return 0;
}

static int add_typed(Pack *p, int dirfd, const char *name, const char *path, const struct stat *st, TarEntry *e, bool opaque, Err *err)
{
	int r = 0;
	const char *first = S_ISDIR(st->st_mode) ? NULL : first_name(p, st, path);
	if (first) {
		e->type = TAR_HARDLINK;
		e->link = xstrdup(first);
		add_header(p, e);
		return 0;
	}
	switch (st->st_mode & S_IFMT) {
	case S_IFDIR:
		e->type = TAR_DIRECTORY;
		free(e->path);
		e->path = xasprintf("%s/", path);
		return enter_directory(p, dirfd, name, path, e, opaque, err);
	case S_IFREG:
		e->type = TAR_FILE;
		e->size = e->stored = (uint64_t) st->st_size;
		add_header(p, e);
		return add_contents(p, path, e->size, err);
	case S_IFLNK:
		e->type = TAR_SYMLINK;
		r = add_link_target(dirfd, name, path, e, err);
		break;
	case S_IFIFO:
		e->type = TAR_FIFO;
		break;
	default:
		e->type = S_ISCHR(st->st_mode) ? TAR_CHARDEV : TAR_BLOCKDEV;
		e->major = major(st->st_rdev);
		e->minor = minor(st->st_rdev);
	}
	if (r == 0)
		add_header(p, e);
	return r;
}

static int add_entry(Pack *p, int dirfd, const char *name, const char *path, Err *err)
{
	struct stat st;
	bool opaque = false;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(err, -errno, "'%s'", path);
	if (strlen(path) >= PATH_MAX)
		return err_set(err, -ENAMETOOLONG, "'%.60s…' is longer than %d bytes", path, PATH_MAX - 1);
	if (p->entries >= LIMIT_LAYER_ENTRIES)
		return err_set(err, -EFBIG, "more than %d files", LIMIT_LAYER_ENTRIES);
	if (S_ISSOCK(st.st_mode))
		return unlinkat(dirfd, name, 0) < 0 ? err_errno(err, -errno, "'%s'", path) : 0;
	if (S_ISCHR(st.st_mode) && st.st_rdev == 0) {
		const char *slash = strrchr(path, '/');
		AUTO_FREE char *dir = xstrndup(path, slash ? (size_t) (slash - path) : 0);
		AUTO_FREE char *marker = xasprintf(".wh.%s", name);
		add_marker(p, dir, marker, p->clamp);
		return 0;
	}
	TarEntry e __attribute__((cleanup(tar_entry_done))) = {
		.path = xstrdup(path), .mode = st.st_mode & 07777, .uid = st.st_uid, .gid = st.st_gid,
	};
	AUTO_CLOSE int file = S_ISREG(st.st_mode) ? openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
	if (S_ISREG(st.st_mode) && file < 0)
		return err_errno(err, -errno, "'%s'", path);
	p->file = file;
	int r = take_xattrs(p, dirfd, name, path, &e, &opaque, err);
	if (r < 0 || (r = take_time(p, dirfd, name, path, &st, &e, err)) < 0)
		return r;
	return add_typed(p, dirfd, name, path, &st, &e, opaque, err);
}

static int name_order(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

static int list_names(int fd, const char *path, char ***ret, size_t *ret_n, Err *err)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (!d)
		return err_errno(err, -errno, "'%s'", path);
	struct dirent *e;
	while ((e = readdir(d)))
		if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
			*array_append(*ret, *ret_n) = xstrdup(e->d_name);
	(void) closedir(d);
	if (*ret_n)
		qsort(*ret, *ret_n, sizeof(char *), name_order);
	return 0;
}

static int add_directory(Pack *p, int fd, const char *path, Err *err)
{
	char **names = NULL;
	size_t n = 0;
	int r = list_names(fd, path, &names, &n, err);
	for (size_t i = 0; i < n; i++) {
		AUTO_FREE char *child = xasprintf("%s%s%s", path, *path ? "/" : "", names[i]);
		if (r == 0)
			r = add_entry(p, fd, names[i], child, err);
		free(names[i]);
	}
	free(names);
	return r;
}

static void pack_done(Pack *p)
{
	for (size_t i = 0; i < p->cap_links; i++)
		free(p->links[i].path);
	free(p->links);
	free(p->chunk);
	free(p->names);
	free(p->value);
}

int pack_layer(int rootfd, int lowerfd, int64_t clamp, RecipeWriter *recipe, char ret_diff_id[sizeof(DIGEST_PREFIX) + 64], LayerInfo *ret, Err *err)
{
	AUTO(pack_done) Pack p = { .recipe = recipe, .lowerfd = lowerfd, .file = -1, .clamp = clamp };
	bool opaque = false;
	TarEntry root = { 0 };
	AUTO_BUF end = BUF_INIT;
	sha256_begin(&p.sum);
	p.chunk = xmalloc(CHUNK);
	p.names = xmalloc(XATTR_MAX);
	p.value = xmalloc(XATTR_MAX);
	/* The root's own attributes are a lower layer's or the runtime's business: only overlay's marks go. */
	int r = take_xattrs(&p, rootfd, ".", "/", &root, &opaque, err);
	tar_entry_done(&root);
	if (r < 0 || (r = add_directory(&p, rootfd, "", err)) < 0)
		return r;
	tar_write_end(&end);
	add_raw(&p, end.data, end.len);
	sha256_digest(&p.sum, ret_diff_id);
	*ret = p.info;
	return 0;
}
