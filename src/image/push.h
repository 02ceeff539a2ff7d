// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Pushes images (OCI distribution-spec, "Push"): layers that the registry has, or can mount from another repository of its own, are not sent;
 * others are rebuilt from their recipes and packed while they go out. The manifest comes last, so a push that fails changes no tag.
 */

#include <jansson.h>

#include "base/err.h"

/**
 * `options`: {"images": [{"ref": "docker.io/team/app:1", "id": "sha256:…"}], "auth": docker's AuthConfig or absent, "rules": path}, all of one
 * repository. Starts stead-fetch and then fences itself in. Reports, besides progress:
 *   {"layer": {"id", "state": "waiting" | "pushing" | "there" | "mounted" | "done", "at", "size", "from": repository}}
 *   {"pushed": {"ref", "digest", "size"}}    each image's manifest
 */
int registry_push(const char *state_dir, const json_t *options, Err *err);
