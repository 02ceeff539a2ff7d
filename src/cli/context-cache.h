// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a context was when it was looked at last: hashes of its files, by path, inode number, times and size, and the manifest's.
 * What changed so shortly before it was looked at that a further change need not show in its times is not believed (as git has it,
 * "racily clean"). What the file holds is only ever a saving: one that is damaged or of another version is as good as none.
 */

#include "cli/context.h"

typedef struct ContextCache ContextCache;

/** `path` may be NULL: empty. Never fails. */
ContextCache *context_cache_load(const char *path);
/**
 * Fills in the hashes that are known, of files in order of their paths. True: the manifest would be the one of the last time, and `found`
 * has its hash.
 */
bool context_cache_take(const ContextCache *c, Context *found);
void context_cache_free(ContextCache *c);
/** Replaces what is kept. `began`: real ns when the walk began. Best effort. */
void context_cache_save(const char *path, const Context *found, int64_t began);
