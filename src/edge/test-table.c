// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "edge/edge.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static Route plain(const char *host, const char *path)
{
	return (Route) { .host = (char *) host, .path = (char *) path, .port = 80, .cache = { -1, -1, -1 }, .max_body = -1, .rate = -1,
		.rate_period = NSEC_PER_SEC, .timeout = -1 };
}

static EdgeTable *table_of(const char *const (*routes)[2], size_t n)
{
	EdgeTable *t = edge_table_new();
	for (size_t i = 0; i < n; i++) {
		AUTO_FREE char *name = xasprintf("s/r%zu:80", i);
		Route r = plain(routes[i][0], routes[i][1]);
		edge_table_add_backend(t, name);
		edge_table_add_route(t, &r, "s", name + 2, name);
	}
	return t;
}

static void leads(const EdgeTable *t, const char *host, const char *path, int expected)
{
	const EdgeRoute *r = edge_table_match(t, host, path);
	int got = r ? (int) (r - t->routes) : -1;
	if (got != expected)
		fail_msg("%s%s leads to %d, expected %d", host, path, got, expected);
}

static void test_match(void **state)
{
	static const char *const routes[][2] = { { "app.test", "/" }, { "app.test", "/api" }, { "app.test", "/api/v2" }, { "*.app.test", "/" },
		{ "*.app.test", "/x" }, { NULL, "/any" }, { "only.test", "/deep" } };
	AUTO_EDGE_TABLE *t = table_of(routes, ARRAY_SIZE(routes));
	assert_int_equal(edge_table_check(t, NULL), 0);
	leads(t, "app.test", "/", 0);
	leads(t, "APP.test:8080", "/index", 0);
	leads(t, "app.test.", "/index", 0);
	leads(t, "app.test", "/api", 1);
	leads(t, "app.test", "/api/", 1);
	leads(t, "app.test", "/apix", 0);
	leads(t, "app.test", "/API", 0);
	leads(t, "app.test", "/api/v2/x", 2);
	leads(t, "app.test", "/api/v22", 1);
	leads(t, "a.app.test", "/", 3);
	leads(t, "a.app.test", "/x/y", 4);
	leads(t, "b.a.app.test", "/", -1);
	leads(t, "b.a.app.test", "/any", 5);
	leads(t, "only.test", "/deep/er", 6);
	leads(t, "only.test", "/any/x", 5); /* what the host's own routes do not take may be anybody's */
	leads(t, "only.test", "/", -1);
	leads(t, "[::1]:80", "/any", 5);
	leads(t, "", "/", -1);
}

static void refused(Route r, const char *why)
{
	AUTO_EDGE_TABLE *t = edge_table_new();
	AUTO_ERR err = ERR_INIT;
	edge_table_add_backend(t, "s/web:80");
	edge_table_add_route(t, &r, "s", "web", "s/web:80");
	assert_int_equal(edge_table_check(t, &err), -EINVAL);
	assert_non_null(strstr(err_text(&err), why));
}

static void test_check(void **state)
{
	static const char *const hosts[] = { "a b", "a\nb", "a{b}", "a\"b", "-a", "a-", "a..b", "", "UP.test", "a.*.b", "*", "*.", "a;b", "a|b" };
	static const char *const paths[] = { "x", "", "/a b", "/a\n", "/a\"", "/a'", "/{a}", "/a?b", "/a#b", "/a//b", "/a/", "/%zz", "/a|b", "/a\\b", "/\x80" };
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		refused(plain(hosts[i], "/"), "RFC 1123");
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		refused(plain("a.test", paths[i]), "RFC 3986");
	Route odd = plain("a.test", "/");
	odd.rate = 5;
	odd.rate_period = 7;
	refused(odd, "per second");
}

static void test_check_backends(void **state)
{
	static const struct {
		const char *name, *id, *address;
		uint16_t port;
		int r;
	} cases[] = {
		{ "s/web:80", ID, "10.0.0.1", 80, 0 },
		{ "s/web:80", ID, "fd00::1", 80, 0 },
		{ "s/web:80", ID, "10.0.0.1", 0, -EINVAL },
		{ "s/web:80", ID, "10.0.0.1 check", 80, -EINVAL },
		{ "s/web:80", ID, "example.com", 80, -EINVAL },
		{ "s/web:80", "abc", "10.0.0.1", 80, -EINVAL },
		{ "s/web 80", ID, "10.0.0.1", 80, -EINVAL },
		{ "s/web\n:80", ID, "10.0.0.1", 80, -EINVAL },
		{ "", ID, "10.0.0.1", 80, -EINVAL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_EDGE_TABLE *t = edge_table_new();
		edge_backend_add_server(edge_table_add_backend(t, cases[i].name), cases[i].id, cases[i].address, cases[i].port, false);
		if (edge_table_check(t, NULL) != cases[i].r)
			fail_msg("case %zu", i);
	}
}

static void test_equal(void **state)
{
	static const char *const routes[][2] = { { "app.test", "/" }, { NULL, "/api" } };
	AUTO_EDGE_TABLE *a = table_of(routes, 2);
	AUTO_EDGE_TABLE *b = table_of(routes, 2);
	assert_true(edge_table_eq(a, b));
	edge_backend_add_server(&a->backends[0], ID, "10.0.0.1", 80, false);
	assert_false(edge_table_eq(a, b));
	edge_backend_add_server(&b->backends[0], ID, "10.0.0.1", 80, true);
	assert_false(edge_table_eq(a, b));
	b->backends[0].servers[0].draining = false;
	assert_true(edge_table_eq(a, b));
	a->backends[1].hold = true;
	assert_false(edge_table_eq(a, b));
	b->backends[1].hold = true;
	b->routes[1].route.rate = 5;
	assert_false(edge_table_eq(a, b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_match),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_check_backends),
		cmocka_unit_test(test_equal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
