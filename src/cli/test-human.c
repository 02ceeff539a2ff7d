// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/human.h"
#include "cli/table.h"
#include "cli/term.h"

static void durations(void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} cases[] = {
		{ 0, "Less than a second" }, { 1, "1 second" }, { 59, "59 seconds" }, { 60, "About a minute" }, { 119, "About a minute" },
		{ 180, "3 minutes" }, { 3599, "59 minutes" }, { 3600, "About an hour" }, { 5399, "About an hour" }, { 5400, "2 hours" },
		{ 47 * 3600, "47 hours" }, { 48 * 3600, "2 days" }, { 13 * 86400, "13 days" }, { 14 * 86400, "2 weeks" },
		{ 60 * 86400, "2 months" }, { 729 * 86400, "24 months" }, { 730 * 86400, "2 years" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *text = human_duration(cases[i].seconds * NSEC_PER_SEC);
		assert_string_equal(text, cases[i].text);
	}
	AUTO_FREE char *ago = human_ago(NSEC_PER_SEC, 181 * NSEC_PER_SEC), *none = human_ago(0, 1);
	assert_string_equal(ago, "3 minutes ago");
	assert_string_equal(none, "");
}

static void ports(void **state)
{
	static const struct {
		const char *json, *text;
	} cases[] = {
		{ "[]", "" },
		{ "[{\"PrivatePort\":80,\"Type\":\"tcp\"}]", "80/tcp" },
		{ "[{\"IP\":\"0.0.0.0\",\"PrivatePort\":80,\"PublicPort\":8080,\"Type\":\"tcp\"},"
		  "{\"IP\":\"::\",\"PrivatePort\":80,\"PublicPort\":8080,\"Type\":\"tcp\"}]",
			"0.0.0.0:8080->80/tcp, [::]:8080->80/tcp" },
		{ "[{\"PrivatePort\":9001,\"Type\":\"tcp\"},{\"PrivatePort\":9000,\"Type\":\"tcp\"},{\"PrivatePort\":9001,\"Type\":\"udp\"}]",
			"9000-9001/tcp, 9001/udp" },
		{ "[{\"IP\":\"127.0.0.1\",\"PrivatePort\":81,\"PublicPort\":8001,\"Type\":\"tcp\"},"
		  "{\"IP\":\"127.0.0.1\",\"PrivatePort\":80,\"PublicPort\":8000,\"Type\":\"tcp\"},"
		  "{\"IP\":\"127.0.0.1\",\"PrivatePort\":82,\"PublicPort\":9999,\"Type\":\"tcp\"}]",
			"127.0.0.1:8000-8001->80-81/tcp, 127.0.0.1:9999->82/tcp" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *p = json_loads(cases[i].json, 0, NULL);
		AUTO_FREE char *text = human_ports(p);
		assert_string_equal(text, cases[i].text);
		json_decref(p);
	}
}

static void cuts(void **state)
{
	AUTO_FREE char *same = human_cut("twenty characters ok", 20), *cut = human_cut("/docker-entrypoint.sh nginx", 20);
	AUTO_FREE char *wide = human_cut("ääääää", 4), *id = human_id("sha256:0123456789abcdef0123"), *none = human_id(NULL);
	assert_string_equal(same, "twenty characters ok");
	assert_string_equal(cut, "/docker-entrypoint.…");
	assert_string_equal(wide, "äää…");
	assert_string_equal(id, "0123456789ab");
	assert_string_equal(none, "");
	AUTO_FREE char *bytes = human_bytes_binary(1536 * 1024);
	assert_string_equal(bytes, "1.5MiB");
}

static void tables(void **state)
{
	static const char *const headers[] = { "NAME", "STATUS", NULL };
	AUTO_BUF out = BUF_INIT;
	Table t;
	table_init(&t, headers);
	table_add(&t, "blog-web-1");
	table_add(&t, "Up");
	table_add(&t, "ü\033[2J");
	table_addf(&t, "%d", 3);
	table_add(&t, NULL);
	table_add(&t, "x");
	table_format(&t, &out);
	assert_string_equal(buf_cstr(&out), "NAME         STATUS\n"
					    "blog-web-1   Up\n"
					    "ü?[2J        3\n"
					    "             x\n");
	table_done(&t);
}

static void cleaning(void **state)
{
	static const struct {
		const char *raw, *clean;
	} cases[] = {
		{ "plain", "plain" }, { "a\nb\rc\td", "a?b?c d" }, { "\033]0;title\007", "?]0;title?" }, { "\302\233x", "?x" },
		{ "\302\240", "\302\240" }, { "\377\376", "??" }, { "caf\303\251", "caf\303\251" }, { "\303", "?" }, { "\177", "?" },
		{ "\355\240\200", "???" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_BUF b = BUF_INIT;
		term_clean(&b, cases[i].raw);
		assert_string_equal(buf_cstr(&b), cases[i].clean);
	}
	assert_int_equal(term_columns("äö"), 2);
}

static void colours(void **state)
{
	term_set_ansi(TERM_NEVER);
	assert_false(term_ansi(1));
	assert_false(term_colour(1));
	term_set_ansi(TERM_ALWAYS);
	assert_true(term_colour(1));
	term_set_ansi(TERM_AUTO);
	assert_false(term_ansi(-1));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(durations), cmocka_unit_test(ports), cmocka_unit_test(cuts),
		cmocka_unit_test(tables), cmocka_unit_test(cleaning), cmocka_unit_test(colours) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
