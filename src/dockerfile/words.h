// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Words of a Dockerfile with variables: $v ${v} ${v:-w} ${v-w} ${v:+w} ${v+w} ${v:?w} ${v?w} ${v#p} ${v##p} ${v%p} ${v%%p} ${v/p/r}
 * ${v//p/r}; quotes and the escape character (Dockerfile reference, "Environment replacement"; BuildKit's shell.Lex is what
 * decides corners). Patterns have * and ?, no brackets.
 */

#include "base/err.h"

typedef struct WordVariables {
	/** The value, or NULL: not set. Borrowed until the next call. */
	const char *(*get)(void *user, const char *name);
	void *user;
	char escape; /* '\\' or '`' */
	char ***unset; /* gets the names that have no value where the word says nothing of that case (as :- does); NULL = not wanted */
} WordVariables;

/** Replaces variables, removes quotes and escape characters; spaces stay. -EINVAL also for results beyond LIMIT_DOCKERFILE_VALUE. */
int word_expand(const char *word, const WordVariables *v, char **ret, Err *err);
/** The same, cut into words at spaces that are not quoted (those of values, too). NULL when none is left. */
int words_expand(const char *word, const WordVariables *v, char ***ret, Err *err);
/** The text of a heredoc: quotes are ordinary characters there. */
int text_expand(const char *text, const WordVariables *v, char **ret, Err *err);
