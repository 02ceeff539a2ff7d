// SPDX-License-Identifier: Apache-2.0
/*
 * Comparisons go through sorted lists (routes) or are small (servers of one backend). A server whose address has changed is given the new one
 * in place: what is in flight to the old one goes on.
 *
 * In a command a backslash takes from ' ', ';', '\\', '"', ''' and '#' what they mean to HAProxy's parser; a key of the map, which is
 * part of somebody's path, may hold ';'.
 */
#include "edge/converge.h"

#include "base/mem.h"
#include "base/str.h"
#include "edge/haproxy-config.h"

void commands_done(Commands *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->items[i].text);
	free(c->items);
	*c = (Commands) { 0 };
}

static void add(Commands *c, ExpectKind expect, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void add(Commands *c, ExpectKind expect, const char *fmt, ...)
{
	va_list ap;
	char *text;
	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	*array_append(c->items, c->n) = (Command) { text, expect };
}

/* ── certificates ─────────────────────────────────────────────────── */

static const ProxyCert *find_cert(const ProxyState *s, const char *file)
{
	for (size_t i = 0; i < s->n_certs; i++)
		if (str_eq(s->certs[i].file, file))
			return &s->certs[i];
	return NULL;
}

static void add_for(Commands *c, size_t cert, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void add_for(Commands *c, size_t cert, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	*array_append(c->items, c->n) = (Command) { xvasprintf(fmt, ap), EXPECT_CERT, cert };
	va_end(ap);
}

static void list_cert(Commands *c, const char *dir, size_t i, const ProxyCert *cert)
{
	AUTO_BUF line = BUF_INIT;
	buf_str(&line, cert->file);
	for (char **name = cert->names; name && *name; name++)
		buf_printf(&line, " %s", *name);
	add_for(c, i, "add ssl crt-list %s/crt.list <<\n%s\n", dir, buf_cstr(&line));
}

static void add_certs(Commands *c, const char *dir, const ProxyState *have, const ProxyState *want)
{
	for (size_t i = 0; i < want->n_certs; i++) {
		const ProxyCert *cert = &want->certs[i], *old = find_cert(have, cert->file);
		if (old && str_eq(old->digest, cert->digest) && strv_eq(old->names, cert->names))
			continue;
		if (!old || !old->digest[0]) /* it may be there */
			add(c, EXPECT_ANYTHING, "new ssl cert %s", cert->file);
		if (!old || !str_eq(old->digest, cert->digest)) {
			add_for(c, i, "set ssl cert %s <<\n%s", cert->file, cert->pem ?: "");
			add_for(c, i, "commit ssl cert %s", cert->file);
		}
		if (old && !strv_eq(old->names, cert->names))
			add(c, EXPECT_ANYTHING, "del ssl crt-list %s/crt.list %s", dir, cert->file);
		if (!old || !strv_eq(old->names, cert->names))
			list_cert(c, dir, i, cert);
	}
}

void converge_cert_unknown(ProxyState *s, size_t i)
{
	s->certs[i].digest[0] = '\0';
	strv_free(s->certs[i].names);
	s->certs[i].names = NULL;
}

static void remove_certs(Commands *c, const char *dir, const ProxyState *have, const ProxyState *want)
{
	for (size_t i = 0; i < have->n_certs; i++) {
		if (find_cert(want, have->certs[i].file))
			continue;
		add(c, EXPECT_ANYTHING, "del ssl crt-list %s/crt.list %s", dir, have->certs[i].file);
		add(c, EXPECT_ANYTHING, "del ssl cert %s", have->certs[i].file);
	}
}

/* ── servers ──────────────────────────────────────────────────────── */

static const char *state_word(ServerState s)
{
	static const char *const words[] = { [SERVER_READY] = "ready", [SERVER_DRAIN] = "drain", [SERVER_MAINT] = "maint" };
	return words[s];
}

/* One that was added without checks cannot get them, and does without. */
static void watch(Commands *c, size_t i, const ProxyServer *s)
{
	add(c, EXPECT_ANYTHING, "%s health s%zu/%s", s->watched ? "enable" : "disable", i, s->name);
}

/* `ready`: those that take requests, before the routes; then the others. */
static void change_servers(Commands *c, size_t i, const ProxySlot *have, const ProxySlot *want, bool ready)
{
	for (size_t k = 0; k < want->n_servers; k++) {
		const ProxyServer *s = &want->servers[k], *old = proxy_slot_server(have, s->name);
		if ((s->state == SERVER_READY) != ready)
			continue;
		if (!old) {
			AUTO_BUF words = BUF_INIT;
			haproxy_server_words(s, &words);
			add(c, EXPECT_ADDED, "add server s%zu/%s %s", i, s->name, buf_cstr(&words));
		} else if (!str_eq(old->address, s->address) || old->port != s->port) {
			add(c, EXPECT_ANYTHING, "set server s%zu/%s addr %s port %u", i, s->name, s->address, s->port);
		}
		if (s->watched && !(old && old->watched))
			watch(c, i, s);
		if (!old || old->state != s->state)
			add(c, EXPECT_NOTHING, "set server s%zu/%s state %s", i, s->name, state_word(s->state));
		if (!s->watched && old && old->watched)
			watch(c, i, s);
		if (!s->watched && old && old->watched && ready) /* nobody would find out that it is up again */
			add(c, EXPECT_ANYTHING, "set server s%zu/%s health up", i, s->name);
	}
}

static void retire_servers(Commands *c, size_t i, const ProxySlot *have, const ProxySlot *want, ProxySlot *after)
{
	for (size_t k = 0; k < have->n_servers; k++) {
		const ProxyServer *s = &have->servers[k];
		if (proxy_slot_server(want, s->name))
			continue;
		if (s->state != SERVER_MAINT)
			add(c, EXPECT_NOTHING, "set server s%zu/%s state maint", i, s->name);
		if (s->watched)
			add(c, EXPECT_ANYTHING, "disable health s%zu/%s", i, s->name);
		proxy_slot_add(after, s->name, s->address, s->port, SERVER_MAINT)->backup = s->backup;
	}
}

/* ── routes ───────────────────────────────────────────────────────── */

static void escaped(Buf *b, const char *s)
{
	for (; *s; s++) {
		if (strchr(" ;\\\"'#", *s))
			buf_char(b, '\\');
		buf_char(b, *s);
	}
}

static void map_command(Commands *c, const char *verb, const char *dir, const char *map, const char *key, const char *value)
{
	AUTO_BUF b = BUF_INIT;
	escaped(&b, key);
	if (value) {
		buf_char(&b, ' ');
		escaped(&b, value);
	}
	add(c, EXPECT_NOTHING, "%s map %s/%s %s", verb, dir, map, buf_cstr(&b));
}

/* `removals`: those alone, else all but those. Both lists are sorted. */
static void change_routes(Commands *c, const char *dir, const ProxyState *have, const ProxyState *want, bool removals)
{
	size_t i = 0, k = 0;
	while (i < have->n_routes || k < want->n_routes) {
		int order = i == have->n_routes ? 1 : k == want->n_routes ? -1 : strcmp(have->routes[i].key, want->routes[k].key);
		if (order < 0 && removals)
			map_command(c, "del", dir, "routes.map", have->routes[i].key, NULL);
		else if (order > 0 && !removals)
			map_command(c, "add", dir, "routes.map", want->routes[k].key, want->routes[k].value);
		else if (order == 0 && !removals && !str_eq(have->routes[i].value, want->routes[k].value))
			map_command(c, "set", dir, "routes.map", want->routes[k].key, want->routes[k].value);
		i += order <= 0;
		k += order >= 0;
	}
}

/* Not for requests: a daemon that takes this process over reads from it which backend has which slot. */
static void change_slot(Commands *c, const char *dir, size_t i, const ProxySlot *have, const ProxySlot *after)
{
	char slot[24];
	if (str_eq(have->backend, after->backend))
		return;
	(void) snprintf(slot, sizeof(slot), "s%zu", i);
	if (!after->backend)
		map_command(c, "del", dir, "slots.map", slot, NULL);
	else
		map_command(c, have->backend ? "set" : "add", dir, "slots.map", slot, after->backend);
}

void converge(const char *dir, const ProxyState *have, const ProxyState *want, Commands *ret, ProxyState **ret_after)
{
	ProxyState *after = proxy_state_copy(want);
	*ret = (Commands) { 0 };
	add_certs(ret, dir, have, want);
	for (size_t i = 0; i < want->n_slots; i++) {
		if (!want->slots[i].backend && have->slots[i].n_servers)
			after->slots[i].backend = xstrdup(have->slots[i].backend);
		change_slot(ret, dir, i, &have->slots[i], &after->slots[i]);
		change_servers(ret, i, &have->slots[i], &want->slots[i], true);
	}
	change_routes(ret, dir, have, want, false);
	for (size_t i = 0; i < want->n_slots; i++)
		change_servers(ret, i, &have->slots[i], &want->slots[i], false);
	change_routes(ret, dir, have, want, true);
	for (size_t i = 0; i < want->n_slots; i++)
		retire_servers(ret, i, &have->slots[i], &want->slots[i], &after->slots[i]);
	remove_certs(ret, dir, have, want);
	*ret_after = after;
}

/* ── what leaves ──────────────────────────────────────────────────── */

void converge_reap(const ProxyState *have, bool force, Commands *ret)
{
	*ret = (Commands) { 0 };
	for (size_t i = 0; i < have->n_slots; i++)
		for (size_t k = 0; k < have->slots[i].n_servers; k++) {
			const ProxyServer *s = &have->slots[i].servers[k];
			if (s->state != SERVER_MAINT)
				continue;
			if (force)
				add(ret, EXPECT_ANYTHING, "shutdown sessions server s%zu/%s", i, s->name);
			add(ret, EXPECT_DELETED, "del server s%zu/%s", i, s->name);
		}
}

void converge_reaped(ProxyState *s, const char *server)
{
	for (size_t i = 0; i < s->n_slots; i++) {
		ProxySlot *slot = &s->slots[i];
		for (size_t k = 0; k < slot->n_servers; k++) {
			AUTO_FREE char *name = xasprintf("s%zu/%s", i, slot->servers[k].name);
			if (str_eq(name, server)) {
				slot->servers[k] = slot->servers[--slot->n_servers];
				break;
			}
		}
	}
}

bool converge_has_leaving(const ProxyState *s)
{
	for (size_t i = 0; i < s->n_slots; i++)
		for (size_t k = 0; k < s->slots[i].n_servers; k++)
			if (s->slots[i].servers[k].state == SERVER_MAINT)
				return true;
	return false;
}
