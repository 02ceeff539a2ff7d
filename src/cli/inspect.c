// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "cli/containers.h"
#include "cli/output.h"
#include "cli/project.h"

typedef struct InspectOptions {
	const char *type, *format;
} InspectOptions;

static const Option options[] = {
	{ "type", 0, OPTION_CHOICE, offsetof(InspectOptions, type), "TYPE", "What the name is of", "container service image network volume" },
	{ "format", 0, OPTION_CHOICE, offsetof(InspectOptions, format), "FORMAT", "Output", "json" },
	{ NULL },
};

/* Gives 1 and appends what `path` + word + suffix answers, 0 where it is 404. */
static int get_one(HttpClient *c, const char *path, const char *word, const char *suffix, json_t *found, Err *err)
{
	AUTO_BUF url = BUF_INIT;
	json_t *object = NULL;
	buf_str(&url, path);
	http_url_append(&url, word);
	buf_str(&url, suffix);
	int r = client_get(c, buf_cstr(&url), JSON_OBJECT, &object, err);
	if (r < 0 && http_status(c) == 404) {
		err_done(err);
		return 0;
	}
	if (r < 0)
		return r;
	(void) json_array_append_new(found, object);
	return 1;
}

static int get_service(HttpClient *c, const char *project, const char *word, json_t *found, Err *err)
{
	json_t *list = NULL, *item;
	size_t i;
	int got = 0;
	if (!project)
		return 0;
	int r = containers_list(c, project, true, &list, err);
	if (r < 0)
		return r;
	json_array_foreach(list, i, item)
	{
		if (r < 0 || !str_eq(container_label(item, LABEL_SERVICE), word))
			continue;
		r = get_one(c, "/containers/", json_text(item, "Id"), "/json", found, err);
		got |= r > 0;
	}
	json_decref(list);
	return r < 0 ? r : got;
}

static int inspect(HttpClient *c, const char *project, const char *type, const char *word, json_t *found, Err *err)
{
	static const struct {
		const char *type, *path, *suffix;
	} kinds[] = {
		{ "container", "/containers/", "/json" },
		{ "service", NULL, NULL },
		{ "image", "/images/", "/json" },
		{ "network", "/networks/", "" },
		{ "volume", "/volumes/", "" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (type && !str_eq(type, kinds[i].type))
			continue;
		int r = kinds[i].path ? get_one(c, kinds[i].path, word, kinds[i].suffix, found, err) : get_service(c, project, word, found, err);
		if (r)
			return r;
	}
	return 0;
}

static int run(Cli *cli, void *values, char **args)
{
	const InspectOptions *o = values;
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *project = NULL;
	json_t *found;
	int code;
	if (project_name_try(cli, &project, NULL) < 0 && project_given(cli))
		return project_name(cli, &project);
	code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	found = json_array();
	for (char **a = args; *a && !err.code; a++) {
		int r = inspect(client, project, o->type, *a, found, &err);
		if (r < 0)
			code = cli_fail(&err);
		else if (r == 0)
			code = EXIT_FAILED;
		if (r == 0)
			cli_error("no such %s: %s", o->type ? o->type : "container, service, image, network or volume", *a);
	}
	print_json_pretty(found, 4);
	json_decref(found);
	return code;
}

const Command command_inspect = {
	.name = "inspect",
	.operands = "NAME...",
	.summary = "Show everything about containers, images, networks or volumes",
	.text = "A name is looked for among containers, services of the stack here, images, networks and volumes, in this\n"
		"order. Prints a JSON array; jq(1) picks from it: stead inspect web | jq -r '.[0].State.Status'",
	.options = options,
	.size = sizeof(InspectOptions),
	.min = 1,
	.max = -1,
	.complete = "container",
	.flags = COMMAND_JSON,
	.run = run,
};
