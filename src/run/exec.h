// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Exec: a further process in a running container, for `exec` and for health probes. The runtime's
 * `exec` runs as a child of the daemon with pipes, or a pseudo terminal, as its streams. It ends
 * with the daemon; the process inside then ends by its broken streams, as with Docker.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/err.h"
#include "run/container.h"
#include "run/runtime.h"

typedef struct ExecSpec {
	const Runtime *runtime;
	const ContainerPaths *paths;
	char *const *cmd;  /* at least one */
	char *const *env;  /* "K=v", over the container's; NULL = none */
	const char *cwd;   /* NULL or "" = the container's */
	const char *user;  /* name or uid[:group], NULL or "" = the container's */
	bool privileged, tty;
	bool attach_stdin; /* else /dev/null */
	bool attach_stdout, attach_stderr; /* else dropped; with a tty everything is stdout */
	unsigned rows, cols; /* tty: 0 = unset */
} ExecSpec;

typedef struct Exec Exec; /* freed by itself after `exited` has returned */

typedef struct ExecCallbacks {
	/** `stream` is 1 or 2. Borrowed for the call. */
	void (*output)(void *user, int stream, const char *data, size_t n);
	/** What exec_write had queued has been written: more may come. May be NULL. */
	void (*drained)(void *user);
	/**
	 * Once, after the last output. `code` as docker exec has it: the process's own, 128+signal, 126 (cannot be
	 * executed), 127 (not found), with `error` the reason in the last two cases, else NULL.
	 */
	void (*exited)(void *user, int code, const char *error);
	void *user;
} ExecCallbacks;

/** <0: not started (the user does not exist, the container does not run …), no callback comes. */
int exec_start(uv_loop_t *loop, const ExecSpec *spec, const ExecCallbacks *cb, Exec **ret, Err *err);
/** Queues input; gives the bytes that wait unwritten (stop reading the client while that is much). <0: stdin is closed. */
ssize_t exec_write(Exec *e, const void *p, size_t n);
/** End of input, after what is queued. With a tty nothing happens, as with Docker. */
void exec_close_stdin(Exec *e);
/** Stops and resumes reading of output, for a slow receiver. */
void exec_pause(Exec *e, bool pause);
int exec_resize(Exec *e, unsigned rows, unsigned cols);
/** The process in the container, as seen from the host; 0 = not known (yet). */
pid_t exec_pid(const Exec *e);
/** Signal to the process in the container. */
void exec_kill(Exec *e, int sig);
/** SIGKILL to the runtime's own process, if killing the command has not helped. */
void exec_abort(Exec *e);

/* ── health probes ────────────────────────────────────────────────── */

typedef struct ExecProbe ExecProbe; /* freed by itself after `done` */

/** `code` is the exit code; -1 with timed_out, or when the runtime failed. `output` has at most LIMIT_PROBE_OUTPUT bytes. */
typedef void (*ExecProbeFn)(void *user, int code, bool timed_out, const char *output, size_t n);

/**
 * Runs a command with the container's own user, environment and directory; kills it after `timeout_ns`.
 * `done` is called once, never from within this call.
 */
int exec_probe(uv_loop_t *loop, const Runtime *rt, const ContainerPaths *p, char *const *cmd, int64_t timeout_ns, ExecProbeFn done,
	void *user, ExecProbe **ret, Err *err);
/** Kills it; `done` is not called. NULL is allowed. */
void exec_probe_cancel(ExecProbe *p);
