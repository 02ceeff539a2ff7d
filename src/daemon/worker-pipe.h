// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The daemon's end of a worker's descriptor 3 (image/job.h): what a client uploads, a saved archive, a ship, a build's context. It
 * passes bytes on and knows nothing of them. Neither side is ever waited for: who gives faster than the other takes is told so by
 * the numbers here, and stops reading its source.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct WorkerPipe WorkerPipe;

/** May close the pipe. */
typedef struct WorkerPipeCallbacks {
	void (*read)(void *user, Buf *in); /* `in` has something new; what is consumed of it is gone */
	void (*ended)(void *user); /* nothing more comes from the worker: how it went, its job tells; or NULL */
	void (*written)(void *user, size_t waiting); /* some more was, or never will be; bytes that wait still; or NULL */
	void *user;
} WorkerPipeCallbacks;

/** `theirs` is the worker's, and the caller's to give away. Reads nothing yet. */
int worker_pipe_open(uv_loop_t *loop, const WorkerPipeCallbacks *cb, WorkerPipe **ret, int *ret_theirs, Err *err);
/** Copies. Gives the bytes that wait; a worker that takes no more makes none wait. */
size_t worker_pipe_write(WorkerPipe *p, const void *data, size_t n);
/** Nothing more is written: the worker reads what waits, then its end. Once more does no harm. */
void worker_pipe_end(WorkerPipe *p);
void worker_pipe_read(WorkerPipe *p, bool on);
/** What waits is dropped, and no callback comes any more. The pointer is dead; NULL is allowed. */
void worker_pipe_close(WorkerPipe *p);
