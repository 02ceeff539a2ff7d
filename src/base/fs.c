// SPDX-License-Identifier: Apache-2.0
/*
 * Paths are walked with descriptors, never with joined strings that could be swapped underneath.
 * tree_remove opens each directory with RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS, so that neither a
 * symlink nor a mount that was left behind (a volume, a bind source) can lead it out of the tree.
 */
#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/mem.h"
#include "base/str.h"

static int openat2_call(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t) (flags | O_CLOEXEC),
		.mode = flags & (O_CREAT | O_TMPFILE) ? mode : 0,
		.resolve = resolve,
	};
	long fd;
	do
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? -errno : (int) fd;
}

int open_in_root(int rootfd, const char *path, int flags, mode_t mode)
{
	return openat2_call(rootfd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int file_read(int dirfd, const char *path, size_t max, Buf *ret)
{
	AUTO_CLOSE int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	size_t total = 0;
	for (;;) {
		size_t want = 16384;
		ssize_t n = read(fd, buf_reserve(ret, want), want);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		total += (size_t) n;
		if (total > max)
			return -EFBIG;
		buf_added(ret, (size_t) n);
	}
	return 0;
}

int fd_write_all(int fd, const void *p, size_t n)
{
	const char *s = p;
	while (n) {
		ssize_t k = write(fd, s, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		s += k;
		n -= (size_t) k;
	}
	return 0;
}

int fd_sync_dir(int dirfd, const char *path)
{
	AUTO_CLOSE int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

static int sync_parent(int dirfd, const char *path)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		return fd_sync_dir(dirfd, ".");
	AUTO_FREE char *dir = xstrndup(path, slash == path ? 1 : (size_t) (slash - path));
	return fd_sync_dir(dirfd, dir);
}

bool file_is_special(int dirfd, const char *path)
{
	struct stat st;
	return fstatat(dirfd, path, &st, 0) == 0 && !S_ISREG(st.st_mode);
}

int file_write(int dirfd, const char *path, const void *p, size_t n, mode_t mode)
{
	AUTO_CLOSE int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	return fd_write_all(fd, p, n);
}

int file_write_atomic(int dirfd, const char *path, const void *p, size_t n, mode_t mode, bool durable)
{
	char rnd[17];
	hex_random(8, rnd);
	AUTO_FREE char *tmp = xasprintf("%s.tmp-%s", path, rnd);
	AUTO_CLOSE int fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	int r = fd_write_all(fd, p, n);
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r == 0 && durable && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dirfd, tmp, dirfd, path) < 0)
		r = -errno;
	if (r < 0) {
		(void) unlinkat(dirfd, tmp, 0);
		return r;
	}
	return durable ? sync_parent(dirfd, path) : 0;
}

int dir_make(const char *path, mode_t mode)
{
	AUTO_FREE char *copy = xstrdup(path);
	for (char *p = copy + 1;; p++) {
		if (*p && *p != '/')
			continue;
		char c = *p;
		*p = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return -errno;
		if (!c)
			break;
		*p = c;
	}
	struct stat st;
	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

/* Takes ownership of fd, a directory; empties it. */
static int empty_dir(int fd)
{
	DIR *d = fdopendir(fd);
	if (!d) {
		int r = -errno;
		(void) close(fd);
		return r;
	}
	int first = 0;
	struct dirent *e;
	while ((e = readdir(d))) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		int r = tree_remove(dirfd(d), e->d_name);
		/* Without root's rights a directory's own mode may be in the way. */
		if (r == -EACCES && fchmod(dirfd(d), 0700) == 0)
			r = tree_remove(dirfd(d), e->d_name);
		if (r < 0 && first == 0)
			first = r;
	}
	(void) closedir(d);
	return first;
}

int tree_remove(int dirfd, const char *path)
{
	if (unlinkat(dirfd, path, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	/* An absolute path names a place that we chose; only what is below it is bounded. */
	int fd = path[0] == '/' ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) :
				  openat2_call(dirfd, path, O_RDONLY | O_DIRECTORY, 0,
					  RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH);
	if (fd == -1)
		fd = -errno;
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	int r = empty_dir(fd);
	if (r < 0)
		return r;
	if (unlinkat(dirfd, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

char *libexec_path(const char *program)
{
	const char *env = getenv("STEAD_LIBEXECDIR"), *dash = strrchr(program, '-');
	const char *room = dash ? dash + 1 : program;
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (env && *env)
		return xasprintf("%s/%s", env, program);
	while (n > 0 && self[--n] != '/')
		;
	self[n > 0 ? n : 0] = '\0';
	/* In the build tree "stead-NAME" is in a directory NAME, beside or below ours; the cache's belongs to the edge. */
	if (str_eq(room, "cache"))
		room = "edge";
	char *places[] = { xasprintf("%s/%s", self, program), xasprintf("%s/../%s/%s", self, room, program),
		xasprintf("%s/%s/%s", self, room, program) };
	char *found = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		if (n > 0 && !found && access(places[i], X_OK) == 0)
			found = places[i];
		else
			free(places[i]);
	}
	if (found)
		return found;
	return xasprintf("%s/%s", STEAD_LIBEXECDIR, program);
}
