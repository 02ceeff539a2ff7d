// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Operations on a stack: sends one, shows the daemon's events as they come, and says at the end why it
 * failed, in which service, with its last log lines (docs/API.md, Operations).
 */

#include <jansson.h>

#include "cli/client.h"

/** The exit code of an interrupted wait, as shells have it for SIGINT. */
enum { EXIT_INTERRUPTED = 130 };

typedef struct OperationOptions {
	bool refused_is_usage; /* a 4xx answer gives EXIT_USAGE: nothing has been started (up) */
	bool foreground;       /* an interrupt is the caller's to explain; signals stay caught */
	int64_t give_up_at;    /* monotonic; then the watching ends as a failure; 0 = never */
	const Cli *cli;        /* to name file and line of what was refused; operation_run sets it. NULL: the key alone is named */
	void (*line)(void *user, const json_t *line); /* sees each line first; or NULL */
	void *user;
	const char *lost;      /* a line: what becomes of the operation where the daemon has gone; NULL: it is taken up again */
	json_t **last;         /* gets the last line, and the caller prints why it failed; NULL: it is printed */
} OperationOptions;

/**
 * POST /stead/v1/stacks/PROJECT/VERB with the body (borrowed), to its end. Gives the exit code; errors
 * have been printed. An interrupt ends the watching, not the operation: EXIT_INTERRUPTED.
 */
int operation_run(const Cli *cli, HttpClient *c, const char *project, const char *verb, const json_t *body, const OperationOptions *o);
/** Prints why an operation failed, from its last line. `cli` may be NULL, as in OperationOptions. */
void operation_failure(const json_t *last, const char *project, const Cli *cli);
/** A stream that makes an image: progress, then the image's id on standard output. Gives the exit code. */
int operation_image(const Cli *cli, HttpClient *c);
