// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A root file system while packages are installed in it, and its cleaning afterwards. The caller is in a
 * mount namespace of its own.
 */

#include "base/err.h"
#include "image/apt.h"

typedef struct Guest {
	char *root;
	char **mounts;  /* absolute, in order */
	char **created; /* files and directories to remove again */
} Guest;

/** Puts /dev, name resolution, apt's directory and a policy against starting services into `root`. */
int rootfs_enter(const char *root, const char *aptdir, Guest *ret, Err *err);
/** Takes all of that away again; also after a failed enter. */
int rootfs_leave(Guest *g, Err *err);
/** Removes what an image should not have: logs, caches, temporary files, the machine's identity. */
int rootfs_clean(const char *root, Err *err);
/** What mmdebstrap leaves: as rootfs_clean, and device nodes, the host's names, apt's temporary settings. */
int rootfs_finish_base(int rootfd, const AptSources *sources, Err *err);
