// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "cli/containers.h"
#include "cli/project.h"

/* Prints each container's exit code once it has ended; the last one's is ours. */
static int run(Cli *cli, void *values, char **args)
{
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *project = NULL;
	json_t *all = NULL, *list = NULL, *c;
	size_t i;
	int r, status = 0;
	if (project_name_try(cli, &project, NULL) < 0 && project_given(cli))
		return project_name(cli, &project);
	int code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	r = containers_list(client, NULL, true, &all, &err);
	if (r == 0)
		r = containers_select(all, project, args, &list, &err);
	json_decref(all);
	json_array_foreach(list, i, c)
	{
		AUTO_BUF url = BUF_INIT;
		json_t *answer = NULL;
		if (r < 0)
			break;
		buf_str(&url, "/containers/");
		http_url_append(&url, json_text(c, "Id"));
		buf_str(&url, "/wait");
		r = client_post(client, buf_cstr(&url), NULL, &answer, &err);
		if (r < 0)
			break;
		status = (int) json_number(answer, "StatusCode") & 0xff;
		printf("%d\n", status);
		(void) fflush(stdout);
		json_decref(answer);
	}
	json_decref(list);
	return r < 0 ? cli_fail(&err) : status;
}

const Command command_wait = {
	.name = "wait",
	.operands = "SERVICE|CONTAINER...",
	.summary = "Wait until containers have ended and give their exit code",
	.min = 1,
	.max = -1,
	.complete = "service",
	.run = run,
};
