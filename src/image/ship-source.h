// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where a sender takes images from: the layers of a state directory, or an archive or layout that is read where it lies.
 */

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"
#include "image/layers.h"
#include "model/image.h"

typedef struct ShipSource ShipSource;

struct ShipSource {
	Image **images; /* with tags; their layers' sizes are those of the tars, 0 = not known before they are opened */
	size_t n;
	Store *store;   /* whose layers may serve as old ones, and whose cache keeps indexes; NULL = none */
	/** The layer's tar, not compressed. */
	int (*open)(ShipSource *s, const char *diff_id, Stream **ret, uint64_t *ret_size, Err *err);
	void (*free)(ShipSource *s);
};

void ship_source_free(ShipSource *s);
void ship_source_freep(ShipSource **s);

/** `images`: [{"id", "tags"}]. `store` is borrowed. */
int ship_source_state(Store *store, const json_t *images, ShipSource **ret, Err *err);

/**
 * A docker or OCI archive, plain or compressed, a file or a pipe (`fd`, the caller's), or with {"layout": DIR} an OCI layout. `options`:
 * {"wanted": [names or ids], "arch": of which platform}; all may be absent. `store` is for temporary files, and for indexes
 * that the receiver sends.
 */
int ship_source_archive(Store *store, const json_t *options, int fd, ShipSource **ret, Err *err);
