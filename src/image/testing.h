// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the tests of this room share: tars made entry by entry, a scratch directory, and the check for root.
 */

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/tar.h"

static char scratch[] = "/tmp/stead-test-image-XXXXXX";

static inline int scratch_setup(void **state)
{
	return mkdtemp(scratch) ? 0 : -1;
}

static inline int scratch_teardown(void **state)
{
	return tree_remove(AT_FDCWD, scratch);
}

/** Gives 77 (skip) with the reason, or 0. */
static inline int need_root(void)
{
	if (geteuid() == 0)
		return 0;
	printf("skipped: needs root (owners, device nodes and trusted.* attributes)\n");
	return 77;
}

static inline void put_entry(Buf *b, TarType type, const char *path, const char *link, const char *data, size_t n, mode_t mode)
{
	static const char zero[TAR_BLOCK];
	TarEntry e = {
		.type = type, .path = (char *) path, .link = (char *) link, .mode = mode, .mtime = 1700000000, .size = n, .stored = n,
	};
	tar_write_header(b, &e);
	buf_append(b, data, n);
	buf_append(b, zero, tar_padding(n));
}

static inline void put_file(Buf *b, const char *path, const char *text)
{
	put_entry(b, TAR_FILE, path, NULL, text, strlen(text), 0644);
}

static inline void put_bytes(Buf *b, const char *path, const void *p, size_t n)
{
	put_entry(b, TAR_FILE, path, NULL, p, n, 0644);
}

static inline void put_dir(Buf *b, const char *path, mode_t mode)
{
	put_entry(b, TAR_DIRECTORY, path, NULL, NULL, 0, mode);
}

static inline void put_symlink(Buf *b, const char *path, const char *target)
{
	put_entry(b, TAR_SYMLINK, path, target, NULL, 0, 0777);
}

static inline void put_hardlink(Buf *b, const char *path, const char *target)
{
	put_entry(b, TAR_HARDLINK, path, target, NULL, 0, 0644);
}

static inline char *scratch_path(const char *name)
{
	return xasprintf("%s/%s", scratch, name);
}

static inline char *read_text(const char *path)
{
	Buf b = BUF_INIT;
	if (file_read(AT_FDCWD, path, 1 << 24, &b) < 0) {
		buf_done(&b);
		return NULL;
	}
	return buf_steal(&b);
}
