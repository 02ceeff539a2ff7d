// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where a release comes from: who asks for it, and the commit that is deployed. What cannot be found out is left
 * out; nothing of it is proof of anything.
 */

#include <jansson.h>

/**
 * Adds "who" (USER@HOST, of SUDO_USER before USER) to the body of a request and, where `dir` (may be NULL) is in a work tree of git or the
 * environment of a CI system says so, "commit" and "author". STEAD_COMMIT and STEAD_AUTHOR win over both.
 */
void origin_add(json_t *body, const char *dir);
