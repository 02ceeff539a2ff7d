// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: for each machine there is one ssh child and one thread, which owns the Mux on the child's pipes. The rest of the
 * program, which blocks as it likes, sees a socketpair for each connection; its other end goes to the thread through `control`.
 * When the link ends, the thread finds out why, writes that down under the lock, and only then closes the sockets: whoever
 * then reads the end of file (http-client.c) asks ssh_lost and finds the reason.
 *
 * An interrupt must not end the child, or Ctrl-C would cut the connection that is needed to call the operation off (ssh-child.h); with us
 * it ends, and then the other side's dial-stdio reads the end of its input.
 */
#include "cli/ssh.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/dial-stdio.h"
#include "cli/ssh-child.h"
#include "cli/ssh-error.h"
#include "io/mux.h"

#define TICK_MS 15000
#define TICKS 4
#define ERRORS_MAX (16U << 10)           /* of what ssh says, the last is kept */
#define EXIT_PATIENCE (5 * NSEC_PER_SEC) /* for an ssh whose output has ended to end itself */

typedef struct Refusal {
	uint32_t channel;
	char *text;
} Refusal;

typedef struct Ssh {
	struct Ssh *next;
	char *url;
	HostAddress address;
	SshChild child;
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
	bool past;   /* ssh_try_again: the next connection is to be by another ssh */
	Err failure; /* for every connection from then on */
	Refusal *refusals; /* connections that the other side could not make */
	size_t n_refusals;
} Ssh;

static Ssh *all;
static bool never_ask;

/* ---- the thread ---- */

static void hear(Ssh *s)
{
	char p[4096];
	ssize_t n = read(s->child.errors, p, sizeof(p));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		(void) close(steal_fd(&s->child.errors));
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
		struct pollfd extra[2] = { { .fd = s->control_thread }, { .fd = s->child.errors } };
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
	while (s->child.errors >= 0) {
		int64_t left = until - time_mono();
		struct pollfd p = { .fd = s->child.errors, .events = POLLIN };
		if (left <= 0 || poll(&p, 1, (int) (left / NSEC_PER_MSEC) + 1) == 0)
			return;
		hear(s);
	}
}

static void find_reason(Ssh *s, const Err *broken, Err *ret)
{
	bool own = broken->code != 0;
	(void) close(steal_fd(&s->child.out)); /* lets an ssh end that waits for us */
	if (!own)
		hear_out(s);
	int status = ssh_child_reap(&s->child, own ? 0 : EXIT_PATIENCE);
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
	const int fds[] = { s->control, s->control_thread };
	ssh_child_done(&s->child);
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
	static const char *const command[] = { "stead", "dial-stdio", NULL };
	static const char *const quiet[] = { "-o", "BatchMode=yes", "-o", "ConnectTimeout=3", NULL };
	int control[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0)
		return err_errno(err, -errno, "a socket for ssh");
	s->control = control[0];
	s->control_thread = control[1];
	int r = ssh_child_start(&s->address, s->url, never_ask ? quiet : NULL, command, &s->child, err);
	if (r < 0)
		return r;
	const MuxOptions o = { .in = s->child.in, .out = s->child.out, .client = true, .tick_ms = TICK_MS, .ticks = TICKS, .greeted = on_greeted, .refused = on_refused,
		.user = s };
	json_t *greeting = dial_greeting(s->address.path);
	r = mux_new(&o, greeting, &s->mux, err);
	json_decref(greeting);
	if (r == 0 && (r = start_thread(s)) < 0)
		(void) err_errno(err, r, "a thread for ssh");
	return r;
}

static int find_or_start(const HostAddress *a, const char *url, Ssh **ret, Err *err)
{
	for (Ssh *s = all; s; s = s->next)
		if (str_eq(s->url, url) && !s->past) {
			*ret = s;
			return 0;
		}
	Ssh *s = xcalloc(1, sizeof(*s));
	*s = (Ssh) { .url = xstrdup(url), .child = SSH_CHILD_INIT, .control = -1, .control_thread = -1 };
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

void ssh_never_ask(void)
{
	never_ask = true;
}

void ssh_try_again(void)
{
	for (Ssh *s = all; s; s = s->next) {
		(void) pthread_mutex_lock(&s->lock);
		s->past = s->over;
		(void) pthread_mutex_unlock(&s->lock);
	}
}

void ssh_close_all(void)
{
	for (Ssh *s; (s = all);) {
		all = s->next;
		(void) shutdown(s->control, SHUT_RDWR);
		(void) pthread_join(s->thread, NULL);
		/* Nothing is on its way that anybody waits for, and a round trip for a polite end would be waited for. */
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
		(void) close(p[0]);
		(void) close(p[1]);
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

static int await(void *user, Err *err)
{
	Ssh *s = ((const SshClient *) user)->ssh;
	int r = 0;
	(void) pthread_mutex_lock(&s->lock);
	while (!s->greeted && !s->over)
		(void) pthread_cond_wait(&s->changed, &s->lock);
	if (!s->greeted)
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
	const HttpTransport t = { .dial = dial, .wait = await, .lost = lost, .done = free, .user = c };
	return http_client_open(&t, ret, err);
}
