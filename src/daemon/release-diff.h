// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What changed between two releases, for people: by name, never by value, since values may be secrets. Pure.
 */

#include <jansson.h>

#include "model/stack.h"

/**
 * [{"service": S, "what": W, "names": [N…]}] in order of service. W: "new", "removed" (no names), "image" (old and new, as
 * REFERENCE (12 digits of the id)), "environment" (variables), "file" (configs and secrets whose content changed), "config" (keys
 * of the service, or with "service": "" of the stack), "route" (HOST/PATH), "scale" ("1 to 3"). `old` may be NULL: all is new.
 * Images are strv of "service=id". New reference.
 */
json_t *release_diff(const Stack *old, char *const *old_images, const Stack *now, char *const *now_images);
