// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "run/logs.h"

#define T0 1704164645LL /* 2024-01-02T03:04:05Z */

static ContainerPaths paths;

static int setup(void **state)
{
	(void) state;
	char dir[] = "/tmp/stead-logs-XXXXXX";
	assert_non_null(mkdtemp(dir));
	paths.state = xstrdup(dir);
	paths.bundle = xstrdup(dir);
	paths.log = xasprintf("%s/log", dir);
	assert_int_equal(mkdir(paths.log, 0700), 0);
	assert_int_equal(logs_prepare(&paths, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	(void) state;
	assert_int_equal(tree_remove(AT_FDCWD, paths.state), 0);
	container_paths_done(&paths);
	return 0;
}

/* As conmon: appends to what is now called log. */
static void put(int seconds, const char *stream, const char *flag, const char *text)
{
	char ts[TIME_TEXT_MAX];
	(void) time_rfc3339((T0 + seconds) * NSEC_PER_SEC, ts);
	ts[strlen(ts) - 1] = '\0';
	AUTO_FREE char *line = xasprintf("%s+00:00 %s %s %s\n", ts, stream, flag, text);
	AUTO_FREE char *path = xasprintf("%s/log", paths.log);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(fd_write_all(fd, line, strlen(line)), 0);
}

static void put_number(int i)
{
	char text[16];
	(void) snprintf(text, sizeof(text), "%d", i);
	put(i, "stdout", "F", text);
}

/* As conmon: opens log.tmp and renames it over log. */
static void reopen(void)
{
	AUTO_FREE char *tmp = xasprintf("%s/log.tmp", paths.log);
	AUTO_FREE char *path = xasprintf("%s/log", paths.log);
	AUTO_CLOSE int fd = open(tmp, O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(rename(tmp, path), 0);
}

static LogOptions all(void)
{
	return (LogOptions) { .out = true, .err = true, .tail = -1 };
}

static LogReader *open_reader(const LogOptions *o)
{
	LogReader *r = NULL;
	assert_int_equal(log_reader_open(&paths, o, &r, NULL), 0);
	return r;
}

static char *rest(LogReader *r)
{
	Buf b = BUF_INIT;
	LogEntry e;
	int k;
	while ((k = log_reader_next(r, &e)) == 1)
		buf_append(&b, e.data, e.len);
	assert_int_equal(k, 0);
	return buf_steal(&b);
}

static void assert_log(const LogOptions *o, const char *expected)
{
	LogReader *r = open_reader(o);
	AUTO_FREE char *text = rest(r);
	assert_string_equal(text, expected);
	log_reader_free(r);
}

static void test_lines(void **state)
{
	(void) state;
	LogEntry e;
	const char *s = "2024-01-02T03:04:05.000000006+00:00 stderr P some text ";
	assert_int_equal(log_line_parse(s, strlen(s), &e), 0);
	assert_int_equal(e.stream, 2);
	assert_true(e.partial);
	assert_int_equal(e.time, T0 * NSEC_PER_SEC + 6);
	assert_int_equal(e.len, 10);
	assert_memory_equal(e.data, "some text ", 10);
	s = "2024-01-02T05:04:05.5+02:00 stdout F ";
	assert_int_equal(log_line_parse(s, strlen(s), &e), 0);
	assert_int_equal(e.time, T0 * NSEC_PER_SEC + NSEC_PER_SEC / 2);
	assert_int_equal(e.len, 0);
	static const char *const bad[] = { "", "x", "2024-01-02T03:04:05.000000006+00:00", "2024-01-02T03:04:05.000000006+00:00 stdin F x",
		"2024-01-02T03:04:05.000000006+00:00 stdout X x", "2024-01-02T03:04:05.000000006+00:00 stdout F", "2024-01-02T03:04:05.00000000x+00:00 stdout F x" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(log_line_parse(bad[i], strlen(bad[i]), &e), -EINVAL);
	/* The fast way through the calendar against the general one. */
	for (int64_t day = 0; day < 366 * 60; day += 13) {
		char ts[TIME_TEXT_MAX];
		int64_t ns = day * 86400 * NSEC_PER_SEC + 1;
		AUTO_FREE char *line = xasprintf("%.29s+00:00 stdout F x", time_rfc3339(ns, ts));
		assert_int_equal(log_line_parse(line, strlen(line), &e), 0);
		assert_int_equal(e.time, ns);
	}
}

static void test_filters(void **state)
{
	(void) state;
	put(0, "stdout", "F", "a");
	put(1, "stderr", "F", "b");
	put(2, "stdout", "P", "c");
	put(2, "stdout", "F", "d");
	put(3, "stderr", "F", "");
	LogOptions o = all();
	assert_log(&o, "a\nb\ncd\n\n");
	o.err = false;
	assert_log(&o, "a\ncd\n");
	o = all();
	o.since = (T0 + 1) * NSEC_PER_SEC;
	o.until = (T0 + 2) * NSEC_PER_SEC;
	assert_log(&o, "b\ncd\n");
}

static void test_tail(void **state)
{
	(void) state;
	AUTO_BUF expected = BUF_INIT;
	for (int i = 0; i < 3000; i++) {
		if (i == 1000 || i == 2500) {
			reopen();
			assert_int_equal(logs_rotate(&paths, 1 << 30, 10), 0);
		}
		put_number(i);
	}
	static const int tails[] = { 0, 1, 7, 499, 500, 501, 2500, 2999, 3000, 4000 };
	for (size_t k = 0; k < ARRAY_SIZE(tails); k++) {
		LogOptions o = all();
		o.tail = tails[k];
		buf_clear(&expected);
		for (int i = tails[k] > 3000 ? 0 : 3000 - tails[k]; i < 3000; i++)
			buf_printf(&expected, "%d\n", i);
		assert_log(&o, buf_cstr(&expected));
	}
	put(3000, "stdout", "P", "x");
	put(3000, "stdout", "P", "y");
	put(3000, "stdout", "F", "z");
	LogOptions o = all();
	o.tail = 2;
	assert_log(&o, "2999\nxyz\n");
	AUTO_STRV char **lines = logs_tail_lines(&paths, 2);
	assert_int_equal(strv_len(lines), 2);
	assert_string_equal(lines[0], "2999");
	assert_string_equal(lines[1], "xyz");
}

static void test_follow(void **state)
{
	(void) state;
	LogOptions o = all();
	o.follow = true;
	o.tail = 1;
	put_number(0);
	put_number(1);
	LogReader *r = open_reader(&o);
	AUTO_FREE char *first = rest(r);
	assert_string_equal(first, "1\n");
	put_number(2);
	reopen();
	put_number(3);
	AUTO_FREE char *second = rest(r);
	assert_string_equal(second, "2\n3\n");
	/* Twice by itself, with nobody to number the files: the last one is found by its name. */
	reopen();
	put_number(4);
	AUTO_FREE char *third = rest(r);
	assert_string_equal(third, "4\n");
	assert_int_equal(logs_rotate(&paths, 1 << 30, 10), 0);
	put_number(5);
	AUTO_FREE char *fourth = rest(r);
	assert_string_equal(fourth, "5\n");
	log_reader_free(r);
}

static void test_rotation_keeps_and_drops(void **state)
{
	(void) state;
	for (int i = 0; i < 6; i++) {
		put_number(i);
		reopen();
		assert_int_equal(logs_rotate(&paths, 10, 3), 0);
	}
	put_number(6);
	assert_int_equal(logs_rotate(&paths, 10, 3), 0);
	LogOptions o = all();
	assert_log(&o, "4\n5\n6\n");
}

/* A line of which the end is not there yet is held back. */
static void test_half_line(void **state)
{
	(void) state;
	LogOptions o = all();
	o.follow = true;
	LogReader *r = open_reader(&o);
	AUTO_FREE char *path = xasprintf("%s/log", paths.log);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	const char *line = "2024-01-02T03:04:05.000000006+00:00 stdout F hello world\n";
	assert_int_equal(fd_write_all(fd, line, 50), 0);
	AUTO_FREE char *nothing = rest(r);
	assert_string_equal(nothing, "");
	assert_int_equal(fd_write_all(fd, line + 50, strlen(line) - 50), 0);
	AUTO_FREE char *whole = rest(r);
	assert_string_equal(whole, "hello world\n");
	log_reader_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test_setup_teardown(test_filters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tail, setup, teardown),
		cmocka_unit_test_setup_teardown(test_follow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rotation_keeps_and_drops, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_line, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
