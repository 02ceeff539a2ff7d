// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The fence around a worker that reads what strangers made. Everything here is a second line: the
 * readers check their input themselves.
 */

#include "base/err.h"

/**
 * From now on this process can change files below `state_dir` only (Landlock, where the kernel has version 2 or
 * later), starts no program, opens no socket, mounts nothing (seccomp), has the capabilities that unpacking needs and
 * at most 1 GiB of address space. What the kernel cannot do is left out; an error is only what it refused to do.
 */
int sandbox_enter(const char *state_dir, Err *err);
