// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/reference.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void normal_and_familiar(void **state)
{
	static const struct {
		const char *in, *normal, *familiar;
	} cases[] = {
		{ "redis", "docker.io/library/redis:latest", "redis:latest" },
		{ "redis:7", "docker.io/library/redis:7", "redis:7" },
		{ "library/redis:7", "docker.io/library/redis:7", "redis:7" },
		{ "docker.io/redis", "docker.io/library/redis:latest", "redis:latest" },
		{ "index.docker.io/redis", "docker.io/library/redis:latest", "redis:latest" },
		{ "team/app", "docker.io/team/app:latest", "team/app:latest" },
		{ "a/b/c:1", "docker.io/a/b/c:1", "a/b/c:1" },
		{ "docker.io/library/a/b:1", "docker.io/library/a/b:1", "library/a/b:1" },
		{ "index.docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest" },
		{ "docker.io/localhost/c", "docker.io/localhost/c:latest", "docker.io/localhost/c:latest" },
		{ "localhost/x", "localhost/x:latest", "localhost/x:latest" },
		{ "localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1" },
		{ "localhost:5000", "docker.io/library/localhost:5000", "localhost:5000" },
		{ "Registry/x", "Registry/x:latest", "Registry/x:latest" },
		{ "[fd00::1]:5000/x", "[fd00::1]:5000/x:latest", "[fd00::1]:5000/x:latest" },
		{ "ghcr.io/o/p_q__r--s.t:V1.0-x", "ghcr.io/o/p_q__r--s.t:V1.0-x", "ghcr.io/o/p_q__r--s.t:V1.0-x" },
		{ "redis@sha256:" HEX64, "docker.io/library/redis@sha256:" HEX64, "redis@sha256:" HEX64 },
		{ "redis:7@sha256:" HEX64, "docker.io/library/redis:7@sha256:" HEX64, "redis:7@sha256:" HEX64 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_REFERENCE r = { 0 };
		assert_int_equal(reference_parse(cases[i].in, &r, NULL), 0);
		AUTO_FREE char *normal = reference_string(&r);
		AUTO_FREE char *familiar = reference_familiar(&r);
		AUTO_FREE char *shown = reference_show(normal);
		AUTO_FREE char *again = NULL;
		assert_string_equal(normal, cases[i].normal);
		assert_string_equal(familiar, cases[i].familiar);
		assert_string_equal(shown, cases[i].familiar);
		assert_int_equal(reference_normalise(familiar, &again, NULL), 0);
		assert_string_equal(again, normal);
	}
}

static void refused(void **state)
{
	static const char *const cases[] = {
		"", ":", "@", "/", "a//b", "/a", "a/", "Redis", "team/App", "redis:", "redis:-x", "redis:.x", "redis:a b",
		"redis@sha256:12", "redis@sha256:" HEX64 "0", "redis@md5:" HEX64, "a..b", "a___b", "a.-b", "a-", "-a", "_a",
		"ex_ample.com/x", "example.com:/x", "example.com:80a/x", "-example.com/x", "example..com/x", "example.com./x",
		"[fd00::1/x", "[]:1/x", "[fd00::1]5/x", "a:b:c", "a@b@c", "\xc3\xa9", "a\nb", HEX64, "docker.io/",
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_ERR err = ERR_INIT;
		Reference r = { 0 };
		if (reference_parse(cases[i], &r, &err) != -EINVAL)
			fail_msg("'%s' was taken", cases[i]);
		assert_non_null(err.text);
		assert_null(r.path);
	}
	char name[300];
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(reference_parse(name, &(Reference) { 0 }, NULL), -EINVAL);
	AUTO_FREE char *shown = reference_show("Not A Reference");
	assert_string_equal(shown, "Not A Reference");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(normal_and_familiar),
		cmocka_unit_test(refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
