// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An ssh that runs a command on another machine, with pipes to it: the user's own, with the user's configuration. It stays in our
 * process group, so that it can ask for a password on the terminal, and therefore ignores what the terminal sends to the group
 * (ssh leaves ignored signals ignored); it dies with the thread that started it, even by kill -9.
 */

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "cli/host.h"

typedef struct SshChild {
	pid_t pid;           /* -1: none, or reaped */
	int in, out, errors; /* our ends of its standard output, input and error; -1: closed */
} SshChild;

#define SSH_CHILD_INIT { -1, -1, -1, -1 }

/**
 * `command`: words that the shell there joins with spaces and reads, so they are constants, never what somebody has typed. `options`: further ones
 * of ssh's, NULL-terminated, or NULL. -ENOENT: there is no ssh here.
 */
int ssh_child_start(const HostAddress *a, const char *url, const char *const *options, const char *const *command, SshChild *ret, Err *err);
/** Waits for it, `patience` (ns) long, then after SIGTERM, at last after SIGKILL. Gives waitpid's status; 0 where there is none. */
int ssh_child_reap(SshChild *c, int64_t patience);
/** Closes what is open and ends it. */
void ssh_child_done(SshChild *c);
