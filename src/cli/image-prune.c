// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/confirm.h"
#include "cli/human.h"
#include "cli/output.h"
#include "cli/table.h"

typedef struct PruneOptions {
	bool all, force, dry_run;
	char **filters;
} PruneOptions;

#define P(member) offsetof(PruneOptions, member)
static const Option options[] = {
	{ "all", 'a', OPTION_FLAG, P(all), NULL, "All images that no container uses, not only nameless ones", NULL },
	{ "force", 'f', OPTION_FLAG, P(force), NULL, "Do not ask", NULL },
	{ "dry-run", 0, OPTION_FLAG, P(dry_run), NULL, "Only list them, the largest first", NULL },
	{ "filter", 0, OPTION_LIST, P(filters), "NAME=VALUE", "Only what matches: until, label …", NULL },
	{ NULL },
};

static void show_plan(const json_t *answer)
{
	static const char *const headers[] = { "SIZE", "IMAGE ID", "NAMES", NULL };
	json_t *item, *name;
	size_t i, k;
	Table t;
	table_init(&t, headers);
	json_array_foreach(json_object_get(answer, "ImagesDeleted"), i, item)
	{
		AUTO_BUF names = BUF_INIT;
		json_array_foreach(json_object_get(item, "RepoTags"), k, name)
			buf_printf(&names, "%s%s", k ? ", " : "", json_string_value(name));
		AUTO_FREE char *size = format_bytes(json_number(item, "Size"));
		AUTO_FREE char *id = human_id(json_text(item, "Deleted"));
		table_add(&t, size);
		table_add(&t, id);
		table_add(&t, names.len ? names.data : "<none>");
	}
	table_print(&t);
	table_done(&t);
	AUTO_FREE char *space = format_bytes(json_number(answer, "SpaceReclaimed"));
	printf("Would reclaim: %s\n", space);
}

static int run(Cli *cli, void *values, char **args)
{
	const PruneOptions *o = values;
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF url = BUF_INIT;
	json_t *filters = json_object(), *answer = NULL, *item;
	size_t i;
	int code = 0;
	filter_add(filters, "dangling", o->all ? "false" : "true");
	for (char **f = o->filters; !code && f && *f; f++)
		if (filter_parse(filters, *f, &err) < 0)
			code = cli_usage(cli, "%s", err_text(&err));
	buf_str(&url, "/images/prune");
	http_url_query(&url, "dry-run", o->dry_run ? "1" : NULL);
	filter_query(&url, filters);
	json_decref(filters);
	if (!code && !o->force && !o->dry_run)
		code = confirm(cli, o->all ? "Remove all images that no container uses?" : "Remove all images without a name?", "-f");
	if (!code)
		code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	if (client_post(client, buf_cstr(&url), NULL, &answer, &err) < 0)
		return cli_fail(&err);
	client_show_warning(client);
	if (cli->global.json) {
		print_json(answer);
		return EXIT_DONE;
	}
	if (o->dry_run) {
		show_plan(answer);
		json_decref(answer);
		return EXIT_DONE;
	}
	json_array_foreach(json_object_get(answer, "ImagesDeleted"), i, item)
	{
		AUTO_BUF line = BUF_INIT;
		bool untagged = *json_text(item, "Untagged");
		buf_str(&line, untagged ? "Untagged: " : "Deleted: ");
		buf_str(&line, json_text(item, untagged ? "Untagged" : "Deleted"));
		print_clean_line(buf_cstr(&line));
	}
	AUTO_FREE char *space = format_bytes(json_number(answer, "SpaceReclaimed"));
	printf("Total reclaimed space: %s\n", space);
	json_decref(answer);
	return EXIT_DONE;
}

const Command command_image_prune = {
	.name = "image prune",
	.operands = "",
	.summary = "Remove images that nothing needs",
	.options = options,
	.size = sizeof(PruneOptions),
	.flags = COMMAND_JSON,
	.run = run,
};
