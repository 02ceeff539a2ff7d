// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Removing what containers, volumes and images leave: trees of any size and depth, written by programs that
 * may not wish them removed.
 */

#include <jansson.h>

#include "base/err.h"

/** Removes every entry of tmp/ that begins with "rm-" (see job_remove_tree). What cannot be removed stays, and is the error. */
int trash_empty(const char *state_dir, Err *err);

/**
 * A sweep (see job_sweep). `options`: {"layers": [NAME], "images": ["sha256:…"]} are kept, or {"temporary": true}: only
 * tmp/ is emptied. Waits until no maker holds tmp/lock. ret_freed: bytes of removed layers.
 */
int trash_sweep(const char *state_dir, const json_t *options, int64_t *ret_freed, Err *err);
