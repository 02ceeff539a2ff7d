// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/origin.h"

static char dir[] = "/tmp/stead-test-origin-XXXXXX";

static int group_setup(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int group_teardown(void **state)
{
	return tree_remove(AT_FDCWD, dir);
}

static int setup(void **state)
{
	static const char *const unset[] = { "STEAD_COMMIT", "STEAD_AUTHOR", "GITHUB_SHA", "GITHUB_ACTOR", "CI_COMMIT_SHA", "CI_COMMIT_AUTHOR",
		"GIT_COMMIT", "GIT_AUTHOR_NAME", "CIRCLE_SHA1", "TRAVIS_COMMIT", "BITBUCKET_COMMIT", "SUDO_USER" };
	for (size_t i = 0; i < ARRAY_SIZE(unset); i++)
		(void) unsetenv(unset[i]);
	(void) setenv("USER", "ada", 1);
	return 0;
}

/* A program of this name in front of PATH. */
static void fake_git(const char *script)
{
	AUTO_FREE char *path = xasprintf("%s/git", dir), *text = xasprintf("#!/bin/sh\n%s\n", script);
	AUTO_FREE char *search = xasprintf("%s:/usr/bin:/bin", dir);
	assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), 0755), 0);
	(void) setenv("PATH", search, 1);
}

static json_t *origin(void)
{
	json_t *body = json_object();
	origin_add(body, dir);
	return body;
}

static void who(void **state)
{
	char host[256] = "";
	assert_int_equal(gethostname(host, sizeof(host) - 1), 0);
	fake_git("exit 128");
	json_t *o = origin();
	AUTO_FREE char *wanted = xasprintf("ada@%s", host);
	assert_string_equal(json_text(o, "who"), wanted);
	assert_null(json_object_get(o, "commit"));
	assert_null(json_object_get(o, "author"));
	json_decref(o);
	(void) setenv("SUDO_USER", "eve\033[2J", 1);
	o = origin();
	assert_true(str_starts(json_text(o, "who"), "eve?[2J@"));
	json_decref(o);
}

static void from_git(void **state)
{
	fake_git("[ \"$1\" = -C ] && [ \"$2\" = \"$(dirname \"$0\")\" ] && printf 'abc123\\nAda L.\\n'");
	json_t *o = origin();
	assert_string_equal(json_text(o, "commit"), "abc123");
	assert_string_equal(json_text(o, "author"), "Ada L.");
	json_decref(o);
	o = json_object();
	origin_add(o, NULL); /* no directory, no commit */
	assert_null(json_object_get(o, "commit"));
	json_decref(o);
}

static void git_that_says_nothing_useful(void **state)
{
	static const char *const scripts[] = { "printf 'abc'; exit 1", "kill -9 $$", "exit 0" };
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		fake_git(scripts[i]);
		json_t *o = origin();
		assert_null(json_object_get(o, "commit"));
		assert_true(*json_text(o, "who"));
		json_decref(o);
	}
	(void) setenv("PATH", "/nonexistent", 1);
	json_t *o = origin();
	assert_null(json_object_get(o, "commit"));
	json_decref(o);
}

static void from_the_environment(void **state)
{
	fake_git("printf 'fromgit\\nGit Author\\n'");
	(void) setenv("CI_COMMIT_SHA", "fromci", 1);
	(void) setenv("CI_COMMIT_AUTHOR", "Ci Author <a@b>", 1);
	json_t *o = origin();
	assert_string_equal(json_text(o, "commit"), "fromci");
	assert_string_equal(json_text(o, "author"), "Ci Author <a@b>");
	json_decref(o);
	(void) setenv("STEAD_COMMIT", "mine", 1);
	(void) setenv("STEAD_AUTHOR", "me\nX", 1);
	o = origin();
	assert_string_equal(json_text(o, "commit"), "mine");
	assert_string_equal(json_text(o, "author"), "me");
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup(who, setup), cmocka_unit_test_setup(from_git, setup),
		cmocka_unit_test_setup(git_that_says_nothing_useful, setup), cmocka_unit_test_setup(from_the_environment, setup) };
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
