// SPDX-License-Identifier: Apache-2.0
/*
 * clone3(2) and exec, not posix_spawn: namespaces and chroot(2) have to happen in between. In the child
 * only system calls are made, on what the single-threaded parent has prepared.
 *
 * An enclosed program is process 1 of its own namespace, so that whatever its maintainer scripts leave running
 * ends with it, and it ends with the worker (PR_SET_PDEATHSIG): a killed worker leaves no process behind.
 */
#include "image/command.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

#define PATH_SEARCH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define TAIL_LINES 12
#define LINE_MAX_LENGTH 500

extern char **environ;

/* What a program of the distribution needs to know, and the host's proxy settings; nothing else. */
static char **clean_environment(const CommandOptions *o)
{
	static const char *const fixed[] = {
		("PATH=" PATH_SEARCH), "HOME=/root", "LC_ALL=C.UTF-8", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive",
		"DEBCONF_NONINTERACTIVE_SEEN=true", "DEBCONF_NOWARNINGS=yes",
	};
	static const char *const passed[] = { "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY" };
	char **env = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		strv_add(&env, fixed[i]);
	for (size_t i = 0; i < ARRAY_SIZE(passed); i++)
		if (getenv(passed[i]))
			strv_setenv(&env, passed[i], getenv(passed[i]));
	if (o->apt_config)
		strv_setenv(&env, "APT_CONFIG", o->apt_config);
	return env;
}

static char *find_program(const char *name)
{
	if (strchr(name, '/'))
		return xstrdup(name);
	for (const char *p = PATH_SEARCH; *p;) {
		size_t n = strcspn(p, ":");
		AUTO_FREE char *path = xasprintf("%.*s/%s", (int) n, p, name);
		if (access(path, X_OK) == 0)
			return steal_ptr(&path);
		p += n + (p[n] == ':');
	}
	return NULL;
}

bool command_exists(const char *name)
{
	AUTO_FREE char *path = find_program(name);
	return path && access(path, X_OK) == 0;
}

static void loopback_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void) ioctl(fd, SIOCSIFFLAGS, &r);
}

/* What installing packages never needs, and what would reach the machine itself. */
static void drop_capabilities(void)
{
	static const int dropped[] = {
		CAP_SYS_MODULE, CAP_SYS_BOOT, CAP_SYS_RAWIO, CAP_SYS_TIME, CAP_SYSLOG, CAP_SYS_PTRACE, CAP_MAC_ADMIN, CAP_MAC_OVERRIDE,
		CAP_SYS_PACCT, CAP_WAKE_ALARM,
	};
	for (size_t i = 0; i < ARRAY_SIZE(dropped); i++)
		(void) prctl(PR_CAPBSET_DROP, dropped[i], 0, 0, 0);
}

typedef struct Start {
	const char *program;
	const char *const *argv;
	char *const *env;
	char *proc; /* where the fresh /proc goes */
	int in, out, errs;
} Start;

/* In the child. Never returns. */
static void child(const Start *s, const CommandOptions *o)
{
	(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void) signal(SIGPIPE, SIG_DFL);
	if (dup2(s->in, 0) < 0 || dup2(s->out, 1) < 0 || dup2(s->errs, 2) < 0)
		_exit(126);
	if (o->enclosed) {
		if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
			mount("proc", s->proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
			_exit(126);
		drop_capabilities();
	}
	if (o->no_network)
		loopback_up();
	if (o->root && (chroot(o->root) < 0 || chdir("/") < 0))
		_exit(126);
	(void) setsid();
	(void) syscall(SYS_close_range, 3, ~0U, 0);
	execve(s->program, (char *const *) s->argv, s->env);
	_exit(127);
}

/* fork(2) with namespaces and a pidfd. */
static pid_t clone_child(const CommandOptions *o, int *ret_pidfd)
{
	struct clone_args args = {
		.flags = CLONE_PIDFD,
		.pidfd = (uint64_t) (uintptr_t) ret_pidfd,
		.exit_signal = SIGCHLD,
	};
	if (o->enclosed)
		args.flags |= CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
	if (o->no_network)
		args.flags |= CLONE_NEWNET;
	return (pid_t) syscall(SYS_clone3, &args, sizeof(args));
}

static int input_fd(const char *text)
{
	if (!text)
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	int fd = memfd_create("input", MFD_CLOEXEC);
	if (fd >= 0 && (fd_write_all(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0)) {
		(void) close(fd);
		return -1;
	}
	return fd;
}

typedef struct Lines {
	const CommandOptions *o;
	Buf partial;
	char *tail[TAIL_LINES];
	size_t n; /* lines seen */
} Lines;

static void take_line(Lines *l)
{
	char *line = l->partial.data;
	size_t n = l->partial.len;
	while (n && (line[n - 1] == '\r' || line[n - 1] == ' '))
		line[--n] = '\0';
	if (n) {
		if (l->o->line)
			l->o->line(l->o->user, line);
		str_set(&l->tail[l->n++ % TAIL_LINES], line);
	}
	buf_clear(&l->partial);
}

static void take_bytes(Lines *l, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\n')
			take_line(l);
		else if (l->partial.len < LINE_MAX_LENGTH)
			buf_char(&l->partial, p[i]);
	}
}

/* Until the end of the output, or of the program: what it left behind may hold the pipe open. */
static void read_lines(int fd, int pidfd, Lines *l)
{
	char buf[4096];
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = pidfd, .events = POLLIN } };
	(void) fcntl(fd, F_SETFL, O_NONBLOCK);
	for (bool over = false; !over;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return;
		over = p[1].revents != 0;
		for (;;) {
			ssize_t n = read(fd, buf, sizeof(buf));
			if (n == 0)
				return;
			if (n < 0)
				break;
			take_bytes(l, buf, (size_t) n);
		}
	}
}

static int ended(const char *name, int status, Lines *l, Err *err)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	AUTO_BUF tail = BUF_INIT;
	size_t have = l->n < TAIL_LINES ? l->n : TAIL_LINES;
	for (size_t i = l->n - have; i < l->n; i++)
		buf_printf(&tail, "\n  %s", l->tail[i % TAIL_LINES]);
	if (WIFSIGNALED(status))
		return err_set(err, -EIO, "%s was killed by signal %d%s", name, WTERMSIG(status), buf_cstr(&tail));
	return err_set(err, -EIO, "%s failed (exit code %d)%s", name, WEXITSTATUS(status), buf_cstr(&tail));
}

static void lines_done(Lines *l)
{
	buf_done(&l->partial);
	for (size_t i = 0; i < TAIL_LINES; i++)
		free(l->tail[i]);
}

typedef struct Running {
	pid_t pid;
	int pidfd, out;
} Running;

static void running_done(Running *r)
{
	fd_closep(&r->pidfd);
	fd_closep(&r->out);
}

static int start(const char *const *argv, const CommandOptions *o, bool errors_too, Running *ret, Err *err)
{
	/* In another root, argv[0] is its full path there. */
	AUTO_FREE char *program = o->root ? xstrdup(argv[0]) : find_program(argv[0]);
	AUTO_FREE char *proc = xasprintf("%s/proc", o->root ? o->root : "");
	AUTO_STRV char **env = clean_environment(o);
	AUTO_CLOSE int in = input_fd(o->input);
	AUTO_CLOSE int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int out[2];
	if (!program)
		return err_set(err, -ENOENT, "the program '%s' is missing", argv[0]);
	if (in < 0 || null < 0 || pipe2(out, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "starting %s", argv[0]);
	const Start s = { program, argv, env, proc, in, out[1], errors_too ? out[1] : null };
	ret->pid = clone_child(o, &ret->pidfd);
	if (ret->pid == 0)
		child(&s, o);
	int r = -errno;
	(void) close(out[1]);
	if (ret->pid < 0) {
		(void) close(out[0]);
		return err_errno(err, r, "starting %s", argv[0]);
	}
	ret->out = out[0];
	return 0;
}

static int wait_for(pid_t pid)
{
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

int command_run(const char *const *argv, const CommandOptions *o, Err *err)
{
	AUTO(lines_done) Lines l = { .o = o };
	AUTO(running_done) Running p = { .pidfd = -1, .out = -1 };
	const char *slash = strrchr(argv[0], '/');
	int r = start(argv, o, true, &p, err);
	if (r < 0)
		return r;
	read_lines(p.out, p.pidfd, &l);
	if (l.partial.len)
		take_line(&l);
	return ended(slash ? slash + 1 : argv[0], wait_for(p.pid), &l, err);
}

int command_output(const char *const *argv, Buf *ret)
{
	const CommandOptions o = { 0 };
	AUTO(running_done) Running p = { .pidfd = -1, .out = -1 };
	int r = start(argv, &o, false, &p, NULL);
	if (r < 0)
		return r;
	char buf[4096];
	ssize_t n;
	while ((n = read(p.out, buf, sizeof(buf))) > 0)
		if (ret->len < 1U << 20)
			buf_append(ret, buf, (size_t) n);
	int status = wait_for(p.pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}
