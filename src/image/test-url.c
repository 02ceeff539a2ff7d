// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "image/fetch.h"
#include "image/url.h"

static void parts(void **state)
{
	AUTO_URL u = { 0 };
	assert_int_equal(url_parse("HTTPS://Registry.Example:5000/v2/a/b?x=1&y=%2f#frag", &u, NULL), 0);
	assert_true(u.tls);
	assert_string_equal(u.host, "registry.example");
	assert_string_equal(u.port, "5000");
	assert_string_equal(u.path, "/v2/a/b?x=1&y=%2f");
	url_done(&u);
	assert_int_equal(url_parse("http://[fd00::1]?q", &u, NULL), 0);
	assert_false(u.tls);
	assert_string_equal(u.host, "[fd00::1]");
	assert_string_equal(u.port, "80");
	assert_string_equal(u.path, "/?q");
	url_done(&u);
	assert_int_equal(url_parse("http://[fd00::1]:81/", &u, NULL), 0);
	assert_string_equal(u.port, "81");
}

static void refused(void **state)
{
	static const char *const bad[] = {
		"", "file:///etc/passwd", "ftp://x/", "//x/", "x", "http://", "http:///p", "https://a b/", "https://a\\@b/", "https://u@h/", "https://u:p@h/",
		"https://h:/", "https://h:123456/", "https://h:x/", "https://h/\n", "https://h/\x7f", "https://h/\xc3\xa9", "https://[::1/", "https://[g]/",
		"https://h;x/", "https://h%2f/", "gopher://x", "javascript:x", "https://a,b/", "https://\"/",
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		AUTO_URL u = { 0 };
		AUTO_ERR err = ERR_INIT;
		assert_int_equal(url_parse(bad[i], &u, &err), -EINVAL);
		assert_non_null(err.text);
	}
}

static bool same(const char *a, const char *b)
{
	AUTO_URL x = { 0 }, y = { 0 };
	assert_int_equal(url_parse(a, &x, NULL), 0);
	assert_int_equal(url_parse(b, &y, NULL), 0);
	return url_same_origin(&x, &y);
}

static void origins(void **state)
{
	assert_true(same("https://a/x", "https://A:443/y"));
	assert_false(same("https://a/", "http://a/"));
	assert_false(same("https://a/", "https://a:444/"));
	assert_false(same("https://a/", "https://a.b/"));
	assert_false(same("http://a:443/", "https://a/"));
}

static void local(void **state)
{
	assert_true(url_is_local("localhost"));
	assert_true(url_is_local("localhost:5000"));
	assert_true(url_is_local("127.0.0.1:5000"));
	assert_true(url_is_local("127.9.0.1"));
	assert_true(url_is_local("[::1]:5000"));
	assert_false(url_is_local("localhost.example"));
	assert_false(url_is_local("127.example"));
	assert_false(url_is_local("128.0.0.1"));
	assert_false(url_is_local("[::1]x"));
}

static void patience(void **state)
{
	assert_int_equal(fetch_patience(200, 0, 1), -1);
	assert_int_equal(fetch_patience(404, 5, 1), -1);
	assert_int_equal(fetch_patience(401, 0, 1), -1);
	assert_int_equal(fetch_patience(501, 0, 1), -1);
	assert_int_equal(fetch_patience(0, 0, 1), 1);
	assert_int_equal(fetch_patience(503, 0, 1), 1);
	assert_int_equal(fetch_patience(503, 0, 3), 4);
	assert_int_equal(fetch_patience(429, 7, 1), 7);
	assert_int_equal(fetch_patience(429, LIMIT_REGISTRY_WAIT, 1), LIMIT_REGISTRY_WAIT);
	assert_int_equal(fetch_patience(429, LIMIT_REGISTRY_WAIT + 1, 1), -1);
	assert_int_equal(fetch_patience(429, 1, LIMIT_REGISTRY_TRIES), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts), cmocka_unit_test(refused), cmocka_unit_test(origins), cmocka_unit_test(local), cmocka_unit_test(patience),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
