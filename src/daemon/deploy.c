// SPDX-License-Identifier: Apache-2.0
/*
 * A deploy is level-triggered like the rest of the daemon: after each plan, and when a timer says so, it asks where it is and does what
 * may be done next. No step waits for another in a callback of its own.
 *
 *   services, one after the other:  pre_deploy ▶ [stop-first: drain ▶ stop] ▶ start ▶ health ▶ settle ▶ smoke ▶ switch ▶ drain ▶ stop
 *   then for all of them:           verify ▶ bake ▶ commit ▶ retire ▶ post_deploy
 *
 * The stack's model, and with it its routes, stays the old one until the commit, one transaction that makes the new release the stack. Until
 * then everything can be put back, and any failure puts it back (deploy-revert.c); after it nothing is put back any more. So a daemon that
 * finds a release "running" puts back, and one that finds retired containers without such a release removes them: it needs no journal.
 *
 * Roles say how far each service has come. The new containers are candidates, under names of their own, until the commit; `serving` marks
 * those that have been switched to. The old ones are retired from the switch on: they are stopped, and kept until the commit, so that
 * putting back is starting them again.
 *
 * All bake at the same time, each for its own time from its switch on, instead of one service after the other. What has routes keeps its
 * old containers running, drained, until its bake is over: if the new ones die, the old ones answer within milliseconds, where a start would
 * let requests fail. Others stop as soon as they are switched away from, for two of a worker would both work.
 */
#include "daemon/deploy.h"

#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/container.h"
#include "daemon/deploy-parts.h"
#include "daemon/health.h"
#include "daemon/json.h"
#include "daemon/stack.h"

#define DRAIN_OF_GONE (30 * NSEC_PER_SEC) /* whose rules are gone, too */
#define EDGE_TIMEOUT (30 * NSEC_PER_SEC)
#define HOOK_TIMEOUT (3600 * NSEC_PER_SEC) /* of pre_deploy and post_deploy */

typedef enum StepResult {
	STEP_WAITS,
	STEP_DONE,
} StepResult;

/* ── timer, look-ups ──────────────────────────────────────────────── */

static void timer_due(uv_timer_t *t)
{
	Deploy *dp = t->data;
	dp->timer_due = 0;
	stack_wake(dp->s);
}

void deploy_wake_in(Deploy *dp, int64_t ns)
{
	int64_t due = time_mono() + (ns > 0 ? ns : 0);
	if (!dp->timer) {
		dp->timer = xcalloc(1, sizeof(*dp->timer));
		(void) uv_timer_init(dp->d->loop, dp->timer);
		dp->timer->data = dp;
	}
	if (dp->timer_due && dp->timer_due <= due)
		return;
	dp->timer_due = due;
	uv_update_time(dp->d->loop);
	(void) uv_timer_start(dp->timer, timer_due, (uint64_t) ((ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC), 0);
}

bool deploy_has(const Deploy *dp, const Container *c)
{
	return str_eq(c->stack, dp->s->name);
}

bool deploy_is_candidate(const Deploy *dp, const DeployService *sv, const Container *c)
{
	return c->role == ROLE_CANDIDATE && !c->oneoff && deploy_has(dp, c) && str_eq(c->svc.name, sv->name);
}

bool deploy_is_old(const DeployService *sv, const Container *c)
{
	return strv_has(sv->old, c->id);
}

DeployService *deploy_service(const Deploy *dp, const char *name)
{
	for (size_t i = 0; i < dp->n_services; i++)
		if (str_eq(dp->services[i].name, name))
			return &dp->services[i];
	return NULL;
}

void deploy_set_phase(Deploy *dp, DeployPhase phase)
{
	dp->phase = phase;
	dp->phase_since = time_mono();
	stack_wake(dp->s);
}

/* ── steps of a service ───────────────────────────────────────────── */

static void begin(Deploy *dp, DeployService *sv, const char *told)
{
	sv->begun = true;
	sv->since = time_mono();
	sv->told = told;
	deploy_report(dp, sv->name, told, "begin", -1, NULL);
}

static double seconds_since(int64_t mono)
{
	return (double) (time_mono() - mono) / (double) NSEC_PER_SEC;
}

/* Time is up; else the check is asked again when it is. */
static bool over(Deploy *dp, int64_t since, int64_t allowed)
{
	int64_t left = since + allowed - time_mono();
	if (left <= 0)
		return true;
	deploy_wake_in(dp, left);
	return false;
}

static StepResult step_pre_deploy(Deploy *dp, DeployService *sv)
{
	AUTO_ERR err = ERR_INIT;
	Container *c = NULL;
	if (!sv->svc->deploy_rules.pre_deploy || !sv->n_numbers)
		return STEP_DONE;
	if (!sv->begun)
		begin(dp, sv, "pre_deploy");
	sv->hook_begun = true;
	int r = deploy_hook(dp, sv, "pre_deploy", sv->svc->deploy_rules.pre_deploy, &c, &err);
	if (r < 0)
		deploy_fail(dp, sv, c, "pre_deploy", "%s", err_text(&err));
	else if (r > 0 && over(dp, sv->since, HOOK_TIMEOUT))
		deploy_fail(dp, sv, c, "pre_deploy", "pre_deploy did not end within an hour");
	return r == 0 ? STEP_DONE : STEP_WAITS;
}

static bool old_running(const Deploy *dp, const DeployService *sv)
{
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		const Container *c = dp->d->containers[i];
		if (deploy_is_old(sv, c) && (ctr_is_running(c) || ctr_is_busy(c) || c->ask_stop || c->restarting))
			return true;
	}
	return false;
}

static void stop_old(Deploy *dp, DeployService *sv)
{
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		Container *c = dp->d->containers[i];
		if (!deploy_is_old(sv, c) || !(ctr_is_running(c) || ctr_is_busy(c) || c->restarting))
			continue;
		/* wanted_running stays: that is what starts it again if this is put back, or after a reboot. */
		c->ask_stop = true;
		c->ask_start = false;
		c->ask_timeout = dp->op->timeout;
		ctr_changed(c);
	}
}

/* What the edge must know before the next step. */
static StepResult wait_for_edge(Deploy *dp, DeployService *sv, const char *step)
{
	const char *error;
	if (deploy_edge_applied(sv, &error))
		return STEP_DONE;
	if (error || over(dp, sv->since, EDGE_TIMEOUT))
		deploy_fail(dp, sv, NULL, step, "the edge did not take the change: %s", error ? error : "it does not answer");
	return STEP_WAITS;
}

/* Nobody who is still being answered is cut off, for `drain` at most. Without a route there is nobody to be known of. */
static StepResult drain(Deploy *dp, DeployService *sv)
{
	if (!sv->backends || !old_running(dp, sv))
		return STEP_DONE;
	return deploy_edge_idle(dp, sv, ROLE_RETIRED) || over(dp, sv->since, sv->svc->deploy_rules.drain) ? STEP_DONE : STEP_WAITS;
}

static StepResult step_clear_drain(Deploy *dp, DeployService *sv)
{
	AUTO_ERR err = ERR_INIT;
	if (!sv->stop_first || (!sv->begun && !old_running(dp, sv)))
		return STEP_DONE;
	if (!sv->begun) {
		begin(dp, sv, "drain");
		deploy_edge_hold(dp, sv, true);
		if (deploy_retire_old(dp, sv, &err) < 0) {
			deploy_fail(dp, sv, NULL, "drain", "%s", err_text(&err));
			return STEP_WAITS;
		}
		deploy_edge_apply(dp, sv);
	}
	StepResult r = wait_for_edge(dp, sv, "drain");
	return r == STEP_DONE ? drain(dp, sv) : r;
}

/* A rollback is in a hurry, and goes to what has served before. */
static int64_t bake_of(const Deploy *dp, const DeployService *sv)
{
	return dp->op->kind == OP_ROLLBACK || !sv->svc || !sv->n_numbers || sv->job ? 0 : sv->svc->deploy_rules.bake;
}

static StepResult step_stop(Deploy *dp, DeployService *sv)
{
	if (!sv->begun && !old_running(dp, sv))
		return STEP_DONE;
	if (!sv->begun) {
		begin(dp, sv, "stop");
		stop_old(dp, sv);
	}
	return old_running(dp, sv) ? STEP_WAITS : STEP_DONE;
}

static StepResult step_clear_stop(Deploy *dp, DeployService *sv)
{
	return sv->stop_first ? step_stop(dp, sv) : STEP_DONE;
}

static bool ended_well(const DeployService *sv, const Container *c)
{
	return sv->job && c->phase == PHASE_EXITED && c->finished_at && c->exit_code == 0 && !c->ask_start;
}

static StepResult step_start(Deploy *dp, DeployService *sv)
{
	AUTO_ERR err = ERR_INIT;
	Container *late = NULL;
	if (!sv->n_numbers)
		return STEP_DONE;
	if (!sv->begun) {
		begin(dp, sv, "start");
		if (deploy_make_candidates(dp, sv, &err) < 0) {
			deploy_fail(dp, sv, NULL, "start", "%s", err_text(&err));
			return STEP_WAITS;
		}
	}
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		Container *c = dp->d->containers[i];
		if (deploy_is_candidate(dp, sv, c) && !(c->phase == PHASE_RUNNING && !c->ask_start) && !ended_well(sv, c))
			late = c;
	}
	if (late && over(dp, sv->since, sv->svc->deploy_rules.health_timeout))
		deploy_fail(dp, sv, late, "start", "container %s could not be started within health_timeout", late->name);
	return late ? STEP_WAITS : STEP_DONE;
}

static bool gates(Deploy *dp, DeployService *sv, GateKind kind, const char *step)
{
	bool all = true;
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		Container *c = dp->d->containers[i];
		const char *why = NULL;
		if (!deploy_is_candidate(dp, sv, c) || ended_well(sv, c))
			continue;
		GateState g = sv->completes ? GATE_WAITING : deploy_gate(dp, c, kind, &why);
		if (g == GATE_PASSED)
			continue;
		if (sv->completes)
			why = "it has not ended yet, and others wait for its completion";
		all = false;
		if (g == GATE_FAILED)
			deploy_fail(dp, sv, c, step, "container %s: %s", c->name, why);
		else if (kind == GATE_HEALTH && over(dp, sv->since, sv->svc->deploy_rules.health_timeout)) {
			AUTO_FREE char *patience = format_duration(sv->svc->deploy_rules.health_timeout);
			deploy_fail(dp, sv, c, step, "container %s did not become healthy within %s: %s", c->name, patience, why ? why : "no answer");
		}
		if (dp->phase == DEPLOY_REVERT)
			return false;
	}
	return all;
}

static StepResult step_health(Deploy *dp, DeployService *sv)
{
	if (!sv->n_numbers)
		return STEP_DONE;
	if (!sv->begun)
		begin(dp, sv, "health");
	return gates(dp, sv, GATE_HEALTH, "health") ? STEP_DONE : STEP_WAITS;
}

static StepResult step_settle(Deploy *dp, DeployService *sv)
{
	int64_t settle = deploy_settle(dp, sv);
	if (!settle || (!sv->begun && !old_running(dp, sv)))
		return STEP_DONE;
	if (!sv->begun)
		begin(dp, sv, "settle");
	return over(dp, sv->since, settle) ? STEP_DONE : STEP_WAITS;
}

static StepResult step_smoke(Deploy *dp, DeployService *sv)
{
	if (!sv->n_numbers || !sv->svc->deploy_rules.n_smoke)
		return STEP_DONE;
	if (!sv->begun)
		begin(dp, sv, "smoke");
	return gates(dp, sv, GATE_SMOKE, "smoke") ? STEP_DONE : STEP_WAITS;
}

static StepResult step_switch(Deploy *dp, DeployService *sv)
{
	AUTO_ERR err = ERR_INIT;
	if (!sv->begun) {
		begin(dp, sv, "switch");
		deploy_edge_mark(dp, sv);
		deploy_edge_hold(dp, sv, true);
		if (deploy_switch(dp, sv, &err) < 0) {
			deploy_fail(dp, sv, NULL, "switch", "%s", err_text(&err));
			return STEP_WAITS;
		}
		deploy_edge_apply(dp, sv);
	}
	StepResult r = wait_for_edge(dp, sv, "switch");
	if (r == STEP_DONE)
		sv->switched = time_mono();
	return r;
}

static StepResult step_drain(Deploy *dp, DeployService *sv)
{
	if (sv->stop_first || !sv->backends || (!sv->begun && !old_running(dp, sv)))
		return STEP_DONE;
	if (!sv->begun)
		begin(dp, sv, "drain");
	return drain(dp, sv);
}

static StepResult step_stop_old(Deploy *dp, DeployService *sv)
{
	sv->stop_later = sv->backends && !sv->stop_first && bake_of(dp, sv) && old_running(dp, sv);
	return sv->stop_later ? STEP_DONE : step_stop(dp, sv);
}

static StepResult (*const steps[])(Deploy *, DeployService *) = { step_pre_deploy, step_clear_drain, step_clear_stop, step_start, step_health,
	step_settle, step_smoke, step_switch, step_drain, step_stop_old };

#define STEP_OF_START 3
_Static_assert(ARRAY_SIZE(steps) == 10, "STEP_OF_START is step_start's place");

static bool advance_services(Deploy *dp)
{
	/* Services that the release no longer has stay until it is the stack's: they come last. */
	if (dp->at == dp->n_services || !dp->services[dp->at].svc) {
		deploy_set_phase(dp, DEPLOY_VERIFY);
		return true;
	}
	DeployService *sv = &dp->services[dp->at];
	sv->reached = true;
	StepResult r = steps[sv->step](dp, sv);
	if (r == STEP_WAITS || dp->phase != DEPLOY_SERVICES)
		return false;
	if (sv->told)
		deploy_report(dp, sv->name, sv->told, "done", seconds_since(sv->since), NULL);
	sv->told = NULL;
	sv->begun = false;
	if (++sv->step == ARRAY_SIZE(steps))
		dp->at++;
	return true;
}

/* ── what may happen at any time ──────────────────────────────────── */

static const char *step_of(const DeployService *sv)
{
	return sv->switched ? "bake" : sv->told ? sv->told : "health";
}

static bool must_be_there(const DeployService *sv)
{
	return sv->svc && (sv->step > STEP_OF_START || (sv->step == STEP_OF_START && sv->begun));
}

static void check_candidate(Deploy *dp, DeployService *sv, Container *c)
{
	if (c->phase == PHASE_EXITED && !c->ask_start && !ended_well(sv, c))
		deploy_fail(dp, sv, c, step_of(sv), "container %s %s (exit code %d)%s", c->name,
			c->oom_killed ? "ran out of memory and was killed" : "ended", c->exit_code,
			c->exit_code == 0 ? "; a service must keep running" : "");
	else if ((sv->switched || str_eq(sv->told, "settle")) && c->health_state == HEALTH_UNHEALTHY)
		deploy_fail(dp, sv, c, step_of(sv), "container %s became unhealthy", c->name);
}

/* Whatever the deploy is waiting for: a candidate that has failed turns it back. */
static void check_candidates(Deploy *dp)
{
	size_t n = 0, wanted = 0;
	for (size_t i = 0; i < dp->d->n_containers && dp->phase <= DEPLOY_COMMIT; i++) {
		Container *c = dp->d->containers[i];
		DeployService *sv = c->role == ROLE_CANDIDATE && !c->oneoff && deploy_has(dp, c) ? deploy_service(dp, c->svc.name) : NULL;
		if (!sv)
			continue;
		n++;
		check_candidate(dp, sv, c);
	}
	for (size_t i = 0; i < dp->n_services; i++)
		wanted += must_be_there(&dp->services[i]) ? dp->services[i].n_numbers : 0;
	if (n < wanted && dp->phase <= DEPLOY_COMMIT)
		deploy_fail(dp, dp->at < dp->n_services ? &dp->services[dp->at] : NULL, NULL, "start", "a new container was removed by somebody");
}

/* ── verify, bake, commit, retire ─────────────────────────────────── */

/* Does the service, directly or not, need one that was switched? */
static bool depends_on_switched(const Deploy *dp, const Service *svc, size_t depth)
{
	for (size_t i = 0; i < svc->n_depends && depth < dp->release.model->n_services; i++) {
		const DeployService *sv = deploy_service(dp, svc->depends[i].service);
		const Service *dep = stack_service(dp->release.model, svc->depends[i].service);
		if ((sv && sv->switched && sv->n_numbers) || (dep && depends_on_switched(dp, dep, depth + 1)))
			return true;
	}
	return false;
}

static bool routes_changed(const Deploy *dp, const Service *svc)
{
	const Service *before = dp->s->model ? stack_service(dp->s->model, svc->name) : NULL;
	if (!before || !svc->n_routes)
		return false;
	json_t *a = service_to_json(before), *b = service_to_json(svc);
	bool same = json_equal(json_object_get(json_object_get(a, "x-stead"), "routes"), json_object_get(json_object_get(b, "x-stead"), "routes"));
	json_decref(a);
	json_decref(b);
	return !same;
}

static bool verify_container(Deploy *dp, const Service *svc, Container *c, GateKind kind)
{
	const char *why = NULL, *step = kind == GATE_HEALTH ? "health" : "smoke";
	GateState g = deploy_gate(dp, c, kind, &why);
	if (g == GATE_FAILED)
		deploy_fail(dp, NULL, c, step, "container %s, which stays, does not work with the new release: %s", c->name, why);
	else if (g == GATE_WAITING && over(dp, dp->phase_since, svc->deploy_rules.health_timeout))
		deploy_fail(dp, NULL, c, step, "container %s, which stays, does not answer as its routes ask: %s", c->name, why ? why : "no answer");
	return g == GATE_PASSED;
}

/* What stays is tested with what came; a route that is new for what stays must lead somewhere. */
static bool advance_verify(Deploy *dp)
{
	bool all = true;
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		Container *c = dp->d->containers[i];
		const Service *svc = deploy_has(dp, c) && c->role == ROLE_CURRENT ? stack_service(dp->release.model, c->svc.name) : NULL;
		const DeployService *sv = svc ? deploy_service(dp, svc->name) : NULL;
		if (!svc || (sv && deploy_is_old(sv, c)) || !ctr_is_running(c))
			continue;
		if (routes_changed(dp, svc))
			all = verify_container(dp, svc, c, GATE_HEALTH) && all;
		if (dp->phase == DEPLOY_VERIFY && svc->deploy_rules.n_smoke && depends_on_switched(dp, svc, 0))
			all = verify_container(dp, svc, c, GATE_SMOKE) && all;
		if (dp->phase != DEPLOY_VERIFY)
			return false;
	}
	if (all)
		deploy_set_phase(dp, DEPLOY_BAKE);
	return all;
}

/* The old ones of services whose bake is over. */
static void stop_baked(Deploy *dp)
{
	for (size_t i = 0; i < dp->n_services; i++) {
		DeployService *sv = &dp->services[i];
		if (sv->stop_later && sv->switched && over(dp, sv->switched, bake_of(dp, sv))) {
			sv->stop_later = false;
			sv->stopping = time_mono();
			deploy_report(dp, sv->name, "stop", "begin", -1, NULL);
			stop_old(dp, sv);
		}
		if (sv->stopping && !old_running(dp, sv)) {
			deploy_report(dp, sv->name, "stop", "done", seconds_since(sv->stopping), NULL);
			sv->stopping = 0;
		}
	}
}

static bool advance_bake(Deploy *dp)
{
	bool all = true;
	for (size_t i = 0; i < dp->n_services; i++) {
		DeployService *sv = &dp->services[i];
		int64_t bake = bake_of(dp, sv);
		all = all && !sv->stop_later && !sv->stopping;
		if (!bake)
			continue;
		if (!deploy_bake(dp, sv))
			return false;
		if (!sv->begun) {
			begin(dp, sv, "bake");
			sv->since = sv->switched;
		}
		if (!over(dp, sv->switched, bake)) {
			all = false;
		} else if (sv->told) {
			deploy_report(dp, sv->name, "bake", "done", seconds_since(sv->since), NULL);
			sv->told = NULL;
		}
	}
	if (all)
		deploy_set_phase(dp, DEPLOY_COMMIT);
	return all;
}

static bool advance_commit(Deploy *dp)
{
	AUTO_ERR err = ERR_INIT;
	if (deploy_commit(dp, &err) < 0) {
		deploy_fail(dp, NULL, NULL, "retire", "%s", err_text(&err));
		return false;
	}
	deploy_set_phase(dp, DEPLOY_RETIRE);
	return true;
}

/* Services that are gone had no drain before the commit: until then they were to serve. */
static bool gone_is_idle(Deploy *dp, DeployService *sv)
{
	const char *error;
	if (sv->svc || sv->drained)
		return true;
	if (!sv->begun) {
		begin(dp, sv, "drain");
		deploy_edge_apply(dp, sv);
	}
	if (!deploy_edge_applied(sv, &error) && !error && !over(dp, sv->since, EDGE_TIMEOUT))
		return false;
	if (sv->backends && !deploy_edge_idle(dp, sv, ROLE_RETIRED) && !over(dp, sv->since, DRAIN_OF_GONE))
		return false;
	deploy_report(dp, sv->name, "drain", "done", seconds_since(sv->since), NULL);
	sv->told = NULL;
	return sv->drained = true;
}

static void ask_to_retire(Deploy *dp, Container *c)
{
	deploy_report(dp, c->svc.name, "retire", "begin", -1, c->name);
	c->ask_remove = true;
	c->ask_start = c->wanted_running = false;
	c->ask_timeout = dp->op->timeout;
	ctr_changed(c);
}

static bool advance_retire(Deploy *dp)
{
	bool left = false;
	for (size_t i = 0; i < dp->n_services; i++)
		left = !gone_is_idle(dp, &dp->services[i]) || left;
	if (left)
		return false;
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		Container *c = dp->d->containers[i];
		if (!deploy_has(dp, c) || c->role != ROLE_RETIRED)
			continue;
		if (!dp->retire_begun)
			ask_to_retire(dp, c);
		left = left || c->ask_remove || ctr_is_busy(c);
	}
	dp->retire_begun = true;
	if (left)
		return false;
	deploy_set_phase(dp, DEPLOY_POST);
	dp->at = 0;
	return true;
}

static bool advance_post(Deploy *dp)
{
	AUTO_ERR err = ERR_INIT;
	Container *c = NULL;
	for (; dp->at < dp->n_services; dp->at++) {
		DeployService *sv = &dp->services[dp->at];
		if (!sv->svc || !sv->svc->deploy_rules.post_deploy || !sv->n_numbers)
			continue;
		if (!sv->told)
			begin(dp, sv, "post_deploy");
		int r = deploy_hook(dp, sv, "post_deploy", sv->svc->deploy_rules.post_deploy, &c, &err);
		if (r > 0 && !over(dp, sv->since, HOOK_TIMEOUT))
			return false;
		const char *text = r == 0 ? NULL : r < 0 ? err_text(&err) : "did not end within an hour";
		deploy_report(dp, sv->name, "post_deploy", r == 0 ? "done" : "failed", seconds_since(sv->since), text);
		if (text) {
			strv_take(&dp->warnings, xasprintf("service '%s': post_deploy: %s", sv->name, text));
			operation_warn(dp->s, "service '%s': post_deploy: %s; the release stays", sv->name, text);
		}
		sv->told = NULL;
		err_done(&err);
		err = (Err) ERR_INIT;
	}
	deploy_set_phase(dp, DEPLOY_DONE);
	return true;
}

static bool advance_revert(Deploy *dp)
{
	if (!dp->reverting_begun) {
		dp->reverting_begun = true;
		deploy_revert_begin(dp);
		return true;
	}
	if (!deploy_revert(dp))
		return false;
	deploy_set_phase(dp, DEPLOY_DONE);
	return true;
}

/* ── its end ──────────────────────────────────────────────────────── */

static void finish(Deploy *dp)
{
	AUTO_ERR err = ERR_INIT;
	const char *result = dp->failed_text ? (dp->interrupted ? "interrupted" : "failed") : "success";
	if (dp->plan_only || dp->unchanged || !dp->release.number)
		return;
	for (size_t i = 0; i < dp->n_services; i++)
		deploy_edge_hold(dp, &dp->services[i], false);
	if (release_end(dp->d, dp->s->name, dp->release.number, result, deploy_report_json(dp), &err) < 0)
		log_error("stack %s: %s", dp->s->name, err_text(&err));
	if (!dp->failed_text) {
		deploy_notify(dp, dp->op->kind == OP_ROLLBACK ? NOTICE_ROLLED_BACK : NOTICE_DEPLOY_SUCCEEDED);
		release_trim(dp->s);
		return;
	}
	deploy_notify(dp, NOTICE_DEPLOY_FAILED);
	AUTO_FREE char *text = deploy_paragraph(dp);
	log_error("stack %s: %s", dp->s->name, text);
	dp->op->failed = true;
}

bool deploy_check(Operation *op)
{
	static bool (*const phases[])(Deploy *) = {
		[DEPLOY_SERVICES] = advance_services,
		[DEPLOY_VERIFY] = advance_verify,
		[DEPLOY_BAKE] = advance_bake,
		[DEPLOY_COMMIT] = advance_commit,
		[DEPLOY_RETIRE] = advance_retire,
		[DEPLOY_POST] = advance_post,
		[DEPLOY_REVERT] = advance_revert,
	};
	Deploy *dp = op->deploy;
	while (dp->phase != DEPLOY_DONE) {
		if (dp->phase <= DEPLOY_COMMIT)
			check_candidates(dp);
		if (dp->phase <= DEPLOY_BAKE)
			stop_baked(dp);
		if (!phases[dp->phase](dp) || dp->s->awake)
			return false; /* what was asked for is planned first */
	}
	finish(dp);
	return true;
}

json_t *deploy_last_line(const Operation *op)
{
	const Deploy *dp = op->deploy;
	if (!dp->failed_text) {
		json_t *line = json_pack("{s:s, s:i, s:f}", "result", dp->unchanged ? "unchanged" : "done", "release", dp->release.number, "seconds",
			seconds_since(dp->began));
		return line;
	}
	AUTO_FREE char *text = deploy_paragraph(dp);
	json_t *line = json_pack("{s:o, s:i, s:i}", "error", json_safe(text), "code", 1, "release", dp->release.number);
	if (dp->failed_step)
		json_object_set_new(line, "step", json_string(dp->failed_step));
	if (dp->failed_service)
		json_object_set_new(line, "service", json_string(dp->failed_service));
	if (dp->failed_container)
		json_object_set_new(line, "container", json_string(dp->failed_container));
	if (dp->failed_exit >= 0)
		json_object_set_new(line, "exit_code", json_integer(dp->failed_exit));
	/* The client shows the end of them, the release's report has more. */
	size_t n = json_array_size(dp->failed_logs);
	json_t *logs = json_array();
	for (size_t i = n > 10 ? n - 10 : 0; i < n; i++)
		json_array_append(logs, json_array_get(dp->failed_logs, i));
	json_object_set_new(line, "logs", logs);
	return line;
}

void deploy_free(Deploy *dp)
{
	if (!dp)
		return;
	deploy_gates_free(dp);
	deploy_bake_done(dp);
	ctr_timer_stop(&dp->timer);
	for (size_t i = 0; i < dp->n_services; i++) {
		deploy_edge_done(dp, &dp->services[i]);
		free(dp->services[i].name);
		strv_free(dp->services[i].old);
		free(dp->services[i].numbers);
	}
	free(dp->services);
	release_done(&dp->release);
	json_decref(dp->timeline);
	json_decref(dp->failed_logs);
	json_decref(dp->failed_health);
	strv_free(dp->warnings);
	free(dp->failed_step);
	free(dp->failed_service);
	free(dp->failed_container);
	free(dp->failed_text);
	free(dp);
}

/* ── what the rest of the daemon asks ─────────────────────────────── */

static Deploy *running(const StackState *s)
{
	return s && s->op ? s->op->deploy : NULL;
}

const Stack *deploy_model(const Container *c)
{
	const StackState *s = daemon_stack(c->d, c->stack);
	const Deploy *dp = running(s);
	if (dp && c->role == ROLE_CANDIDATE && dp->release.model)
		return dp->release.model;
	return s ? s->model : NULL;
}

bool deploy_restores(const StackState *s)
{
	const Deploy *dp = running(s);
	return dp && dp->phase == DEPLOY_REVERT;
}

bool deploy_concerns(const StackState *s, const Container *c)
{
	const Deploy *dp = running(s);
	return dp && dp->phase <= DEPLOY_COMMIT && c->role == ROLE_CANDIDATE;
}

bool deploy_committed(const StackState *s)
{
	const Deploy *dp = running(s);
	return dp && dp->phase > DEPLOY_COMMIT && dp->phase != DEPLOY_REVERT;
}

bool deploy_aside(const Container *c)
{
	return c->role == ROLE_RETIRED || (c->role == ROLE_CANDIDATE && !c->serving);
}

void deploy_failed(StackState *s, Container *c, const char *text)
{
	Deploy *dp = running(s);
	DeployService *sv = c ? deploy_service(dp, c->svc.name) : NULL;
	if (dp->phase > DEPLOY_COMMIT) {
		log_warning("stack %s: %s", s->name, text);
		return;
	}
	if (!sv && dp->at < dp->n_services)
		sv = &dp->services[dp->at];
	deploy_fail(dp, sv, c, sv ? step_of(sv) : "start", "%s", text);
}

void deploy_call_off(Operation *op, const char *why, bool ending)
{
	Deploy *dp = op->deploy;
	if (dp->phase <= DEPLOY_COMMIT)
		deploy_fail(dp, dp->at < dp->n_services ? &dp->services[dp->at] : NULL, NULL,
			dp->at < dp->n_services ? step_of(&dp->services[dp->at]) : "bake", "%s", why);
	dp->no_restart = dp->no_restart || ending;
	stack_wake(op->s);
}

char *deploy_holder(const StackState *s)
{
	const Deploy *dp = running(s);
	char since[TIME_TEXT_MAX];
	if (!dp)
		return NULL;
	return xasprintf("release %d of stack '%s' is being %s by %s since %.19sZ", dp->release.number, s->name,
		dp->phase == DEPLOY_REVERT ? "put back, begun" : "deployed", dp->release.who ? dp->release.who : "somebody",
		time_rfc3339(dp->release.created, since));
}
