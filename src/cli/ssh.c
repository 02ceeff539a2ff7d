// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: for each machine there is one ssh child and one thread, which owns the Mux on the child's pipes. The rest of the
 * program, which blocks as it likes, sees a socketpair for each connection; its other end goes to the thread through `control`.
 * When the link ends, the thread finds out why, writes that down under the lock, and only then closes the sockets: whoever
 * then reads the end of file (http-client.c) asks ssh_lost and finds the reason.
 *
 * The child stays in our process group, so that ssh can ask for a password on the terminal; therefore it ignores what the
 * terminal sends to the group (ssh leaves ignored signals ignored), or Ctrl-C would cut the connection that is needed to call
 * the operation off. It dies with us (PR_SET_PDEATHSIG), even by kill -9; then the other side's dial-stdio reads the end of its input.
 */
#include "cli/ssh.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/dial-stdio.h"
#include "cli/ssh-error.h"
#include "io/mux.h"

#define TICK_MS 15000
#define TICKS 4
#define ERRORS_MAX (16U << 10)             /* of what ssh says, the last is kept */
#define EXIT_PATIENCE (5 * NSEC_PER_SEC)   /* for an ssh whose output has ended to end itself */
#define KILL_PATIENCE (2 * NSEC_PER_SEC)   /* for one that got SIGTERM */

typedef struct Refusal {
	uint32_t channel;
	char *text;
} Refusal;

typedef struct Ssh {
	struct Ssh *next;
	char *url;
	HostAddress address;
	pid_t pid, parent;
	int in, out, errors; /* our ends of the child's output, input and standard error */
	int control;         /* to the thread: the number of a descriptor, each a datagram */
	int control_thread;  /* its end */
	uint32_t opened;     /* channels so far: the thread opens them in this order */
	pthread_t thread;
	Buf said;            /* on standard error; the thread's */
	Mux *mux;            /* the thread's */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under the lock */
	bool greeted, over;
	Err failure; /* for every connection from then on */
	Refusal *refusals; /* connections that the other side could not make */
	size_t n_refusals;
} Ssh;

static Ssh *all;

/* ---- the child ---- */

static const char **make_argv(const HostAddress *a)
{
	static const char *const remote[] = { "stead", "dial-stdio", NULL };
	const char **argv = xcalloc(12, sizeof(*argv));
	size_t n = 0;
	argv[n++] = "ssh";
	argv[n++] = "-T";
	if (a->port) {
		argv[n++] = "-p";
		argv[n++] = a->port;
	}
	if (a->user) {
		argv[n++] = "-l";
		argv[n++] = a->user;
	}
	argv[n++] = "--";
	argv[n++] = a->host;
	for (size_t i = 0; remote[i]; i++)
		argv[n++] = remote[i];
	return argv;
}

/* Nothing but system calls: other threads may hold any lock. */
__attribute__((noreturn)) static void become_ssh(const Ssh *s, const char *const *argv, const int fds[3], int failed)
{
	static const int ignored[] = { SIGINT, SIGQUIT, SIGHUP };
	sigset_t none;
	(void) prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != s->parent)
		_exit(0);
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		(void) signal(ignored[i], SIG_IGN);
	(void) signal(SIGTERM, SIG_DFL);
	(void) signal(SIGPIPE, SIG_DFL);
	(void) sigemptyset(&none);
	(void) sigprocmask(SIG_SETMASK, &none, NULL);
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			_exit(0);
	(void) execvp(argv[0], (char *const *) argv);
	int e = errno;
	(void) !write(failed, &e, sizeof(e));
	_exit(0);
}

static void close_pair(const int p[2])
{
	for (int i = 0; i < 2; i++)
		if (p[i] >= 0)
			(void) close(p[i]);
}

/* Above 2: the child puts its own there. main() sees to it that 0, 1 and 2 are taken. */
static int start_child(Ssh *s, Err *err)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, errors[2] = { -1, -1 }, failed[2] = { -1, -1 };
	AUTO_FREE const char **argv = make_argv(&s->address);
	int r = 0, e = 0;
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(errors, O_CLOEXEC) < 0 || pipe2(failed, O_CLOEXEC) < 0) {
		r = err_errno(err, -errno, "a pipe to ssh");
		goto out;
	}
	s->parent = getpid();
	s->pid = fork();
	if (s->pid < 0) {
		r = err_errno(err, -errno, "start ssh");
		goto out;
	}
	if (s->pid == 0) {
		const int fds[3] = { in[0], out[1], errors[1] };
		become_ssh(s, argv, fds, failed[1]);
	}
	(void) close(steal_fd(&failed[1]));
	while (read(failed[0], &e, sizeof(e)) < 0 && errno == EINTR)
		;
	if (e) {
		(void) waitpid(s->pid, NULL, 0);
		r = e == ENOENT ? err_set(err, -e, "%s: there is no ssh here; install it (apt install openssh-client)", s->url)
				: err_errno(err, -e, "%s: cannot run ssh", s->url);
		goto out;
	}
	s->out = steal_fd(&in[1]);
	s->in = steal_fd(&out[0]);
	s->errors = steal_fd(&errors[0]);
out:
	close_pair(in);
	close_pair(out);
	close_pair(errors);
	close_pair(failed);
	return r;
}

/* Waits for the child, first for `patience`, then after SIGTERM, then after SIGKILL. */
static int reap(const Ssh *s, int64_t patience)
{
	AUTO_CLOSE int pidfd = (int) syscall(SYS_pidfd_open, s->pid, 0);
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int status = 0;
	if (poll(&p, 1, (int) (patience / NSEC_PER_MSEC)) == 0) {
		(void) kill(s->pid, SIGTERM);
		if (poll(&p, 1, (int) (KILL_PATIENCE / NSEC_PER_MSEC)) == 0)
			(void) kill(s->pid, SIGKILL);
	}
	while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* ---- the thread ---- */

static void hear(Ssh *s)
{
	char p[4096];
	ssize_t n = read(s->errors, p, sizeof(p));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		(void) close(steal_fd(&s->errors));
		return;
	}
	buf_append(&s->said, p, (size_t) n);
	if (s->said.len > ERRORS_MAX)
		buf_consume(&s->said, s->said.len - ERRORS_MAX / 2);
}

static int on_greeted(void *user, const json_t *greeting, Err *err)
{
	Ssh *s = user;
	int r = dial_check_greeting(greeting, s->url, err);
	if (r < 0)
		return r;
	(void) pthread_mutex_lock(&s->lock);
	s->greeted = true;
	(void) pthread_cond_broadcast(&s->changed);
	(void) pthread_mutex_unlock(&s->lock);
	return 0;
}

static void on_refused(void *user, uint32_t channel, const char *text)
{
	Ssh *s = user;
	(void) pthread_mutex_lock(&s->lock);
	Refusal *f = array_append(s->refusals, s->n_refusals);
	*f = (Refusal) { channel, xasprintf("%s: %s", s->url, text) };
	(void) pthread_mutex_unlock(&s->lock);
}

/* false: we are to end. */
static bool take_orders(const Ssh *s, Mux *m)
{
	int fd;
	ssize_t n = recv(s->control_thread, &fd, sizeof(fd), MSG_DONTWAIT);
	if (n == sizeof(fd))
		(void) mux_open(m, fd);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Until the link or the program ends: true when the link has. */
static bool carry(Ssh *s, Err *err)
{
	for (;;) {
		struct pollfd extra[2] = { { .fd = s->control_thread }, { .fd = s->errors } };
		int r = mux_turn(s->mux, extra, ARRAY_SIZE(extra), err);
		if (extra[1].revents)
			hear(s);
		if (extra[0].revents && !take_orders(s, s->mux))
			return false;
		if (r <= 0)
			return true;
	}
}

/* The last words: ssh closes its output before it has said them. */
static void hear_out(Ssh *s)
{
	int64_t until = time_mono() + EXIT_PATIENCE;
	while (s->errors >= 0) {
		int64_t left = until - time_mono();
		struct pollfd p = { .fd = s->errors, .events = POLLIN };
		if (left <= 0 || poll(&p, 1, (int) (left / NSEC_PER_MSEC) + 1) == 0)
			return;
		hear(s);
	}
}

static void find_reason(Ssh *s, const Err *broken, Err *ret)
{
	bool own = broken->code != 0;
	(void) close(steal_fd(&s->out)); /* lets an ssh end that waits for us */
	if (!own)
		hear_out(s);
	int status = reap(s, own ? 0 : EXIT_PATIENCE);
	s->pid = -1;
	const SshEnd end = {
		.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
		.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
		.errors = buf_cstr(&s->said),
		.broken = own ? err_text(broken) : NULL,
		.greeted = mux_greeted(s->mux),
	};
	if (broken->code == -ENOTSUP) /* of another version: said already */
		(void) err_set(ret, -ENOTCONN, "%s", err_text(broken));
	else
		(void) ssh_explain(&s->address, s->url, &end, ret);
}

static void *run(void *user)
{
	Ssh *s = user;
	AUTO_ERR broken = ERR_INIT, reason = ERR_INIT;
	if (carry(s, &broken))
		find_reason(s, &broken, &reason);
	(void) pthread_mutex_lock(&s->lock);
	s->over = true;
	(void) err_move(&s->failure, &reason);
	(void) pthread_cond_broadcast(&s->changed);
	(void) pthread_mutex_unlock(&s->lock);
	mux_free(s->mux);
	s->mux = NULL;
	/* Descriptors that were on their way. */
	int fd;
	while (recv(s->control_thread, &fd, sizeof(fd), 0) == sizeof(fd))
		(void) close(fd);
	return NULL;
}

/* Signals are the main thread's. */
static int start_thread(Ssh *s)
{
	sigset_t every, old;
	(void) sigfillset(&every);
	(void) pthread_sigmask(SIG_SETMASK, &every, &old);
	int r = -pthread_create(&s->thread, NULL, run, s);
	(void) pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

/* ---- machines ---- */

static void ssh_free(Ssh *s)
{
	const int fds[] = { s->in, s->out, s->errors, s->control, s->control_thread };
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			(void) close(fds[i]);
	for (size_t i = 0; i < s->n_refusals; i++)
		free(s->refusals[i].text);
	free(s->refusals);
	free(s->url);
	host_address_done(&s->address);
	err_done(&s->failure);
	buf_done(&s->said);
	mux_free(s->mux);
	(void) pthread_mutex_destroy(&s->lock);
	(void) pthread_cond_destroy(&s->changed);
	free(s);
}

static int start(Ssh *s, Err *err)
{
	int control[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0)
		return err_errno(err, -errno, "a socket for ssh");
	s->control = control[0];
	s->control_thread = control[1];
	int r = start_child(s, err);
	if (r < 0)
		return r;
	const MuxOptions o = { .in = s->in, .out = s->out, .client = true, .tick_ms = TICK_MS, .ticks = TICKS, .greeted = on_greeted, .refused = on_refused,
		.user = s };
	json_t *greeting = dial_greeting(s->address.path);
	r = mux_new(&o, greeting, &s->mux, err);
	json_decref(greeting);
	if (r == 0 && (r = start_thread(s)) < 0)
		(void) err_errno(err, r, "a thread for ssh");
	if (r < 0)
		(void) reap(s, 0);
	return r;
}

static int find_or_start(const HostAddress *a, const char *url, Ssh **ret, Err *err)
{
	for (Ssh *s = all; s; s = s->next)
		if (str_eq(s->url, url)) {
			*ret = s;
			return 0;
		}
	Ssh *s = xcalloc(1, sizeof(*s));
	*s = (Ssh) { .url = xstrdup(url), .pid = -1, .in = -1, .out = -1, .errors = -1, .control = -1, .control_thread = -1 };
	s->address = (HostAddress) { true, xstrdup(a->user), xstrdup(a->host), xstrdup(a->port), xstrdup(a->path) };
	(void) pthread_mutex_init(&s->lock, NULL);
	(void) pthread_cond_init(&s->changed, NULL);
	int r = start(s, err);
	if (r < 0) {
		ssh_free(s);
		return r;
	}
	s->next = all;
	all = *ret = s;
	return 0;
}

void ssh_close_all(void)
{
	for (Ssh *s; (s = all);) {
		all = s->next;
		(void) shutdown(s->control, SHUT_RDWR);
		(void) pthread_join(s->thread, NULL);
		/* Nothing is on its way that anybody waits for, and a round trip for a polite end would be waited for. */
		if (s->pid > 0)
			(void) reap(s, 0);
		ssh_free(s);
	}
}

/* ---- connections ---- */

typedef struct SshClient {
	Ssh *ssh;
	uint32_t channel;
} SshClient;

static int dial(void *user, int *ret_fd, Err *err)
{
	SshClient *c = user;
	int p[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0)
		return err_errno(err, -errno, "a socket for ssh");
	if (send(c->ssh->control, &p[1], sizeof(p[1]), MSG_NOSIGNAL) != sizeof(p[1])) {
		int r = -errno;
		close_pair(p);
		return err_errno(err, r, "%s", c->ssh->url);
	}
	c->channel = ++c->ssh->opened;
	*ret_fd = p[0];
	return 0;
}

static int lost(void *user, Err *err)
{
	const SshClient *c = user;
	Ssh *s = c->ssh;
	int r = 0;
	(void) pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->n_refusals && r == 0; i++)
		if (s->refusals[i].channel == c->channel)
			r = err_set(err, -ENOTCONN, "%s", s->refusals[i].text);
	if (r == 0 && s->failure.code)
		r = err_set(err, s->failure.code, "%s", err_text(&s->failure));
	(void) pthread_mutex_unlock(&s->lock);
	return r;
}

int ssh_open(const HostAddress *a, const char *url, HttpClient **ret, Err *err)
{
	Ssh *s;
	int r = find_or_start(a, url, &s, err);
	if (r < 0)
		return r;
	SshClient *c = xcalloc(1, sizeof(*c));
	c->ssh = s;
	const HttpTransport t = { .dial = dial, .lost = lost, .done = free, .user = c };
	return http_client_open(&t, ret, err);
}

int ssh_wait(const char *url, Err *err)
{
	int r = 0;
	for (Ssh *s = all; s; s = s->next) {
		if (!str_eq(s->url, url))
			continue;
		(void) pthread_mutex_lock(&s->lock);
		while (!s->greeted && !s->over)
			(void) pthread_cond_wait(&s->changed, &s->lock);
		if (!s->greeted)
			r = err_set(err, s->failure.code, "%s", err_text(&s->failure));
		(void) pthread_mutex_unlock(&s->lock);
	}
	return r;
}
