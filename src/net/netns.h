// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Network namespaces of containers. The daemon makes them before the container, pins each by a bind
 * mount at RUN_DIR/netns/ID (as ip-netns(8) does), and gives that path to the runtime. All calls are
 * repeatable and synchronous; each takes well under a millisecond, but for netns_create (see there).
 * Calls happen on the main thread, whose namespace is changed for the moment and put back.
 */

#include <sys/types.h>

#include "base/err.h"

/** Once per daemon start: makes RUN_DIR/netns a mount of its own with shared propagation, so that an unmount
 * reaches copies. */
int netns_setup(const char *run_dir, Err *err);

/** Takes that mount away again when nothing is pinned; -EBUSY else. */
int netns_teardown(const char *run_dir, Err *err);

/**
 * A new namespace with lo up, unprivileged ports from 0 and ping sockets for every group, as Docker has them.
 * `sysctls` is a strv of "net.x.y=value" written in it (may be NULL). Where ID is there already it is opened
 * as it is: 1 then, 0 for a new one. `ret_fd` is the caller's (may be NULL).
 */
int netns_create(const char *run_dir, const char *id, char *const *sysctls, int *ret_fd, Err *err);
/** -ENOENT. */
int netns_open(const char *run_dir, const char *id, int *ret_fd, Err *err);
/** Unpins it (it ends with its last process and socket). A missing one is success. */
int netns_remove(const char *run_dir, const char *id, Err *err);
/** The ids that are pinned, a strv of the caller; also those of a crash halfway. */
int netns_list(const char *run_dir, char ***ret, Err *err);
/** "RUN_DIR/netns/ID", owned by the caller. */
char *netns_path(const char *run_dir, const char *id);

/** socket(2) inside the namespace. The fd is the caller's. */
int netns_socket(int netns_fd, int family, int type, int protocol, int *ret_fd, Err *err);
/** Runs `f` inside the namespace; gives back what it gives. `f` must not return before it is done. */
int netns_run(int netns_fd, int (*f)(void *user, Err *err), void *user, Err *err);
