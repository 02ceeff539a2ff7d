// SPDX-License-Identifier: Apache-2.0
/*
 * The image's tree is an overlay mount of its layers, read-only, in a mount namespace of this process.
 * The copy is made beside the volume, under tmp/, and takes the place of the volume's empty directory by
 * one rename: a copy that was cut short leaves the volume empty, so that the next start makes it anew.
 */
#include "image/copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

#define XATTR_MAX 65536
#define CHUNK (256U << 10)

typedef struct CopyLink {
	uint64_t ino; /* 0 = free */
	char *path;   /* below the copy's root */
} CopyLink;

typedef struct Copy {
	int root; /* of the copy */
	CopyLink *links;
	size_t n_links, cap_links;
	char *names, *value, *chunk;
} Copy;

static CopyLink *link_slot(Copy *c, uint64_t ino)
{
	size_t i = (size_t) (ino * 0x9e3779b97f4a7c15ULL) & (c->cap_links - 1);
	while (c->links[i].ino && c->links[i].ino != ino)
		i = (i + 1) & (c->cap_links - 1);
	return &c->links[i];
}

/* Remembers the first name of a file with several; gives it for the others. */
static const char *first_name(Copy *c, const struct stat *st, const char *path)
{
	if (st->st_nlink < 2)
		return NULL;
	if (c->n_links * 2 >= c->cap_links) {
		CopyLink *old = c->links;
		size_t n = c->cap_links;
		c->cap_links = n ? n * 2 : 256;
		c->links = xcalloc(c->cap_links, sizeof(*c->links));
		for (size_t i = 0; i < n; i++)
			if (old[i].ino)
				*link_slot(c, old[i].ino) = old[i];
		free(old);
	}
	CopyLink *l = link_slot(c, st->st_ino);
	if (l->ino)
		return l->path;
	*l = (CopyLink) { st->st_ino, xstrdup(path) };
	c->n_links++;
	return NULL;
}

/* trusted.overlay.* belongs to the layers' overlay, not to the files. */
static int copy_xattrs(Copy *c, const char *from, const char *to, const char *path, Err *err)
{
	ssize_t n = llistxattr(from, c->names, XATTR_MAX);
	if (n < 0)
		return errno == ENOTSUP ? 0 : err_errno(err, -errno, "'%s': attributes", path);
	for (const char *name = c->names; name < c->names + n; name += strlen(name) + 1) {
		if (str_starts(name, "trusted.overlay."))
			continue;
		ssize_t k = lgetxattr(from, name, c->value, XATTR_MAX);
		if (k < 0 || (lsetxattr(to, name, c->value, (size_t) k, 0) < 0 && errno != ENOTSUP))
			return err_errno(err, -errno, "'%s': attribute '%s'", path, name);
	}
	return 0;
}

/* Owner before mode before xattrs: chown(2) clears setuid and capabilities. `name` "." means the directory itself. */
static int copy_attributes(Copy *c, int from, int to, const char *name, const char *path, const struct stat *st, Err *err)
{
	AUTO_FREE char *from_path = xasprintf("/proc/self/fd/%d/%s", from, name);
	AUTO_FREE char *to_path = xasprintf("/proc/self/fd/%d/%s", to, name);
	struct timespec times[2] = { st->st_atim, st->st_mtim };
	if (fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
		(!S_ISLNK(st->st_mode) && fchmodat(to, name, st->st_mode & 07777, 0) < 0))
		return err_errno(err, -errno, "'%s'", path);
	int r = copy_xattrs(c, from_path, to_path, path, err);
	if (r < 0)
		return r;
	return utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? err_errno(err, -errno, "'%s'", path) : 0;
}

static int copy_range(Copy *c, int from, int to, off_t at, off_t end)
{
	while (at < end) {
		size_t want = end - at < (off_t) CHUNK ? (size_t) (end - at) : CHUNK;
		ssize_t n = pread(from, c->chunk, want, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (ssize_t done = 0; done < n;) {
			ssize_t k = pwrite(to, c->chunk + done, (size_t) (n - done), at + done);
			if (k < 0 && errno == EINTR)
				continue;
			if (k < 0)
				return -errno;
			done += k;
		}
		at += n;
	}
	return 0;
}

/* Only what is stored: holes stay holes. */
static int copy_contents(Copy *c, int from, int to, off_t size)
{
	off_t at = 0;
	while (at < size) {
		off_t data = lseek(from, at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0)
			return copy_range(c, from, to, at, size);
		off_t hole = lseek(from, data, SEEK_HOLE);
		if (hole < 0 || hole > size)
			hole = size;
		int r = copy_range(c, from, to, data, hole);
		if (r < 0)
			return r;
		at = hole;
	}
	return ftruncate(to, size) < 0 ? -errno : 0;
}

static int copy_file(Copy *c, int from, int to, const char *name, const char *path, const struct stat *st, Err *err)
{
	AUTO_CLOSE int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	AUTO_CLOSE int out = in < 0 ? -1 : openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return err_errno(err, -errno, "'%s'", path);
	int r = copy_contents(c, in, out, st->st_size);
	if (r == -ENOSPC || r == -EDQUOT)
		return err_set(err, r, "'%s': no space left on the file system of the volume", path);
	return r < 0 ? err_errno(err, r, "'%s'", path) : 0;
}

static int copy_symlink(int from, int to, const char *name, const char *path, Err *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);
	if (n < 0)
		return err_errno(err, -errno, "'%s'", path);
	target[n] = '\0';
	return symlinkat(target, to, name) < 0 ? err_errno(err, -errno, "'%s'", path) : 0;
}

static int copy_directory(Copy *c, int from, int to, const char *path, Err *err);

static int copy_subdirectory(Copy *c, int from, int to, const char *name, const char *path, Err *err)
{
	if (mkdirat(to, name, 0700) < 0)
		return err_errno(err, -errno, "'%s'", path);
	AUTO_CLOSE int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO_CLOSE int out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (in < 0 || out < 0)
		return err_errno(err, -errno, "'%s'", path);
	return copy_directory(c, in, out, path, err);
}

static int copy_entry(Copy *c, int from, int to, const char *name, const char *path, Err *err)
{
	struct stat st;
	int r;
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(err, -errno, "'%s'", path);
	if (S_ISSOCK(st.st_mode) || (S_ISCHR(st.st_mode) && st.st_rdev == 0))
		return 0;
	if (strlen(path) >= PATH_MAX)
		return err_set(err, -ENAMETOOLONG, "'%.60s…' is longer than %d bytes", path, PATH_MAX - 1);
	const char *first = S_ISDIR(st.st_mode) ? NULL : first_name(c, &st, path);
	if (first)
		return linkat(c->root, first, to, name, 0) < 0 ? err_errno(err, -errno, "'%s'", path) : 0;
	switch (st.st_mode & S_IFMT) {
	case S_IFDIR:
		r = copy_subdirectory(c, from, to, name, path, err);
		break;
	case S_IFREG:
		r = copy_file(c, from, to, name, path, &st, err);
		break;
	case S_IFLNK:
		r = copy_symlink(from, to, name, path, err);
		break;
	default:
		r = mknodat(to, name, st.st_mode & (S_IFMT | 0600), st.st_rdev) < 0 ? err_errno(err, -errno, "'%s'", path) : 0;
	}
	return r < 0 ? r : copy_attributes(c, from, to, name, path, &st, err);
}

static int copy_directory(Copy *c, int from, int to, const char *path, Err *err)
{
	int copy = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;
	int r = 0;
	if (!d)
		return err_errno(err, -errno, "'%s'", path);
	while (r == 0 && (e = readdir(d))) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		AUTO_FREE char *child = xasprintf("%s%s%s", path, *path ? "/" : "", e->d_name);
		r = copy_entry(c, from, to, e->d_name, child, err);
	}
	(void) closedir(d);
	return r;
}

static void copy_done(Copy *c)
{
	for (size_t i = 0; i < c->cap_links; i++)
		free(c->links[i].path);
	free(c->links);
	free(c->names);
	free(c->value);
	free(c->chunk);
}

/**
 * What is in the directory `from` into the directory `to`; then from's own owner, mode, times and xattrs onto `to`.
 * Both fds readable. Whiteouts and sockets are passed over; symlinks are copied, mounts are not entered.
 */
static int copy_tree(int from, int to, Err *err)
{
	AUTO(copy_done) Copy c = { .root = to };
	struct stat st;
	c.names = xmalloc(XATTR_MAX);
	c.value = xmalloc(XATTR_MAX);
	c.chunk = xmalloc(CHUNK);
	if (fstat(from, &st) < 0)
		return err_errno(err, -errno, "the directory to copy");
	int r = copy_directory(&c, from, to, "", err);
	return r < 0 ? r : copy_attributes(&c, from, to, ".", "/", &st, err);
}

/* Copying up. */

static bool layer_name_valid(const char *s)
{
	return s && strlen(s) == 32 && strspn(s, "0123456789abcdef") == 32;
}

/* The image's root, read-only. One layer needs no overlay. Mount options fit one page by relative names. */
static int mount_image(const char *state_dir, const json_t *layers, const char *point, Err *err)
{
	AUTO_BUF options = BUF_INIT;
	AUTO_FREE char *dir = xasprintf("%s/layers", state_dir);
	size_t n = json_array_size(layers);
	if (n == 0 || n > LIMIT_IMAGE_LAYERS)
		return err_set(err, -EINVAL, "%zu layers to copy from", n);
	buf_str(&options, "lowerdir=");
	for (size_t i = n; i > 0; i--) {
		const char *name = json_string_value(json_array_get(layers, i - 1));
		if (!layer_name_valid(name))
			return err_set(err, -EINVAL, "'%.80s' is not a layer", name ? name : "");
		buf_printf(&options, "%s%s", i == n ? "" : ":", name);
	}
	if (chdir(dir) < 0)
		return err_errno(err, -errno, "%s", dir);
	if (n == 1) {
		const char *only = json_string_value(json_array_get(layers, 0));
		int layer = open(only, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		return layer < 0 ? err_errno(err, -errno, "layer %s", only) : layer;
	}
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_errno(err, -errno, "making a mount namespace");
	if (mount("overlay", point, "overlay", MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOEXEC, options.data) < 0)
		return err_errno(err, -errno, "mounting the image's layers");
	int fd = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_errno(err, -errno, "%s", point) : fd;
}

static bool dir_is_empty(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	bool empty = d != NULL;
	while (empty && (e = readdir(d)))
		empty = str_eq(e->d_name, ".") || str_eq(e->d_name, "..");
	if (d)
		(void) closedir(d);
	return empty;
}

/* `made` takes the place of the empty directory dst. */
static int put_in_place(int from, const char *made, const char *dst, Err *err)
{
	AUTO_CLOSE int to = open(made, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (to < 0)
		return err_errno(err, -errno, "%s", made);
	int r = copy_tree(from, to, err);
	if (r < 0)
		return r;
	if (syncfs(to) < 0)
		return err_errno(err, -errno, "%s: writing to disk", dst);
	if (rename(made, dst) < 0)
		return err_errno(err, -errno, "%s", dst);
	AUTO_FREE char *parent = xstrndup(dst, (size_t) (strrchr(dst, '/') - dst));
	return (r = fd_sync_dir(AT_FDCWD, *parent ? parent : "/")) < 0 ? err_errno(err, r, "%s", parent) : 0;
}

static int copy_from(int root, const char *work, const char *path, const char *dst, bool *ret_copied, Err *err)
{
	AUTO_FREE char *made = xasprintf("%s/made", work);
	AUTO_CLOSE int from = open_in_root(root, path, O_RDONLY | O_DIRECTORY, 0);
	if (from == -ENOENT || from == -ENOTDIR || from == -ELOOP)
		return 0;
	if (from < 0)
		return err_errno(err, from, "'%s' in the image", path);
	if (!dir_is_empty(dst))
		return 0;
	if (mkdir(made, 0700) < 0)
		return err_errno(err, -errno, "%s", made);
	int r = put_in_place(from, made, dst, err);
	*ret_copied = r == 0;
	return r;
}

/* Held shared by all that work under tmp/: a sweep empties it. */
static int lock_tmp(const char *state_dir, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/tmp/lock", state_dir);
	AUTO_CLOSE int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0 || flock(lock, LOCK_SH) < 0)
		return err_errno(err, -errno, "%s", path);
	return steal_fd(&lock);
}

int copy_up(const char *state_dir, const json_t *options, bool *ret_copied, Err *err)
{
	char name[33];
	const char *path = json_string_value(json_object_get(options, "path"));
	const char *dst = json_string_value(json_object_get(options, "dst"));
	if (!path || path[0] != '/' || !dst || dst[0] != '/')
		return err_set(err, -EINVAL, "a copy needs absolute paths");
	AUTO_CLOSE int lock = lock_tmp(state_dir, err);
	if (lock < 0)
		return lock;
	hex_random(16, name);
	AUTO_FREE char *work = xasprintf("%s/tmp/copy-%s", state_dir, name);
	AUTO_FREE char *point = xasprintf("%s/image", work);
	if (mkdir(work, 0700) < 0 || mkdir(point, 0700) < 0)
		return err_errno(err, -errno, "%s", work);
	int root = mount_image(state_dir, json_object_get(options, "layers"), point, err);
	int r = root < 0 ? root : copy_from(root, work, path, dst, ret_copied, err);
	if (root >= 0)
		(void) close(root);
	(void) umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW);
	(void) tree_remove(AT_FDCWD, work);
	return r < 0 ? err_wrap(err, "copying '%s' of the image to %s", path, dst) : 0;
}
