// SPDX-License-Identifier: Apache-2.0
/*
 * A RUN instruction as a container: the same runtime, bundle and protection as a service's, made from a Service that says what
 * the instruction may have. What is different is where its root comes from (directories that the worker names, run/build-root.h),
 * that nothing of it is in the store, and that its output goes to whoever builds instead of a log.
 *
 *   make ─▶ creating ─▶ running ─▶ ended and all output seen ─▶ deleted ─▶ (a shell, the same way once more) ─▶ answer
 */
#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/build-bundle.h"
#include "daemon/json.h"
#include "run/cgroup.h"

#define CLEAN_RETRY_MSEC 2

/* ── the end ──────────────────────────────────────────────────────── */

static void timer_closed(uv_handle_t *h)
{
	free(h);
}

static void step_free(BuildStep *s)
{
	if (s->timer)
		uv_close((uv_handle_t *) s->timer, timer_closed);
	container_watch_cancel(s->watch);
	attach_close(s->attach);
	build_bundle_close_agents(s);
	stubs_free(s->stubs);
	container_paths_done(&s->paths);
	service_done(&s->svc);
	free(s->mounts);
	strv_free(s->owned);
	strv_free(s->targets);
	free(s->hosts);
	free(s->resolv_conf);
	json_decref(s->request);
	err_done(&s->err);
	free(s);
}

static void answer(BuildStep *s)
{
	Builder *b = s->b;
	if (!s->killed)
		builder_answer(b, json_pack("{s:I, s:i, s:b, s:o, s:I}", "run", s->number, "exit", s->exit_code, "oom", s->oom, "error",
			s->err.code ? json_safe(err_text(&s->err)) : json_null(), "peak", (json_int_t) s->peak));
	builder_step_ended(b, s);
	step_free(s);
}

static void clean(BuildStep *s);

static void clean_again(uv_timer_t *t)
{
	clean(t->data);
}

static void clean_later(BuildStep *s)
{
	if (!s->timer) {
		s->timer = xcalloc(1, sizeof(*s->timer));
		(void) uv_timer_init(s->b->d->loop, s->timer);
		s->timer->data = s;
	}
	uv_update_time(s->b->d->loop);
	(void) uv_timer_start(s->timer, clean_again, CLEAN_RETRY_MSEC, 0);
}

static int start_shell(BuildStep *s);
static void tell_shell(BuildStep *s, const Err *err);

/* One has the terminal at a time. */
static bool wants_shell(const BuildStep *s)
{
	const Builder *b = s->b;
	bool free_terminal = true;
	for (size_t i = 0; i < b->n_steps; i++)
		free_terminal = free_terminal && !b->steps[i]->shell;
	return b->limits.shell && free_terminal && s->exit_code && !s->err.code && !s->killed;
}

/* Removes what runtime and conmon have left, then what was mounted. */
static void clean(BuildStep *s)
{
	AUTO_ERR err = ERR_INIT;
	int r = container_delete(s->b->d->runtime, &s->paths, &err);
	if (r > 0) {
		clean_later(s);
		return;
	}
	if (r < 0)
		log_warning("build: %s", err_text(&err));
	if (wants_shell(s) && start_shell(s) == 0)
		return;
	if (s->mounted)
		stubs_remove(steal_ptr(&s->stubs));
	if (container_bundle_remove(&s->paths, &err) < 0) {
		log_warning("build: %s", err_text(&err));
		/* Half a root must not become a layer. */
		if (!s->err.code)
			(void) err_set(&s->err, -EIO, "%s", err_text(&err));
	}
	build_place_leave(s->place);
	answer(s);
}

static void maybe_clean(BuildStep *s)
{
	if (s->ended && !s->attach && !s->creating)
		clean(s);
}

static void ended(void *user, const ContainerState *st)
{
	BuildStep *s = user;
	CgroupStats stats;
	s->watch = NULL;
	s->ended = true;
	if (!s->shell) {
		s->exit_code = st->exit_code;
		s->oom = st->oom_killed;
		if (cgroup_stats(s->b->d->runtime, s->paths.cgroup, &stats) == 0)
			s->peak = (int64_t) stats.memory_max_usage;
	}
	maybe_clean(s);
}

/* ── output ───────────────────────────────────────────────────────── */

static void output(void *user, int stream, const char *p, size_t n)
{
	BuildStep *s = user;
	Builder *b = s->b;
	if (!b->cancelled && b->front.output(b->front.user, s->step, stream, p, n))
		for (size_t i = 0; i < b->n_steps; i++)
			build_step_pause(b->steps[i], true);
}

static void output_closed(void *user)
{
	BuildStep *s = user;
	s->attach = NULL;
	maybe_clean(s);
}

void build_step_pause(BuildStep *s, bool pause)
{
	if (s->attach)
		attach_pause(s->attach, pause);
}

/* ── life ─────────────────────────────────────────────────────────── */

static void failed(BuildStep *s)
{
	container_watch_cancel(s->watch);
	s->watch = NULL;
	attach_close(s->attach);
	s->attach = NULL;
	s->ended = true;
	clean(s);
}

static int let_go(BuildStep *s, Err *err)
{
	Daemon *d = s->b->d;
	AttachCallbacks cb = { .output = output, .closed = output_closed, .user = s };
	if (!s->shell)
		stubs_made(s->stubs);
	int r = container_watch(d->loop, d->runtime, s->id, ended, s, &s->watch, err);
	if (r == 0)
		r = attach_open(d->loop, &s->paths, &cb, &s->attach, err);
	return r < 0 ? r : container_start(d->runtime, &s->paths, err);
}

static void created(void *user, int r, pid_t pid, const Err *err)
{
	BuildStep *s = user;
	AUTO_ERR e = ERR_INIT;
	s->creating = false;
	if (s->abandoned) {
		step_free(s);
		return;
	}
	if (r == 0 && !s->killed)
		r = let_go(s, &e);
	else if (r < 0)
		(void) err_set(&e, r, "%s", err_text(err));
	if (s->shell && !s->killed)
		tell_shell(s, r < 0 ? &e : NULL);
	else if (r < 0)
		(void) err_set(&s->err, r, "%s", err_text(&e));
	if (r < 0 || s->killed)
		failed(s);
}

static int create(BuildStep *s, Err *err)
{
	Daemon *d = s->b->d;
	ContainerOptions o = { .paths = &s->paths, .name = "build", .tty = s->svc.tty, .stdin_open = s->svc.stdin_open };
	s->creating = true;
	s->ended = false;
	int r = container_create(d->loop, d->runtime, &o, created, s, err);
	if (r < 0)
		s->creating = false;
	return r;
}

void build_step_kill(BuildStep *s)
{
	if (s->killed)
		return;
	s->killed = true;
	build_bundle_close_agents(s);
	attach_close(s->attach);
	s->attach = NULL;
	if (!s->creating && !s->ended)
		failed(s); /* deleting kills */
}

void build_step_abandon(BuildStep *s)
{
	AUTO_ERR err = ERR_INIT;
	Daemon *d = s->b->d;
	for (int i = 0; i < 100 && container_delete(d->runtime, &s->paths, &err) > 0; i++)
		(void) usleep(2000);
	(void) container_bundle_remove(&s->paths, &err);
	s->abandoned = true;
	build_bundle_close_agents(s);
	if (!s->creating) /* else when the word on it comes */
		step_free(s);
}

/* ── the start ────────────────────────────────────────────────────── */

void build_step_start(Builder *b, const json_t *request)
{
	BuildStep *s = xcalloc(1, sizeof(*s));
	s->b = b;
	s->number = json_integer_value(json_object_get(request, "run"));
	s->step = json_integer_value(json_object_get(request, "step"));
	s->request = json_deep_copy(request);
	hex_random(32, s->id);
	container_paths_init(b->d->runtime, s->id, &s->paths);
	*array_append(b->steps, b->n_steps) = s;
	if (build_bundle_make(s, &s->err) < 0 || create(s, &s->err) < 0)
		failed(s);
}

/* ── the shell ────────────────────────────────────────────────────── */

static void tell_shell(BuildStep *s, const Err *err)
{
	builder_event(s->b, err ? json_pack("{s:s, s:I, s:o}", "shell", "failed", "step", s->step, "error", json_safe(err_text(err))) :
		json_pack("{s:s, s:I}", "shell", "begins", "step", s->step));
}

/* In what the instruction has left, as the user and with the mounts that it had. */
static int start_shell(BuildStep *s)
{
	AUTO_ERR err = ERR_INIT;
	s->shell = true;
	strv_free(s->svc.entrypoint);
	s->svc.entrypoint = NULL;
	strv_add(&s->svc.entrypoint, "/bin/sh");
	s->svc.tty = s->svc.stdin_open = true;
	int r = build_bundle_write(s, &err);
	if (r == 0)
		r = create(s, &err);
	if (r < 0)
		tell_shell(s, &err);
	return r;
}

bool build_step_input(BuildStep *s, const void *p, size_t n)
{
	if (!s->shell || !s->attach)
		return false;
	(void) attach_write(s->attach, p, n);
	return true;
}

bool build_step_resize(BuildStep *s, unsigned rows, unsigned columns)
{
	if (!s->shell || !s->attach)
		return false;
	(void) container_resize(&s->paths, rows, columns, NULL);
	return true;
}
