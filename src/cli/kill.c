// SPDX-License-Identifier: Apache-2.0
#include "cli/lifecycle.h"

typedef struct KillOptions {
	const char *signal;
} KillOptions;

static const Option options[] = {
	{ "signal", 's', OPTION_STRING, offsetof(KillOptions, signal), "SIGNAL", "Name or number (default: SIGKILL)", NULL },
	{ NULL },
};

static int run(Cli *cli, void *values, char **args)
{
	const KillOptions *o = values;
	const char *sig = o->signal ? o->signal : "SIGKILL";
	AUTO_BUF suffix = BUF_INIT;
	json_t *body = json_pack("{s:s}", "signal", sig);
	buf_str(&suffix, "/kill");
	http_url_query(&suffix, "signal", sig);
	const Lifecycle l = { .verb = "kill", .method = "POST", .suffix = buf_cstr(&suffix), .body = body };
	int code = lifecycle_run(cli, args, &l);
	json_decref(body);
	return code;
}

const Command command_kill = {
	.name = "kill",
	.operands = "[SERVICE|CONTAINER...]",
	.summary = "Send containers a signal",
	.options = options,
	.size = sizeof(KillOptions),
	.max = -1,
	.complete = "service",
	.flags = COMMAND_JSON,
	.run = run,
};
