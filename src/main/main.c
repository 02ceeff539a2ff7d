// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include "cli/commands.h"
#include "daemon/main.h"

int main(int argc, char **argv)
{
	/* A descriptor that is opened later must not become standard output. */
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			return EXIT_FAILED;
	return cli_main(argc, argv, daemon_main);
}
