// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Makes a layer of a directory tree: an overlay's upper directory as it is left by the kernel, or a whole
 * root file system. The tar is written in order of names, so that the same tree gives the same digest;
 * it is hashed, not kept: its recipe is.
 */

#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "image/layers.h"
#include "image/recipe.h"

/**
 * Times later than `clamp` (seconds; 0 = none) are set to it, in the tree too, and fractions are cut; attributes
 * that overlayfs has left for itself are removed. What would not come back from a tar (sockets) is removed.
 * `lowerfd` (or -1) is what lay below: overlayfs marks each new directory opaque, which says nothing where there
 * was none before.
 */
int pack_layer(int rootfd, int lowerfd, int64_t clamp, RecipeWriter *recipe, char ret_diff_id[sizeof(DIGEST_PREFIX) + 64], LayerInfo *ret,
	Err *err);
