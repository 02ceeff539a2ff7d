// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Unpacks a layer's tar into an overlay lower directory (OCI image-spec, layer.md): whiteouts become
 * character devices 0:0, opaque directories get trusted.overlay.opaque (kernel,
 * Documentation/filesystems/overlayfs.rst); owners, modes, times, xattrs, hard links and device nodes
 * are kept. What would leave the directory (absolute names, "..", symlinks that lead out) is refused.
 * Needs root.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "image/recipe.h"
#include "image/stream.h"

typedef struct UnpackResult {
	uint64_t bytes;   /* contents of files */
	uint64_t holes;   /* bytes of sparse files that are nowhere */
	uint64_t entries;
	bool complete;    /* the end marker was there */
	bool irregular;   /* an entry replaced an earlier one: the recipe does not rebuild the tar */
} UnpackResult;

/** `rootfd`: an empty directory. `recipe` may be NULL. Errors name the entry. */
int unpack_layer(Stream *tar, int rootfd, RecipeWriter *recipe, UnpackResult *ret, Err *err);

/**
 * As unpack_layer, but of an archive that is no layer: names that begin with .wh. are names as others, devices and pipes are passed over, owners and
 * extended attributes stay the process's. Needs no root.
 */
int unpack_files(Stream *tar, int rootfd, UnpackResult *ret, Err *err);

/**
 * The name of an entry without "./", doubled and trailing slashes; "" is the root itself. -EINVAL with the reason for
 * absolute names, "..", and what is too deep. Owned by the caller.
 */
int unpack_name(const char *name, char **ret, Err *err);
