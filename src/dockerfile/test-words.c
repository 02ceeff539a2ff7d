// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/words.h"

static const char *get(void *user, const char *name)
{
	static const char *const values[] = { "v=value", "e=", "path=/a/b/c.tar.gz", "sp=one  two", "u=\xc3\xa4\xc3\xb6\xc3\xbc", "q='\"", "n1=x",
		"star=a*b*c", "dup=foofoo", "back=a\\b", NULL };
	return strv_env((char *const *) (const void *) values, name);
}

static const WordVariables variables = { get, NULL, '\\' };

static void forms(void **state)
{
	static const char *const cases[][2] = {
		{ "plain", "plain" },
		{ "", "" },
		{ "$v", "value" },
		{ "${v}x", "valuex" },
		{ "$v.x $v", "value.x value" },
		{ "$gone|${gone}", "|" },
		{ "$n1x|${n1}x", "|xx" },
		{ "\\$v", "$v" },
		{ "\\\\$v", "\\value" },
		{ "a\\b", "ab" },
		{ "a\\", "a" },
		{ "'$v'", "$v" },
		{ "'a\\b'", "a\\b" },
		{ "\"$v\"", "value" },
		{ "\"a\\b \\\"c\\\" \\$v \\\\\"", "a\\b \"c\" $v \\" },
		{ "\"it's\"", "it's" },
		{ "a'b'\"c\"d", "abcd" },
		{ "$", "$" },
		{ "a$ b", "a$ b" },
		{ "$1|$12x|$@|$$", "|x||" },
		{ "$(v)", "$(v)" },
		{ "${v:-d} ${e:-d} ${gone:-d}", "value d d" },
		{ "${v-d} ${e-d} ${gone-d}", "value  d" },
		{ "${v:+a} ${e:+a} ${gone:+a}", "a  " },
		{ "${v+a} ${e+a} ${gone+a}", "a a " },
		{ "${v:?m} ${v?m} ${e?m}", "value value " },
		{ "${gone:-$v}", "value" },
		{ "${gone:-${e:-${v}}}", "value" },
		{ "${gone:-'a b'} ${gone:-\"$v\"}", "a b value" },
		{ "${gone:-a\\}b}", "a}b" },
		{ "${gone:-}", "" },
		{ "${gone:-http://h:80/p}", "http://h:80/p" },
		{ "${path#*/}", "a/b/c.tar.gz" },
		{ "${path##*/}", "c.tar.gz" },
		{ "${path%.*}", "/a/b/c.tar" },
		{ "${path%%.*}", "/a/b/c" },
		{ "${path%/*}", "/a/b" },
		{ "${path#/a}", "/b/c.tar.gz" },
		{ "${path#x}", "/a/b/c.tar.gz" },
		{ "${path%gz}", "/a/b/c.tar." },
		{ "${path#}", "/a/b/c.tar.gz" },
		{ "${path##*}", "" },
		{ "${path%%*}", "" },
		{ "${path#?}", "a/b/c.tar.gz" },
		{ "${u#?}", "\xc3\xb6\xc3\xbc" },
		{ "${u%?}", "\xc3\xa4\xc3\xb6" },
		{ "${star#a\\*}", "b*c" },
		{ "${star%\\**}", "a*b" },
		{ "${star%%\\**}", "a" },
		{ "${path/a/x}", "/x/b/c.tar.gz" },
		{ "${path//a/x}", "/x/b/c.txr.gz" },
		{ "${path//\\//-}", "-a-b-c.tar.gz" },
		{ "${path/*b/x}", "x/c.tar.gz" },
		{ "${path/zz/x}", "/a/b/c.tar.gz" },
		{ "${dup/foo/}", "foo" },
		{ "${dup//foo/}", "" },
		{ "${dup//o/$v}", "fvaluevaluefvaluevalue" },
		{ "${star//\\*/+}", "a+b+c" },
		{ "${u//?/x}", "xxx" },
		{ "${gone/a/b}${gone#a}${gone%a}", "" },
		{ "${sp}", "one  two" },
		{ "$q", "'\"" },
		{ "${back}", "a\\b" },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO_FREE char *out = NULL;
		AUTO_ERR err = ERR_INIT;
		if (word_expand(cases[k][0], &variables, &out, &err) < 0)
			fail_msg("%s: %s", cases[k][0], err_text(&err));
		if (!str_eq(out, cases[k][1]))
			fail_msg("%s gave '%s', not '%s'", cases[k][0], out, cases[k][1]);
	}
}

static void refused(void **state)
{
	static const char *const cases[][2] = {
		{ "'a", "a ' has no end" },
		{ "\"a", "a \" has no end" },
		{ "${v", "'}' is missing" },
		{ "${", "a '}' is missing" },
		{ "${}", "a name is missing" },
		{ "${:-a}", "a name is missing" },
		{ "${{v}}", "a name is missing" },
		{ "${v:-a", "a '}' is missing" },
		{ "${v!a}", "unknown operator '!'" },
		{ "${v:=a}", "there are :- :+ and :?" },
		{ "${v:}", "there are :- :+ and :?" },
		{ "${gone:?set me}", "gone: set me" },
		{ "${gone?}", "gone: must be set" },
		{ "${e:?}", "e: must not be empty" },
		{ "${v/a}", "a '/' is missing" },
		{ "${v/a/b", "a '}' is missing" },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO_FREE char *out = NULL;
		AUTO_ERR err = ERR_INIT;
		assert_true(word_expand(cases[k][0], &variables, &out, &err) < 0);
		if (!strstr(err_text(&err), cases[k][1]))
			fail_msg("%s: %s", cases[k][0], err_text(&err));
	}
}

static void splitting(void **state)
{
	static const char *const cases[][2] = {
		{ "a b", "<a><b>" },
		{ " a  b ", "<a><b>" },
		{ "'a b' c", "<a b><c>" },
		{ "a\\ b c", "<a b><c>" },
		{ "$sp", "<one><two>" },
		{ "\"$sp\"", "<one  two>" },
		{ "x$sp", "<xone><two>" },
		{ "${gone:-a b}", "<a><b>" },
		{ "'' a", "<a>" },
		{ "", "" },
		{ "$gone", "" },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO_STRV char **words = NULL;
		AUTO_ERR err = ERR_INIT;
		assert_int_equal(words_expand(cases[k][0], &variables, &words, &err), 0);
		AUTO_BUF b = BUF_INIT;
		for (char **w = words; w && *w; w++)
			buf_printf(&b, "<%s>", *w);
		assert_string_equal(buf_cstr(&b), cases[k][1]);
	}
}

static void heredocs(void **state)
{
	static const char *const cases[][2] = {
		{ "\"$v\" '$v'\n", "\"value\" 'value'\n" },
		{ "it's\n", "it's\n" },
		{ "\\\n", "\n" },
		{ "\\\\\n", "\\\n" },
		{ "\\$v\n", "$v\n" },
		{ "${gone:-a'b}\n", "a'b\n" },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO_FREE char *out = NULL;
		AUTO_ERR err = ERR_INIT;
		assert_int_equal(text_expand(cases[k][0], &variables, &out, &err), 0);
		assert_string_equal(out, cases[k][1]);
	}
}

static void other_escape(void **state)
{
	const WordVariables v = { get, NULL, '`' };
	AUTO_FREE char *out = NULL;
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(word_expand("c:\\x`$v `` \"`\"\"", &v, &out, &err), 0);
	assert_string_equal(out, "c:\\x$v ` \"");
}

static const char *get_large(void *user, const char *name)
{
	return user;
}

static void limits(void **state)
{
	AUTO_FREE char *large = xmalloc(100001);
	memset(large, 'a', 100000);
	large[100000] = '\0';
	const WordVariables v = { get_large, large, '\\' };
	static const char *const cases[][2] = {
		{ "$a$a$a$a$a$a$a$a$a$a$a", "longer than" },
		{ "${a//a/$a}", "longer than" },
		{ "${a#*a*a*a*a*a*b}", "too long" },
		{ "${a%*a*a*a*a*a*b}", "too long" },
		{ "${a#*********************************}", "more than 32 '*'" },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO_FREE char *out = NULL;
		AUTO_ERR err = ERR_INIT;
		assert_true(word_expand(cases[k][0], &v, &out, &err) < 0);
		if (!strstr(err_text(&err), cases[k][1]))
			fail_msg("%s: %s", cases[k][0], err_text(&err));
	}
	AUTO_BUF deep = BUF_INIT;
	for (int k = 0; k < 40; k++)
		buf_str(&deep, "${a+");
	AUTO_FREE char *out = NULL;
	AUTO_ERR err = ERR_INIT;
	assert_true(word_expand(buf_cstr(&deep), &v, &out, &err) < 0);
	assert_non_null(strstr(err_text(&err), "levels"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms),
		cmocka_unit_test(refused),
		cmocka_unit_test(splitting),
		cmocka_unit_test(heredocs),
		cmocka_unit_test(other_escape),
		cmocka_unit_test(limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
