// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * RUN --mount=type=ssh: a socket that is bound into the container of a step, behind which the client's SSH agent answers. The protocol
 * (draft-ietf-sshm-ssh-agent, section 3) is of messages, a length of four bytes and as many bytes, each of which has one answer; so a
 * message is taken whole, handed on, and nothing more is read from its connection until the answer has been written. What may be asked
 * is for the client to decide, whose agent it is.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/err.h"

typedef struct BuildAgent BuildAgent;

typedef struct BuildAgentOptions {
	const char *dir, *name; /* where the socket is made: a directory that only the daemon can change */
	uid_t uid;
	gid_t gid;
	mode_t mode;
	/** A message without its length, 1 to LIMIT_AGENT_MESSAGE bytes; gives a number, never 0, by which the answer will be known. */
	uint32_t (*ask)(void *user, const void *p, size_t n);
	void *user;
} BuildAgentOptions;

int build_agent_open(uv_loop_t *loop, const BuildAgentOptions *o, BuildAgent **ret, Err *err);
/** True: it was asked here. Without bytes, or with more than LIMIT_AGENT_MESSAGE: the agent has none, and the connection is closed. */
bool build_agent_answer(BuildAgent *a, uint32_t number, const void *p, size_t n);
/** Nothing is asked any more. NULL is allowed. The socket's file stays. */
void build_agent_close(BuildAgent *a);
