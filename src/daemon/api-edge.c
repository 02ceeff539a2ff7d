// SPDX-License-Identifier: Apache-2.0
/*
 * /stead/v1: routes, maintenance and the cache. docs/API.md describes it.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/api.h"
#include "daemon/edge.h"
#include "daemon/json.h"

/* ── answers that wait for HAProxy ────────────────────────────────── */

typedef struct Answer {
	HttpRequest *r; /* NULL once the client has gone */
} Answer;

static void client_gone(void *user)
{
	((Answer *) user)->r = NULL;
}

static void in_effect(void *user, const Err *err)
{
	Answer *a = user;
	HttpRequest *r = a->r;
	if (r) {
		http_set_user(r, NULL, NULL);
		if (err)
			http_error(r, 500, "it is noted, but not in effect yet: %s", err_text(err));
		else
			http_reply(r, 204, NULL, NULL, 0);
	}
	free(a);
}

static void answer_in_effect(Daemon *d, HttpRequest *r)
{
	Answer *a = xcalloc(1, sizeof(*a));
	a->r = r;
	http_set_user(r, a, client_gone);
	daemon_edge_apply(d, in_effect, a);
}

/* ── maintenance ──────────────────────────────────────────────────── */

static void maintenance(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	StackState *s = api_stack(d, r, args[0]);
	json_t *body = NULL;
	if (!s)
		return;
	int e = http_body_json(r, &body, &err);
	const json_t *on = json_object_get(body, "on");
	AUTO_STRV char **services = json_to_strv(json_object_get(body, "services"));
	if (e == 0 && !json_is_boolean(on))
		e = err_set(&err, -EINVAL, "\"on\" must be true or false");
	if (e == 0)
		e = daemon_edge_maintenance(s, services, json_is_true(on), &err);
	json_decref(body);
	if (e < 0) {
		http_error_err(r, &err);
		return;
	}
	answer_in_effect(d, r);
}

/* ── the cache ────────────────────────────────────────────────────── */

static void purge(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	StackState *s = api_stack(d, r, args[0]);
	json_t *body = NULL;
	if (!s)
		return;
	int e = http_body_json(r, &body, &err);
	AUTO_STRV char **services = json_to_strv(json_object_get(body, "services"));
	json_decref(body);
	if (e == 0)
		e = daemon_edge_purge(s, services, &err);
	if (e < 0)
		http_error_err(r, &err);
	else
		answer_in_effect(d, r);
}

/* ── routes ───────────────────────────────────────────────────────── */

static const char *replica_state(const Container *c, const EdgeServer *server)
{
	if (server)
		return server->draining ? "draining" : "up";
	return ctr_is_running(c) && c->health_state == HEALTH_STARTING ? "starting" : c->phase == PHASE_STARTING ? "starting" : "down";
}

static json_t *replicas_json(Daemon *d, const EdgeRoute *route)
{
	json_t *list = json_array();
	const EdgeBackend *b = edge_table_backend(d->edge_table, route->backend);
	for (size_t i = 0; i < d->n_containers; i++) {
		Container *c = d->containers[i];
		const EdgeServer *server = NULL;
		if (!str_eq(c->stack, route->stack) || !str_eq(c->svc.name, route->service) || c->oneoff)
			continue;
		for (size_t k = 0; k < b->n_servers; k++)
			if (str_eq(b->servers[k].id, c->id))
				server = &b->servers[k];
		json_array_append_new(list, json_pack("{s:s, s:s, s:s?, s:s, s:i}", "container", c->id, "name", c->name, "address", edge_container_address(c), "state",
						    replica_state(c, server), "release", c->release));
	}
	return list;
}

static uint16_t backend_port(const char *name)
{
	const char *colon = strrchr(name, ':');
	uint32_t port = 0;
	(void) parse_u32_max(colon ? colon + 1 : "", UINT16_MAX, &port);
	return (uint16_t) port;
}

static json_t *certificate_json(const EdgeCertificate *c)
{
	char text[TIME_TEXT_MAX];
	json_t *o = json_object();
	if (str_eq(c->kind, "off"))
		return o;
	(void) json_object_set_new(o, "own", json_boolean(c->own));
	if (c->not_after)
		(void) json_object_set_new(o, "not_after", json_string(time_rfc3339(c->not_after * NSEC_PER_SEC, text)));
	if (c->issuer)
		(void) json_object_set_new(o, "issuer", json_string(c->issuer));
	if (c->error)
		(void) json_object_set_new(o, "error", json_string(c->error));
	if (c->next)
		(void) json_object_set_new(o, "next", json_string(time_rfc3339(c->next * NSEC_PER_SEC, text)));
	if (c->ca)
		(void) json_object_set_new(o, "ca", json_string(c->ca));
	return o;
}

static json_t *route_json(Daemon *d, const EdgeRoute *route)
{
	EdgeStats st = { 0 };
	char since[TIME_TEXT_MAX];
	const EdgeBackend *b = edge_table_backend(d->edge_table, route->backend);
	EdgeCertificate cert;
	(void) edge_stats(d->edge, route->backend, NULL, &st);
	edge_certificate(d->edge, &route->route, &cert);
	return json_pack("{s:s?, s:s, s:s, s:s, s:i, s:o, s:b, s:s, s:o, s:I, s:I, s:f, s:f, s:s}", "host", route->route.host, "path", route->route.path, "stack",
		route->stack, "service", route->service, "port", backend_port(route->backend), "replicas", replicas_json(d, route), "maintenance", b->maintenance, "tls",
		cert.kind, "certificate", certificate_json(&cert), "requests", (json_int_t) st.requests, "errors", (json_int_t) st.errors, "p50", (double) st.p50 / NSEC_PER_SEC, "p99",
		(double) st.p99 / NSEC_PER_SEC, "since", time_rfc3339(st.since, since));
}

static void routes(Daemon *d, HttpRequest *r, char *const *args)
{
	json_t *list = json_array();
	daemon_edge_update(d);
	bool off = str_eq(d->o.edge_http, "off") && str_eq(d->o.edge_https, "off");
	const char *trouble = off ? "--edge-http and --edge-https are off" : edge_trouble(d->edge);
	AUTO_FREE char *error = !trouble ? NULL : xasprintf(edge_pid(d->edge) && !off ? "what is new is not in effect: %s" : "nothing is served: %s", trouble);
	for (size_t i = 0; i < d->edge_table->n_routes; i++) {
		json_t *o = route_json(d, &d->edge_table->routes[i]);
		if (error)
			(void) json_object_set_new(o, "error", json_string(error));
		json_array_append_new(list, o);
	}
	http_reply_json(r, 200, list);
}

static void authority(Daemon *d, HttpRequest *r, char *const *args)
{
	const char *file = edge_authority(d->edge);
	AUTO_BUF pem = BUF_INIT;
	int e = file_read(AT_FDCWD, file, LIMIT_CERT_FILE, &pem);
	if (e == -ENOENT)
		http_error(r, 404, "this machine has no certificate authority yet; it gets one with the first route that is served over HTTPS");
	else if (e < 0)
		http_error(r, 500, "%s: %s", file, strerror(-e));
	else
		http_reply_json(r, 200, json_pack("{s:s, s:s}", "file", file, "certificate", buf_cstr(&pem)));
}

const ApiRoute api_edge_routes[] = {
	{ "GET", "/stead/v1/authority", authority, false },
	{ "GET", "/stead/v1/routes", routes, false },
	{ "POST", "/stead/v1/stacks/*/maintenance", maintenance, false },
	{ "POST", "/stead/v1/stacks/*/cache/purge", purge, false },
	{ NULL, NULL, NULL, false },
};
