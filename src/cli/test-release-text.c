// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/release-text.h"

/* JSON in single quotes, to be readable in C. */
static json_t *json(const char *text)
{
	AUTO_FREE char *s = xstrdup(text);
	for (char *p = s; *p; p++)
		if (*p == '\'')
			*p = '"';
	json_t *v = json_loads(s, JSON_DECODE_ANY, NULL);
	if (!v)
		fail_msg("no JSON: %s", text);
	return v;
}

static void changes(void **state)
{
	static const struct {
		const char *json, *text;
	} cases[] = {
		{ "[]", "" },
		{ "[{'service':'web','what':'image','names':['app:1 (aaa)','app:2 (bbb)']}]", "web image app:2 (bbb)" },
		{ "[{'service':'web','what':'image','names':['app:2']},{'service':'web','what':'environment','names':['A','B']},"
		  "{'service':'api','what':'new'}]",
			"web image app:2, environment A B; api new" },
		{ "[{'service':'','what':'config','names':['networks']},{'service':'db','what':'scale','names':['1 to 3']}]",
			"config networks; db scale 1 to 3" },
		{ "[{'service':'w\\u001b[2J','what':'file','names':['x\\ny']}]", "w?[2J file x?y" },
		{ "{}", "" },
		{ "[5,{'what':7,'names':'x'}]", "; " },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *v = json(cases[i].json);
		AUTO_FREE char *text = release_changes(v);
		json_decref(v);
		if (!strstr(cases[i].json, "[5"))
			assert_string_equal(text, cases[i].text);
	}
	AUTO_FREE char *none = release_changes(NULL);
	assert_string_equal(none, "");
}

static void seconds(void **state)
{
	static const struct {
		double seconds;
		const char *text;
	} cases[] = { { 0.04, "0.0 s" }, { 3.21, "3.2 s" }, { 99.9, "99.9 s" }, { 125, "2m5s" }, { -1, "0.0 s" } };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *text = release_seconds(cases[i].seconds);
		assert_string_equal(text, cases[i].text);
	}
}

static void evidence(void **state)
{
	json_t *report = json("{'container':'blog-web-3','exit_code':137,'oom_killed':true,'memory_peak':67108864,"
			      "'health':['connection refused','a\\nb\\n'],'logs':['one','two\\u0007','three']}");
	AUTO_BUF all = BUF_INIT, some = BUF_INIT, none = BUF_INIT;
	release_evidence(report, 0, &all);
	assert_string_equal(buf_cstr(&all), "container blog-web-3, exit code 137, killed for lack of memory (OOM), memory at most 67.1MB\n"
					    "Its health check said:\n  connection refused\n  a\n  b\n"
					    "Its log:\n  one\n  two?\n  three\n");
	release_evidence(report, 2, &some);
	assert_non_null(strstr(buf_cstr(&some), "Its log (the last 2 of 3 lines):\n  two?\n  three\n"));
	json_decref(report);
	report = json("{'exit_code':-1,'oom_killed':false,'memory_peak':0,'logs':[]}");
	release_evidence(report, 0, &none);
	release_evidence(NULL, 0, &none);
	assert_string_equal(buf_cstr(&none), "");
	json_decref(report);
}

static void full(void **state)
{
	json_t *release = json("{'number':7,'kind':'deploy','created':'2026-01-02T03:04:05.123456789Z','seconds':3.2,'who':'u@h','commit':'abc','author':'A B',"
			       "'result':'failed','base':6,'current':false,'changes':[{'service':'web','what':'image','names':['a:1','a:2']},"
			       "{'service':'','what':'config','names':['x','y']}],"
			       "'report':{'text':'web: smoke failed','step':'smoke','service':'web','container':'c','logs':['l'],"
			       "'timeline':[{'t':0,'service':'web','step':'start','status':'begin'},"
			       "{'t':1.25,'service':'web','step':'smoke','status':'failed','detail':'GET / answered 500'}]}}");
	AUTO_BUF out = BUF_INIT;
	int64_t created;
	assert_int_equal(time_parse_rfc3339("2026-01-02T03:04:05.123456789Z", &created), 0);
	release_full(release, "blog", created + 7200 * NSEC_PER_SEC, &out);
	assert_string_equal(buf_cstr(&out), "Release 7 of blog: failed\n"
					    "deploy by u@h, 2026-01-02T03:04:05Z (2 hours ago), took 3.2 s\n"
					    "was to replace release 6, commit abc by A B\n"
					    "Changed:\n  web image a:1 → a:2\n  (stack) config x, y\n"
					    "\nweb: smoke failed\nfailed step: smoke of web\ncontainer c\nIts log:\n  l\n"
					    "Time line:\n      0.00s  web  start begin\n      1.25s  web  smoke failed  GET / answered 500\n");
	json_decref(release);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(changes), cmocka_unit_test(seconds), cmocka_unit_test(evidence),
		cmocka_unit_test(full) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
