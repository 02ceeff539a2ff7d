// SPDX-License-Identifier: Apache-2.0
#include "daemon/restart.h"

#include "base/time.h"
#include "daemon/container.h"

#define BACKOFF_FIRST (100 * NSEC_PER_MSEC)
#define BACKOFF_MAX (60 * NSEC_PER_SEC)
#define GOOD_RUN (10 * NSEC_PER_SEC)

static bool policy_wants(const Container *c)
{
	switch (c->svc.restart) {
	case RESTART_NO:
		return false;
	case RESTART_ALWAYS:
	case RESTART_UNLESS_STOPPED:
		return !c->svc.restart_max || c->restart_tries < c->svc.restart_max;
	case RESTART_ON_FAILURE:
		return c->exit_code != 0 && (!c->svc.restart_max || c->restart_tries < c->svc.restart_max);
	}
	return false;
}

void restart_decide(Container *c)
{
	int64_t good = c->svc.restart_window >= 0 ? c->svc.restart_window : GOOD_RUN;
	if (c->started_mono && time_mono() - c->started_mono >= good) {
		c->restart_delay = 0;
		c->restart_tries = 0;
	}
	if (!c->wanted_running || c->ask_remove || !policy_wants(c))
		return;
	c->restarting = true;
}

static void due(uv_timer_t *t)
{
	Container *c = t->data;
	c->restart_tries++;
	c->restart_count++;
	c->ask_start = true;
	ctr_start(c);
}

void restart_schedule(Container *c)
{
	int64_t wait = c->svc.restart_delay;
	if (wait < 0) {
		c->restart_delay = c->restart_delay ? c->restart_delay * 2 : BACKOFF_FIRST;
		if (c->restart_delay > BACKOFF_MAX)
			c->restart_delay = BACKOFF_MAX;
		wait = c->restart_delay;
	}
	ctr_timer_start(c, &c->restart_timer, due, time_timer_msec(wait));
}

bool restart_is_due(const Container *c)
{
	return c->restarting;
}

void restart_cancel(Container *c)
{
	c->restarting = false;
	ctr_timer_stop(&c->restart_timer);
}

bool restart_after_boot(const Container *c)
{
	if (c->svc.restart == RESTART_ALWAYS)
		return true;
	if (!c->wanted_running)
		return false;
	/* A start that the daemon's own end cut off was wanted, whatever the policy. */
	if (c->phase == PHASE_CREATED)
		return true;
	return policy_wants(c);
}
