// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which packed blobs a layer has been seen as, and in which repositories: layers/NAME.blobs. With it a push need not pack a layer to learn
 * that the registry has it. Only a memory: what it says is asked of the registry again, and a file that cannot be read is as none.
 */

#include <jansson.h>

#include "image/layers.h"

/** A list, newest first, of {"digest", "size", "type", "source": "docker.io/library/redis"}. New reference; an empty list if there are none. */
json_t *blob_memory_read(Store *s, const char *diff_id);
void blob_memory_add(Store *s, const char *diff_id, const char *digest, int64_t size, const char *type, const char *source);
