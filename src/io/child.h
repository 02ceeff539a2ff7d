// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Child processes on the libuv loop: spawned with an argv (never a shell), posix_spawn(3) semantics
 * (vfork-like, so that a large parent costs nothing), reaped through a pidfd (pidfd_open(2)). Signal
 * mask and dispositions are reset in the child. Output can be captured up to a limit.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct Child Child; /* owned by the loop: freed by itself after `exited` has returned */

typedef struct ChildExit {
	int code;           /* exit code, or -1 when a signal ended it */
	int signal;         /* 0 or the signal */
	const char *output; /* captured stdout (NUL-terminated; "" if none); borrowed for the call */
	size_t output_len;
	const char *errors; /* captured stderr, trailing newlines cut */
	bool timed_out;
} ChildExit;

typedef void (*ChildExitFn)(void *user, const ChildExit *exit);
/** A line of stdout without its newline, as it comes (instead of capturing). Longer lines than LIMIT_WORKER_LINE kill the child. */
typedef void (*ChildLineFn)(void *user, const char *line, size_t n);

typedef struct ChildFd {
	int fd;    /* ours, stays open here */
	int as;    /* its number in the child */
} ChildFd;

typedef struct ChildOptions {
	const char *const *argv; /* argv[0] is the path, or a name searched in PATH */
	char *const *env;        /* NULL = ours */
	const char *cwd;         /* NULL = ours */
	const void *input;       /* written to stdin, then closed; NULL = /dev/null (unless fds has 0) */
	size_t input_len;
	size_t capture_max;      /* bytes kept of stdout and of stderr each (the rest is read and dropped); 0 = /dev/null for what fds does not give */
	ChildLineFn line;        /* or NULL */
	ChildExitFn exited;      /* called once, after exit and after both outputs reached their end (or 100 ms after the exit) */
	void *user;
	const ChildFd *fds;      /* further descriptors for the child, also 0, 1, 2 */
	size_t n_fds;
	int64_t timeout_ns;      /* 0 = none; then SIGKILL to its group */
	bool new_session;        /* setsid */
	int oom_score_adj;       /* 0 = leave; else written for the child (best effort) */
} ChildOptions;

/** Starts; `ret` (may be NULL) is valid until `exited` returns. <0: not started, `exited` is not called. */
int child_spawn(uv_loop_t *loop, const ChildOptions *o, Child **ret, Err *err);
pid_t child_pid(const Child *c);
/** kill(2) to the child (or its group when new_session). */
void child_signal(Child *c, int sig);
/** The callbacks will not be called any more; the child runs on and is reaped. */
void child_forget(Child *c);
/** As child_forget, but the loop does not wait for it either: for a child that outlives this process, whose heir reaps it. */
void child_leave(Child *c);
