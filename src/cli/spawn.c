// SPDX-License-Identifier: Apache-2.0
#include "cli/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/time.h"

#define FDS_MAX 8
#define FD_HIGH 64 /* where no descriptor of a child stands: copies are taken there first, so that none is overwritten */

extern char **environ;

static void set_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	(void) sigemptyset(&none);
	(void) sigfillset(&all);
	(void) posix_spawnattr_setsigmask(attr, &none);
	(void) posix_spawnattr_setsigdefault(attr, &all);
	(void) posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

int spawn(const char *const *argv, const SpawnFd *fds, size_t n, pid_t *ret, Err *err)
{
	return spawn_env(argv, environ, fds, n, ret, err);
}

int spawn_env(const char *const *argv, char *const *env, const SpawnFd *fds, size_t n, pid_t *ret, Err *err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int copies[FDS_MAX], r = 0;
	size_t n_copies = 0;
	(void) posix_spawn_file_actions_init(&actions);
	(void) posix_spawnattr_init(&attr);
	set_attributes(&attr);
	for (size_t i = 0; r == 0 && i < n && i < FDS_MAX; i++) {
		int fd = fds[i].fd < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : fds[i].fd;
		copies[n_copies] = fcntl(fd, F_DUPFD_CLOEXEC, FD_HIGH);
		if (fds[i].fd < 0 && fd >= 0)
			(void) close(fd);
		if (copies[n_copies] < 0)
			r = -errno;
		else
			r = -posix_spawn_file_actions_adddup2(&actions, copies[n_copies++], fds[i].as);
	}
	if (r == 0)
		r = -posix_spawnp(ret, argv[0], &actions, &attr, (char *const *) argv, env);
	for (size_t i = 0; i < n_copies; i++)
		(void) close(copies[i]);
	(void) posix_spawn_file_actions_destroy(&actions);
	(void) posix_spawnattr_destroy(&attr);
	return r < 0 ? err_errno(err, r, "start %s", argv[0]) : 0;
}

static int code_of(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int spawn_input(const char *text, int *ret_fd, Err *err)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "pipe");
	int r = fd_write_all(fds[1], text, strlen(text));
	(void) close(fds[1]);
	if (r < 0) {
		(void) close(fds[0]);
		return err_errno(err, r, "pipe");
	}
	*ret_fd = fds[0];
	return 0;
}

int spawn_wait(pid_t pid)
{
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return code_of(status);
}

int spawn_wait_for(pid_t pid, int timeout_ms)
{
	int64_t until = time_mono() + (int64_t) timeout_ms * NSEC_PER_MSEC;
	const struct timespec step = { 0, 5 * NSEC_PER_MSEC };
	int status = 0;
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (time_mono() > until) {
			(void) kill(pid, SIGKILL);
			(void) spawn_wait(pid);
			return -ETIMEDOUT;
		}
		(void) nanosleep(&step, NULL);
	}
	return code_of(status);
}
