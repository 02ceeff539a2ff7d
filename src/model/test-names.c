// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "model/names.h"

static void hosts(void **state)
{
	static const char *const good[] = { "a", "localhost", "app.example.com", "xn--bcher-kva.example", "1.2.3.4", "a-b.c0",
		"123456789012345678901234567890123456789012345678901234567890123.test", NULL };
	static const char *const bad[] = { "", ".", "a.", ".a", "a..b", "-a", "a-", "a.-b", "a_b", "a b", "a\nb", "b\xc3\xbc.test", "a/b",
		"a:80", "*", "*.a", "a{b", "a\"b", "a%41", "1234567890123456789012345678901234567890123456789012345678901234.test", NULL };
	for (const char *const *p = good; *p; p++)
		if (!host_name_valid(*p))
			fail_msg("refused: %s", *p);
	for (const char *const *p = bad; *p; p++)
		if (host_name_valid(*p))
			fail_msg("accepted: %s", *p);
	char name[256];
	memset(name, 'a', sizeof(name));
	for (size_t i = 50; i < sizeof(name); i += 50)
		name[i] = '.';
	name[253] = '\0';
	assert_true(host_name_valid(name));
	name[253] = 'a';
	name[254] = '\0';
	assert_false(host_name_valid(name));
}

static void paths(void **state)
{
	static const char *const good[] = { "/", "/a", "/a/", "/a/b.c/~d", "/%41%2f", "/a;v=1,2/@x:y", "/...", "/a..b", "/.well-known",
		"/!$&()*+=", NULL };
	static const char *const bad[] = { "", "a", "//", "/a//", "/a//b", "/.", "/..", "/a/../b", "/a/.", "/%2e", "/%2E%2e/x", "/.%2e", "/%",
		"/%4", "/%4g", "/a b", "/a\tb", "/a\nb", "/{", "/a\"", "/a'", "/a?b", "/a#b", "/\xc3\xbc", "/a\\b", "/<", "/|", "/^", "/[", NULL };
	for (const char *const *p = good; *p; p++)
		if (!url_path_valid(*p) || !url_request_valid(*p))
			fail_msg("refused: %s", *p);
	for (const char *const *p = bad; *p; p++)
		if (url_path_valid(*p))
			fail_msg("accepted: %s", *p);
}

static void requests(void **state)
{
	static const char *const good[] = { "/?", "/a?b", "/a?b=c&d=/e?f", "/a/?q=%20", NULL };
	static const char *const bad[] = { "", "?", "a?b", "/a?b c", "/a?b#c", "/a?\"", "/a?b\r\nX: y", "/a?%", "/a?%2", "/../a?b", NULL };
	for (const char *const *p = good; *p; p++)
		if (!url_request_valid(*p))
			fail_msg("refused: %s", *p);
	for (const char *const *p = bad; *p; p++)
		if (url_request_valid(*p))
			fail_msg("accepted: %s", *p);
}

static void urls(void **state)
{
	static const char *const web[] = { "https", "http", NULL };
	static const char *const good[] = { "https://a.test", "http://a.test:8080/x?y=z#f", "https://u:p@a.test/", "https://[::1]:80/x",
		"http://127.0.0.1/", "https://a.test?x", NULL };
	static const char *const bad[] = { "", "https", "https:/", "https://", "https:///x", "ftp://a", "https//a", "https://a b", "https://a:0",
		"https://a:65536", "https://a:", "https://a:b", "https://a\n", "https://a\"", "https://\xc3\xbc", "https://[::1", "https://[a]",
		"https://[::1]x", "https://@", "https://a_b", NULL };
	for (const char *const *p = good; *p; p++)
		if (!url_valid(*p, web))
			fail_msg("refused: %s", *p);
	for (const char *const *p = bad; *p; p++)
		if (url_valid(*p, web))
			fail_msg("accepted: %s", *p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts),
		cmocka_unit_test(paths),
		cmocka_unit_test(requests),
		cmocka_unit_test(urls),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
