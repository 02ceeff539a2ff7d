// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/containers.h"
#include "cli/follow.h"
#include "cli/output.h"
#include "cli/project.h"
#include "cli/term.h"

typedef struct EventsOptions {
	const char *since, *until;
	char **filters;
} EventsOptions;

#define E(member) offsetof(EventsOptions, member)
static const Option options[] = {
	{ "since", 0, OPTION_STRING, E(since), "TIME", "Also what has happened since this moment", NULL },
	{ "until", 0, OPTION_STRING, E(until), "TIME", "Up to this moment", NULL },
	{ "filter", 0, OPTION_LIST, E(filters), "NAME=VALUE", "Only what matches: type, event, container, image, label …", NULL },
	{ NULL },
};

/* As docker prints it: time type action id (key=value, …). */
static void print_event(const json_t *e)
{
	const json_t *actor = json_object_get(e, "Actor");
	json_t *attributes = json_object_get(actor, "Attributes"), *value;
	const char *key;
	AUTO_BUF out = BUF_INIT;
	int64_t ns = json_number(e, "timeNano");
	time_t sec = (time_t) (ns ? ns / NSEC_PER_SEC : json_number(e, "time"));
	struct tm tm;
	char date[40], zone[8];
	(void) localtime_r(&sec, &tm);
	(void) strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	(void) strftime(zone, sizeof(zone), "%z", &tm);
	buf_printf(&out, "%s.%09lld%.3s:%s ", date, (long long) (ns % NSEC_PER_SEC), zone, strlen(zone) > 3 ? zone + 3 : "00");
	term_clean(&out, json_text(e, "Type"));
	buf_char(&out, ' ');
	term_clean(&out, json_text(e, "Action"));
	buf_char(&out, ' ');
	term_clean(&out, json_text(actor, "ID"));
	bool first = true;
	json_object_foreach(attributes, key, value)
	{
		buf_str(&out, first ? " (" : ", ");
		term_clean(&out, key);
		buf_char(&out, '=');
		term_clean(&out, json_string_value(value));
		first = false;
	}
	buf_str(&out, first ? "\n" : ")\n");
	(void) fwrite(buf_cstr(&out), 1, out.len, stdout);
}

static int show(HttpClient *c, bool json, bool bounded, Err *err)
{
	char *line;
	size_t len;
	int r;
	while ((r = http_read_line(c, &line, &len, err)) > 0) {
		json_t *event = *line ? json_loads(line, 0, NULL) : NULL;
		if (!*line)
			continue;
		if (!json_is_object(event)) {
			json_decref(event);
			return err_set(err, -EPROTO, "the daemon sent a line that is not a JSON object");
		}
		if (json)
			print_json(event);
		else
			print_event(event);
		if (!json)
			json_decref(event);
		if (fflush(stdout) != 0)
			return 0;
	}
	if (r == 0 && !bounded)
		return err_set(err, -EPIPE, "the daemon closed the connection; has it been stopped?");
	return r;
}

static int run(Cli *cli, void *values, char **args)
{
	const EventsOptions *o = values;
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF url = BUF_INIT;
	AUTO_FREE char *since = NULL, *until = NULL, *project = NULL;
	json_t *filters = json_object();
	int r = log_moment("since", o->since, &since, &err), code = 0;
	if (r == 0)
		r = log_moment("until", o->until, &until, &err);
	for (char **f = o->filters; r == 0 && f && *f; f++)
		r = filter_parse(filters, *f, &err);
	if (r < 0)
		code = cli_usage(cli, "%s", err_text(&err));
	if (!code && (args || project_given(cli)))
		code = project_name(cli, &project);
	if (!code && project) {
		AUTO_FREE char *label = xasprintf(LABEL_PROJECT "=%s", project);
		filter_add(filters, "label", label);
		for (char **s = args; s && *s; s++) {
			AUTO_FREE char *service = xasprintf(LABEL_SERVICE "=%s", *s);
			filter_add(filters, "label", service);
		}
	}
	buf_str(&url, "/events");
	http_url_query(&url, "since", since);
	http_url_query(&url, "until", until);
	filter_query(&url, filters);
	json_decref(filters);
	if (!code)
		code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	if (http_call(client, "GET", buf_cstr(&url), NULL, false, &err) < 0 || show(client, cli->global.json, o->until, &err) < 0)
		return cli_fail(&err);
	return EXIT_DONE;
}

const Command command_events = {
	.name = "events",
	.operands = "[SERVICE]",
	.summary = "Show what happens, as it happens",
	.text = "Of everything the daemon has; of one stack with -p or -f before the command, of one service with its name.",
	.options = options,
	.size = sizeof(EventsOptions),
	.max = 1,
	.complete = "service",
	.flags = COMMAND_JSON,
	.run = run,
};
