// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Landlock: rights on files that a process gives up for good, where the kernel knows of it (Documentation/userspace-api/landlock.rst).
 * libc has none of its system calls, and the headers of the oldest distribution that we build on lack some of its rights.
 */

#include <linux/landlock.h>
#include <stdint.h>

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

/** What the kernel speaks; 0: no Landlock. */
long landlock_version(void);
/** The rights of that version by which files are changed, made and removed. */
uint64_t landlock_changes(long version);
/** A set of rules by which all of `rights` are given up, but for what landlock_allow says: a descriptor, or -errno. */
int landlock_rules(uint64_t rights);
/** For the file, or all below the directory, that `fd` is open on. */
int landlock_allow(int rules, int fd, uint64_t rights);
/** The calling thread must have no_new_privs. */
int landlock_enter(int rules);
