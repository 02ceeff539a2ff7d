// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "cli/client.h"
#include "cli/project.h"

static int run_purge(Cli *cli, void *values, char **args)
{
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *project = NULL;
	AUTO_BUF url = BUF_INIT;
	int code = project_name(cli, &project);
	if (!code)
		code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	client_stack_url(&url, project, "cache/purge");
	json_t *body = json_object();
	if (args)
		(void) json_object_set_new(body, "services", strv_to_json(args));
	int r = client_post(client, buf_cstr(&url), body, NULL, &err);
	json_decref(body);
	return r < 0 ? cli_fail(&err) : EXIT_DONE;
}

const Command command_cache_purge = {
	.name = "cache purge",
	.operands = "[SERVICE...]",
	.summary = "Empty the edge's cache of a stack's services",
	.text = "What the edge keeps of these services' responses, or of all, is asked for anew. A deploy does that by itself.",
	.max = -1,
	.complete = "service",
	.run = run_purge,
};
