// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "run/bundle.h"

#define V(...) ((char **) (const char *[]) { __VA_ARGS__, NULL })

static void assert_args(const Service *s, const Image *i, const char *joined)
{
	AUTO_STRV char **v = process_args(s, i);
	AUTO_BUF b = BUF_INIT;
	for (size_t k = 0; v && v[k]; k++)
		buf_printf(&b, "%s%s", k ? "|" : "", v[k]);
	assert_string_equal(buf_cstr(&b), joined);
}

static void test_args(void **state)
{
	(void) state;
	Image img = { .config = { .entrypoint = V("/entry"), .cmd = V("run", "it") } };
	Service s = { 0 };
	assert_args(&s, &img, "/entry|run|it");
	s.command = V("other");
	s.command_set = true;
	assert_args(&s, &img, "/entry|other");
	s.command = NULL; /* command: [] */
	assert_args(&s, &img, "/entry");
	Service e = { .entrypoint = V("/mine"), .entrypoint_set = true };
	assert_args(&e, &img, "/mine");
	e.command = V("x");
	e.command_set = true;
	assert_args(&e, &img, "/mine|x");
	Service none = { .entrypoint_set = true };
	assert_args(&none, &img, "");
}

static void test_env(void **state)
{
	(void) state;
	Image img = { .config = { .env = V("PATH=/img", "A=1", "B=2", "C=3") } };
	Service s = { .environment = V("A=9", "B", "D=a=b"), .tty = true };
	AUTO_STRV char **env = process_env(&s, &img, "box", "/home/x");
	assert_string_equal(strv_env(env, "PATH"), "/img");
	assert_string_equal(strv_env(env, "HOSTNAME"), "box");
	assert_string_equal(strv_env(env, "HOME"), "/home/x");
	assert_string_equal(strv_env(env, "TERM"), "xterm");
	assert_string_equal(strv_env(env, "A"), "9");
	assert_null(strv_env(env, "B"));
	assert_string_equal(strv_env(env, "C"), "3");
	assert_string_equal(strv_env(env, "D"), "a=b");
	Service plain = { 0 };
	AUTO_STRV char **few = process_env(&plain, NULL, NULL, NULL);
	assert_int_equal(strv_len(few), 1);
	assert_true(str_starts(few[0], "PATH=/usr/local/sbin:"));
}

static void test_signals(void **state)
{
	(void) state;
	char name[16];
	assert_int_equal(signal_parse("SIGTERM"), SIGTERM);
	assert_int_equal(signal_parse("term"), SIGTERM);
	assert_int_equal(signal_parse("9"), SIGKILL);
	assert_int_equal(signal_parse("SIGRTMIN+3"), 37);
	assert_int_equal(signal_parse("RTMAX-1"), 63);
	static const char *const bad[] = { "", "0", "65", "-9", "SIGNOPE", "SIGRTMIN+99", "TERM " };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(signal_parse(bad[i]), -EINVAL);
	assert_string_equal(signal_text(SIGQUIT, name), "SIGQUIT");
	assert_string_equal(signal_text(37, name), "SIGRTMIN+3");
	assert_null(signal_text(0, name));
	Image img = { .config = { .stop_signal = (char *) "SIGQUIT" } };
	Service s = { 0 };
	assert_int_equal(process_stop_signal(&s, &img), SIGQUIT);
	s.stop_signal = (char *) "INT";
	assert_int_equal(process_stop_signal(&s, &img), SIGINT);
	assert_int_equal(process_stop_signal(&(Service) { 0 }, NULL), SIGTERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_args), cmocka_unit_test(test_env), cmocka_unit_test(test_signals) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
