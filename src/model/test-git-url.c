// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "model/git-url.h"

static void what_is_one(void **state)
{
	(void) state;
	static const struct {
		const char *text;
		bool add, context;
	} cases[] = {
		{ "https://git.test/a.git", true, true },
		{ "http://git.test/a.git#main:dir", true, true },
		{ "https://git.test/a.git?branch=main", true, true },
		{ "https://git.test/a.tar.gz", false, false },
		{ "https://git.test/a.git/", false, false },
		{ "https://git.test/#.git", false, false },
		{ "git://git.test/a", true, true },
		{ "ssh://git@git.test/a", true, true },
		{ "git@git.test:a/b", true, true },
		{ "me@host:x", true, true },
		{ "github.com/a/b", false, true },
		{ "./a.git", false, false },
		{ "a.git", false, false },
		{ "file:///a.git", false, false },
		{ "ext::sh -c x.git", false, false },
		{ "@host:x", false, false },
		{ "a/b@host:x", false, false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (git_url_is(cases[i].text) != cases[i].add || git_url_is_context(cases[i].text) != cases[i].context)
			fail_msg("%s", cases[i].text);
	}
}

/* "remote ref subdir checksum", "-" for what is not there, then flags. */
static char *text_of(const GitUrl *u)
{
	return xasprintf("%s %s %s %s%s%s%s", u->remote, u->ref ? u->ref : "-", u->subdir ? u->subdir : "-", u->checksum ? u->checksum : "-",
		u->ssh ? " ssh" : "", u->keep_git_dir ? " keep" : "", u->no_submodules ? " alone" : "");
}

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static void parts(void **state)
{
	(void) state;
	static const struct {
		const char *text, *wanted;
	} cases[] = {
		{ "https://git.test/a.git", "https://git.test/a.git - - -" },
		{ "https://git.test/a.git#", "https://git.test/a.git - - -" },
		{ "https://git.test/a.git#main", "https://git.test/a.git main - -" },
		{ "https://git.test/a.git#release/1.2:web/app", "https://git.test/a.git release/1.2 web/app -" },
		{ "https://git.test/a.git#:web", "https://git.test/a.git - web -" },
		{ "https://git.test/a.git#main:/", "https://git.test/a.git main - -" },
		{ "https://git.test/a.git#main:/./web//app/", "https://git.test/a.git main web/app -" },
		{ "https://git.test:8443/a.git#" COMMIT, "https://git.test:8443/a.git " COMMIT " - -" },
		{ "git@git.test:a/b.git#v1:x", "git@git.test:a/b.git v1 x - ssh" },
		{ "ssh://git@git.test:2222/a", "ssh://git@git.test:2222/a - - - ssh" },
		{ "git://[::1]:9418/a", "git://[::1]:9418/a - - -" },
		{ "github.com/a/b#pull/42/head", "https://github.com/a/b pull/42/head - -" },
		{ "https://git.test/a.git?branch=main&subdir=web", "https://git.test/a.git refs/heads/main web -" },
		{ "https://git.test/a.git?tag=v1", "https://git.test/a.git refs/tags/v1 - -" },
		{ "https://git.test/a.git?ref=pull%2F42/head&submodules=0", "https://git.test/a.git pull/42/head - - alone" },
		{ "https://git.test/a.git?keep-git-dir=true&checksum=0123456#:x", "https://git.test/a.git - x 0123456 keep" },
		{ "https://git.test/a.git?keep-git-dir", "https://git.test/a.git - - - keep" },
		{ "https://git.test/a.git?commit=" COMMIT, "https://git.test/a.git " COMMIT " - " COMMIT },
		{ "https://git.test/a.git?tag=v1&checksum=" COMMIT, "https://git.test/a.git refs/tags/v1 - " COMMIT },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_GIT_URL u = { 0 };
		AUTO_ERR err = ERR_INIT;
		if (git_url_parse(cases[i].text, &u, &err) < 0)
			fail_msg("%s: %s", cases[i].text, err_text(&err));
		AUTO_FREE char *text = text_of(&u);
		assert_string_equal(text, cases[i].wanted);
	}
}

static void refused(void **state)
{
	(void) state;
	static const struct {
		const char *text, *wanted;
	} cases[] = {
		{ "https://git.test/a.zip", "no git repository" },
		{ "https:///a.git", "a host and a path" },
		{ "ssh://git.test", "a host and a path" },
		{ "ssh://git.test/", "a host and a path" },
		{ "ssh://-oProxyCommand=x/a", "a host and a path" },
		{ "ssh://me@-oProxyCommand=x/a", "a host and a path" },
		{ "ssh://ho;st/a", "is no host" },
		{ "me@-host:x", "begin with '-'" },
		{ "-me@host:x", "begin with '-'" },
		{ "me@host:-x", "a path is expected" },
		{ "me@host:", "a path is expected" },
		{ "me@host:a b", "a blank" },
		{ "git://h/a\n", "a blank" },
		{ "git://h/a#-x", "no name of a branch" },
		{ "git://h/a#a..b", "no name of a branch" },
		{ "git://h/a#a b", "no name of a branch" },
		{ "git://h/a#ma*", "no name of a branch" },
		{ "git://h/a#x:../y", "leads out of the repository" },
		{ "git://h/a#x:a/../../y", "leads out of the repository" },
		{ "git://h/a?branch=", "no name of a branch" },
		{ "git://h/a?branch=x&tag=y", "two references" },
		{ "git://h/a?branch=x#y", "two references" },
		{ "git://h/a?subdir=x#:y", "two directories" },
		{ "git://h/a?subdir=%2e%2e/x", "leads out of the repository" },
		{ "git://h/a?ref=%0a", "no name of a branch" },
		{ "git://h/a?ref=%0", "'%' without" },
		{ "git://h/a?ref=%00", "'%' without" },
		{ "git://h/a?checksum=sha256:00", "is no commit" },
		{ "git://h/a?checksum=012345", "is no commit" },
		{ "git://h/a?depth=1", "unknown option 'depth'" },
		{ "git://h/a?submodules=maybe", "neither true nor false" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_GIT_URL u = { 0 };
		AUTO_ERR err = ERR_INIT;
		if (git_url_parse(cases[i].text, &u, &err) == 0)
			fail_msg("%s was taken", cases[i].text);
		if (!strstr(err_text(&err), cases[i].wanted))
			fail_msg("%s: %s", cases[i].text, err_text(&err));
		assert_null(u.remote);
	}
}

static void passwords(void **state)
{
	(void) state;
	AUTO_GIT_URL u = { 0 };
	AUTO_GIT_URL name = { 0 };
	AUTO_GIT_URL bad = { 0 };
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(git_url_parse("https://me:hush@git.test/a.git", &u, NULL), 0);
	assert_string_equal(u.remote, "https://me:hush@git.test/a.git");
	assert_string_equal(u.shown, "https://me:xxxxx@git.test/a.git");
	assert_int_equal(git_url_parse("ssh://me@git.test/a:b.git", &name, NULL), 0);
	assert_string_equal(name.shown, "ssh://me@git.test/a:b.git");
	assert_true(git_url_parse("https://me:hush@git.test/a.git#-x", &bad, &err) < 0);
	assert_null(strstr(err_text(&err), "hush"));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(what_is_one), cmocka_unit_test(parts), cmocka_unit_test(refused), cmocka_unit_test(passwords) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
