// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/project.h"

static int run(Cli *cli, void *values, char **args)
{
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *project = NULL;
	AUTO_BUF url = BUF_INIT;
	bool on = str_eq(args[0], "on");
	if (!on && !str_eq(args[0], "off"))
		return cli_usage(cli, "'%s' is neither on nor off", args[0]);
	int code = project_name(cli, &project);
	if (!code)
		code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	client_stack_url(&url, project, "maintenance");
	json_t *body = json_pack("{s:b}", "on", on);
	if (args[1])
		(void) json_object_set_new(body, "services", strv_to_json(args + 1));
	int r = client_post(client, buf_cstr(&url), body, NULL, &err);
	json_decref(body);
	return r < 0 ? cli_fail(&err) : EXIT_DONE;
}

const Command command_maintenance = {
	.name = "maintenance",
	.operands = "on|off [SERVICE...]",
	.summary = "Answer requests with a maintenance page instead of the services",
	.text = "For the routes of these services, or of all. The containers are left alone. It holds until it is turned off, also\n"
		"over restarts and deploys.",
	.min = 1,
	.max = -1,
	.complete = "service",
	.run = run,
};
