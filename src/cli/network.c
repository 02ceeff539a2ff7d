// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/human.h"
#include "cli/output.h"
#include "cli/table.h"

typedef struct NetworkOptions {
	bool quiet;
	char **filters;
	const char *format;
} NetworkOptions;

#define N(member) offsetof(NetworkOptions, member)
static const Option options[] = {
	{ "quiet", 'q', OPTION_FLAG, N(quiet), NULL, "Only IDs", NULL },
	{ "filter", 0, OPTION_LIST, N(filters), "NAME=VALUE", "Only what matches: name, label, driver …", NULL },
	{ "format", 0, OPTION_CHOICE, N(format), "FORMAT", "Output", "table json" },
	{ NULL },
};

static void add_network(Table *t, const json_t *n)
{
	const json_t *config = json_array_get(json_object_get(json_object_get(n, "IPAM"), "Config"), 0);
	AUTO_FREE char *id = human_id(json_text(n, "Id"));
	table_add(t, id);
	table_add(t, json_text(n, "Name"));
	table_add(t, json_text(n, "Driver"));
	table_add(t, json_text(n, "Scope"));
	table_add(t, json_text(config, "Subnet"));
}

static int run(Cli *cli, void *values, char **args)
{
	static const char *const headers[] = { "NETWORK ID", "NAME", "DRIVER", "SCOPE", "SUBNET", NULL };
	const NetworkOptions *o = values;
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF url = BUF_INIT;
	json_t *filters = json_object(), *list = NULL, *n;
	size_t i;
	Table t;
	bool json = cli->global.json || str_eq(o->format, "json");
	int code = 0;
	for (char **f = o->filters; !code && f && *f; f++)
		if (filter_parse(filters, *f, &err) < 0)
			code = cli_usage(cli, "%s", err_text(&err));
	buf_str(&url, "/networks");
	filter_query(&url, filters);
	json_decref(filters);
	if (!code)
		code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	if (client_get(client, buf_cstr(&url), JSON_ARRAY, &list, &err) < 0)
		return cli_fail(&err);
	table_init(&t, headers);
	json_array_foreach(list, i, n)
	{
		AUTO_FREE char *id = human_id(json_text(n, "Id"));
		if (o->quiet)
			print_clean_line(id);
		else if (json)
			print_json(json_incref(n));
		else
			add_network(&t, n);
	}
	if (!o->quiet && !json)
		table_print(&t);
	table_done(&t);
	json_decref(list);
	return EXIT_DONE;
}

const Command command_network_ls = {
	.name = "network ls",
	.operands = "",
	.summary = "List networks",
	.options = options,
	.size = sizeof(NetworkOptions),
	.flags = COMMAND_JSON,
	.run = run,
};
