// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/time.h"
#include "cli/progress.h"

#define SECOND NSEC_PER_SEC

static void event(Progress *p, const char *kind, const char *name, const char *status, int64_t now)
{
	json_t *e = json_pack("{s:s, s:s, s:s}", "kind", kind, "name", name, "status", status);
	progress_event(p, e, now);
	json_decref(e);
}

static char *content(int fd)
{
	Buf b = BUF_INIT;
	AUTO_FREE char *path = xasprintf("/proc/self/fd/%d", fd);
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &b), 0);
	return buf_steal(&b);
}

static void plain_lines(void **state)
{
	AUTO_CLOSE int fd = memfd_create("out", MFD_CLOEXEC);
	Progress p;
	progress_init(&p, PROGRESS_PLAIN, fd, "blog");
	event(&p, "network", "blog_default", "created", SECOND);
	event(&p, "container", "blog-web-1", "starting", SECOND);
	event(&p, "container", "blog-web-1", "starting", SECOND);
	event(&p, "container", "blog-web-1\033[2J", "started", SECOND);
	event(&p, "container", "", "started", SECOND);
	progress_note(&p, "warning: x");
	progress_end(&p, SECOND);
	AUTO_FREE char *text = content(fd);
	assert_string_equal(text, "network blog_default  created\nblog-web-1  starting\nblog-web-1?[2J  started\nwarning: x\n");
	progress_done(&p);
}

static void quiet_says_nothing(void **state)
{
	AUTO_CLOSE int fd = memfd_create("out", MFD_CLOEXEC);
	Progress p;
	progress_init(&p, PROGRESS_QUIET, fd, "blog");
	event(&p, "container", "blog-web-1", "started", SECOND);
	progress_end(&p, SECOND);
	AUTO_FREE char *text = content(fd);
	assert_string_equal(text, "");
	progress_done(&p);
}

static void table(void **state)
{
	AUTO_BUF out = BUF_INIT;
	Progress p;
	progress_init(&p, PROGRESS_QUIET, -1, "blog");
	p.utf8 = p.colour = false;
	event(&p, "network", "blog_default", "created", 10 * SECOND);
	event(&p, "container", "blog-web-1", "waiting", 10 * SECOND);
	event(&p, "container", "blog-db-1", "starting", 10 * SECOND);
	event(&p, "container", "blog-db-1", "healthy", 12 * SECOND);
	event(&p, "container", "blog-api-1", "failed", 11 * SECOND);
	progress_render(&p, 80, 24, false, 13 * SECOND, &out);
	assert_string_equal(buf_cstr(&out), "[ ] blog  3/4\n"
					    " + network blog_default  created       0.0s\n"
					    " . web-1                 waiting       3.0s\n"
					    " + db-1                  healthy       2.0s\n"
					    " ! api-1                 failed        0.0s\n");
	progress_done(&p);
}

static void narrow_terminals_cut_names(void **state)
{
	AUTO_BUF out = BUF_INIT;
	Progress p;
	progress_init(&p, PROGRESS_QUIET, -1, "blog");
	p.utf8 = p.colour = false;
	event(&p, "container", "blog-a-service-with-a-long-name-1", "started", SECOND);
	progress_render(&p, 30, 24, false, SECOND, &out);
	assert_string_equal(buf_cstr(&out), "[+] blog  1/1\n + a-serv  started       0.0s\n");
	buf_clear(&out);
	progress_render(&p, 1, 1, false, SECOND, &out); /* nothing sensible, but nothing that breaks */
	progress_done(&p);
}

static void what_is_finished_gives_way(void **state)
{
	AUTO_BUF out = BUF_INIT;
	Progress p;
	progress_init(&p, PROGRESS_QUIET, -1, "s");
	p.utf8 = p.colour = false;
	for (int i = 0; i < 10; i++) {
		AUTO_FREE char *name = xasprintf("s-c%d-1", i);
		event(&p, "container", name, i < 8 ? "started" : "starting", SECOND);
	}
	progress_render(&p, 80, 7, false, SECOND, &out);
	int lines = 0;
	for (const char *c = buf_cstr(&out); *c; c++)
		lines += *c == '\n';
	assert_true(lines <= 6);
	assert_non_null(strstr(buf_cstr(&out), "c8-1"));
	assert_non_null(strstr(buf_cstr(&out), "c9-1"));
	assert_non_null(strstr(buf_cstr(&out), "and 6 more"));
	assert_null(strstr(buf_cstr(&out), "c0-1"));
	buf_clear(&out);
	progress_render(&p, 80, 7, true, SECOND, &out);
	assert_non_null(strstr(buf_cstr(&out), "c0-1"));
	progress_done(&p);
}

static void live_redraws_in_place(void **state)
{
	AUTO_CLOSE int fd = memfd_create("out", MFD_CLOEXEC);
	Progress p;
	progress_init(&p, PROGRESS_LIVE, fd, "s");
	p.utf8 = p.colour = false;
	event(&p, "container", "s-web-1", "starting", 10 * SECOND);
	event(&p, "container", "s-web-1", "started", 10 * SECOND + 1); /* too soon to be drawn by itself */
	progress_end(&p, 11 * SECOND);
	AUTO_FREE char *text = content(fd);
	assert_string_equal(text, "[ ] s  0/1\n - web-1  starting      0.0s\n"
				  "\033[2A\r\033[J[+] s  1/1\n + web-1  started       0.0s\n");
	progress_done(&p);
}

static void texts_replace_each_other(void **state)
{
	AUTO_CLOSE int fd = memfd_create("out", MFD_CLOEXEC);
	Progress p;
	progress_init(&p, PROGRESS_LIVE, fd, NULL);
	progress_text(&p, "unpacking\033[2J", SECOND);
	progress_text(&p, "done soon", 2 * SECOND);
	progress_end(&p, 3 * SECOND);
	AUTO_FREE char *text = content(fd);
	assert_string_equal(text, "   unpacking?[2J\n\033[1A\r\033[J   done soon\n\033[1A\r\033[J");
	progress_done(&p);
}

static void step(Progress *p, const char *service, const char *step, const char *status, int64_t now)
{
	json_t *e = json_pack("{s:s, s:s, s:s, s:s, s:f}", "kind", "deploy", "service", service, "step", step, "status", status, "seconds", 0.5);
	progress_event(p, e, now);
	json_decref(e);
}

/* One row a service, whichever step it is at. */
static void deploys(void **state)
{
	AUTO_BUF out = BUF_INIT;
	Progress p;
	progress_init(&p, PROGRESS_QUIET, -1, "blog");
	p.utf8 = p.colour = false;
	step(&p, "db", "start", "begin", 10 * SECOND);
	step(&p, "db", "start", "done", 11 * SECOND);
	step(&p, "web", "health", "begin", 11 * SECOND);
	step(&p, "api", "smoke", "failed", 12 * SECOND);
	step(&p, "odd", "dance", "done", 12 * SECOND);
	progress_render(&p, 80, 24, false, 13 * SECOND, &out);
	assert_string_equal(buf_cstr(&out), "[ ] blog  1/4\n"
					    " | db   started               3.0s\n"
					    " | web  waiting for health    2.0s\n"
					    " ! api  smoke failed          0.0s\n"
					    " | odd  dance done            1.0s\n");
	buf_clear(&out);
	step(&p, "api", "restore", "done", 14 * SECOND);
	progress_settle(&p, 15 * SECOND);
	progress_render(&p, 80, 24, false, 16 * SECOND, &out);
	assert_string_equal(buf_cstr(&out), "[+] blog  4/4\n"
					    " + db   deployed      5.0s\n"
					    " + web  deployed      4.0s\n"
					    " + api  restored      2.0s\n"
					    " + odd  deployed      3.0s\n");
	progress_done(&p);
}

static void what_is_about_no_service(void **state)
{
	AUTO_CLOSE int fd = memfd_create("out", MFD_CLOEXEC);
	Progress p;
	progress_init(&p, PROGRESS_LIVE, fd, "s");
	p.utf8 = p.colour = false;
	step(&p, "", "wait", "begin", SECOND);
	step(&p, "web", "start", "begin", 2 * SECOND);
	event(&p, "container", "s-web-1-r2", "starting", 2 * SECOND); /* has no row of its own */
	progress_end(&p, 3 * SECOND);
	AUTO_FREE char *text = content(fd);
	assert_string_equal(text, "   waiting\n\033[1A\r\033[J[ ] s  0/1\n - web  starting      0.0s\n"
				  "\033[2A\r\033[J[ ] s  0/1\n | web  starting      1.0s\n");
	progress_done(&p);
}

static void deploys_line_by_line(void **state)
{
	AUTO_CLOSE int fd = memfd_create("out", MFD_CLOEXEC);
	Progress p;
	progress_init(&p, PROGRESS_PLAIN, fd, "blog");
	step(&p, "web", "switch", "begin", SECOND);
	step(&p, "web", "switch", "done", SECOND);
	step(&p, "web\033[2J", "drain", "failed", SECOND);
	step(&p, "", "bake", "done", SECOND);
	json_t *output = json_pack("{s:s, s:s, s:s, s:s, s:s}", "kind", "deploy", "service", "web", "step", "pre_deploy", "status", "output",
		"detail", "migrated\033[2J 3");
	progress_event(&p, output, SECOND);
	json_decref(output);
	progress_settle(&p, SECOND);
	progress_end(&p, SECOND);
	AUTO_FREE char *text = content(fd);
	assert_string_equal(text, "web  switching\nweb  switched  0.50s\nweb?[2J  drain failed  0.50s\nwatched  0.50s\n"
				  "web  pre_deploy | migrated?[2J 3\n");
	progress_done(&p);
}

static void short_names(void **state)
{
	assert_string_equal(progress_short_name("blog", "blog-web-1"), "web-1");
	assert_string_equal(progress_short_name("blog", "blogger-web-1"), "blogger-web-1");
	assert_string_equal(progress_short_name("blog", "blog-"), "blog-");
	assert_string_equal(progress_short_name(NULL, "x"), "x");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(plain_lines), cmocka_unit_test(quiet_says_nothing), cmocka_unit_test(table),
		cmocka_unit_test(narrow_terminals_cut_names), cmocka_unit_test(what_is_finished_gives_way),
		cmocka_unit_test(live_redraws_in_place), cmocka_unit_test(texts_replace_each_other), cmocka_unit_test(deploys), cmocka_unit_test(what_is_about_no_service),
		cmocka_unit_test(deploys_line_by_line), cmocka_unit_test(short_names) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
