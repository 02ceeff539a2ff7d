// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "compose/env-file.h"

static const char *get(void *user, const char *name)
{
	return str_eq(name, "OUTER") ? "outer" : NULL;
}

static const Variables variables = { .get = get };

/* The variables as "K=v|K=v". */
static char *parse(const char *text, EnvFormat format)
{
	AUTO_STRV char **env = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF out = BUF_INIT;
	if (env_file_parse("f", text, strlen(text), format, &variables, &env, &err) < 0)
		return xstrdup(err_text(&err));
	for (char **p = env; p && *p; p++)
		buf_printf(&out, "%s%s", p == env ? "" : "|", *p);
	return buf_steal(&out);
}

static const struct {
	const char *text, *wanted;
} forms[] = {
	{ "", "" },
	{ "A=1", "A=1" },
	{ "A=1\nB=2\n", "A=1|B=2" },
	{ "\xef\xbb\xbf" "A=1\r\nB=2\r\n", "A=1|B=2" },
	{ "# c\n\n  A = 1  \n", "A=1" },
	{ "export A=1", "A=1" },
	{ "export\tA=1", "A=1" },
	{ "exported=1", "exported=1" },
	{ "A: 1", "A=1" },
	{ "A=", "A=" },
	{ "A=\nB=1", "A=|B=1" },
	{ "A=1\nA=2", "A=2" },
	{ "A=a # comment", "A=a" },
	{ "A=a#b", "A=a#b" },
	{ "A=# comment", "A=" },
	{ "A=http://u:p@h/x?a=b#c", "A=http://u:p@h/x?a=b#c" },
	{ "A='a b' # c", "A=a b" },
	{ "A='$OUTER \\n'", "A=$OUTER \\n" },
	{ "A='it\\'s'", "A=it's" },
	{ "A='one\ntwo'\nB=1", "A=one\ntwo|B=1" },
	{ "A=\"a\\tb\\n\\\"c\\\"\"", "A=a\tb\n\"c\"" },
	{ "A=\"one\ntwo\"", "A=one\ntwo" },
	{ "A=\"$OUTER ${OUTER}\"", "A=outer outer" },
	{ "A=\"\\$OUTER $$OUTER\"", "A=$OUTER $OUTER" },
	{ "A=\"\\\\\"", "A=\\" },
	{ "A=\"a # b\"", "A=a # b" },
	{ "A=$OUTER", "A=outer" },
	{ "A=x\nB=${A}y", "A=x|B=xy" },
	{ "A=${NO:-d}", "A=d" },
	{ "OUTER", "OUTER=outer" },
	{ "NO\nA=1", "A=1" },
	{ "A.b-c[0]=1", "A.b-c[0]=1" },
	{ "A=a\\nb", "A=a\\nb" },
	{ "=1", "f:1: the line does not begin with the name" },
	{ "A=1\n!x=2", "f:2: the line does not begin with the name" },
	{ "A B=1", "f:1: the name of a variable has a character" },
	{ "A=1\nB=\"open\nmore\n", "f:2: the quoted value has no end" },
	{ "A='a'b", "f:1: text follows the closing quote" },
	{ "A=\"one\ntwo\"x", "f:2: text follows the closing quote" },
	{ "A=${NO:?why}", "f:1: required variable NO is missing a value: why" },
	{ "A=$(x)", "f:1: '$(x)' is no variable" },
	{ "A=\xff", "f: the file is not UTF-8" },
};

static void compose_format(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		AUTO_FREE char *got = parse(forms[i].text, ENV_FORMAT_COMPOSE);
		bool error = str_starts(forms[i].wanted, "f:");
		if (error ? !str_starts(got, forms[i].wanted) : !str_eq(got, forms[i].wanted))
			fail_msg("[%s] gave [%s], not [%s]", forms[i].text, got, forms[i].wanted);
	}
}

static void raw_format(void **state)
{
	static const struct {
		const char *text, *wanted;
	} cases[] = {
		{ "A='x $OUTER' # y\nB=\"\n", "A='x $OUTER' # y|B=\"" },
		{ "# c\nOUTER\nNO", "OUTER=outer" },
		{ "=x", "f:1: the line does not begin" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *got = parse(cases[i].text, ENV_FORMAT_RAW);
		if (!str_starts(got, cases[i].wanted))
			fail_msg("[%s] gave [%s]", cases[i].text, got);
	}
}

static void variables_are_limited(void **state)
{
	AUTO_BUF text = BUF_INIT;
	for (int i = 0; i < 10001; i++)
		buf_printf(&text, "A%d=\n", i);
	AUTO_FREE char *got = parse(buf_cstr(&text), ENV_FORMAT_COMPOSE);
	assert_non_null(strstr(got, "f:10001: the file has more variables"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compose_format), cmocka_unit_test(raw_format), cmocka_unit_test(variables_are_limited),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
