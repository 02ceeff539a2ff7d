// SPDX-License-Identifier: Apache-2.0
/*
 * The plan is asked for whole stacks: a stack has at most some hundred containers, and one pass costs
 * microseconds, so nothing is kept between two passes that could go stale. A step only begins here; its end
 * changes the container, which wakes the stack again.
 */
#include "daemon/stack.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/container.h"
#include "daemon/deploy.h"
#include "daemon/edge.h"
#include "daemon/operation.h"
#include "daemon/state.h"
#include "plan/plan.h"

StackState *daemon_stack(Daemon *d, const char *name)
{
	for (size_t i = 0; i < d->n_stacks; i++)
		if (str_eq(d->stacks[i]->name, name))
			return d->stacks[i];
	return NULL;
}

StackState *stack_state(Daemon *d, const char *name)
{
	StackState *s = daemon_stack(d, name);
	if (s)
		return s;
	s = xcalloc(1, sizeof(*s));
	s->d = d;
	s->name = xstrdup(name);
	*array_append(d->stacks, d->n_stacks) = s;
	return s;
}

void stack_state_free(StackState *s)
{
	if (!s)
		return;
	operation_free(s->op);
	for (Operation *op = s->queue, *next; op; op = next) {
		next = op->next;
		operation_free(op);
	}
	for (size_t i = 0; i < s->n_missing; i++)
		free(s->missing[i].service);
	free(s->missing);
	strv_free(s->held);
	strv_free(s->maintenance);
	stack_free(s->model);
	free(s->name);
	free(s);
}

void stack_forget(StackState *s)
{
	Daemon *d = s->d;
	for (size_t i = 0; i < d->n_stacks; i++)
		if (d->stacks[i] == s) {
			d->stacks[i] = d->stacks[--d->n_stacks];
			break;
		}
	stack_state_free(s);
}

void stack_set_model(StackState *s, Stack *model)
{
	stack_free(s->model);
	s->model = model;
}

void stack_add_missing(StackState *s, const char *service, int number, bool start)
{
	struct Slot *slot = array_append(s->missing, s->n_missing);
	slot->service = xstrdup(service);
	slot->number = number;
	slot->start = start;
}

static struct Slot *find_missing(StackState *s, const char *service, int number)
{
	for (size_t i = 0; i < s->n_missing; i++)
		if (str_eq(s->missing[i].service, service) && s->missing[i].number == number)
			return &s->missing[i];
	return NULL;
}

void stack_drop_missing(StackState *s, const char *service, int number)
{
	struct Slot *slot = find_missing(s, service, number);
	if (!slot)
		return;
	free(slot->service);
	*slot = s->missing[--s->n_missing];
}

void stack_leave_stopped(StackState *s, const char *service, int number)
{
	struct Slot *slot = find_missing(s, service, number);
	if (slot)
		slot->start = false;
}

void stack_wake(StackState *s)
{
	s->awake = true;
}

void stack_wake_all(Daemon *d)
{
	for (size_t i = 0; i < d->n_stacks; i++)
		stack_wake(d->stacks[i]);
}

static PlanPhase plan_phase(const Container *c)
{
	switch (c->phase) {
	case PHASE_CREATED:
	case PHASE_STARTING:
		return c->finished_at ? PLAN_EXITED : PLAN_CREATED;
	case PHASE_RUNNING:
	case PHASE_STOPPING:
		return PLAN_RUNNING;
	case PHASE_EXITED:
	case PHASE_REMOVING:
		return PLAN_EXITED;
	}
	return PLAN_EXITED;
}

static PlanContainer plan_view(const Container *c)
{
	static const PlanHealth health[] = {
		[HEALTH_NONE] = PLAN_NO_CHECK,
		[HEALTH_STARTING] = PLAN_STARTING,
		[HEALTH_HEALTHY] = PLAN_HEALTHY,
		[HEALTH_UNHEALTHY] = PLAN_UNHEALTHY,
	};
	/* What else is asked of it waits for the machine to come back. */
	bool off = c->d->powering_off;
	return (PlanContainer) {
		.service = c->svc.name,
		.number = c->number,
		.phase = plan_phase(c),
		.health = health[c->health_state],
		.exit_code = c->exit_code,
		.restarting = c->restarting,
		.busy = ctr_is_busy(c),
		.stop = off ? ctr_is_running(c) || c->restarting : c->ask_stop,
		.start = c->ask_start && !off,
		.remove = c->ask_remove && !c->remove_timer && !off,
		.replace = c->ask_replace,
		.aside = deploy_aside(c),
		/* What is of another release than the stack's model has the dependencies of its own. */
		.svc = c->role == ROLE_CURRENT ? NULL : &c->svc,
	};
}

/* "dependency failed to start: container blog-db-1 exited (1)" and its like. */
static char *why(const PlanStep *step, const Container *culprit)
{
	const Depends *d = step->depends;
	if (d->condition == DEPENDS_COMPLETED)
		return xasprintf("service '%s' did not complete successfully: container %s exited (%d)", d->service,
			culprit->name, culprit->exit_code);
	if (culprit->phase == PHASE_EXITED && culprit->error)
		return xasprintf("dependency '%s' failed to start: %s", d->service, culprit->error);
	if (culprit->phase == PHASE_EXITED)
		return xasprintf("dependency '%s' failed to start: container %s exited (%d)", d->service, culprit->name,
			culprit->exit_code);
	if (culprit->health_state == HEALTH_UNHEALTHY)
		return xasprintf("dependency '%s' failed to start: container %s is unhealthy", d->service, culprit->name);
	if (culprit->phase == PHASE_RUNNING && culprit->health_state == HEALTH_NONE)
		return xasprintf("dependency '%s' can never be healthy: container %s has no health check; give the service a "
				 "healthcheck or depend on it with condition: service_started",
			d->service, culprit->name);
	return xasprintf("dependency '%s' is not running: container %s is %s", d->service, culprit->name,
		ctr_status(culprit));
}

void stack_fill_slot(StackState *s, size_t i)
{
	struct Slot slot = s->missing[i];
	s->missing[i] = s->missing[--s->n_missing];
	AUTO_ERR err = ERR_INIT;
	Container *c = NULL;
	int r = ctr_new(s, slot.service, slot.number, &c, &err);
	if (r == 0) {
		c->ask_start = c->wanted_running = slot.start;
		r = state_insert_container(c, &err);
	}
	if (r < 0) {
		operation_fail(s, NULL, "service '%s': %s", slot.service, err_text(&err));
		if (c)
			ctr_drop(c);
	} else {
		operation_report(s, "container", c->name, slot.service, "recreated");
		ctr_changed(c);
	}
	free(slot.service);
}

static void create_missing(StackState *s, const char *service, int number)
{
	for (size_t i = 0; i < s->n_missing; i++)
		if (str_eq(s->missing[i].service, service) && s->missing[i].number == number) {
			stack_fill_slot(s, i);
			return;
		}
}

static void carry_out(StackState *s, const PlanStep *step, Container **cs, const PlanSlot *slots)
{
	Container *c = step->slot ? NULL : cs[step->index];
	switch (step->act) {
	case PLAN_CREATE:
		create_missing(s, slots[step->index].service, slots[step->index].number);
		break;
	case PLAN_START:
		ctr_start(c);
		break;
	case PLAN_STOP:
		ctr_stop(c);
		break;
	case PLAN_REMOVE:
		ctr_remove(c);
		break;
	case PLAN_FAIL: {
		AUTO_FREE char *text = why(step, cs[step->culprit]);
		if (c && (!s->op || s->op->failed || deploy_committed(s)) && c->ask_start) {
			c->ask_start = false;
			if (c->phase == PHASE_RUNNING)
				c->ask_stop = false;
			else
				str_set(&c->error, text);
			log_error("%s is not %s: %s", c->name, c->phase == PHASE_RUNNING ? "restarted" : "started", text);
			ctr_changed(c); /* who waits for the start is told */
		}
		if (s->op && !s->op->failed)
			operation_fail(s, cs[step->culprit], "service '%s': %s", c ? c->svc.name : slots[step->index].service, text);
		break;
	}
	case PLAN_WARN: {
		AUTO_FREE char *text = why(step, cs[step->culprit]);
		if (s->op)
			operation_warn(s, "service '%s' is started all the same: %s", c->svc.name, text);
		else
			log_warning("%s is started all the same: %s", c->name, text);
		break;
	}
	}
}

static void run_plan(StackState *s)
{
	static const Stack nothing;
	Daemon *d = s->d;
	Container **cs = NULL;
	PlanContainer *views = NULL;
	PlanSlot *slots = NULL;
	size_t n = 0, n_views = 0, n_slots = 0, n_steps;
	for (size_t i = 0; i < d->n_containers; i++) {
		if (!str_eq(d->containers[i]->stack, s->name))
			continue;
		*array_append(cs, n) = d->containers[i];
		*array_append(views, n_views) = plan_view(d->containers[i]);
	}
	for (size_t i = 0; i < s->n_missing && !d->powering_off; i++) {
		PlanSlot *slot = array_append(slots, n_slots);
		/* The names outlive the pass: create_missing frees a slot's only after it was used. */
		slot->service = xstrdup(s->missing[i].service);
		slot->number = s->missing[i].number;
		slot->start = s->missing[i].start;
	}
	PlanInput in = {
		.stack = s->model ? s->model : &nothing,
		.containers = views,
		.n_containers = n,
		.missing = slots,
		.n_missing = n_slots,
		.no_deps = s->op && s->op->no_deps,
		.restore = (s->restore && !s->op) || deploy_restores(s),
	};
	PlanStep *steps;
	plan_next(&in, &steps, &n_steps);
	for (size_t i = 0; i < n_steps; i++)
		carry_out(s, &steps[i], cs, slots);
	for (size_t i = 0; i < n_slots; i++)
		free((char *) slots[i].service);
	free(steps);
	free(slots);
	free(views);
	free(cs);
}

void stack_run_plans(Daemon *d)
{
	/* A plan may wake its own or, through a name that became free, another stack: go on until all is quiet. */
	bool any = false;
	for (bool again = true; again;) {
		again = false;
		for (size_t i = 0; i < d->n_stacks; i++) {
			StackState *s = d->stacks[i];
			if (!s->awake)
				continue;
			s->awake = false;
			again = any = true;
			run_plan(s);
			if (!d->powering_off)
				operation_check(s); /* may forget s */
		}
	}
	if (any)
		daemon_edge_update(d);
}
