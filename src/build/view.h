// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A file system as it is seen through layers: what an overlay mount of their directories would show (kernel,
 * Documentation/filesystems/overlayfs.rst), found by looking, so that a worker that may not mount anything can read
 * it. Paths are relative, "" is the root; symlinks are resolved as inside of it, never by the kernel.
 */

#include <stddef.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct View {
	int *layers; /* directories, bottom first; owned */
	size_t n;
} View;

void view_done(View *v);
#define AUTO_VIEW __attribute__((cleanup(view_done))) View
/** Takes ownership of the descriptor. */
void view_add(View *v, int layer);

/**
 * What is at `path`, whose directories are no symlinks (see view_resolve). 1: there, `ret_layer` (may be NULL) has it;
 * 0: not there.
 */
int view_stat(const View *v, const char *path, struct stat *ret, size_t *ret_layer, Err *err);
/**
 * The path behind symlinks and "..", never above the root. What is not there is taken as it is written. `follow`: the last
 * component too. -ELOOP.
 */
int view_resolve(const View *v, const char *path, bool follow, char **ret, Err *err);
/** Opens a regular file or a directory at a resolved path. -ENOENT. */
int view_open(const View *v, const char *path, int flags, Err *err);
/** A whole file of at most `max` bytes at a path whose symlinks are followed. -ENOENT without a text. */
int view_read(const View *v, const char *path, size_t max, Buf *ret);

/** `dirfd` and `name` lead to the entry; `path` is relative to the directory that was asked for. Negative ends the walk. */
typedef int (*ViewFn)(void *user, const char *path, int dirfd, const char *name, const struct stat *st, Err *err);
/** Every entry below a resolved directory, each directory before what is in it. */
int view_walk(const View *v, const char *path, ViewFn fn, void *user, Err *err);

/** The entries of a resolved directory alone. */
int view_list(const View *v, const char *path, ViewFn fn, void *user, Err *err);

/** Makes a path of a container ("/a//b/../c", "x") relative and clean: "a/c". Never above the root. Owned by the caller. */
char *path_in_root(const char *base, const char *path);
