// SPDX-License-Identifier: Apache-2.0
/*
 * The commands are carried out on a state, as HAProxy would: it must end as promised, and on the way no backend that keeps a server may be
 * without one that takes requests.
 */
#include <errno.h>

#include "edge/testing.h"

#include "edge/converge.h"

static const RouteHooks no_hooks;

static ProxySlot *slot_of(ProxyState *s, const char *text, const char **rest)
{
	unsigned i = 0;
	int n = 0;
	assert_int_equal(sscanf(text, "s%u/%n", &i, &n), 1);
	assert_true(i < s->n_slots);
	*rest = text + n;
	return &s->slots[i];
}

static void on_server(ProxyState *s, const char *verb, const char *text)
{
	const char *rest;
	ProxySlot *slot = slot_of(s, text, &rest);
	AUTO_FREE char *name = xstrndup(rest, strcspn(rest, " "));
	ProxyServer *server = proxy_slot_server(slot, name);
	char word[sizeof(server->address)] = "";
	unsigned port = 0;
	rest += strlen(name);
	if (str_eq(verb, "add")) {
		assert_null(server);
		assert_int_equal(sscanf(rest, " %45[0-9.]:%u", word, &port), 2);
		assert_non_null(strstr(rest, "pool-max-conn"));
		proxy_slot_add(slot, name, word, (uint16_t) port, SERVER_MAINT)->backup = strstr(rest, " backup") != NULL;
		return;
	}
	assert_non_null(server);
	if (str_eq(rest, " health up")) {
		assert_int_equal(server->state, SERVER_READY);
	} else if (sscanf(rest, " addr %45s port %u", word, &port) == 2) {
		(void) snprintf(server->address, sizeof(server->address), "%s", word);
		server->port = (uint16_t) port;
	} else {
		assert_int_equal(sscanf(rest, " state %20s", word), 1);
		server->state = str_eq(word, "ready") ? SERVER_READY : str_eq(word, "drain") ? SERVER_DRAIN : SERVER_MAINT;
	}
}

static char *unescaped(const char *s, size_t n)
{
	AUTO_BUF b = BUF_INIT;
	for (size_t i = 0; i < n; i++) {
		i += s[i] == '\\';
		buf_char(&b, s[i]);
	}
	return buf_steal(&b);
}

static void on_map(ProxyState *s, const char *verb, const char *text)
{
	bool slots = str_starts(text, "/d/slots.map ");
	const char *rest = strchr(text, ' ') + 1, *space = strchr(rest, ' ');
	AUTO_FREE char *key = unescaped(rest, space ? (size_t) (space - rest) : strlen(rest));
	AUTO_FREE char *value = space ? unescaped(space + 1, strlen(space + 1)) : NULL;
	if (slots) {
		unsigned i = 0;
		assert_int_equal(sscanf(key, "s%u", &i), 1);
		assert_int_equal(str_eq(verb, "add"), s->slots[i].backend == NULL);
		str_set(&s->slots[i].backend, value);
		return;
	}
	size_t i = 0;
	while (i < s->n_routes && !str_eq(s->routes[i].key, key))
		i++;
	assert_int_equal(str_eq(verb, "add"), i == s->n_routes); /* HAProxy would have the key twice */
	if (str_eq(verb, "add")) {
		proxy_state_add_route(s, key, value);
	} else if (str_eq(verb, "set")) {
		str_set(&s->routes[i].value, value);
	} else {
		free(s->routes[i].key);
		free(s->routes[i].value);
		memmove(&s->routes[i], &s->routes[i + 1], (--s->n_routes - i) * sizeof(*s->routes));
	}
	proxy_state_sort(s);
}

static void carry_out(ProxyState *s, const char *text)
{
	char verb[8], what[8];
	int n = 0;
	assert_int_equal(sscanf(text, "%7s %7s %n", verb, what, &n), 2);
	assert_null(strchr(text, '\n'));
	if (str_eq(what, "health")) {
		const char *name;
		ProxySlot *slot = slot_of(s, text + n, &name);
		assert_non_null(proxy_slot_server(slot, name));
		proxy_slot_server(slot, name)->watched = str_eq(verb, "enable");
	} else if (str_eq(what, "server"))
		on_server(s, verb, text + n);
	else if (str_eq(what, "map"))
		on_map(s, verb, text + n);
	else
		fail_msg("%s", text);
}

static size_t slot_number(const char *value)
{
	unsigned n = 0;
	assert_int_equal(sscanf(value, "s%u", &n), 1);
	return n;
}

static size_t ready(const ProxySlot *slot)
{
	size_t n = 0;
	for (size_t i = 0; i < slot->n_servers; i++)
		n += slot->servers[i].state == SERVER_READY;
	return n;
}

static void equal(const ProxyState *a, const ProxyState *b)
{
	assert_int_equal(a->n_slots, b->n_slots);
	for (size_t i = 0; i < a->n_slots; i++) {
		assert_true(str_eq(a->slots[i].backend, b->slots[i].backend));
		assert_int_equal(a->slots[i].n_servers, b->slots[i].n_servers);
		for (size_t k = 0; k < a->slots[i].n_servers; k++) {
			const ProxyServer *x = &a->slots[i].servers[k], *y = proxy_slot_server(&b->slots[i], x->name);
			assert_non_null(y);
			assert_string_equal(x->address, y->address);
			assert_int_equal(x->port, y->port);
			assert_int_equal(x->state, y->state);
			assert_int_equal(x->backup, y->backup);
			assert_int_equal(x->watched, y->watched);
		}
	}
	assert_int_equal(a->n_routes, b->n_routes);
	for (size_t i = 0; i < a->n_routes; i++) {
		assert_string_equal(a->routes[i].key, b->routes[i].key);
		assert_string_equal(a->routes[i].value, b->routes[i].value);
	}
}

/* From `have` to the table; `have` becomes what is there then. */
static void go(ProxyState **have, const EdgeTable *t)
{
	AUTO_PROXY_STATE *want = NULL;
	ProxyState *after = NULL;
	Commands c;
	AUTO_PROXY_STATE *now = proxy_state_copy(*have);
	assert_int_equal(proxy_state_make(t, *have, &no_hooks, &want), 0);
	converge("/d", *have, want, &c, &after);
	for (size_t i = 0; i < c.n; i++) {
		carry_out(now, c.items[i].text);
		for (size_t k = 0; k < now->n_slots; k++)
			if (str_eq((*have)->slots[k].backend, want->slots[k].backend) && ready(&(*have)->slots[k]) && ready(&want->slots[k]))
				assert_true(ready(&now->slots[k]) > 0);
		/* What requests are led to is a backend that has been there before, or has its servers already. */
		for (size_t k = 0; k < now->n_routes; k++) {
			size_t slot = slot_number(now->routes[k].value);
			if (!(*have)->slots[slot].backend && ready(&want->slots[slot]))
				assert_true(ready(&now->slots[slot]) > 0);
		}
	}
	commands_done(&c);
	equal(now, after);
	proxy_state_free(*have);
	*have = after;
}

static void reap(ProxyState *s)
{
	Commands c;
	converge_reap(s, false, &c);
	for (size_t i = 0; i < c.n; i++)
		converge_reaped(s, c.items[i].text + strlen("del server "));
	commands_done(&c);
	assert_false(converge_has_leaving(s));
}

static void test_any_to_any(void **state)
{
	for (uint32_t seed = 1; seed <= 300; seed++) {
		Chance ch = { seed };
		ProxyState *have = proxy_state_new(SLOTS_MIN);
		for (int round = 0; round < 12; round++) {
			AUTO_EDGE_TABLE *t = random_table(&ch, chance(&ch, 12), 10, (uint16_t) (8080 + chance(&ch, 2)));
			go(&have, t);
			if (chance(&ch, 2))
				reap(have);
		}
		proxy_state_free(have);
	}
}

static void test_nothing_to_do(void **state)
{
	Chance ch = { 5 };
	AUTO_EDGE_TABLE *t = random_table(&ch, 10, 10, 80);
	ProxyState *have = proxy_state_new(SLOTS_MIN), *after;
	AUTO_PROXY_STATE *want = NULL;
	Commands c;
	go(&have, t);
	assert_int_equal(proxy_state_make(t, have, &no_hooks, &want), 0);
	converge("/d", have, want, &c, &after);
	assert_int_equal(c.n, 0);
	proxy_state_free(after);
	proxy_state_free(have);
}

/* Routes that go and a backend whose servers leave: its slot is nobody else's until they are gone. */
static void test_slots(void **state)
{
	ProxyState *have = proxy_state_new(2);
	EdgeTable *t = edge_table_new();
	Route r = route_to("a.test", "/");
	edge_table_add_route(t, &r, "s", "a", "s/a:80");
	edge_backend_add_server(edge_table_add_backend(t, "s/a:80"), "00000000000000000000000000000000000000000000000000000000000000aa", "127.0.0.1", 80, false);
	go(&have, t);
	edge_table_free(t);
	assert_string_equal(have->slots[0].backend, "s/a:80");
	t = edge_table_new();
	edge_table_add_route(t, &r, "s", "b", "s/b:80");
	edge_table_add_backend(t, "s/b:80");
	go(&have, t);
	assert_string_equal(have->slots[0].backend, "s/a:80");
	assert_string_equal(have->slots[1].backend, "s/b:80");
	assert_true(converge_has_leaving(have));
	Route second = route_to("c.test", "/");
	edge_table_add_route(t, &second, "s", "c", "s/c:80");
	edge_table_add_backend(t, "s/c:80");
	AUTO_PROXY_STATE *want = NULL;
	assert_int_equal(proxy_state_make(t, have, &no_hooks, &want), -ENOSPC);
	reap(have);
	/* Only when its name is gone too is the slot free. */
	EdgeTable *only_b = edge_table_new();
	edge_table_add_route(only_b, &r, "s", "b", "s/b:80");
	edge_table_add_backend(only_b, "s/b:80");
	go(&have, only_b);
	edge_table_free(only_b);
	go(&have, t);
	assert_string_equal(have->slots[0].backend, "s/c:80");
	edge_table_free(t);
	proxy_state_free(have);
}

#define OLD "aaaaaaaaaaaaaaaa000000000000000000000000000000000000000000000000"
#define NEW "bbbbbbbbbbbbbbbb000000000000000000000000000000000000000000000000"

static EdgeTable *one_server(const char *id, bool trial)
{
	EdgeTable *t = edge_table_new();
	Route r = route_to("a.test", "/");
	edge_table_add_route(t, &r, "s", "a", "s/a:80");
	edge_backend_add_server(edge_table_add_backend(t, "s/a:80"), id, "127.0.0.1", 80, false)->trial = trial;
	return t;
}

/* While the new version is on trial, the old one is drained and, once more, there as a backup. */
static void test_trial(void **state)
{
	ProxyState *have = proxy_state_new(1);
	AUTO_EDGE_TABLE *before = one_server(OLD, false);
	AUTO_EDGE_TABLE *trial = one_server(NEW, true);
	AUTO_EDGE_TABLE *alone = one_server(NEW, true);
	AUTO_EDGE_TABLE *proven = one_server(NEW, false);
	edge_backend_add_server(&trial->backends[0], OLD, "127.0.0.1", 81, true)->standby = true;
	go(&have, before);
	assert_false(have->slots[0].servers[0].watched);
	go(&have, trial);
	const ProxyServer *old = proxy_slot_server(&have->slots[0], "aaaaaaaaaaaaaaaa"), *again = proxy_slot_server(&have->slots[0], "aaaaaaaaaaaaaaaab");
	assert_int_equal(old->state, SERVER_DRAIN);
	assert_false(old->backup);
	assert_int_equal(again->state, SERVER_READY);
	assert_true(again->backup);
	assert_string_equal(again->address, old->address);
	assert_int_equal(again->port, 81);
	assert_true(proxy_slot_server(&have->slots[0], "bbbbbbbbbbbbbbbb")->watched);
	/* The new one has proven itself. */
	ProxyState *kept = proxy_state_copy(have);
	go(&have, proven);
	assert_int_equal(proxy_slot_server(&have->slots[0], "aaaaaaaaaaaaaaaab")->state, SERVER_MAINT);
	assert_false(proxy_slot_server(&have->slots[0], "bbbbbbbbbbbbbbbb")->watched);
	proxy_state_free(have);
	/* It has not. */
	go(&kept, before);
	assert_int_equal(proxy_slot_server(&kept->slots[0], "aaaaaaaaaaaaaaaa")->state, SERVER_READY);
	assert_int_equal(proxy_slot_server(&kept->slots[0], "aaaaaaaaaaaaaaaab")->state, SERVER_MAINT);
	assert_int_equal(proxy_slot_server(&kept->slots[0], "bbbbbbbbbbbbbbbb")->state, SERVER_MAINT);
	/* Where nobody could take its place, one failure does not take it out. */
	go(&kept, alone);
	assert_false(proxy_slot_server(&kept->slots[0], "bbbbbbbbbbbbbbbb")->watched);
	proxy_state_free(kept);
}

static const char *redirect_value(const EdgeRoute *r, const EdgeBackend *b, const RouteHooks *hooks, Buf *ret)
{
	buf_clear(ret);
	proxy_route_value(r, b, 3, hooks, ret);
	return buf_cstr(ret);
}

static bool always(void *user, const EdgeRoute *r)
{
	return true;
}

static bool cached(void *user, const EdgeRoute *r, Buf *ret)
{
	buf_str(ret, "g1:60:");
	return true;
}

static void test_values(void **state)
{
	AUTO_BUF b = BUF_INIT;
	EdgeRoute r = { .route = route_to("app.test", "/api") };
	EdgeBackend backend = { .name = (char *) "s/web:80" };
	assert_string_equal(redirect_value(&r, &backend, &no_hooks, &b), "s3");
	r.route.timeout = 60 * NSEC_PER_SEC; /* the default */
	assert_string_equal(redirect_value(&r, &backend, &no_hooks, &b), "s3");
	r.route.timeout = -1;
	r.route.max_body = 0;
	assert_non_null(strstr(redirect_value(&r, &backend, &no_hooks, &b), "s3|b|0|0|0|0|0|"));
	r.route.max_body = -1;
	r.route.rate = 7;
	r.route.rate_period = 60 * NSEC_PER_SEC;
	assert_non_null(strstr(redirect_value(&r, &backend, &no_hooks, &b), "s3|rM|0|7|9|0|0|"));
	r.route.rate = -1;
	r.route.timeout = 1500 * NSEC_PER_MSEC + 1;
	assert_non_null(strstr(redirect_value(&r, &backend, &no_hooks, &b), "s3|o|0|0|0|1501|0|"));
	r.route.timeout = INT64_MAX;
	assert_non_null(strstr(redirect_value(&r, &backend, &no_hooks, &b), "s3|o|0|0|0|1036800000|0|"));
	r.route.timeout = -1;
	backend = (EdgeBackend) { .retry = true };
	assert_string_equal(redirect_value(&r, &backend, &no_hooks, &b), "s3|retry+");
	backend.maintenance = true;
	assert_non_null(strstr(redirect_value(&r, &backend, &no_hooks, &b), "s3|m+|"));
	backend = (EdgeBackend) { .hold = true, .hold_ns = 2 * NSEC_PER_SEC, .maintenance = true };
	assert_non_null(strstr(redirect_value(&r, &backend, &no_hooks, &b), "s3|mh|0|0|0|0|2000|"));
	const RouteHooks hooks = { .redirect = always, .cache = cached };
	backend = (EdgeBackend) { 0 };
	const char *value = redirect_value(&r, &backend, &hooks, &b);
	assert_true(str_starts(value, "cache|tc+|"));
	assert_true(str_ends(value, "|g1:60:s3::"));
	r.route.timeout = 5 * NSEC_PER_SEC;
	value = redirect_value(&r, &backend, &hooks, &b);
	assert_true(str_starts(value, "cache|toc+|0|0|0|5000|"));
	assert_true(str_ends(value, "|g1:60:s3:5000:"));
	r.route.timeout = -1;
	const RouteHooks redirect = { .redirect = always };
	assert_string_equal(redirect_value(&r, &backend, &redirect, &b), "s3|tls");
	backend.retry = true;
	assert_string_equal(redirect_value(&r, &backend, &redirect, &b), "s3|tls+");
	backend.retry = false;
}

static void has_command(const Commands *c, size_t i, const char *begin)
{
	assert_true(i < c->n);
	if (!str_starts(c->items[i].text, begin))
		fail_msg("%s", c->items[i].text);
}

static void add_cert(ProxyState *s, const char *file, const char *digest, const char *name)
{
	ProxyCert *c = array_append(s->certs, s->n_certs);
	c->file = xstrdup(file);
	(void) snprintf(c->digest, sizeof(c->digest), "%s", digest);
	c->pem = xstrdup("PEM\n");
	strv_add(&c->names, name);
}

static void test_certs(void **state)
{
	AUTO_PROXY_STATE *have = proxy_state_new(1);
	AUTO_PROXY_STATE *want = proxy_state_new(1);
	AUTO_PROXY_STATE *after = NULL;
	Commands c;
	add_cert(have, "/c/renewed.pem", "1", "a.test");
	add_cert(have, "/c/gone.pem", "1", "gone.test");
	add_cert(want, "/c/renewed.pem", "2", "a.test");
	add_cert(want, "/c/new.pem", "1", "new.test");
	converge("/d", have, want, &c, &after);
	has_command(&c, 0, "set ssl cert /c/renewed.pem <<\nPEM\n");
	has_command(&c, 1, "commit ssl cert /c/renewed.pem");
	has_command(&c, 2, "new ssl cert /c/new.pem");
	has_command(&c, 3, "set ssl cert /c/new.pem <<\nPEM\n");
	has_command(&c, 4, "commit ssl cert /c/new.pem");
	has_command(&c, 5, "add ssl crt-list /d/crt.list <<\n/c/new.pem new.test\n");
	has_command(&c, 6, "del ssl crt-list /d/crt.list /c/gone.pem");
	has_command(&c, 7, "del ssl cert /c/gone.pem");
	assert_int_equal(c.n, 8);
	commands_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_to_any),
		cmocka_unit_test(test_nothing_to_do),
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_trial),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_certs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
