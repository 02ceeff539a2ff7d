// SPDX-License-Identifier: Apache-2.0
#include "base/str.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/table.h"

typedef struct VolumeOptions {
	bool quiet, force;
	char **filters;
	const char *format;
} VolumeOptions;

#define V(member) offsetof(VolumeOptions, member)
static const Option ls_options[] = {
	{ "quiet", 'q', OPTION_FLAG, V(quiet), NULL, "Only names", NULL },
	{ "filter", 0, OPTION_LIST, V(filters), "NAME=VALUE", "Only what matches: name, label, dangling …", NULL },
	{ "format", 0, OPTION_CHOICE, V(format), "FORMAT", "Output", "table json" },
	{ NULL },
};
static const Option rm_options[] = {
	{ "force", 'f', OPTION_FLAG, V(force), NULL, "A volume that is not there is no error", NULL },
	{ NULL },
};

static int run_ls(Cli *cli, void *values, char **args)
{
	static const char *const headers[] = { "DRIVER", "VOLUME NAME", NULL };
	const VolumeOptions *o = values;
	json_t *answer = NULL, *v;
	size_t i;
	Table t;
	bool json = cli->global.json || str_eq(o->format, "json");
	int code = client_list(cli, "/volumes", o->filters, JSON_OBJECT, &answer);
	if (code)
		return code;
	table_init(&t, headers);
	json_array_foreach(json_object_get(answer, "Volumes"), i, v)
	{
		if (o->quiet) {
			print_clean_line(json_text(v, "Name"));
		} else if (json) {
			print_json(json_incref(v));
		} else {
			table_add(&t, json_text(v, "Driver"));
			table_add(&t, json_text(v, "Name"));
		}
	}
	if (!o->quiet && !json)
		table_print(&t);
	table_done(&t);
	json_decref(answer);
	return EXIT_DONE;
}

static int run_rm(Cli *cli, void *values, char **args)
{
	const VolumeOptions *o = values;
	AUTO_HTTP *client = NULL;
	int code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	for (char **a = args; *a; a++) {
		AUTO_ERR err = ERR_INIT;
		AUTO_BUF url = BUF_INIT;
		buf_str(&url, "/volumes/");
		http_url_append(&url, *a);
		http_url_query(&url, "force", o->force ? "1" : NULL);
		int r = http_call_json(client, "DELETE", buf_cstr(&url), NULL, NULL, &err);
		if (r < 0 && !(o->force && http_status(client) == 404))
			code = cli_fail(&err);
		else
			print_clean_line(*a);
	}
	return code;
}

const Command command_volume_ls = {
	.name = "volume ls",
	.operands = "",
	.summary = "List volumes",
	.options = ls_options,
	.size = sizeof(VolumeOptions),
	.flags = COMMAND_JSON,
	.run = run_ls,
};

const Command command_volume_rm = {
	.name = "volume rm",
	.operands = "VOLUME...",
	.summary = "Remove volumes, with their data",
	.options = rm_options,
	.size = sizeof(VolumeOptions),
	.min = 1,
	.max = -1,
	.complete = "volume",
	.run = run_rm,
};
