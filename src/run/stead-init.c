// SPDX-License-Identifier: Apache-2.0
/*
 * stead-init: process 1 of a container with `init: true`. Starts the command, hands every signal on to
 * it, reaps what is orphaned, and ends with the command's exit code (128 + signal if one ended it).
 * Static, bound read-only into the container at /dev/init.
 *
 *	init [--] COMMAND [ARG…]
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t start(char **argv, const sigset_t *mask)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	/* A group of its own, in the foreground if there is a terminal, so that job control works as without init. */
	(void) setpgid(0, 0);
	(void) signal(SIGTTOU, SIG_IGN);
	(void) tcsetpgrp(0, getpid());
	(void) signal(SIGTTOU, SIG_DFL);
	(void) sigprocmask(SIG_SETMASK, mask, NULL);
	(void) execvp(argv[0], argv);
	int code = errno == ENOENT ? 127 : 126;
	fprintf(stderr, "init: cannot execute %s: %s\n", argv[0], strerror(errno));
	_exit(code);
}

/* Reaps all that ended; the command's exit code, or -1 while it runs. */
static int reap(pid_t command)
{
	int result = -1;
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);
		if (pid < 0 && errno == EINTR)
			continue;
		if (pid <= 0)
			return result;
		if (pid == command && (WIFEXITED(status) || WIFSIGNALED(status)))
			result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
}

int main(int argc, char **argv)
{
	argv++;
	argc--;
	if (argc > 0 && strcmp(argv[0], "--") == 0) {
		argv++;
		argc--;
	}
	if (argc < 1) {
		fprintf(stderr, "usage: init [--] COMMAND [ARG...]\n");
		return 2;
	}
	sigset_t all, old;
	(void) sigfillset(&all);
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS };
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		(void) sigdelset(&all, faults[i]);
	(void) sigprocmask(SIG_SETMASK, &all, &old);
	pid_t command = start(argv, &old);
	if (command < 0) {
		fprintf(stderr, "init: cannot fork: %s\n", strerror(errno));
		return 1;
	}
	for (;;) {
		siginfo_t info;
		int sig = sigwaitinfo(&all, &info);
		if (sig < 0)
			continue;
		if (sig != SIGCHLD) {
			(void) kill(command, sig);
			continue;
		}
		int code = reap(command);
		if (code >= 0)
			return code;
	}
}
