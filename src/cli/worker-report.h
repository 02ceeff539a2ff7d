// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What a worker that a command has started reports: JSON lines, as image/report.h has them. */

#include <jansson.h>

#include "base/buf.h"

/** Takes the whole lines out of `in`; the last that says how it ended ("result" or "error") replaces *end, which the caller owns. */
void worker_report_lines(Buf *in, json_t **end);
