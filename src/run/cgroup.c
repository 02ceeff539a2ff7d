// SPDX-License-Identifier: Apache-2.0
/*
 * In v2 there is one tree at /sys/fs/cgroup. In v1 each controller (or pair of them) has its own below it,
 * named by the controllers with symlinks for single ones ("cpu" -> "cpu,cpuacct"), beside trees without
 * controllers (systemd, unified). Reading goes through the controller's name; removal through every real
 * directory, since the runtimes enter all of them.
 */
#include "run/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

#define CGROUP_FILE_MAX (256U << 10)
#define NO_LIMIT (1ULL << 60) /* v1 shows "no limit" as the largest multiple of a page */

/* Directory of `cgroup` in the tree of `controller` (v2: the one tree), or -errno. */
static int open_dir(const Runtime *rt, const char *controller, const char *cgroup)
{
	AUTO_FREE char *path = rt->cgroup_mode == CGROUP_V2 ? xasprintf(".%s", cgroup) : xasprintf("%s%s", controller, cgroup);
	int fd = openat(rt->fd_cgroup, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int read_text(int dir, const char *file, Buf *ret)
{
	buf_clear(ret);
	return dir < 0 ? dir : file_read(dir, file, CGROUP_FILE_MAX, ret);
}

/* The number that a file holds; "max" and v1's huge values give 0. 0 if there is none. */
static uint64_t read_number(int dir, const char *file)
{
	AUTO_BUF b = BUF_INIT;
	uint64_t v = 0;
	if (read_text(dir, file, &b) < 0)
		return 0;
	char *text = b.data;
	if (!text)
		return 0;
	text[strcspn(text, "\n")] = '\0';
	if (parse_u64(text, &v) < 0 || v >= NO_LIMIT)
		return 0;
	return v;
}

/* "key value" lines: the value of `key`; 0 if absent. */
static uint64_t keyed(const Buf *b, const char *key)
{
	size_t n = strlen(key);
	for (const char *p = buf_cstr(b); p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
		if (strncmp(p, key, n) == 0 && p[n] == ' ')
			return strtoull(p + n + 1, NULL, 10);
	return 0;
}

static int write_text(int dir, const char *file, const char *text)
{
	AUTO_CLOSE int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fd_write_all(fd, text, strlen(text));
}

/* ── figures ──────────────────────────────────────────────────────── */

static uint64_t machine_memory(void)
{
	return (uint64_t) sysconf(_SC_PHYS_PAGES) * (uint64_t) sysconf(_SC_PAGESIZE);
}

/* io.stat: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 …" summed over devices. */
static void stats_io_v2(const Buf *b, CgroupStats *s)
{
	static const char *const keys[] = { "rbytes=", "wbytes=", "rios=", "wios=" };
	uint64_t *const sums[] = { &s->io_read, &s->io_write, &s->io_reads, &s->io_writes };
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		for (const char *p = strstr(buf_cstr(b), keys[i]); p; p = strstr(p + 1, keys[i]))
			if (p[-1] == ' ')
				*sums[i] += strtoull(p + strlen(keys[i]), NULL, 10);
}

/* blkio.throttle.io_service_bytes: "8:0 Read 1" and "8:0 Write 2" summed over devices. */
static void stats_io_v1(const Buf *b, uint64_t *read, uint64_t *written)
{
	for (const char *p = buf_cstr(b); p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
		const char *sp = strchr(p, ' ');
		if (sp && strncmp(sp, " Read ", 6) == 0)
			*read += strtoull(sp + 6, NULL, 10);
		else if (sp && strncmp(sp, " Write ", 7) == 0)
			*written += strtoull(sp + 7, NULL, 10);
	}
}

static void stats_v2(int dir, CgroupStats *s)
{
	AUTO_BUF b = BUF_INIT;
	if (read_text(dir, "cpu.stat", &b) == 0) {
		s->cpu_total = keyed(&b, "usage_usec") * 1000;
		s->cpu_user = keyed(&b, "user_usec") * 1000;
		s->cpu_system = keyed(&b, "system_usec") * 1000;
		s->cpu_periods = keyed(&b, "nr_periods");
		s->cpu_throttled = keyed(&b, "nr_throttled");
		s->cpu_throttled_time = keyed(&b, "throttled_usec") * 1000;
	}
	s->memory_usage = read_number(dir, "memory.current");
	s->memory_limit = read_number(dir, "memory.max");
	s->memory_max_usage = read_number(dir, "memory.peak");
	if (read_text(dir, "memory.stat", &b) == 0) {
		s->memory_cache = keyed(&b, "inactive_file");
		s->memory_rss = keyed(&b, "anon");
	}
	if (read_text(dir, "memory.events", &b) == 0)
		s->oom_kills = keyed(&b, "oom_kill");
	s->pids = read_number(dir, "pids.current");
	s->pids_limit = read_number(dir, "pids.max");
	if (read_text(dir, "io.stat", &b) == 0)
		stats_io_v2(&b, s);
}

static void stats_v1(const Runtime *rt, const char *cgroup, CgroupStats *s)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_CLOSE int acct = open_dir(rt, "cpuacct", cgroup);
	AUTO_CLOSE int cpu = open_dir(rt, "cpu", cgroup);
	AUTO_CLOSE int memory = open_dir(rt, "memory", cgroup);
	AUTO_CLOSE int pids = open_dir(rt, "pids", cgroup);
	AUTO_CLOSE int blkio = open_dir(rt, "blkio", cgroup);
	s->cpu_total = read_number(acct, "cpuacct.usage");
	s->cpu_user = read_number(acct, "cpuacct.usage_user");
	s->cpu_system = read_number(acct, "cpuacct.usage_sys");
	if (read_text(cpu, "cpu.stat", &b) == 0) {
		s->cpu_periods = keyed(&b, "nr_periods");
		s->cpu_throttled = keyed(&b, "nr_throttled");
		s->cpu_throttled_time = keyed(&b, "throttled_time");
	}
	s->memory_usage = read_number(memory, "memory.usage_in_bytes");
	s->memory_limit = read_number(memory, "memory.limit_in_bytes");
	s->memory_max_usage = read_number(memory, "memory.max_usage_in_bytes");
	if (read_text(memory, "memory.stat", &b) == 0) {
		s->memory_cache = keyed(&b, "total_inactive_file");
		s->memory_rss = keyed(&b, "total_rss");
	}
	if (read_text(memory, "memory.oom_control", &b) == 0)
		s->oom_kills = keyed(&b, "oom_kill");
	s->pids = read_number(pids, "pids.current");
	s->pids_limit = read_number(pids, "pids.max");
	if (read_text(blkio, "blkio.throttle.io_service_bytes_recursive", &b) == 0)
		stats_io_v1(&b, &s->io_read, &s->io_write);
	if (read_text(blkio, "blkio.throttle.io_serviced_recursive", &b) == 0)
		stats_io_v1(&b, &s->io_reads, &s->io_writes);
}

/* A tree in which the container's processes are found, or -errno. */
static int open_any(const Runtime *rt, const char *cgroup)
{
	static const char *const trees[] = { "pids", "memory", "cpu", "freezer", "devices", "systemd", "unified" };
	int r = -ENOENT;
	for (size_t i = 0; i < ARRAY_SIZE(trees); i++) {
		r = open_dir(rt, trees[i], cgroup);
		if (r >= 0 || rt->cgroup_mode == CGROUP_V2)
			return r;
	}
	return r;
}

int cgroup_stats(const Runtime *rt, const char *cgroup, CgroupStats *ret)
{
	CgroupStats s = { 0 };
	AUTO_CLOSE int dir = open_any(rt, cgroup);
	if (dir < 0)
		return dir;
	if (rt->cgroup_mode == CGROUP_V2)
		stats_v2(dir, &s);
	else
		stats_v1(rt, cgroup, &s);
	if (s.memory_limit == 0 || s.memory_limit > machine_memory())
		s.memory_limit = machine_memory();
	*ret = s;
	return 0;
}

uint64_t cgroup_oom_kills(const Runtime *rt, const char *cgroup)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_CLOSE int dir = open_dir(rt, "memory", cgroup);
	if (read_text(dir, rt->cgroup_mode == CGROUP_V2 ? "memory.events" : "memory.oom_control", &b) < 0)
		return 0;
	return keyed(&b, "oom_kill");
}

/* ── processes ────────────────────────────────────────────────────── */

/* Calls fn for each directory below (and with) `dir`, children first. */
static void walk(int dir, int depth, void (*fn)(int dir, void *user), void *user)
{
	int copy = depth < 32 ? openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (!d && copy >= 0)
		(void) close(copy);
	for (struct dirent *e; d && (e = readdir(d));) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		AUTO_CLOSE int sub = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0)
			walk(sub, depth + 1, fn, user);
	}
	if (d)
		(void) closedir(d);
	fn(dir, user);
}

typedef struct PidList {
	pid_t *items;
	size_t n;
} PidList;

static void collect_pids(int dir, void *user)
{
	PidList *l = user;
	AUTO_BUF b = BUF_INIT;
	if (read_text(dir, "cgroup.procs", &b) < 0)
		return;
	const char *p = buf_cstr(&b);
	while (*p) {
		char *end;
		long pid = strtol(p, &end, 10);
		if (end == p)
			break;
		if (pid > 0)
			*array_append(l->items, l->n) = (pid_t) pid;
		p = *end ? end + 1 : end;
	}
}

int cgroup_pids(const Runtime *rt, const char *cgroup, pid_t **ret_pids, size_t *ret_n)
{
	AUTO_CLOSE int dir = open_any(rt, cgroup);
	if (dir < 0)
		return dir;
	PidList l = { NULL, 0 };
	walk(dir, 0, collect_pids, &l);
	*ret_pids = l.items;
	*ret_n = l.n;
	return 0;
}

int cgroup_kill(const Runtime *rt, const char *cgroup)
{
	if (rt->cgroup_mode == CGROUP_V2) {
		AUTO_CLOSE int dir = open_any(rt, cgroup);
		if (dir < 0)
			return dir == -ENOENT ? 0 : dir;
		if (write_text(dir, "cgroup.kill", "1") == 0)
			return 0;
	}
	/* Frozen processes do not die; and what forks meanwhile is met in the next round. */
	(void) cgroup_freeze(rt, cgroup, false);
	for (int round = 0; round < 8; round++) {
		AUTO_FREE pid_t *pids = NULL;
		size_t n = 0;
		int r = cgroup_pids(rt, cgroup, &pids, &n);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		if (n == 0)
			return 0;
		for (size_t i = 0; i < n; i++)
			(void) kill(pids[i], SIGKILL);
		if (round > 0)
			(void) usleep(200);
	}
	return 0;
}

/* ── freezing ─────────────────────────────────────────────────────── */

int cgroup_freeze(const Runtime *rt, const char *cgroup, bool freeze)
{
	AUTO_CLOSE int dir = open_dir(rt, "freezer", cgroup);
	if (dir < 0)
		return dir;
	if (rt->cgroup_mode == CGROUP_V2)
		return write_text(dir, "cgroup.freeze", freeze ? "1" : "0");
	return write_text(dir, "freezer.state", freeze ? "FROZEN" : "THAWED");
}

bool cgroup_frozen(const Runtime *rt, const char *cgroup)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_CLOSE int dir = open_dir(rt, "freezer", cgroup);
	if (rt->cgroup_mode == CGROUP_V2)
		return read_text(dir, "cgroup.freeze", &b) == 0 && str_starts(buf_cstr(&b), "1");
	return read_text(dir, "freezer.state", &b) == 0 && str_starts(buf_cstr(&b), "FR");
}

/* ── trees ────────────────────────────────────────────────────────── */

/* The trees' directory names ("." in v2). strv. */
static char **trees(const Runtime *rt)
{
	char **v = NULL;
	if (rt->cgroup_mode == CGROUP_V2) {
		strv_add(&v, ".");
		return v;
	}
	int fd = openat(rt->fd_cgroup, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d && fd >= 0)
		(void) close(fd);
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_type == DT_DIR && e->d_name[0] != '.')
			strv_add(&v, e->d_name);
	if (d)
		(void) closedir(d);
	return v;
}

static void remove_children(int dir, void *user)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (!d && copy >= 0)
		(void) close(copy);
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_type == DT_DIR && e->d_name[0] != '.')
			(void) unlinkat(dir, e->d_name, AT_REMOVEDIR);
	if (d)
		(void) closedir(d);
}

int cgroup_remove(const Runtime *rt, const char *cgroup)
{
	int result = 0;
	AUTO_STRV char **v = trees(rt);
	for (size_t i = 0; v && v[i]; i++) {
		AUTO_FREE char *path = xasprintf("%s%s", v[i], cgroup);
		if (unlinkat(rt->fd_cgroup, path, AT_REMOVEDIR) == 0 || errno == ENOENT)
			continue;
		/* Cgroups that the container made for itself. */
		AUTO_CLOSE int dir = openat(rt->fd_cgroup, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir >= 0)
			walk(dir, 0, remove_children, NULL);
		if (unlinkat(rt->fd_cgroup, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
			result = -errno;
	}
	return result;
}

char **cgroup_children(const Runtime *rt)
{
	char **names = NULL;
	AUTO_STRV char **v = trees(rt);
	for (size_t i = 0; v && v[i]; i++) {
		AUTO_FREE char *path = xasprintf("%s%s", v[i], rt->cgroup_parent);
		int fd = openat(rt->fd_cgroup, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *d = fd < 0 ? NULL : fdopendir(fd);
		if (!d && fd >= 0)
			(void) close(fd);
		for (struct dirent *e; d && (e = readdir(d));)
			if (e->d_type == DT_DIR && e->d_name[0] != '.' && !strv_has(names, e->d_name))
				strv_add(&names, e->d_name);
		if (d)
			(void) closedir(d);
	}
	return names;
}

/* ── the first move after a pause ─────────────────────────────────── */

#define PREWARM_PAUSE (15 * NSEC_PER_MSEC) /* how long a move keeps the next one fast, at least */

/* cgroup.procs of the cgroup that we are in, or -errno. */
static int open_own(const Runtime *rt)
{
	AUTO_BUF b = BUF_INIT;
	if (file_read(AT_FDCWD, "/proc/self/cgroup", 64U << 10, &b) < 0)
		return -ENOENT;
	const char *key = rt->cgroup_mode == CGROUP_V2 ? "0::" : ":pids:";
	const char *at = strstr(buf_cstr(&b), key);
	if (!at)
		return -ENOENT;
	at += strlen(key);
	AUTO_FREE char *path = xasprintf("%s%.*s/cgroup.procs", rt->cgroup_mode == CGROUP_V2 ? "." : "pids", (int) strcspn(at, "\n"), at);
	int fd = openat(rt->fd_cgroup, path, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void *prewarm_thread(void *arg)
{
	int fd = (int) (intptr_t) arg;
	char pid[16];
	int n = snprintf(pid, sizeof(pid), "%d", (int) getpid());
	(void) !write(fd, pid, (size_t) n);
	(void) close(fd);
	return NULL;
}

void cgroup_prewarm(const Runtime *rt)
{
	static int64_t last;
	int64_t now = time_mono();
	if (last && now - last < PREWARM_PAUSE)
		return;
	last = now;
	int fd = open_own(rt);
	if (fd < 0)
		return;
	pthread_t t;
	pthread_attr_t attr;
	sigset_t all, old;
	(void) sigfillset(&all);
	(void) pthread_sigmask(SIG_SETMASK, &all, &old);
	(void) pthread_attr_init(&attr);
	(void) pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&t, &attr, prewarm_thread, (void *) (intptr_t) fd) != 0)
		(void) close(fd);
	(void) pthread_attr_destroy(&attr);
	(void) pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* ── the parent ───────────────────────────────────────────────────── */

/* A new cpuset takes no process before it has processors and memory nodes: the parent's. */
static void inherit_cpuset(int root, int dir)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		AUTO_BUF b = BUF_INIT;
		if (read_text(root, files[i], &b) == 0)
			(void) write_text(dir, files[i], buf_cstr(&b));
	}
}

int cgroup_parent_make(const Runtime *rt, Err *err)
{
	AUTO_STRV char **v = trees(rt);
	for (size_t i = 0; v && v[i]; i++) {
		AUTO_FREE char *path = xasprintf("%s%s", v[i], rt->cgroup_parent);
		if (mkdirat(rt->fd_cgroup, path, 0755) < 0 && errno != EEXIST) {
			/* A tree without controllers may be read-only; one that we need is missed when the runtime is tried. */
			if (rt->cgroup_mode == CGROUP_V2)
				return err_errno(err, -errno, "make the cgroup /sys/fs/cgroup/%s", path);
			continue;
		}
		AUTO_CLOSE int dir = openat(rt->fd_cgroup, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		AUTO_CLOSE int root = openat(rt->fd_cgroup, v[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (rt->cgroup_mode != CGROUP_V2) {
			if (str_eq(v[i], "cpuset"))
				inherit_cpuset(root, dir);
			continue;
		}
		/* One by one: a controller that cannot be handed down must not keep the others back. */
		static const char *const controllers[] = { "+cpuset", "+cpu", "+io", "+memory", "+pids" };
		for (size_t k = 0; k < ARRAY_SIZE(controllers); k++) {
			(void) write_text(root, "cgroup.subtree_control", controllers[k]);
			(void) write_text(dir, "cgroup.subtree_control", controllers[k]);
		}
	}
	return 0;
}

void cgroup_parent_remove(const Runtime *rt)
{
	AUTO_STRV char **v = trees(rt);
	for (size_t i = 0; v && v[i]; i++) {
		AUTO_FREE char *path = xasprintf("%s%s", v[i], rt->cgroup_parent);
		(void) unlinkat(rt->fd_cgroup, path, AT_REMOVEDIR);
	}
}
