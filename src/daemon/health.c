// SPDX-License-Identifier: Apache-2.0
#include "daemon/health.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/container.h"
#include "daemon/events.h"
#include "daemon/json.h"
#include "daemon/operation.h"
#include "run/exec.h"

#define EAGER_FIRST (50 * NSEC_PER_MSEC)
#define EAGER_LONGEST NSEC_PER_SEC

typedef struct HealthResult {
	int64_t start, end; /* real ns */
	int code;
	char *output;
} HealthResult;

struct Health {
	Container *c; /* NULL once the container has stopped: only the timer's close callback is left */
	uv_timer_t timer;
	ExecProbe *probe;
	int64_t probe_start;
	int failing;
	int64_t eager_wait; /* the next one */
	HealthResult log[LIMIT_PROBE_LOG];
	size_t n_log; /* ever */
};

static bool in_start_period(const Container *c)
{
	return c->health_state == HEALTH_STARTING && time_mono() - c->started_mono < c->check.start_period;
}

static bool is_eager(const Container *c)
{
	return c->eager && c->health_state != HEALTH_HEALTHY;
}

static void probe_due(uv_timer_t *t);

static void schedule(Health *h)
{
	Container *c = h->c;
	int64_t wait = in_start_period(c) ? c->check.start_interval : c->check.interval;
	if (is_eager(c)) {
		wait = h->eager_wait < wait ? h->eager_wait : wait;
		h->eager_wait = h->eager_wait * 2 < EAGER_LONGEST ? h->eager_wait * 2 : EAGER_LONGEST;
	}
	uv_update_time(c->d->loop);
	(void) uv_timer_start(&h->timer, probe_due, time_timer_msec(wait), 0);
}

static void set_state(Container *c, HealthState state)
{
	if (c->health_state == state)
		return;
	c->health_state = state;
	AUTO_FREE char *action = xasprintf("health_status: %s", health_state_name(state));
	events_container(c, action);
	if (state == HEALTH_HEALTHY)
		operation_report(daemon_stack(c->d, c->stack), "container", c->name, c->svc.name, "healthy");
	ctr_changed(c);
}

static void record(Health *h, int code, const char *output, size_t n)
{
	HealthResult *r = &h->log[h->n_log++ % LIMIT_PROBE_LOG];
	free(r->output);
	*r = (HealthResult) { .start = h->probe_start, .end = time_real(), .code = code, .output = xstrndup(output, n) };
}

static void judge(Health *h, int code)
{
	Container *c = h->c;
	if (code == 0) {
		h->failing = 0;
		set_state(c, HEALTH_HEALTHY);
		return;
	}
	if (in_start_period(c) || is_eager(c))
		return;
	h->failing++;
	if (h->failing >= c->check.retries)
		set_state(c, HEALTH_UNHEALTHY);
}

static void probed(void *user, int code, bool timed_out, const char *output, size_t n)
{
	Health *h = user;
	h->probe = NULL;
	if (timed_out) {
		AUTO_FREE char *took = format_duration(h->c->check.timeout);
		AUTO_FREE char *text = xasprintf("Health check exceeded timeout (%s)", took);
		record(h, -1, text, strlen(text));
	} else {
		record(h, code, output, n);
	}
	Container *c = h->c;
	judge(h, timed_out ? -1 : code);
	if (c->health == h)
		schedule(h);
}

static void probe_due(uv_timer_t *t)
{
	Health *h = t->data;
	Container *c = h->c;
	AUTO_ERR err = ERR_INIT;
	AUTO_STRV char **cmd = NULL;
	if (c->paused || c->phase != PHASE_RUNNING) {
		schedule(h);
		return;
	}
	if (str_eq(c->check.test[0], "CMD-SHELL")) {
		const Image *img = daemon_image_by_id(c->d, c->image_id);
		char *const *shell = img ? img->config.shell : NULL;
		for (; shell && *shell; shell++)
			strv_add(&cmd, *shell);
		if (!cmd) {
			strv_add(&cmd, "/bin/sh");
			strv_add(&cmd, "-c");
		}
	}
	for (char **arg = c->check.test + 1; *arg; arg++)
		strv_add(&cmd, *arg);
	h->probe_start = time_real();
	if (exec_probe(c->d->loop, c->d->runtime, c->paths, cmd, c->check.timeout, probed, h, &h->probe, &err) < 0)
		probed(h, -1, false, err_text(&err), strlen(err_text(&err)));
}

void health_start(Container *c, bool adopted)
{
	if (!c->check.test || c->check.disable || c->health)
		return;
	Health *h = xcalloc(1, sizeof(*h));
	h->c = c;
	h->eager_wait = EAGER_FIRST;
	h->timer.data = h;
	(void) uv_timer_init(c->d->loop, &h->timer);
	c->health = h;
	if (!adopted || c->health_state == HEALTH_NONE)
		c->health_state = HEALTH_STARTING;
	schedule(h);
}

void health_eager(Container *c, bool on)
{
	Health *h = c->health;
	if (c->eager == on)
		return;
	c->eager = on;
	if (!h)
		return;
	h->eager_wait = EAGER_FIRST;
	/* The one that runs schedules the next. */
	if (!h->probe)
		schedule(h);
}

static void closed(uv_handle_t *t)
{
	free(t->data);
}

void health_stop(Container *c)
{
	Health *h = c->health;
	if (!h)
		return;
	c->health = NULL;
	exec_probe_cancel(h->probe);
	for (size_t i = 0; i < LIMIT_PROBE_LOG; i++)
		free(h->log[i].output);
	uv_close((uv_handle_t *) &h->timer, closed);
}

const char *health_state_name(HealthState h)
{
	static const char *const names[] = {
		[HEALTH_NONE] = "none",
		[HEALTH_STARTING] = "starting",
		[HEALTH_HEALTHY] = "healthy",
		[HEALTH_UNHEALTHY] = "unhealthy",
	};
	return names[h];
}

json_t *health_json(const Container *c)
{
	if (!c->check.test || c->check.disable)
		return NULL;
	json_t *log = json_array();
	const Health *h = c->health;
	for (size_t i = h && h->n_log > LIMIT_PROBE_LOG ? h->n_log - LIMIT_PROBE_LOG : 0; h && i < h->n_log; i++) {
		const HealthResult *r = &h->log[i % LIMIT_PROBE_LOG];
		char start[TIME_TEXT_MAX], end[TIME_TEXT_MAX];
		json_array_append_new(log, json_pack("{s:s, s:s, s:i, s:o}", "Start", time_rfc3339(r->start, start), "End",
			time_rfc3339(r->end, end), "ExitCode", r->code, "Output", json_safe(r->output)));
	}
	return json_pack("{s:s, s:i, s:o}", "Status", health_state_name(c->health_state), "FailingStreak", h ? h->failing : 0, "Log", log);
}
