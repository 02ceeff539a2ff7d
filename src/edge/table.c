// SPDX-License-Identifier: Apache-2.0
#include "edge/edge.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"


/* ── life ─────────────────────────────────────────────────────────── */

EdgeTable *edge_table_new(void)
{
	return xcalloc(1, sizeof(EdgeTable));
}

static void route_done(EdgeRoute *r)
{
	free(r->route.host);
	free(r->route.path);
	free(r->route.cert);
	free(r->route.key);
	free(r->stack);
	free(r->service);
	free(r->backend);
}

static void backend_done(EdgeBackend *b)
{
	for (size_t i = 0; i < b->n_servers; i++) {
		free(b->servers[i].id);
		free(b->servers[i].address);
	}
	free(b->servers);
	free(b->name);
	free(b->version);
}

void edge_table_free(EdgeTable *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_routes; i++)
		route_done(&t->routes[i]);
	for (size_t i = 0; i < t->n_backends; i++)
		backend_done(&t->backends[i]);
	free(t->routes);
	free(t->backends);
	free(t);
}

void edge_table_freep(EdgeTable **t)
{
	edge_table_free(*t);
}

EdgeRoute *edge_table_add_route(EdgeTable *t, const Route *route, const char *stack, const char *service, const char *backend)
{
	EdgeRoute *r = array_append(t->routes, t->n_routes);
	r->route = *route;
	r->route.host = xstrdup(route->host);
	r->route.path = xstrdup(route->path);
	r->route.cert = xstrdup(route->cert);
	r->route.key = xstrdup(route->key);
	r->stack = xstrdup(stack);
	r->service = xstrdup(service);
	r->backend = xstrdup(backend);
	return r;
}

EdgeBackend *edge_table_add_backend(EdgeTable *t, const char *name)
{
	EdgeBackend *b = array_append(t->backends, t->n_backends);
	b->name = xstrdup(name);
	return b;
}

EdgeServer *edge_backend_add_server(EdgeBackend *b, const char *id, const char *address, uint16_t port, bool draining)
{
	EdgeServer *s = array_append(b->servers, b->n_servers);
	*s = (EdgeServer) { .id = xstrdup(id), .address = xstrdup(address), .port = port, .draining = draining };
	return s;
}

EdgeBackend *edge_table_backend(const EdgeTable *t, const char *name)
{
	for (size_t i = 0; i < t->n_backends; i++)
		if (str_eq(t->backends[i].name, name))
			return &t->backends[i];
	return NULL;
}

/* ── comparison ───────────────────────────────────────────────────── */

static bool route_eq(const EdgeRoute *a, const EdgeRoute *b)
{
	const Route *x = &a->route, *y = &b->route;
	return str_eq(x->host, y->host) && str_eq(x->path, y->path) && x->port == y->port && x->cache.ttl == y->cache.ttl &&
		x->cache.max_size == y->cache.max_size && x->cache.disk == y->cache.disk && x->max_body == y->max_body && x->rate == y->rate &&
		x->rate_period == y->rate_period && x->timeout == y->timeout && x->tls == y->tls && str_eq(x->cert, y->cert) &&
		str_eq(x->key, y->key) && str_eq(a->stack, b->stack) && str_eq(a->service, b->service) && str_eq(a->backend, b->backend);
}

static bool backend_eq(const EdgeBackend *a, const EdgeBackend *b)
{
	if (!str_eq(a->name, b->name) || a->n_servers != b->n_servers || a->hold != b->hold || a->hold_ns != b->hold_ns ||
		a->maintenance != b->maintenance || a->retry != b->retry || !str_eq(a->version, b->version))
		return false;
	for (size_t i = 0; i < a->n_servers; i++) {
		const EdgeServer *x = &a->servers[i], *y = &b->servers[i];
		if (!str_eq(x->id, y->id) || !str_eq(x->address, y->address) || x->port != y->port || x->draining != y->draining || x->trial != y->trial ||
			x->standby != y->standby)
			return false;
	}
	return true;
}

bool edge_table_eq(const EdgeTable *a, const EdgeTable *b)
{
	if (a->n_routes != b->n_routes || a->n_backends != b->n_backends)
		return false;
	for (size_t i = 0; i < a->n_routes; i++)
		if (!route_eq(&a->routes[i], &b->routes[i]))
			return false;
	for (size_t i = 0; i < a->n_backends; i++)
		if (!backend_eq(&a->backends[i], &b->backends[i]))
			return false;
	return true;
}

/* ── what may be in it ────────────────────────────────────────────── */

static bool label_ok(const char *s, size_t n)
{
	if (!n || n > 63 || s[0] == '-' || s[n - 1] == '-')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '-'))
			return false;
	return true;
}

static bool host_ok(const char *host)
{
	const char *s = str_starts(host, "*.") ? host + 2 : host;
	if (strlen(host) > 253)
		return false;
	for (;;) {
		size_t n = strcspn(s, ".");
		if (!label_ok(s, n))
			return false;
		if (!s[n])
			return true;
		s += n + 1;
	}
}

/* RFC 3986 pchar without "'", which no configuration language takes lightly. */
static bool path_ok(const char *path)
{
	size_t n = strlen(path);
	if (path[0] != '/' || n > 1024 || (n > 1 && path[n - 1] == '/') || strstr(path, "//"))
		return false;
	for (const char *p = path; *p; p++) {
		if (*p == '%') {
			if (!isxdigit((unsigned char) p[1]) || !isxdigit((unsigned char) p[2]))
				return false;
		} else if (!isalnum((unsigned char) *p) && !strchr("/-._~!$&()*+,;=:@", *p)) {
			return false;
		}
	}
	return true;
}

/* Shown in logs and pages only, and kept in a map: STACK/SERVICE:PORT. */
static bool name_ok(const char *s)
{
	if (!*s || strlen(s) > 255)
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char) *s) && !strchr("-._/:", *s))
			return false;
	return true;
}

static int route_check(const EdgeTable *t, const EdgeRoute *r, Err *err)
{
	const Route *m = &r->route;
	if (!m->path || !path_ok(m->path))
		return err_set(err, -EINVAL, "route of service '%s': its path is none that RFC 3986 allows", r->service ?: "");
	if (m->host && !host_ok(m->host))
		return err_set(err, -EINVAL, "route of service '%s': its host is none that RFC 1123 allows", r->service ?: "");
	if (!r->backend || !edge_table_backend(t, r->backend))
		return err_set(err, -EINVAL, "route %s%s leads nowhere", m->host ?: "*", m->path);
	if (m->rate >= 0 && m->rate_period != NSEC_PER_SEC && m->rate_period != 60 * NSEC_PER_SEC && m->rate_period != 3600 * NSEC_PER_SEC)
		return err_set(err, -EINVAL, "route %s%s: a rate is per second, minute or hour", m->host ?: "*", m->path);
	return 0;
}

static int backend_check(const EdgeBackend *b, Err *err)
{
	uint8_t address[16];
	uint8_t id[32];
	if (!b->name || !name_ok(b->name))
		return err_set(err, -EINVAL, "a backend has a name that cannot be: '%.64s'", b->name ?: "");
	if (b->n_servers > EDGE_SERVERS_MAX)
		return err_set(err, -E2BIG, "backend %s has %zu servers; at most %d", b->name, b->n_servers, EDGE_SERVERS_MAX);
	for (size_t i = 0; i < b->n_servers; i++) {
		const EdgeServer *s = &b->servers[i];
		if (!s->id || strlen(s->id) != 64 || hex_decode(s->id, 32, id) < 0)
			return err_set(err, -EINVAL, "backend %s: a server has no container's id", b->name);
		if (!s->port || !s->address || (inet_pton(AF_INET, s->address, address) != 1 && inet_pton(AF_INET6, s->address, address) != 1))
			return err_set(err, -EINVAL, "backend %s: server %.12s has no address", b->name, s->id);
	}
	return 0;
}

int edge_table_check(const EdgeTable *t, Err *err)
{
	if (t->n_routes > EDGE_ROUTES_MAX)
		return err_set(err, -E2BIG, "%zu routes; at most %d", t->n_routes, EDGE_ROUTES_MAX);
	if (t->n_backends > EDGE_BACKENDS_MAX)
		return err_set(err, -E2BIG, "routes lead to %zu services and ports; at most %d", t->n_backends, EDGE_BACKENDS_MAX);
	int r = 0;
	for (size_t i = 0; r == 0 && i < t->n_backends; i++)
		r = backend_check(&t->backends[i], err);
	for (size_t i = 0; r == 0 && i < t->n_routes; i++)
		r = route_check(t, &t->routes[i], err);
	return r;
}

/* ── the reference matcher ────────────────────────────────────────── */

/* 0 = not at all, else longer is better. */
static size_t path_fits(const char *route, const char *path)
{
	size_t n = strlen(route);
	if (n == 1)
		return 1;
	return strncmp(route, path, n) == 0 && (path[n] == '/' || path[n] == '\0') ? n : 0;
}

static const EdgeRoute *match_host(const EdgeTable *t, const char *host, const char *path)
{
	const EdgeRoute *best = NULL;
	size_t best_n = 0;
	for (size_t i = 0; i < t->n_routes; i++) {
		size_t n = str_eq(t->routes[i].route.host, host) ? path_fits(t->routes[i].route.path, path) : 0;
		if (n > best_n) {
			best = &t->routes[i];
			best_n = n;
		}
	}
	return best;
}

const EdgeRoute *edge_table_match(const EdgeTable *t, const char *host, const char *path)
{
	AUTO_FREE char *name = xstrndup(host, host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":"));
	for (char *p = name; *p; p++)
		*p = (char) tolower((unsigned char) *p);
	for (size_t n = strlen(name); n && name[n - 1] == '.'; n--)
		name[n - 1] = '\0';
	const EdgeRoute *r = match_host(t, name, path);
	const char *dot = strchr(name, '.');
	if (!r && dot && dot != name) {
		AUTO_FREE char *wild = xasprintf("*%s", dot);
		r = match_host(t, wild, path);
	}
	return r ?: match_host(t, NULL, path);
}
