// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Repositories, by git(1): what a reference means, and the files of a commit in a directory of our own. Neither is taken from this
 * process's surroundings nor from the repository what would make git do more than that: no hooks, no prompts of git's, no transports
 * but http, git and ssh, no variables that name another repository.
 */

#include <stdbool.h>

#include "base/err.h"
#include "model/git-url.h"

/** What git may use to get in. */
typedef struct GitAccess {
	bool own;           /* the user's configuration, credential helpers and keys; else nothing but what follows */
	const char *agent;  /* socket of an SSH agent; NULL: with `own` the user's, else none */
	const char *header; /* of requests by http: "Authorization: …"; or NULL */
} GitAccess;

typedef struct GitRunner {
	GitAccess access;
	/** Called several times a second; true: give up. */
	bool (*tick)(void *user);
	void *user;
} GitRunner;

typedef struct GitCheckout {
	char *root; /* what git_checkout_done removes; NULL: there is nothing */
	char *path; /* the directory that was asked for, in it */
} GitCheckout;

/** The commit that the URL means now. -ENOENT: there is no git, or no such reference; -ECANCELED: given up. */
int git_resolve(const GitUrl *u, const GitRunner *g, char ret[GIT_COMMIT_MAX], Err *err);
/** Its files; `keep`: with .git. The same errors. */
int git_checkout(const GitUrl *u, const char *commit, bool keep, const GitRunner *g, GitCheckout *ret, Err *err);
void git_checkout_done(GitCheckout *c);
