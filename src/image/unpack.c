// SPDX-License-Identifier: Apache-2.0
/*
 * The directory of an entry is resolved by the kernel with RESOLVE_BENEATH, so a symlink that an
 * earlier entry planted can lead elsewhere inside the layer but never out of it; the last component is
 * never followed (O_EXCL, O_NOFOLLOW, AT_SYMLINK_NOFOLLOW). That descriptor is kept while entries stay
 * in the same directory, which they mostly do. Times of directories are set at the end, since each
 * entry made in one changes them.
 *
 * Whiteouts hide what lower layers have, never what the same layer brings, in whatever order they
 * stand: a directory that meets its own whiteout becomes opaque, a file simply stays.
 */
#include "image/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/tar.h"

#define WHITEOUT ".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define WHITEOUT_META ".wh..wh." /* aufs' own files */
#define CHUNK (128U << 10)
#define DIRECTORIES_BYTES (64U << 20) /* memory for the names of directories */

typedef struct DirTime {
	char *path;
	mode_t mode;
	struct timespec mtime;
} DirTime;

typedef struct Unpack {
	TarReader *tar;
	int root, parent;
	char *parent_path; /* of `parent`; NULL = none yet */
	RecipeWriter *recipe;
	bool plain; /* files alone, by whoever it is */
	UnpackResult result;
	DirTime *dirs;
	size_t n_dirs, dirs_bytes;
	char *chunk;
} Unpack;

static int open_beneath(int dirfd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t) (flags | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd;
	do
		fd = syscall(SYS_openat2, dirfd, *path ? path : ".", &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? -errno : (int) fd;
}

/* Why a system call on an entry failed; on a full disk, how much is missing. */
static int failed(Unpack *u, const char *path, int code, Err *err)
{
	struct statvfs v;
	if (code != -ENOSPC && code != -EDQUOT)
		return err_errno(err, code, "'%s'", path);
	if (u->plain)
		return err_set(err, code, "'%s': no space left on the file system for temporary files: set TMPDIR to a directory elsewhere, or make room", path);
	if (fstatvfs(u->root, &v) == 0 && v.f_files && !v.f_favail)
		return err_set(err, code, "'%s': no inodes left on the file system of the state directory: remove files or images",
			path);
	AUTO_FREE char *done = format_bytes((int64_t) u->result.bytes);
	AUTO_FREE char *free_now = format_bytes((int64_t) (v.f_bavail * v.f_frsize));
	return err_set(err, code,
		"'%s': no space left on the file system of the state directory (%s of this layer were written, %s are free "
		"now): remove images ('stead image prune') or make room",
		path, done, free_now);
}

int unpack_name(const char *name, char **ret, Err *err)
{
	Buf b = BUF_INIT;
	size_t depth = 0;
	int r = 0;
	if (name[0] == '/' && name[strspn(name, "/")])
		r = err_set(err, -EINVAL, "'%s' is an absolute path: refused", name);
	for (const char *p = name; r == 0 && *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && p[0] == '.' && p[1] == '.')
			r = err_set(err, -EINVAL, "'%s' leads out of the layer with '..': refused", name);
		else if (n && !(n == 1 && p[0] == '.')) {
			if (b.len)
				buf_char(&b, '/');
			buf_append(&b, p, n);
			if (++depth > LIMIT_PATH_DEPTH)
				r = err_set(err, -EINVAL, "'%.60s…' is deeper than %d directories", name, LIMIT_PATH_DEPTH);
		}
		p += n;
		while (*p == '/')
			p++;
	}
	if (r < 0) {
		buf_done(&b);
		return r;
	}
	*ret = buf_steal(&b);
	return 0;
}

static int parent_failed(Unpack *u, const char *path, const char *parent, int code, Err *err)
{
	if (code == -EXDEV)
		return err_set(err, -EINVAL, "'%s': its directory '%s' leads out of the layer through a symbolic link: refused",
			path, parent);
	if (code == -ELOOP)
		return err_set(err, -EINVAL, "'%s': its directory '%s' is a loop of symbolic links", path, parent);
	if (code == -ENOTDIR)
		return err_set(err, -EINVAL, "'%s': '%s' is not a directory", path, parent);
	return failed(u, path, code, err);
}

/* Opens `parent`, making what is missing of it as docker does: owned by root, 0755. */
static int make_parents(Unpack *u, const char *path, const char *parent, Err *err)
{
	AUTO_CLOSE int fd = open_beneath(u->root, "", O_PATH | O_DIRECTORY);
	if (fd < 0)
		return failed(u, path, fd, err);
	AUTO_FREE char *prefix = xstrdup(parent);
	for (char *p = prefix;; p++) {
		p += strcspn(p, "/");
		bool last = !*p;
		*p = '\0';
		const char *slash = strrchr(prefix, '/');
		int next = open_beneath(u->root, prefix, O_PATH | O_DIRECTORY);
		if (next == -ENOENT) {
			if (mkdirat(fd, slash ? slash + 1 : prefix, 0755) < 0)
				return errno == EEXIST ? err_set(err, -EINVAL,
								 "'%s': its directory '%s' is a symbolic link to nothing", path,
								 prefix) :
							 failed(u, path, -errno, err);
			next = open_beneath(u->root, prefix, O_PATH | O_DIRECTORY);
		}
		if (next < 0)
			return parent_failed(u, path, prefix, next, err);
		(void) close(fd);
		fd = next;
		if (last)
			return steal_fd(&fd);
		*p = '/';
	}
}

static void forget_parent(Unpack *u)
{
	if (u->parent >= 0)
		(void) close(u->parent);
	u->parent = -1;
	free_and_null(&u->parent_path);
}

/* Points u->parent at the directory of `path` and gives the last component (borrowed from path). */
static int enter_parent(Unpack *u, const char *path, const char **ret_base, Err *err)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t) (slash - path) : 0;
	*ret_base = slash ? slash + 1 : path;
	if (u->parent_path && strlen(u->parent_path) == n && memcmp(u->parent_path, path, n) == 0)
		return 0;
	forget_parent(u);
	AUTO_FREE char *parent = xstrndup(path, n);
	int fd = open_beneath(u->root, parent, O_PATH | O_DIRECTORY);
	if (fd == -ENOENT)
		fd = make_parents(u, path, parent, err);
	else if (fd < 0)
		return parent_failed(u, path, parent, fd, err);
	if (fd < 0)
		return fd;
	u->parent = fd;
	u->parent_path = steal_ptr(&parent);
	return 0;
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

static int set_opaque(Unpack *u, const char *base, const char *path, Err *err)
{
	AUTO_CLOSE int fd = openat(u->parent, *base ? base : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0)
		return failed(u, path, -errno, err);
	return 0;
}

/*
 * Something stands where an entry wants to go: makes room. 1: it may stay (a directory for a
 * directory); 0: gone; *ret_opaque: it was the whiteout of a directory that now comes.
 */
static int make_room(Unpack *u, const char *base, const char *path, bool directory, bool *ret_opaque, Err *err)
{
	struct stat st;
	if (fstatat(u->parent, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : failed(u, path, -errno, err);
	if (S_ISDIR(st.st_mode) && directory)
		return 1;
	*ret_opaque = directory && is_whiteout(&st);
	if (!is_whiteout(&st))
		u->result.irregular = true;
	int r = S_ISDIR(st.st_mode) ? tree_remove(u->parent, base) : unlinkat(u->parent, base, 0) < 0 ? -errno : 0;
	return r < 0 ? failed(u, path, r, err) : 0;
}

/* Which extended attributes of an archive are put on the file. */
static int xattr_wanted(const char *name, const char *path, Err *err)
{
	/* These steer overlayfs: an archive could redirect a directory with them. Whiteouts come as .wh. files. */
	if (str_starts(name, "trusted.overlay.") || str_starts(name, "user.overlay."))
		return err_set(err, -EINVAL, "'%s' has the attribute '%s', which belongs to overlayfs: refused", path, name);
	/* Labels of another machine's security policy (selinux, ima …) mean nothing here; trusted.* is the host's. */
	return str_eq(name, "security.capability") || str_starts(name, "user.") || str_starts(name, "system.posix_acl_");
}

/* fd >= 0: the file itself; else by name in u->parent. */
static int put_xattrs(Unpack *u, int fd, const char *base, const char *path, const TarEntry *e, Err *err)
{
	for (size_t i = 0; i < e->n_xattrs; i++) {
		const TarXattr *x = &e->xattrs[i];
		int r = xattr_wanted(x->name, path, err);
		if (r < 0)
			return r;
		if (r == 0)
			continue;
		if (fd >= 0) {
			r = fsetxattr(fd, x->name, x->value, x->len, 0);
		} else {
			AUTO_FREE char *proc = xasprintf("/proc/self/fd/%d/%s", u->parent, base);
			r = lsetxattr(proc, x->name, x->value, x->len, 0);
		}
		/* A file system without user attributes (old tmpfs) loses nothing that a program runs by; capabilities it must keep. */
		if (r < 0 && !(errno == ENOTSUP && !str_starts(x->name, "security.")))
			return err_errno(err, -errno, "'%s': attribute '%s'", path, x->name);
	}
	return 0;
}

static struct timespec entry_time(const TarEntry *e)
{
	return (struct timespec) { .tv_sec = e->mtime, .tv_nsec = e->mtime_ns };
}

/*
 * Owner, then mode (chown clears setuid), then attributes (chown clears capabilities), then times. Most are made with the right owner and
 * mode, and asking costs a tenth of a change, which goes through the file system's journal.
 */
static int put_attributes_fd(Unpack *u, int fd, const char *path, const TarEntry *e, bool time, Err *err)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, entry_time(e) };
	struct stat st;
	if (fstat(fd, &st) < 0)
		return failed(u, path, -errno, err);
	bool owned = u->plain || (st.st_uid == e->uid && st.st_gid == e->gid);
	/* What comes into a directory must be able to, also without root's rights. */
	mode_t mode = u->plain && S_ISDIR(st.st_mode) ? e->mode | 0700 : e->mode;
	if ((!owned && fchown(fd, e->uid, e->gid) < 0) || ((!owned || (st.st_mode & 07777) != mode) && fchmod(fd, mode) < 0))
		return failed(u, path, -errno, err);
	int r = u->plain ? 0 : put_xattrs(u, fd, NULL, path, e, err);
	if (r < 0)
		return r;
	return time && futimens(fd, times) < 0 ? failed(u, path, -errno, err) : 0;
}

static int put_attributes_at(Unpack *u, const char *base, const char *path, const TarEntry *e, Err *err)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, entry_time(e) };
	if (!u->plain && fchownat(u->parent, base, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(u, path, -errno, err);
	if (e->type != TAR_SYMLINK && fchmodat(u->parent, base, e->mode, 0) < 0)
		return failed(u, path, -errno, err);
	int r = u->plain ? 0 : put_xattrs(u, -1, base, path, e, err);
	if (r < 0)
		return r;
	return utimensat(u->parent, base, times, AT_SYMLINK_NOFOLLOW) < 0 ? failed(u, path, -errno, err) : 0;
}

/* Entries. */

static int write_contents(Unpack *u, int fd, const char *path, const TarEntry *e, Err *err)
{
	uint64_t offset, end = 0;
	ssize_t n;
	if (u->recipe && e->stored)
		recipe_file(u->recipe, path);
	while ((n = tar_read(u->tar, u->chunk, CHUNK, &offset, err)) > 0) {
		for (ssize_t done = 0; done < n;) {
			ssize_t k = pwrite(fd, u->chunk + done, (size_t) (n - done), (off_t) (offset + (uint64_t) done));
			if (k < 0 && errno == EINTR)
				continue;
			if (k < 0)
				return failed(u, path, -errno, err);
			done += k;
		}
		end = offset + (uint64_t) n;
		u->result.bytes += (uint64_t) n;
		if (u->recipe)
			recipe_segment(u->recipe, offset, (uint64_t) n);
	}
	if (n < 0)
		return err_wrap(err, "'%s'", path);
	u->result.holes += e->size - e->stored;
	if (end < e->size && ftruncate(fd, (off_t) e->size) < 0)
		return failed(u, path, -errno, err);
	return 0;
}

static int make_file(Unpack *u, const char *base, const char *path, const TarEntry *e, Err *err)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	mode_t mode = e->mode & 0777;
	AUTO_CLOSE int fd = openat(u->parent, base, flags, mode);
	if (fd < 0 && errno == EEXIST) {
		bool opaque;
		int r = make_room(u, base, path, false, &opaque, err);
		if (r < 0)
			return r;
		fd = openat(u->parent, base, flags, mode);
	}
	if (fd < 0)
		return failed(u, path, -errno, err);
	int r = write_contents(u, fd, path, e, err);
	return r < 0 ? r : put_attributes_fd(u, fd, path, e, true, err);
}

static int remember_time(Unpack *u, const char *path, const TarEntry *e, Err *err)
{
	u->dirs_bytes += strlen(path) + sizeof(DirTime);
	if (u->dirs_bytes > DIRECTORIES_BYTES)
		return err_set(err, -EFBIG, "'%s': the names of this layer's directories take more than %u bytes", path,
			DIRECTORIES_BYTES);
	*array_append(u->dirs, u->n_dirs) = (DirTime) { xstrdup(path), e->mode, entry_time(e) };
	return 0;
}

static int make_directory(Unpack *u, const char *base, const char *path, const TarEntry *e, Err *err)
{
	bool opaque = false;
	int r = 0;
	if (*base && mkdirat(u->parent, base, 0700) < 0) {
		if (errno != EEXIST)
			return failed(u, path, -errno, err);
		r = make_room(u, base, path, true, &opaque, err);
		if (r < 0)
			return r;
		if (r == 0 && mkdirat(u->parent, base, 0700) < 0)
			return failed(u, path, -errno, err);
	}
	AUTO_CLOSE int fd = openat(u->parent, *base ? base : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return failed(u, path, -errno, err);
	if (opaque && (r = set_opaque(u, base, path, err)) < 0)
		return r;
	r = put_attributes_fd(u, fd, path, e, false, err);
	return r < 0 ? r : remember_time(u, path, e, err);
}

static int make_hardlink(Unpack *u, const char *base, const char *path, const TarEntry *e, Err *err)
{
	AUTO_FREE char *target = NULL;
	int r = unpack_name(e->link, &target, err);
	if (r < 0)
		return err_wrap(err, "'%s' is a hard link", path);
	const char *slash = strrchr(target, '/');
	AUTO_FREE char *dir = xstrndup(target, slash ? (size_t) (slash - target) : 0);
	AUTO_CLOSE int fd = open_beneath(u->root, dir, O_PATH | O_DIRECTORY);
	if (fd == -EXDEV)
		return err_set(err, -EINVAL,
			"'%s' is a hard link to '%s', which leads out of the layer through a symbolic link: refused", path, target);
	const char *name = slash ? slash + 1 : target;
	struct stat st;
	if (fd < 0 || !*name || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(err, -EINVAL, "'%s' is a hard link to '%s', which is not in this layer", path, target);
	if (S_ISDIR(st.st_mode))
		return err_set(err, -EINVAL, "'%s' is a hard link to the directory '%s'", path, target);
	if (linkat(fd, name, u->parent, base, 0) == 0)
		return 0;
	if (errno == EEXIST) {
		struct stat old;
		bool opaque;
		if (fstatat(u->parent, base, &old, AT_SYMLINK_NOFOLLOW) == 0 && old.st_ino == st.st_ino && old.st_dev == st.st_dev)
			return 0;
		r = make_room(u, base, path, false, &opaque, err);
		if (r < 0)
			return r;
		if (linkat(fd, name, u->parent, base, 0) == 0)
			return 0;
	}
	return failed(u, path, -errno, err);
}

static int make_node_once(Unpack *u, const char *base, const TarEntry *e)
{
	static const mode_t kinds[] = { [TAR_CHARDEV] = S_IFCHR, [TAR_BLOCKDEV] = S_IFBLK, [TAR_FIFO] = S_IFIFO };
	int r = e->type == TAR_SYMLINK ? symlinkat(e->link, u->parent, base) :
					 mknodat(u->parent, base, kinds[e->type] | 0600,
						 e->type == TAR_FIFO ? 0 : makedev(e->major, e->minor));
	return r < 0 ? -errno : 0;
}

static int make_node(Unpack *u, const char *base, const char *path, const TarEntry *e, Err *err)
{
	int r = make_node_once(u, base, e);
	if (r == -EEXIST) {
		bool opaque;
		r = make_room(u, base, path, false, &opaque, err);
		if (r < 0)
			return r;
		r = make_node_once(u, base, e);
	}
	if (r < 0)
		return failed(u, path, r, err);
	return put_attributes_at(u, base, path, e, err);
}

static int make_whiteout(Unpack *u, const char *base, const char *path, Err *err)
{
	struct stat st;
	if (str_eq(base, WHITEOUT_OPAQUE))
		return set_opaque(u, "", path, err);
	if (str_starts(base, WHITEOUT_META))
		return 0;
	base += strlen(WHITEOUT);
	if (!*base || str_eq(base, ".") || str_eq(base, ".."))
		return err_set(err, -EINVAL, "'%s' is a whiteout of '%s': refused", path, base);
	if (mknodat(u->parent, base, S_IFCHR, 0) == 0)
		return 0;
	if (errno != EEXIST || fstatat(u->parent, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(u, path, -errno, err);
	return S_ISDIR(st.st_mode) ? set_opaque(u, base, path, err) : 0;
}

static int unpack_entry(Unpack *u, const TarEntry *e, Err *err)
{
	AUTO_FREE char *path = NULL;
	const char *base;
	int r = unpack_name(e->path, &path, err);
	if (r < 0 || (r = enter_parent(u, path, &base, err)) < 0)
		return r;
	if (!*path && e->type != TAR_DIRECTORY)
		return err_set(err, -EINVAL, "'%s' would replace the root of the layer: refused", e->path);
	if (u->plain && (e->type == TAR_CHARDEV || e->type == TAR_BLOCKDEV || e->type == TAR_FIFO))
		return 0;
	if (!u->plain && str_starts(base, WHITEOUT))
		return make_whiteout(u, base, path, err);
	switch (e->type) {
	case TAR_FILE:
		return make_file(u, base, path, e, err);
	case TAR_DIRECTORY:
		return make_directory(u, base, path, e, err);
	case TAR_HARDLINK:
		return make_hardlink(u, base, path, e, err);
	default:
		return make_node(u, base, path, e, err);
	}
}

/* The deepest come last in the list mostly, and go first here, while those above them can still be entered. */
static int put_directory_times(Unpack *u, Err *err)
{
	for (size_t i = u->n_dirs; i-- > 0;) {
		struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, u->dirs[i].mtime };
		AUTO_CLOSE int fd = open_beneath(u->root, u->dirs[i].path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
		/* It may have been replaced by something else since. */
		if (fd >= 0 && (futimens(fd, times) < 0 || (u->plain && fchmod(fd, u->dirs[i].mode) < 0)))
			return failed(u, u->dirs[i].path, -errno, err);
	}
	return 0;
}

static void keep_raw(void *user, const void *p, size_t n)
{
	recipe_raw(user, p, n);
}

static void unpack_done(Unpack *u)
{
	forget_parent(u);
	tar_reader_free(u->tar);
	for (size_t i = 0; i < u->n_dirs; i++)
		free(u->dirs[i].path);
	free(u->dirs);
	free(u->chunk);
}

static int unpack(Stream *tar, int rootfd, RecipeWriter *recipe, bool plain, UnpackResult *ret, Err *err)
{
	AUTO(unpack_done) Unpack u = { .root = rootfd, .parent = -1, .recipe = recipe, .plain = plain };
	const TarEntry *e;
	int r;
	u.tar = tar_reader_new(tar, recipe ? keep_raw : NULL, recipe);
	u.chunk = xmalloc(CHUNK);
	while ((r = tar_next(u.tar, &e, err)) == 1) {
		if (++u.result.entries > LIMIT_CONTEXT_ENTRIES && plain)
			return err_set(err, -EFBIG, "it holds more than %u files", LIMIT_CONTEXT_ENTRIES);
		r = unpack_entry(&u, e, err);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	u.result.complete = tar_complete(u.tar);
	if ((r = tar_drain(u.tar, err)) < 0 || (r = put_directory_times(&u, err)) < 0)
		return r;
	*ret = u.result;
	return 0;
}

int unpack_layer(Stream *tar, int rootfd, RecipeWriter *recipe, UnpackResult *ret, Err *err)
{
	return unpack(tar, rootfd, recipe, false, ret, err);
}

int unpack_files(Stream *tar, int rootfd, UnpackResult *ret, Err *err)
{
	return unpack(tar, rootfd, NULL, true, ret, err);
}
