// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Patterns of paths: those of COPY's sources (Go's filepath.Match) and those of ignore files, --exclude and --parents (the same
 * and `**`, as github.com/moby/patternmatcher has it). A pattern matches in time of its length times the path's, whatever is in it.
 */

#include <stdbool.h>

#include "base/err.h"

typedef struct Glob Glob;

typedef enum GlobFlags {
	GLOB_DEEP = 1, /* "**" goes over directories: at the end all that is below, "**" + "/" none or more of them */
} GlobFlags;

/** -EINVAL: a '[' without end, an empty range, a '\' at the end. */
int glob_compile(const char *pattern, GlobFlags flags, Glob **ret, Err *err);
bool glob_match(const Glob *g, const char *path);
/** The path or one of the directories that it lies in matches. */
bool glob_match_parents(const Glob *g, const char *path);
/** Something below the directory may match ("" or "." is the root). */
bool glob_may_match_below(const Glob *g, const char *dir);
void glob_free(Glob *g);
void glob_freep(Glob **g);

/** It has one of * ? [ that is not escaped. */
bool glob_is_pattern(const char *s);
/** Without its escape characters; owned by the caller. */
char *glob_unescape(const char *s);
/** Go's filepath.Clean: no "//", ".", inner ".." or trailing "/"; "." for nothing. Owned by the caller. */
char *path_clean(const char *path);
