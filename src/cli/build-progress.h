// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a build is doing, as people who know `docker build` expect it, on stderr: on a terminal the steps that run with their last
 * lines of output, redrawn in place below those that are done; elsewhere BuildKit's plain form, a line an event with the step's
 * number in front and the output with the seconds since the step began.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "cli/progress.h"

#define BUILD_TAIL_LINES 12 /* kept of a step's output, for when it fails */
#define BUILD_LIVE_LINES 6  /* of them shown while it runs */

typedef struct BuildStepView {
	int64_t number;
	int64_t shown; /* how many came before it, and it; 0: BuildKit does not show such (ENV, CMD, …) either */
	unsigned line; /* in the Dockerfile; 0 = none */
	char *title;   /* "[web 2/5] RUN make", cleaned */
	int64_t began; /* monotonic */
	bool running;
	Buf partial;   /* a line that has no end yet */
	char *tail[BUILD_TAIL_LINES]; /* cleaned; a ring */
	size_t n_tail; /* lines ever */
} BuildStepView;

typedef struct BuildProgress {
	ProgressMode mode; /* PROGRESS_LIVE, PROGRESS_PLAIN or PROGRESS_QUIET */
	int fd;
	bool colour;
	BuildStepView *steps;
	size_t n_steps;
	int64_t n_shown;
	int64_t last_step; /* plain: whose lines came last */
	char *text;        /* live: what else goes on */
	size_t drawn;      /* lines on the screen that the next drawing replaces */
	int64_t drawn_at, began;
} BuildProgress;

/** PROGRESS_AUTO is decided by fd. */
void build_progress_init(BuildProgress *p, ProgressMode mode, int fd, int64_t now);
/** The daemon's event (docs/API.md, Builds). */
void build_progress_event(BuildProgress *p, const json_t *event, int64_t now);
void build_progress_output(BuildProgress *p, int64_t step, const char *data, size_t n, int64_t now);
/** What the client itself does: one line that the next replaces; NULL: nothing. */
void build_progress_text(BuildProgress *p, const char *text, int64_t now);
/** A line for people. */
void build_progress_note(BuildProgress *p, const char *text);
/** Redraws; cheap when called too often. */
void build_progress_tick(BuildProgress *p, int64_t now);
/** Takes what is drawn off the screen: the end, or somebody else writes to it. */
void build_progress_clear(BuildProgress *p);
/** Of a step that is still running, that is, has failed: its last lines and where it stands in the Dockerfile (`text` of `name`). */
void build_progress_failure(BuildProgress *p, const char *name, const char *text, int64_t now);
/** Appends where a line stands: some of `text`, what `name` has in it. */
void build_progress_excerpt(Buf *b, const char *name, const char *text, unsigned line);
void build_progress_done(BuildProgress *p);
