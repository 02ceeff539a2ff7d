// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Layers out of lists of files: what COPY and ADD make. The first time it is all of the list; when only a part of it has
 * changed since, a layer of its own with that part lies on top of the earlier ones, so that what is stored and sent is
 * what changed.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "build/entries.h"
#include "build/files.h"
#include "build/view.h"
#include "image/layers.h"

typedef struct LayerSpec {
	const Entries *list; /* paths in the image, in order */
	const bool *skip;    /* which of them are not written, or NULL */
	char *const *gone;   /* paths that get whiteouts */
	const View *below;   /* the layers that it will lie on */
	Files *files;        /* contents by their hash: of all files, or with `from` of those without `source` */
	const View *from;    /* contents of those with `source`, a path in it; or NULL */
	uint32_t uid, gid;   /* of directories that are neither in the list nor below */
	int64_t now;         /* their time */
} LayerSpec;

/** Writes the list's files into an empty directory, as a layer has them. */
int layer_fill(Store *s, int dirfd, const LayerSpec *spec, Err *err);
/** Stages it. */
int layer_make(Store *s, const LayerSpec *spec, char ret_diff_id[sizeof(DIGEST_PREFIX) + 64], LayerInfo *ret, Err *err);
/** Makes a layer of tmp/NAME/root as it is, an overlay's upper directory. Takes ownership of `name`. 1: it is empty, nothing was staged. */
int layer_from_upper(Store *s, char *name, const View *below, int64_t clamp, char ret_diff_id[sizeof(DIGEST_PREFIX) + 64], LayerInfo *ret,
	Err *err);

/**
 * What a layer on top of those that made `old` has to have so that `now` comes out: ret_skip and ret_gone, the caller's.
 * 0; 1: it is better, or the only right way, to write all of it. `below` lies under both.
 */
int layer_delta(const Entries *old, const Entries *now, const View *below, bool **ret_skip, char ***ret_gone, Err *err);
