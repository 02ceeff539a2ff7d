// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "cli/commands.h"

static int run(Cli *cli, void *values, char **args)
{
	AUTO_BUF out = BUF_INIT;
	const Verb *v = NULL;
	size_t words = 0;
	if (args) {
		v = verb_find(args, &words);
		if (!v || args[words])
			return cli_usage(cli, "there is no command '%s%s%s'", args[0], args[1] ? " " : "", args[1] ? args[1] : "");
		if (v->command->flags & COMMAND_RAW) {
			char *const help[] = { (char *) "--help", NULL };
			return v->command->run(cli, NULL, (char **) help);
		}
	}
	command_help(v, &out);
	(void) fputs(buf_cstr(&out), stdout);
	return EXIT_DONE;
}

const Command command_help_verb = {
	.name = "help",
	.operands = "[COMMAND]",
	.summary = "Show how to use stead, or a command",
	.max = 2,
	.complete = "command",
	.run = run,
};
