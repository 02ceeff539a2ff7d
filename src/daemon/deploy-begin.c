// SPDX-License-Identifier: Apache-2.0
/*
 * How a deploy begins: what can be refused is refused, then the intent is written in one transaction: the networks and volumes that are new,
 * and the release's row. Containers come later, service by service.
 */
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/container.h"
#include "daemon/deploy-parts.h"
#include "daemon/stack.h"
#include "daemon/state.h"

#define WORD_MAX 200

/* ── options ──────────────────────────────────────────────────────── */

static int parse_word(json_t *body, const char *key, char **ret, Err *err)
{
	json_t *v = json_object_get(body, key);
	const char *s = json_string_value(v);
	if (!v || json_is_null(v))
		return 0;
	if (!s || strlen(s) > WORD_MAX || str_has_control(s))
		return err_set(err, -EINVAL, "%s: a text of at most %d characters without control characters is expected", key, WORD_MAX);
	str_set(ret, str_empty(s) ? NULL : s);
	return 0;
}

int deploy_parse(Operation *op, json_t *body, Err *err)
{
	json_t *plan = json_object_get(body, "plan"), *no_wait = json_object_get(body, "no_wait"), *to = json_object_get(body, "to");
	int r = parse_word(body, "who", &op->who, err);
	if (r == 0)
		r = parse_word(body, "commit", &op->commit, err);
	if (r == 0)
		r = parse_word(body, "author", &op->author, err);
	if (r < 0)
		return r;
	if ((plan && !json_is_boolean(plan)) || (no_wait && !json_is_boolean(no_wait)))
		return err_set(err, -EINVAL, "%s: true or false is expected", plan && !json_is_boolean(plan) ? "plan" : "no_wait");
	if (to && !json_is_null(to) && (!json_is_integer(to) || json_integer_value(to) < 1 || json_integer_value(to) > INT32_MAX))
		return err_set(err, -EINVAL, "to: the number of a release is expected");
	op->plan = json_is_true(plan) && op->kind != OP_UP;
	op->no_wait = json_is_true(no_wait) && op->kind != OP_UP;
	op->to = (int) json_integer_value(to);
	return deploy_coming_parse(op, json_object_get(body, "coming"), err);
}

/* ── an `up` ──────────────────────────────────────────────────────── */

static bool differs(const Operation *op, const Container *c, const Service *svc)
{
	char hash[65];
	service_hash(op->model, svc, hash);
	return op->force_recreate || !str_eq(hash, c->hash) || !str_eq(strv_env(op->image_ids, svc->name), c->image_id) ||
	       c->n_endpoints != svc->n_networks;
}

bool deploy_takes_up(Operation *op)
{
	if (op->no_start || op->no_recreate || op->renew_volumes)
		return false;
	for (size_t i = 0; i < op->s->d->n_containers; i++) {
		const Container *c = op->s->d->containers[i];
		const Service *svc = str_eq(c->stack, op->s->name) ? stack_service(op->model, c->svc.name) : NULL;
		if (svc && svc->n_routes && strv_has(op->services, svc->name) && c->role == ROLE_CURRENT && ctr_is_running(c) && differs(op, c, svc))
			return true;
	}
	return false;
}

/* ── what is to be brought about ──────────────────────────────────── */

static int take_target(Operation *op, Deploy *dp, Err *err)
{
	Release target = { 0 };
	int r = release_target(dp->d, dp->s->name, op->to, &target, err);
	if (r < 0)
		return r;
	op->model = steal_ptr(&target.model);
	op->image_ids = steal_ptr(&target.images);
	dp->release.source = target.number;
	if (!op->commit)
		op->commit = steal_ptr(&target.commit);
	if (!op->author)
		op->author = steal_ptr(&target.author);
	release_done(&target);
	return up_check(op, err);
}

static int take_model(Operation *op, Deploy *dp, Err *err)
{
	bool some = op->services && dp->s->model;
	int r = up_check(op, err);
	if (r == 0)
		r = release_freeze(dp->d, op->model, op->services, op->plan, err);
	if (r == 0 && some) {
		Stack *merged = NULL;
		r = deploy_merge_model(dp->s->model, op->model, op->services, &merged, err);
		if (r == 0) {
			stack_free(op->model);
			op->model = merged;
		}
	}
	return r == 0 ? release_images(dp->s, op->model, op->services, &op->image_ids, err) : r;
}

static int check_gates(Operation *op, Deploy *dp, Err *err)
{
	for (char **name = op->services; name && *name; name++) {
		int r = deploy_gate_check(dp->d, stack_service(op->model, *name), strv_env(op->image_ids, *name), &op->where, err);
		if (r < 0)
			return r;
	}
	op->where.text[0] = '\0';
	return 0;
}

static const char *kind_name(OperationKind kind)
{
	return kind == OP_ROLLBACK ? "rollback" : kind == OP_UP ? "up" : "deploy";
}

static int number_release(Deploy *dp, Err *err)
{
	Release now = { 0 };
	int r = release_current(dp->d, dp->s->name, &now, err);
	if (r < 0)
		return r;
	dp->release.base = now.number;
	release_done(&now);
	return release_next(dp->d, dp->s->name, &dp->release.number, err);
}

static int write_intent(Operation *op, Deploy *dp, Err *err)
{
	Release *r = &dp->release;
	int e = state_begin(dp->d, err);
	if (e < 0)
		return e;
	e = up_prepare(op, err);
	r->new_networks = steal_ptr(&op->new_networks);
	r->new_volumes = steal_ptr(&op->new_volumes);
	if (e == 0)
		e = release_insert(dp->d, dp->s->name, r, false, err);
	/* Committed in either case: what was made is undone through its rows. */
	int c = state_commit(dp->d, e < 0 ? NULL : err);
	e = e < 0 ? e : c;
	if (e < 0)
		deploy_undo_objects(dp);
	return e;
}

/* What is as the release has it, but does not run: it is started, as `up` would. */
static void start_idle(Deploy *dp)
{
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		Container *c = dp->d->containers[i];
		const DeployService *sv = deploy_has(dp, c) ? deploy_service(dp, c->svc.name) : NULL;
		const Service *svc = deploy_has(dp, c) ? stack_service(dp->release.model, c->svc.name) : NULL;
		if (!svc || c->role != ROLE_CURRENT || (sv && deploy_is_old(sv, c)) || ctr_is_running(c) || c->ask_start || c->restarting ||
			!strv_has(dp->op->services, svc->name))
			continue;
		if (c->svc.restart == RESTART_NO && c->finished_at && c->exit_code == 0)
			continue; /* it has done its work */
		c->ask_start = c->wanted_running = true;
		c->restart_tries = 0;
		ctr_changed(c);
	}
}

static int begin(Operation *op, Err *err)
{
	Deploy *dp = xcalloc(1, sizeof(*dp));
	dp->op = op;
	dp->s = op->s;
	dp->d = op->s->d;
	dp->failed_exit = -1;
	dp->began = time_mono();
	dp->timeline = json_array();
	dp->failed_health = json_array();
	int r = op->kind == OP_ROLLBACK ? take_target(op, dp, err) : op->kind == OP_DEPLOY ? take_model(op, dp, err) : 0;
	if (r == 0)
		r = check_gates(op, dp, err);
	if (r == 0)
		r = number_release(dp, err);
	if (r < 0) {
		deploy_free(dp);
		return r;
	}
	Release *release = &dp->release;
	release->kind = xstrdup(kind_name(op->kind));
	release->created = time_real();
	release->who = steal_ptr(&op->who);
	release->commit = steal_ptr(&op->commit);
	release->author = steal_ptr(&op->author);
	release->images = strv_dup(op->image_ids);
	release->model = op->model;
	deploy_plan(dp, op->force_recreate, false);
	dp->plan_only = op->plan;
	if (op->kind != OP_ROLLBACK)
		r = deploy_memory_check(dp, err);
	dp->unchanged = !dp->n_services && release_same(dp->d, dp->s->name, op->model, op->image_ids);
	if (r == 0 && !dp->plan_only && !dp->unchanged)
		r = write_intent(op, dp, err);
	if (r < 0) {
		release->model = NULL; /* the operation's */
		deploy_free(dp);
		return r;
	}
	op->model = NULL;
	op->deploy = dp;
	if (dp->plan_only)
		deploy_tell_plan(dp);
	else
		start_idle(dp);
	if (op->kind == OP_UP && !op->remove_orphans)
		up_warn_orphans(dp->s, release->model);
	if (!dp->plan_only && !dp->unchanged)
		deploy_notify(dp, NOTICE_DEPLOY_STARTED);
	if (dp->unchanged)
		release->number = release->base;
	deploy_set_phase(dp, dp->plan_only || dp->unchanged ? DEPLOY_DONE : DEPLOY_SERVICES);
	return 0;
}

int deploy_begin(Operation *op, Err *err)
{
	deploy_coming_add(op);
	int r = begin(op, err);
	deploy_coming_remove(op);
	return r;
}
