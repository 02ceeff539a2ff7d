// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * .dockerignore: which files of a context are left out. Patterns as github.com/moby/patternmatcher has them: the last
 * one that matches a path or a directory above it decides, '!' takes back in. Paths are relative to the context,
 * without "./" in front.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

typedef struct Ignore Ignore;

typedef struct IgnoreRule {
	unsigned line;
	const char *text; /* the pattern as it is written */
	bool negated;     /* begins with '!' */
} IgnoreRule;

/** `name` is for errors. An empty text ignores nothing. -EINVAL with "NAME:LINE: …". */
int ignore_parse(const char *name, const char *text, size_t n, Ignore **ret, Err *err);
/** From single patterns (COPY --exclude); `what` is for errors. */
int ignore_from_patterns(const char *what, char *const *patterns, Ignore **ret, Err *err);
/** True: left out. ret_rule (may be NULL) is the rule that decided it, NULL when none matches; it lives as long as the Ignore. NULL ignores nothing. */
bool ignore_match(const Ignore *i, const char *path, const IgnoreRule **ret_rule);
/** A directory that is left out must be walked all the same: a '!' may take something below it back in. */
bool ignore_walk_below(const Ignore *i, const char *dir);
void ignore_free(Ignore *i);
void ignore_freep(Ignore **i);

/** The ignore file of a Dockerfile alone, which counts before .dockerignore: "NAME.dockerignore". Owned by the caller. */
char *ignore_name_for(const char *dockerfile);
