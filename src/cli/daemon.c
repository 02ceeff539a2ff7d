// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.h"

#include "base/str.h"

/* For the shell's completion; what they mean is the daemon's matter. */
static const Option options[] = {
	{ "name", 0, OPTION_STRING, 0, "NAME", "", NULL },
	{ "state-dir", 0, OPTION_STRING, 0, "DIR", "", "directory" },
	{ "run-dir", 0, OPTION_STRING, 0, "DIR", "", "directory" },
	{ "runtime", 0, OPTION_STRING, 0, "RUNTIME", "", "file" },
	{ "edge-http", 0, OPTION_STRING, 0, "ADDR:PORT", "", NULL },
	{ "edge-https", 0, OPTION_STRING, 0, "ADDR:PORT", "", NULL },
	{ "acme-server", 0, OPTION_STRING, 0, "URL", "", NULL },
	{ "acme-email", 0, OPTION_STRING, 0, "ADDRESS", "", NULL },
	{ "acme-ca", 0, OPTION_STRING, 0, "FILE", "", "file" },
	{ "registries", 0, OPTION_STRING, 0, "FILE", "", "file" },
	{ "image-quota", 0, OPTION_STRING, 0, "SIZE", "", NULL },
	{ "build-cache-quota", 0, OPTION_STRING, 0, "SIZE", "", NULL },
	{ "debug", 0, OPTION_FLAG, 0, NULL, "", NULL },
	{ NULL },
};

/* Its options are its own: see daemon/main.c. Ours in front of it would be lost, so they are refused. */
static int run(Cli *cli, void *values, char **args)
{
	static char name[] = "daemon";
	AUTO_STRV char **argv = NULL;
	const Global *g = &cli->global;
	if (g->files || g->profiles || g->env_files || g->project || g->directory || g->host || g->json || g->ansi || g->progress)
		return cli_usage(cli, "options before 'daemon' mean nothing to it");
	strv_add(&argv, name);
	for (char **a = args; a && *a; a++)
		strv_add(&argv, *a);
	if (g->help)
		strv_add(&argv, "--help");
	return cli->daemon((int) strv_len(argv), argv);
}

const Command command_daemon = {
	.name = "daemon",
	.operands = "[OPTIONS]",
	.summary = "Run the daemon (root; usually the service manager does)",
	.options = options,
	.max = -1,
	.flags = COMMAND_RAW,
	.run = run,
};
