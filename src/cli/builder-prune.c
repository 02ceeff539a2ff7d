// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/confirm.h"
#include "cli/human.h"
#include "cli/output.h"
#include "cli/table.h"

typedef struct PruneOptions {
	bool all, force, dry_run;
	char **filters;
	const char *keep;
} PruneOptions;

#define P(member) offsetof(PruneOptions, member)
static const Option options[] = {
	{ "all", 'a', OPTION_FLAG, P(all), NULL, "Also steps whose layers an image has", NULL },
	{ "force", 'f', OPTION_FLAG, P(force), NULL, "Do not ask", NULL },
	{ "dry-run", 0, OPTION_FLAG, P(dry_run), NULL, "Only list what would go, the largest first", NULL },
	{ "filter", 0, OPTION_LIST, P(filters), "NAME=VALUE", "Only what matches: until (24h), type, id", NULL },
	{ "keep-storage", 0, OPTION_STRING, P(keep), "SIZE", "Leave so much of what was used last", NULL },
	{ NULL },
};

static int by_size(const void *a, const void *b)
{
	int64_t x = json_number(*(json_t *const *) a, "Size"), y = json_number(*(json_t *const *) b, "Size");
	return (x < y) - (x > y);
}

static void show_plan(const json_t *answer)
{
	static const char *const headers[] = { "SIZE", "ID", "TYPE", "LAST USED", "DESCRIPTION", NULL };
	const json_t *list = json_object_get(answer, "CachesDeleted");
	size_t n = json_array_size(list);
	AUTO_FREE const json_t **items = xcalloc(n + 1, sizeof(*items));
	Table t;
	for (size_t i = 0; i < n; i++)
		items[i] = json_array_get(list, i);
	qsort(items, n, sizeof(*items), by_size);
	table_init(&t, headers);
	for (size_t i = 0; i < n; i++) {
		int64_t used = 0;
		(void) time_parse_rfc3339(json_text(items[i], "LastUsedAt"), &used);
		AUTO_FREE char *size = format_bytes(json_number(items[i], "Size"));
		AUTO_FREE char *id = human_id(json_text(items[i], "ID"));
		AUTO_FREE char *ago = human_ago(used, time_real());
		AUTO_FREE char *description = human_cut(json_text(items[i], "Description"), 60);
		table_add(&t, size);
		table_add(&t, id);
		table_add(&t, json_text(items[i], "Type"));
		table_add(&t, ago);
		table_add(&t, description);
	}
	table_print(&t);
	table_done(&t);
	AUTO_FREE char *space = format_bytes(json_number(answer, "SpaceReclaimed"));
	printf("Would reclaim: %s\n", space);
}

static void show_done(const json_t *answer)
{
	const json_t *list = json_object_get(answer, "CachesDeleted");
	size_t n = json_array_size(list);
	if (n)
		printf("Deleted build cache objects:\n");
	for (size_t i = 0; i < n; i++)
		print_clean_line(json_string_value(json_array_get(list, i)));
	AUTO_FREE char *space = format_bytes(json_number(answer, "SpaceReclaimed"));
	printf("%sTotal reclaimed space: %s\n", n ? "\n" : "", space);
}

static int make_url(const Cli *cli, const PruneOptions *o, Buf *url)
{
	AUTO_ERR err = ERR_INIT;
	json_t *filters = json_object();
	int64_t keep = 0;
	int code = 0;
	for (char **f = o->filters; !code && f && *f; f++)
		if (filter_parse(filters, *f, &err) < 0)
			code = cli_usage(cli, "%s", err_text(&err));
	if (!code && o->keep && (parse_bytes(o->keep, &keep) < 0 || keep < 0))
		code = cli_usage(cli, "--keep-storage %s: write a size such as 2g", o->keep);
	AUTO_FREE char *bytes = xasprintf("%lld", (long long) keep);
	buf_str(url, "/build/prune");
	http_url_query(url, "all", o->all ? "1" : NULL);
	http_url_query(url, "dry-run", o->dry_run ? "1" : NULL);
	http_url_query(url, "keep-storage", o->keep ? bytes : NULL);
	filter_query(url, filters);
	json_decref(filters);
	return code;
}

static int run(Cli *cli, void *values, char **args)
{
	const PruneOptions *o = values;
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF url = BUF_INIT;
	json_t *answer = NULL;
	int code = make_url(cli, o, &url);
	if (!code && !o->force && !o->dry_run)
		code = confirm(cli, o->all ? "Remove all build cache?" : "Remove all build cache that no image shares?", "-f");
	if (!code)
		code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	if (client_post(client, buf_cstr(&url), NULL, &answer, &err) < 0)
		return http_status(client) == 400 ? cli_refuse(&err) : cli_fail(&err);
	client_show_warning(client);
	if (cli->global.json) {
		print_json(answer);
		return EXIT_DONE;
	}
	if (o->dry_run)
		show_plan(answer);
	else
		show_done(answer);
	json_decref(answer);
	return EXIT_DONE;
}

const Command command_builder_prune = {
	.name = "builder prune",
	.operands = "",
	.summary = "Remove what builds keep to be fast",
	.text = "Results of steps, contents of build contexts, cache mounts. What builds keep is bounded by itself (stead daemon\n"
		"--build-cache-quota); this makes room at once. Nothing goes that an image, a container or a running build needs:\n"
		"it makes the next build slower, no more.",
	.options = options,
	.size = sizeof(PruneOptions),
	.flags = COMMAND_JSON,
	.run = run,
};
