// SPDX-License-Identifier: Apache-2.0
/*
 * stead-exec: a further process in a running container, in its namespaces and control groups and with its limits.
 * What crun and runc do in their `exec`, without reading the container's whole configuration again and
 * without their libraries: some forty system calls, for each `exec` and each health probe. The daemon has
 * done all the reading (run/exec.c); what stands in run/exec-format.h comes in a memfd.
 *
 * Three processes. The first waits outside, with the host's rights, and is no part of the container's account. The second joins
 * the container and becomes its user; as a process keeps its PID namespace, it cannot be seen from inside. The third is
 * born there, with the rights of the command and no others, as a child of the first (CLONE_PARENT), and executes the command.
 *
 * Order and reasons:
 *   - The container's init is held by a pidfd, so that no other process can be meant. Its namespaces are joined
 *     through it in one call.
 *   - The control groups' files are opened before, with the host's view, and joined by the second process: what is born inside
 *     is in them from its first moment. So two places below pids.max are needed, as with runc.
 *   - What can be seen inside has nothing to take: a process there that may trace others (SYS_PTRACE) would
 *     otherwise get the host's rights, or the host's files, from the one that is about to give them up.
 *     Nor may others take it apart: it is not dumpable until the command is executed (ptrace(2), /proc/PID/fd,
 *     /proc/PID/exe), and it is executed from a sealed memfd, so that a command "/proc/self/exe" has nothing that could be
 *     overwritten (CVE-2019-5736).
 *   - Descriptors are closed before the directory is entered, no magic link leads there, and it has to be below
 *     the root (CVE-2024-21626). /dev/null is opened anew: the mode and owner of the host's could be changed through it.
 *   - A session keyring of its own: the daemon's may hold what root has put there.
 *   - The filter comes before capabilities are given up, unless no_new_privileges lets it come last. In the first case it has to allow
 *     clone(2).
 *
 * Linked statically. It says why it failed in its log, never on the command's stderr.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run/exec-format.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif
#ifndef SECCOMP_FILTER_FLAG_SPEC_ALLOW
#define SECCOMP_FILTER_FLAG_SPEC_ALLOW (1UL << 2)
#endif

#define MAX_GROUPS 16 /* hierarchies of control groups */
#define FAILED 126
#define MISSING 127

typedef struct Spec {
	const ExecHeader *h;
	const uint32_t *groups;
	const ExecLimit *limits;
	const char *cwd;
	char **args, **env;
} Spec;

__attribute__((format(printf, 2, 3), noreturn)) static void die(int code, const char *format, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, format);
	int n = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (n > 0)
		(void) !write(EXEC_FD_LOG, text, (size_t) n < sizeof(text) ? (size_t) n : sizeof(text) - 1);
	_exit(code);
}

/* ── the specification ────────────────────────────────────────────── */

static char **take_strings(char **p, const char *end, uint32_t n)
{
	char **v = calloc((size_t) n + 1, sizeof(*v));
	for (uint32_t i = 0; v && i < n; i++) {
		size_t left = (size_t) (end - *p), len = strnlen(*p, left);
		if (len == left)
			return NULL;
		v[i] = *p;
		*p += len + 1;
	}
	return v;
}

static void read_spec(Spec *s)
{
	struct stat st;
	if (fstat(EXEC_FD_SPEC, &st) < 0 || st.st_size < (off_t) sizeof(ExecHeader) || st.st_size > EXEC_SPEC_MAX)
		die(FAILED, "stead-exec: no specification; this program is for the daemon");
	char *p = mmap(NULL, (size_t) st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, EXEC_FD_SPEC, 0);
	if (p == MAP_FAILED)
		die(FAILED, "stead-exec: map the specification: %s", strerror(errno));
	const char *end = p + st.st_size;
	const ExecHeader *h = s->h = (const void *) p;
	uint64_t head = sizeof(*h) + (uint64_t) h->n_rlimits * sizeof(ExecLimit) + (uint64_t) h->n_groups * sizeof(uint32_t);
	if (h->magic != EXEC_MAGIC || head + h->strings_size != (uint64_t) st.st_size || h->n_args < 1 || h->n_args > h->strings_size ||
		h->n_env > h->strings_size)
		die(FAILED, "stead-exec: the specification is damaged");
	s->limits = (const void *) (p + sizeof(*h));
	s->groups = (const void *) (s->limits + h->n_rlimits);
	p += head;
	char **cwd = take_strings(&p, end, 1);
	s->args = cwd ? take_strings(&p, end, h->n_args) : NULL;
	s->env = s->args ? take_strings(&p, end, h->n_env) : NULL;
	if (!s->env)
		die(FAILED, "stead-exec: the specification is damaged");
	s->cwd = cwd[0];
}

/* ── control groups ───────────────────────────────────────────────── */

/* "4:cpu,cpuacct:/stead-x/ID" → the open cgroup.procs; -1: no such hierarchy is mounted. */
static int open_group(char *line, bool unified)
{
	char path[PATH_MAX];
	char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
	if (!group)
		return -1;
	*controllers++ = '\0';
	*group++ = '\0';
	if (unified != (controllers[0] == '\0'))
		return -1;
	if (strncmp(controllers, "name=", 5) == 0)
		controllers += 5;
	for (int round = 0; round < 2; round++) {
		(void) snprintf(path, sizeof(path), unified ? "/sys/fs/cgroup%s%s/cgroup.procs" : "/sys/fs/cgroup/%s%s/cgroup.procs", controllers, group);
		int fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		if (errno != ENOENT)
			die(FAILED, "stead-exec: open %s: %s", path, strerror(errno));
		controllers[strcspn(controllers, ",")] = '\0'; /* mounted by its first name */
	}
	if (unified)
		die(FAILED, "the container is not running: no %s", path);
	return -1;
}

static size_t open_groups(const Spec *s, int fds[MAX_GROUPS])
{
	char path[64], text[8192];
	(void) snprintf(path, sizeof(path), "/proc/%d/cgroup", (int) s->h->init_pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	if (fd >= 0)
		(void) close(fd);
	/* Only while it lives what was read is its own. */
	struct pollfd alive = { .fd = EXEC_FD_INIT, .events = POLLIN };
	if (n <= 0 || poll(&alive, 1, 0) != 0)
		die(FAILED, "the container is not running");
	text[n] = '\0';
	bool unified = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
	size_t count = 0;
	char *save = NULL;
	for (char *line = strtok_r(text, "\n", &save); line && count < MAX_GROUPS; line = strtok_r(NULL, "\n", &save)) {
		int group = open_group(line, unified);
		if (group >= 0)
			fds[count++] = group;
	}
	if (count == 0)
		die(FAILED, "stead-exec: the container's control group is not to be found");
	return count;
}

/* ── in the container ─────────────────────────────────────────────── */

static void reset_signals(void)
{
	sigset_t none;
	(void) sigemptyset(&none);
	(void) sigprocmask(SIG_SETMASK, &none, NULL);
	for (int i = 1; i < 32; i++)
		(void) signal(i, SIG_DFL);
}

static void set_oom_score(int value)
{
	char text[16];
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	int n = snprintf(text, sizeof(text), "%d", value);
	/* Lower than the daemon's own may be refused; the command then only dies sooner. */
	if (fd >= 0) {
		(void) !write(fd, text, (size_t) n);
		(void) close(fd);
	}
}

/** "0", "1", "2" where no stream was asked for are the host's /dev/null: its owner and mode could be changed through them. */
static void reopen_null(void)
{
	const struct open_how how = { .flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };
	int null = -1;
	struct stat st;
	for (int fd = 0; fd <= 2; fd++) {
		if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
			continue;
		if (null < 0) {
			null = (int) syscall(SYS_openat2, AT_FDCWD, "/dev/null", &how, sizeof(how));
			if (null < 0 || fstat(null, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
				die(FAILED, "stead-exec: /dev/null of the container is none");
		}
		if (dup2(null, fd) < 0)
			die(FAILED, "stead-exec: dup2: %s", strerror(errno));
	}
	if (null >= 0)
		(void) close(null);
}

static void new_keyring(void)
{
	/* No keyrings in this kernel, or none for whoever runs us: there is nothing to be got then. */
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS && errno != EPERM && errno != EACCES)
		die(FAILED, "stead-exec: make a session keyring: %s", strerror(errno));
}

/* The filter in a form of its own: struct sock_filter after struct sock_filter. */
static void map_filter(struct sock_fprog *ret)
{
	struct stat st;
	if (fstat(EXEC_FD_SECCOMP, &st) < 0 || st.st_size == 0 || st.st_size % (off_t) sizeof(struct sock_filter) ||
		st.st_size / (off_t) sizeof(struct sock_filter) > USHRT_MAX)
		die(FAILED, "stead-exec: the container's seccomp filter is damaged");
	void *p = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, EXEC_FD_SECCOMP, 0);
	if (p == MAP_FAILED)
		die(FAILED, "stead-exec: map the seccomp filter: %s", strerror(errno));
	*ret = (struct sock_fprog) { .len = (unsigned short) (st.st_size / (off_t) sizeof(struct sock_filter)), .filter = p };
	(void) close(EXEC_FD_SECCOMP);
}

static void load_filter(const struct sock_fprog *program)
{
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, program) < 0 &&
		(errno != EINVAL || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) < 0))
		die(FAILED, "stead-exec: load the seccomp filter: %s", strerror(errno));
}

static void drop_bounding(uint64_t keep)
{
	for (int cap = 0; cap < 64; cap++)
		if (!(keep & (1ULL << cap)) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno == EINVAL)
				return; /* past the kernel's last */
			die(FAILED, "stead-exec: drop capability %d: %s", cap, strerror(errno));
		}
}

static void become_user(const Spec *s)
{
	const ExecHeader *h = s->h;
	struct stat st;
	/* Kernel calls: no thread is there that libc would have to tell. */
	if (syscall(SYS_setgroups, (size_t) h->n_groups, s->groups) < 0)
		die(FAILED, "stead-exec: setgroups: %s", strerror(errno));
	/* /dev/stdout can be opened by name then; only our own pipes. */
	for (int fd = 0; h->uid != 0 && fd <= 2; fd++)
		if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
			(void) !fchown(fd, h->uid, h->gid);
	drop_bounding(h->caps_bounding);
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || syscall(SYS_setresgid, h->gid, h->gid, h->gid) < 0 ||
		syscall(SYS_setresuid, h->uid, h->uid, h->uid) < 0)
		die(FAILED, "stead-exec: become user %u:%u: %s", h->uid, h->gid, strerror(errno));
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = (uint32_t) h->caps_effective, .permitted = (uint32_t) h->caps_effective },
		{ .effective = (uint32_t) (h->caps_effective >> 32), .permitted = (uint32_t) (h->caps_effective >> 32) },
	};
	if (syscall(SYS_capset, &head, data) < 0)
		die(FAILED, "stead-exec: set the capabilities: %s", strerror(errno));
	(void) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	/* A change of credentials sets it to fs.suid_dumpable, whatever that is. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		die(FAILED, "stead-exec: prctl: %s", strerror(errno));
}

/** False: not yet (root may not, as on NFS, but the user may). */
static bool enter_directory(const char *cwd, bool last)
{
	const struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };
	char real[PATH_MAX];
	int fd = (int) syscall(SYS_openat2, AT_FDCWD, cwd, &how, sizeof(how));
	if (fd < 0 || fchdir(fd) < 0) {
		if (!last && errno == EACCES)
			return false;
		die(FAILED, "chdir to cwd ('%s'): %s", cwd, strerror(errno));
	}
	(void) close(fd);
	/* The kernel's answer: libc would search for a way from there to the root, through whatever the container has laid out. */
	if (syscall(SYS_getcwd, real, sizeof(real)) < 0 || real[0] != '/')
		die(FAILED, "chdir to cwd ('%s'): it lies outside of the container", cwd);
	return true;
}

static const char *env_path(char **env)
{
	for (; *env; env++)
		if (strncmp(*env, "PATH=", 5) == 0)
			return *env + 5;
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

__attribute__((noreturn)) static void execute(const Spec *s)
{
	char path[PATH_MAX];
	const char *name = s->args[0];
	int reason = ENOENT;
	if (strchr(name, '/')) {
		(void) execve(name, s->args, s->env);
		reason = errno;
	} else {
		for (const char *p = env_path(s->env); *p;) {
			int n = (int) strcspn(p, ":");
			if (snprintf(path, sizeof(path), "%.*s%s%s", n, p, n ? "/" : "./", name) < (int) sizeof(path)) {
				(void) execve(path, s->args, s->env);
				if (errno == EACCES)
					reason = EACCES; /* a later place may have it */
				else if (errno != ENOENT && errno != ENOTDIR) {
					reason = errno;
					break;
				}
			}
			p += n + (p[n] == ':');
		}
	}
	if (reason == ENOENT || reason == ENOTDIR)
		die(MISSING, "executable file `%s` not found: No such file or directory", name);
	die(FAILED, "execute `%s`: %s", name, strerror(reason));
}

/* The third process. */
__attribute__((noreturn)) static void command(const Spec *s, const struct sock_fprog *filter)
{
	(void) setsid();
	if (filter)
		load_filter(filter);
	execute(s);
}

/* The second. */
__attribute__((noreturn)) static void join(const Spec *s, const int *groups, size_t n_groups)
{
	const ExecHeader *h = s->h;
	struct sock_fprog filter;
	for (size_t i = 0; i < n_groups; i++)
		if (write(groups[i], "0", 1) < 0)
			die(FAILED, errno == ENODEV || errno == ENOENT ? "the container is not running" : "stead-exec: join the control group: %s",
				strerror(errno));
	reset_signals();
	set_oom_score(h->oom_score_adj);
	new_keyring();
	if (h->seccomp)
		map_filter(&filter);
	if (syscall(SYS_setns, EXEC_FD_INIT, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWPID) < 0)
		die(FAILED, errno == ESRCH ? "the container is not running" : "stead-exec: join the container: %s", strerror(errno));
	(void) close(EXEC_FD_INIT);
	(void) close(EXEC_FD_SPEC);
	for (size_t i = 0; i < n_groups; i++)
		(void) close(groups[i]);
	reopen_null();
	for (uint32_t i = 0; i < h->n_rlimits; i++) {
		struct rlimit limit = { .rlim_cur = s->limits[i].soft, .rlim_max = s->limits[i].hard };
		if (setrlimit((int) s->limits[i].resource, &limit) < 0)
			die(FAILED, "stead-exec: set limit %u: %s", s->limits[i].resource, strerror(errno));
	}
	bool entered = enter_directory(s->cwd, false);
	if (h->seccomp && !h->no_new_privileges)
		load_filter(&filter);
	become_user(s);
	if (!entered)
		(void) enter_directory(s->cwd, true);
	(void) umask(022);
	if (h->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		die(FAILED, "stead-exec: set no_new_privileges: %s", strerror(errno));
	/* As fork(2), which has no name for a brother. */
	long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
	if (pid < 0) /* a PID namespace without its init takes nobody */
		die(FAILED, errno == ENOMEM ? "the container is not running" : "stead-exec: start the command: %s", strerror(errno));
	if (pid == 0)
		command(s, h->seccomp && h->no_new_privileges ? &filter : NULL);
	_exit(0);
}

static int code_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/** The command's code; the second process's, if it has ended without having started one. */
static int wait_for(pid_t second)
{
	int code = FAILED, status = 0;
	for (pid_t pid; (pid = waitpid(-1, &status, 0)) > 0 || errno == EINTR;)
		if (pid > 0 && (pid != second || status != 0))
			code = code_of(status);
	return code;
}

/** Not all kernels that join by a pidfd know the flag: those that we know of, one by one, then. */
static void close_on_exec(void)
{
	if (syscall(SYS_close_range, EXEC_FD_SPEC, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
		return;
	for (int fd = EXEC_FD_SPEC; fd <= EXEC_FD_SECCOMP; fd++)
		(void) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

int main(void)
{
	Spec s;
	int groups[MAX_GROUPS];
	(void) close(EXEC_FD_PROGRAM);
	close_on_exec();
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		die(FAILED, "stead-exec: prctl: %s", strerror(errno));
	(void) prctl(PR_SET_NAME, "stead-exec", 0, 0, 0);
	read_spec(&s);
	size_t n = open_groups(&s, groups);
	pid_t pid = fork();
	if (pid < 0)
		die(FAILED, "stead-exec: fork: %s", strerror(errno));
	if (pid == 0)
		join(&s, groups, n);
	for (int fd = 0; fd <= 2; fd++)
		(void) close(fd); /* the command's end closes its streams */
	return wait_for(pid);
}
