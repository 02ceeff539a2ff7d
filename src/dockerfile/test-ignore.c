// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/glob.h"
#include "dockerfile/ignore.h"

static Glob *compile(const char *pattern, GlobFlags flags)
{
	Glob *g = NULL;
	AUTO_ERR err = ERR_INIT;
	if (glob_compile(pattern, flags, &g, &err) < 0)
		fail_msg("%s: %s", pattern, err_text(&err));
	return g;
}

/* Those of Go's own table for filepath.Match and more. */
static void match(void **state)
{
	static const struct {
		const char *pattern, *path;
		bool wanted;
	} cases[] = {
		{ "abc", "abc", true }, { "*", "abc", true }, { "*c", "abc", true }, { "a*", "a", true }, { "a*", "abc", true },
		{ "a*", "ab/c", false }, { "a*/b", "abc/b", true }, { "a*/b", "a/c/b", false }, { "a*b*c*d*e*/f", "axbxcxdxe/f", true },
		{ "a*b*c*d*e*/f", "axbxcxdxexxx/f", true }, { "a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false },
		{ "a*b*c*d*e*/f", "axbxcxdxexxx/fff", false }, { "a*b?c*x", "abxbbxdbxebxczzx", true },
		{ "a*b?c*x", "abxbbxdbxebxczzy", false }, { "ab[c]", "abc", true }, { "ab[b-d]", "abc", true }, { "ab[e-g]", "abc", false },
		{ "ab[^c]", "abc", false }, { "ab[^b-d]", "abc", false }, { "ab[^e-g]", "abc", true }, { "a\\*b", "a*b", true },
		{ "a\\*b", "ab", false }, { "a?b", "a\xe2\x98\xba" "b", true }, { "a[^a]b", "a\xe2\x98\xba" "b", true },
		{ "a???b", "a\xe2\x98\xba" "b", false }, { "[a-\xce\xb6]*", "\xce\xb1", true }, { "*[a-\xce\xb6]", "A", false },
		{ "a?b", "a/b", false }, { "a*b", "a/b", false }, { "[\\]a]", "]", true }, { "[\\-]", "-", true }, { "[x\\-]", "x", true },
		{ "[x\\-]", "-", true }, { "[x\\-]", "z", false }, { "[\\-x]", "-", true }, { "*x", "xxx", true }, { "", "", true }, { "", "a", false },
		{ "**", "a/b", false }, { "arr[[]0].txt", "arr[0].txt", true }, { "a?", "a\xff", true }, { "\xff", "\xff", true },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO(glob_freep) Glob *g = compile(cases[k].pattern, 0);
		if (glob_match(g, cases[k].path) != cases[k].wanted)
			fail_msg("%s %s", cases[k].pattern, cases[k].path);
	}
	static const char *const bad[] = { "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a\\", "[\\" };
	for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
		Glob *g = NULL;
		AUTO_ERR err = ERR_INIT;
		if (glob_compile(bad[k], 0, &g, &err) == 0)
			fail_msg("%s is taken", bad[k]);
	}
}

static void deep(void **state)
{
	static const struct {
		const char *pattern, *path;
		bool wanted;
	} cases[] = {
		{ "**", "a", true }, { "**", "a/b", true }, { "**/", "a/b", true }, { "a/**", "a", false }, { "a/**", "a/b/c", true },
		{ "**/a", "a", true }, { "**/a", "b/c/a", true }, { "**/a", "ba", false }, { "**/a", "b/a/c", false }, { "a/**/b", "a/b", true },
		{ "a/**/b", "a/x/y/b", true }, { "a/**/b", "ab", false }, { "a/**/b", "a/xb", false }, { "**/*.go", "a.go", true },
		{ "**/*.go", "x/y/a.go", true }, { "**/*.go", "a.gox", false }, { "**/*.go", "a.go/x", false }, { "**.go", "x/a.go", true },
		{ "a**", "abc/d", true }, { "a**/", "abc/d", true }, { "a**b", "ab", true }, { "a**b", "axx/b", true }, { "a**b", "axb", false },
		{ "**/**/a", "x/a", true }, { "**/x/**", "x/y", true }, { "**/x/**", "a/x/y/z", true }, { "**/x/**", "a/x", false },
		{ "*/b", "a/b", true }, { "*/b", "a/c/b", false }, { "**/a*/**/b", "x/ay/z/z/b", true },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO(glob_freep) Glob *g = compile(cases[k].pattern, GLOB_DEEP);
		if (glob_match(g, cases[k].path) != cases[k].wanted)
			fail_msg("%s %s", cases[k].pattern, cases[k].path);
	}
}

static void below(void **state)
{
	static const struct {
		const char *pattern, *dir;
		bool wanted;
	} cases[] = {
		{ "a/b/c", "a", true }, { "a/b/c", "a/b", true }, { "a/b/c", "a/b/c", false }, { "a/b/c", "b", false }, { "**/x", "a/b", true },
		{ "*/x", "a", true }, { "*/x", "a/b", false }, { "a*", "b", false }, { "a", ".", true }, { "a", "", true }, { "a/**", "a", true },
		{ "a/**", "b", false },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO(glob_freep) Glob *g = compile(cases[k].pattern, GLOB_DEEP);
		if (glob_may_match_below(g, cases[k].dir) != cases[k].wanted)
			fail_msg("%s %s", cases[k].pattern, cases[k].dir);
	}
}

static void hostile(void **state)
{
	/* A matcher that goes back would not come to an end. */
	char pattern[401], path[2001];
	for (size_t k = 0; k < 400; k += 2) {
		pattern[k] = '*';
		pattern[k + 1] = 'a';
	}
	pattern[400] = '\0';
	memset(path, 'a', 2000);
	path[1999] = 'b';
	path[2000] = '\0';
	AUTO(glob_freep) Glob *g = compile(pattern, GLOB_DEEP);
	assert_false(glob_match(g, path));
	path[1999] = 'a';
	assert_true(glob_match(g, path));
}

static void paths(void **state)
{
	static const char *const cases[][2] = {
		{ "", "." }, { "a/b", "a/b" }, { "a//b/", "a/b" }, { "./a/./b", "a/b" }, { "a/../b", "b" }, { "../a", "../a" }, { "../../a", "../../a" },
		{ "a/../../b", "../b" }, { "/", "/" }, { "//a", "/a" }, { "/../a", "/a" }, { "/a/..", "/" }, { "a/..", "." }, { "/a/b/../../..", "/" },
		{ "a/b/../c", "a/c" }, { "..a/b", "..a/b" }, { "a/...", "a/..." }, { "../a/../..", "../.." },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO_FREE char *clean = path_clean(cases[k][0]);
		if (!str_eq(clean, cases[k][1]))
			fail_msg("%s gave %s", cases[k][0], clean);
	}
	assert_true(glob_is_pattern("a[b]"));
	assert_false(glob_is_pattern("a\\*b"));
	AUTO_FREE char *plain = glob_unescape("a\\*\\\\b");
	assert_string_equal(plain, "a*\\b");
}

static void ignored(void **state)
{
	static const struct {
		const char *rules, *path;
		bool wanted;
		unsigned line; /* of the rule that decided; 0 = none */
	} cases[] = {
		{ "", "a", false, 0 },
		{ "# a\n\n", "a", false, 0 },
		{ "#a\n", "#a", false, 0 },
		{ " #a\n", "#a", true, 1 },
		{ "a\n", "a", true, 1 },
		{ "a", "a/b/c", true, 1 },
		{ "a\n", "b/a", false, 0 },
		{ "/a\n", "a", true, 1 },
		{ "./a/\n", "a/b", true, 1 },
		{ "a/\n", "a", true, 1 },
		{ "  a \t\r\n", "a", true, 1 },
		{ "b/../a\n", "a", true, 1 },
		{ "*/temp*\n", "x/temporary.txt", true, 1 },
		{ "*/temp*\n", "x/y/temporary.txt", false, 0 },
		{ "*/*/temp*\n", "x/y/temporary.txt", true, 1 },
		{ "temp?\n", "tempa", true, 1 },
		{ "**/*.go\n", "x/y/a.go", true, 1 },
		{ "*.md\n!README.md\n", "a.md", true, 1 },
		{ "*.md\n!README.md\n", "README.md", false, 2 },
		{ "*.md\n!README*.md\nREADME-secret.md\n", "README-secret.md", true, 3 },
		{ "*.md\nREADME-secret.md\n!README*.md\n", "README-secret.md", false, 3 },
		{ "*\n!a/b\n", "a/b/c", false, 2 },
		{ "*\n!a/b\n", "a/c", true, 1 },
		{ "*\n! a\n", "a", false, 2 },
		{ "a\n!a/b\na/b/c\n", "a/b/c/d", true, 3 },
		{ ".\n", "a", false, 0 },
		{ "/\n", "a", false, 0 },
		{ "..\n", "a", false, 0 },
		{ "\xef\xbb\xbf" "a\n", "a", true, 1 },
		{ "**/node_modules\n", "node_modules/x", true, 1 },
		{ "**/node_modules\n", "p/q/node_modules/x/y", true, 1 },
		{ "a\\*\n", "a*", true, 1 },
		{ "a\\*\n", "ab", false, 0 },
		{ "[ab].txt\n", "b.txt", true, 1 },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO(ignore_freep) Ignore *i = NULL;
		AUTO_ERR err = ERR_INIT;
		const IgnoreRule *rule;
		if (ignore_parse(".dockerignore", cases[k].rules, strlen(cases[k].rules), &i, &err) < 0)
			fail_msg("%s: %s", cases[k].rules, err_text(&err));
		if (ignore_match(i, cases[k].path, &rule) != cases[k].wanted || (rule ? rule->line : 0) != cases[k].line)
			fail_msg("%s: %s", cases[k].rules, cases[k].path);
	}
	assert_false(ignore_match(NULL, "a", NULL));
}

static void walking(void **state)
{
	static const struct {
		const char *rules, *dir;
		bool wanted;
	} cases[] = {
		{ "a\n", "a", false }, { "*\n!a/b/c\n", "a", true }, { "*\n!a/b/c\n", "a/b", true }, { "*\n!a/b/c\n", "x", false },
		{ "*\n!**/c\n", "x/y", true }, { "*\n!*.md\n", "x", false },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO(ignore_freep) Ignore *i = NULL;
		AUTO_ERR err = ERR_INIT;
		assert_int_equal(ignore_parse("x", cases[k].rules, strlen(cases[k].rules), &i, &err), 0);
		if (ignore_walk_below(i, cases[k].dir) != cases[k].wanted)
			fail_msg("%s: %s", cases[k].rules, cases[k].dir);
	}
}

static void refused(void **state)
{
	static const char *const cases[][2] = {
		{ "a\n!\n", ".dockerignore:2: '!' alone" },
		{ "a[\n", ".dockerignore:1: 'a[' is no pattern" },
		{ "\n\na\\\n", ".dockerignore:3: 'a\\' is no pattern: it ends" },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO(ignore_freep) Ignore *i = NULL;
		AUTO_ERR err = ERR_INIT;
		assert_true(ignore_parse(".dockerignore", cases[k][0], strlen(cases[k][0]), &i, &err) < 0);
		if (!str_starts(err_text(&err), cases[k][1]))
			fail_msg("%s", err_text(&err));
	}
	Ignore *i = NULL;
	AUTO_ERR err = ERR_INIT;
	assert_true(ignore_parse("x", "a\0b", 3, &i, &err) < 0);
	char *const bad[] = { (char[]){ "[" }, NULL };
	assert_true(ignore_from_patterns("--exclude", bad, &i, &err) < 0);
	assert_true(str_starts(err_text(&err), "--exclude: '['"));
}

static void excludes(void **state)
{
	char *const patterns[] = { (char[]){ "*.o" }, (char[]){ "!keep.o" }, NULL };
	AUTO(ignore_freep) Ignore *i = NULL;
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(ignore_from_patterns("--exclude", patterns, &i, &err), 0);
	assert_true(ignore_match(i, "a.o", NULL));
	assert_false(ignore_match(i, "keep.o", NULL));
	AUTO_FREE char *name = ignore_name_for("sub/Dockerfile.dev");
	assert_string_equal(name, "sub/Dockerfile.dev.dockerignore");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(match), cmocka_unit_test(deep), cmocka_unit_test(below), cmocka_unit_test(hostile), cmocka_unit_test(paths),
		cmocka_unit_test(ignored), cmocka_unit_test(walking), cmocka_unit_test(refused), cmocka_unit_test(excludes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
