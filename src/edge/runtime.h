// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * HAProxy's runtime API: a unix socket that takes a line and answers with text until it closes the connection. Commands are sent
 * one after the other, each on a connection of its own, so that its answer needs no framing. The loop is never blocked.
 */

#include <uv.h>

#include "base/err.h"

#define RUNTIME_TIMEOUT_MSEC 5000 /* from connect to the end of the answer */

typedef struct RuntimeApi RuntimeApi;

/** `answer` is NULL when there is none, and `err` says why. Both are borrowed. */
typedef void (*RuntimeFn)(void *user, const char *answer, const Err *err);

RuntimeApi *runtime_api_new(uv_loop_t *loop, const char *path);
/** Callbacks of what has not been answered will not come. NULL is allowed. */
void runtime_api_free(RuntimeApi *a);
/** Queues a command (copied). `fn` is called from the loop, in the order of the commands. */
void runtime_api_send(RuntimeApi *a, const char *command, RuntimeFn fn, void *user);
