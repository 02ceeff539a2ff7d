// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The two ends of shipping images (image/ship-protocol.h says what they say to each other), as workers run them.
 */

#include <jansson.h>

#include "base/err.h"
#include "image/layers.h"
#include "image/report.h"
#include "image/ship-source.h"

/** Ships what `source` has. `options`: {"level": N} (of zstd, 19 if absent). */
int ship_send(ShipSource *source, const json_t *options, int in, int out, Err *err);

/**
 * Takes images in; committed, with tags, when it returns. `options`: {"arch": "amd64", "emulated": ["arm64"], "memory_free": bytes}; without
 * "arch" any architecture is taken.
 */
int ship_receive(Store *s, const json_t *options, int in, int out, ImageList *ret, Err *err);
