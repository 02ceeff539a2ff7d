// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A build context that is an archive, unpacked where the client runs, without its rights: the job `unpack` of a worker of the client's own.
 */

#include "base/err.h"

/**
 * What is at the URL, or behind the descriptor (NULL): a tar, plain or compressed, goes to DIR/context, whose owner is the caller; anything else to
 * the file DIR/Dockerfile. DIR is there and empty. Fences the process in.
 */
int context_unpack(const char *dir, const char *url, int fd, Err *err);
