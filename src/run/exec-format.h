// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the daemon (run/exec.c) tells stead-exec (run/stead-exec.c): a header, then `n_groups` group ids, then
 * `n_rlimits` limits, then `n_strings` strings with their NULs: the directory, the arguments, the environment. Both are
 * of one build: the daemon keeps the helper that it found at its start.
 */

#include <stdint.h>

/* Descriptors of stead-exec. */
enum {
	EXEC_FD_SPEC = 3,    /* this */
	EXEC_FD_LOG = 4,     /* why the command could not be started */
	EXEC_FD_INIT = 5,    /* pidfd of the container's init */
	EXEC_FD_PROGRAM = 6, /* what is executed: stead-exec itself, sealed */
	EXEC_FD_SECCOMP = 7, /* the container's filter, as the runtime keeps it; with `seccomp` */
};

#define EXEC_MAGIC 0x73786531U
#define EXEC_SPEC_MAX (4U << 20)

typedef struct ExecLimit {
	uint32_t resource;
	uint32_t unused;
	uint64_t soft, hard;
} ExecLimit;

typedef struct ExecHeader {
	uint32_t magic;
	int32_t init_pid; /* as the host sees it */
	uint32_t uid, gid;
	uint64_t caps_bounding, caps_effective; /* permitted = effective; inheritable and ambient are empty */
	int32_t oom_score_adj;
	uint32_t no_new_privileges, seccomp;
	uint32_t n_groups, n_rlimits;
	uint32_t n_args, n_env, strings_size;
} ExecHeader;
