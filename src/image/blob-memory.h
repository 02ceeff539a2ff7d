// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which packed blobs a layer has been seen as, and in which repositories: layers/NAME.blobs. With it a push need not pack a layer to learn
 * that the registry has it. And the manifest by which an image came, blobs/sha256/HEX.manifest (HEX: of its configuration): pushed as it is, it
 * has the same digest elsewhere. Only a memory: what it says is asked of the registry again, and a file that cannot be read is as none.
 */

#include <jansson.h>

#include "image/layers.h"

/** A list, newest first, of {"digest", "size", "type", "source": "docker.io/library/redis"}. New reference; an empty list if there are none. */
json_t *blob_memory_read(Store *s, const char *diff_id);
void blob_memory_add(Store *s, const char *diff_id, const char *digest, int64_t size, const char *type, const char *source);

/** Its bytes, checked by who calls; "sha256:…" of the image's configuration. -ENOENT and others. */
int blob_memory_manifest(Store *s, const char *id, Buf *ret);
void blob_memory_keep_manifest(Store *s, const char *id, const Buf *text);
