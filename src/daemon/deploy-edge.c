// SPDX-License-Identifier: Apache-2.0
/*
 * A deploy and the edge: when a change of roles is in effect there, what is still in flight to containers that go, and holding requests
 * while a service has nobody to answer. All of it may be asked again and again; answers wake the stack.
 */
#include "daemon/edge.h"

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/deploy-parts.h"
#include "daemon/stack.h"

#define COUNT_PAUSE (50 * NSEC_PER_MSEC)

struct InEdge {
	Deploy *dp;
	bool set;     /* the table was handed over */
	bool applied; /* and is in effect */
	char *error;  /* or cannot be */
	size_t pending;
	uint64_t in_flight;
	bool answered;
	int64_t next; /* mono: not asked again before */
};

void deploy_edge_init(Deploy *dp, DeployService *sv)
{
	const Service *svc = dp->s->model ? stack_service(dp->s->model, sv->name) : NULL;
	sv->edge = xcalloc(1, sizeof(*sv->edge));
	sv->edge->dp = dp;
	for (size_t i = 0; svc && i < svc->n_routes; i++) {
		AUTO_FREE char *name = daemon_edge_backend(dp->s, svc, &svc->routes[i]);
		if (name && !strv_has(sv->backends, name))
			strv_add(&sv->backends, name);
	}
}

void deploy_edge_done(Deploy *dp, DeployService *sv)
{
	if (sv->edge && dp->d->edge)
		edge_forget(dp->d->edge, sv->edge);
	if (sv->edge)
		free(sv->edge->error);
	free_and_null(&sv->edge);
	strv_free(sv->backends);
	sv->backends = NULL;
}

/* ── in effect ────────────────────────────────────────────────────── */

static void applied(void *user, const Err *err)
{
	InEdge *e = user;
	e->applied = !err;
	if (err)
		str_set(&e->error, err_text(err));
	stack_wake(e->dp->s);
}

void deploy_edge_apply(Deploy *dp, DeployService *sv)
{
	InEdge *e = sv->edge;
	*e = (InEdge) { .dp = dp };
	if (!sv->backends)
		return; /* nothing leads to it */
	e->set = true;
	daemon_edge_apply(dp->d, applied, e);
}

bool deploy_edge_applied(DeployService *sv, const char **ret_error)
{
	*ret_error = sv->edge->error;
	return !sv->edge->set || sv->edge->applied;
}

/* ── in flight ────────────────────────────────────────────────────── */

static void counted(void *user, uint64_t n, const Err *err)
{
	InEdge *e = user;
	e->in_flight += err ? 1 : n; /* not known: as if there were one */
	e->answered = --e->pending == 0;
	if (e->answered)
		stack_wake(e->dp->s);
}

bool deploy_edge_idle(Deploy *dp, DeployService *sv, CtrRole role)
{
	InEdge *e = sv->edge;
	if (e->pending)
		return false;
	if (e->answered) {
		e->answered = false;
		e->next = time_mono() + COUNT_PAUSE;
		if (!e->in_flight)
			return true;
	}
	if (e->next > time_mono()) {
		deploy_wake_in(dp, e->next - time_mono());
		return false;
	}
	e->in_flight = 0;
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		const Container *c = dp->d->containers[i];
		if (!deploy_has(dp, c) || c->role != role || !str_eq(c->svc.name, sv->name) || !ctr_is_running(c))
			continue;
		for (char **name = sv->backends; name && *name; name++) {
			e->pending++;
			edge_in_flight(dp->d->edge, *name, c->id, counted, e);
		}
	}
	return !e->pending;
}

/* ── holding ──────────────────────────────────────────────────────── */

void deploy_edge_hold(Deploy *dp, const DeployService *sv, bool on)
{
	if (sv->backends)
		daemon_edge_hold(dp->s, sv->name, on);
}

/* ── errors while it bakes ────────────────────────────────────────── */

void deploy_edge_mark(Deploy *dp, DeployService *sv)
{
	uint64_t requests = 0, errors = 0;
	for (char **name = sv->backends; name && *name; name++) {
		EdgeStats st;
		if (edge_stats(dp->d->edge, *name, NULL, &st)) {
			requests += st.requests;
			errors += st.errors;
		}
		edge_mark(dp->d->edge, *name);
	}
	sv->errors_before = requests ? (double) errors / (double) requests : 0;
}

bool deploy_edge_errors(Deploy *dp, const DeployService *sv, const Container *c, uint64_t *ret_errors, uint64_t *ret_requests)
{
	*ret_errors = *ret_requests = 0;
	for (char **name = sv->backends; name && *name; name++) {
		EdgeStats st;
		if (!edge_stats(dp->d->edge, *name, c->id, &st))
			continue;
		*ret_requests += st.requests;
		*ret_errors += st.errors;
	}
	double rate = *ret_requests ? (double) *ret_errors / (double) *ret_requests : 0;
	return *ret_errors >= BAKE_ERRORS_MIN && rate > BAKE_ERROR_RATE && rate > 2 * sv->errors_before;
}
