// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Children of commands: an argv, the descriptors that are named and nothing else, default signals.
 */

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

typedef struct SpawnFd {
	int fd; /* ours, stays open here; -1 = /dev/null */
	int as; /* its number in the child */
} SpawnFd;

/** argv[0] is a path, or a name that is looked for in PATH (-ENOENT). What `fds` does not name of 0, 1, 2 is ours. */
int spawn(const char *const *argv, const SpawnFd *fds, size_t n, pid_t *ret, Err *err);
/** With an environment of its own (a strv). */
int spawn_env(const char *const *argv, char *const *env, const SpawnFd *fds, size_t n, pid_t *ret, Err *err);
#define SPAWN_INPUT_MAX 60000 /* what a pipe holds */
/** A pipe to read from that holds the text (at most SPAWN_INPUT_MAX bytes), and ends behind it. The caller closes it. */
int spawn_input(const char *text, int *ret_fd, Err *err);
/** Waits for its end: exit code, or 128 + signal. */
int spawn_wait(pid_t pid);
/** As spawn_wait, but kills it after this time; -ETIMEDOUT then. */
int spawn_wait_for(pid_t pid, int timeout_ms);
