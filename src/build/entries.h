// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Entries: a list of files by path, with what a layer would say of each. A build context's manifest is one (sent by the
 * client, kept for the next build), and so is what a COPY makes (kept in the cache, so that the next one can tell what
 * has changed). As text, a JSON object a line in order of strcmp(3) on the paths:
 *   {"path": "a/b", "type": "f", "mode": 420, "size": 3, "hash": HEX, "mtime": seconds}
 * type: f (hash: SHA-256 of the contents; "link": another path that is the same file), d, l ("target"), c and b
 * ("major", "minor"), p. "uid" and "gid" are 0 where they are missing, "xattrs" maps names to hexadecimal values.
 * Hostile input: paths are relative, without empty, "." or ".." components; counts and sizes are limited.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"

typedef struct EntryXattr {
	char *name;
	char *value; /* hexadecimal */
} EntryXattr;

typedef struct Entry {
	char *path;
	char type;
	mode_t mode; /* 07777 */
	uint32_t uid, gid, major, minor;
	int64_t size, mtime;
	char hash[DIGEST_HEX_MAX]; /* "" but for files */
	char *target; /* of a symlink */
	char *link;   /* a hard link's first path, or NULL */
	/* Not written: */
	char *source;   /* where the contents are, for who made the list */
	uint64_t inode; /* names of one file have the same; 0 = it has one name */
	bool named;     /* a COPY or ADD names the file itself, not a directory that it is in */
	EntryXattr *xattrs;
	size_t n_xattrs;
} Entry;

typedef struct Entries {
	Entry *items;
	size_t n;
	Buf partial; /* of a line that is still coming */
	size_t bytes; /* read so far */
} Entries;

void entry_done(Entry *e);
void entries_done(Entries *l);
#define AUTO_ENTRIES __attribute__((cleanup(entries_done))) Entries

/** Appends what n bytes of text bring; entries_end after the last. -EINVAL, -EFBIG with the reason. */
int entries_feed(Entries *l, const void *p, size_t n, Err *err);
int entries_end(Entries *l, Err *err);
/** Both for a whole text. */
int entries_parse(const void *p, size_t n, Entries *ret, Err *err);
void entries_write(const Entries *l, Buf *ret);
void entries_sort(Entries *l);

/** By path; NULL if it is not there. Borrowed. The list is in order. */
Entry *entries_find(const Entries *l, const char *path);
/** The first entry whose path is not before `path`: its index, or n. */
size_t entries_lower(const Entries *l, const char *path);
/** Is `path` below the directory `dir`, or dir itself? "" is the root. */
bool path_below(const char *path, const char *dir);
/** Valid as an entry's path. */
bool entry_path_valid(const char *path);

/** SHA-256 of what the entries say, times apart. */
void entries_digest(const Entries *l, char hex[DIGEST_HEX_MAX]);
/** Do both say the same, times and path apart? */
bool entry_same(const Entry *a, const Entry *b);
