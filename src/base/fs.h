// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Files. Every descriptor is close-on-exec from birth. Functions return negative errno.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/** Reads a whole file of at most `max` bytes into `ret` (appended); -EFBIG beyond. dirfd as openat(2). */
int file_read(int dirfd, const char *path, size_t max, Buf *ret);
/** Writes all bytes, retrying short writes and EINTR. */
int fd_write_all(int fd, const void *p, size_t n);
/** Replaces a file: temporary name beside it, write, fsync if `durable`, rename, fsync of the directory if durable. */
int file_write_atomic(int dirfd, const char *path, const void *p, size_t n, mode_t mode, bool durable);
/** `path` is there and is no regular file (a device, a pipe): what is written goes into it, it must not be replaced. */
bool file_is_special(int dirfd, const char *path);
/** Plain create-or-truncate write, for files under the run directory, where a crash cannot matter. */
int file_write(int dirfd, const char *path, const void *p, size_t n, mode_t mode);
/** mkdir -p. Existing directories are left as they are. */
int dir_make(const char *path, mode_t mode);
/** rm -rf without following symlinks or crossing into mounts (openat2 RESOLVE_NO_XDEV); -ENOENT is success. */
int tree_remove(int dirfd, const char *path);
int fd_sync_dir(int dirfd, const char *path);
/** openat2(2) with RESOLVE_IN_ROOT: `path` is resolved as inside a container's root. */
int open_in_root(int rootfd, const char *path, int flags, mode_t mode);
/**
 * Where one of our own helper programs is ("stead-names"): in $STEAD_LIBEXECDIR, beside this executable, in its place in the build tree, or
 * installed. Owned by the caller; never NULL.
 */
char *libexec_path(const char *program);
