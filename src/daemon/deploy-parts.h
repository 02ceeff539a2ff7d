// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the parts of a deploy share. Private to deploy*.c.
 */

#include "daemon/deploy.h"
#include "daemon/release.h"
#include "notify/notice.h"

typedef struct Gate Gate;
typedef struct InEdge InEdge;
typedef struct Knock Knock;

typedef struct DeployService {
	char *name;
	const Service *svc; /* in the release's model; NULL: of the old one alone (after a crash) */
	char **old;         /* ids of the containers that go */
	int *numbers;       /* of the candidates that come */
	size_t n_numbers;
	bool fresh;      /* no container of it was there */
	bool job;        /* runs to its end: 0 is as good as running */
	bool completes;  /* … and others wait for that */
	bool stop_first; /* the old ones stop before the new ones start */
	bool reached;    /* its steps have begun */
	size_t step;     /* index into the steps, deploy.c */
	bool begun;      /* of this step */
	const char *told;/* name of the step as it was announced, or NULL */
	int64_t since;   /* mono: this step began */
	int64_t switched; /* mono: the new ones took over, 0 = not yet */
	bool stop_later;  /* the old ones run on, without requests, until the bake is over */
	int64_t stopping; /* mono: that has come, 0 = not yet */
	bool restored;   /* reverting: the old ones are up, or given up */
	bool withdrawn;  /* reverting: nothing leads to the new ones any more */
	bool restore_begun; /* reverting, stop-first: the old ones may be started */
	int64_t restore_since;
	bool drained;    /* reverting: nothing is in flight to the new ones */
	char **backends; /* names in the edge of what leads to it (in the stack's model) */
	InEdge *edge;
	double errors_before; /* share of 5xx before the switch */
	int64_t looked;  /* mono: last look of its bake */
	int near_limit;  /* looks in a row at which a new one's memory was near its limit */
	bool hook_begun; /* pre_deploy may have done something */
	bool hook_ended; /* with 0, and its container is being removed */
} DeployService;

typedef enum DeployPhase {
	DEPLOY_SERVICES, /* one after the other */
	DEPLOY_VERIFY,   /* what is not replaced must still work with what is */
	DEPLOY_BAKE,
	DEPLOY_COMMIT,
	DEPLOY_RETIRE,   /* committed: the old ones go */
	DEPLOY_POST,
	DEPLOY_REVERT,
	DEPLOY_DONE,
} DeployPhase;

struct Deploy {
	Operation *op;
	StackState *s;
	Daemon *d;
	Release release;
	bool plan_only, unchanged;
	bool interrupted; /* by the daemon's end */
	bool no_restart;  /* reverting: the stack is going to be stopped */
	bool reverting_begun;
	bool retire_begun;
	DeployPhase phase;
	DeployService *services;
	size_t n_services, at;
	int64_t began;    /* mono */
	int64_t phase_since;
	Gate **gates;
	size_t n_gates;
	Knock **knocks;
	size_t n_knocks;
	uv_timer_t *timer; /* heap, freed by its close callback; NULL when idle */
	int64_t timer_due;

	/* The report. */
	json_t *timeline;
	char **warnings;
	char *failed_step, *failed_service, *failed_container, *failed_text;
	json_t *failed_logs, *failed_health;
	int failed_exit; /* -1: it runs, or no container is to blame */
	bool failed_oom;
	int64_t failed_peak; /* bytes, 0 = not known */
};

/* deploy-plan.c: what is to be done. */

/** Fills dp->services from what runs and dp->release. */
void deploy_plan(Deploy *dp, bool force, bool never);
/** The lines of `deploy --plan`. */
void deploy_tell_plan(const Deploy *dp);
/** What both generations would need and only one can have: NULL, or words for it. */
const char *deploy_exclusive(const Deploy *dp, const Service *svc);
DeployService *deploy_service(const Deploy *dp, const char *name);
/** The model with `services` as in `now` and the others as in `old`. */
int deploy_merge_model(const Stack *old, const Stack *now, char *const *services, Stack **ret, Err *err);

/** How long the new ones must run well before they get requests; 0 where there is nobody whose requests could be spared a bad one. */
int64_t deploy_settle(const Deploy *dp, const DeployService *sv);

/* deploy-coming.c: images that a plan takes for being here. */

/** [{"name", "config"}], the configuration as text; NULL is none. -EINVAL. */
int deploy_coming_parse(Operation *op, const json_t *list, Err *err);
void deploy_coming_add(Operation *op);
void deploy_coming_remove(Operation *op);

/* deploy-memory.c */

/** -ENOMEM if that is more than the machine has. */
int deploy_memory_check(const Deploy *dp, Err *err);

/* deploy-gate.c: is a container fit to serve? Each question has a Gate of its own that remembers its probes. */

typedef enum GateKind { GATE_HEALTH, GATE_SMOKE } GateKind;
typedef enum GateState { GATE_WAITING, GATE_PASSED, GATE_FAILED } GateState;

/** Asked again after each change. `ret_why` (may be NULL): what is wrong so far, borrowed. */
GateState deploy_gate(Deploy *dp, Container *c, GateKind kind, const char **ret_why);
void deploy_gates_free(Deploy *dp);
/** Smoke tests and routes that no container could ever pass. `where` gets the path in the model. */
int deploy_gate_check(Daemon *d, const Service *svc, const char *image_id, ModelPath *where, Err *err);

/* deploy-report.c */

/** A line of progress, kept for the report. `seconds` < 0: none. `detail` may be NULL. */
void deploy_report(Deploy *dp, const char *service, const char *step, const char *status, double seconds, const char *detail);
/** The first failure; the deploy turns back. `c` (may be NULL) is the container to blame. */
void deploy_fail(Deploy *dp, const DeployService *sv, Container *c, const char *step, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/** Tells those whom the release's model names. */
void deploy_notify(const Deploy *dp, NoticeKind kind);
json_t *deploy_report_json(const Deploy *dp);
/** One paragraph: what failed, what serves now, what to do. The caller's. */
char *deploy_paragraph(const Deploy *dp);

/* deploy-switch.c: roles. */

/** Makes the candidates of a service, in one transaction. */
int deploy_make_candidates(Deploy *dp, DeployService *sv, Err *err);
/** The old ones serve no more: their rows say so before anything is done. */
int deploy_retire_old(Deploy *dp, DeployService *sv, Err *err);
int deploy_switch(Deploy *dp, DeployService *sv, Err *err);
/** All or nothing: from here on the new release is the stack. */
int deploy_commit(Deploy *dp, Err *err);
/** Names of what was made and is undone. */
void deploy_undo_objects(Deploy *dp);

/* deploy-edge.c */

#define BAKE_ERRORS_MIN 5 /* fewer errors than this say nothing */
#define BAKE_ERROR_RATE 0.05

void deploy_edge_init(Deploy *dp, DeployService *sv);
void deploy_edge_done(Deploy *dp, DeployService *sv);
/** Hands the roles as they are to the edge. */
void deploy_edge_apply(Deploy *dp, DeployService *sv);
/** They are in effect. `ret_error`: why they cannot be, borrowed, or NULL. */
bool deploy_edge_applied(DeployService *sv, const char **ret_error);
/** No request is in flight to the running containers of the service with this role; false also while that is being asked. */
bool deploy_edge_idle(Deploy *dp, DeployService *sv, CtrRole role);
void deploy_edge_hold(Deploy *dp, const DeployService *sv, bool on);
/** Counts of requests and errors begin anew. */
void deploy_edge_mark(Deploy *dp, DeployService *sv);
/** It answers with more errors than is good, and than before. */
bool deploy_edge_errors(Deploy *dp, const DeployService *sv, const Container *c, uint64_t *ret_errors, uint64_t *ret_requests);

/* deploy-bake.c: false when a candidate is worse than it should be; then the deploy has turned back. */
bool deploy_bake(Deploy *dp, DeployService *sv);
void deploy_bake_done(Deploy *dp);

/* deploy-hook.c */

#define HOOK_LINES_TOLD 400

/** Begins, or goes on with, a hook of a service. 0: it has ended well; 1: it runs; <0: it failed (err says how, *ret its container if it is there). */
int deploy_hook(Deploy *dp, DeployService *sv, const char *name, char *const *argv, Container **ret, Err *err);

/* deploy-revert.c */
void deploy_revert_begin(Deploy *dp);
/** True: all is as before, and nothing is under way. */
bool deploy_revert(Deploy *dp);

/* deploy.c */

/** The check is asked again at the latest in so many ns. */
void deploy_wake_in(Deploy *dp, int64_t ns);
bool deploy_has(const Deploy *dp, const Container *c);
bool deploy_is_candidate(const Deploy *dp, const DeployService *sv, const Container *c);
bool deploy_is_old(const DeployService *sv, const Container *c);
void deploy_set_phase(Deploy *dp, DeployPhase phase);
