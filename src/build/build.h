// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Builds an image from a Dockerfile: the worker's job `build`. Options are the first line on `in` (build/options.h), the daemon's
 * answers follow there (build/daemon.c); the context comes over `context` (build/context.h); requests, events and the result are
 * reports (image/report.h):
 *   {"event": {"step": N, "state": "begin", "stage": NAME, "text": INSTRUCTION, "line": N, "index": N, "total": N, "steps": N}}
 *     "index" of "total" among the steps of its stage that BuildKit shows, 0 = none of them (ENV, CMD, …); "steps" of all stages
 *   {"event": {"step": N, "state": "cached"|"done", "seconds": S, "bytes": N}}
 *   {"event": {"warning": TEXT}}
 *   {"built": {"id": ID, "tags": […], "sizes": […], "why": […], "seconds": S}}
 * `why` has for each step {"step", "line", "stage", "text", "cached", "reason", "changes": […], "seconds", "bytes"}.
 */

#include "base/err.h"

/** `state_dir` is absolute. */
int build_image_job(const char *state_dir, int in, int context, Err *err);
