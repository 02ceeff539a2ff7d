// SPDX-License-Identifier: Apache-2.0
#include "cli/confirm.h"

#include <stdio.h>
#include <unistd.h>

int confirm(const Cli *cli, const char *question, const char *force_option)
{
	char answer[16] = "";
	if (isatty(STDIN_FILENO) != 1)
		return cli_usage(cli, "'%s' asks before it removes anything, and there is no terminal to ask on: add %s", cli->verb, force_option);
	fprintf(stderr, "%s [y/N] ", question);
	if (!fgets(answer, sizeof(answer), stdin) || (*answer != 'y' && *answer != 'Y')) {
		fprintf(stderr, "Nothing was removed.\n");
		return EXIT_FAILED;
	}
	return 0;
}
