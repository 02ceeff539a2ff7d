// SPDX-License-Identifier: Apache-2.0
#include "plan/plan.h"

#include "base/mem.h"
#include "base/str.h"

typedef enum Verdict {
	HOLDS,
	WAIT,
	NEVER,
} Verdict;

typedef struct Plan {
	const PlanInput *in;
	PlanStep *steps;
	size_t n_steps;
} Plan;

static PlanStep *add(Plan *p, PlanAct act, bool slot, size_t index)
{
	PlanStep *s = array_append(p->steps, p->n_steps);
	s->act = act;
	s->slot = slot;
	s->index = index;
	return s;
}

/* What one container of the dependency says of the condition. */
static Verdict container_verdict(const PlanContainer *c, DependsCondition condition)
{
	if (c->start || c->stop || c->remove || c->busy)
		return WAIT;
	switch (condition) {
	case DEPENDS_STARTED:
		return c->phase == PLAN_CREATED ? NEVER : HOLDS;
	case DEPENDS_HEALTHY:
		if (c->restarting)
			return WAIT;
		if (c->phase != PLAN_RUNNING || c->health == PLAN_UNHEALTHY || c->health == PLAN_NO_CHECK)
			return NEVER;
		return c->health == PLAN_HEALTHY ? HOLDS : WAIT;
	case DEPENDS_COMPLETED:
		if (c->phase == PLAN_RUNNING || c->restarting)
			return WAIT;
		return c->phase == PLAN_EXITED && c->exit_code == 0 ? HOLDS : NEVER;
	}
	return NEVER;
}

/* All containers of the dependency together; the first that can never satisfy it is the culprit. */
static Verdict depends_verdict(const PlanInput *in, const Depends *d, size_t *ret_culprit)
{
	Verdict v = HOLDS;
	for (size_t i = 0; i < in->n_missing; i++)
		if (str_eq(in->missing[i].service, d->service))
			v = WAIT;
	for (size_t i = 0; i < in->n_containers; i++) {
		if (!str_eq(in->containers[i].service, d->service) || in->containers[i].aside)
			continue;
		Verdict one = container_verdict(&in->containers[i], d->condition);
		if (one == NEVER) {
			*ret_culprit = i;
			return NEVER;
		}
		if (one == WAIT)
			v = WAIT;
	}
	return v;
}

/*
 * May a container of this service start? HOLDS or WAIT; NEVER after a PLAN_FAIL was added. Warnings
 * are added only where everything else holds, so that each is said once, together with the step.
 */
static Verdict may_start(Plan *p, const char *service, bool slot, size_t index)
{
	const Service *own = slot ? NULL : p->in->containers[index].svc;
	const Service *svc = own ? own : stack_service(p->in->stack, service);
	Verdict all = HOLDS;
	if (!svc || p->in->no_deps)
		return HOLDS;
	for (size_t i = 0; i < svc->n_depends; i++) {
		const Depends *d = &svc->depends[i];
		size_t culprit = 0;
		Verdict v = depends_verdict(p->in, d, &culprit);
		if (v == NEVER && d->required && !p->in->restore) {
			PlanStep *s = add(p, PLAN_FAIL, slot, index);
			s->depends = d;
			s->culprit = culprit;
			return NEVER;
		}
		if (v == WAIT)
			all = WAIT;
	}
	for (size_t i = 0; all == HOLDS && i < svc->n_depends; i++) {
		size_t culprit = 0;
		if (depends_verdict(p->in, &svc->depends[i], &culprit) != NEVER)
			continue;
		PlanStep *s = add(p, PLAN_WARN, slot, index);
		s->depends = &svc->depends[i];
		s->culprit = culprit;
	}
	return all;
}

/* Nothing that depends on the service and is asked to stop too is still running. */
static bool may_stop(const PlanInput *in, const char *service)
{
	for (size_t i = 0; i < in->n_containers; i++) {
		const PlanContainer *c = &in->containers[i];
		if (c->phase != PLAN_RUNNING || !(c->stop || (c->remove && !c->replace)))
			continue;
		const Service *svc = c->svc ? c->svc : stack_service(in->stack, c->service);
		for (size_t k = 0; svc && k < svc->n_depends; k++)
			if (str_eq(svc->depends[k].service, service))
				return false;
	}
	return true;
}

/* Something that the service depends on is to stop before it can be there again. */
static bool dependency_stops(const PlanInput *in, const char *service)
{
	const Service *svc = stack_service(in->stack, service);
	for (size_t i = 0; svc && i < in->n_containers; i++) {
		const PlanContainer *c = &in->containers[i];
		if (!c->stop && !(c->remove && !c->replace))
			continue;
		for (size_t k = 0; k < svc->n_depends; k++)
			if (str_eq(svc->depends[k].service, c->service))
				return true;
	}
	return false;
}

/* A restart whose second half would have to wait, or would fail, lets the container run until then. */
static bool may_restart(Plan *p, const PlanContainer *c, size_t i)
{
	return !c->start || c->remove || dependency_stops(p->in, c->service) || may_start(p, c->service, false, i) == HOLDS;
}

static void plan_container(Plan *p, size_t i)
{
	const PlanContainer *c = &p->in->containers[i];
	if (c->busy)
		return;
	if (c->remove && c->replace) {
		if (c->phase != PLAN_RUNNING)
			add(p, PLAN_REMOVE, false, i);
		else if (may_start(p, c->service, false, i) == HOLDS)
			add(p, PLAN_STOP, false, i);
	} else if (c->remove && c->phase != PLAN_RUNNING) {
		add(p, PLAN_REMOVE, false, i);
	} else if (c->remove || c->stop) {
		/* One that ended by itself meanwhile has nothing to wait for. */
		if (c->phase != PLAN_RUNNING || (may_stop(p->in, c->service) && may_restart(p, c, i)))
			add(p, PLAN_STOP, false, i);
	} else if (c->start && c->phase != PLAN_RUNNING) {
		if (may_start(p, c->service, false, i) == HOLDS)
			add(p, PLAN_START, false, i);
	}
}

/* A container can be made when its name is free and what it borrows a namespace from is there. */
static void plan_slot(Plan *p, size_t i)
{
	const PlanSlot *s = &p->in->missing[i];
	if (s->busy)
		return;
	for (size_t k = 0; k < p->in->n_containers; k++)
		if (str_eq(p->in->containers[k].service, s->service) && p->in->containers[k].number == s->number)
			return;
	add(p, PLAN_CREATE, true, i);
}

void plan_next(const PlanInput *in, PlanStep **ret, size_t *ret_n)
{
	Plan p = { .in = in };
	for (size_t i = 0; i < in->n_containers; i++)
		plan_container(&p, i);
	for (size_t i = 0; i < in->n_missing; i++)
		plan_slot(&p, i);
	*ret = p.steps;
	*ret_n = p.n_steps;
}
