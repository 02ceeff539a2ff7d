// SPDX-License-Identifier: Apache-2.0
#include "cli/ssh-run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/ssh-child.h"
#include "cli/ssh-error.h"

#define ERRORS_MAX (64U << 10)
#define EXIT_SSH 255
#define EXIT_PATIENCE (5 * NSEC_PER_SEC)

/* A reader that has gone ends the command, whose exit code says why. */
static void feed(SshChild *c, const SshRun *r, size_t *sent)
{
	ssize_t n = write(c->out, (const char *) r->input + *sent, r->input_len - *sent);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	*sent = n < 0 ? r->input_len : *sent + (size_t) n;
	if (*sent == r->input_len)
		(void) close(steal_fd(&c->out));
}

/* Closes *fd at its end. */
static void take(int *fd, const SshRun *r, size_t max, Buf *kept)
{
	char p[16384];
	ssize_t n = read(*fd, p, sizeof(p));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		(void) close(steal_fd(fd));
		return;
	}
	size_t room = kept->len < max ? max - kept->len : 0;
	if (r && r->output)
		r->output(r->user, p, (size_t) n);
	else
		buf_append(kept, p, (size_t) n < room ? (size_t) n : room);
}

static int carry(SshChild *c, const SshRun *r, Buf *output, Buf *errors, Err *err)
{
	size_t sent = 0;
	int flags = fcntl(c->out, F_GETFL);
	if (flags < 0 || fcntl(c->out, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_errno(err, -errno, "the pipe to ssh");
	if (!r->input_len)
		(void) close(steal_fd(&c->out));
	while (c->in >= 0) {
		struct pollfd fds[] = { { c->in, POLLIN, 0 }, { c->errors, POLLIN, 0 }, { c->out, POLLOUT, 0 } };
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return err_errno(err, -errno, "poll");
		if (fds[2].revents)
			feed(c, r, &sent);
		if (fds[1].revents)
			take(&c->errors, NULL, ERRORS_MAX, errors);
		if (fds[0].revents)
			take(&c->in, r, r->output_max, output);
	}
	/* ssh's own last words; one that lives on in the background (ControlPersist) must not keep us. */
	int64_t until = time_mono() + EXIT_PATIENCE;
	while (c->errors >= 0 && time_mono() < until) {
		struct pollfd p = { .fd = c->errors, .events = POLLIN };
		if (poll(&p, 1, 100) > 0)
			take(&c->errors, NULL, ERRORS_MAX, errors);
	}
	return 0;
}

int ssh_run(const HostAddress *a, const char *url, const SshRun *r, Buf *ret_output, Buf *ret_errors, Err *err)
{
	AUTO(ssh_child_done) SshChild c = SSH_CHILD_INIT;
	const char *const command[] = { r->command, NULL };
	(void) signal(SIGPIPE, SIG_IGN);
	int e = ssh_child_start(a, url, r->options, command, &c, err);
	if (e < 0)
		return e;
	e = carry(&c, r, ret_output, ret_errors, err);
	if (e < 0)
		return e;
	int status = ssh_child_reap(&c, EXIT_PATIENCE);
	const SshEnd end = {
		.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
		.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
		.errors = buf_cstr(ret_errors),
	};
	return end.signal || end.code == EXIT_SSH ? ssh_explain(a, url, &end, err) : end.code;
}
