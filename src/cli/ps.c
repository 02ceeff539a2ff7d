// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/containers.h"
#include "cli/human.h"
#include "cli/output.h"
#include "cli/project.h"
#include "cli/table.h"

typedef struct PsOptions {
	bool all, everything, quiet, services, no_trunc;
	char **filters, **status;
	const char *format;
} PsOptions;

#define P(member) offsetof(PsOptions, member)
static const Option options[] = {
	{ "all", 'a', OPTION_FLAG, P(all), NULL, "Also containers that have ended", NULL },
	{ "all-stacks", 'A', OPTION_FLAG, P(everything), NULL, "The containers of all stacks", NULL },
	{ "quiet", 'q', OPTION_FLAG, P(quiet), NULL, "Only IDs", NULL },
	{ "services", 0, OPTION_FLAG, P(services), NULL, "Only names of services", NULL },
	{ "filter", 0, OPTION_LIST, P(filters), "NAME=VALUE", "Only what matches: status, health, label, name …", NULL },
	{ "status", 0, OPTION_LIST, P(status), "STATUS", "Only this status: created, running, restarting, exited", NULL },
	{ "format", 0, OPTION_CHOICE, P(format), "FORMAT", "Output", "table json" },
	{ "no-trunc", 0, OPTION_FLAG, P(no_trunc), NULL, "Do not cut commands and IDs", NULL },
	{ NULL },
};

/* What `docker compose ps --format json` has for a container. */
static json_t *ps_object(const json_t *c)
{
	json_t *publishers = json_array(), *port;
	size_t i;
	json_array_foreach(json_object_get(c, "Ports"), i, port)
		(void) json_array_append_new(publishers, json_pack("{s:s, s:I, s:I, s:s}", "URL", json_text(port, "IP"), "TargetPort",
			(json_int_t) json_number(port, "PrivatePort"), "PublishedPort", (json_int_t) json_number(port, "PublicPort"),
			"Protocol", json_text(port, "Type")));
	const char *status = json_text(c, "Status");
	const char *health = strstr(status, "(healthy)")          ? "healthy" :
			     strstr(status, "(unhealthy)")        ? "unhealthy" :
			     strstr(status, "(health: starting)") ? "starting" :
								    "";
	int64_t exit_code = 0;
	if (str_starts(status, "Exited ("))
		exit_code = strtol(status + strlen("Exited ("), NULL, 10);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:o}", "ID", json_text(c, "Id"), "Name", container_name(c),
		"Image", json_text(c, "Image"), "Command", json_text(c, "Command"), "Project", container_label(c, LABEL_PROJECT),
		"Service", container_label(c, LABEL_SERVICE), "State", json_text(c, "State"), "Status", status, "Health", health,
		"ExitCode", (json_int_t) exit_code, "Created", (json_int_t) json_number(c, "Created"), "Publishers", publishers);
}

static void print_table(const json_t *list, const PsOptions *o)
{
	static const char *const headers[] = { "NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS", NULL };
	Table t;
	const json_t *c;
	size_t i;
	int64_t now = time_real();
	table_init(&t, headers);
	json_array_foreach((json_t *) list, i, c)
	{
		AUTO_FREE char *command = human_cut(json_text(c, "Command"), o->no_trunc ? SIZE_MAX : 20);
		AUTO_FREE char *created = human_ago(json_number(c, "Created") * NSEC_PER_SEC, now);
		AUTO_FREE char *ports = human_ports(json_object_get(c, "Ports"));
		/* The name of its image has gone on to another. */
		bool nameless = !o->no_trunc && str_starts(json_text(c, "Image"), "sha256:");
		AUTO_FREE char *image = nameless ? human_id(json_text(c, "Image")) : xstrdup(json_text(c, "Image"));
		table_add(&t, container_name(c));
		table_add(&t, image);
		table_addf(&t, "\"%s\"", command);
		table_add(&t, container_label(c, LABEL_SERVICE));
		table_add(&t, created);
		table_add(&t, json_text(c, "Status"));
		table_add(&t, ports);
	}
	table_print(&t);
	table_done(&t);
}

static void print_services(const json_t *list)
{
	AUTO_STRV char **seen = NULL;
	const json_t *c;
	size_t i;
	json_array_foreach((json_t *) list, i, c)
	{
		const char *service = container_label(c, LABEL_SERVICE);
		if (!*service || strv_has(seen, service))
			continue;
		strv_add(&seen, service);
		print_clean_line(service);
	}
}

/* Drops what has ended: "ps web" needs to see all first, to tell an ended service from a mistyped one. */
static void keep_running(json_t *list)
{
	for (size_t i = json_array_size(list); i-- > 0;) {
		const char *state = json_text(json_array_get(list, i), "State");
		if (str_eq(state, "exited") || str_eq(state, "created") || str_eq(state, "dead") || str_eq(state, "removing"))
			(void) json_array_remove(list, i);
	}
}

static int get_list(HttpClient *client, const char *project, const PsOptions *o, bool all, json_t **ret, Err *err)
{
	AUTO_BUF url = BUF_INIT;
	json_t *filters = json_object();
	int r = 0;
	buf_str(&url, "/containers/json");
	if (all)
		http_url_query(&url, "all", "1");
	if (project) {
		AUTO_FREE char *label = xasprintf(LABEL_PROJECT "=%s", project);
		filter_add(filters, "label", label);
	}
	for (char **s = o->status; s && *s; s++)
		filter_add(filters, "status", *s);
	for (char **f = o->filters; r == 0 && f && *f; f++)
		r = filter_parse(filters, *f, err);
	filter_query(&url, filters);
	json_decref(filters);
	if (r == 0)
		r = containers_get(client, buf_cstr(&url), ret, err);
	return r;
}

static int run(Cli *cli, void *values, char **args)
{
	const PsOptions *o = values;
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *project = NULL;
	json_t *all = NULL, *list = NULL, *c;
	size_t i;
	int code = o->everything ? 0 : project_name(cli, &project);
	if (!code)
		code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	bool with_ended = o->all || o->status || o->filters;
	if (get_list(client, project, o, with_ended || args, &all, &err) < 0)
		return cli_fail(&err);
	if (args) {
		if (containers_select(all, project, args, &list, &err) < 0) {
			json_decref(all);
			return cli_fail(&err);
		}
		json_decref(all);
		if (!with_ended)
			keep_running(list);
	} else {
		list = all;
	}
	if (o->quiet) {
		json_array_foreach(list, i, c)
			print_clean_line(json_text(c, "Id"));
	} else if (o->services) {
		print_services(list);
	} else if (cli->global.json || str_eq(o->format, "json")) {
		json_array_foreach(list, i, c)
			print_json(ps_object(c));
	} else {
		print_table(list, o);
	}
	json_decref(list);
	return EXIT_DONE;
}

const Command command_ps = {
	.name = "ps",
	.operands = "[SERVICE|CONTAINER...]",
	.summary = "List the containers of a stack",
	.text = "Shows what runs; -a also what has ended. -p NAME lists a stack without its compose file, -A those of all\n"
		"stacks. --json prints one object a line, with the fields of 'docker compose ps --format json'.",
	.options = options,
	.size = sizeof(PsOptions),
	.max = -1,
	.complete = "service",
	.flags = COMMAND_JSON,
	.run = run,
};
