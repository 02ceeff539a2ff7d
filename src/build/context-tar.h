// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A build context that comes as a tar, plain or compressed (Docker Engine API, POST /build).
 */

#include "base/err.h"
#include "build/entries.h"
#include "build/files.h"

/**
 * Reads it from fd, puts contents into the mirror, gives the list in order. Owners are root's, as in every context. Names
 * that leave the context are refused; devices and pipes are passed over. Later entries replace earlier ones.
 */
int context_read_tar(Files *f, int fd, Entries *ret, Err *err);
