// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/build-progress.h"

static FILE *file;

static BuildProgress begin(ProgressMode mode)
{
	BuildProgress p;
	file = tmpfile();
	assert_non_null(file);
	build_progress_init(&p, mode, fileno(file), 0);
	return p;
}

static void event(BuildProgress *p, const char *text, int64_t msec)
{
	AUTO_FREE char *s = xstrdup(text);
	for (char *c = s; *c; c++)
		if (*c == '\'')
			*c = '"';
	json_t *o = json_loads(s, 0, NULL);
	assert_non_null(o);
	build_progress_event(p, o, msec * NSEC_PER_MSEC);
	json_decref(o);
}

static void output(BuildProgress *p, int64_t step, const char *text, int64_t msec)
{
	build_progress_output(p, step, text, strlen(text), msec * NSEC_PER_MSEC);
}

static char *written(BuildProgress *p)
{
	AUTO_BUF b = BUF_INIT;
	char data[4096];
	assert_int_equal(fseek(file, 0, SEEK_SET), 0);
	for (size_t n; (n = fread(data, 1, sizeof(data), file));)
		buf_append(&b, data, n);
	(void) fclose(file);
	build_progress_done(p);
	return xstrdup(buf_cstr(&b));
}

static void plain(void **state)
{
	BuildProgress p = begin(PROGRESS_PLAIN);
	event(&p, "{'step':1,'state':'begin','stage':'','text':'FROM debian','line':1,'index':1,'total':12}", 0);
	event(&p, "{'step':1,'state':'cached'}", 1);
	event(&p, "{'step':2,'state':'begin','stage':'','text':'ENV a=b','line':2,'index':0,'total':12}", 5);
	event(&p, "{'step':2,'state':'cached'}", 6);
	event(&p, "{'step':3,'state':'begin','stage':'web','text':'RUN make \\\\\\n all','line':3,'index':11,'total':12}", 10);
	output(&p, 3, "one\ntw", 110);
	output(&p, 3, "o\n\033[31mred\n", 260);
	event(&p, "{'step':3,'state':'done','seconds':1.25}", 1300);
	event(&p, "{'warning':'line 3: odd'}", 1300);
	AUTO_FREE char *text = written(&p);
	assert_string_equal(text,
		"#1 [ 1/12] FROM debian\n#1 CACHED\n\n#2 [web 11/12] RUN make \\\n#2 0.100 one\n#2 0.250 two\n#2 0.250 ?[31mred\n#2 DONE 1.2s\n"
		"warning: line 3: odd\n");
}

/* Two at once: who speaks is named again. */
static void plain_turns(void **state)
{
	BuildProgress p = begin(PROGRESS_PLAIN);
	event(&p, "{'step':1,'state':'begin','stage':'a','text':'RUN a','index':1,'total':2}", 0);
	event(&p, "{'step':2,'state':'begin','stage':'b','text':'RUN b','index':2,'total':2}", 0);
	output(&p, 1, "x\n", 0);
	output(&p, 2, "no newline", 0);
	event(&p, "{'step':2,'state':'done','seconds':0}", 0);
	AUTO_FREE char *text = written(&p);
	assert_string_equal(text, "#1 [a 1/2] RUN a\n\n#2 [b 2/2] RUN b\n\n#1 [a 1/2] RUN a\n#1 0.000 x\n\n#2 [b 2/2] RUN b\n#2 0.000 no newline\n#2 DONE 0.0s\n");
}

static void live(void **state)
{
	BuildProgress p = begin(PROGRESS_LIVE);
	event(&p, "{'step':1,'state':'begin','stage':'','text':'RUN make','index':1,'total':1}", 1000);
	output(&p, 1, "compiling\n 10 %\r 90 %\r\nlast\n", 1200);
	build_progress_tick(&p, 1500 * NSEC_PER_MSEC);
	build_progress_tick(&p, 1501 * NSEC_PER_MSEC); /* too soon: nothing */
	event(&p, "{'step':1,'state':'done','seconds':2.0}", 3000);
	build_progress_clear(&p);
	AUTO_FREE char *text = written(&p);
	assert_non_null(strstr(text, " => [1/1] RUN make"));
	assert_non_null(strstr(text, " => => # compiling"));
	assert_non_null(strstr(text, " => => #  90 %"));
	assert_null(strstr(text, "10 %"));
	assert_non_null(strstr(text, "\033[4A\033[J")); /* over the step and its three lines */
	assert_non_null(strstr(text, "2.0s\n"));
}

static void quiet_says_nothing(void **state)
{
	BuildProgress p = begin(PROGRESS_QUIET);
	event(&p, "{'step':1,'state':'begin','stage':'','text':'RUN make','index':1,'total':1}", 0);
	output(&p, 1, "x\n", 0);
	event(&p, "{'warning':'w'}", 0);
	AUTO_FREE char *text = written(&p);
	assert_string_equal(text, "");
}

static void failure(void **state)
{
	BuildProgress p = begin(PROGRESS_QUIET);
	event(&p, "{'step':1,'state':'begin','stage':'','text':'FROM a','line':1,'index':1,'total':2}", 0);
	event(&p, "{'step':1,'state':'done'}", 0);
	event(&p, "{'step':2,'state':'begin','stage':'','text':'RUN false','line':3,'index':2,'total':2}", 0);
	for (int i = 0; i < 40; i++) {
		AUTO_FREE char *line = xasprintf("line %d\n", i);
		output(&p, 2, line, 0);
	}
	output(&p, 2, "the end", 0);
	build_progress_failure(&p, "Dockerfile", "FROM a\nENV b=c\nRUN false\nCMD d\nUSER e\n", 0);
	AUTO_FREE char *text = written(&p);
	assert_null(strstr(text, "line 28\n"));
	assert_non_null(strstr(text, " > [2/2] RUN false:\nline 29\n"));
	assert_non_null(strstr(text, "line 39\nthe end\n------\nDockerfile:3\n--------------------\n   1 |     FROM a\n   2 |     ENV b=c\n   3 | >>> RUN false\n"
		"   4 |     CMD d\n--------------------\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain), cmocka_unit_test(plain_turns), cmocka_unit_test(live), cmocka_unit_test(quiet_says_nothing), cmocka_unit_test(failure),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
