// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An SSH agent of our own that holds some keys for the time of a build: ssh-agent(1), into which ssh-add(1) loads the files, so that
 * keys are read, and passphrases asked for, by the programs that are made for it. It ends with key_agent_stop, and when this process
 * dies in whatever way.
 */

#include <sys/types.h>

#include "base/err.h"

typedef struct KeyAgent {
	char *dir;     /* a directory that only we can enter; NULL: none was started */
	char *socket;  /* in it */
	int hold;      /* while this is open, it lives */
	pid_t watcher; /* who ends it */
} KeyAgent;

#define KEY_AGENT_INIT { .hold = -1, .watcher = -1 }

/** `keys`: files, at least one. May ask on the terminal. -ENOENT: there is no ssh-agent. */
int key_agent_start(char *const *keys, KeyAgent *ret, Err *err);
void key_agent_stop(KeyAgent *a);
