// SPDX-License-Identifier: Apache-2.0
/*
 * A process in a container is started by stead-exec where that can do it, else by the OCI runtime's
 * `exec` (run/exec-spec.c decides and prepares what either reads). Both are children of the daemon that wait
 * for the command and end with its code; "the runtime" below is whichever it is. A memfd is its log: text in
 * it means that the runtime, and not the command, has failed, which the exit code alone cannot tell.
 *
 * With a terminal crun hands the container's pseudo terminal over through a socket (--console-socket), and
 * stays out of the way: where it copies itself, it may lose the last piece at the end. runc does that only when it
 * leaves; so the daemon holds an outer pseudo terminal for it, and runc copies between that and an inner one.
 * The outer one's size changes are told to runc by SIGWINCH, since it is nobody's controlling terminal.
 */
#include "run/exec.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/child.h"
#include "run/cgroup.h"
#include "run/exec-format.h"
#include "run/exec-spec.h"

#define CONSOLE_DIR_FD 5
#define READ_SIZE (16U << 10)
#define HELD_MAX (64U << 10)

typedef struct Stream {
	uv_pipe_t pipe; /* data: the Exec */
	bool open, reading;
	int number; /* 1 or 2; 0 = input */
} Stream;

struct Exec {
	ExecCallbacks cb;
	Child *child;
	Stream in, out, err; /* a terminal is `out`, for both directions */
	uv_poll_t console;   /* where crun will bring the terminal */
	int console_fd;      /* -1 = none, or it has come */
	char *console_name;
	Buf early;           /* input from before the terminal came */
	unsigned rows, cols;
	bool tty, paused, ending, close_in;
	bool direct; /* by stead-exec */
	bool inner; /* the terminal is the container's own */
	bool child_done;
	int open_handles;
	int log; /* the runtime's log */
	int code;
	pid_t runtime_pid;
	char *command;
	Buf held; /* stderr of which it is not known yet whether the runtime's own failure is in it */
	char buffer[READ_SIZE];
};

/* ── the runtime's process ────────────────────────────────────────── */

/* Its direct children: the command, once it was started; before, or for a moment beside it, what starts it. */
static size_t children_of(pid_t pid, pid_t *ret, size_t max)
{
	AUTO_FREE char *path = xasprintf("/proc/%d/task/%d/children", (int) pid, (int) pid);
	AUTO_BUF b = BUF_INIT;
	size_t n = 0;
	if (pid <= 0 || file_read(AT_FDCWD, path, 4096, &b) < 0)
		return 0;
	char *end;
	for (const char *p = buf_cstr(&b); n < max; p = end) {
		long child = strtol(p, &end, 10);
		if (end == p || child <= 1)
			break;
		ret[n++] = (pid_t) child;
	}
	return n;
}

static pid_t first_child(pid_t pid)
{
	pid_t child;
	return children_of(pid, &child, 1) ? child : 0;
}

/* What the runtime is started with. */
typedef struct Ends {
	int ours[3], theirs[3]; /* an outer terminal: ours[1] alone, theirs all the same */
	ExecInput in;
	int log;
	int console;            /* listening socket; -1 = none */
	int dir;                /* of the socket's name */
	char name[40];          /* in dir */
} Ends;

/* The runtime's exec leaves the command with its own, which is the daemon's, and that may be protected. */
static void set_oom_score(pid_t pid, int value)
{
	AUTO_FREE char *path = xasprintf("/proc/%d/oom_score_adj", (int) pid);
	AUTO_FREE char *text = xasprintf("%d", value);
	(void) file_write(AT_FDCWD, path, text, strlen(text), 0600);
}

static int spawn(uv_loop_t *loop, const ExecSpec *s, const Ends *x, ChildExitFn exited, void *user, Child **ret, Err *err)
{
	const Runtime *rt = s->runtime;
	static_assert(EXEC_FD_PROGRAM == 6, "as in the path");
	const char *const direct[] = { "/proc/self/fd/6", NULL };
	AUTO_FREE char *console = xasprintf("--console-socket=/proc/self/fd/5/%s", x->name);
	const char *argv[12] = { rt->path, "--root", rt->root, "--log", "/proc/self/fd/4", "exec", "--process", "/proc/self/fd/3" };
	size_t n_args = 8;
	if (x->console >= 0)
		argv[n_args++] = console;
	argv[n_args++] = s->paths->id;
	AUTO_STRV char **env = NULL;
	strv_add(&env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	if (rt->crun)
		strv_take(&env, xasprintf("STEAD_CRUN=%s", rt->crun));
	ChildFd map[8] = { { x->in.spec, EXEC_FD_SPEC }, { x->log, EXEC_FD_LOG } };
	size_t n = 2;
	if (x->in.direct) {
		map[n++] = (ChildFd) { x->in.init, EXEC_FD_INIT };
		map[n++] = (ChildFd) { rt->fd_exec, EXEC_FD_PROGRAM };
		if (x->in.seccomp >= 0)
			map[n++] = (ChildFd) { x->in.seccomp, EXEC_FD_SECCOMP };
	}
	if (x->console >= 0)
		map[n++] = (ChildFd) { x->dir, CONSOLE_DIR_FD };
	for (int i = 0; i < 3; i++)
		if (x->theirs[i] >= 0)
			map[n++] = (ChildFd) { x->theirs[i], i };
	ChildOptions o = {
		.argv = x->in.direct ? direct : argv, .env = env, .cwd = "/", .exited = exited, .user = user, .fds = map, .n_fds = n, .new_session = true,
	};
	int r = child_spawn(loop, &o, ret, err);
	if (r == 0 && !x->in.direct)
		set_oom_score(child_pid(*ret), x->in.oom_score_adj);
	return r < 0 ? err_wrap(err, "exec: start %s", x->in.direct ? "stead-exec" : rt->path) : 0;
}

/* The runtime's own error, NULL if it had none. The caller's. */
static char *read_log(int fd)
{
	char text[1024];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return NULL;
	text[n] = '\0';
	size_t end = strcspn(text, "\n");
	/* runc writes 'time="…" level=error msg="…"' */
	char *msg = strstr(text, "msg=\"");
	if (msg && msg < text + end) {
		msg += 5;
		if (end > 0 && text[end - 1] == '"')
			end--;
		return xstrndup(msg, (size_t) (text + end - msg));
	}
	return xstrndup(text, end);
}

/* Docker's exit codes and words for a command that could not be started. */
static char *explain(const char *log, const char *command, int *code)
{
	bool missing = strstr(log, "not found") || strstr(log, "o such file");
	bool denied = strstr(log, "ermission denied") || strstr(log, "not permitted");
	*code = missing ? 127 : 126;
	if (strstr(log, "does not exist") || strstr(log, "is not running") || strstr(log, "container not running"))
		return xasprintf("exec: the container is not running: %s", log);
	if (missing)
		return xasprintf("OCI runtime exec failed: exec failed: unable to start container process: exec: \"%s\": %s: unknown", command,
			strchr(command, '/') ? "no such file or directory" : "executable file not found in $PATH");
	if (denied)
		return xasprintf("OCI runtime exec failed: exec failed: unable to start container process: exec: \"%s\": permission denied: unknown", command);
	return xasprintf("OCI runtime exec failed: %s", log);
}

/* ── end ──────────────────────────────────────────────────────────── */

static void exec_free(Exec *e)
{
	if (e->log >= 0)
		(void) close(e->log);
	free(e->command);
	free(e->console_name);
	buf_done(&e->held);
	buf_done(&e->early);
	free(e);
}

static void stream_closed(uv_handle_t *h)
{
	Exec *e = h->data;
	if (--e->open_handles == 0 && e->ending)
		exec_free(e);
}

static void stream_close(Exec *e, Stream *s)
{
	if (!s->open)
		return;
	s->open = false;
	uv_close((uv_handle_t *) &s->pipe, stream_closed);
	(void) e;
}

static void console_closed(uv_handle_t *h)
{
	Exec *e = h->data;
	(void) close(e->console_fd);
	e->console_fd = -1;
	stream_closed(h);
}

static void console_close(Exec *e)
{
	if (e->console_fd < 0 || uv_is_closing((uv_handle_t *) &e->console))
		return;
	(void) unlink(e->console_name);
	uv_close((uv_handle_t *) &e->console, console_closed);
}

static void exec_maybe_end(Exec *e)
{
	if (e->ending || !e->child_done || e->out.open || e->err.open)
		return;
	e->ending = true;
	console_close(e);
	stream_close(e, &e->in);
	AUTO_FREE char *log = e->code != 0 ? read_log(e->log) : NULL;
	int code = e->code;
	if (!log && e->held.len && e->cb.output)
		e->cb.output(e->cb.user, 2, e->held.data, e->held.len);
	AUTO_FREE char *error = log ? explain(log, e->command, &code) : NULL;
	if (e->cb.exited)
		e->cb.exited(e->cb.user, code, error);
	memset(&e->cb, 0, sizeof(e->cb));
	if (e->open_handles == 0)
		exec_free(e);
}

/*
 * An OCI runtime writes its own failure to stderr, too, before it comes to its log. While no command runs
 * (not yet, or no more) stderr waits for the runtime's end, which is near in both cases.
 */
static bool command_runs(const Exec *e)
{
	if (e->direct)
		return true;
	pid_t child = e->child ? first_child(e->runtime_pid) : 0;
	AUTO_FREE char *path = xasprintf("/proc/%d/comm", (int) child);
	AUTO_BUF comm = BUF_INIT;
	return child > 0 && file_read(AT_FDCWD, path, 64, &comm) == 0 && !str_starts(buf_cstr(&comm), "crun") &&
		!str_starts(buf_cstr(&comm), "runc");
}

static void pass_on(Exec *e, const Stream *s, const char *data, size_t n)
{
	if (s->number == 2 && (e->held.len || !command_runs(e)) && e->held.len < HELD_MAX) {
		buf_append(&e->held, data, n);
		return;
	}
	if (s->number == 2 && e->held.len) {
		if (e->cb.output)
			e->cb.output(e->cb.user, 2, e->held.data, e->held.len);
		buf_clear(&e->held);
	}
	if (e->cb.output)
		e->cb.output(e->cb.user, s->number, data, n);
}

/* What is there to read now. */
static void drain(Exec *e, const Stream *s)
{
	uv_os_fd_t fd;
	ssize_t n;
	if (uv_fileno((const uv_handle_t *) &s->pipe, &fd) < 0)
		return;
	while ((n = read(fd, e->buffer, sizeof(e->buffer))) > 0)
		pass_on(e, s, e->buffer, (size_t) n);
}

static void console_accept(Exec *e);

static void exec_child_exited(void *user, const ChildExit *x)
{
	Exec *e = user;
	e->child_done = true;
	e->child = NULL;
	e->code = x->code >= 0 ? x->code : 128 + x->signal;
	/*
	 * An outer terminal was held by the runtime alone: its end comes, after all that is on its way. The container's
	 * own, and pipes, may be held by processes that the command has left in the background; the exec is over all
	 * the same, after what was written until now.
	 */
	if (e->tty && !e->inner) {
		exec_pause(e, false);
		exec_maybe_end(e);
		return;
	}
	/* The runtime may have ended before the terminal that it has sent was looked at. */
	if (e->console_fd >= 0)
		console_accept(e);
	Stream *const streams[] = { &e->out, &e->err };
	for (size_t i = 0; i < ARRAY_SIZE(streams); i++)
		if (streams[i]->open) {
			drain(e, streams[i]);
			stream_close(e, streams[i]);
		}
	exec_maybe_end(e);
}

/* ── streams ──────────────────────────────────────────────────────── */

static void stream_alloc(uv_handle_t *h, size_t want, uv_buf_t *b)
{
	Exec *e = h->data;
	(void) want;
	*b = uv_buf_init(e->buffer, sizeof(e->buffer));
}

static Stream *stream_of(Exec *e, const uv_stream_t *h)
{
	return h == (uv_stream_t *) &e->out.pipe ? &e->out : &e->err;
}

static void stream_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
	Exec *e = h->data;
	Stream *s = stream_of(e, h);
	if (n == 0)
		return;
	if (n < 0) {
		/*
		 * A terminal whose other side is closed gives EIO. libuv takes a hang-up for the end after a short read
		 * already, though a terminal may have more.
		 */
		drain(e, s);
		stream_close(e, s);
		exec_maybe_end(e);
		return;
	}
	pass_on(e, s, b->base, (size_t) n);
}

static void set_reading(Exec *e, Stream *s, bool on)
{
	if (!s->open || s->reading == on)
		return;
	s->reading = on;
	if (on)
		(void) uv_read_start((uv_stream_t *) &s->pipe, stream_alloc, stream_read);
	else
		(void) uv_read_stop((uv_stream_t *) &s->pipe);
	(void) e;
}

void exec_pause(Exec *e, bool pause)
{
	e->paused = pause;
	set_reading(e, &e->out, !pause);
	set_reading(e, &e->err, !pause);
}

/* Takes ownership of fd. */
static int stream_open(Exec *e, uv_loop_t *loop, Stream *s, int fd, int number)
{
	(void) uv_pipe_init(loop, &s->pipe, 0);
	s->pipe.data = e;
	s->open = true;
	s->number = number;
	e->open_handles++;
	int r = uv_pipe_open(&s->pipe, fd);
	if (r < 0)
		(void) close(fd);
	return r;
}

/* Takes the terminal that crun brings, if it is there already. */
static void console_accept(Exec *e)
{
	if (e->out.open || e->console_fd < 0 || uv_is_closing((uv_handle_t *) &e->console))
		return;
	AUTO_CLOSE int conn = accept4(e->console_fd, NULL, NULL, SOCK_CLOEXEC);
	if (conn < 0)
		return;
	char byte[256], control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { byte, sizeof(byte) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	/* crun has connected in order to send at once: this does not wait. */
	ssize_t n = recvmsg(conn, &m, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return;
	int fd;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	console_close(e);
	(void) fcntl(fd, F_SETFL, O_NONBLOCK);
	if (stream_open(e, e->console.loop, &e->out, fd, 1) < 0)
		return;
	e->inner = true;
	if (e->rows && e->cols)
		(void) exec_resize(e, e->rows, e->cols);
	if (!e->paused)
		set_reading(e, &e->out, true);
	if (e->early.len)
		(void) exec_write(e, e->early.data, e->early.len);
	buf_done(&e->early);
}

static void console_ready(uv_poll_t *h, int status, int events)
{
	(void) events;
	if (status == 0)
		console_accept(h->data);
}

typedef struct Write {
	uv_write_t req;
	Exec *e;
	char data[];
} Write;

static Stream *input_of(Exec *e)
{
	return e->tty ? &e->out : &e->in;
}

static void exec_written(uv_write_t *req, int status)
{
	Write *w = req->data;
	Exec *e = w->e;
	free(w);
	if (e->ending)
		return;
	Stream *s = input_of(e);
	bool empty = !s->open || s->pipe.write_queue_size == 0;
	if (status < 0 && !e->tty)
		stream_close(e, s); /* the command has closed its input */
	else if (empty && e->close_in && !e->tty)
		stream_close(e, s);
	if (empty && e->cb.drained)
		e->cb.drained(e->cb.user);
}

ssize_t exec_write(Exec *e, const void *p, size_t n)
{
	Stream *s = input_of(e);
	if (!s->open && e->console_fd >= 0 && !e->ending) {
		buf_append(&e->early, p, n);
		return (ssize_t) e->early.len;
	}
	if (!s->open || e->ending || e->close_in)
		return -EPIPE;
	Write *w = xmalloc(sizeof(*w) + n);
	memcpy(w->data, p, n);
	w->e = e;
	w->req.data = w;
	uv_buf_t b = uv_buf_init(w->data, (unsigned) n);
	int r = uv_write(&w->req, (uv_stream_t *) &s->pipe, &b, 1, exec_written);
	if (r < 0) {
		free(w);
		return r;
	}
	return (ssize_t) s->pipe.write_queue_size;
}

void exec_close_stdin(Exec *e)
{
	if (e->tty || !e->in.open || e->close_in)
		return;
	e->close_in = true;
	if (e->in.pipe.write_queue_size == 0)
		stream_close(e, &e->in);
}

/* ── start ────────────────────────────────────────────────────────── */

static void ends_done(Ends *x)
{
	for (int i = 0; i < 3; i++) {
		if (x->ours[i] >= 0)
			(void) close(x->ours[i]);
		if (x->theirs[i] >= 0)
			(void) close(x->theirs[i]);
	}
	exec_input_done(&x->in);
	int *const fds[] = { &x->log, &x->console, &x->dir };
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (*fds[i] >= 0)
			(void) close(*fds[i]);
}

/* A listening socket in the bundle, named through the directory's descriptor: its path is too long for an address. */
static int open_console(const ExecSpec *s, Ends *x)
{
	char rnd[13];
	hex_random(6, rnd);
	(void) snprintf(x->name, sizeof(x->name), "console-%s", rnd);
	x->dir = open(s->paths->bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (x->dir < 0)
		return -errno;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	(void) snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/%s", x->dir, x->name);
	if (bind(fd, (struct sockaddr *) &sa, sizeof(sa)) < 0 || listen(fd, 1) < 0) {
		int r = -errno;
		(void) close(fd);
		return r;
	}
	x->console = fd;
	return 0;
}

static int open_pipes(const ExecSpec *s, Ends *x)
{
	const bool wanted[3] = { s->attach_stdin, s->attach_stdout, s->attach_stderr };
	for (int i = 0; i < 3; i++) {
		int p[2];
		if (!wanted[i])
			continue;
		if (pipe2(p, O_CLOEXEC) < 0)
			return -errno;
		x->ours[i] = p[i == 0];
		x->theirs[i] = p[i != 0];
		(void) fcntl(x->ours[i], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

static int open_terminal(const ExecSpec *s, Ends *x)
{
	struct winsize size = { .ws_row = (unsigned short) s->rows, .ws_col = (unsigned short) s->cols };
	struct termios raw = { 0 };
	cfmakeraw(&raw);
	raw.c_cflag |= CREAD;
	int master, slave;
	if (openpty(&master, &slave, NULL, &raw, s->rows && s->cols ? &size : NULL) < 0)
		return -errno;
	(void) fcntl(master, F_SETFD, FD_CLOEXEC);
	(void) fcntl(slave, F_SETFD, FD_CLOEXEC);
	(void) fcntl(master, F_SETFL, O_NONBLOCK);
	x->ours[1] = master;
	x->theirs[0] = slave;
	x->theirs[1] = fcntl(slave, F_DUPFD_CLOEXEC, 3);
	x->theirs[2] = fcntl(slave, F_DUPFD_CLOEXEC, 3);
	return x->theirs[1] < 0 || x->theirs[2] < 0 ? -errno : 0;
}

static int open_streams(const ExecSpec *s, Ends *x)
{
	x->log = memfd_create("log", MFD_CLOEXEC);
	if (x->log < 0)
		return -errno;
	if (!s->tty)
		return open_pipes(s, x);
	return s->runtime->flavour == RUNTIME_CRUN ? open_console(s, x) : open_terminal(s, x);
}

int exec_start(uv_loop_t *loop, const ExecSpec *s, const ExecCallbacks *cb, Exec **ret, Err *err)
{
	__attribute__((cleanup(ends_done))) Ends x = { { -1, -1, -1 }, { -1, -1, -1 }, .in = EXEC_INPUT_INIT, .log = -1, .console = -1, .dir = -1 };
	cgroup_prewarm(s->runtime);
	int r = exec_input_make(s, &x.in, err);
	if (r < 0)
		return r;
	r = open_streams(s, &x);
	if (r < 0)
		return err_errno(err, r, "exec: open the streams");
	Exec *e = xcalloc(1, sizeof(*e));
	e->log = e->console_fd = -1;
	e->tty = s->tty;
	e->direct = x.in.direct;
	r = spawn(loop, s, &x, exec_child_exited, e, &e->child, err);
	if (r < 0) {
		if (x.console >= 0)
			(void) unlinkat(x.dir, x.name, 0);
		free(e);
		return r;
	}
	e->cb = *cb;
	e->log = steal_fd(&x.log);
	e->command = xstrdup(s->cmd[0]);
	e->runtime_pid = child_pid(e->child);
	e->rows = s->rows;
	e->cols = s->cols;
	Stream *const streams[] = { &e->in, &e->out, &e->err };
	for (int i = 0; i < 3; i++)
		if (x.ours[i] >= 0)
			(void) stream_open(e, loop, streams[i], steal_fd(&x.ours[i]), i);
	if (x.console >= 0) {
		e->console_fd = steal_fd(&x.console);
		e->console_name = xasprintf("%s/%s", s->paths->bundle, x.name);
		e->console.data = e;
		e->open_handles++;
		(void) uv_poll_init(loop, &e->console, e->console_fd);
		(void) uv_poll_start(&e->console, UV_READABLE, console_ready);
	}
	exec_pause(e, false);
	*ret = e;
	return 0;
}

int exec_resize(Exec *e, unsigned rows, unsigned cols)
{
	uv_os_fd_t fd;
	e->rows = rows;
	e->cols = cols;
	if (e->console_fd >= 0 && !e->out.open)
		return 0; /* set when the terminal comes */
	if (!e->tty || !e->out.open || uv_fileno((uv_handle_t *) &e->out.pipe, &fd) < 0)
		return -ENOTTY;
	struct winsize size = { .ws_row = (unsigned short) rows, .ws_col = (unsigned short) cols };
	if (ioctl(fd, TIOCSWINSZ, &size) < 0)
		return -errno;
	if (e->child && !e->inner)
		(void) kill(e->runtime_pid, SIGWINCH);
	return 0;
}

pid_t exec_pid(const Exec *e)
{
	return e->child ? first_child(e->runtime_pid) : 0;
}

void exec_kill(Exec *e, int sig)
{
	pid_t children[4];
	size_t n = e->child ? children_of(e->runtime_pid, children, ARRAY_SIZE(children)) : 0;
	for (size_t i = 0; i < n; i++)
		(void) kill(children[i], sig);
	if (n == 0 && e->child && sig == SIGKILL)
		child_signal(e->child, sig);
}

void exec_abort(Exec *e)
{
	if (e->child)
		child_signal(e->child, SIGKILL);
}
