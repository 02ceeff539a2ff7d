// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The plan: which steps may start now, given what is asked of each container of a stack and what is
 * observed of it. Pure and level-triggered: the daemon asks again after each change, and after a
 * crash it asks as if nothing had happened; nothing is resumed, everything is looked at anew.
 *
 * Order, as Compose has it: a container starts when the conditions of its service's `depends_on`
 * hold; it stops when all that depends on it and is asked to stop as well has stopped; one that is
 * replaced stops only when its successor could start, and one that is restarted when it could start again,
 * unless what it depends on is to stop, too. Conditions that can no longer come true end in
 * a PLAN_FAIL step (or, for `required: false` and when a machine is restored after a boot, in a PLAN_WARN).
 */

#include <stdbool.h>
#include <stddef.h>

#include "model/stack.h"

typedef enum PlanPhase {
	PLAN_CREATED, /* never started */
	PLAN_RUNNING,
	PLAN_EXITED,
} PlanPhase;

typedef enum PlanHealth { PLAN_NO_CHECK, PLAN_STARTING, PLAN_HEALTHY, PLAN_UNHEALTHY } PlanHealth;

typedef struct PlanContainer {
	const char *service; /* may name a service that the stack no longer has (an orphan) */
	int number;          /* 1… */
	PlanPhase phase;
	PlanHealth health;
	int exit_code;   /* of the last run, when PLAN_EXITED */
	bool restarting; /* exited, and its restart policy will start it again */
	bool busy;       /* a step on it is under way */
	bool stop;       /* asked: stop, then clear */
	bool start;      /* asked: start (after `stop`: a restart), then clear */
	bool remove;     /* asked: stop and remove */
	bool replace;    /* with remove: a new one takes its place (it also stands in `missing`) */
	bool aside;      /* of a release that does not serve (yet, or any more): nothing depends on it */
	const Service *svc; /* whose depends_on counts for it; NULL = that of the stack's service */
} PlanContainer;

/** A container that is wanted and does not exist yet (or whose predecessor is still there). */
typedef struct PlanSlot {
	const char *service;
	int number;
	bool busy; /* being created */
	bool start; /* it is to be started once it is there */
} PlanSlot;

typedef struct PlanInput {
	const Stack *stack;
	const PlanContainer *containers;
	size_t n_containers;
	const PlanSlot *missing;
	size_t n_missing;
	bool no_deps; /* conditions are not looked at */
	bool restore; /* after a boot: a condition that cannot come true is a warning */
} PlanInput;

typedef enum PlanAct {
	PLAN_CREATE, /* index: missing */
	PLAN_START,  /* index: containers */
	PLAN_STOP,
	PLAN_REMOVE,
	PLAN_FAIL, /* index: containers or, with `slot`, missing; dependency, condition and culprit say why */
	PLAN_WARN, /* the same, and the start goes on: a START or STOP step of the same container is in the list too */
} PlanAct;

typedef struct PlanStep {
	PlanAct act;
	bool slot;
	size_t index;
	const Depends *depends; /* FAIL, WARN: the condition that cannot hold */
	size_t culprit;         /* FAIL, WARN: index into containers */
} PlanStep;

/** The steps that may start now, in no particular order. `ret` is the caller's (free). */
void plan_next(const PlanInput *in, PlanStep **ret, size_t *ret_n);
