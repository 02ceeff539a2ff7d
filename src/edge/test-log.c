// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>

#include "edge/testing.h"

#include "base/fs.h"
#include "edge/log.h"

#define REQUEST "1795717593.896\t10.0.0.9\thttps\ts0\ts0\t0123456789abcdef\t200\t1227\t77\t1\t2\t3\t4\t15\t--\tGET\tHTTP/1.1\t/a?b=\"c\\d\t"
#define LINE REQUEST "HIT\t"

static void test_parse(void **state)
{
	AUTO_FREE char *line = xstrdup(LINE "app.test");
	LogRecord r;
	assert_int_equal(log_parse(line, &r), 0);
	assert_int_equal(r.time_msec, 1795717593896);
	assert_string_equal(r.client, "10.0.0.9");
	assert_string_equal(r.server, "0123456789abcdef");
	assert_int_equal(r.status, 200);
	assert_int_equal(r.total_msec, 15);
	assert_string_equal(r.cache, "HIT");
	assert_string_equal(r.host, "app.test");
	static const char *const bad[] = { "", "Server s0/c1 is UP", "1795717593\t1", "x.896\t" LINE, "1795717593.1\t" LINE };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		AUTO_FREE char *copy = xstrdup(bad[i]);
		assert_int_equal(log_parse(copy, &r), -EINVAL);
	}
}

static void is_json(const char *line, const char *host)
{
	AUTO_FREE char *copy = xstrdup(line);
	AUTO_BUF b = BUF_INIT;
	LogRecord r;
	assert_int_equal(log_parse(copy, &r), 0);
	log_json(&r, "shop/web:80", &b);
	assert_int_equal(b.data[b.len - 1], '\n');
	json_t *o = json_loadb(b.data, b.len - 1, 0, NULL);
	if (!o)
		fail_msg("no JSON: %s", b.data);
	assert_string_equal(json_string_value(json_object_get(o, "time")), "2026-11-26T18:26:33.896Z");
	assert_string_equal(json_string_value(json_object_get(o, "uri")), "/a?b=\"c\\d");
	assert_string_equal(json_string_value(json_object_get(o, "host")), host);
	assert_string_equal(json_string_value(json_object_get(o, "backend")), "shop/web:80");
	assert_int_equal(json_integer_value(json_object_get(o, "status")), 200);
	assert_int_equal(json_integer_value(json_object_get(o, "response_ms")), 4);
	assert_string_equal(json_string_value(json_object_get(o, "cache")) ?: "", strstr(line, "\tHIT\t") ? "HIT" : "");
	json_decref(o);
}

/* Clients choose the host: tabs, bytes that are no UTF-8. */
static void test_json(void **state)
{
	is_json(LINE "app.test", "app.test");
	is_json(REQUEST "-\tapp.test", "app.test"); /* no cache on this way */
	is_json(LINE "a\tb\x01", "a\tb\x01");
	is_json(LINE "b\xc3\xbc", "b\xc3\xbc");
	is_json(LINE "b\xfc", "b\xc3\xbc"); /* the byte's own character */
}

static void test_histogram(void **state)
{
	Histogram h = { 0 };
	assert_true(histogram_quantile(&h, 0.5) == 0);
	for (int i = 0; i < 99; i++)
		histogram_add(&h, 3);
	histogram_add(&h, 1000);
	assert_true(histogram_quantile(&h, 0.5) == 3);
	assert_true(histogram_quantile(&h, 0.98) == 3);
	double top = histogram_quantile(&h, 0.999);
	assert_true(top > 900 && top < 1100);
	static const int64_t values[] = { 0, 15, 16, 17, 31, 32, 100, 999, 12345, 4000000, INT64_MAX, -1 };
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		Histogram one = { 0 };
		histogram_add(&one, values[i]);
		double got = histogram_quantile(&one, 0.5), real = values[i] < 0 ? 0 : (double) values[i];
		if (real < 4194304 && (got < real * 0.93 - 0.5 || got > real * 1.07 + 0.5))
			fail_msg("%lld counted as %g", (long long) values[i], got);
	}
}

static void test_stats(void **state)
{
	AUTO_PROXY_STATE *s = proxy_state_new(2);
	Stats *stats = stats_new();
	EdgeStats got;
	s->slots[1].backend = xstrdup("shop/web:80");
	proxy_slot_add(&s->slots[1], "one", "10.0.0.1", 80, SERVER_READY);
	stats_slots(stats, s);
	assert_false(stats_get(stats, "shop/web:80", NULL, &got));
	stats_count(stats, "s1", "one", false, 10);
	stats_count(stats, "s1", "two", true, 20);
	stats_count(stats, "s0", "x", true, 20);
	stats_count(stats, "s9", "x", true, 20);
	stats_count(stats, "http", "x", true, 20);
	stats_count(stats, "s", "x", true, 20);
	assert_true(stats_get(stats, "shop/web:80", NULL, &got));
	assert_int_equal(got.requests, 2);
	assert_int_equal(got.errors, 1);
	assert_true(stats_get(stats, "shop/web:80", "one", &got));
	assert_int_equal(got.requests, 1);
	assert_int_equal(got.p50, 10 * NSEC_PER_MSEC);
	assert_false(stats_get(stats, "shop/web:80", "three", &got));
	stats_slots(stats, s); /* `two` is none of its servers any more; what it did stays counted */
	assert_false(stats_get(stats, "shop/web:80", "two", &got));
	assert_true(stats_get(stats, "shop/web:80", NULL, &got));
	assert_int_equal(got.requests, 2);
	stats_mark(stats, "shop/web:80");
	assert_false(stats_get(stats, "shop/web:80", NULL, &got));
	str_set(&s->slots[1].backend, "shop/other:80");
	stats_slots(stats, s);
	assert_null(stats_backend(stats, "s0"));
	assert_string_equal(stats_backend(stats, "s1"), "shop/other:80");
	stats_free(stats);
}

static char *new_dir(void)
{
	char *dir = xasprintf("/tmp/stead-test-log.XXXXXX");
	assert_non_null(mkdtemp(dir));
	return dir;
}

static void write_lines(int fd, size_t n)
{
	AUTO_BUF b = BUF_INIT;
	for (size_t i = 0; i < n; i++)
		buf_str(&b, LINE "app.test\n");
	assert_int_equal(fd_write_all(fd, b.data, b.len), 0);
}

static size_t lines_in(const char *path)
{
	AUTO_BUF b = BUF_INIT;
	size_t n = 0;
	if (file_read(AT_FDCWD, path, 64 << 20, &b) < 0)
		return 0;
	for (size_t i = 0; i < b.len; i++)
		n += b.data[i] == '\n';
	return n;
}

static void free_parts(uv_loop_t *loop, EdgeLog *l, Stats *stats, char *dir)
{
	log_free(l);
	stats_free(stats);
	(void) uv_run(loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(loop), 0);
	assert_int_equal(tree_remove(AT_FDCWD, dir), 0);
	free(dir);
}

/* Lines through a pipe; a half one stays until the rest has come. */
static void test_pipe(void **state)
{
	uv_loop_t loop;
	int ends[2];
	EdgeLog *l;
	EdgeStats got;
	char *dir = new_dir();
	Stats *stats = stats_new();
	AUTO_PROXY_STATE *s = proxy_state_new(1);
	AUTO_FREE char *path = xasprintf("%s/access.log", dir);
	assert_int_equal(uv_loop_init(&loop), 0);
	s->slots[0].backend = xstrdup("shop/web:80");
	stats_slots(stats, s);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(log_new(&loop, dir, stats, &l, NULL), 0);
	log_use(l, ends[0]);
	write_lines(ends[1], 100);
	assert_int_equal(fd_write_all(ends[1], LINE, 10), 0);
	log_catch_up(l);
	assert_true(stats_get(stats, "shop/web:80", NULL, &got));
	assert_int_equal(got.requests, 100);
	assert_int_equal(fd_write_all(ends[1], LINE "x\nnoise\n" + 10, strlen(LINE "x\nnoise\n") - 10), 0);
	log_catch_up(l);
	assert_true(stats_get(stats, "shop/web:80", NULL, &got));
	assert_int_equal(got.requests, 101);
	assert_int_equal(lines_in(path), 101);
	(void) close(ends[1]);
	free_parts(&loop, l, stats, dir);
}

/* However much is written, the files stay within their bounds. Each round is a daemon's life, which finds the file full. */
static void test_rotation(void **state)
{
	char *dir = new_dir();
	AUTO_FREE char *path = xasprintf("%s/access.log", dir);
	AUTO_FREE char *oldest = xasprintf("%s/access.log.%d", dir, LOG_FILES - 1);
	AUTO_FREE char *beyond = xasprintf("%s/access.log.%d", dir, LOG_FILES);
	struct stat st;
	for (int i = 0; i <= LOG_FILES + 1; i++) {
		uv_loop_t loop;
		int ends[2];
		EdgeLog *l;
		Stats *stats = stats_new();
		assert_int_equal(uv_loop_init(&loop), 0);
		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		assert_int_equal(log_new(&loop, dir, stats, &l, NULL), 0);
		log_use(l, ends[0]);
		write_lines(ends[1], 1);
		log_catch_up(l);
		assert_int_equal(stat(path, &st), 0);
		assert_true(st.st_size < 1000);
		assert_int_equal(truncate(path, LOG_FILE_SIZE + 1), 0); /* as if it had become full */
		(void) close(ends[1]);
		log_free(l);
		stats_free(stats);
		(void) uv_run(&loop, UV_RUN_DEFAULT);
		assert_int_equal(uv_loop_close(&loop), 0);
	}
	assert_int_equal(stat(oldest, &st), 0);
	assert_int_equal(stat(beyond, &st), -1);
	assert_int_equal(tree_remove(AT_FDCWD, dir), 0);
	free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_histogram),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_pipe),
		cmocka_unit_test(test_rotation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
