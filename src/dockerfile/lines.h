// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A Dockerfile's text as logical lines: parser directives, comments, continued lines, heredocs. Private to
 * dockerfile/.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "dockerfile/dockerfile.h"

typedef struct Lines {
	const char *p, *end; /* what is left of the text; borrowed */
	unsigned line;       /* number of the last line read */
	char escape;
	char *syntax, *check; /* values of the directives, NULL = not there; owned */
} Lines;

typedef struct Line {
	Buf text; /* without comments, continued lines joined */
	unsigned first, last;
	bool empty_continuation; /* an empty line was among the continued ones */
	Heredoc *heredocs;       /* owned */
	size_t n_heredocs;
} Line;

/** Reads the directives. The text has no NUL. An error has no place in front: `l->line` says where. */
int lines_open(Lines *l, const char *text, size_t n, Err *err);
/** The next instruction's line: 1, or 0 at the end. Errors as above. `line` is empty; line_done frees it, also after an error. */
int lines_next(Lines *l, Line *line, Err *err);
void lines_done(Lines *l);
void line_done(Line *line);
void heredocs_free(Heredoc *h, size_t n);

/**
 * Reads "<<NAME", "<<-NAME", "3<<NAME", with or without quotes around the name: fills name (owned by the caller), chomp, expand
 * and gives true; false if the word is no heredoc.
 */
bool heredoc_parse(const char *word, char escape, Heredoc *ret);
