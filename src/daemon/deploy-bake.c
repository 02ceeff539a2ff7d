// SPDX-License-Identifier: Apache-2.0
/*
 * What is watched after the switch beside ends and health checks (deploy.c): errors that the edge counts, kills by the kernel that
 * the container survives, memory that is about to run out.
 */
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/container.h"
#include "daemon/deploy-parts.h"
#include "run/cgroup.h"
#include "run/container.h"

#define LOOK_PAUSE (250 * NSEC_PER_MSEC)
#define NEAR_LIMIT_LOOKS 4 /* in a row: a peak is not yet a lack */
#define NEAR_LIMIT 0.97

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
		if (!watch_memory(dp, sv, c, &near))
			return false;
		any_near = any_near || near;
	}
	sv->near_limit = any_near ? sv->near_limit + 1 : 0;
	return true;
}
