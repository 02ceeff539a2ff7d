// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Copies trees of files with all that they are: owners, modes, times, xattrs, hard links, device nodes, holes.
 */

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/**
 * See job_copy_up. `options`: {"layers": [NAME, bottom first], "path": "/in/image", "dst": "/volume/_data"}. All of it
 * or nothing appears in dst (which has to be empty, else nothing is done). Unshares the mount namespace.
 */
int copy_up(const char *state_dir, const json_t *options, bool *ret_copied, Err *err);
