// SPDX-License-Identifier: Apache-2.0
#include "cli/lifecycle.h"

static int run(Cli *cli, void *values, char **args)
{
	const Lifecycle l = { .verb = "start", .method = "POST", .suffix = "/start" };
	return lifecycle_run(cli, args, &l);
}

const Command command_start = {
	.name = "start",
	.operands = "[SERVICE|CONTAINER...]",
	.summary = "Start containers that have been stopped",
	.max = -1,
	.complete = "service",
	.flags = COMMAND_JSON,
	.run = run,
};
