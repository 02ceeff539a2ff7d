// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/http-query.h"

static int path(const char *s, char **ret)
{
	return path_decode(s, strlen(s), ret);
}

static void paths(void **state)
{
	AUTO_FREE char *a = NULL;
	AUTO_FREE char *b = NULL;
	char *none = NULL;
	assert_int_equal(path("/v1.41/images/docker.io%2Flibrary%2fredis:7/json", &a), 0);
	assert_string_equal(a, "/v1.41/images/docker.io/library/redis:7/json");
	assert_int_equal(path("/a+b%c3%a9", &b), 0);
	assert_string_equal(b, "/a+b\xc3\xa9");
	static const char *const bad[] = { "", "a", "/%", "/%4", "/%4g", "/%00", "/%0a", "/%7f", "/a\x01" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(path(bad[i], &none), -EINVAL);
	assert_null(none);
}

static void queries(void **state)
{
	Query q = { 0 };
	static const char text[] = "all=1&filters=%7B%22label%22%3A%5B%22a%3Db%22%5D%7D&x&env=A%3D1&env=B+2&=v&&line=a%0Ab&eq=a=b";
	assert_int_equal(query_parse(text, strlen(text), &q), 0);
	assert_string_equal(query_get(&q, "all"), "1");
	assert_string_equal(query_get(&q, "filters"), "{\"label\":[\"a=b\"]}");
	assert_string_equal(query_get(&q, "x"), "");
	assert_string_equal(query_get(&q, "env"), "A=1");
	assert_string_equal(query_get(&q, ""), "v");
	assert_string_equal(query_get(&q, "line"), "a\nb");
	assert_string_equal(query_get(&q, "eq"), "a=b");
	assert_null(query_get(&q, "none"));
	assert_int_equal(q.n_params, 8);
	query_done(&q);
	assert_int_equal(query_parse("", 0, &q), 0);
	assert_int_equal(q.n_params, 0);
}

static void bad_queries(void **state)
{
	Query q = { 0 };
	static const char *const bad[] = { "a=%", "a=%zz", "%0", "a=%00", "a=b&c=%1" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(query_parse(bad[i], strlen(bad[i]), &q), -EINVAL);
	char many[2 * (QUERY_PARAMS_MAX + 1)];
	for (size_t i = 0; i < sizeof(many); i++)
		many[i] = i % 2 ? '&' : 'a';
	assert_int_equal(query_parse(many, sizeof(many), &q), -E2BIG);
	assert_int_equal(query_parse(many, sizeof(many) - 2, &q), 0);
	query_done(&q);
}

static void booleans(void **state)
{
	static const char *const no[] = { "", "0", "no", "False", "NONE", " 0 " };
	static const char *const yes[] = { "1", "true", "True", "yes", "00", "x" };
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		assert_false(query_bool(no[i], true));
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		assert_true(query_bool(yes[i], false));
	assert_true(query_bool(NULL, true));
	assert_false(query_bool(NULL, false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths),
		cmocka_unit_test(queries),
		cmocka_unit_test(bad_queries),
		cmocka_unit_test(booleans),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
