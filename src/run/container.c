// SPDX-License-Identifier: Apache-2.0
/*
 * "Created, not started": both runtimes leave the container's first process waiting on RUN_DIR/runtime/
 * ID/exec.fifo. crun's waits for a byte to read; runc's opens it for writing and is let go by a reader. So
 * starting is an open, one byte, and an unlink, for which `runtime start` would take a process and
 * several milliseconds. Between the byte and the unlink the daemon may be killed: container_probe
 * therefore takes a process for "created" only if it still is the runtime's own executable.
 *
 * A process is believed to be the container's only if its cgroup has the container's id in it, which
 * no reused pid can have. Signals go through a pidfd that was opened before that check.
 *
 * Deleting is likewise done here: kill, remove the cgroup's directories, remove the files.
 */
#include "run/container.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "run/cgroup.h"
#include "run/container-files.h"
#include "run/trash.h"

/* ── paths ────────────────────────────────────────────────────────── */

void container_paths_init(const Runtime *rt, const char *id, ContainerPaths *ret)
{
	ret->id = xstrdup(id);
	ret->state = xasprintf("%s/containers/%s", rt->state_dir, id);
	ret->log = xasprintf("%s/log", ret->state);
	ret->bundle = xasprintf("%s/containers/%s", rt->run_dir, id);
	ret->rootfs = xasprintf("%s/rootfs", ret->bundle);
	ret->files = xasprintf("%s/files", ret->bundle);
	ret->cgroup = xasprintf("%s/%s", rt->cgroup_parent, id);
}

void container_paths_done(ContainerPaths *p)
{
	if (!p)
		return;
	free_and_null(&p->id);
	free_and_null(&p->state);
	free_and_null(&p->log);
	free_and_null(&p->bundle);
	free_and_null(&p->rootfs);
	free_and_null(&p->files);
	free_and_null(&p->cgroup);
}

static int make_dir(const char *path, mode_t mode, Err *err)
{
	int r = mkdir(path, mode) < 0 ? -errno : 0;
	if (r == -ENOENT)
		r = dir_make(path, mode);
	return r < 0 && r != -EEXIST ? err_errno(err, r, "make %s", path) : 0;
}

int container_dirs_make(const ContainerPaths *p, Err *err)
{
	AUTO_FREE char *upper = xasprintf("%s/upper", p->state);
	AUTO_FREE char *work = xasprintf("%s/work", p->state);
	/* The upper directory becomes the container's "/": readable by its users. */
	const struct {
		const char *path;
		mode_t mode;
	} dirs[] = { { p->state, 0700 }, { upper, 0755 }, { work, 0700 }, { p->log, 0700 }, { p->bundle, 0700 }, { p->rootfs, 0755 },
		{ p->files, 0755 } };
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(dirs); i++)
		r = make_dir(dirs[i].path, dirs[i].mode, err);
	return r;
}

/* ── processes ────────────────────────────────────────────────────── */

static int pidfd_open_call(pid_t pid)
{
	int fd = (int) syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0) /* the number may be a thread's by now */
		return errno == EINVAL || errno == ENOENT ? -ESRCH : -errno;
	return fd;
}

static int pidfd_signal(int fd, int sig)
{
	return syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) < 0 ? -errno : 0;
}

/** The number in bundle/conmon/NAME; -ESRCH: there is none. */
static pid_t container_read_pid(const ContainerPaths *p, const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/conmon/%s", p->bundle, name);
	AUTO_BUF b = BUF_INIT;
	int64_t pid = 0;
	int r = file_read(AT_FDCWD, path, 32, &b);
	if (r < 0)
		return r == -ENOENT || r == -ENOTDIR ? -ESRCH : r;
	if (b.len > 0 && b.data[b.len - 1] == '\n')
		b.data[b.len - 1] = '\0';
	return parse_i64(buf_cstr(&b), &pid) < 0 || pid <= 1 || pid > INT32_MAX ? -ESRCH : (pid_t) pid;
}

static int read_proc(pid_t pid, const char *file, Buf *b)
{
	AUTO_FREE char *path = xasprintf("/proc/%d/%s", (int) pid, file);
	int r = file_read(AT_FDCWD, path, 64U << 10, b);
	return r == -ENOENT ? -ESRCH : r;
}

/* The process whose number is in that file, if the container's id stands in this file of its /proc: else it is another, or dead. */
static int open_process(const ContainerPaths *p, const char *pid_file, const char *proc_file, pid_t *ret_pid)
{
	pid_t pid = container_read_pid(p, pid_file);
	if (pid < 0)
		return pid;
	AUTO_CLOSE int fd = pidfd_open_call(pid);
	if (fd < 0)
		return fd;
	AUTO_BUF b = BUF_INIT;
	int r = read_proc(pid, proc_file, &b);
	if (r < 0)
		return r;
	if (!memmem(b.data ? b.data : "", b.len, p->id, strlen(p->id)))
		return -ESRCH;
	if (ret_pid)
		*ret_pid = pid;
	return steal_fd(&fd);
}

int container_init_open(const ContainerPaths *p, pid_t *ret_pid)
{
	AUTO_CLOSE int fd = open_process(p, "pid", "cgroup", ret_pid);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	if (fd >= 0 && poll(&pfd, 1, 0) != 0)
		return -ESRCH; /* dead, not yet reaped by conmon */
	return fd < 0 ? fd : steal_fd(&fd);
}

int container_conmon_open(const ContainerPaths *p, pid_t *ret_pid)
{
	return open_process(p, "conmon.pid", "cmdline", ret_pid);
}

int container_kill(const Runtime *rt, const ContainerPaths *p, int sig)
{
	(void) rt;
	AUTO_CLOSE int fd = container_init_open(p, NULL);
	return fd < 0 ? fd : pidfd_signal(fd, sig);
}

int container_kill_all(const Runtime *rt, const ContainerPaths *p)
{
	(void) container_kill(rt, p, SIGKILL);
	return cgroup_kill(rt, p->cgroup);
}

int container_pause(const Runtime *rt, const ContainerPaths *p, bool pause, Err *err)
{
	int r = runtime_require(rt, CONTROLLER_FREEZER, pause ? "pause" : "unpause", err);
	if (r == 0) {
		r = cgroup_freeze(rt, p->cgroup, pause);
		if (r < 0)
			r = err_errno(err, r, "%s the container", pause ? "pause" : "unpause");
	}
	return r;
}

/* ── start ────────────────────────────────────────────────────────── */

static char *fifo_path(const Runtime *rt, const ContainerPaths *p)
{
	return xasprintf("%s/%s/exec.fifo", rt->root, p->id);
}

static int release_crun(const char *fifo)
{
	AUTO_CLOSE int fd = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, "0", 1) < 0 ? -errno : 0;
}

static int release_runc(const char *fifo)
{
	AUTO_CLOSE int fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char byte;
	if (poll(&pfd, 1, 1000) <= 0)
		return -ETIMEDOUT;
	return read(fd, &byte, 1) == 1 ? 0 : -EPIPE;
}

int container_start(const Runtime *rt, const ContainerPaths *p, Err *err)
{
	AUTO_FREE char *fifo = fifo_path(rt, p);
	int r = rt->flavour == RUNTIME_RUNC ? release_runc(fifo) : release_crun(fifo);
	if (r == -ENOENT)
		return err_set(err, r, "start: the container was not created, or was started before");
	if (r == -ENXIO)
		return err_set(err, r, "start: the container's first process is gone; its log may say why");
	if (r < 0)
		return err_errno(err, r, "start: let the container's first process go (%s)", fifo);
	(void) unlink(fifo);
	return 0;
}

/* ── what is there ────────────────────────────────────────────────── */

/* Not yet the container's own program: the runtime waits for the start. */
static bool is_waiting(const Runtime *rt, const ContainerPaths *p, pid_t pid)
{
	AUTO_FREE char *fifo = fifo_path(rt, p);
	if (access(fifo, F_OK) < 0)
		return false;
	/* By its name: the executable's path cannot be resolved from here, the runtime has left its root. */
	AUTO_BUF comm = BUF_INIT;
	if (read_proc(pid, "comm", &comm) < 0)
		return true;
	return str_starts(buf_cstr(&comm), rt->name) || str_starts(buf_cstr(&comm), "crun") || str_starts(buf_cstr(&comm), "runc");
}

int container_read_exit(const ContainerPaths *p, ContainerState *st)
{
	AUTO_FREE char *path = xasprintf("%s/conmon/%s", p->bundle, p->id);
	AUTO_BUF b = BUF_INIT;
	struct stat file;
	int64_t code = 0;
	int r = stat(path, &file) < 0 ? -errno : file_read(AT_FDCWD, path, 32, &b);
	if (r < 0)
		return r == -ENOENT || r == -ENOTDIR ? 0 : r;
	if (b.len == 0)
		return 0;
	(void) parse_i64(buf_cstr(&b), &code);
	st->status = CONTAINER_EXITED;
	st->exit_code = (int) (code & 0xff);
	st->finished_at = file.st_mtim.tv_sec * NSEC_PER_SEC + file.st_mtim.tv_nsec;
	return 1;
}

void container_read_oom(const Runtime *rt, const ContainerPaths *p, ContainerState *st)
{
	AUTO_FREE char *file = xasprintf("%s/oom", p->bundle);
	/* A signal ended it, and the kernel has killed in its cgroup: 137 by an operator is not an OOM kill. */
	st->oom_killed = st->exit_code != 0 && (access(file, F_OK) == 0 || cgroup_oom_kills(rt, p->cgroup) > 0);
}

static int64_t process_start(pid_t pid)
{
	AUTO_FREE char *path = xasprintf("/proc/%d", (int) pid);
	struct stat st;
	return stat(path, &st) < 0 ? 0 : st.st_ctim.tv_sec * NSEC_PER_SEC + st.st_ctim.tv_nsec;
}

/* 1: found; 0: go on looking. */
static int probe_exit(const Runtime *rt, const ContainerPaths *p, ContainerState *ret)
{
	int r = container_read_exit(p, ret);
	if (r > 0)
		container_read_oom(rt, p, ret);
	return r;
}

static int probe(const Runtime *rt, const ContainerPaths *p, ContainerState *ret)
{
	AUTO_CLOSE int conmon = container_conmon_open(p, NULL);
	if (conmon < 0 && conmon != -ESRCH)
		return conmon;
	ret->monitored = conmon >= 0;
	int r = probe_exit(rt, p, ret);
	if (r != 0)
		return r;
	pid_t pid = 0;
	AUTO_CLOSE int init = container_init_open(p, &pid);
	if (init >= 0) {
		ret->pid = pid;
		ret->status = is_waiting(rt, p, pid) ? CONTAINER_CREATED : CONTAINER_RUNNING;
		ret->started_at = process_start(pid);
		ret->paused = cgroup_frozen(rt, p->cgroup);
		return 1;
	}
	pid = init == -ESRCH ? container_read_pid(p, "pid") : init;
	if (pid < 0 && pid != -ESRCH)
		return pid;
	if (ret->monitored) {
		/* Its end is known to conmon, but not written yet: container_watch will tell it. */
		ret->status = pid > 0 ? CONTAINER_RUNNING : CONTAINER_CREATING;
		return 1;
	}
	/* conmon may have ended between the two looks. */
	r = probe_exit(rt, p, ret);
	if (r == 0 && pid > 0) {
		ret->status = CONTAINER_LOST;
		ret->exit_code = 128 + SIGKILL;
		ret->finished_at = time_real();
		container_read_oom(rt, p, ret);
	}
	return r;
}

int container_probe(const Runtime *rt, const ContainerPaths *p, ContainerState *ret, Err *err)
{
	*ret = (ContainerState) { 0 };
	int r = probe(rt, p, ret);
	return r < 0 ? err_errno(err, r, "look at container %.12s", p->id) : 0;
}

/* ── delete ───────────────────────────────────────────────────────── */

/* The runtime that conmon is just running (in "creating"): it must not go on after conmon. */
static void kill_children(pid_t pid)
{
	AUTO_FREE char *path = xasprintf("/proc/%d/task/%d/children", (int) pid, (int) pid);
	AUTO_BUF b = BUF_INIT;
	if (file_read(AT_FDCWD, path, 4096, &b) < 0)
		return;
	for (char *s = b.data, *end; s && *s; s = end) {
		long child = strtol(s, &end, 10);
		if (end == s)
			break;
		if (child > 1)
			(void) kill((pid_t) child, SIGKILL);
	}
}

static void kill_conmon(const ContainerPaths *p)
{
	pid_t pid = 0;
	AUTO_CLOSE int fd = container_conmon_open(p, &pid);
	if (fd < 0)
		return;
	kill_children(pid);
	(void) pidfd_signal(fd, SIGKILL);
}

int container_delete(const Runtime *rt, const ContainerPaths *p, Err *err)
{
	/* Gone for good, or about to be: conmon first, so that it does not report an end that is ours. */
	kill_conmon(p);
	(void) container_kill(rt, p, SIGKILL);
	int r = cgroup_remove(rt, p->cgroup);
	if (r == -EBUSY) {
		r = cgroup_kill(rt, p->cgroup);
		if (r == 0)
			r = cgroup_remove(rt, p->cgroup);
	}
	if (r == -EBUSY)
		return 1;
	if (r < 0)
		return err_errno(err, r, "remove the cgroup %s", p->cgroup);

	AUTO_FREE char *state = xasprintf("%s/%s", rt->root, p->id);
	AUTO_FREE char *monitor = xasprintf("%s/conmon", p->bundle);
	AUTO_FREE char *oom = xasprintf("%s/oom", p->bundle);
	r = trash_put(state, rt->run_dir, err);
	if (r == 0)
		r = trash_put(monitor, rt->run_dir, err);
	(void) unlink(oom);
	return r;
}

/* "/run/stead" of "/run/stead/containers/ID". */
static char *base_dir(const char *path)
{
	size_t n = strlen(path);
	for (int up = 0; up < 2; up++)
		while (n > 0 && path[--n] != '/')
			;
	return xstrndup(path, n);
}

int container_bundle_remove(const ContainerPaths *p, Err *err)
{
	int r = rootfs_unmount(p, err);
	if (r < 0)
		return r;
	AUTO_FREE char *dir = base_dir(p->bundle);
	return trash_put(p->bundle, dir, err);
}

int container_state_remove(const ContainerPaths *p, Err *err)
{
	AUTO_FREE char *dir = base_dir(p->state);
	return trash_put(p->state, dir, err);
}

void container_flush(void)
{
	trash_flush();
}

static void list_dir(char ***v, const char *path)
{
	DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.' && e->d_type == DT_DIR && !strv_has(*v, e->d_name))
			strv_add(v, e->d_name);
	if (d)
		(void) closedir(d);
}

char **container_list(const Runtime *rt)
{
	AUTO_FREE char *bundles = xasprintf("%s/containers", rt->run_dir);
	char **v = cgroup_children(rt);
	list_dir(&v, bundles);
	list_dir(&v, rt->root);
	return v;
}
