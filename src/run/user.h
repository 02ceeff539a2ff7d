// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * User: who a container's process runs as, from "name", "uid", "name:group" …, looked up in the container's own
 * /etc/passwd and /etc/group. Both files are hostile: opened inside the root only, read up to a
 * limit, ids parsed strictly.
 */

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

typedef struct User {
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* supplementary */
	size_t n_groups;
	char *home; /* of the passwd entry; "/" if there is none */
} User;

/**
 * `rootfs` is a directory. `spec` NULL or "" is root. `extra` (strv, may be NULL) are group names or ids to
 * add. A name that is not in the files is -ENOENT; an id need not be there. `ret` is the caller's.
 */
int user_resolve(const char *rootfs, const char *spec, char *const *extra, User *ret, Err *err);
void user_done(User *u);
