// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A layer's tar, read anywhere, out of its recipe and its files, in bounded memory: a shipped layer is made from pieces of old
 * ones. One cache serves all maps of a worker: some frames of recipes and some open files.
 */

#include <stdint.h>

#include "base/err.h"
#include "image/recipe.h"

typedef struct RecipeCache RecipeCache;
typedef struct RecipeMap RecipeMap;

RecipeCache *recipe_cache_new(void);
/** After all its maps. */
void recipe_cache_free(RecipeCache *c);

/** 1: done; 0: the recipe has no table of frames (convert it first, recipe_convert). Takes ownership of both fds, in every case. */
int recipe_map_open(RecipeCache *c, int fd, int layerfd, RecipeMap **ret, Err *err);
void recipe_map_free(RecipeMap *m);
/** Bytes of the tar. */
uint64_t recipe_map_size(const RecipeMap *m);
/** Exactly n bytes; a range that is not there is an error. */
int recipe_map_read(RecipeMap *m, uint64_t offset, void *p, size_t n, Err *err);
