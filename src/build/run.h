// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A RUN step under way, and what is mounted into it. Private to the room.
 */

#include "build/parts.h"

struct RunStep {
	json_int_t number;
	char key[DIGEST_HEX_MAX];
	char *tmp;       /* tmp/NAME has root/ and work/ */
	char **temps;    /* further names under tmp/ that go at the end */
	int *locks;      /* of cache mounts */
	size_t n_locks;
	json_t *mounts;  /* as the daemon takes them */
	char **env;
	bool sent;
	json_t *answer;  /* NULL: it runs */
};

/** Adds to the key what the mounts of the file bring. 1: a stage or image that they need is not there yet. */
int run_mounts_key(Build *b, BuildStage *s, const Instruction *i, CacheKey *k, Err *err);
/** Prepares the mounts of the file. 1: a cache is locked by somebody else, or what they need is not there yet. */
int run_mounts(Build *b, BuildStage *s, const Instruction *i, RunStep *r, Err *err);
/** Adds the caches of package managers that the command calls, unless the file has its own idea of them. */
int run_package_caches(Build *b, BuildStage *s, const Instruction *i, const View *v, RunStep *r, Err *err);
/** The script of a RUN that is only a heredoc, as a file at `target`. */
int run_script(Build *b, const char *text, const char *target, RunStep *r, Err *err);
