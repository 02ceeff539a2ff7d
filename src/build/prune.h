// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the build cache holds, and what of it goes: the job `prune-builds` of the worker. Options, a JSON object:
 *   layers, images   names of layers (layer_dir_name) and ids of images that are needed anyway
 *   expired          seconds since the epoch: what was not used since then goes
 *   before, keep     of what was not used since `before`, the longest unused goes until at most `keep` bytes are left
 *   all              that also holds for steps whose layers some image has
 *   types, ids       strvs, or missing: only these
 *   busy             builds have been running since then (0: none): contents that they may be using stay
 *   list             nothing goes, all is told;  dry_run: what would go is told
 * It tells {"cache": {"id", "type", "description", "size", "shared", "in_use", "used"}} for each, and {"freed": bytes} at the end. Types
 * are BuildKit's: regular (a step), exec.cachemount, source.local (contents of contexts, as one), internal (lists and the like, as one).
 * Layers go with the next sweep, which finds them named by nothing.
 */

#include <jansson.h>

#include "base/err.h"

int build_prune_job(const char *state_dir, const json_t *options, Err *err);
