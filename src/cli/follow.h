// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The logs of several containers: one after the other, or followed all at once, each line behind its
 * container's name ("web-1  | …"). A container that restarts is picked up again where its new run
 * began, so that no line is lost or shown twice. Output passes through as it is.
 */

#include <jansson.h>

#include "cli/client.h"

/** Each followed container takes a connection, and the daemon serves 64 (LIMIT_API_CLIENTS). */
#define FOLLOW_MAX 48

typedef struct LogOptions {
	bool follow; /* follower_run will be called: at most FOLLOW_MAX containers */
	bool timestamps, no_prefix, no_colour;
	const char *tail;         /* number or "all"; NULL = all */
	const char *since, *until; /* as the API has them (log_moment); NULL = no bound */
} LogOptions;

typedef struct Follower Follower;

typedef enum FollowEnd {
	FOLLOW_ENDED,       /* all containers have ended */
	FOLLOW_INTERRUPTED, /* a signal that is still to be handled */
	FOLLOW_STOPPED,     /* the exit callback said so */
	FOLLOW_FAILED,      /* printed */
} FollowEnd;

/** A container ended. True ends the following. */
typedef bool (*FollowExitFn)(void *user, const char *service, int exit_code);

/** `project` shortens the prefixes; may be NULL. */
Follower *follower_new(const Cli *cli, const char *project, const LogOptions *o);
void follower_free(Follower *f);
/** One container of GET /containers/json (borrowed for the call). -E2BIG: more than can be followed. */
int follower_add(Follower *f, const json_t *container, Err *err);
/** Prints what there is; 0 or an exit code, errors printed. */
int follower_print(Follower *f);
/** Follows; containers that start later join when they belong to `services` (NULL: any of the project). Signals are caught by it. */
FollowEnd follower_run(Follower *f, char *const *services, FollowExitFn exited, void *user);
/**
 * Goes on following while POST /stead/v1/stacks/PROJECT/VERB is done, until the operation and all containers have ended.
 * Gives FOLLOW_INTERRUPTED when another signal comes.
 */
FollowEnd follower_finish(Follower *f, const char *verb, const json_t *body);

/** "10m", a date …, to the API's seconds.nanoseconds; the caller's. -EINVAL with a text that names `option`. */
int log_moment(const char *option, const char *text, char **ret, Err *err);
