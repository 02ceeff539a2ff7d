// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Hashes of files that were read before, by path, inode number, times and size. A file that changed so shortly before it was
 * looked at that a further change need not show in its times is not believed (as git has it, "racily clean"). What
 * the file holds is only ever a saving: one that is damaged or of another version is as good as none.
 */

#include "cli/context.h"

typedef struct ContextCache ContextCache;

/** `path` may be NULL: empty. Never fails. */
ContextCache *context_cache_load(const char *path);
/** Fills in file->hash if it is known; files are asked for in order of their paths. */
bool context_cache_find(ContextCache *c, ContextFile *file);
void context_cache_free(ContextCache *c);
/** Replaces what is kept. `began`: real ns when the walk began. Best effort. */
void context_cache_save(const char *path, const Context *found, int64_t began);
