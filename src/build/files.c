// SPDX-License-Identifier: Apache-2.0
#include "build/files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <sys/statvfs.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

#define USED_GRAIN 3600 /* seconds: use is not noted more often */

int files_open(int state, Files *ret, Err *err)
{
	if ((mkdirat(state, "build", 0700) < 0 && errno != EEXIST) || (mkdirat(state, "build/files", 0700) < 0 && errno != EEXIST))
		return err_errno(err, -errno, "build/files");
	Files f = { .dir = openat(state, "build/files", O_RDONLY | O_DIRECTORY | O_CLOEXEC), .tmp = openat(state, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	if (f.dir < 0 || f.tmp < 0) {
		int r = err_errno(err, -errno, f.dir < 0 ? "build/files" : "tmp");
		files_close(&f);
		return r;
	}
	*ret = f;
	return 0;
}

void files_close(Files *f)
{
	if (f->dir >= 0)
		(void) close(f->dir);
	if (f->tmp >= 0)
		(void) close(f->tmp);
	f->dir = f->tmp = -1;
}

static void file_name(const char *hex, char dst[80])
{
	(void) snprintf(dst, 80, "%.2s/%s", hex, hex);
}

bool files_has(Files *f, const char *hex, int64_t size)
{
	char name[80];
	struct stat st;
	file_name(hex, name);
	if (fstatat(f->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) || st.st_size != size)
		return false;
	struct timespec now;
	(void) clock_gettime(CLOCK_REALTIME, &now);
	if (st.st_mtime + USED_GRAIN < now.tv_sec)
		(void) utimensat(f->dir, name, NULL, AT_SYMLINK_NOFOLLOW);
	return true;
}

int files_read(Files *f, const char *hex)
{
	char name[80];
	file_name(hex, name);
	int fd = openat(f->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void files_drop(Files *f, const char *hex)
{
	char name[80];
	file_name(hex, name);
	(void) unlinkat(f->dir, name, 0);
}

static int write_failed(Files *f, int code, Err *err)
{
	struct statvfs v;
	if ((code != -ENOSPC && code != -EDQUOT) || fstatvfs(f->dir, &v) < 0)
		return err_errno(err, code, "keeping a file of the build context");
	AUTO_FREE char *left = format_bytes((int64_t) (v.f_bavail * v.f_frsize));
	return err_set(err, code,
		"keeping a file of the build context: no space left on the file system of the state directory (%s free now): remove images "
		"('stead image prune') or make room", left);
}

int files_begin(Files *f, FilesWriter *ret, Err *err)
{
	char random[33];
	hex_random(16, random);
	FilesWriter w = { .files = f };
	(void) snprintf(w.tmp, sizeof(w.tmp), "file-%s", random);
	w.fd = openat(f->tmp, w.tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (w.fd < 0)
		return write_failed(f, -errno, err);
	sha256_begin(&w.sum);
	*ret = w;
	return 0;
}

int files_append(FilesWriter *w, const void *p, size_t n, Err *err)
{
	int r = fd_write_all(w->fd, p, n);
	if (r < 0)
		return write_failed(w->files, r, err);
	sha256_add(&w->sum, p, n);
	w->size += (int64_t) n;
	return 0;
}

void files_abort(FilesWriter *w)
{
	if (w->fd < 0)
		return;
	(void) close(w->fd);
	w->fd = -1;
	(void) unlinkat(w->files->tmp, w->tmp, 0);
}

int files_finish(FilesWriter *w, char ret_hex[DIGEST_HEX_MAX], Err *err)
{
	char name[80], dir[3];
	sha256_end(&w->sum, ret_hex);
	(void) snprintf(dir, sizeof(dir), "%.2s", ret_hex);
	file_name(ret_hex, name);
	int r = 0;
	if (renameat(w->files->tmp, w->tmp, w->files->dir, name) < 0) {
		if ((mkdirat(w->files->dir, dir, 0700) < 0 && errno != EEXIST) || renameat(w->files->tmp, w->tmp, w->files->dir, name) < 0)
			r = write_failed(w->files, -errno, err);
	}
	files_abort(w); /* after the rename, nothing has that name */
	return r;
}
