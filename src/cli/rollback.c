// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "cli/client.h"
#include "cli/deploying.h"
#include "cli/project.h"

typedef struct RollbackOptions {
	bool no_wait;
	int64_t to;
} RollbackOptions;

#define R(member) offsetof(RollbackOptions, member)
static const Option options[] = {
	{ "to", 0, OPTION_NUMBER, R(to), "N", "Release to go back to (default: the one before)", "release" },
	{ "no-wait", 0, OPTION_FLAG, R(no_wait), NULL, "Fail at once where another deploy of the stack is under way", NULL },
	{ NULL },
};

static int run(Cli *cli, void *values, char **args)
{
	const RollbackOptions *o = values;
	AUTO_FREE char *project = NULL;
	int code = project_name(cli, &project);
	if (code)
		return code;
	if (o->to == 0)
		return cli_usage(cli, "--to 0: releases count from 1; 'stead releases' lists them");
	json_t *body = json_pack("{s:b}", "no_wait", o->no_wait);
	if (o->to > 0)
		(void) json_object_set_new(body, "to", json_integer(o->to));
	const DeployingOptions d = { 0 };
	return deploying_run(cli, project, "rollback", body, &d);
}

const Command command_rollback = {
	.name = "rollback",
	.operands = "",
	.summary = "Bring a release back: images, files, environment and routes",
	.text = "Goes the way of 'stead deploy', in the reverse order of depends_on, with the images and files that the release had\n"
		"then; nothing is built or fetched, and the compose file is not looked at. It is a new release with the content of\n"
		"the old one. Ctrl-C calls it off.",
	.options = options,
	.size = sizeof(RollbackOptions),
	.flags = COMMAND_JSON,
	.run = run,
};
