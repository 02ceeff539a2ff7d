// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "cli/operation.h"
#include "cli/project.h"

typedef struct DownOptions {
	bool volumes, remove_orphans;
	int64_t timeout;
	const char *rmi;
} DownOptions;

#define D(member) offsetof(DownOptions, member)
static const Option options[] = {
	{ "volumes", 'v', OPTION_FLAG, D(volumes), NULL, "Also remove the stack's named and anonymous volumes, with their data", NULL },
	{ "remove-orphans", 0, OPTION_FLAG, D(remove_orphans), NULL, "Also containers of services that are no longer in the file", NULL },
	{ "timeout", 't', OPTION_NUMBER, D(timeout), "SECONDS", "Time to stop before a kill (default: stop_grace_period)", NULL },
	{ "rmi", 0, OPTION_CHOICE, D(rmi), "WHICH", "Also remove the services' images", "local all" },
	{ NULL },
};

static int run(Cli *cli, void *values, char **args)
{
	const DownOptions *o = values;
	const OperationOptions op = { 0 };
	AUTO_HTTP *client = NULL;
	AUTO_FREE char *project = NULL;
	int code = project_name(cli, &project);
	if (!code)
		code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	json_t *body = json_pack("{s:b, s:b, s:s}", "volumes", o->volumes, "remove_orphans", o->remove_orphans, "images", o->rmi ? o->rmi : "");
	if (o->timeout >= 0)
		(void) json_object_set_new(body, "timeout", json_integer(o->timeout));
	code = operation_run(cli, client, project, "down", body, &op);
	json_decref(body);
	return code;
}

const Command command_down = {
	.name = "down",
	.operands = "",
	.summary = "Stop and remove a stack's containers and networks",
	.text = "In the reverse order of depends_on. Volumes stay unless -v says otherwise. The stack's releases are forgotten:\n"
		"there is nothing to roll back to afterwards ('stead stop' keeps them). Ctrl-C only ends the watching: the daemon\n"
		"goes on with it.",
	.options = options,
	.size = sizeof(DownOptions),
	.flags = COMMAND_JSON,
	.run = run,
};
