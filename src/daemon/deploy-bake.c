// SPDX-License-Identifier: Apache-2.0
/*
 * What is watched after the switch beside ends and health checks (deploy.c): whether it still listens where its routes lead, which is sooner
 * seen than its end; errors that the edge counts; kills by the kernel that the container survives; memory that is about to run out.
 */
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/deploy-parts.h"
#include "daemon/edge.h"
#include "daemon/stack.h"
#include "io/probe.h"
#include "run/cgroup.h"
#include "run/container.h"

#define LOOK_PAUSE (100 * NSEC_PER_MSEC)
#define KNOCK_TIMEOUT (2 * NSEC_PER_SEC)
#define KNOCK_MISSES 2     /* in a row */
#define NEAR_LIMIT_LOOKS 10 /* in a row: a peak is not yet a lack */
#define NEAR_LIMIT 0.97

/* ── does it still listen? ────────────────────────────────────────── */

struct Knock {
	Deploy *dp;
	char id[65];
	uint16_t port;
	int misses;
	Probe *probe;
};

static Knock *knock_of(Deploy *dp, const Container *c)
{
	for (size_t i = 0; i < dp->n_knocks; i++)
		if (str_eq(dp->knocks[i]->id, c->id))
			return dp->knocks[i];
	Knock *k = xcalloc(1, sizeof(*k));
	k->dp = dp;
	(void) snprintf(k->id, sizeof(k->id), "%s", c->id);
	*array_append(dp->knocks, dp->n_knocks) = k;
	return k;
}

void deploy_bake_done(Deploy *dp)
{
	for (size_t i = 0; i < dp->n_knocks; i++) {
		probe_cancel(dp->knocks[i]->probe);
		free(dp->knocks[i]);
	}
	free_and_null(&dp->knocks);
	dp->n_knocks = 0;
}

static void knocked(void *user, const ProbeResult *r)
{
	Knock *k = user;
	k->probe = NULL;
	k->misses = r->err ? k->misses + 1 : 0;
	if (k->misses)
		stack_wake(k->dp->s);
}

static bool still_listens(Deploy *dp, DeployService *sv, Container *c)
{
	Knock *k = c->svc.n_routes ? knock_of(dp, c) : NULL;
	if (k && k->misses >= KNOCK_MISSES) {
		deploy_fail(dp, sv, c, "bake", "container %s does not listen on port %u any more", c->name, k->port);
		return false;
	}
	if (!k || k->probe || edge_route_port(c->d, &c->svc, c->image_id, c->svc.routes[0].port, &k->port, NULL) < 0)
		return true;
	ProbeOptions o = { .address = edge_container_address(c), .port = k->port, .timeout_ns = KNOCK_TIMEOUT };
	if (o.address)
		(void) probe_start(c->d->loop, &o, knocked, k, &k->probe, NULL);
	return true;
}

/* ── memory ───────────────────────────────────────────────────────── */

static bool watch_memory(Deploy *dp, DeployService *sv, Container *c, bool *ret_near)
{
	CgroupStats st = { 0 };
	if (cgroup_stats(c->d->runtime, c->paths->cgroup, &st) < 0)
		return true;
	if (st.oom_kills) {
		c->oom_killed = true;
		deploy_fail(dp, sv, c, "bake", "container %s: the kernel killed a process in it for lack of memory", c->name);
		return false;
	}
	uint64_t used = st.memory_usage > st.memory_cache ? st.memory_usage - st.memory_cache : 0;
	*ret_near = c->svc.mem_limit > 0 && (double) used >= NEAR_LIMIT * (double) c->svc.mem_limit;
	if (!*ret_near || sv->near_limit < NEAR_LIMIT_LOOKS)
		return true;
	deploy_fail(dp, sv, c, "bake", "container %s uses nearly all the memory that it may have; raise mem_limit", c->name);
	return false;
}

/* ── all of it ────────────────────────────────────────────────────── */

bool deploy_bake(Deploy *dp, DeployService *sv)
{
	if (sv->looked && time_mono() < sv->looked + LOOK_PAUSE) {
		deploy_wake_in(dp, sv->looked + LOOK_PAUSE - time_mono());
		return true;
	}
	bool any_near = false;
	sv->looked = time_mono();
	deploy_wake_in(dp, LOOK_PAUSE);
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		Container *c = dp->d->containers[i];
		uint64_t errors, requests;
		if (!deploy_is_candidate(dp, sv, c) || !ctr_is_running(c))
			continue;
		if (deploy_edge_errors(dp, sv, c, &errors, &requests)) {
			deploy_fail(dp, sv, c, "bake", "container %s: %llu of %llu requests ended in an error of the server (5xx); before the deploy it were %.1f %%",
				c->name, (unsigned long long) errors, (unsigned long long) requests, 100 * sv->errors_before);
			return false;
		}
		bool near = false;
		if (!still_listens(dp, sv, c))
			return false;
		if (!watch_memory(dp, sv, c, &near))
			return false;
		any_near = any_near || near;
	}
	sv->near_limit = any_near ? sv->near_limit + 1 : 0;
	return true;
}
