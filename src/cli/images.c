// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/human.h"
#include "cli/output.h"
#include "cli/table.h"

typedef struct ImagesOptions {
	bool all, quiet, no_trunc;
	char **filters;
	const char *format;
} ImagesOptions;

#define I(member) offsetof(ImagesOptions, member)
static const Option options[] = {
	{ "all", 'a', OPTION_FLAG, I(all), NULL, "Also images without a name of their own", NULL },
	{ "quiet", 'q', OPTION_FLAG, I(quiet), NULL, "Only IDs", NULL },
	{ "filter", 0, OPTION_LIST, I(filters), "NAME=VALUE", "Only what matches: reference, dangling, label …", NULL },
	{ "format", 0, OPTION_CHOICE, I(format), "FORMAT", "Output", "table json" },
	{ "no-trunc", 0, OPTION_FLAG, I(no_trunc), NULL, "Do not cut IDs", NULL },
	{ NULL },
};

/* "redis:7" and "host:5000/x:1" to name and tag; the caller's. */
static void split_tag(const char *ref, char **ret_name, char **ret_tag)
{
	const char *slash = strrchr(ref, '/'), *colon = strrchr(slash ? slash : ref, ':');
	*ret_name = colon ? xstrndup(ref, (size_t) (colon - ref)) : xstrdup(ref);
	*ret_tag = xstrdup(colon ? colon + 1 : "<none>");
}

static void add_image(const json_t *image, const char *ref, const ImagesOptions *o, bool json, int64_t now, Table *t)
{
	AUTO_FREE char *name = NULL, *tag = NULL, *id = NULL, *size = NULL, *ago = NULL;
	int64_t created = json_number(image, "Created") * NSEC_PER_SEC;
	split_tag(ref, &name, &tag);
	id = o->no_trunc ? xstrdup(json_text(image, "Id")) : human_id(json_text(image, "Id"));
	size = format_bytes(json_number(image, "Size"));
	ago = human_ago(created, now);
	if (json) {
		print_json(json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:I}", "Repository", name, "Tag", tag, "ID", json_text(image, "Id"), "CreatedSince",
			ago, "CreatedAt", (json_int_t) json_number(image, "Created"), "Size", size, "Bytes", (json_int_t) json_number(image, "Size")));
		return;
	}
	table_add(t, name);
	table_add(t, tag);
	table_add(t, id);
	table_add(t, ago);
	table_add(t, size);
}

static int get_images(HttpClient *c, const ImagesOptions *o, char **args, json_t **ret, Err *err)
{
	AUTO_BUF url = BUF_INIT;
	json_t *filters = json_object();
	int r = 0;
	for (char **f = o->filters; r == 0 && f && *f; f++)
		r = filter_parse(filters, *f, err);
	if (args)
		filter_add(filters, "reference", args[0]);
	buf_str(&url, "/images/json");
	http_url_query(&url, "all", o->all ? "1" : NULL);
	filter_query(&url, filters);
	json_decref(filters);
	return r < 0 ? r : client_get(c, buf_cstr(&url), JSON_ARRAY, ret, err);
}

static int run(Cli *cli, void *values, char **args)
{
	static const char *const headers[] = { "REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", NULL };
	const ImagesOptions *o = values;
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_STRV char **seen = NULL;
	json_t *list = NULL, *image, *tag;
	size_t i, j;
	bool json = cli->global.json || str_eq(o->format, "json");
	int64_t now = time_real();
	Table t;
	int code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	if (get_images(client, o, args, &list, &err) < 0)
		return cli_fail(&err);
	table_init(&t, headers);
	json_array_foreach(list, i, image)
	{
		json_t *tags = json_object_get(image, "RepoTags");
		AUTO_FREE char *id = o->no_trunc ? xstrdup(json_text(image, "Id")) : human_id(json_text(image, "Id"));
		if (o->quiet) {
			if (!strv_has(seen, id))
				print_clean_line(id);
			strv_add(&seen, id);
			continue;
		}
		json_array_foreach(tags, j, tag)
			if (json_is_string(tag))
				add_image(image, json_string_value(tag), o, json, now, &t);
		if (!json_array_size(tags))
			add_image(image, "<none>", o, json, now, &t);
	}
	if (!o->quiet && !json)
		table_print(&t);
	table_done(&t);
	json_decref(list);
	return EXIT_DONE;
}

const Command command_images = {
	.name = "images",
	.operands = "[NAME]",
	.summary = "List images",
	.options = options,
	.size = sizeof(ImagesOptions),
	.max = 1,
	.complete = "image",
	.flags = COMMAND_JSON,
	.run = run,
};
