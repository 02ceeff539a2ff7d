// SPDX-License-Identifier: Apache-2.0
#include "edge/proxy-state.h"

#include <errno.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

#define ACME_PATH "/.well-known/acme-challenge/"
#define MSEC_MAX (12LL * 24 * 3600 * 1000)
#define SERVER_DIGITS 16
#define TIMEOUT_DEFAULT (60 * NSEC_PER_SEC)

ProxyState *proxy_state_new(size_t n_slots)
{
	ProxyState *s = xcalloc(1, sizeof(*s));
	s->slots = xcalloc(n_slots, sizeof(*s->slots));
	s->n_slots = n_slots;
	return s;
}

static void cert_done(ProxyCert *c)
{
	free(c->file);
	free(c->pem);
	strv_free(c->names);
}

void proxy_state_free(ProxyState *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_slots; i++) {
		free(s->slots[i].backend);
		free(s->slots[i].servers);
	}
	for (size_t i = 0; i < s->n_routes; i++) {
		free(s->routes[i].key);
		free(s->routes[i].value);
	}
	for (size_t i = 0; i < s->n_certs; i++)
		cert_done(&s->certs[i]);
	free(s->slots);
	free(s->routes);
	free(s->certs);
	free(s);
}

void proxy_state_freep(ProxyState **s)
{
	proxy_state_free(*s);
}

ProxyState *proxy_state_copy(const ProxyState *s)
{
	ProxyState *c = proxy_state_new(s->n_slots);
	for (size_t i = 0; i < s->n_slots; i++) {
		c->slots[i].backend = xstrdup(s->slots[i].backend);
		for (size_t k = 0; k < s->slots[i].n_servers; k++)
			*array_append(c->slots[i].servers, c->slots[i].n_servers) = s->slots[i].servers[k];
	}
	for (size_t i = 0; i < s->n_routes; i++)
		proxy_state_add_route(c, s->routes[i].key, s->routes[i].value);
	for (size_t i = 0; i < s->n_certs; i++) {
		ProxyCert *cert = array_append(c->certs, c->n_certs);
		*cert = s->certs[i];
		cert->file = xstrdup(cert->file);
		cert->pem = xstrdup(cert->pem);
		cert->names = strv_dup(cert->names);
	}
	return c;
}

ProxyServer *proxy_slot_server(const ProxySlot *slot, const char *name)
{
	for (size_t i = 0; i < slot->n_servers; i++)
		if (str_eq(slot->servers[i].name, name))
			return &slot->servers[i];
	return NULL;
}

ProxyServer *proxy_slot_add(ProxySlot *slot, const char *name, const char *address, uint16_t port, ServerState state)
{
	ProxyServer *s = array_append(slot->servers, slot->n_servers);
	(void) snprintf(s->name, sizeof(s->name), "%s", name);
	(void) snprintf(s->address, sizeof(s->address), "%s", address);
	s->port = port;
	s->state = state;
	return s;
}

void proxy_state_add_route(ProxyState *s, const char *key, const char *value)
{
	*array_append(s->routes, s->n_routes) = (ProxyEntry) { xstrdup(key), xstrdup(value) };
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const ProxyEntry *) a)->key, ((const ProxyEntry *) b)->key);
}

void proxy_state_sort(ProxyState *s)
{
	if (s->n_routes)
		qsort(s->routes, s->n_routes, sizeof(*s->routes), by_key);
}

int proxy_state_slot(const ProxyState *s, const char *backend)
{
	for (size_t i = 0; s && i < s->n_slots; i++)
		if (str_eq(s->slots[i].backend, backend))
			return (int) i;
	return -1;
}

void proxy_server_name(const char *container_id, char dst[SERVER_NAME_MAX])
{
	(void) snprintf(dst, SERVER_NAME_MAX, "%.*s", SERVER_DIGITS, container_id);
}

static void proxy_standby_name(const char *container_id, char dst[SERVER_NAME_MAX])
{
	(void) snprintf(dst, SERVER_NAME_MAX, "%.*s" STANDBY_SUFFIX, SERVER_DIGITS, container_id);
}

/* ── from a table ─────────────────────────────────────────────────── */

void proxy_route_key(const Route *r, Buf *ret)
{
	buf_printf(ret, "%s%s%s", r->host ?: "*", r->path, str_ends(r->path, "/") ? "" : "/");
}

/* HAProxy's clock goes around in 49 days; what is longer than some of them is as good as for ever. */
static int64_t to_msec(int64_t ns)
{
	int64_t msec = ns / NSEC_PER_MSEC + (ns % NSEC_PER_MSEC > 0);
	return msec < MSEC_MAX ? msec : MSEC_MAX;
}

static size_t ready_servers(const EdgeBackend *b)
{
	size_t n = 0;
	for (size_t i = 0; i < b->n_servers; i++)
		n += !b->servers[i].draining;
	return n;
}

/* Somebody can take the place of those on trial. */
static bool has_substitute(const EdgeBackend *b)
{
	for (size_t i = 0; i < b->n_servers; i++)
		if (b->servers[i].standby || !(b->servers[i].draining || b->servers[i].trial))
			return true;
	return false;
}

void proxy_route_value(const EdgeRoute *r, const EdgeBackend *b, int slot, const RouteHooks *hooks, Buf *ret)
{
	const Route *m = &r->route;
	AUTO_BUF flags = BUF_INIT;
	AUTO_BUF key = BUF_INIT;
	AUTO_BUF cache = BUF_INIT;
	char id[DIGEST_HEX_MAX];
	int64_t retry = 0;
	if (hooks->redirect && hooks->redirect(hooks->user, r))
		buf_char(&flags, 't');
	if (b->maintenance)
		buf_char(&flags, 'm');
	if (m->max_body >= 0)
		buf_char(&flags, 'b');
	if (m->rate >= 0) {
		buf_str(&flags, m->rate_period == NSEC_PER_SEC ? "rS" : m->rate_period == 60 * NSEC_PER_SEC ? "rM" : "rH");
		retry = m->rate ? (m->rate_period / m->rate + NSEC_PER_SEC - 1) / NSEC_PER_SEC : m->rate_period / NSEC_PER_SEC;
	}
	if (m->timeout > 0 && m->timeout != TIMEOUT_DEFAULT)
		buf_char(&flags, 'o');
	if (b->hold)
		buf_char(&flags, 'h');
	if (hooks->cache && hooks->cache(hooks->user, r, &cache))
		buf_char(&flags, 'c');
	bool retry_elsewhere = b->retry || ready_servers(b) > 1 || cache.len; /* without nginx the service itself answers */
	if (cache.len)
		buf_str(ret, "cache");
	else
		buf_printf(ret, "s%d", slot);
	if (!flags.len || str_eq(flags.data, "t")) {
		buf_printf(ret, "%s%s", flags.len ? "|tls" : retry_elsewhere ? "|retry" : "", retry_elsewhere ? "+" : "");
		return;
	}
	if (retry_elsewhere)
		buf_char(&flags, '+');
	proxy_route_key(m, &key);
	digest_sha256(key.data, key.len, id);
	buf_printf(ret, "|%s|%lld|%lld|%lld|%lld|%lld|%.8s|%s", buf_cstr(&flags), m->max_body >= 0 ? (long long) m->max_body : 0,
		m->rate >= 0 ? (long long) m->rate : 0, (long long) retry, m->timeout > 0 ? (long long) to_msec(m->timeout) : 0,
		b->hold ? (long long) to_msec(b->hold_ns) : 0, id, buf_cstr(&cache));
	if (!cache.len)
		return;
	buf_printf(ret, "s%d:", slot);
	if (m->timeout > 0 && m->timeout != TIMEOUT_DEFAULT)
		buf_printf(ret, "%lld", (long long) to_msec(m->timeout));
	buf_char(ret, ':');
}

static bool slot_free(const ProxyState *have, const ProxyState *made, size_t i)
{
	return !made->slots[i].backend && !(have && i < have->n_slots && (have->slots[i].backend || have->slots[i].n_servers));
}

static int place(const EdgeTable *t, const ProxyState *have, ProxyState *s)
{
	for (size_t i = 0; i < t->n_backends; i++) {
		int slot = proxy_state_slot(have, t->backends[i].name);
		if (slot >= 0)
			s->slots[slot].backend = xstrdup(t->backends[i].name);
	}
	for (size_t i = 0, next = 0; i < t->n_backends; i++) {
		if (proxy_state_slot(s, t->backends[i].name) >= 0)
			continue;
		while (next < s->n_slots && !slot_free(have, s, next))
			next++;
		if (next == s->n_slots)
			return -ENOSPC;
		s->slots[next].backend = xstrdup(t->backends[i].name);
	}
	return 0;
}

static void fill_slot(ProxySlot *slot, const EdgeBackend *b)
{
	bool substitute = has_substitute(b);
	for (size_t i = 0; i < b->n_servers; i++) {
		const EdgeServer *from = &b->servers[i];
		char name[SERVER_NAME_MAX];
		proxy_server_name(from->id, name);
		if (proxy_slot_server(slot, name))
			continue;
		proxy_slot_add(slot, name, from->address, from->port, from->draining ? SERVER_DRAIN : SERVER_READY)->watched = substitute && from->trial;
		if (!from->standby)
			continue;
		proxy_standby_name(from->id, name);
		proxy_slot_add(slot, name, from->address, from->port, SERVER_READY)->backup = true;
	}
}

/* A challenge's answer needs no file and no process: it is the token and the account's thumbprint. */
static void add_challenge(ProxyState *s, const EdgeRoute *r, const char *thumbprint)
{
	AUTO_FREE char *key = xasprintf("%s" ACME_PATH, r->route.host);
	AUTO_FREE char *value = xasprintf("acme|a|%s", thumbprint);
	for (size_t i = 0; i < s->n_routes; i++)
		if (str_eq(s->routes[i].key, key))
			return;
	proxy_state_add_route(s, key, value);
}

int proxy_state_make(const EdgeTable *t, const ProxyState *have, const RouteHooks *hooks, ProxyState **ret)
{
	AUTO_PROXY_STATE *s = proxy_state_new(have ? have->n_slots : SLOTS_MIN);
	int r = place(t, have, s);
	if (r < 0)
		return r;
	for (size_t i = 0; i < t->n_backends; i++)
		fill_slot(&s->slots[proxy_state_slot(s, t->backends[i].name)], &t->backends[i]);
	for (size_t i = 0; i < t->n_routes; i++) {
		const EdgeRoute *route = &t->routes[i];
		AUTO_BUF key = BUF_INIT;
		AUTO_BUF value = BUF_INIT;
		proxy_route_key(&route->route, &key);
		proxy_route_value(route, edge_table_backend(t, route->backend), proxy_state_slot(s, route->backend), hooks, &value);
		proxy_state_add_route(s, buf_cstr(&key), buf_cstr(&value));
		const char *thumbprint = hooks->thumbprint && route->route.host ? hooks->thumbprint(hooks->user, route) : NULL;
		if (thumbprint)
			add_challenge(s, route, thumbprint);
	}
	proxy_state_sort(s);
	*ret = steal_ptr(&s);
	return 0;
}
