// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * SSH agents that RUN --mount=type=ssh may ask: the user's, or one of our own with the keys that were given. The daemon sends the questions of
 * containers in frames of type A (docs/API.md, Builds); each goes to the agent over a connection of its own. Whoever asks is a
 * stranger: keys may be listed and signed with, and nothing else is passed on (BuildKit's rule).
 */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "cli/key-agent.h"

#define BUILD_AGENT_CALLS_MAX 128 /* as many as a daemon lets containers have: 4 steps with 4 agents and 8 connections each */

/** What --ssh says. */
typedef struct BuildAgent {
	char *id;
	char *socket; /* NULL: keys */
	char **keys;
	KeyAgent own; /* holds the keys */
} BuildAgent;

typedef struct BuildAgentCall {
	uint32_t number;
	int fd;
	Buf out; /* what the agent has not taken yet */
	Buf in;  /* what it has answered so far */
} BuildAgentCall;

typedef struct BuildAgents {
	BuildAgent *list;
	size_t n;
	BuildAgentCall calls[BUILD_AGENT_CALLS_MAX];
	size_t n_calls;
} BuildAgents;

/**
 * "ID", "ID=SOCKET" or "ID=KEY[,KEY…]"; an id alone means the agent of SSH_AUTH_SOCK. A second one of an id takes the first one's
 * place. -EINVAL, -ENOENT with what to do.
 */
int build_agents_add(BuildAgents *a, const char *text, Err *err);
/** Loads keys, where that is not yet done; may ask on the terminal. */
int build_agents_start(BuildAgents *a, Err *err);
void build_agents_done(BuildAgents *a);
/** The socket of an agent that has been started; NULL: there is none of that id. Borrowed. */
const char *build_agents_socket(const BuildAgents *a, const char *id);

/** The payload of a frame of type A. Frames with what can be answered at once are appended. -EPROTO: it is none. */
int build_agents_ask(BuildAgents *a, const char *p, size_t n, Buf *frames, Err *err);
/** Descriptors to wait for: at most BUILD_AGENT_CALLS_MAX; their number. */
size_t build_agents_poll(const BuildAgents *a, struct pollfd *fds);
/** With those same descriptors, after a poll(2): frames with answers are appended. */
void build_agents_ready(BuildAgents *a, const struct pollfd *fds, Buf *frames);
