// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What container.c and watch.c share: reading what conmon left in a bundle, and opening a container's
 * processes safely.
 */

#include "run/container.h"

/*
 * "Not there" and "cannot look" (no descriptor left, say) are never the same: who takes the second for the first
 * kills or forgets what runs.
 */

/** pidfd of the living init, checked to be in the container's cgroup. -ESRCH: it does not live. */
int container_init_open(const ContainerPaths *p, pid_t *ret_pid);
/** pidfd of the container's conmon. -ESRCH: it does not live. */
int container_conmon_open(const ContainerPaths *p, pid_t *ret_pid);
/** 1: fills status, exit_code and finished_at from the exit file; 0: there is none yet. */
int container_read_exit(const ContainerPaths *p, ContainerState *st);
/** Fills oom_killed of a container that ended. */
void container_read_oom(const Runtime *rt, const ContainerPaths *p, ContainerState *st);
