// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What COPY reads from: a build context (a list) or the file system of a stage or an image (layers). Paths are relative
 * and clean, "" is the root; symlinks lead nowhere outside.
 */

#include "base/err.h"
#include "build/entries.h"
#include "build/view.h"

typedef struct Tree {
	const Entries *list; /* borrowed; this */
	const View *view;    /* or that */
} Tree;

/** What is at a resolved path, without a file's hash. 1: there, *ret is the caller's; 0: not there. */
int tree_stat(const Tree *t, const char *path, Entry *ret, Err *err);
/** As view_resolve. */
int tree_resolve(const Tree *t, const char *path, bool follow, char **ret, Err *err);
/**
 * Appends the paths that match a pattern, each component as Go's filepath.Match has it. Without wildcards: the path, if it
 * is there. `deep`: "**" goes over directories.
 */
int tree_glob(const Tree *t, const char *pattern, bool deep, char ***ret, Err *err);

/** Takes ownership of what is in *e. `path` is relative to the directory that was asked for. */
typedef int (*TreeFn)(void *user, const char *path, Entry *e, Err *err);
/** Every entry below a resolved directory, with hashes. e->path is the path in the tree. */
int tree_walk(const Tree *t, const char *path, TreeFn fn, void *user, Err *err);
/** A file's hash, where it is not known yet. */
int tree_hash(const Tree *t, Entry *e, Err *err);
