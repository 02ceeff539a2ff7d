// SPDX-License-Identifier: Apache-2.0
/*
 * Gates. Health is the container's own check where it has one. Where it has none, stead asks from outside: an HTTP request where a route
 * leads, a TCP connection where the file says that it listens (`expose`, `ports`; what an image exposes may be another command's). An answer of
 * 500 and above is not yet an answer. Who listens nowhere is fit as soon as it runs.
 *
 * A probe that fails is tried again, ever more seldom, until the deploy loses patience; a smoke test is asked once.
 */
#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/deploy-parts.h"
#include "daemon/edge.h"
#include "daemon/health.h"
#include "daemon/stack.h"
#include "io/probe.h"

#define PAUSE_FIRST (20 * NSEC_PER_MSEC)
#define PAUSE_MAX (1 * NSEC_PER_SEC)
#define PROBE_TIMEOUT (5 * NSEC_PER_SEC)
#define TEXT_SHOWN 200

struct Gate {
	Deploy *dp;
	char id[65];
	GateKind kind;
	GateState state;
	size_t done; /* probes that have passed */
	char *why;
	Probe *probe;
	int64_t pause, next;
	uint16_t port;         /* of the probe under way */
	const SmokeTest *test; /* smoke: the one under way */
};

void deploy_gates_free(Deploy *dp)
{
	for (size_t i = 0; i < dp->n_gates; i++) {
		probe_cancel(dp->gates[i]->probe);
		free(dp->gates[i]->why);
		free(dp->gates[i]);
	}
	free_and_null(&dp->gates);
	dp->n_gates = 0;
}

static Gate *gate_of(Deploy *dp, const Container *c, GateKind kind)
{
	for (size_t i = 0; i < dp->n_gates; i++)
		if (dp->gates[i]->kind == kind && str_eq(dp->gates[i]->id, c->id))
			return dp->gates[i];
	Gate *g = xcalloc(1, sizeof(*g));
	g->dp = dp;
	g->kind = kind;
	g->pause = PAUSE_FIRST;
	(void) snprintf(g->id, sizeof(g->id), "%s", c->id);
	*array_append(dp->gates, dp->n_gates) = g;
	return g;
}

/* ── ports ────────────────────────────────────────────────────────── */

static void add_port(uint16_t **ports, size_t *n, uint32_t port)
{
	for (size_t i = 0; i < *n; i++)
		if ((*ports)[i] == port)
			return;
	if (port > 0 && port <= UINT16_MAX)
		*array_append(*ports, *n) = (uint16_t) port;
}

/* "80", "80/tcp"; ranges and UDP are not what HTTP is spoken on. */
static void add_exposed(uint16_t **ports, size_t *n, char *const *list)
{
	for (; list && *list; list++) {
		AUTO_FREE char *number = xstrndup(*list, strcspn(*list, "/"));
		uint32_t port;
		if (!str_ends(*list, "/udp") && !str_ends(*list, "/sctp") && parse_u32_max(number, UINT16_MAX, &port) == 0)
			add_port(ports, n, port);
	}
}

/* What the file says that it listens on. */
static uint16_t *stated_ports(const Service *svc, size_t *n)
{
	uint16_t *ports = NULL;
	*n = 0;
	add_exposed(&ports, n, svc->expose);
	for (size_t i = 0; i < svc->n_ports; i++)
		if (!str_eq(svc->ports[i].protocol, "udp"))
			add_port(&ports, n, svc->ports[i].target);
	return ports;
}

static int smoke_port(Daemon *d, const Service *svc, const char *image_id, const SmokeTest *t, uint16_t *ret, Err *err)
{
	return edge_route_port(d, svc, image_id, t->port || !svc->n_routes ? t->port : svc->routes[0].port, ret, err);
}

int deploy_gate_check(Daemon *d, const Service *svc, const char *image_id, ModelPath *where, Err *err)
{
	for (size_t i = 0; i < svc->deploy_rules.n_smoke; i++) {
		const SmokeTest *t = &svc->deploy_rules.smoke[i];
		(void) snprintf(where->text, sizeof(where->text), "services.%s.x-stead.deploy.smoke[%zu]", svc->name, i);
		uint16_t port;
		if (smoke_port(d, svc, image_id, t, &port, err) < 0)
			return err_wrap(err, "the smoke test can never pass");
	}
	if (svc->n_routes || svc->deploy_rules.n_smoke) {
		(void) snprintf(where->text, sizeof(where->text), "services.%s.network_mode", svc->name);
		if (str_eq(svc->network_mode, "none"))
			return err_set(err, -EINVAL, "nothing can reach a service without a network, and its smoke tests and routes could never pass");
	}
	return 0;
}

/* ── probes ───────────────────────────────────────────────────────── */

static void set_why(Gate *g, char *text)
{
	/* It becomes part of a sentence, and what was answered may have several lines. */
	size_t len = strlen(text);
	for (char *p = text; *p; p++)
		if (*p == '\n' || *p == '\r' || *p == '\t')
			*p = ' ';
	while (len && text[len - 1] == ' ')
		text[--len] = '\0';
	free(g->why);
	g->why = text;
}

static void try_later(Gate *g)
{
	g->next = time_mono() + g->pause;
	g->pause = g->pause * 2 > PAUSE_MAX ? PAUSE_MAX : g->pause * 2;
}

static bool contains(const ProbeResult *r, const char *text)
{
	return !text || memmem(r->body, r->body_len, text, strlen(text));
}

static void smoke_answered(Gate *g, const ProbeResult *r)
{
	const SmokeTest *t = g->test;
	g->state = GATE_FAILED;
	if (r->err)
		set_why(g, xasprintf("GET %s: %s", t->get, err_text(r->err)));
	else if (r->status != t->status)
		set_why(g, xasprintf("GET %s answered %d, not %d: %.*s", t->get, r->status, t->status, TEXT_SHOWN, r->body));
	else if (!contains(r, t->contains))
		set_why(g, xasprintf("GET %s answered without \"%s\": %.*s", t->get, t->contains, TEXT_SHOWN, r->body));
	else
		g->state = GATE_WAITING;
	if (g->state == GATE_WAITING)
		g->done++;
}

static void answered(void *user, const ProbeResult *r)
{
	Gate *g = user;
	g->probe = NULL;
	if (g->kind == GATE_SMOKE) {
		smoke_answered(g, r);
	} else if (r->err) {
		set_why(g, xasprintf("port %u: %s", g->port, err_text(r->err)));
		try_later(g);
	} else if (r->status >= 500) {
		set_why(g, xasprintf("port %u answers %d: %.*s", g->port, r->status, TEXT_SHOWN, r->body));
		try_later(g);
	} else {
		g->done++;
		g->pause = PAUSE_FIRST;
	}
	stack_wake(g->dp->s);
}

static void ask(Gate *g, Container *c, uint16_t port, const char *path, const char *host, int64_t timeout)
{
	AUTO_ERR err = ERR_INIT;
	if (g->next > time_mono()) {
		deploy_wake_in(g->dp, g->next - time_mono());
		return;
	}
	ProbeOptions o = {
		.address = edge_container_address(c),
		.port = port,
		.path = path,
		.host = host,
		.timeout_ns = timeout,
		.body_max = g->kind == GATE_SMOKE ? LIMIT_PROBE_BODY : TEXT_SHOWN,
	};
	g->port = port;
	int r = o.address ? probe_start(c->d->loop, &o, answered, g, &g->probe, &err) :
			    err_set(&err, -ENETUNREACH, "the container has no address");
	if (r == 0)
		return;
	set_why(g, xstrdup(err_text(&err)));
	if (g->kind == GATE_SMOKE)
		g->state = GATE_FAILED;
	try_later(g);
	deploy_wake_in(g->dp, g->next - time_mono());
}

/* A wildcard's host is any name below it. */
static char *probe_host(const Route *r)
{
	if (!r->host)
		return NULL;
	return str_starts(r->host, "*.") ? xasprintf("stead%s", r->host + 1) : xstrdup(r->host);
}

/* The container's own check, unless it is the routes that are new for a container that stays. */
static bool asks_check(const Gate *g, const Container *c)
{
	return c->check.test && !c->check.disable && (c->role != ROLE_CURRENT || g->dp->phase == DEPLOY_REVERT);
}

static GateState ask_health(Gate *g, Container *c)
{
	const Stack *model = g->dp->release.model;
	const Service *latest = model && g->dp->phase != DEPLOY_REVERT ? stack_service(model, c->svc.name) : NULL;
	const Service *svc = latest ? latest : &c->svc;
	bool check = asks_check(g, c);
	if (g->probe || (check && c->health_state != HEALTH_HEALTHY))
		return GATE_WAITING;
	if (g->done < svc->n_routes) {
		const Route *r = &svc->routes[g->done];
		AUTO_FREE char *host = probe_host(r);
		uint16_t port = 0;
		(void) edge_route_port(c->d, svc, c->image_id, r->port, &port, NULL); /* it was found when the deploy began */
		/* The check knows better what a good answer is; that the route leads to a port where somebody listens it cannot know. */
		ask(g, c, port, check ? NULL : r->path, host, r->timeout > 0 && r->timeout < PROBE_TIMEOUT ? r->timeout : PROBE_TIMEOUT);
		return GATE_WAITING;
	}
	size_t n = 0, at = g->done - svc->n_routes;
	uint16_t *ports = svc->n_routes || check ? NULL : stated_ports(svc, &n);
	uint16_t port = at < n ? ports[at] : 0;
	free(ports);
	if (port)
		ask(g, c, port, NULL, NULL, PROBE_TIMEOUT);
	return port ? GATE_WAITING : GATE_PASSED;
}

static GateState ask_smoke(Gate *g, Container *c)
{
	const Service *svc = stack_service(g->dp->release.model, c->svc.name);
	if (g->probe)
		return GATE_WAITING;
	if (g->done >= svc->deploy_rules.n_smoke)
		return GATE_PASSED;
	g->test = &svc->deploy_rules.smoke[g->done];
	AUTO_FREE char *host = svc->n_routes ? probe_host(&svc->routes[0]) : NULL;
	uint16_t port = 0;
	(void) smoke_port(c->d, svc, c->image_id, g->test, &port, NULL);
	ask(g, c, port, g->test->get, host, g->test->timeout);
	return g->state;
}

static void note_health(Gate *g, Container *c)
{
	json_t *health = health_json(c), *log = json_object_get(health, "Log");
	const char *output = json_string_value(json_object_get(json_array_get(log, json_array_size(log) - 1), "Output"));
	if (json_array_size(log))
		set_why(g, xasprintf("its health check says: %.*s", TEXT_SHOWN, output ? output : ""));
	else
		set_why(g, xstrdup("its health check has not answered yet"));
	json_decref(health);
}

GateState deploy_gate(Deploy *dp, Container *c, GateKind kind, const char **ret_why)
{
	Gate *g = gate_of(dp, c, kind);
	if (g->state == GATE_WAITING)
		g->state = !ctr_is_running(c) ? GATE_WAITING : kind == GATE_HEALTH ? ask_health(g, c) : ask_smoke(g, c);
	if (g->state == GATE_WAITING && kind == GATE_HEALTH && asks_check(g, c) && c->health_state != HEALTH_HEALTHY)
		note_health(g, c);
	if (ret_why)
		*ret_why = g->why;
	return g->state;
}
