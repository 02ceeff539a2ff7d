// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Names of git repositories, as builds have them: ADD and build contexts (Dockerfile reference, "ADD"; Docker's manual, "Build context", Git
 * repositories). https://HOST/PATH.git, http://, git://, ssh:// and USER@HOST:PATH; behind it #REF[:DIRECTORY], or a query of branch=, tag=,
 * ref=, subdir=, checksum= (also commit=), keep-git-dir= and submodules=. Hostile input: what comes out of here is never an option of git or
 * ssh, another of git's transports, or a path that leads upwards.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define GIT_COMMIT_MAX 65 /* SHA-1 or SHA-256 in hexadecimal, and a NUL */

typedef struct GitUrl {
	char *remote;      /* what git is given */
	char *shown;       /* the same without a password, for messages and the cache */
	char *ref;         /* branch, tag, reference or whole commit id; NULL: the default branch */
	char *subdir;      /* relative, clean; NULL: all of it */
	char *checksum;    /* the commit's id must begin with this; NULL: whatever it is */
	bool ssh;          /* it is reached through ssh */
	bool keep_git_dir; /* .git stays */
	bool no_submodules;
} GitUrl;

/** What the worker of a build calls the context that a repository is, before its URL: without and with .git. */
#define GIT_CONTEXT "git:"
#define GIT_CONTEXT_KEEP "git-dir:"

/** Is it written like one? That of a directory or a download is not. */
bool git_url_is(const char *text);
/** As git_url_is, and github.com/…, which only contexts may be. */
bool git_url_is_context(const char *text);
/** Is it the URL of something else, http or https? A context of a build that is an archive. */
bool build_archive_url(const char *text);
/** -EINVAL with the reason. */
int git_url_parse(const char *text, GitUrl *ret, Err *err);
void git_url_done(GitUrl *u);
#define AUTO_GIT_URL __attribute__((cleanup(git_url_done))) GitUrl

/** 40 or 64 lower-case hexadecimal digits. */
bool git_commit_valid(const char *text);
/** The beginning of one, 7 digits at least: --checksum. */
bool git_checksum_valid(const char *text);
