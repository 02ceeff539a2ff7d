// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/project.h"
#include "cli/table.h"

typedef struct RoutesOptions {
	bool all_stacks, authority;
	const char *format;
} RoutesOptions;

#define R(member) offsetof(RoutesOptions, member)
static const Option options[] = {
	{ "all-stacks", 'A', OPTION_FLAG, R(all_stacks), NULL, "The routes of all stacks", NULL },
	{ "ca", 0, OPTION_FLAG, R(authority), NULL, "Only print the certificate of the machine's own authority (PEM)", NULL },
	{ "format", 0, OPTION_CHOICE, R(format), "FORMAT", "Output", "table json" },
	{ NULL },
};

/* "2 up, 1 draining (maintenance)", in the order in which the states first appear. */
static char *replicas_of(const json_t *route)
{
	Buf out = BUF_INIT;
	json_t *list = json_object_get(route, "replicas"), *a, *b;
	size_t i, k;
	json_array_foreach(list, i, a)
	{
		size_t same = 0;
		bool first = true;
		json_array_foreach(list, k, b)
		{
			if (!str_eq(json_text(a, "state"), json_text(b, "state")))
				continue;
			first = first && k >= i;
			same++;
		}
		if (first)
			buf_printf(&out, "%s%zu %s", out.len ? ", " : "", same, json_text(a, "state"));
	}
	if (!out.len)
		buf_str(&out, "none");
	if (json_is_true(json_object_get(route, "maintenance")))
		buf_str(&out, " (maintenance)");
	return buf_steal(&out);
}

static void add_time(Table *t, const json_t *route, const char *key)
{
	const json_t *v = json_object_get(route, key);
	double seconds = json_number_value(v);
	if (!json_is_number(v) || !json_number(route, "requests"))
		table_add(t, "-");
	else if (seconds < 0.001)
		table_add(t, "<1ms"); /* the log has whole milliseconds */
	else if (seconds < 1)
		table_addf(t, "%.1fms", seconds * 1000);
	else
		table_addf(t, "%.2fs", seconds);
}

static void add_row(Table *t, const json_t *r)
{
	const json_t *certificate = json_object_get(r, "certificate");
	const char *host = json_text(r, "host"), *until = json_text(certificate, "not_after");
	AUTO_FREE char *replicas = replicas_of(r), *day = xstrndup(until, strcspn(until, "T"));
	table_add(t, *host ? host : "*");
	table_add(t, json_text(r, "path"));
	table_addf(t, "%s/%s:%lld", json_text(r, "stack"), json_text(r, "service"), (long long) json_number(r, "port"));
	table_add(t, replicas);
	table_add(t, json_text(r, "tls"));
	table_add(t, *json_text(certificate, "error") ? "error" : *day ? day : "-");
	table_addf(t, "%lld", (long long) json_number(r, "requests"));
	table_addf(t, "%lld", (long long) json_number(r, "errors"));
	add_time(t, r, "p50");
	add_time(t, r, "p99");
}

/* What is wrong with the edge, and with certificates, has no room in a table; each host's once. */
static void print_problems(const json_t *routes, const char *project)
{
	AUTO_STRV char **said = NULL;
	const char *edge = NULL;
	json_t *r;
	size_t i;
	json_array_foreach((json_t *) routes, i, r)
	{
		const char *host = json_text(r, "host"), *error = json_text(json_object_get(r, "certificate"), "error");
		if (project && !str_eq(json_text(r, "stack"), project))
			continue;
		if (!edge && *json_text(r, "error"))
			cli_warning("%s", edge = json_text(r, "error"));
		if (!*error || strv_has(said, host))
			continue;
		strv_add(&said, host);
		cli_warning("certificate of %s: %s", *host ? host : "any host", error);
	}
}

/* A browser warns of what the box's own authority has signed, until its certificate is installed there. */
static void print_authority(const json_t *routes, const char *project)
{
	json_t *r;
	size_t i;
	json_array_foreach((json_t *) routes, i, r)
	{
		const json_t *certificate = json_object_get(r, "certificate");
		const char *file = json_text(certificate, "ca");
		if (!*file || !json_is_true(json_object_get(certificate, "own")) || (project && !str_eq(json_text(r, "stack"), project)))
			continue;
		fprintf(stderr, "Browsers trust the self-signed certificates once %s is installed in them; 'stead routes --ca' prints it.\n", file);
		return;
	}
}

static int print_ca(Cli *cli)
{
	json_t *o = NULL;
	int code = client_list(cli, "/stead/v1/authority", NULL, JSON_OBJECT, &o);
	if (code == EXIT_DONE)
		printf("%s", json_text(o, "certificate"));
	json_decref(o);
	return code;
}

static int run(Cli *cli, void *values, char **args)
{
	static const char *const headers[] = { "HOST", "PATH", "SERVICE", "REPLICAS", "TLS", "CERT UNTIL", "REQUESTS", "ERRORS", "P50", "P99",
		NULL };
	const RoutesOptions *o = values;
	AUTO_FREE char *project = NULL;
	json_t *routes = NULL, *r;
	size_t i;
	Table t;
	if (o->authority)
		return print_ca(cli);
	bool json = cli->global.json || str_eq(o->format, "json");
	if (!o->all_stacks && project_name_try(cli, &project, NULL) < 0 && project_given(cli))
		return project_name(cli, &project);
	int code = client_list(cli, "/stead/v1/routes", NULL, JSON_ARRAY, &routes);
	if (code)
		return code;
	table_init(&t, headers);
	json_array_foreach(routes, i, r)
	{
		if (project && !str_eq(json_text(r, "stack"), project))
			continue;
		if (json)
			print_json(json_incref(r));
		else
			add_row(&t, r);
	}
	if (!json) {
		table_print(&t);
		print_problems(routes, project);
		print_authority(routes, project);
	}
	table_done(&t);
	json_decref(routes);
	return EXIT_DONE;
}

const Command command_routes = {
	.name = "routes",
	.operands = "",
	.summary = "Show which host and path leads to which service",
	.text = "Of the stack here, or of all where there is none. Requests, errors (5xx) and times are counted since the service's\n"
		"last deploy. A replica is up, starting, draining (it gets no new requests) or down.",
	.options = options,
	.size = sizeof(RoutesOptions),
	.flags = COMMAND_JSON,
	.run = run,
};
