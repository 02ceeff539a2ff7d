// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What `stead setup` sends: an archive (ustar, POSIX.1-1988) with the programs, the unit, the man page, the completion for bash, the script
 * that installs them, and what the script needs to know.
 */

#include "base/buf.h"
#include "base/err.h"

/** Names of the helper programs, NULL-terminated. */
extern const char *const setup_helpers[];

/**
 * Appends the archive. The programs are those of `dir` (a build directory, an installed tree, or just the programs), or with NULL the ones
 * that run here; all must be there and of this architecture (dpkg's name): -ENOENT, -ENOEXEC with the way out. `user`: who is to
 * use the socket.
 */
int setup_archive(const char *dir, const char *arch, const char *user, Buf *ret, Err *err);
/** One file of the archive; setup_archive_end closes it. `name` has at most 99 bytes. */
void setup_archive_file(Buf *out, const char *name, unsigned mode, const void *p, size_t n);
void setup_archive_end(Buf *out);
