// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What start, stop, restart, kill and rm share: services of the stack go to the stack's operation, which
 * keeps the order of dependencies; containers that are named outright go to the Docker Engine API.
 */

#include "cli/containers.h"

typedef struct Lifecycle {
	const char *verb;   /* the operation, "stop" */
	const char *method; /* for a single container */
	const char *suffix; /* of its path, "/stop?t=3"; borrowed */
	json_t *body;       /* of the operation, without services; borrowed */
} Lifecycle;

/** Finds the targets of `words` and does it. The exit code; errors have been printed. */
int lifecycle_run(const Cli *cli, char *const *words, const Lifecycle *l);
/** The same with targets that are known. */
int lifecycle_apply(const Cli *cli, HttpClient *c, const Targets *t, const Lifecycle *l);
