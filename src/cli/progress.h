// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What an operation is doing, from the daemon's stream of events (docs/API.md, Operations): on a
 * terminal a table of objects that is redrawn in place, elsewhere one line an event, with --json the
 * events as they came.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

typedef enum ProgressMode {
	PROGRESS_AUTO, /* live on a terminal, else plain */
	PROGRESS_LIVE,
	PROGRESS_PLAIN,
	PROGRESS_QUIET,
	PROGRESS_JSON, /* on stdout */
} ProgressMode;

typedef struct ProgressRow {
	char *kind, *name; /* cleaned; together the key */
	char *label;       /* what is shown */
	char *status;
	int64_t since, until; /* monotonic; until = 0 while something is going on */
} ProgressRow;

typedef struct Progress {
	ProgressMode mode;
	int fd; /* where live and plain output goes */
	char *project;
	ProgressRow *rows;
	size_t n_rows;
	unsigned *drawn; /* columns of each line now on the screen, for going back up over them */
	size_t n_drawn;
	char *text; /* what is going on, without an object; live only */
	bool colour, utf8;
	bool by_service; /* a deploy: its containers come and go, one row a service says more */
	int64_t drawn_at;
} Progress;

/** PROGRESS_AUTO is decided by fd. */
void progress_init(Progress *p, ProgressMode mode, int fd, const char *project);
/**
 * One event of the stream; `now` is monotonic. Events that name no object are ignored (but printed in JSON mode). A step of a deploy moves
 * the row of its service on, or is a line of its own.
 */
void progress_event(Progress *p, const json_t *event, int64_t now);
/** The operation has succeeded: services that were being deployed are. */
void progress_settle(Progress *p, int64_t now);
/** Redraws the live table: spinner and elapsed times move on. Cheap when called too often. */
void progress_tick(Progress *p, int64_t now);
/** What is going on, in words: one line that the next one replaces; elsewhere a line each. */
void progress_text(Progress *p, const char *text, int64_t now);
/** A line for people, above the table. */
void progress_note(Progress *p, const char *text);
/** The table as it stays on the screen. */
void progress_end(Progress *p, int64_t now);
void progress_done(Progress *p);

/** The lines of the table for a screen of this size, without cursor movements; `all`: also what does not fit in height. */
void progress_render(const Progress *p, unsigned columns, unsigned rows, bool all, int64_t now, Buf *out);
/** "blog-web-1" of stack "blog" is "web-1", as compose has it in prefixes. Borrowed from `name`. */
const char *progress_short_name(const char *project, const char *name);
