// SPDX-License-Identifier: Apache-2.0
/*
 * The table is made anew from models and containers whenever a stack was awake, and handed on only if it is another than the last. A
 * container is in its backend from the moment it serves until it has ended: one that is being stopped, that was replaced, or whose check fails
 * gets no new requests but may finish those it has.
 */
#include "daemon/edge.h"

#include <errno.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/json.h"
#include "daemon/network.h"
#include "daemon/operation.h"
#include "daemon/stack.h"
#include "store/store.h"

#define VERSION_DIGITS 16

/* ── ports and addresses ──────────────────────────────────────────── */

/* "80", "80/tcp"; others are none that HTTP is spoken on. */
static uint16_t tcp_port(const char *s)
{
	AUTO_FREE char *number = xstrndup(s, strcspn(s, "/"));
	const char *protocol = s + strlen(number);
	uint32_t port;
	if ((*protocol && !str_eq(protocol, "/tcp")) || parse_u32_max(number, UINT16_MAX, &port) < 0)
		return 0;
	return (uint16_t) port;
}

typedef struct Ports {
	uint16_t items[64];
	size_t n;
} Ports;

static void add_port(Ports *p, uint16_t port)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->items[i] == port)
			return;
	if (port && p->n < ARRAY_SIZE(p->items))
		p->items[p->n++] = port;
}

int edge_route_port(Daemon *d, const Service *svc, const char *image_id, uint16_t port, uint16_t *ret, Err *err)
{
	Ports ports = { 0 };
	AUTO_BUF list = BUF_INIT;
	const Image *img = image_id ? daemon_image_by_id(d, image_id) : NULL;
	if (port) {
		*ret = port;
		return 0;
	}
	for (char **e = svc->expose; e && *e; e++)
		add_port(&ports, tcp_port(*e));
	for (size_t i = 0; i < svc->n_ports; i++)
		if (str_eq(svc->ports[i].protocol, "tcp"))
			add_port(&ports, svc->ports[i].target);
	for (char **e = img && !ports.n ? img->config.exposed_ports : NULL; e && *e; e++)
		add_port(&ports, tcp_port(*e));
	if (ports.n == 1) {
		*ret = ports.items[0];
		return 0;
	}
	if (!ports.n)
		return err_set(err, -EINVAL, "neither service '%s' nor its image '%s' exposes a port; say which one the route leads to (port: 8080)", svc->name,
			svc->image);
	for (size_t i = 0; i < ports.n; i++)
		buf_printf(&list, "%s%u", i ? ", " : "", ports.items[i]);
	return err_set(err, -EINVAL, "service '%s' exposes several ports (%s); say which one the route leads to (port: %u)", svc->name, buf_cstr(&list),
		ports.items[0]);
}

const char *edge_container_address(Container *c)
{
	const Container *owner = network_owner(c) ?: c;
	if (owner->svc.network_mode && str_eq(owner->svc.network_mode, "host"))
		return "127.0.0.1";
	for (size_t i = 0; i < owner->n_endpoints; i++)
		if (owner->endpoints[i].address[0])
			return owner->endpoints[i].address;
	return NULL;
}

static const char *image_of(Daemon *d, const Service *svc)
{
	Image *img = NULL;
	return daemon_find_image(d, svc->image, &img, NULL, NULL) == 0 ? img->id : NULL;
}

char *daemon_edge_backend(StackState *s, const Service *svc, const Route *route)
{
	uint16_t port;
	if (edge_route_port(s->d, svc, image_of(s->d, svc), route->port, &port, NULL) < 0)
		return NULL;
	return xasprintf("%s/%s:%u", s->name, svc->name, port);
}

/* ── the table ────────────────────────────────────────────────────── */

/* It runs, nobody has asked it to end, and its check says that it is well. */
static bool is_fit(const Container *c)
{
	bool healthy = c->health_state == HEALTH_NONE ? !c->check.test || c->check.disable : c->health_state == HEALTH_HEALTHY;
	return c->phase == PHASE_RUNNING && !c->paused && !c->ask_stop && !c->ask_remove && healthy;
}

static void set_serving(Container *c)
{
	if (c->role == ROLE_CURRENT)
		c->serving = is_fit(c);
}

/* It has had requests that it may finish. A container that only starts has had none. */
static bool may_drain(const Container *c)
{
	if (c->phase == PHASE_STOPPING || c->role == ROLE_RETIRED)
		return true;
	return c->role == ROLE_CURRENT && c->health_state != HEALTH_STARTING;
}

/* There is one that was switched to, whatever has become of it since. */
static bool has_successor(const Container *c)
{
	for (size_t i = 0; i < c->d->n_containers; i++) {
		const Container *o = c->d->containers[i];
		if (o->role == ROLE_CANDIDATE && o->serving && str_eq(o->stack, c->stack) && str_eq(o->svc.name, c->svc.name))
			return true;
	}
	return false;
}

/* Switched away from, and kept running while its successor bakes. One that is stopped first, for want of room for two, takes nothing any more. */
static bool may_stand_in(const Container *c)
{
	return c->role == ROLE_RETIRED && is_fit(c) && has_successor(c);
}

/* Of another release than the stack's model, the same route may lead to another port. */
static uint16_t own_port(const Container *c, const Route *route)
{
	for (size_t i = 0; c->role != ROLE_CURRENT && i < c->svc.n_routes; i++)
		if (str_eq(c->svc.routes[i].host, route->host) && str_eq(c->svc.routes[i].path, route->path))
			return c->svc.routes[i].port;
	return route->port;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* What takes requests: configurations and images of its containers, in no order and each once. */
static void add_version(char ***versions, const Container *c)
{
	AUTO_FREE char *one = xasprintf("%s %s", c->hash, c->image_id ?: "");
	if (!strv_has(*versions, one))
		strv_add(versions, one);
}

static char *version_word(char **versions)
{
	AUTO_BUF all = BUF_INIT;
	char hex[DIGEST_HEX_MAX];
	size_t n = strv_len(versions);
	if (!n)
		return NULL;
	qsort(versions, n, sizeof(*versions), by_text);
	for (size_t i = 0; i < n; i++)
		buf_printf(&all, "%s\n", versions[i]);
	digest_sha256(all.data, all.len, hex);
	return xstrndup(hex, VERSION_DIGITS);
}

static void add_servers(StackState *s, const Service *svc, const Route *route, EdgeBackend *b)
{
	Daemon *d = s->d;
	AUTO_STRV char **versions = NULL;
	for (size_t i = 0; i < d->n_containers; i++) {
		Container *c = d->containers[i];
		uint16_t port;
		if (!str_eq(c->stack, s->name) || !str_eq(c->svc.name, svc->name) || (c->phase != PHASE_RUNNING && c->phase != PHASE_STOPPING))
			continue;
		bool takes = c->serving && c->role != ROLE_RETIRED;
		const char *address = edge_container_address(c);
		if (!address || (!takes && !may_drain(c)) || b->n_servers >= EDGE_SERVERS_MAX ||
			edge_route_port(d, &c->svc, c->image_id, own_port(c, route), &port, NULL) < 0)
			continue;
		EdgeServer *server = edge_backend_add_server(b, c->id, address, port, !takes);
		server->trial = takes && c->role == ROLE_CANDIDATE;
		server->standby = may_stand_in(c);
		if (takes)
			add_version(&versions, c);
	}
	b->version = version_word(versions);
}

static bool in_maintenance(const StackState *s, const char *service)
{
	return strv_has(s->maintenance, "*") || strv_has(s->maintenance, service);
}

/* Two releases of it are there: what takes requests now may yet prove to be bad. */
static bool in_deploy(const StackState *s, const char *service)
{
	for (size_t i = 0; i < s->d->n_containers; i++) {
		const Container *c = s->d->containers[i];
		if (c->role != ROLE_CURRENT && str_eq(c->stack, s->name) && str_eq(c->svc.name, service))
			return true;
	}
	return false;
}

static void add_route(StackState *s, const Service *svc, const Route *route, EdgeTable *t)
{
	AUTO_FREE char *name = daemon_edge_backend(s, svc, route);
	if (!name) /* refused by the check, so that this is an image that was removed since: its containers run on unreachable */
		return;
	edge_table_add_route(t, route, s->name, svc->name, name);
	if (edge_table_backend(t, name))
		return;
	EdgeBackend *b = edge_table_add_backend(t, name);
	b->hold = strv_has(s->held, svc->name);
	b->hold_ns = svc->deploy_rules.hold;
	b->maintenance = in_maintenance(s, svc->name);
	b->retry = in_deploy(s, svc->name);
	add_servers(s, svc, route, b);
}

static EdgeTable *make_table(Daemon *d)
{
	EdgeTable *t = edge_table_new();
	for (size_t i = 0; i < d->n_containers; i++)
		set_serving(d->containers[i]);
	for (size_t i = 0; i < d->n_stacks; i++) {
		StackState *s = d->stacks[i];
		for (size_t k = 0; s->model && !s->down && k < s->model->n_services; k++) {
			const Service *svc = &s->model->services[k];
			for (size_t m = 0; m < svc->n_routes; m++)
				add_route(s, svc, &svc->routes[m], t);
		}
	}
	return t;
}

void daemon_edge_apply(Daemon *d, EdgeDoneFn done, void *user)
{
	edge_table_free(d->edge_table);
	d->edge_table = make_table(d);
	edge_set(d->edge, make_table(d), done, user);
}

static void update_done(void *user, const Err *err)
{
	Daemon *d = user;
	d->edge_pending--;
	for (size_t i = 0; i < d->n_stacks; i++) {
		StackState *s = d->stacks[i];
		if (!s->op)
			continue;
		if (err)
			operation_warn(s, "routes are not in effect yet: %s", err_text(err));
		stack_wake(s);
	}
}

void daemon_edge_update(Daemon *d)
{
	AUTO_EDGE_TABLE *t = make_table(d);
	if (d->edge_table && edge_table_eq(t, d->edge_table))
		return;
	d->edge_pending++;
	daemon_edge_apply(d, update_done, d);
}

bool daemon_edge_settled(Daemon *d)
{
	daemon_edge_update(d);
	return !d->edge_pending;
}

static void strv_drop(char ***v, const char *s)
{
	char **left = NULL;
	for (char **p = *v; p && *p; p++)
		if (!str_eq(*p, s))
			strv_add(&left, *p);
	strv_free(*v);
	*v = left;
}

void daemon_edge_hold(StackState *s, const char *service, bool on)
{
	strv_drop(&s->held, service);
	if (on)
		strv_add(&s->held, service);
}

/* ── refusals ─────────────────────────────────────────────────────── */

static bool same_place(const Route *a, const Route *b)
{
	return str_eq(a->host, b->host) && str_eq(a->path, b->path);
}

static bool other_certificate(const Route *a, const Route *b)
{
	return a->tls == TLS_FILES && b->tls == TLS_FILES && str_eq(a->host, b->host) && (!str_eq(a->cert, b->cert) || !str_eq(a->key, b->key));
}

static int check_clash_with(const StackState *other, const Service *svc, const Route *route, Err *err)
{
	for (size_t m = 0; m < svc->n_routes; m++) {
		if (same_place(route, &svc->routes[m]))
			return err_set(err, -EEXIST, "%s%s leads to service '%s' of stack '%s' already; take another host or path, or bring that stack down",
				route->host ?: "any host, ", route->path, svc->name, other->name);
		if (other_certificate(route, &svc->routes[m]))
			return err_set(err, -EEXIST, "service '%s' of stack '%s' has another certificate for %s (%s); a host has one", svc->name, other->name,
				route->host ?: "any host", svc->routes[m].cert);
	}
	return 0;
}

static int check_clash(StackState *s, const Route *route, Err *err)
{
	Daemon *d = s->d;
	for (size_t i = 0; i < d->n_stacks; i++) {
		const StackState *other = d->stacks[i];
		for (size_t k = 0; other != s && other->model && !other->down && k < other->model->n_services; k++) {
			int r = check_clash_with(other, &other->model->services[k], route, err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int check_route(StackState *s, const Service *svc, const Route *route, Err *err)
{
	uint16_t port;
	if (svc->network_mode && str_eq(svc->network_mode, "none"))
		return err_set(err, -EINVAL, "service '%s' has no network (network_mode: none), so that no route can lead to it", svc->name);
	int r = edge_route_port(s->d, svc, image_of(s->d, svc), route->port, &port, err);
	return r < 0 ? r : check_clash(s, route, err);
}

/* "", "*", "127.0.0.1" or "::1"; the caller frees. NULL: "off". */
static char *split_address(const char *address, uint32_t *ret_port)
{
	const char *colon = strrchr(address, ':');
	if (!colon || parse_u32_max(colon + 1, UINT16_MAX, ret_port) < 0)
		return NULL;
	bool brackets = *address == '[' && colon > address + 1;
	return xstrndup(address + brackets, (size_t) (colon - address) - 2 * brackets);
}

static bool all_addresses(const char *a)
{
	return str_empty(a) || str_eq(a, "*") || str_eq(a, "0.0.0.0") || str_eq(a, "::");
}

/* One may stand for all addresses, or for all of its family. */
static bool addresses_meet(const char *a, const char *b)
{
	bool one_family = str_empty(a) || str_empty(b) || str_eq(a, "*") || !strchr(a, ':') == !strchr(b, ':');
	return one_family && (all_addresses(a) || all_addresses(b) || str_eq(a, b));
}

static int port_check(const Port *p, const char *option, const char *address, Err *err)
{
	uint32_t port;
	AUTO_FREE char *at = split_address(address, &port);
	if (!at || p->published != port || p->published_end != port || !str_eq(p->protocol, "tcp") || !addresses_meet(at, p->host_ip))
		return 0;
	return err_set(err, -EADDRINUSE, "port %u is where routes are served: publish another one, or none where a route leads to the service, or start the "
					 "daemon with another address (%s)", port, option);
}

int daemon_edge_port_check(Daemon *d, const Stack *model, const Port *p, Err *err)
{
	bool routes = edge_pid(d->edge) != 0;
	for (size_t i = 0; i < model->n_services; i++)
		routes = routes || model->services[i].n_routes;
	int r = routes ? port_check(p, "--edge-http", d->o.edge_http, err) : 0;
	return routes && r == 0 ? port_check(p, "--edge-https", d->o.edge_https, err) : r;
}

/* A port that one of our own containers publishes is named better than by the daemon's pid. */
static int check_published(Daemon *d, const char *option, const char *address, Err *err)
{
	uint32_t port;
	AUTO_FREE char *at = split_address(address, &port);
	for (size_t i = 0; at && i < d->n_containers; i++)
		for (size_t k = 0; k < d->containers[i]->n_ports; k++) {
			const PublishedPort *p = &d->containers[i]->ports[k];
			if (p->host_port == port && p->hold >= 0 && str_eq(p->protocol, "tcp") && addresses_meet(at, p->host_ip))
				return err_set(err, -EADDRINUSE, "routes are served on port %u, which container %s publishes; change its `ports`, or start the daemon "
								 "with another address (%s)", port, d->containers[i]->name, option);
		}
	return 0;
}

/* The table as it would be: this model's routes, without servers, and the other stacks'. */
static EdgeTable *table_with(StackState *s, const Stack *model)
{
	EdgeTable *t = edge_table_new();
	for (size_t i = 0; i < s->d->n_stacks; i++) {
		StackState *other = s->d->stacks[i];
		const Stack *m = other == s ? model : other->down ? NULL : other->model;
		for (size_t k = 0; m && k < m->n_services; k++)
			for (size_t n = 0; n < m->services[k].n_routes; n++) {
				AUTO_FREE char *name = daemon_edge_backend(other, &m->services[k], &m->services[k].routes[n]);
				if (!name)
					continue;
				edge_table_add_route(t, &m->services[k].routes[n], other->name, m->services[k].name, name);
				if (!edge_table_backend(t, name))
					edge_table_add_backend(t, name);
			}
	}
	return t;
}

int daemon_edge_check(StackState *s, const Stack *model, ModelPath *where, Err *err)
{
	Daemon *d = s->d;
	bool any = false;
	int r = 0;
	for (size_t i = 0; r == 0 && i < model->n_services; i++)
		for (size_t k = 0; r == 0 && k < model->services[i].n_routes; k++) {
			(void) snprintf(where->text, sizeof(where->text), "services.%s.x-stead.routes[%zu]", model->services[i].name, k);
			r = check_route(s, &model->services[i], &model->services[i].routes[k], err);
			any = true;
		}
	if (r < 0 || !any)
		return r;
	if (!edge_pid(d->edge)) {
		r = check_published(d, "--edge-http", d->o.edge_http, err);
		if (r == 0)
			r = check_published(d, "--edge-https", d->o.edge_https, err);
	}
	AUTO_EDGE_TABLE *t = table_with(s, model);
	if (r == 0)
		r = edge_check(d->edge, t, err);
	if (r == 0)
		where->text[0] = '\0';
	return r;
}

/* ── maintenance ──────────────────────────────────────────────────── */

static char *maintenance_key(const StackState *s)
{
	return xasprintf("maintenance:%s", s->name);
}

static int load_maintenance(StackState *s, Err *err)
{
	AUTO_FREE char *key = maintenance_key(s);
	AUTO_FREE char *text = NULL;
	int r = store_meta_get(s->d->store, key, &text, err);
	json_t *list = text ? json_loads(text, 0, NULL) : NULL;
	s->maintenance = json_to_strv(list);
	json_decref(list);
	return r;
}

static int save_maintenance(StackState *s, Err *err)
{
	AUTO_FREE char *key = maintenance_key(s);
	json_t *list = json_strv(s->maintenance);
	AUTO_FREE char *text = s->maintenance ? json_dumps(list, JSON_COMPACT) : NULL;
	json_decref(list);
	return store_meta_set(s->d->store, key, text, err);
}

void daemon_edge_forget(StackState *s)
{
	AUTO_ERR err = ERR_INIT;
	if (!s->maintenance)
		return;
	strv_free(s->maintenance);
	s->maintenance = NULL;
	if (save_maintenance(s, &err) < 0)
		log_error("stack %s: %s", s->name, err_text(&err));
}

/* All on, then one off: all the others stay on. */
static void set_maintenance(StackState *s, char *const *services, bool on)
{
	if (!services) {
		strv_free(s->maintenance);
		s->maintenance = NULL;
		if (on)
			strv_add(&s->maintenance, "*");
		return;
	}
	if (!on && strv_has(s->maintenance, "*")) {
		strv_drop(&s->maintenance, "*");
		for (size_t i = 0; i < s->model->n_services; i++)
			strv_add(&s->maintenance, s->model->services[i].name);
	}
	for (char *const *name = services; *name; name++) {
		strv_drop(&s->maintenance, *name);
		if (on && !strv_has(s->maintenance, "*"))
			strv_add(&s->maintenance, *name);
	}
}

static int check_services(const StackState *s, char *const *services, Err *err)
{
	for (char *const *name = services; name && *name; name++) {
		const Service *svc = stack_service(s->model, *name);
		if (!svc)
			return err_set(err, -ENOENT, "no such service: %s", *name);
		if (!svc->n_routes)
			return err_set(err, -EINVAL, "service '%s' has no route", *name);
	}
	return 0;
}

int daemon_edge_maintenance(StackState *s, char *const *services, bool on, Err *err)
{
	AUTO_STRV char **before = strv_dup(s->maintenance);
	int r = check_services(s, services, err);
	if (r < 0)
		return r;
	set_maintenance(s, services, on);
	r = save_maintenance(s, err);
	if (r < 0) {
		strv_free(s->maintenance);
		s->maintenance = steal_ptr(&before);
	}
	return r;
}

/* ── cache ────────────────────────────────────────────────────────── */

static bool has_cache(const Service *svc)
{
	bool any = false;
	for (size_t i = 0; i < svc->n_routes; i++)
		any = any || svc->routes[i].cache.ttl >= 0;
	return any;
}

int daemon_edge_purge(StackState *s, char *const *services, Err *err)
{
	int r = check_services(s, services, err);
	if (r < 0)
		return r;
	for (char *const *name = services; name && *name; name++)
		if (!has_cache(stack_service(s->model, *name)))
			return err_set(err, -EINVAL, "no route of service '%s' has a cache", *name);
	daemon_edge_update(s->d);
	for (size_t i = 0; i < s->d->edge_table->n_routes; i++) {
		const EdgeRoute *route = &s->d->edge_table->routes[i];
		if (str_eq(route->stack, s->name) && (!services || strv_has(services, route->service)))
			edge_purge(s->d->edge, route->backend);
	}
	return 0;
}

/* ── life ─────────────────────────────────────────────────────────── */

int daemon_edge_open(Daemon *d, Err *err)
{
	const EdgeOptions o = { .state_dir = d->o.state_dir, .run_dir = d->o.run_dir, .http = d->o.edge_http, .https = d->o.edge_https,
		.acme_server = d->o.acme_server, .acme_email = d->o.acme_email, .acme_ca = d->o.acme_ca };
	int r = edge_new(d->loop, &o, &d->edge, err);
	for (size_t i = 0; r == 0 && i < d->n_stacks; i++)
		r = load_maintenance(d->stacks[i], err);
	return r;
}

void daemon_edge_close(Daemon *d)
{
	edge_free(d->edge);
	d->edge = NULL;
	edge_table_free(d->edge_table);
	d->edge_table = NULL;
}
