// SPDX-License-Identifier: Apache-2.0
/* A health probe is an exec whose output is kept up to a limit and whose time is bounded. */
#include <signal.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/time.h"
#include "run/exec.h"

struct ExecProbe {
	uv_timer_t timer; /* first: freed in its close callback */
	Exec *exec;
	ExecProbeFn done;
	void *user;
	bool timed_out;
	size_t n;
	char output[LIMIT_PROBE_OUTPUT];
};

static void probe_closed(uv_handle_t *h)
{
	free(h->data);
}

static void probe_output(void *user, int stream, const char *data, size_t n)
{
	ExecProbe *p = user;
	(void) stream;
	size_t room = sizeof(p->output) - p->n;
	if (n > room)
		n = room;
	memcpy(p->output + p->n, data, n);
	p->n += n;
}

static void probe_exited(void *user, int code, const char *error)
{
	ExecProbe *p = user;
	p->exec = NULL;
	if (error)
		probe_output(p, 2, error, strlen(error));
	(void) uv_timer_stop(&p->timer);
	if (p->done)
		p->done(p->user, p->timed_out ? -1 : code, p->timed_out, p->output, p->n);
	uv_close((uv_handle_t *) &p->timer, probe_closed);
}

static void probe_timeout(uv_timer_t *t)
{
	ExecProbe *p = t->data;
	p->timed_out = true;
	exec_kill(p->exec, SIGKILL);
	/* If the runtime hangs before there is a command, or its child is not to be found: the runtime itself goes next. */
	if (uv_timer_get_repeat(t) == 0)
		(void) uv_timer_start(t, probe_timeout, 200, 200);
	else
		exec_abort(p->exec);
}

int exec_probe(uv_loop_t *loop, const Runtime *rt, const ContainerPaths *paths, char *const *cmd, int64_t timeout_ns, ExecProbeFn done, void *user,
	ExecProbe **ret, Err *err)
{
	ExecProbe *p = xcalloc(1, sizeof(*p));
	ExecSpec s = { .runtime = rt, .paths = paths, .cmd = cmd, .attach_stdout = true, .attach_stderr = true };
	ExecCallbacks cb = { .output = probe_output, .exited = probe_exited, .user = p };
	p->done = done;
	p->user = user;
	int r = exec_start(loop, &s, &cb, &p->exec, err);
	if (r < 0) {
		free(p);
		return r;
	}
	p->timer.data = p;
	(void) uv_timer_init(loop, &p->timer);
	uv_update_time(loop); /* it stood still while this was started, and the time is the command's alone */
	(void) uv_timer_start(&p->timer, probe_timeout, time_timer_msec(timeout_ns), 0);
	*ret = p;
	return 0;
}

void exec_probe_cancel(ExecProbe *p)
{
	if (!p)
		return;
	p->done = NULL;
	if (p->exec) {
		exec_kill(p->exec, SIGKILL);
		exec_abort(p->exec);
	}
}
