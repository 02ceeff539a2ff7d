// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: posix_spawn does the vfork-like start, so that neither the size of the daemon nor
 * its number of descriptors matters; everything from close-on-exec pipes to the signal mask is set
 * by its file actions and attributes, nothing of ours runs in the child. The parent then holds a
 * pidfd in a uv_poll and one uv_poll for each captured output.
 *
 * Input goes through a memfd rather than a pipe: it is complete before the start, so there is no
 * writer to drive, no SIGPIPE when the child ignores it, and the child can reopen /dev/stdin (nft
 * does).
 *
 * Each child leads a process group (or session), so that a timeout reaches what it has started.
 * A child is over when it has been reaped and its outputs have ended. What it has left behind may
 * hold the outputs open for ever, so 100 ms after the exit they count as ended.
 */
#include "io/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

#define DRAIN_MS 100
#define READS_PER_TURN 16 /* a child that floods its output must not starve the loop */

extern char **environ;

typedef struct Output {
	uv_poll_t poll;
	int fd; /* -1 = not captured, or ended */
	Buf buf;
} Output;

struct Child {
	uv_loop_t *loop;
	pid_t pid;
	int pidfd;
	uv_poll_t exit_poll;
	uv_timer_t timer; /* the timeout; after the exit the drain time */
	Output out, errs;
	unsigned handles; /* not yet closed */
	size_t capture_max;
	ChildLineFn line;
	ChildExitFn exited;
	void *user;
	int status;
	bool reaped, done, forgotten, timed_out, new_session;
};

static void handle_closed(uv_handle_t *h)
{
	Child *c = h->data;
	if (--c->handles)
		return;
	buf_done(&c->out.buf);
	buf_done(&c->errs.buf);
	free(c);
}

static void output_close(Output *o)
{
	if (o->fd < 0)
		return;
	uv_close((uv_handle_t *) &o->poll, handle_closed);
	(void) close(o->fd);
	o->fd = -1;
}

/** Starts the closing of everything; the memory goes with the last handle. */
static void child_close(Child *c)
{
	output_close(&c->out);
	output_close(&c->errs);
	if (c->pidfd >= 0) {
		uv_close((uv_handle_t *) &c->exit_poll, handle_closed);
		(void) close(c->pidfd);
		c->pidfd = -1;
	}
	uv_close((uv_handle_t *) &c->timer, handle_closed);
}

static void child_kill_group(const Child *c)
{
	if (!c->reaped && kill(-c->pid, SIGKILL) < 0)
		(void) kill(c->pid, SIGKILL);
}

static void child_line(Child *c, const char *line, size_t n)
{
	if (!c->forgotten)
		c->line(c->user, line, n);
}

/** Hands out the complete lines, and at the end of the output the last one without a newline. */
static void output_lines(Child *c, bool ended)
{
	Buf *b = &c->out.buf;
	size_t start = 0;
	for (char *nl; start < b->len && (nl = memchr(b->data + start, '\n', b->len - start));) {
		size_t n = (size_t) (nl - (b->data + start));
		*nl = '\0';
		child_line(c, b->data + start, n);
		start += n + 1;
	}
	if (ended && start < b->len) {
		child_line(c, b->data + start, b->len - start);
		start = b->len;
	}
	buf_consume(b, start);
	if (b->len <= LIMIT_WORKER_LINE)
		return;
	buf_clear(b);
	buf_printf(&c->errs.buf, "a line of output was longer than %u bytes; the process was killed\n",
		   LIMIT_WORKER_LINE);
	child_kill_group(c);
}

static void output_add(Child *c, Output *o, const char *p, size_t n)
{
	if (c->forgotten)
		return;
	if (o == &c->out && c->line) {
		buf_append(&o->buf, p, n);
		output_lines(c, false);
		return;
	}
	size_t room = o->buf.len < c->capture_max ? c->capture_max - o->buf.len : 0;
	buf_append(&o->buf, p, n < room ? n : room);
}

static void child_finish(Child *c)
{
	if (c->done || !c->reaped || c->out.fd >= 0 || c->errs.fd >= 0)
		return;
	c->done = true;
	if (!c->forgotten) {
		Buf *e = &c->errs.buf;
		while (e->len && (e->data[e->len - 1] == '\n' || e->data[e->len - 1] == '\r'))
			e->data[--e->len] = '\0';
		ChildExit x = {
			.code = WIFEXITED(c->status) ? WEXITSTATUS(c->status) : -1,
			.signal = WIFSIGNALED(c->status) ? WTERMSIG(c->status) : 0,
			.output = c->line ? "" : buf_cstr(&c->out.buf),
			.output_len = c->line ? 0 : c->out.buf.len,
			.errors = buf_cstr(e),
			.timed_out = c->timed_out,
		};
		c->exited(c->user, &x);
	}
	child_close(c);
}

static void output_end(Child *c, Output *o)
{
	output_close(o);
	if (o == &c->out && c->line)
		output_lines(c, true);
}

static void on_output(uv_poll_t *poll, int status, int events)
{
	Child *c = poll->data;
	Output *o = poll == &c->out.poll ? &c->out : &c->errs;
	char p[16384];
	for (int i = 0; i < READS_PER_TURN; i++) {
		ssize_t n = read(o->fd, p, sizeof(p));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			output_end(c, o);
			child_finish(c);
			return;
		}
		output_add(c, o, p, (size_t) n);
		if ((size_t) n < sizeof(p))
			return;
	}
}

static void on_timer(uv_timer_t *timer)
{
	Child *c = timer->data;
	if (!c->reaped) {
		c->timed_out = true;
		child_kill_group(c);
		return;
	}
	if (c->out.fd >= 0)
		output_end(c, &c->out);
	if (c->errs.fd >= 0)
		output_end(c, &c->errs);
	child_finish(c);
}

static void on_exit_ready(uv_poll_t *poll, int status, int events)
{
	Child *c = poll->data;
	pid_t r;
	while ((r = waitpid(c->pid, &c->status, WNOHANG)) < 0 && errno == EINTR)
		;
	if (r == 0)
		return;
	if (r < 0) {
		/* Somebody else has reaped it, which only a bug of ours can do: the exit code is lost. */
		log_error("process %d: its exit code is lost: %s", (int) c->pid, strerror(errno));
		c->status = 255 << 8;
	}
	c->reaped = true;
	(void) uv_poll_stop(poll);
	(void) uv_timer_stop(&c->timer);
	if (c->out.fd >= 0 || c->errs.fd >= 0)
		(void) uv_timer_start(&c->timer, on_timer, DRAIN_MS, 0);
	child_finish(c);
}

/* ---- starting ---- */

typedef struct Spawn {
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int lowest;    /* sources lie at or above it, targets below */
	bool given[3]; /* 0, 1, 2 come from fds */
	int *dups;     /* sources that were moved out of the way of the targets */
	size_t n_dups;
} Spawn;

static void spawn_done(Spawn *s)
{
	for (size_t i = 0; i < s->n_dups; i++)
		(void) close(s->dups[i]);
	free(s->dups);
	(void) posix_spawn_file_actions_destroy(&s->actions);
	(void) posix_spawnattr_destroy(&s->attr);
}

/** The child gets `fd` as `as`. No source is a target of another, so the order of the actions is free. */
static int spawn_give(Spawn *s, int fd, int as)
{
	if (fd < s->lowest) {
		fd = fcntl(fd, F_DUPFD_CLOEXEC, s->lowest);
		if (fd < 0)
			return -errno;
		*array_append(s->dups, s->n_dups) = fd;
	}
	return -posix_spawn_file_actions_adddup2(&s->actions, fd, as);
}

static int spawn_null(Spawn *s, int as)
{
	return -posix_spawn_file_actions_addopen(&s->actions, as, "/dev/null", O_RDWR, 0);
}

static int spawn_input(Spawn *s, const ChildOptions *o)
{
	if (s->given[0])
		return 0;
	if (!o->input)
		return spawn_null(s, 0);
	AUTO_CLOSE int fd = memfd_create("input", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = fd_write_all(fd, o->input, o->input_len);
	if (r < 0)
		return r;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	/* Moved above the targets even if it is there already: this descriptor ends with the scope. */
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, s->lowest);
	if (moved < 0)
		return -errno;
	*array_append(s->dups, s->n_dups) = moved;
	return -posix_spawn_file_actions_adddup2(&s->actions, moved, 0);
}

static int spawn_output(Spawn *s, Child *c, Output *out, int as, bool capture)
{
	if (s->given[as])
		return 0;
	if (!capture)
		return spawn_null(s, as);
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	int r = uv_poll_init(c->loop, &out->poll, p[0]); /* makes it non-blocking */
	if (r < 0) {
		(void) close(p[0]);
		(void) close(p[1]);
		return r;
	}
	out->fd = p[0];
	out->poll.data = c;
	c->handles++;
	*array_append(s->dups, s->n_dups) = p[1];
	(void) uv_poll_start(&out->poll, UV_READABLE, on_output);
	return spawn_give(s, p[1], as);
}

static int spawn_attributes(Spawn *s, const ChildOptions *o)
{
	sigset_t all, none;
	sigfillset(&all);
	sigemptyset(&none);
	int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
		    (o->new_session ? POSIX_SPAWN_SETSID : POSIX_SPAWN_SETPGROUP);
	int r = posix_spawnattr_setsigmask(&s->attr, &none);
	if (!r)
		r = posix_spawnattr_setsigdefault(&s->attr, &all);
	if (!r)
		r = posix_spawnattr_setpgroup(&s->attr, 0);
	if (!r)
		r = posix_spawnattr_setflags(&s->attr, (short) flags);
	if (!r && o->cwd)
		r = posix_spawn_file_actions_addchdir_np(&s->actions, o->cwd);
	if (!r)
		r = posix_spawn_file_actions_addclosefrom_np(&s->actions, s->lowest);
	return -r;
}

static int spawn_prepare(Spawn *s, Child *c, const ChildOptions *o)
{
	s->lowest = 3;
	for (size_t i = 0; i < o->n_fds; i++) {
		if (o->fds[i].as < 3)
			s->given[o->fds[i].as] = true;
		if (o->fds[i].as >= s->lowest)
			s->lowest = o->fds[i].as + 1;
	}
	int r = 0;
	for (size_t i = 0; i < o->n_fds && r == 0; i++)
		r = spawn_give(s, o->fds[i].fd, o->fds[i].as);
	if (r == 0)
		r = spawn_input(s, o);
	if (r == 0)
		r = spawn_output(s, c, &c->out, 1, o->capture_max || o->line);
	if (r == 0)
		r = spawn_output(s, c, &c->errs, 2, o->capture_max);
	return r < 0 ? r : spawn_attributes(s, o);
}

static int spawn_error(int r, const ChildOptions *o, Err *err)
{
	const char *name = o->argv[0];
	if (o->cwd && access(o->cwd, X_OK) < 0)
		return err_errno(err, -errno, "cannot run '%s' in directory '%s'", name, o->cwd);
	if (r == -ENOENT)
		return err_set(err, r, "cannot run '%s': there is no such program; install it%s", name,
			       strchr(name, '/') ? "" : " or add its directory to PATH");
	return err_errno(err, r, "cannot run '%s'", name);
}

static void write_oom_score(pid_t pid, int value)
{
	char path[64], text[16];
	(void) snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int) pid);
	int n = snprintf(text, sizeof(text), "%d", value);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void) !write(fd, text, (size_t) n);
}

/** Begins to watch the running child; a child that cannot be watched is killed. */
static int child_watch(Child *c, const ChildOptions *o)
{
	int r = 0;
	int fd = (int) syscall(SYS_pidfd_open, c->pid, 0); /* close-on-exec by definition */
	if (fd < 0)
		r = -errno;
	else
		r = uv_poll_init(c->loop, &c->exit_poll, fd);
	if (r < 0) {
		if (fd >= 0)
			(void) close(fd);
		child_kill_group(c);
		while (waitpid(c->pid, &c->status, 0) < 0 && errno == EINTR)
			;
		c->reaped = true;
		return r;
	}
	c->pidfd = fd;
	c->exit_poll.data = c;
	c->handles++;
	(void) uv_poll_start(&c->exit_poll, UV_READABLE, on_exit_ready);
	if (o->timeout_ns > 0) {
		uv_update_time(c->timer.loop); /* it stands still while the loop works: the time would be shorter by that */
		(void) uv_timer_start(&c->timer, on_timer,
				      (uint64_t) ((o->timeout_ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC), 0);
	}
	return 0;
}

int child_spawn(uv_loop_t *loop, const ChildOptions *o, Child **ret, Err *err)
{
	Child *c = xcalloc(1, sizeof(*c));
	*c = (Child) { .loop = loop, .pidfd = -1, .out.fd = -1, .errs.fd = -1, .capture_max = o->capture_max,
		       .line = o->line, .exited = o->exited, .user = o->user, .new_session = o->new_session };
	(void) uv_timer_init(loop, &c->timer);
	c->timer.data = c;
	c->handles = 1;

	Spawn s = { .lowest = 3 };
	(void) posix_spawn_file_actions_init(&s.actions);
	(void) posix_spawnattr_init(&s.attr);
	int r = spawn_prepare(&s, c, o);
	if (r < 0) {
		r = err_errno(err, r, "cannot prepare to run '%s'", o->argv[0]);
		goto out;
	}
	r = -posix_spawnp(&c->pid, o->argv[0], &s.actions, &s.attr, (char *const *) o->argv,
			  o->env ? o->env : environ);
	if (r < 0) {
		r = spawn_error(r, o, err);
		goto out;
	}
	r = child_watch(c, o);
	if (r < 0) {
		r = err_errno(err, r, r == -ENOSYS ? "cannot watch '%s' (this needs Linux 5.3)" : "cannot watch '%s'", o->argv[0]);
		goto out;
	}
	if (o->oom_score_adj)
		write_oom_score(c->pid, o->oom_score_adj);
	if (ret)
		*ret = c;
out:
	spawn_done(&s);
	if (r < 0)
		child_close(c);
	return r;
}

pid_t child_pid(const Child *c)
{
	return c->pid;
}

void child_signal(Child *c, int sig)
{
	if (!c->reaped)
		(void) kill(c->new_session ? -c->pid : c->pid, sig);
}

void child_forget(Child *c)
{
	c->forgotten = true;
}

void child_leave(Child *c)
{
	c->forgotten = true;
	child_close(c);
}
