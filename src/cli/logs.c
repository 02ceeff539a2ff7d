// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "cli/containers.h"
#include "cli/follow.h"
#include "cli/operation.h"
#include "cli/project.h"
#include "cli/signals.h"

typedef struct LogsOptions {
	bool follow, timestamps, no_colour, no_prefix;
	const char *tail, *since, *until;
} LogsOptions;

#define L(member) offsetof(LogsOptions, member)
static const Option options[] = {
	{ "follow", 'f', OPTION_FLAG, L(follow), NULL, "Go on with what comes", NULL },
	{ "tail", 'n', OPTION_STRING, L(tail), "N", "Only the last N lines of each container (default: all)", NULL },
	{ "since", 0, OPTION_STRING, L(since), "TIME", "From this moment on: 2024-01-02T15:04:05Z, or 10m for ten minutes ago", NULL },
	{ "until", 0, OPTION_STRING, L(until), "TIME", "Up to this moment", NULL },
	{ "timestamps", 't', OPTION_FLAG, L(timestamps), NULL, "With times", NULL },
	{ "no-color", 0, OPTION_FLAG, L(no_colour), NULL, "Without colours", NULL },
	{ "no-log-prefix", 0, OPTION_FLAG, L(no_prefix), NULL, "Without names", NULL },
	{ NULL },
};

/* One container by its own name is shown as docker shows it: without a prefix. */
static bool is_single_container(const json_t *list, const char *project, char *const *args)
{
	const json_t *c = json_array_get(list, 0);
	return strv_len(args) == 1 && json_array_size(list) == 1 && container_is(c, args[0]) &&
		!(project && str_eq(container_label(c, LABEL_SERVICE), args[0]));
}

static int show(const Cli *cli, const LogsOptions *o, LogOptions *log, const char *project, const json_t *list, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	const json_t *c;
	size_t i;
	bool single = is_single_container(list, project, args);
	int code = 0;
	log->no_prefix = o->no_prefix || single;
	Follower *f = follower_new(cli, single ? NULL : project, log);
	json_array_foreach((json_t *) list, i, c)
		if (!code && follower_add(f, c, &err) < 0)
			code = cli_fail(&err);
	if (!code && o->follow) {
		FollowEnd end = follower_run(f, args, NULL, NULL);
		code = end == FOLLOW_FAILED ? EXIT_FAILED : end == FOLLOW_INTERRUPTED ? EXIT_INTERRUPTED : EXIT_DONE;
		signals_release();
	} else if (!code) {
		code = follower_print(f);
	}
	follower_free(f);
	return code;
}

static int run(Cli *cli, void *values, char **args)
{
	const LogsOptions *o = values;
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT, no_project = ERR_INIT;
	AUTO_FREE char *project = NULL, *since = NULL, *until = NULL;
	json_t *all = NULL, *list = NULL;
	uint64_t tail;
	if (o->tail && !str_eq(o->tail, "all") && parse_u64(o->tail, &tail) < 0)
		return cli_usage(cli, "--tail: '%s' is neither a number nor 'all'", o->tail);
	if (log_moment("since", o->since, &since, &err) < 0 || log_moment("until", o->until, &until, &err) < 0)
		return cli_usage(cli, "%s", err_text(&err));
	/* Named containers need no project. */
	if (project_name_try(cli, &project, &no_project) < 0 && (!args || project_given(cli)))
		return project_name(cli, &project);
	int code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	if (containers_list(client, args ? NULL : project, true, &all, &err) < 0)
		return cli_fail(&err);
	int r = containers_select(all, project, args, &list, &err);
	json_decref(all);
	if (r < 0)
		return cli_fail(&err);
	LogOptions log = { .follow = o->follow, .timestamps = o->timestamps, .no_colour = o->no_colour, .tail = o->tail, .since = since, .until = until };
	code = show(cli, o, &log, project, list, args);
	json_decref(list);
	return code;
}

const Command command_logs = {
	.name = "logs",
	.operands = "[SERVICE|CONTAINER...]",
	.summary = "Show the output of a stack's containers",
	.text = "-f is --follow here; write --file, or -f before 'logs', for the compose file. With -f it ends when all\n"
		"containers have ended.",
	.options = options,
	.size = sizeof(LogsOptions),
	.max = -1,
	.complete = "service",
	.run = run,
};
