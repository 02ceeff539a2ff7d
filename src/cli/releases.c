// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/human.h"
#include "cli/output.h"
#include "cli/project.h"
#include "cli/release-text.h"
#include "cli/table.h"

enum { CHANGES_WIDTH = 50 };

typedef struct ReleasesOptions {
	bool quiet, no_trunc;
	const char *format;
} ReleasesOptions;

#define R(member) offsetof(ReleasesOptions, member)
static const Option options[] = {
	{ "quiet", 'q', OPTION_FLAG, R(quiet), NULL, "Only numbers", NULL },
	{ "no-trunc", 0, OPTION_FLAG, R(no_trunc), NULL, "Do not cut what changed", NULL },
	{ "format", 0, OPTION_CHOICE, R(format), "FORMAT", "Output", "table json" },
	{ NULL },
};

static void add_row(Table *t, const json_t *r, const ReleasesOptions *o, int64_t now)
{
	int64_t created = 0;
	const char *result = json_text(r, "result");
	(void) time_parse_rfc3339(json_text(r, "created"), &created);
	AUTO_FREE char *age = human_duration(now - created), *changes = release_changes(json_object_get(r, "changes"));
	AUTO_FREE char *cut = o->no_trunc ? xstrdup(changes) : human_cut(changes, CHANGES_WIDTH);
	AUTO_FREE char *takes = release_seconds(json_number_value(json_object_get(r, "seconds")));
	table_addf(t, "%lld%s", (long long) json_number(r, "number"), json_is_true(json_object_get(r, "current")) ? " *" : "");
	table_add(t, age);
	table_add(t, json_text(r, "who"));
	if (json_number(r, "source") > 0)
		table_addf(t, "back to %lld%s%s", (long long) json_number(r, "source"), *cut ? ": " : "", cut);
	else
		table_add(t, cut);
	table_add(t, result);
	table_add(t, str_eq(result, "running") ? "" : takes);
}

typedef struct ServiceNames {
	json_t *services;
	void *at; /* of jansson; NULL: before the first */
} ServiceNames;

static const char *next_service(void *state)
{
	ServiceNames *names = state;
	names->at = names->at ? json_object_iter_next(names->services, names->at) : json_object_iter(names->services);
	return names->at ? json_object_iter_key(names->at) : NULL;
}

/* Nothing was listed for a service: is there one of that name? 0 or an exit code. */
static int check_service(HttpClient *c, const char *project, const char *service)
{
	AUTO_BUF url = BUF_INIT;
	json_t *stack = NULL;
	buf_str(&url, "/stead/v1/stacks/");
	http_url_append(&url, project);
	if (client_get(c, buf_cstr(&url), JSON_OBJECT, &stack, NULL) < 0)
		return EXIT_DONE; /* gone by now */
	ServiceNames names = { .services = json_object_get(json_object_get(stack, "model"), "services") };
	int code = EXIT_DONE;
	if (!json_object_get(names.services, service)) {
		const char *near = nearest_word(service, next_service, &names);
		cli_error("stack '%s' has no service '%s', and none of its releases had%s%s%s", project, service, near ? "; did you mean '" : "",
			near ? near : "", near ? "'?" : "");
		code = EXIT_FAILED;
	}
	json_decref(stack);
	return code;
}

static int list(HttpClient *c, const Cli *cli, const ReleasesOptions *o, const char *project, const char *service)
{
	static const char *const headers[] = { "NUMBER", "AGE", "WHO", "WHAT CHANGED", "RESULT", "TAKES", NULL };
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF url = BUF_INIT;
	json_t *all = NULL, *r;
	size_t i;
	Table t;
	bool json = cli->global.json || str_eq(o->format, "json");
	int64_t now = time_real();
	client_stack_url(&url, project, "releases");
	http_url_query(&url, "service", service);
	if (client_get(c, buf_cstr(&url), JSON_ARRAY, &all, &err) < 0)
		return cli_fail(&err);
	if (service && !json_array_size(all)) {
		int code = check_service(c, project, service);
		if (code) {
			json_decref(all);
			return code;
		}
	}
	table_init(&t, headers);
	json_array_foreach(all, i, r)
	{
		if (o->quiet)
			printf("%lld\n", (long long) json_number(r, "number"));
		else if (json)
			print_json(json_incref(r));
		else
			add_row(&t, r, o, now);
	}
	if (!o->quiet && !json)
		table_print(&t);
	table_done(&t);
	json_decref(all);
	return EXIT_DONE;
}

static int show(HttpClient *c, const Cli *cli, const ReleasesOptions *o, const char *project, const char *number)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF url = BUF_INIT, out = BUF_INIT;
	json_t *release = NULL;
	AUTO_FREE char *rest = xasprintf("releases/%s", number);
	client_stack_url(&url, project, rest);
	if (client_get(c, buf_cstr(&url), JSON_OBJECT, &release, &err) < 0)
		return cli_fail(&err);
	if (cli->global.json || str_eq(o->format, "json")) {
		print_json(release);
		return EXIT_DONE;
	}
	release_full(release, project, time_real(), &out);
	(void) fwrite(buf_cstr(&out), 1, out.len, stdout);
	json_decref(release);
	return EXIT_DONE;
}

static int run(Cli *cli, void *values, char **args)
{
	AUTO_HTTP *client = NULL;
	AUTO_FREE char *project = NULL;
	uint32_t number;
	int code = project_name(cli, &project);
	if (!code)
		code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	if (args && parse_u32_max(args[0], INT32_MAX, &number) == 0)
		return show(client, cli, values, project, args[0]);
	return list(client, cli, values, project, args ? args[0] : NULL);
}

const Command command_releases = {
	.name = "releases",
	.operands = "[SERVICE|NUMBER]",
	.summary = "List a stack's releases, or show one in full",
	.text = "What changed is named, never shown by value; * marks the release that runs. With a service, only what changed it.\n"
		"With a number: all that is known of that release, after a failure with the step, exit code, memory, health check\n"
		"output and log of what failed.",
	.options = options,
	.size = sizeof(ReleasesOptions),
	.max = 1,
	.complete = "service",
	.flags = COMMAND_JSON,
	.run = run,
};
