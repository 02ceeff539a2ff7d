// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What an exec's helper reads: prepared from the container's process.json and what is asked for. */

#include <stdbool.h>

#include "run/exec.h"

typedef struct ExecInput {
	bool direct; /* for stead-exec; else for the runtime's exec */
	int spec;    /* memfd: run/exec-format.h, or the OCI process as JSON */
	int init;    /* direct: pidfd of the container's init */
	int oom_score_adj;
	int seccomp; /* direct: the container's filter, -1 = it has none */
} ExecInput;

#define EXEC_INPUT_INIT { .spec = -1, .init = -1, .seccomp = -1 }

/** -EINVAL: the command cannot be; -ESRCH: the container does not run; -ENOENT: no such user. */
int exec_input_make(const ExecSpec *s, ExecInput *ret, Err *err);
void exec_input_done(ExecInput *in);
