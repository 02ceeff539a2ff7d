// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A deploy or a rollback, watched to its end: steps as they come, what became of it, and why it failed. An
 * interrupt calls it off, which the daemon does once the connection is closed, and waits until what was there
 * serves as before; a second one only ends the waiting.
 */

#include <jansson.h>

#include "cli/cli.h"

typedef struct DeployingOptions {
	bool plan;               /* nothing is done; the steps are printed */
	const json_t *before;    /* plan: steps that come first, objects with "service", "step", "detail"; or NULL */
	const char *working_dir; /* of the project, for the commit; may be NULL */
} DeployingOptions;

/** POST /stead/v1/stacks/PROJECT/VERB. Takes ownership of the body. Gives the exit code; all has been printed. */
int deploying_run(const Cli *cli, const char *project, const char *verb, json_t *body, const DeployingOptions *o);
/** The plan as far as it can be made while images are lacking. */
void deploying_print_lacking(const Cli *cli, const json_t *steps);
