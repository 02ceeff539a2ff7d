// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "cli/containers.h"
#include "cli/output.h"
#include "cli/project.h"
#include "cli/table.h"

static void print_processes(const json_t *top)
{
	const json_t *titles = json_object_get(top, "Titles"), *row, *cell;
	size_t i, j, n = json_array_size(titles);
	AUTO_FREE const char **headers = xcalloc(n + 1, sizeof(*headers));
	Table t;
	for (i = 0; i < n; i++) {
		const char *title = json_string_value(json_array_get(titles, i));
		headers[i] = title ? title : "";
	}
	if (!n)
		return;
	table_init(&t, headers);
	json_array_foreach(json_object_get(top, "Processes"), i, row)
		for (j = 0; j < n; j++) {
			cell = json_array_get(row, j);
			table_add(&t, json_string_value(cell));
		}
	table_print(&t);
	table_done(&t);
}

static int show(HttpClient *client, const json_t *c, bool json, Err *err)
{
	AUTO_BUF url = BUF_INIT;
	json_t *top = NULL;
	buf_str(&url, "/containers/");
	http_url_append(&url, json_text(c, "Id"));
	buf_str(&url, "/top");
	int r = client_get(client, buf_cstr(&url), JSON_OBJECT, &top, err);
	if (r < 0)
		return r;
	if (json) {
		(void) json_object_set_new(top, "Name", json_string(container_name(c)));
		print_json(top);
		return 0;
	}
	print_clean_line(container_name(c));
	print_processes(top);
	(void) putchar('\n');
	json_decref(top);
	return 0;
}

static int run(Cli *cli, void *values, char **args)
{
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *project = NULL;
	json_t *all = NULL, *list = NULL, *c;
	size_t i;
	if (project_name_try(cli, &project, NULL) < 0 && (!args || project_given(cli)))
		return project_name(cli, &project);
	int code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	int r = containers_list(client, args ? NULL : project, false, &all, &err);
	if (r == 0)
		r = containers_select(all, project, args, &list, &err);
	json_decref(all);
	json_array_foreach(list, i, c)
		if (r == 0)
			r = show(client, c, cli->global.json, &err);
	json_decref(list);
	return r < 0 ? cli_fail(&err) : EXIT_DONE;
}

const Command command_top = {
	.name = "top",
	.operands = "[SERVICE|CONTAINER...]",
	.summary = "Show the processes in running containers",
	.max = -1,
	.complete = "service",
	.flags = COMMAND_JSON,
	.run = run,
};
