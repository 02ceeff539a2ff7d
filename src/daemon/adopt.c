// SPDX-License-Identifier: Apache-2.0
/*
 * What a container was doing while no daemon looked. The row may be older than the truth by one write
 * delay, so it is only the beginning; conmon's files and /proc say what is.
 */
#include <errno.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/container.h"
#include "daemon/events.h"
#include "daemon/health.h"
#include "net/netns.h"
#include "run/container.h"

#define CREATING_TRIES 400 /* times 5 ms: conmon is alive, its runtime is not done yet */

static int probe(Container *c, ContainerState *st, Err *err)
{
	for (int i = 0; i < CREATING_TRIES; i++) {
		int r = container_probe(c->d->runtime, c->paths, st, err);
		if (r < 0)
			return err_wrap(err, "%s", c->name);
		if (st->status != CONTAINER_CREATING)
			return 0;
		(void) usleep(5000);
	}
	return 0;
}

static void delete_traces(Container *c)
{
	AUTO_ERR err = ERR_INIT;
	for (int i = 0; i < CREATING_TRIES; i++) {
		int r = container_delete(c->d->runtime, c->paths, &err);
		if (r < 0)
			log_warning("%s: %s", c->name, err_text(&err));
		if (r <= 0)
			break;
		(void) usleep(5000);
	}
	if (rootfs_unmount(c->paths, &err) < 0)
		log_warning("%s: %s", c->name, err_text(&err));
}

/* Its namespace, if there is one, is swept with all that no container claims. */
static void forget_network(Container *c)
{
	free_and_null(&c->netns);
	ctr_ports_free(c);
}

/* The row may be from before the start; what the start did can be read off the machine and the file. */
static void find_network(Container *c)
{
	AUTO_CLOSE int fd = -1;
	if (!c->netns && netns_open(c->d->o.run_dir, c->id, &fd, NULL) == 0)
		c->netns = netns_path(c->d->o.run_dir, c->id);
	for (size_t i = 0; c->netns && c->n_ports < c->svc.n_ports && i < c->svc.n_ports; i++) {
		const Port *p = &c->svc.ports[i];
		PublishedPort *mine = array_append(c->ports, c->n_ports);
		*mine = (PublishedPort) { .host_ip = xstrdup(p->host_ip), .host_port = p->published, .target = p->target,
			.protocol = xstrdup(p->protocol), .hold = -1 };
	}
}

static void adopt_running(Container *c, const ContainerState *st)
{
	AUTO_ERR err = ERR_INIT;
	find_network(c);
	c->phase = PHASE_RUNNING;
	c->pid = st->pid;
	c->paused = st->paused;
	if (!c->started_at)
		c->started_at = st->started_at;
	c->started_mono = time_mono() - (time_real() - c->started_at);
	if (ctr_watch(c, &err) < 0)
		log_error("%s: %s", c->name, err_text(&err));
	health_start(c, true);
}

static void adopt_ended(Container *c, const ContainerState *st)
{
	c->exit_code = st->exit_code;
	c->oom_killed = st->oom_killed;
	c->finished_at = st->finished_at ? st->finished_at : time_real();
	c->phase = PHASE_EXITED;
}

int ctr_adopt(Container *c, Err *err)
{
	ContainerState st = { 0 };
	bool was_running = c->phase == PHASE_RUNNING || c->phase == PHASE_STOPPING || c->phase == PHASE_STARTING;
	int r = probe(c, &st, err);
	if (r < 0)
		return r;
	switch (st.status) {
	case CONTAINER_RUNNING:
		adopt_running(c, &st);
		ctr_changed(c);
		return 0;
	case CONTAINER_EXITED:
	case CONTAINER_LOST:
		adopt_ended(c, &st);
		break;
	case CONTAINER_CREATED:
	case CONTAINER_CREATING:
		/* Never ran: as if the start had not begun. */
		c->phase = c->finished_at ? PHASE_EXITED : PHASE_CREATED;
		break;
	case CONTAINER_ABSENT:
		/* Gone without a trace while it ran: the machine went down. */
		if (was_running && c->started_at > c->finished_at) {
			c->exit_code = 137;
			c->finished_at = time_real();
		}
		if (c->phase != PHASE_CREATED || c->finished_at)
			c->phase = c->finished_at ? PHASE_EXITED : PHASE_CREATED;
		break;
	}
	c->pid = 0;
	c->paused = false;
	c->health_state = HEALTH_NONE;
	delete_traces(c);
	forget_network(c);
	if (was_running && c->phase == PHASE_EXITED) {
		char code[12];
		(void) snprintf(code, sizeof(code), "%d", c->exit_code);
		events_container_with(c, "die", "exitCode", code);
	}
	ctr_changed(c);
	return 0;
}
