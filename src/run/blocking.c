// SPDX-License-Identifier: Apache-2.0
#include "run/blocking.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "base/time.h"

#define TRY_SECONDS 20

extern char **environ;

static int64_t remaining_ms(int64_t deadline)
{
	int64_t left = (deadline - time_mono()) / NSEC_PER_MSEC;
	return left < 0 ? 0 : left;
}

int run_blocking(char *const *argv, const char *input, Buf *out)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	posix_spawn_file_actions_t fa;
	(void) posix_spawn_file_actions_init(&fa);
	(void) posix_spawn_file_actions_addopen(&fa, 0, input ? input : "/dev/null", O_RDONLY, 0);
	(void) posix_spawn_file_actions_adddup2(&fa, p[1], 1);
	(void) posix_spawn_file_actions_adddup2(&fa, p[1], 2);
	pid_t pid;
	int r = -posix_spawn(&pid, argv[0], &fa, NULL, argv, environ);
	(void) posix_spawn_file_actions_destroy(&fa);
	(void) close(p[1]);
	int64_t deadline = time_mono() + TRY_SECONDS * NSEC_PER_SEC;
	int status = 0;
	while (r == 0) {
		pid_t done = waitpid(pid, &status, WNOHANG);
		struct pollfd pfd = { .fd = p[0], .events = POLLIN };
		if (done == 0)
			(void) poll(&pfd, 1, 1);
		char chunk[4096];
		ssize_t n;
		while ((n = read(p[0], chunk, sizeof(chunk))) > 0)
			if (out->len < (64U << 10))
				buf_append(out, chunk, (size_t) n);
		if (done == pid)
			break;
		if (n == 0)
			(void) usleep(500);
		if (remaining_ms(deadline) == 0) {
			(void) kill(pid, SIGKILL);
			(void) waitpid(pid, &status, 0);
			r = -ETIMEDOUT;
		}
	}
	(void) close(p[0]);
	if (r < 0)
		return r;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
