// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Seccomp: the default profile. An allow list; what is known to be refused gives EPERM, what is not known at all
 * ENOSYS, so that newer libraries fall back instead of failing. Some calls come with a capability.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "run/runtime.h"

/** Appends the value of linux.seccomp (runtime-spec, config-linux.md#seccomp) for a container with these capabilities. */
void seccomp_default(uint64_t caps, Buf *ret);
/**
 * A profile file in Docker's format (security_opt seccomp=FILE): archMap, includes and excludes are
 * resolved. -EINVAL.
 */
int seccomp_from_file(const char *path, uint64_t caps, Buf *ret, Err *err);
/**
 * The profile (what the two above gave) as a compiled filter in base64, for runtimes with compiled_seccomp. Made once per profile by
 * stead-seccomp and kept in RUN_DIR/seccomp; -ENOENT and the like: use the profile itself.
 */
int seccomp_compile(const Runtime *rt, const char *profile, Buf *ret);
