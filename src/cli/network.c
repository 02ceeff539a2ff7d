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
	json_t *list = NULL, *n;
	size_t i;
	Table t;
	bool json = cli->global.json || str_eq(o->format, "json");
	int code = client_list(cli, "/networks", o->filters, JSON_ARRAY, &list);
	if (code)
		return code;
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
