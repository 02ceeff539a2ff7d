// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Writes an archive that is both a docker archive (manifest.json, repositories: docker load, skopeo,
 * podman) and an OCI layout (image-spec, image-layout.md), as docker 25 and later do. Layers are rebuilt
 * bit for bit from their recipes, and their digests checked while they go out.
 */

#include <jansson.h>

#include "base/err.h"
#include "image/layers.h"

/** `options`: {"images": [{"id": "sha256:…", "tags": ["docker.io/…"]}]}. fd may be a pipe or a socket, blocking or not. */
int archive_save(Store *s, const json_t *options, int fd, Err *err);
