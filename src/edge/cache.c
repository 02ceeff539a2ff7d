// SPDX-License-Identifier: Apache-2.0
/*
 * nginx, the cache behind HAProxy. It is there while a route asks for it, outlives the daemon, and is started again when it dies; meanwhile
 * HAProxy goes straight to the service (cache-config.c).
 *
 * stead-cache gives it a mount namespace and takes away its privileges. It holds a lock on RUN/edge/nginx.pid, and with it all of nginx's
 * processes: if the lock is free there is none, else there is one, in the group of the process whose number stands in the file, and
 * that number belongs to nobody else as long as the group exists. So nothing else has to be remembered: to start means to look first.
 *
 * Its configuration is written anew and read by it (SIGHUP, which keeps what is cached) when other routes ask for a cache, or other sizes; never at
 * a deploy. What a deploy changes is the backend's generation, which HAProxy sends with each request.
 * A new word goes out only when HAProxy has no old server in rotation any more (edge_cache_settle): else a late answer of the old version would be kept
 * under it.
 *
 * A full disk would break off responses on their way through the cache, so routes that cache on disk go without while it is nearly full.
 */
#include "edge/edge-private.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/syscall.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "edge/cache-config.h"
#include "edge/cache-generation.h"
#include "io/child.h"

#define USER "www-data"          /* nginx is that, and nobody else of the edge */
#define GROUP "haproxy"          /* may use the sockets */
#define TICK_MSEC 1000
#define SOON_MSEC 20             /* to the next try while an old one is ending */
#define YOUNG_NS (2 * NSEC_PER_SEC) /* ended sooner than that after its start: the next tick is soon enough */
#define LOG_MAX (1 << 20)        /* bytes of its error log, then it begins anew */
#define QUIT_TICKS 15            /* s for requests in flight, then SIGKILL */
#define SWEEP_TICKS 3            /* s from a new configuration to the removal of what it does not know */
#define DISK_SPARE (128LL << 20) /* bytes free, below them nothing is cached on disk */
#define OOM_SCORE_ADJ (-500)

typedef struct Cache {
	Edge *e;
	char *conf_dir, *socket_dir, *disk_dir, *pid_file, *log_file;
	uid_t uid;
	gid_t gid;
	CacheZone *zones; /* wanted, in order of their names */
	size_t n_zones;
	Generations generations;
	Child *child;     /* if it is ours */
	uv_poll_t *watch; /* of the pidfd, if it is not; on the heap, freed when closed */
	int pidfd;
	pid_t pid;        /* 0 = none */
	int64_t started;  /* 0 = by an earlier daemon */
	unsigned failures; /* one after the other */
	int quitting;     /* ticks until it is killed; 0 = it shall run */
	int sweeping;     /* ticks until directories are swept; 0 = nothing to sweep */
	bool disk_full;
	uv_timer_t *tick;
} Cache;

static void start(Cache *c);
static void on_tick(uv_timer_t *t);

/* ── files ────────────────────────────────────────────────────────── */

static int own_dir(const char *path, mode_t mode, uid_t uid, gid_t gid, Err *err)
{
	int r = dir_make(path, mode);
	if (r < 0)
		return err_errno(err, r, "make %s", path);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0)
		return err_errno(err, -errno, "prepare %s", path);
	return 0;
}

static void load_generations(Cache *c)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_FREE char *path = xasprintf("%s/generations", c->e->state_dir);
	int r = file_read(AT_FDCWD, path, LIMIT_GENERATIONS_BYTES, &text);
	if (r == 0)
		r = strlen(buf_cstr(&text)) == text.len ? generations_read(buf_cstr(&text), &c->generations) : -EINVAL;
	if (r < 0)
		generations_done(&c->generations);
	if (r < 0 && r != -ENOENT)
		log_warning("%s: %s; what was cached on disk is not used any more", path, strerror(-r));
}

/* If it cannot be written it must not be read either: an old word would bring back what a deploy has put aside. */
static void save_generations(Cache *c)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_FREE char *path = xasprintf("%s/generations", c->e->state_dir);
	generations_write(&c->generations, &text);
	int r = file_write_atomic(AT_FDCWD, path, buf_cstr(&text), text.len, 0600, true);
	if (r < 0) {
		(void) unlink(path);
		log_warning("write %s: %s; after a restart of the daemon the caches begin empty", path, strerror(-r));
	}
}

/* True: it is another than that on disk. */
static bool write_config(Cache *c, Err *err)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_BUF old = BUF_INIT;
	AUTO_FREE char *path = xasprintf("%s/nginx.conf", c->conf_dir);
	cache_nginx_config(c->zones, c->n_zones, &text);
	if (file_read(AT_FDCWD, path, text.len + 1, &old) == 0 && str_eq(buf_cstr(&old), buf_cstr(&text)))
		return false;
	int r = file_write_atomic(AT_FDCWD, path, buf_cstr(&text), text.len, 0640, false);
	if (r == 0 && lchown(path, 0, c->gid) < 0)
		r = -errno;
	if (r < 0)
		(void) err_errno(err, r, "write %s", path);
	return true;
}

static void cut_log(const Cache *c)
{
	struct stat st;
	if (stat(c->log_file, &st) == 0 && st.st_size > LOG_MAX && truncate(c->log_file, 0) < 0)
		log_warning("empty %s: %s", c->log_file, strerror(errno));
}

/* ── the process ──────────────────────────────────────────────────── */

static void free_handle(uv_handle_t *h)
{
	free(h);
}

static void forget_process(Cache *c)
{
	if (c->watch)
		uv_close((uv_handle_t *) c->watch, free_handle);
	if (c->pidfd >= 0)
		(void) close(c->pidfd);
	c->watch = NULL;
	c->pidfd = -1;
	c->child = NULL;
	c->pid = 0;
	c->quitting = 0;
}

static void ended(Cache *c)
{
	bool asked = c->quitting != 0, young = c->started && time_mono() - c->started < YOUNG_NS;
	forget_process(c);
	if (!c->n_zones)
		return;
	c->failures = young ? c->failures + 1 : 0;
	if (!asked && (c->failures & (c->failures - 1)) == 0) /* not each time */
		log_warning("the cache (nginx) has ended, see %s; it is started again", c->log_file);
	if (!young)
		start(c);
}

static void on_exit_of_child(void *user, const ChildExit *x)
{
	ended(user);
}

static void on_pidfd(uv_poll_t *p, int status, int events)
{
	ended(p->data);
}

static int watch_process(Cache *c, pid_t pid, int pidfd)
{
	uv_poll_t *p = xcalloc(1, sizeof(*p));
	int r = uv_poll_init(c->e->loop, p, pidfd);
	if (r < 0) {
		free(p);
		return r;
	}
	p->data = c;
	c->watch = p;
	c->pidfd = pidfd;
	c->pid = pid;
	c->started = 0;
	uv_unref((uv_handle_t *) p);
	return uv_poll_start(p, UV_READABLE, on_pidfd);
}

/* 1: one of an earlier daemon runs, and is watched from now on. -EAGAIN: one is just ending. */
static int adopt(Cache *c)
{
	AUTO_BUF text = BUF_INIT;
	int64_t pid = 0;
	AUTO_CLOSE int fd = open(c->pid_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (file_read(AT_FDCWD, c->pid_file, 32, &text) < 0 || !text.len || text.data[text.len - 1] != '\n')
		return -EAGAIN; /* it is just writing it */
	text.data[--text.len] = '\0';
	if (parse_i64(text.data, &pid) < 0 || pid <= 1 || pid > INT32_MAX)
		return -EAGAIN;
	int pidfd = (int) syscall(SYS_pidfd_open, (pid_t) pid, 0);
	if (pidfd >= 0 && watch_process(c, (pid_t) pid, pidfd) == 0)
		return 1;
	if (pidfd >= 0)
		(void) close(pidfd);
	(void) kill((pid_t) -pid, SIGKILL); /* workers do not end with their master, and nobody starts them again */
	return -EAGAIN;
}

static int find_ids(Cache *c, Err *err)
{
	const struct passwd *user = getpwnam(USER);
	const struct group *group = getgrnam(GROUP);
	if (!user || !user->pw_uid)
		return err_set(err, -ENOENT, "the cache needs the user '" USER "', which this system does not have");
	if (!group || !group->gr_gid)
		return err_set(err, -ENOENT, "the cache needs the group '" GROUP "', which comes with HAProxy; install the package haproxy");
	c->uid = user->pw_uid;
	c->gid = group->gr_gid;
	return 0;
}

static const char *nginx_program(void)
{
	static const char *const places[] = { "/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx" };
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (access(places[i], X_OK) == 0)
			return places[i];
	return NULL;
}

static int spawn(Cache *c, Err *err)
{
	AUTO_FREE char *program = libexec_path("stead-cache");
	AUTO_FREE char *uid = xasprintf("%u", (unsigned) c->uid);
	AUTO_FREE char *gid = xasprintf("%u", (unsigned) c->gid);
	AUTO_FREE char *socket = xasprintf("%s/cache.sock", c->socket_dir);
	AUTO_CLOSE int log = open(c->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (log < 0)
		return err_errno(err, -errno, "open %s", c->log_file);
	(void) unlink(socket); /* nginx does not listen where a socket lies already */
	const char *const argv[] = { program, c->conf_dir, c->socket_dir, c->disk_dir, c->pid_file, uid, gid, nginx_program() ?: "nginx", "-p", c->e->dir, "-e",
		"stderr", "-c", "/tmp/conf/nginx.conf", NULL };
	const ChildFd fds[] = { { log, 2 } };
	return child_spawn(c->e->loop,
		&(ChildOptions) { .argv = argv,
			.fds = fds,
			.n_fds = ARRAY_SIZE(fds),
			.exited = on_exit_of_child,
			.user = c,
			.new_session = true,
			.oom_score_adj = OOM_SCORE_ADJ },
		&c->child, err);
}

static int prepare(Cache *c, Err *err)
{
	int r = find_ids(c, err);
	r = r < 0 ? r : own_dir(c->conf_dir, 0750, 0, c->gid, err);
	r = r < 0 ? r : own_dir(c->socket_dir, 0750, c->uid, c->gid, err);
	r = r < 0 ? r : own_dir(c->disk_dir, 0700, c->uid, c->gid, err);
	if (r < 0)
		return r;
	AUTO_ERR why = ERR_INIT;
	(void) write_config(c, &why);
	return err_move(err, &why);
}

/* Tried again each tick. */
static void start(Cache *c)
{
	AUTO_ERR err = ERR_INIT;
	int r = adopt(c);
	if (r == 1)
		(void) kill(c->pid, SIGHUP); /* who knows what configuration it has */
	if (r == -EAGAIN)
		(void) uv_timer_start(c->tick, on_tick, SOON_MSEC, TICK_MSEC);
	if (r == 1 || r == -EAGAIN)
		return;
	r = prepare(c, &err);
	if (r == 0)
		r = spawn(c, &err);
	if (r < 0) {
		c->failures++;
		if ((c->failures & (c->failures - 1)) == 0)
			log_error("start the cache: %s; trying again", err_text(&err));
		return;
	}
	c->pid = child_pid(c->child);
	c->started = time_mono();
}

static void quit(Cache *c)
{
	if (c->pid && !c->quitting) {
		(void) kill(c->pid, SIGQUIT);
		c->quitting = QUIT_TICKS;
	}
}

/* ── what no zone owns any more ───────────────────────────────────── */

typedef struct Sweep {
	uv_work_t work;
	char *dirs[2];
	char **known;
} Sweep;

static void sweep_dir(const char *path, char *const *known)
{
	uv_fs_t req;
	uv_dirent_t entry;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || uv_fs_scandir(NULL, &req, path, 0, NULL) < 0)
		return;
	while (uv_fs_scandir_next(&req, &entry) != UV_EOF)
		if (!strv_has(known, entry.name))
			(void) tree_remove(fd, entry.name);
	uv_fs_req_cleanup(&req);
}

static void sweep_work(uv_work_t *w)
{
	const Sweep *s = w->data;
	for (size_t i = 0; i < ARRAY_SIZE(s->dirs); i++)
		sweep_dir(s->dirs[i], s->known);
}

static void sweep_done(uv_work_t *w, int status)
{
	Sweep *s = w->data;
	for (size_t i = 0; i < ARRAY_SIZE(s->dirs); i++)
		free(s->dirs[i]);
	strv_free(s->known);
	free(s);
}

static void sweep(const Cache *c)
{
	Sweep *s = xcalloc(1, sizeof(*s));
	s->work.data = s;
	s->dirs[0] = xstrdup(c->disk_dir);
	s->dirs[1] = c->pid ? xasprintf("/proc/%d/root" CACHE_MEMORY, (int) c->pid) : xstrdup(c->disk_dir);
	for (size_t i = 0; i < c->n_zones; i++)
		strv_add(&s->known, c->zones[i].name);
	if (uv_queue_work(c->e->loop, &s->work, sweep_work, sweep_done) < 0)
		sweep_done(&s->work, 0);
}

/* ── each second ──────────────────────────────────────────────────── */

static void look_at_disk(Cache *c)
{
	struct statvfs fs;
	bool any = false;
	for (size_t i = 0; i < c->n_zones; i++)
		any = any || c->zones[i].disk;
	if (!any || statvfs(c->disk_dir, &fs) < 0)
		return;
	int64_t spare = (int64_t) fs.f_bavail * (int64_t) fs.f_frsize;
	bool full = spare < (c->disk_full ? 2 * DISK_SPARE : DISK_SPARE);
	if (full == c->disk_full)
		return;
	c->disk_full = full;
	if (full)
		log_warning("less than %lld MiB are free on the disk of %s: nothing is cached there until there is room", (long long) (DISK_SPARE >> 20), c->disk_dir);
	edge_kick(c->e);
}

static void on_tick(uv_timer_t *t)
{
	Cache *c = t->data;
	if (c->quitting && --c->quitting == 0) {
		(void) kill(-c->pid, SIGKILL);
		c->quitting = 1;
	}
	if (!c->pid && c->n_zones)
		start(c);
	cut_log(c);
	look_at_disk(c);
	if (c->sweeping && --c->sweeping == 0)
		sweep(c);
	if (!c->n_zones && !c->pid && !c->sweeping)
		(void) uv_timer_stop(t);
}

/* ── what the edge calls ──────────────────────────────────────────── */

static int make_dirs(Cache *c, Err *err)
{
	AUTO_ERR why = ERR_INIT;
	AUTO_FREE char *jail = xasprintf("%s/jail", c->e->dir);
	int r = dir_make(jail, 0711);
	if (r < 0)
		return err_errno(err, r, "make %s", jail);
	/* HAProxy listens in there, with or without nginx. Without a group of its own nobody but root gets in. */
	(void) find_ids(c, &why);
	return own_dir(c->socket_dir, 0750, c->uid, c->gid, err);
}

int edge_cache_open(Edge *e, Err *err)
{
	Cache *c = xcalloc(1, sizeof(*c));
	c->e = e;
	c->pidfd = -1;
	c->conf_dir = xasprintf("%s/nginx", e->dir);
	c->socket_dir = xasprintf("%s/jail/cache", e->dir);
	c->disk_dir = xasprintf("%s/cache", e->state_dir);
	c->pid_file = xasprintf("%s/nginx.pid", e->dir);
	c->log_file = xasprintf("%s/nginx.log", e->dir);
	c->tick = xcalloc(1, sizeof(*c->tick));
	(void) uv_timer_init(e->loop, c->tick);
	c->tick->data = c;
	uv_unref((uv_handle_t *) c->tick);
	e->cache = c;
	int r = make_dirs(c, err);
	if (r < 0)
		return r;
	load_generations(c);
	if (adopt(c) == 1)
		(void) kill(c->pid, SIGHUP);
	return 0;
}

void edge_cache_close(Edge *e)
{
	Cache *c = e->cache;
	if (!c)
		return;
	if (c->child)
		child_leave(c->child);
	forget_process(c);
	uv_close((uv_handle_t *) c->tick, free_handle);
	generations_done(&c->generations);
	free(c->zones);
	free(c->conf_dir);
	free(c->socket_dir);
	free(c->disk_dir);
	free(c->pid_file);
	free(c->log_file);
	free(c);
	e->cache = NULL;
}

void edge_cache_quit(Edge *e)
{
	Cache *c = e->cache;
	c->n_zones = 0;
	if (!c->pid)
		return;
	(void) kill(c->pid, SIGTERM);
	c->quitting = QUIT_TICKS;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const CacheZone *) a)->name, ((const CacheZone *) b)->name);
}

static size_t zones_of(const EdgeTable *t, CacheZone **ret)
{
	CacheZone *zones = NULL, zone;
	size_t n = 0;
	for (size_t i = 0; i < t->n_routes; i++)
		if (cache_zone(&t->routes[i], &zone))
			*array_append(zones, n) = zone;
	if (n)
		qsort(zones, n, sizeof(*zones), by_name);
	*ret = zones;
	return n;
}

static void update_generations(Cache *c, const EdgeTable *t)
{
	bool changed = false;
	for (size_t i = 0; i < c->generations.n; i++)
		c->generations.items[i].wanted = false;
	for (size_t i = 0; i < t->n_routes; i++) {
		const char *backend = t->routes[i].backend;
		CacheZone zone;
		if (!cache_zone(&t->routes[i], &zone))
			continue;
		Generation *g = generations_find(&c->generations, backend);
		changed = changed || !g;
		g = g ?: generations_renew(&c->generations, backend);
		g->wanted = true;
	}
	if (generations_prune(&c->generations) || changed)
		save_generations(c);
}

void edge_cache_table(Edge *e, const EdgeTable *t)
{
	AUTO_ERR err = ERR_INIT;
	Cache *c = e->cache;
	free(c->zones);
	c->n_zones = zones_of(t, &c->zones);
	update_generations(c, t);
	if (!c->n_zones && !c->pid)
		return;
	(void) uv_timer_start(c->tick, on_tick, TICK_MSEC, TICK_MSEC);
	if (!c->n_zones) {
		quit(c);
		c->sweeping = SWEEP_TICKS;
		return;
	}
	if (!c->pid) {
		start(c);
		return;
	}
	if (c->quitting) /* its end starts the next */
		return;
	if (!write_config(c, &err))
		return;
	if (err.code)
		log_error("cache: %s; the routes' caches stay as they were", err_text(&err));
	(void) kill(c->pid, SIGHUP);
	c->sweeping = SWEEP_TICKS;
}

int edge_cache_check(const EdgeTable *t, Err *err)
{
	CacheZone *zones;
	struct sysinfo machine;
	int64_t memory = 0;
	size_t n = zones_of(t, &zones);
	for (size_t i = 0; i < n; i++)
		if (!zones[i].disk)
			memory = zones[i].bytes > INT64_MAX - memory ? INT64_MAX : memory + zones[i].bytes;
	free(zones);
	if (n && !nginx_program())
		return err_set(err, -ENOENT, "a route's `cache` needs nginx, which is not installed; install it (apt install nginx-light), and stop its own service if "
					     "that was started (systemctl disable --now nginx)");
	if (n > LIMIT_CACHE_ROUTES)
		return err_set(err, -E2BIG, "%zu routes ask for a cache, at most %d can have one", n, LIMIT_CACHE_ROUTES);
	if (sysinfo(&machine) == 0 && memory > (int64_t) machine.totalram * (int64_t) machine.mem_unit / 2)
		return err_set(err, -E2BIG, "the caches of all routes may take %lld MiB of memory, more than half of what this machine has; give some of them a smaller "
					    "`max_size`, or `disk`", (long long) (memory >> 20));
	return 0;
}

bool edge_cache_settle(Edge *e, const EdgeTable *t)
{
	Cache *c = e->cache;
	bool changed = false, renewed = false;
	for (size_t i = 0; i < t->n_backends; i++) {
		const EdgeBackend *b = &t->backends[i];
		Generation *g = generations_find(&c->generations, b->name);
		if (!g || !b->version || str_eq(g->version, b->version))
			continue;
		if (*g->version) {
			(void) generations_renew(&c->generations, b->name);
			renewed = true;
		}
		str_set(&g->version, b->version);
		changed = true;
	}
	if (changed)
		save_generations(c);
	return renewed;
}

bool edge_cache_route(void *user, const EdgeRoute *r, Buf *ret)
{
	const Edge *e = user;
	const Cache *c = e->cache;
	const Generation *g = generations_find(&c->generations, r->backend);
	CacheZone zone;
	if (!cache_zone(r, &zone) || !g || (zone.disk && c->disk_full))
		return false;
	cache_zone_words(&zone, g->word, ret);
	return true;
}

void edge_purge(Edge *e, const char *backend)
{
	Cache *c = e->cache;
	if (!generations_find(&c->generations, backend))
		return;
	generations_renew(&c->generations, backend)->wanted = true;
	save_generations(c);
	edge_kick(e);
}
