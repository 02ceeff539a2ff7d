// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Children that are waited for: at the daemon's start, and for the few milliseconds of a compilation that happens once
 * per boot. Everything else goes through io/child.h.
 */

#include "base/buf.h"

/**
 * Runs argv with the file `input` (NULL: /dev/null) as standard input, gathers what it prints (both streams, 64 KiB at most); gives
 * the exit code or -errno (-ETIMEDOUT after 20 s, then it is killed). Does not wait for the end of output: a created container
 * keeps the stream.
 */
int run_blocking(char *const *argv, const char *input, Buf *out);
