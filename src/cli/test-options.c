// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/options.h"

typedef struct Values {
	bool detach, interactive, tty;
	const char *user, *format, *hash;
	char **env;
	int64_t timeout;
} Values;
typedef struct Outer {
	char **files;
	bool tty;
} Outer;

static const Option table[] = {
	{ "detach", 'd', OPTION_FLAG, offsetof(Values, detach), NULL, "Detach", NULL },
	{ "interactive", 'i', OPTION_FLAG, offsetof(Values, interactive), NULL, "Input", NULL },
	{ "tty", 't', OPTION_FLAG, offsetof(Values, tty), NULL, "Terminal", NULL },
	{ "user", 'u', OPTION_STRING, offsetof(Values, user), "USER", "User", NULL },
	{ "env", 'e', OPTION_LIST, offsetof(Values, env), "K=V", "Environment", NULL },
	{ "time", 0, OPTION_NUMBER, offsetof(Values, timeout), "N", "Time", NULL },
	{ "format", 0, OPTION_CHOICE, offsetof(Values, format), "F", "Format", "table json" },
	{ "hash", 0, OPTION_OPTIONAL, offsetof(Values, hash), "S", "Hash", NULL },
	{ NULL },
};
static const Option outer_table[] = {
	{ "file", 'f', OPTION_LIST, offsetof(Outer, files), "FILE", "File", "file" },
	{ "outer-tty", 't', OPTION_FLAG, offsetof(Outer, tty), NULL, "Hidden by the inner one", NULL },
	{ NULL },
};

typedef struct Parsed {
	Values v;
	Outer o;
	char **args;
	Err err;
	int r;
} Parsed;

static Parsed parse_words(bool stop, const char *const *words)
{
	Parsed p = { .err = ERR_INIT };
	int n = 0;
	while (words[n])
		n++;
	const OptionScope scopes[] = { { table, &p.v }, { outer_table, &p.o } };
	options_init(table, &p.v);
	p.r = options_parse(n, (char *const *) words, scopes, 2, stop, &p.args, &p.err);
	return p;
}
#define parse(stop, ...) parse_words(stop, (const char *const[]) { __VA_ARGS__, NULL })

static void done(Parsed *p)
{
	options_done(table, &p->v);
	options_done(outer_table, &p->o);
	strv_free(p->args);
	err_done(&p->err);
}

static void spellings(void **state)
{
	Parsed p = parse(false, "-it", "-uroot", "--env", "A=1", "-e=B=2", "-e", "C=3", "--time=7", "web", "--format", "json", "-f", "x");
	assert_int_equal(p.r, 0);
	assert_true(p.v.interactive && p.v.tty && !p.v.detach);
	assert_false(p.o.tty);
	assert_string_equal(p.v.user, "root");
	assert_int_equal(strv_len(p.v.env), 3);
	assert_string_equal(p.v.env[1], "B=2");
	assert_string_equal(p.v.env[2], "C=3");
	assert_int_equal(p.v.timeout, 7);
	assert_string_equal(p.v.format, "json");
	assert_string_equal(p.o.files[0], "x");
	assert_int_equal(strv_len(p.args), 1);
	assert_string_equal(p.args[0], "web");
	done(&p);
}

static void not_given(void **state)
{
	Parsed p = parse(false, "-");
	assert_int_equal(p.r, 0);
	assert_int_equal(p.v.timeout, -1);
	assert_null(p.v.user);
	assert_null(p.v.hash);
	assert_string_equal(p.args[0], "-");
	done(&p);
}

static void flags_take_values_only_with_equals(void **state)
{
	Parsed p = parse(false, "--detach=false", "--tty=true", "-i=0", "--hash", "web");
	assert_int_equal(p.r, 0);
	assert_true(!p.v.detach && p.v.tty && !p.v.interactive);
	assert_string_equal(p.v.hash, "");
	assert_string_equal(p.args[0], "web");
	done(&p);
	p = parse(false, "--hash=web");
	assert_string_equal(p.v.hash, "web");
	done(&p);
}

static void options_end(void **state)
{
	Parsed p = parse(true, "-d", "web", "ls", "-t", "--user", "x");
	assert_int_equal(p.r, 0);
	assert_true(p.v.detach && !p.v.tty && !p.v.user);
	assert_int_equal(strv_len(p.args), 5);
	done(&p);
	p = parse(false, "web", "--", "-d", "--nope");
	assert_int_equal(p.r, 0);
	assert_false(p.v.detach);
	assert_string_equal(p.args[2], "--nope");
	done(&p);
	p = parse(true, "-d", "--", "-t");
	assert_int_equal(strv_len(p.args), 1);
	assert_string_equal(p.args[0], "-t");
	done(&p);
}

static void refused(void **state)
{
	static const struct {
		const char *words[4], *says;
	} bad[] = {
		{ { "--nope" }, "unknown option --nope" },
		{ { "--detahc" }, "did you mean --detach?" },
		{ { "--usr=1" }, "did you mean --user?" },
		{ { "-z" }, "unknown option -z" },
		{ { "-iz" }, "unknown option -z" },
		{ { "-\033[2J" }, "no printable" },
		{ { "--user" }, "--user needs a value (USER)" },
		{ { "-u" }, "-u (--user) needs a value (USER)" },
		{ { "--time", "soon" }, "'soon' is not a number" },
		{ { "--time=-1" }, "'-1' is not a number" },
		{ { "--time=99999999999" }, "is not a number from 0 to" },
		{ { "--format", "xml" }, "'xml' is not one of: table json" },
		{ { "--format", "" }, "is not one of" },
		{ { "--format", "{{.ID}}" }, "Go templates" },
		{ { "--detach=maybe" }, "neither true nor false" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		Parsed p = parse_words(false, bad[i].words);
		assert_int_equal(p.r, -EINVAL);
		if (!strstr(err_text(&p.err), bad[i].says))
			fail_msg("'%s' does not say '%s'", err_text(&p.err), bad[i].says);
		done(&p);
	}
}

static void help_hides_shadowed_letters(void **state)
{
	AUTO_BUF own = BUF_INIT, outer = BUF_INIT;
	options_help(table, NULL, &own);
	assert_non_null(strstr(buf_cstr(&own), "  -u, --user USER    User\n"));
	assert_non_null(strstr(buf_cstr(&own), "      --hash[=S]     Hash\n"));
	assert_non_null(strstr(buf_cstr(&own), "Format (table json)\n"));
	options_help(outer_table, table, &outer);
	assert_non_null(strstr(buf_cstr(&outer), "  -f, --file FILE"));
	assert_non_null(strstr(buf_cstr(&outer), "      --outer-tty"));
	assert_null(strstr(buf_cstr(&outer), "-t, --outer-tty"));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(spellings), cmocka_unit_test(not_given),
		cmocka_unit_test(flags_take_values_only_with_equals), cmocka_unit_test(options_end), cmocka_unit_test(refused),
		cmocka_unit_test(help_hides_shadowed_letters) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
