// SPDX-License-Identifier: Apache-2.0
/*
 * Roles change here, and the rows with them: what is written is durable before anybody can notice the change, so that a daemon that
 * finds it knows what to put back.
 */
#include "base/mem.h"
#include "base/str.h"
#include "daemon/container.h"
#include "daemon/deploy-parts.h"
#include "daemon/events.h"
#include "daemon/health.h"
#include "daemon/network.h"
#include "daemon/stack.h"
#include "daemon/state.h"
#include "daemon/volume.h"

static Container *old_of(const Deploy *dp, const DeployService *sv, int number)
{
	for (size_t i = 0; i < dp->d->n_containers; i++)
		if (deploy_is_old(sv, dp->d->containers[i]) && dp->d->containers[i]->number == number)
			return dp->d->containers[i];
	return NULL;
}

/* A fixed address goes over to the candidate while the old container is stopped; putting back takes it back. */
static void lend_addresses(Container *c)
{
	for (size_t i = 0; c && i < c->n_endpoints; i++)
		if (c->endpoints[i].want_address)
			c->endpoints[i].address[0] = '\0';
}

static int make_candidate(Deploy *dp, DeployService *sv, int number, Container **ret, Err *err)
{
	AUTO_FREE char *usual = ctr_name(dp->s->name, sv->svc, number);
	AUTO_FREE char *name = xasprintf("%s-r%d", usual, dp->release.number);
	CtrSpec spec = {
		.model = dp->release.model,
		.svc = sv->svc,
		.number = number,
		.image_id = strv_env(dp->release.images, sv->name),
		.name = name,
		.role = ROLE_CANDIDATE,
		.release = dp->release.number,
		.old = old_of(dp, sv, number),
	};
	if (sv->stop_first)
		lend_addresses(old_of(dp, sv, number));
	int r = ctr_make(dp->s, &spec, ret, err);
	if (r < 0)
		return r;
	(*ret)->wanted_running = (*ret)->ask_start = true;
	return state_insert_container(*ret, err);
}

int deploy_make_candidates(Deploy *dp, DeployService *sv, Err *err)
{
	Container **made = xcalloc(sv->n_numbers + 1, sizeof(*made));
	int r = state_begin(dp->d, err);
	for (size_t i = 0; r == 0 && i < sv->n_numbers; i++)
		r = make_candidate(dp, sv, sv->numbers[i], &made[i], err);
	if (r == 0)
		r = state_commit(dp->d, err);
	else
		state_rollback(dp->d);
	for (size_t i = 0; i < sv->n_numbers; i++) {
		if (r < 0 && made[i]) {
			ctr_drop(made[i]);
		} else if (r == 0) {
			health_eager(made[i], true);
			ctr_changed(made[i]);
		}
	}
	free(made);
	return r;
}

static void retire(Deploy *dp, DeployService *sv)
{
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		Container *c = dp->d->containers[i];
		if (!deploy_is_old(sv, c) || c->role == ROLE_RETIRED)
			continue;
		c->revive = ctr_is_running(c) || c->restarting || c->ask_start;
		c->role = ROLE_RETIRED;
		c->serving = false;
		ctr_changed(c);
	}
}

static void tell_names(Deploy *dp, const DeployService *sv)
{
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		Container *c = dp->d->containers[i];
		if (deploy_has(dp, c) && str_eq(c->svc.name, sv->name))
			network_update_names(c);
	}
}

int deploy_retire_old(Deploy *dp, DeployService *sv, Err *err)
{
	retire(dp, sv);
	int r = state_write_dirty(dp->d, err);
	if (r == 0)
		tell_names(dp, sv);
	return r;
}

int deploy_switch(Deploy *dp, DeployService *sv, Err *err)
{
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		Container *c = dp->d->containers[i];
		if (!deploy_is_candidate(dp, sv, c))
			continue;
		c->serving = true;
		health_eager(c, false);
		ctr_changed(c);
	}
	return deploy_retire_old(dp, sv, err);
}

/* ── commit ───────────────────────────────────────────────────────── */

typedef struct Renamed {
	Container *c;
	CtrRole role;
	bool serving;
	char *name;
} Renamed;

static void note(Renamed **list, size_t *n, Container *c)
{
	Renamed *was = array_append(*list, *n);
	*was = (Renamed) { .c = c, .role = c->role, .serving = c->serving, .name = xstrdup(c->name) };
}

static int rename_container(Container *c, char *name, Err *err)
{
	free(c->name);
	c->name = name;
	return state_rename_container(c, err);
}

/* The old ones give up their names first, so that each name is one container's at every moment. */
static int write_roles(Deploy *dp, Renamed **was, size_t *n_was, Err *err)
{
	Daemon *d = dp->d;
	int r = 0;
	for (size_t i = 0; r == 0 && i < d->n_containers; i++) {
		Container *c = d->containers[i];
		const DeployService *sv = deploy_has(dp, c) ? deploy_service(dp, c->svc.name) : NULL;
		if (!sv || !deploy_is_old(sv, c))
			continue;
		note(was, n_was, c);
		c->role = ROLE_RETIRED;
		c->serving = false;
		c->dirty = true;
		r = rename_container(c, xasprintf("%s-old-%.12s", (*was)[*n_was - 1].name, c->id), err);
	}
	for (size_t i = 0; r == 0 && i < d->n_containers; i++) {
		Container *c = d->containers[i];
		const DeployService *sv = deploy_has(dp, c) ? deploy_service(dp, c->svc.name) : NULL;
		if (!sv || !deploy_is_candidate(dp, sv, c))
			continue;
		note(was, n_was, c);
		c->role = ROLE_CURRENT;
		c->dirty = true;
		r = rename_container(c, ctr_name(dp->s->name, &c->svc, c->number), err);
	}
	return r;
}

static void take_back(Renamed *was, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		was[i].c->role = was[i].role;
		was[i].c->serving = was[i].serving;
		free(was[i].c->name);
		was[i].c->name = steal_ptr(&was[i].name);
	}
}

int deploy_commit(Deploy *dp, Err *err)
{
	StackState *s = dp->s;
	Renamed *was = NULL;
	size_t n_was = 0;
	json_t *copy = stack_to_json(dp->release.model);
	Stack *model = NULL;
	int r = stack_from_json(copy, &model, NULL, err);
	json_decref(copy);
	if (r == 0)
		r = state_begin(dp->d, err);
	if (r < 0) {
		stack_free(model);
		return r;
	}
	r = write_roles(dp, &was, &n_was, err);
	if (r == 0)
		r = state_save_stack(s, model, err);
	if (r == 0)
		r = release_commit(dp->d, s->name, &dp->release, deploy_report_json(dp), err);
	if (r == 0)
		r = state_write_marked(dp->d, err);
	if (r == 0)
		r = state_commit(dp->d, err);
	else
		state_rollback(dp->d);
	if (r < 0) {
		take_back(was, n_was);
		stack_free(model);
	} else {
		stack_set_model(s, model);
		s->down = false;
	}
	for (size_t i = 0; i < n_was; i++) {
		if (r == 0 && was[i].role == ROLE_CANDIDATE)
			events_container(was[i].c, "rename");
		if (r == 0)
			network_update_names(was[i].c);
		ctr_changed(was[i].c);
		free(was[i].name);
	}
	free(was);
	return r;
}

void deploy_undo_objects(Deploy *dp)
{
	for (char **name = dp->release.new_networks; name && *name; name++)
		network_remove_by_name(dp->s, *name);
	for (char **name = dp->release.new_volumes; name && *name; name++)
		volume_remove_by_name(dp->s, *name);
}
