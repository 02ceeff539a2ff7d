// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/table.h"

typedef struct LsOptions {
	bool quiet, all;
	const char *format;
} LsOptions;

#define L(member) offsetof(LsOptions, member)
static const Option options[] = {
	{ "all", 'a', OPTION_FLAG, L(all), NULL, "Also stacks of which nothing runs", NULL },
	{ "quiet", 'q', OPTION_FLAG, L(quiet), NULL, "Only names", NULL },
	{ "format", 0, OPTION_CHOICE, L(format), "FORMAT", "Output", "table json" },
	{ NULL },
};

static char *status_of(const json_t *stack)
{
	long long all = json_number(stack, "containers"), running = json_number(stack, "running");
	if (running == all)
		return all ? xasprintf("running(%lld)", running) : xstrdup("no containers");
	if (!running)
		return xasprintf("exited(%lld)", all);
	return xasprintf("exited(%lld), running(%lld)", all - running, running);
}

static char *files_of(const json_t *stack)
{
	Buf b = BUF_INIT;
	json_t *file;
	size_t i;
	json_array_foreach(json_object_get(stack, "files"), i, file)
		buf_printf(&b, "%s%s", i ? "," : "", json_string_value(file) ? json_string_value(file) : "");
	return buf_steal(&b);
}

static int run(Cli *cli, void *values, char **args)
{
	static const char *const headers[] = { "NAME", "STATUS", "CONFIG FILES", NULL };
	const LsOptions *o = values;
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	json_t *list = NULL, *s;
	size_t i;
	Table t;
	bool json = cli->global.json || str_eq(o->format, "json");
	int code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	if (client_get(client, "/stead/v1/stacks", JSON_ARRAY, &list, &err) < 0)
		return cli_fail(&err);
	table_init(&t, headers);
	json_array_foreach(list, i, s)
	{
		AUTO_FREE char *status = status_of(s), *files = files_of(s);
		if (!o->all && !json_number(s, "running"))
			continue;
		if (o->quiet) {
			print_clean_line(json_text(s, "name"));
		} else if (json) {
			print_json(json_pack("{s:s, s:s, s:s}", "Name", json_text(s, "name"), "Status", status, "ConfigFiles", files));
		} else {
			table_add(&t, json_text(s, "name"));
			table_add(&t, status);
			table_add(&t, files);
		}
	}
	if (!o->quiet && !json)
		table_print(&t);
	table_done(&t);
	json_decref(list);
	return EXIT_DONE;
}

const Command command_ls = {
	.name = "ls",
	.operands = "",
	.summary = "List the stacks that run",
	.options = options,
	.size = sizeof(LsOptions),
	.flags = COMMAND_JSON,
	.run = run,
};
