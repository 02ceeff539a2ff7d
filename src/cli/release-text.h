// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Releases in words: what changed, and what became of one (docs/API.md, Releases).
 */

#include <jansson.h>

#include "base/buf.h"

/** "web image app:2, environment A B; api new". Names are cleaned. The caller's. */
char *release_changes(const json_t *changes);
/** "3.2 s", "2m5s". The caller's. */
char *release_seconds(double seconds);
/**
 * What is known of a failure, from a report: container, exit code, memory, what its health check and its log said (the last `max_lines` of it, 0
 * = all). Nothing for a report that has none of it.
 */
void release_evidence(const json_t *report, size_t max_lines, Buf *out);
/** All of one release, as `stead releases N` shows it. `now`: real time. */
void release_full(const json_t *release, const char *stack, int64_t now, Buf *out);
