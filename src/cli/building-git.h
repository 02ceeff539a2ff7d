// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Git repositories of a build. A context is the user's own choice, so git may use all that the user has: configuration, credential
 * helpers, keys. What an ADD names is the Dockerfile's, and that may be a stranger's: it is fetched with nothing but what the build was
 * given, as BuildKit does: the SSH agent "default" of --ssh, and the secrets GIT_AUTH_TOKEN or GIT_AUTH_HEADER, also with .HOST behind them.
 */

#include "cli/building.h"
#include "cli/git.h"

/** A repository that an ADD of the Dockerfile names. */
typedef struct BuildingRepository {
	char *url; /* as it is written */
	GitUrl parsed;
	char commit[GIT_COMMIT_MAX];
} BuildingRepository;

/** What it means now. `tick` is git.h's. */
int building_repository_find(const Building *b, const char *url, bool (*tick)(void *user), void *user, BuildingRepository *ret, Err *err);
/** Its files, at that commit. */
int building_repository_fetch(const Building *b, const BuildingRepository *r, bool keep, bool (*tick)(void *user), void *user, GitCheckout *ret, Err *err);
void building_repository_done(BuildingRepository *r);

/** A context's files, with all that the user has. `tick` is git.h's. */
int building_git_fetch(const Building *b, const GitUrl *u, bool (*tick)(void *user), void *user, GitCheckout *ret, Err *err);
/**
 * How the daemon knows it, whatever is checked out: builds of one repository have much in common. Owned by the caller.
 */
char *building_repository_id(const GitUrl *u);
/** Fetches the repository of that name; it becomes the context. -ECANCELED: interrupted. */
int building_git_context(Building *b, const char *url, Err *err);
