// SPDX-License-Identifier: Apache-2.0
#include "cli/ssh-child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/time.h"

#define KILL_PATIENCE (2 * NSEC_PER_SEC) /* for one that got SIGTERM */
#define WORDS_MAX 32

/* What somebody has set for sessions at a terminal: a command to run there, words for standard output, ports that one session alone can have. */
static const char *const no_session[] = { "-o", "RemoteCommand=none", "-o", "PermitLocalCommand=no", "-o", "ClearAllForwardings=yes" };

static const char **make_argv(const HostAddress *a, const char *const *options, const char *const *command)
{
	const char **argv = xcalloc(WORDS_MAX, sizeof(*argv));
	size_t n = 0;
	argv[n++] = "ssh";
	argv[n++] = "-T";
	for (size_t i = 0; i < ARRAY_SIZE(no_session); i++)
		argv[n++] = no_session[i];
	while (options && *options)
		argv[n++] = *options++;
	if (a->port) {
		argv[n++] = "-p";
		argv[n++] = a->port;
	}
	if (a->user) {
		argv[n++] = "-l";
		argv[n++] = a->user;
	}
	argv[n++] = "--";
	argv[n++] = a->host;
	while (*command) {
		assert(n < WORDS_MAX - 1);
		argv[n++] = *command++;
	}
	return argv;
}

/* Nothing but system calls: other threads may hold any lock. */
__attribute__((noreturn)) static void become_ssh(pid_t parent, const char *const *argv, const int fds[3], int failed)
{
	static const int ignored[] = { SIGINT, SIGQUIT, SIGHUP };
	sigset_t none;
	(void) prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(0);
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		(void) signal(ignored[i], SIG_IGN);
	(void) signal(SIGTERM, SIG_DFL);
	(void) signal(SIGPIPE, SIG_DFL);
	(void) sigemptyset(&none);
	(void) sigprocmask(SIG_SETMASK, &none, NULL);
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			_exit(0);
	(void) execvp(argv[0], (char *const *) argv);
	int e = errno;
	(void) !write(failed, &e, sizeof(e));
	_exit(0);
}

static void close_pair(const int p[2])
{
	for (int i = 0; i < 2; i++)
		if (p[i] >= 0)
			(void) close(p[i]);
}

/* Above 2: the child puts its own there. main() sees to it that 0, 1 and 2 are taken. */
int ssh_child_start(const HostAddress *a, const char *url, const char *const *options, const char *const *command, SshChild *ret, Err *err)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, errors[2] = { -1, -1 }, failed[2] = { -1, -1 };
	AUTO_FREE const char **argv = make_argv(a, options, command);
	int r = 0, e = 0;
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(errors, O_CLOEXEC) < 0 || pipe2(failed, O_CLOEXEC) < 0) {
		r = err_errno(err, -errno, "a pipe to ssh");
		goto out;
	}
	pid_t parent = getpid(), pid = fork();
	if (pid < 0) {
		r = err_errno(err, -errno, "start ssh");
		goto out;
	}
	if (pid == 0) {
		const int fds[3] = { in[0], out[1], errors[1] };
		become_ssh(parent, argv, fds, failed[1]);
	}
	(void) close(steal_fd(&failed[1]));
	while (read(failed[0], &e, sizeof(e)) < 0 && errno == EINTR)
		;
	if (e) {
		(void) waitpid(pid, NULL, 0);
		r = e == ENOENT ? err_set(err, -e, "%s: there is no ssh here; install it (apt install openssh-client)", url)
				: err_errno(err, -e, "%s: cannot run ssh", url);
		goto out;
	}
	*ret = (SshChild) { pid, steal_fd(&out[0]), steal_fd(&in[1]), steal_fd(&errors[0]) };
out:
	close_pair(in);
	close_pair(out);
	close_pair(errors);
	close_pair(failed);
	return r;
}

int ssh_child_reap(SshChild *c, int64_t patience)
{
	if (c->pid < 0)
		return 0;
	AUTO_CLOSE int pidfd = (int) syscall(SYS_pidfd_open, c->pid, 0);
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int status = 0;
	if (poll(&p, 1, (int) (patience / NSEC_PER_MSEC)) == 0) {
		(void) kill(c->pid, SIGTERM);
		if (poll(&p, 1, (int) (KILL_PATIENCE / NSEC_PER_MSEC)) == 0)
			(void) kill(c->pid, SIGKILL);
	}
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	c->pid = -1;
	return status;
}

void ssh_child_done(SshChild *c)
{
	fd_closep(&c->in);
	fd_closep(&c->out);
	fd_closep(&c->errors);
	c->in = c->out = c->errors = -1;
	(void) ssh_child_reap(c, 0);
}
