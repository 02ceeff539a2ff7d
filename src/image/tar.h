// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Tar, read and written: ustar and pax (POSIX.1-2017, pax, "pax Interchange Format"), GNU long names,
 * base-256 numbers and sparse files (GNU tar manual, "Standard" and "Sparse Formats"), xattrs as
 * SCHILY.xattr.* records. The reader is incremental: nothing but the current entry's header is held.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "image/stream.h"

#define TAR_BLOCK 512

typedef enum TarType {
	TAR_FILE,
	TAR_HARDLINK,
	TAR_SYMLINK,
	TAR_CHARDEV,
	TAR_BLOCKDEV,
	TAR_DIRECTORY,
	TAR_FIFO,
} TarType;

typedef struct TarXattr {
	char *name; /* "security.capability" */
	char *value;
	size_t len;
} TarXattr;

typedef struct TarSegment {
	uint64_t offset, length; /* in the file */
} TarSegment;

typedef struct TarEntry {
	TarType type;
	char *path; /* as written; never empty, no NUL, shorter than PATH_MAX */
	char *link; /* target of symlinks and hard links; else NULL */
	mode_t mode; /* 07777 */
	uint32_t uid, gid;
	int64_t mtime; /* seconds since the epoch */
	uint32_t mtime_ns;
	uint64_t size;   /* of the file; 0 for what has no contents */
	uint64_t stored; /* bytes of it in the archive (fewer when sparse) */
	uint32_t major, minor;
	TarXattr *xattrs;
	size_t n_xattrs;
	TarSegment *segments; /* sparse files: the parts that are stored */
	size_t n_segments;
	bool sparse;
} TarEntry;

typedef struct TarReader TarReader;

/** Every byte that is not contents given out by tar_read, in order: with those, the archive can be rebuilt. */
typedef void (*TarRawFn)(void *user, const void *p, size_t n);

/** Reads from `s` (borrowed). `raw` may be NULL. */
TarReader *tar_reader_new(Stream *s, TarRawFn raw, void *user);
void tar_reader_free(TarReader *t);
void tar_reader_freep(TarReader **t);
#define AUTO_TAR __attribute__((cleanup(tar_reader_freep))) TarReader *

/**
 * The next entry (contents of the last one that were not read are passed over). 1: *ret is it, valid until
 * the next call; 0: the end; -EINVAL and others: with the reason.
 */
int tar_next(TarReader *t, const TarEntry **ret, Err *err);
/** Do these TAR_BLOCK bytes begin an archive? One that is empty does not count. */
bool tar_begins(const char *block);
/** Contents of the current entry: bytes (0 at the end), and where in the file they belong. */
ssize_t tar_read(TarReader *t, void *p, size_t n, uint64_t *ret_offset, Err *err);
/** Position in the stream of the current entry's contents. */
uint64_t tar_offset(const TarReader *t);
/** After the end: true if the two blocks that mark it were there (without them, the archive may have been cut off). */
bool tar_complete(const TarReader *t);
/** After the end: reads what follows it, as raw bytes. */
int tar_drain(TarReader *t, Err *err);

/**
 * Appends the header blocks of an entry: plain ustar where it fits, a pax header before it where not. The caller
 * follows with `size` bytes and tar_padding. Same entry, same bytes. Sparse entries are written in full.
 */
void tar_write_header(Buf *b, const TarEntry *e);
/** Number of zero bytes after contents of that size. */
size_t tar_padding(uint64_t size);
/** The two zero blocks that end an archive. */
void tar_write_end(Buf *b);

void tar_entry_done(TarEntry *e);
