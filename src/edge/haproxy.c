// SPDX-License-Identifier: Apache-2.0
/*
 * One process without a master: HAProxy's own master would be one more to watch, and takes 5 MB. A process that the daemon has started is
 * its child; one that was taken over is watched through a pidfd.
 *
 * Replacing: the new process is started on the same listening sockets with `-sf OLD`. It binds, then signals the old one, which stops to accept and
 * finishes. Since both have the very same sockets, no connection is in a queue that nobody serves. The socket of the runtime API is bound by
 * each process anew and renamed into its place, so that the path leads to the newest. "It is ready" is: the process that answers there has its pid.
 */
#include "edge/haproxy.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "edge/listen.h"
#include "io/child.h"

#define OOM_SCORE_ADJ (-500)
#define READY_MSEC 10       /* between two looks whether it answers */
#define START_MSEC 15000    /* to the first answer; many certificates take their time */
#define FINISH_MSEC 1000    /* of haproxy_quit */
#define ASK_MSEC 2000
#define OUTPUT_MAX 4096
#define TRIM_MSEC 2000      /* after the start */
#define MAPS_MAX (1U << 20) /* of /proc/PID/maps */

/* A process that is our child. */
typedef struct Process {
	Haproxy *h;
	Child *child;
} Process;

struct Haproxy {
	uv_loop_t *loop;
	char *dir, *socket;
	HaproxyEvents events;
	RuntimeApi *api;
	Process *own;     /* the running one, if it is our child */
	uv_poll_t *watch; /* of its pidfd, if it is not; on the heap, freed when closed */
	int pidfd;
	pid_t pid;
	int64_t since;
	Process *next; /* being started */
	bool asked;  /* whether `next` answers is being asked */
	int64_t next_since;
	uv_timer_t *timer, *finish, *trim;
	pid_t old; /* ended once another runs: a process that was not understood */
};

int haproxy_program(const char **ret, Err *err)
{
	static const char *const places[] = { "/usr/sbin/haproxy", "/usr/local/sbin/haproxy" };
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (access(places[i], X_OK) == 0) {
			*ret = places[i];
			return 0;
		}
	return err_set(err, -ENOENT, "routes need HAProxy, which is not installed; install it (apt install haproxy), and stop its own service if that was started "
				     "(systemctl disable --now haproxy)");
}

static void free_handle(uv_handle_t *h)
{
	free(h);
}

static void close_watch(Haproxy *h)
{
	if (!h->watch)
		return;
	uv_close((uv_handle_t *) h->watch, free_handle);
	(void) close(h->pidfd);
	h->watch = NULL;
	h->pidfd = -1;
}

static void forget(Process **p)
{
	if (*p)
		child_forget((*p)->child);
	free_and_null(p);
}

/* The process that runs is none of our concern any more. */
static void let_go(Haproxy *h)
{
	close_watch(h);
	forget(&h->own);
	h->pid = 0;
}

static void ended(Haproxy *h)
{
	int64_t lived = time_mono() - h->since;
	let_go(h);
	(void) uv_timer_stop(h->finish);
	if (h->next) /* its successor starts already */
		return;
	h->events.ended(h->events.user, lived);
}

static void on_pidfd(uv_poll_t *p, int status, int events)
{
	Haproxy *h = p->data;
	log_warning("HAProxy (pid %d) has ended", (int) h->pid);
	ended(h);
}

/* ── start ────────────────────────────────────────────────────────── */

static void start_failed(Haproxy *h, const Err *err)
{
	(void) uv_timer_stop(h->timer);
	h->events.failed(h->events.user, err);
}

static void on_exit_of_child(void *user, const ChildExit *e)
{
	Process *p = user;
	Haproxy *h = p->h;
	AUTO_ERR err = ERR_INIT;
	if (p == h->next) {
		(void) err_set(&err, -EINVAL, "HAProxy does not start (%s %d): %s", e->signal ? "signal" : "code", e->signal ?: e->code,
			e->errors && *e->errors ? e->errors : "it says nothing");
		free_and_null(&h->next);
		start_failed(h, &err);
		return;
	}
	log_warning("HAProxy (pid %d) has ended (%s %d)", (int) h->pid, e->signal ? "signal" : "code", e->signal ?: e->code);
	free_and_null(&h->own);
	ended(h);
}

/*
 * The start goes through much of HAProxy's and the libraries' code that is not needed again, 5 MB of it. What is needed comes back from the page
 * cache by itself. Other processes' share of these pages is not touched. A kernel before 5.10 refuses, which is no harm.
 */
static void trim(uv_timer_t *t)
{
	Haproxy *h = t->data;
	AUTO_FREE char *path = xasprintf("/proc/%d/maps", (int) h->pid);
	AUTO_BUF maps = BUF_INIT;
	AUTO_CLOSE int pidfd = h->pid ? (int) syscall(SYS_pidfd_open, h->pid, 0) : -1;
	if (pidfd < 0 || file_read(AT_FDCWD, path, MAPS_MAX, &maps) < 0)
		return;
	for (char *line = maps.data, *next; line && *line; line = next) {
		unsigned long begin, end, inode;
		next = strchr(line, '\n');
		next = next ? next + 1 : NULL;
		if (sscanf(line, "%lx-%lx %*s %*x %*s %lu", &begin, &end, &inode) != 3 || !inode)
			continue;
		struct iovec range = { .iov_base = (void *) begin, .iov_len = end - begin };
		(void) syscall(SYS_process_madvise, pidfd, &range, 1, MADV_PAGEOUT, 0);
	}
}

static void started(Haproxy *h)
{
	AUTO_FREE char *from = xasprintf("%s/haproxy.cfg.new", h->dir);
	AUTO_FREE char *to = xasprintf("%s/haproxy.cfg", h->dir);
	(void) uv_timer_stop(h->timer);
	let_go(h);
	h->own = h->next;
	h->pid = child_pid(h->own->child);
	h->since = time_mono();
	h->next = NULL;
	(void) uv_timer_start(h->trim, trim, TRIM_MSEC, 0);
	if (rename(from, to) < 0)
		log_warning("%s: %s", to, strerror(errno));
	h->events.started(h->events.user);
}

static void on_info(void *user, const char *answer, const Err *err)
{
	Haproxy *h = user;
	ProxyInfo info;
	h->asked = false;
	if (h->next && answer && answer_info(answer, &info, NULL) == 0 && info.pid == child_pid(h->next->child))
		started(h);
}

static void look(uv_timer_t *t)
{
	Haproxy *h = t->data;
	AUTO_ERR err = ERR_INIT;
	if (time_mono() - h->next_since > START_MSEC * NSEC_PER_MSEC) {
		child_signal(h->next->child, SIGKILL);
		forget(&h->next);
		(void) err_set(&err, -ETIMEDOUT, "HAProxy does not answer %d s after its start", START_MSEC / 1000);
		start_failed(h, &err);
	} else if (!h->asked) {
		h->asked = true;
		runtime_api_send(h->api, "show info", on_info, h);
	}
}

int haproxy_start(Haproxy *h, const int fds[HAPROXY_FDS], Err *err)
{
	const char *program;
	AUTO_FREE char *config = xasprintf("%s/haproxy.cfg.new", h->dir);
	char old[12];
	ChildFd handed[HAPROXY_FDS];
	size_t n = 0;
	int r = haproxy_program(&program, err);
	if (r < 0)
		return r;
	pid_t before = h->pid ?: h->old;
	(void) snprintf(old, sizeof(old), "%d", (int) before);
	const char *const argv[] = { program, "-db", "-f", config, before ? "-sf" : NULL, old, NULL };
	for (int i = 0; i < HAPROXY_FDS; i++)
		if (fds[i] >= 0)
			handed[n++] = (ChildFd) { fds[i], HAPROXY_FD_HTTP4 + i };
	Process *p = xcalloc(1, sizeof(*p));
	p->h = h;
	r = child_spawn(h->loop, &(ChildOptions) { .argv = argv, .capture_max = OUTPUT_MAX, .exited = on_exit_of_child, .user = p, .fds = handed, .n_fds = n,
						   .new_session = true, .oom_score_adj = OOM_SCORE_ADJ }, &p->child, err);
	if (r < 0) {
		free(p);
		return err_wrap(err, "start HAProxy");
	}
	h->next = p;
	h->next_since = time_mono();
	(void) uv_timer_start(h->timer, look, READY_MSEC, READY_MSEC);
	return 0;
}

bool haproxy_starting(const Haproxy *h)
{
	return h->next != NULL;
}

pid_t haproxy_pid(const Haproxy *h)
{
	return h->pid;
}

RuntimeApi *haproxy_api(Haproxy *h)
{
	return h->api;
}

/* ── taking over ──────────────────────────────────────────────────── */

/* Blocks, with a bound: for the daemon's start only. */
static int ask(const Haproxy *h, const char *command, Buf *ret)
{
	const struct timeval patience = { .tv_sec = ASK_MSEC / 1000 };
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	AUTO_FREE char *line = xasprintf("%s\n", command);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void) snprintf(name.sun_path, sizeof(name.sun_path), "%s", h->socket);
	buf_clear(ret);
	if (fd < 0)
		return -errno;
	(void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (const void *) &name, sizeof(name)) < 0)
		return errno == ECONNREFUSED ? -ENOENT : -errno;
	if (send(fd, line, strlen(line), MSG_NOSIGNAL) != (ssize_t) strlen(line))
		return errno ? -errno : -EPIPE;
	for (ssize_t n; (n = recv(fd, buf_reserve(ret, 16384), 16384, 0)) != 0;) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf_added(ret, (size_t) n);
		if (ret->len > ANSWER_MAX)
			return -EFBIG;
	}
	return 0;
}

static int ask_map(const Haproxy *h, const char *what, const char *map, Buf *ret)
{
	AUTO_FREE char *command = xasprintf("%s %s/%s", what, h->dir, map);
	return ask(h, command, ret);
}

/* A certificate that the last daemon had set and not committed: HAProxy takes no other one before that is called off. */
static void end_transaction(const Haproxy *h)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_BUF answer = BUF_INIT;
	if (ask(h, "show ssl cert", &b) < 0)
		return;
	for (const char *line = buf_cstr(&b); *line; line += strcspn(line, "\n"), line += *line == '\n') {
		if (line[0] != '*')
			continue;
		AUTO_FREE char *file = xstrndup(line + 1, strcspn(line + 1, "\n"));
		AUTO_FREE char *command = xasprintf("abort ssl cert %s", file);
		(void) ask(h, command, &answer);
	}
}

static int read_state(const Haproxy *h, ProxyState **ret, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	int r = ask(h, "show backend", &b);
	if (r < 0)
		return err_errno(err, r, "ask HAProxy");
	size_t slots = answer_slots(buf_cstr(&b));
	if (!slots)
		return err_set(err, -EPROTO, "the running HAProxy has no slots");
	AUTO_PROXY_STATE *s = proxy_state_new(slots);
	r = ask(h, "show servers state", &b);
	if (r == 0)
		r = answer_servers(buf_cstr(&b), s, err);
	if (r == 0)
		r = ask_map(h, "show map", "slots.map", &b);
	if (r == 0)
		r = answer_slot_names(buf_cstr(&b), s, err);
	if (r == 0)
		r = ask_map(h, "show map", "routes.map", &b);
	if (r == 0)
		r = answer_routes(buf_cstr(&b), s, err);
	end_transaction(h);
	if (r == 0 && ask_map(h, "show ssl crt-list", "crt.list", &b) == 0)
		r = answer_certs(buf_cstr(&b), s, err);
	if (r < 0)
		return err && err->text ? r : err_errno(err, r, "ask HAProxy");
	*ret = steal_ptr(&s);
	return 0;
}

/* A pid may have been given to somebody else since: only the process behind the pidfd whose program is HAProxy counts. */
static int open_process(pid_t pid)
{
	AUTO_FREE char *path = xasprintf("/proc/%d/exe", (int) pid);
	char exe[256] = "";
	AUTO_CLOSE int fd = (int) syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return -errno;
	if (readlink(path, exe, sizeof(exe) - 1) <= 0 || !strstr(exe, "/haproxy"))
		return -ESRCH;
	return steal_fd(&fd);
}

static int watch_process(Haproxy *h, pid_t pid, int pidfd)
{
	uv_poll_t *p = xcalloc(1, sizeof(*p));
	int r = uv_poll_init(h->loop, p, pidfd);
	if (r < 0) {
		free(p);
		return r;
	}
	p->data = h;
	h->watch = p;
	h->pidfd = pidfd;
	h->pid = pid;
	h->since = time_mono();
	return uv_poll_start(p, UV_READABLE, on_pidfd);
}

static void take_fds(int pidfd, const struct sockaddr *const want[HAPROXY_LISTENERS], int fds[HAPROXY_FDS])
{
	for (int i = 0; i < HAPROXY_LISTENERS; i++)
		if (want[i])
			(void) listen_take(pidfd, HAPROXY_FD_HTTP4 + i, want[i], 0, &fds[i]);
	for (int i = HAPROXY_LISTENERS; i < HAPROXY_FDS; i++)
		fds[i] = (int) syscall(SYS_pidfd_getfd, pidfd, HAPROXY_FD_HTTP4 + i, 0);
}

int haproxy_adopt(Haproxy *h, const struct sockaddr *const want[HAPROXY_LISTENERS], ProxyState **ret_state, char ret_frame[65], int fds[HAPROXY_FDS], Err *err)
{
	AUTO_BUF b = BUF_INIT;
	ProxyInfo info;
	int r = ask(h, "show info", &b);
	if (r < 0)
		return r == -ENOENT ? r : err_errno(err, r, "ask the running HAProxy");
	r = answer_info(buf_cstr(&b), &info, err);
	if (r < 0)
		return r;
	AUTO_CLOSE int pidfd = open_process(info.pid);
	if (pidfd < 0)
		return err_errno(err, pidfd, "find the running HAProxy (pid %d)", (int) info.pid);
	take_fds(pidfd, want, fds);
	h->old = info.pid;
	r = read_state(h, ret_state, err);
	if (r < 0)
		return r;
	r = watch_process(h, info.pid, pidfd);
	if (r < 0)
		return err_errno(err, r, "watch HAProxy");
	(void) steal_fd(&pidfd);
	h->old = 0;
	(void) snprintf(ret_frame, 65, "%s", info.frame);
	return 0;
}

/* ── life ─────────────────────────────────────────────────────────── */

Haproxy *haproxy_new(uv_loop_t *loop, const char *dir, const HaproxyEvents *events)
{
	Haproxy *h = xcalloc(1, sizeof(*h));
	h->loop = loop;
	h->dir = xstrdup(dir);
	h->socket = xasprintf("%s/admin.sock", dir);
	h->events = *events;
	h->api = runtime_api_new(loop, h->socket);
	h->pidfd = -1;
	uv_timer_t **timers[] = { &h->timer, &h->finish, &h->trim };
	for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
		*timers[i] = xcalloc(1, sizeof(uv_timer_t));
		(void) uv_timer_init(loop, *timers[i]);
		(*timers[i])->data = h;
	}
	return h;
}

static void finish_over(uv_timer_t *t)
{
	Haproxy *h = t->data;
	if (h->pid)
		(void) kill(h->pid, SIGTERM);
}

void haproxy_quit(Haproxy *h, bool now)
{
	if (h->next) {
		child_signal(h->next->child, SIGTERM);
		forget(&h->next);
		(void) uv_timer_stop(h->timer);
	}
	if (h->old)
		(void) kill(h->old, SIGTERM);
	h->old = 0;
	if (!h->pid)
		return;
	(void) kill(h->pid, now ? SIGTERM : SIGUSR1);
	if (!now)
		(void) uv_timer_start(h->finish, finish_over, FINISH_MSEC, 0);
}

void haproxy_release(Haproxy *h)
{
	if (h->pid)
		(void) kill(h->pid, SIGUSR1);
}

void haproxy_free(Haproxy *h)
{
	if (!h)
		return;
	Process *processes[] = { h->next, h->own };
	for (size_t i = 0; i < ARRAY_SIZE(processes); i++) {
		if (processes[i])
			child_leave(processes[i]->child);
		free(processes[i]);
	}
	close_watch(h);
	runtime_api_free(h->api);
	uv_close((uv_handle_t *) h->timer, free_handle);
	uv_close((uv_handle_t *) h->finish, free_handle);
	uv_close((uv_handle_t *) h->trim, free_handle);
	free(h->dir);
	free(h->socket);
	free(h);
}
