// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Build contexts, as the CLI sends them: a walk over a directory, less what the ignore file leaves out, gives a manifest (a line
 * of JSON an entry, in order of strcmp(3) on the paths; docs/API.md, Builds) and its hash. Contents are hashed once: what was
 * found is kept, by the file's number, times and size, in a file below ~/.cache/stead, so that an unchanged tree costs one
 * stat(2) a file, and no manifest.
 *
 * As docker has it: symbolic links are kept as links, sockets are passed over. Devices and pipes are passed over with a warning.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "dockerfile/ignore.h"

typedef struct ContextFile {
	char *path;   /* relative to the context */
	char type;    /* f, d, l */
	mode_t mode;  /* 07777 */
	int64_t size; /* bytes; f only, else 0 */
	struct timespec mtime, ctime;
	ino_t ino;
	dev_t dev;
	nlink_t names;    /* of this file, here or elsewhere */
	const char *link; /* f only: the first path that is the same file, or NULL; borrowed */
	char hash[DIGEST_HEX_MAX]; /* f only */
	char *target; /* l only */
} ContextFile;

typedef struct Context {
	int dir; /* the context's root */
	ContextFile *files;
	size_t n;
	Buf manifest;     /* context_manifest */
	char hash[DIGEST_HEX_MAX]; /* of the manifest */
	size_t hashed;    /* files that had to be read */
	char **warnings;
} Context;

#define CONTEXT_INIT { .dir = -1 }

/** `ignore` may be NULL. `cache` is a file for the hashes of this directory, or NULL: none is kept. */
int context_scan(const char *dir, const Ignore *ignore, const char *cache, Context *ret, Err *err);
/** The manifest's text, which is made when it is first asked for. Borrowed. */
const Buf *context_manifest(Context *c);
/** Opens a file of it for reading, as it was when it was looked at: -EIO with its name where it has changed. */
int context_open(const Context *c, size_t index, Err *err);
void context_done(Context *c);

/** Where hashes of this directory (absolute) are kept; makes the directory. NULL where there is no place. Owned by the caller. */
char *context_cache_path(const char *dir);
