// SPDX-License-Identifier: Apache-2.0
/*
 * ssh-agent puts itself into the background, and being set-group-ID it would not die with its parent (prctl(2), PR_SET_PDEATHSIG). So
 * a process of ours watches over it: it waits for the end of a pipe of which we alone hold the other end. No key is loaded before it is there.
 */
#include "cli/key-agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/spawn.h"

#define OUTPUT_MAX 4096

extern char **environ;

static int make_place(KeyAgent *a, Err *err)
{
	const char *tmp = getenv("TMPDIR");
	a->dir = xasprintf("%s/stead-ssh-XXXXXX", str_empty(tmp) ? "/tmp" : tmp);
	if (!mkdtemp(a->dir)) {
		int r = -errno;
		(void) err_errno(err, r, "make %s", a->dir);
		free_and_null(&a->dir);
		return r;
	}
	a->socket = xasprintf("%s/agent", a->dir);
	return 0;
}

/* What it prints are commands for a shell: "SSH_AUTH_SOCK=…; export …;\nSSH_AGENT_PID=123; …". */
static int agent_pid(const char *output, pid_t *ret)
{
	static const char name[] = "SSH_AGENT_PID=";
	const char *at = strstr(output, name);
	int64_t n;
	AUTO_FREE char *number = at ? xstrndup(at + strlen(name), strspn(at + strlen(name), "0123456789")) : NULL;
	if (!number || parse_i64(number, &n) < 0 || n <= 1)
		return -EPROTO;
	*ret = (pid_t) n;
	return 0;
}

static int start_agent(const KeyAgent *a, pid_t *ret, Err *err)
{
	const char *const argv[] = { "ssh-agent", "-s", "-a", a->socket, NULL };
	char output[OUTPUT_MAX] = "";
	size_t len = 0;
	ssize_t n;
	int out[2];
	pid_t pid;
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "a pipe to ssh-agent");
	const SpawnFd fds[] = { { -1, STDIN_FILENO }, { out[1], STDOUT_FILENO } };
	int r = spawn(argv, fds, ARRAY_SIZE(fds), &pid, err);
	(void) close(out[1]);
	/* It closes it when it goes into the background. */
	while (r == 0 && len < sizeof(output) - 1 && ((n = read(out[0], output + len, sizeof(output) - 1 - len)) > 0 || (n < 0 && errno == EINTR)))
		len += n > 0 ? (size_t) n : 0;
	(void) close(out[0]);
	if (r == -ENOENT)
		return err_set(err, r, "a key file needs ssh-agent and ssh-add, and they are not here; install them (apt install openssh-client)");
	if (r < 0)
		return r;
	if (spawn_wait(pid) != 0 || agent_pid(output, ret) < 0)
		return err_set(err, -EIO, "ssh-agent could not be started");
	return 0;
}

/* Nothing but system calls: other threads may hold any lock. */
__attribute__((noreturn)) static void watch(int pipe, int agent, const KeyAgent *a)
{
	static const int ignored[] = { SIGINT, SIGQUIT, SIGHUP, SIGTERM };
	char byte;
	(void) setsid();
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		(void) signal(ignored[i], SIG_IGN);
	(void) dup2(pipe, 0);
	(void) dup2(agent, 1);
	(void) syscall(SYS_close_range, 2U, ~0U, 0U);
	ssize_t n;
	do
		n = read(0, &byte, 1);
	while (n > 0 || (n < 0 && errno == EINTR));
	(void) syscall(SYS_pidfd_send_signal, 1, SIGTERM, NULL, 0U);
	(void) unlink(a->socket);
	(void) rmdir(a->dir);
	_exit(0);
}

static int start_watcher(KeyAgent *a, pid_t agent, Err *err)
{
	int pipe[2];
	AUTO_CLOSE int pidfd = (int) syscall(SYS_pidfd_open, agent, 0);
	if (pidfd < 0 || pipe2(pipe, O_CLOEXEC) < 0) {
		int r = -errno;
		(void) kill(agent, SIGTERM);
		return err_errno(err, r, "watch over ssh-agent");
	}
	pid_t pid = fork();
	if (pid == 0) {
		/* The other end is open here, too. */
		(void) close(pipe[1]);
		watch(pipe[0], pidfd, a);
	}
	int r = pid < 0 ? -errno : 0;
	(void) close(pipe[0]);
	if (r < 0) {
		(void) close(pipe[1]);
		(void) kill(agent, SIGTERM);
		return err_errno(err, r, "watch over ssh-agent");
	}
	a->hold = pipe[1];
	a->watcher = pid;
	return 0;
}

static int add_keys(const KeyAgent *a, char *const *keys, Err *err)
{
	AUTO_STRV char **env = strv_dup(environ);
	size_t n = 0;
	pid_t pid;
	AUTO_FREE const char **argv = xcalloc(strv_len(keys) + 4, sizeof(*argv));
	argv[n++] = "ssh-add";
	argv[n++] = "-q";
	argv[n++] = "--";
	for (char *const *k = keys; *k; k++)
		argv[n++] = *k;
	strv_setenv(&env, "SSH_AUTH_SOCK", a->socket);
	int r = spawn_env(argv, env, NULL, 0, &pid, err);
	if (r == 0 && spawn_wait(pid) != 0)
		r = err_set(err, -EACCES, "ssh-add could not load %s%s", keys[0], keys[1] ? " or another of the keys" : "");
	return r;
}

int key_agent_start(char *const *keys, KeyAgent *ret, Err *err)
{
	KeyAgent a = KEY_AGENT_INIT;
	pid_t agent;
	int r = make_place(&a, err);
	if (r == 0)
		r = start_agent(&a, &agent, err);
	if (r == 0)
		r = start_watcher(&a, agent, err);
	if (r == 0)
		r = add_keys(&a, keys, err);
	if (r < 0)
		key_agent_stop(&a);
	else
		*ret = a;
	return r;
}

void key_agent_stop(KeyAgent *a)
{
	if (a->hold >= 0)
		(void) close(a->hold);
	if (a->watcher > 0)
		(void) spawn_wait(a->watcher);
	if (a->dir) {
		(void) unlink(a->socket);
		(void) rmdir(a->dir);
	}
	free(a->dir);
	free(a->socket);
	*a = (KeyAgent) KEY_AGENT_INIT;
}
