// SPDX-License-Identifier: Apache-2.0
#include "daemon/sim-private.h"

#include "base/mem.h"

SimOptions sim;

static unsigned random_state;

struct SimLater {
	uv_timer_t timer;
	void (*fn)(void *arg);
	void *arg;
	bool comes_anyway; /* while the daemon is closed, too */
	SimLater *next;
};

static SimLater *laters;

unsigned sim_random(unsigned n)
{
	random_state = random_state * 1103515245u + 12345u;
	return n ? (random_state >> 16) % n : 0;
}

static void later_closed(uv_handle_t *h)
{
	free(h->data);
}

static void later_unlink(SimLater *l)
{
	for (SimLater **p = &laters; *p; p = &(*p)->next)
		if (*p == l) {
			*p = l->next;
			return;
		}
}

static void later_due(uv_timer_t *t)
{
	SimLater *l = t->data;
	later_unlink(l);
	l->fn(l->arg);
	uv_close((uv_handle_t *) t, later_closed);
}

SimLater *sim_later(uv_loop_t *loop, void (*fn)(void *), void *arg, unsigned msec)
{
	SimLater *l = xcalloc(1, sizeof(*l));
	l->fn = fn;
	l->arg = arg;
	l->timer.data = l;
	l->next = laters;
	laters = l;
	(void) uv_timer_init(loop, &l->timer);
	(void) uv_timer_start(&l->timer, later_due, msec, 0);
	return l;
}

void sim_later_anyway(uv_loop_t *loop, void (*fn)(void *), void *arg, unsigned msec)
{
	sim_later(loop, fn, arg, msec)->comes_anyway = true;
}

static void later_cancel(SimLater *l)
{
	later_unlink(l);
	uv_close((uv_handle_t *) &l->timer, later_closed);
}

void sim_later_cancel(const SimLater *which)
{
	for (SimLater *l = laters; l; l = l->next)
		if (l == which) {
			later_cancel(l);
			return;
		}
}

void sim_reset(unsigned seed)
{
	sim_reboot();
	random_state = seed;
	sim = (SimOptions) { 0 };
}

void sim_reboot(void)
{
	sim_run_reset();
	sim_net_reset();
}

void sim_daemon_died(void)
{
	for (SimLater *l = laters, *next; l; l = next) {
		next = l->next;
		if (!l->comes_anyway)
			later_cancel(l);
	}
}

char *sim_compare(Daemon *d)
{
	char *text = sim_run_compare(d);
	return text ? text : sim_net_compare(d);
}
