// SPDX-License-Identifier: Apache-2.0
/*
 * Putting back. The stack's model is still the old one, so what is left is containers: old ones that were stopped are started again
 * and pass their health gate before anything leads to them, meanwhile the new ones go on serving as well as they can; then the new ones
 * go. Where both cannot be there (stop-first), the new ones go first, and the edge holds the requests.
 *
 * The same after the daemon's end at any moment: roles and `revive` are in the rows. The old ones are CURRENT again in the row at once, but
 * keep `revive` until the release's row says how it ended, so that a second crash finds the same.
 */
#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/container.h"
#include "daemon/deploy-parts.h"
#include "daemon/health.h"
#include "daemon/network.h"
#include "daemon/stack.h"
#include "daemon/state.h"

#define DRAIN_DEFAULT (30 * NSEC_PER_SEC)

static bool is_candidate_of(const Deploy *dp, const DeployService *sv, const Container *c)
{
	return c->role == ROLE_CANDIDATE && deploy_has(dp, c) && str_eq(c->svc.name, sv->name);
}

static bool is_old_of(const Deploy *dp, const DeployService *sv, const Container *c)
{
	return c->role == ROLE_CURRENT && deploy_has(dp, c) && str_eq(c->svc.name, sv->name) && c->revive;
}

static void drop_candidate(Container *c)
{
	c->serving = false;
	c->wanted_running = c->ask_start = c->ask_stop = false;
	c->ask_remove = c->remove_volumes = true;
	ctr_changed(c);
}

static void take_back_addresses(Container *c)
{
	for (size_t i = 0; i < c->n_endpoints; i++)
		if (c->endpoints[i].want_address)
			(void) snprintf(c->endpoints[i].address, sizeof(c->endpoints[i].address), "%s", c->endpoints[i].want_address);
}

static bool candidates_left(const Deploy *dp, const DeployService *sv)
{
	for (size_t i = 0; i < dp->d->n_containers; i++)
		if (is_candidate_of(dp, sv, dp->d->containers[i]))
			return true;
	return false;
}

void deploy_revert_begin(Deploy *dp)
{
	AUTO_ERR err = ERR_INIT;
	deploy_gates_free(dp);
	deploy_bake_done(dp);
	for (size_t i = 0; i < dp->n_services; i++) {
		DeployService *sv = &dp->services[i];
		bool touched = candidates_left(dp, sv);
		for (size_t k = 0; k < dp->d->n_containers; k++) {
			Container *c = dp->d->containers[k];
			if (!deploy_has(dp, c) || !str_eq(c->svc.name, sv->name))
				continue;
			if (c->role == ROLE_RETIRED) {
				touched = true;
				c->role = ROLE_CURRENT;
				c->ask_stop = false; /* one whose grace period runs already comes to its end first */
				ctr_changed(c);
			} else if (c->role == ROLE_CANDIDATE && (!c->serving || !ctr_is_running(c) || c->oneoff)) {
				drop_candidate(c);
			}
		}
		sv->told = touched ? "restore" : NULL;
		sv->begun = false;
		sv->since = sv->restore_since = time_mono();
		if (!touched)
			continue;
		deploy_edge_hold(dp, sv, true);
		deploy_report(dp, sv->name, "restore", "begin", -1, NULL);
	}
	if (state_write_dirty(dp->d, &err) < 0)
		log_error("stack %s: %s", dp->s->name, err_text(&err));
}

/* An old container is up and fit, or there is nothing to wait for. */
static bool is_restored(Deploy *dp, DeployService *sv, Container *c)
{
	const char *why = NULL;
	if (dp->no_restart)
		return true;
	if (!ctr_is_running(c) || c->phase == PHASE_STOPPING) {
		if (ctr_is_busy(c) || c->ask_start || c->restarting)
			return false;
		if (c->error || c->tried_again)
			return true; /* it does not come up again: its restart policy decides from now on */
		if (sv->stop_first)
			take_back_addresses(c);
		c->ask_start = c->wanted_running = c->tried_again = true;
		health_eager(c, true);
		ctr_changed(c);
		return false;
	}
	if (deploy_gate(dp, c, GATE_HEALTH, &why) == GATE_PASSED)
		return true;
	int64_t left = sv->since + c->svc.deploy_rules.health_timeout - time_mono();
	if (left > 0) {
		deploy_wake_in(dp, left);
		return false;
	}
	log_warning("%s is not as healthy as before: %s", c->name, why ? why : "no answer");
	return true;
}

static bool all_restored(Deploy *dp, DeployService *sv)
{
	bool all = true;
	for (size_t i = 0; i < dp->d->n_containers; i++)
		if (is_old_of(dp, sv, dp->d->containers[i]))
			all = is_restored(dp, sv, dp->d->containers[i]) && all;
	return all;
}

/* Nothing leads to the candidates any more. */
static void withdraw(Deploy *dp, DeployService *sv)
{
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		Container *c = dp->d->containers[i];
		if (!deploy_has(dp, c) || !str_eq(c->svc.name, sv->name))
			continue;
		if (c->role == ROLE_CANDIDATE)
			c->serving = false;
		network_update_names(c);
	}
	deploy_edge_apply(dp, sv);
	sv->withdrawn = true;
	sv->since = time_mono();
}

static bool let_go(Deploy *dp, DeployService *sv)
{
	const Service *svc = sv->svc;
	int64_t left = sv->since + (svc ? svc->deploy_rules.drain : DRAIN_DEFAULT) - time_mono();
	const char *error;
	if (!sv->drained && !dp->no_restart && left > 0) {
		deploy_wake_in(dp, left);
		if ((!deploy_edge_applied(sv, &error) && !error) || !deploy_edge_idle(dp, sv, ROLE_CANDIDATE))
			return false;
	}
	sv->drained = true;
	for (size_t i = 0; i < dp->d->n_containers; i++)
		if (is_candidate_of(dp, sv, dp->d->containers[i]) && !dp->d->containers[i]->ask_remove)
			drop_candidate(dp->d->containers[i]);
	return !candidates_left(dp, sv);
}

static void tell_restored(Deploy *dp, DeployService *sv)
{
	for (size_t i = 0; i < dp->d->n_containers; i++)
		if (is_old_of(dp, sv, dp->d->containers[i]))
			health_eager(dp->d->containers[i], false);
	deploy_report(dp, sv->name, "restore", "done", (double) (time_mono() - sv->restore_since) / (double) NSEC_PER_SEC, NULL);
	sv->told = NULL;
}

/* The old ones first, then the new ones go; the other way round where both cannot be there. */
static bool revert_service(Deploy *dp, DeployService *sv)
{
	if (!sv->told)
		return true;
	if (!sv->stop_first && !sv->restored && !(sv->restored = all_restored(dp, sv)))
		return false;
	if (!sv->withdrawn)
		withdraw(dp, sv);
	if (!let_go(dp, sv))
		return false;
	if (!sv->restored) {
		if (!sv->restore_begun) {
			sv->restore_begun = true;
			sv->since = time_mono();
		}
		if (!(sv->restored = all_restored(dp, sv)))
			return false;
	}
	tell_restored(dp, sv);
	return true;
}

bool deploy_revert(Deploy *dp)
{
	bool all = true;
	for (size_t i = dp->n_services; i-- > 0;)
		all = revert_service(dp, &dp->services[i]) && all;
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		const Container *c = dp->d->containers[i];
		if (deploy_has(dp, c) && (c->ask_remove || c->phase == PHASE_REMOVING || (c->oneoff && c->role == ROLE_CANDIDATE)))
			all = false;
	}
	if (!all)
		return false;
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		Container *c = dp->d->containers[i];
		if (!deploy_has(dp, c) || !c->revive)
			continue;
		c->revive = c->tried_again = false;
		ctr_changed(c);
	}
	deploy_undo_objects(dp);
	return true;
}

/* ── the daemon's start ───────────────────────────────────────────── */

static void add_services(Deploy *dp)
{
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		const Container *c = dp->d->containers[i];
		if (!deploy_has(dp, c) || (c->role == ROLE_CURRENT && !c->revive) || deploy_service(dp, c->svc.name))
			continue;
		DeployService *sv = array_append(dp->services, dp->n_services);
		sv->name = xstrdup(c->svc.name);
		sv->svc = stack_service(dp->release.model, sv->name);
		sv->stop_first = deploy_exclusive(dp, sv->svc ? sv->svc : &c->svc) != NULL;
	}
}

/* How far it was when the daemon ended, as roles tell: the service that was under way, or NULL. */
static const DeployService *was_at(const Deploy *dp, const char **ret_step)
{
	const DeployService *at = NULL;
	*ret_step = dp->n_services ? "bake" : "start";
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		const Container *c = dp->d->containers[i];
		const DeployService *sv = deploy_has(dp, c) ? deploy_service(dp, c->svc.name) : NULL;
		const char *step = !sv ? NULL : is_old_of(dp, sv, c) ? "restore" : c->role == ROLE_RETIRED && !candidates_left(dp, sv) ? "stop" :
			c->role == ROLE_CANDIDATE && c->oneoff ? "pre_deploy" : c->role == ROLE_CANDIDATE && !c->serving ? "start" : NULL;
		if (!step)
			continue;
		at = sv;
		*ret_step = step;
	}
	return at;
}

/* pre_deploy comes first of what is done to a service. */
static void note_hooks(Deploy *dp)
{
	for (size_t i = 0; i < dp->n_services; i++) {
		DeployService *sv = &dp->services[i];
		sv->hook_begun = sv->svc && sv->svc->deploy_rules.pre_deploy && (sv->stop_first || candidates_left(dp, sv));
	}
}

static void put_back(StackState *s, Release *r)
{
	Operation *op = xcalloc(1, sizeof(*op));
	Deploy *dp = xcalloc(1, sizeof(*dp));
	op->kind = str_eq(r->kind, "rollback") ? OP_ROLLBACK : str_eq(r->kind, "up") ? OP_UP : OP_DEPLOY;
	op->s = s;
	op->timeout = -1;
	op->deploy = dp;
	dp->op = op;
	dp->s = s;
	dp->d = s->d;
	dp->release = *r;
	*r = (Release) { 0 };
	dp->interrupted = true;
	dp->failed_exit = -1;
	dp->began = time_mono();
	dp->timeline = json_array();
	dp->failed_health = json_array();
	add_services(dp);
	for (size_t i = 0; i < dp->n_services; i++)
		deploy_edge_init(dp, &dp->services[i]);
	s->op = op;
	log_warning("stack %s: release %d was being deployed when the daemon ended; it is put back", s->name, dp->release.number);
	note_hooks(dp);
	const char *step;
	const DeployService *at = was_at(dp, &step);
	deploy_fail(dp, at, NULL, step, "the daemon ended while it was being deployed");
}

static void recover_stack(StackState *s)
{
	AUTO_ERR err = ERR_INIT;
	Release r = { 0 };
	int e = release_unfinished(s->d, s->name, &r, &err);
	if (e < 0)
		log_error("stack %s: %s", s->name, err_text(&err));
	if (e == 0 && r.current) {
		/* An `up` that is carried on with: its model is the stack's. */
		if (release_end(s->d, s->name, r.number, "interrupted", NULL, &err) < 0)
			log_error("stack %s: %s", s->name, err_text(&err));
	} else if (e == 0 && !s->down) {
		put_back(s, &r);
		return;
	} else if (e == 0) {
		(void) release_end(s->d, s->name, r.number, "interrupted", NULL, NULL);
	}
	release_done(&r);
	for (size_t i = 0; i < s->d->n_containers; i++) {
		Container *c = s->d->containers[i];
		if (!str_eq(c->stack, s->name))
			continue;
		if (c->role == ROLE_CURRENT) {
			c->revive = false; /* put back already, and only the row does not say so yet */
			continue;
		}
		c->ask_remove = true;
		c->ask_start = c->wanted_running = false;
		ctr_changed(c);
	}
}

void deploy_recover(Daemon *d)
{
	/* A first deploy may have come no further than its row. */
	AUTO_STRV char **unfinished = release_unfinished_stacks(d);
	for (char **name = unfinished; name && *name; name++)
		(void) stack_state(d, *name);
	for (size_t i = 0; i < d->n_stacks; i++)
		recover_stack(d->stacks[i]);
	release_sweep_files(d);
}
