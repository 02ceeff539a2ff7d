// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Programs that a worker runs and waits for: argv only, never a shell, with a clean environment, in another root
 * and without a network where asked.
 */

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct CommandOptions {
	const char *root;   /* chroot(2) there first, or NULL */
	bool enclosed;      /* in own process, mount, IPC and UTS namespaces, with a fresh /proc: nothing that it starts survives it */
	bool no_network;    /* in an empty network namespace */
	const char *apt_config; /* APT_CONFIG in its environment, or NULL */
	const char *input;  /* for its stdin, or NULL */
	void (*line)(void *user, const char *line); /* each line of stdout and stderr, or NULL */
	void *user;
} CommandOptions;

/**
 * Runs to the end. An exit code other than 0 is an error that ends with the last lines of its output.
 */
int command_run(const char *const *argv, const CommandOptions *o, Err *err);
/** Its stdout; the exit code, or negative errno. */
int command_output(const char *const *argv, Buf *ret);
/** Is it in the search path that command_run uses? */
bool command_exists(const char *name);
