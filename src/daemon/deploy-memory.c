// SPDX-License-Identifier: Apache-2.0
/*
 * Two generations need more memory than one. What the new containers are going to take is known for what they reserve, and
 * otherwise taken from the old ones of the same service: an estimate from below, so that only what cannot go well is refused. A
 * service that stops first needs no more than it had.
 */
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "daemon/box.h"
#include "daemon/deploy-parts.h"
#include "run/cgroup.h"
#include "run/container.h"

/* Without what the kernel would give back. */
static int64_t used_by(const Container *c)
{
	CgroupStats st = { 0 };
	if (!ctr_is_running(c) || cgroup_stats(c->d->runtime, c->paths->cgroup, &st) < 0)
		return 0;
	return st.memory_usage > st.memory_cache ? (int64_t) (st.memory_usage - st.memory_cache) : 0;
}

/* Of one container; 0 = not known. `ret_old`: what the old ones would give back by stopping first. */
static int64_t need_of(const Deploy *dp, const DeployService *sv, int64_t *ret_old)
{
	int64_t most = 0;
	*ret_old = 0;
	for (char **id = sv->old; id && *id; id++)
		for (size_t i = 0; i < dp->d->n_containers; i++) {
			int64_t used = str_eq(dp->d->containers[i]->id, *id) ? used_by(dp->d->containers[i]) : 0;
			most = used > most ? used : most;
			*ret_old += used;
		}
	if (sv->svc->mem_reservation > most)
		most = sv->svc->mem_reservation;
	return sv->svc->mem_limit > 0 && sv->svc->mem_limit < most ? sv->svc->mem_limit : most;
}

/** Bytes that the new containers are going to take while the old ones are still there, and whose are the most. Needs dp->services. */
static int64_t deploy_memory_need(const Deploy *dp, const char **ret_most)
{
	int64_t sum = 0, most = 0;
	*ret_most = NULL;
	for (size_t i = 0; i < dp->n_services; i++) {
		const DeployService *sv = &dp->services[i];
		int64_t old = 0, need = sv->svc ? need_of(dp, sv, &old) * (int64_t) sv->n_numbers : 0;
		if (sv->stop_first)
			need = need > old ? need - old : 0;
		sum += need;
		if (need > most) {
			most = need;
			*ret_most = sv->name;
		}
	}
	return sum;
}

int deploy_memory_check(const Deploy *dp, Err *err)
{
	AUTO_BOX box = { 0 };
	const char *most;
	int64_t need = deploy_memory_need(dp, &most);
	box_read(dp->d->o.state_dir, &box);
	if (!need || !box.memory_free || need <= box.memory_free + box.swap_free)
		return 0;
	AUTO_FREE char *need_text = format_bytes(need), *free_text = format_bytes(box.memory_free + box.swap_free);
	return err_set(err, -ENOMEM, "the new containers are going to need about %s beside what runs, service '%s' the most of it, and %s are free; "
		"stop something, lower mem_reservation, or have it stop first (x-stead.deploy.order: stop-first)", need_text, most, free_text);
}
