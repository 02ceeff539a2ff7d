// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "cli/lifecycle.h"

typedef struct StopOptions {
	int64_t timeout;
} StopOptions;

static const Option options[] = {
	{ "timeout", 't', OPTION_NUMBER, offsetof(StopOptions, timeout), "SECONDS", "Time to stop before a kill (default: stop_grace_period)", NULL },
	{ NULL },
};

static int run_with(Cli *cli, const StopOptions *o, const char *verb, char **args)
{
	json_t *body = json_object();
	AUTO_FREE char *suffix = o->timeout >= 0 ? xasprintf("/%s?t=%lld", verb, (long long) o->timeout) : xasprintf("/%s", verb);
	if (o->timeout >= 0)
		(void) json_object_set_new(body, "timeout", json_integer(o->timeout));
	const Lifecycle l = { .verb = verb, .method = "POST", .suffix = suffix, .body = body };
	int code = lifecycle_run(cli, args, &l);
	json_decref(body);
	return code;
}

static int run_stop(Cli *cli, void *values, char **args)
{
	return run_with(cli, values, "stop", args);
}

static int run_restart(Cli *cli, void *values, char **args)
{
	return run_with(cli, values, "restart", args);
}

const Command command_stop = {
	.name = "stop",
	.operands = "[SERVICE|CONTAINER...]",
	.summary = "Stop containers, without removing them",
	.text = "In the reverse order of depends_on. They stay stopped, whatever their restart policy, until 'stead start' or 'stead up'.",
	.options = options,
	.size = sizeof(StopOptions),
	.max = -1,
	.complete = "service",
	.flags = COMMAND_JSON,
	.run = run_stop,
};

const Command command_restart = {
	.name = "restart",
	.operands = "[SERVICE|CONTAINER...]",
	.summary = "Stop containers and start them again",
	.text = "The containers stay what they are: a changed compose file needs 'stead up'.",
	.options = options,
	.size = sizeof(StopOptions),
	.max = -1,
	.complete = "service",
	.flags = COMMAND_JSON,
	.run = run_restart,
};
