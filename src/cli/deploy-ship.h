// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a deploy to another box sends there first: images that the stack needs, that the box lacks (or has in an older version) and that
 * the stead here has.
 */

#include "cli/cli.h"
#include "model/stack.h"

typedef struct DeployShip {
	const char *from; /* host that has them; NULL = the stead here, if there is one and -H leads elsewhere through ssh */
	bool no_ship;
	bool plan;        /* of a deploy: only say what would be sent */
	bool deploy;      /* the daemon can be asked whether it would refuse what `body` asks for */
} DeployShip;

/**
 * `body` is the request that follows; with `plan` it gets the images that are coming. `ret_plan` (with `plan`) gets an object {"service", "step", "detail"} for each
 * image. An exit code; errors have been printed.
 */
int deploy_ship(const Cli *cli, const Stack *stack, char *const *services, const DeployShip *o, json_t *body, json_t **ret_plan);
