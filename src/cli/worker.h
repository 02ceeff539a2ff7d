// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What commands that start a worker by themselves have in common. Its report is JSON lines, as image/report.h has them. */

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

/** Makes a directory stead-NAME.… for it below TMPDIR (default: /var/tmp); the caller removes it, and owns its path. */
int worker_dir(const char *name, char **ret, Err *err);
/** Takes the whole lines out of `in`; the last that says how it ended ("result" or "error") replaces *end, which the caller owns. */
void worker_report_lines(Buf *in, json_t **end);
