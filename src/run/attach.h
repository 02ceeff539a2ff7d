// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Attach: a container's own standard streams while it runs, over conmon's attach socket
 * (SOCK_SEQPACKET; each packet: one byte 2 = stdout, 3 = stderr, then data; what is sent goes to stdin).
 * What was printed before is in the log (run/logs.h).
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

#include "base/err.h"
#include "run/container.h"

typedef struct Attach Attach; /* freed by itself after `closed`, or by attach_close */

typedef struct AttachCallbacks {
	void (*output)(void *user, int stream, const char *data, size_t n); /* stream 1 or 2 */
	void (*drained)(void *user); /* may be NULL */
	void (*closed)(void *user);  /* the container ended, or conmon closed */
	void *user;
} AttachCallbacks;

/** From "created" on. -ENOENT: no such container, or it ended. */
int attach_open(uv_loop_t *loop, const ContainerPaths *p, const AttachCallbacks *cb, Attach **ret, Err *err);
/** Queues input for stdin (if the container was made with stdin_open); gives the bytes that wait. */
ssize_t attach_write(Attach *a, const void *p, size_t n);
/** End of input: conmon closes stdin if the container has stdin_once. */
void attach_close_stdin(Attach *a);
void attach_pause(Attach *a, bool pause);
void attach_close(Attach *a);
/** Size of the container's terminal, over conmon's control fifo. */
int container_resize(const ContainerPaths *p, unsigned rows, unsigned cols, Err *err);
