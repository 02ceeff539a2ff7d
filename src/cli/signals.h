// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Signals for commands that wait: caught ones are blocked and only come through inside signals_poll,
 * so that none is lost between looking and waiting (the reason for ppoll(2)).
 */

#include <poll.h>
#include <stdbool.h>

/** SIGINT, SIGTERM, SIGHUP and SIGWINCH are caught from now on. */
void signals_catch(void);
/** Their old handling is back. */
void signals_release(void);
/** poll(2) that signals interrupt: number of ready descriptors, 0 at the timeout (ms, -1 = none) or on a signal; -errno. */
int signals_poll(struct pollfd *fds, size_t n, int timeout_ms);
/** True once a caught signal of this number has come since the last call. */
bool signals_take(int sig);
/** The same for SIGINT, SIGTERM and SIGHUP: somebody wants the command to end. */
bool signals_ended(void);
