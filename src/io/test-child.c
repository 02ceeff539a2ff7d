// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "io/child.h"

typedef struct Seen {
	int exits, code, signal, lines;
	bool timed_out;
	Buf output, errors, line_text;
	Child *forget_at_line;
} Seen;

static void seen_done(Seen *s)
{
	buf_done(&s->output);
	buf_done(&s->errors);
	buf_done(&s->line_text);
}

static void on_exited(void *user, const ChildExit *x)
{
	Seen *s = user;
	s->exits++;
	s->code = x->code;
	s->signal = x->signal;
	s->timed_out = x->timed_out;
	buf_append(&s->output, x->output, x->output_len);
	assert_int_equal(strlen(x->output), x->output_len);
	buf_str(&s->errors, x->errors);
}

static void on_line(void *user, const char *line, size_t n)
{
	Seen *s = user;
	s->lines++;
	assert_int_equal(line[n], '\0');
	buf_append(&s->line_text, line, n < 20 ? n : 20);
	buf_char(&s->line_text, '|');
	if (s->forget_at_line)
		child_forget(s->forget_at_line);
}

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;
	while (readdir(d))
		n++;
	(void) closedir(d);
	return n;
}

/** Runs a shell script with the given options to its end. */
static int run(const char *script, ChildOptions o, Seen *s)
{
	uv_loop_t loop;
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(uv_loop_init(&loop), 0);
	const char *argv[] = { "/bin/sh", "-c", script, NULL };
	if (!o.argv)
		o.argv = argv;
	o.exited = on_exited;
	o.user = s;
	Child *c = NULL;
	int r = child_spawn(&loop, &o, &c, &err);
	if (r < 0)
		buf_str(&s->errors, err_text(&err));
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&loop), 0);
	return r;
}

static void captures_and_codes(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	assert_int_equal(run("echo out; echo err >&2; echo >&2; exit 7", (ChildOptions) { .capture_max = 100 }, &s), 0);
	assert_int_equal(s.exits, 1);
	assert_int_equal(s.code, 7);
	assert_int_equal(s.signal, 0);
	assert_string_equal(buf_cstr(&s.output), "out\n");
	assert_string_equal(buf_cstr(&s.errors), "err");
}

static void keeps_only_the_limit(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	assert_int_equal(run("head -c 1000000 /dev/zero | tr '\\0' x", (ChildOptions) { .capture_max = 5 }, &s), 0);
	assert_int_equal(s.code, 0);
	assert_string_equal(buf_cstr(&s.output), "xxxxx");
}

static void reports_signals(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	assert_int_equal(run("kill -USR1 $$", (ChildOptions) { 0 }, &s), 0);
	assert_int_equal(s.code, -1);
	assert_int_equal(s.signal, SIGUSR1);
}

static void input_is_read_and_may_be_ignored(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	AUTO_BUF big = BUF_INIT;
	for (int i = 0; i < 30000; i++)
		buf_str(&big, "0123456789");
	assert_int_equal(run("wc -c; wc -c </dev/stdin",
			     (ChildOptions) { .input = big.data, .input_len = big.len, .capture_max = 100 }, &s), 0);
	assert_string_equal(buf_cstr(&s.output), "300000\n300000\n");
	AUTO(seen_done) Seen t = { 0 };
	assert_int_equal(run("exit 0", (ChildOptions) { .input = big.data, .input_len = big.len }, &t), 0);
	assert_int_equal(t.code, 0);
	AUTO(seen_done) Seen u = { 0 };
	assert_int_equal(run("wc -c", (ChildOptions) { .input = "", .capture_max = 100 }, &u), 0);
	assert_string_equal(buf_cstr(&u.output), "0\n");
}

static void no_input_is_null(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	assert_int_equal(run("readlink /proc/self/fd/0; readlink /proc/self/fd/2", (ChildOptions) { .line = on_line }, &s), 0);
	assert_string_equal(buf_cstr(&s.line_text), "/dev/null|/dev/null|");
}

static void environment_and_directory(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	char *env[] = { (char *) "A=b", NULL };
	assert_int_equal(run("echo $A $PWD; pwd; env | grep -c HOME", (ChildOptions) { .env = env, .cwd = "/usr", .capture_max = 100 }, &s), 0);
	assert_string_equal(buf_cstr(&s.output), "b /usr\n/usr\n0\n");
}

static void lines_come_one_by_one(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	assert_int_equal(run("printf 'a\\n\\nbc\\n'; printf tail", (ChildOptions) { .line = on_line }, &s), 0);
	assert_string_equal(buf_cstr(&s.line_text), "a||bc|tail|");
	assert_string_equal(buf_cstr(&s.output), "");
}

static void endless_line_kills(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	assert_int_equal(run("exec cat /dev/zero", (ChildOptions) { .line = on_line, .capture_max = 10 }, &s), 0);
	assert_int_equal(s.signal, SIGKILL);
	assert_non_null(strstr(buf_cstr(&s.errors), "longer than"));
}

static void timeout_kills_the_group(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	int64_t before = time_mono();
	/* The inner process holds the output: only if it dies too does the child end before its time is over. */
	assert_int_equal(run("sleep 100 & wait", (ChildOptions) { .capture_max = 10, .timeout_ns = 20 * NSEC_PER_MSEC }, &s), 0);
	assert_true(s.timed_out);
	assert_int_equal(s.signal, SIGKILL);
	assert_true(time_mono() - before < 60 * NSEC_PER_SEC);
}

static void orphans_do_not_hold_the_exit(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	int64_t before = time_mono();
	assert_int_equal(run("echo hi; sleep 100 & exit 3", (ChildOptions) { .capture_max = 10 }, &s), 0);
	assert_int_equal(s.code, 3);
	assert_string_equal(buf_cstr(&s.output), "hi\n");
	assert_true(time_mono() - before < 60 * NSEC_PER_SEC);
}

static void descriptors_are_placed(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	int p[2], q[2];
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(pipe2(q, O_CLOEXEC), 0);
	/* Crossed on purpose: each source is the other's target. */
	ChildFd fds[] = { { .fd = p[1], .as = q[1] }, { .fd = q[1], .as = p[1] } };
	AUTO_FREE char *script = xasprintf("echo one >&%d; echo two >&%d", q[1], p[1]);
	assert_int_equal(run(script, (ChildOptions) { .fds = fds, .n_fds = 2, .capture_max = 1000 }, &s), 0);
	assert_string_equal(buf_cstr(&s.errors), "");
	char text[16] = "";
	assert_int_equal(read(p[0], text, sizeof(text)), 4);
	assert_memory_equal(text, "one\n", 4);
	assert_int_equal(read(q[0], text, sizeof(text)), 4);
	assert_memory_equal(text, "two\n", 4);
	for (int i = 0; i < 2; i++) {
		(void) close(p[i]);
		(void) close(q[i]);
	}
}

static void nothing_else_is_inherited(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	int leak = open("/dev/null", O_RDONLY); /* NOLINT: without O_CLOEXEC on purpose */
	assert_true(leak >= 0);
	const char *argv[] = { "ls", "/proc/self/fd", NULL };
	assert_int_equal(run(NULL, (ChildOptions) { .argv = argv, .capture_max = 100 }, &s), 0);
	assert_string_equal(buf_cstr(&s.output), "0\n1\n2\n3\n"); /* 3 is ls reading the directory */
	(void) close(leak);
}

static void mask_and_dispositions_are_reset(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	sigset_t block, old;
	sigemptyset(&block);
	sigaddset(&block, SIGTERM);
	assert_int_equal(sigprocmask(SIG_BLOCK, &block, &old), 0);
	void (*was)(int) = signal(SIGPIPE, SIG_IGN);
	assert_int_equal(run("grep -E 'Sig(Blk|Ign)' /proc/self/status", (ChildOptions) { .capture_max = 200 }, &s), 0);
	unsigned long long blocked = 1, ignored = 1;
	assert_int_equal(sscanf(buf_cstr(&s.output), "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
	const unsigned long long libc = 3ULL << 31; /* 32 and 33 are the C library's own */
	assert_int_equal(blocked & ~libc, 0);
	assert_int_equal(ignored & ~libc, 0);
	(void) signal(SIGPIPE, was);
	assert_int_equal(sigprocmask(SIG_SETMASK, &old, NULL), 0);
}

static void sessions(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	assert_int_equal(run("cut -d' ' -f1,5,6 /proc/$$/stat", (ChildOptions) { .capture_max = 100, .new_session = true }, &s), 0);
	int pid = 0, pgid = 0, sid = 0;
	assert_int_equal(sscanf(buf_cstr(&s.output), "%d %d %d", &pid, &pgid, &sid), 3);
	assert_int_equal(pid, pgid);
	assert_int_equal(pid, sid);
}

static void failures_are_named(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	int before = count_fds();
	const char *argv[] = { "no-such-program-of-stead", NULL };
	assert_int_equal(run(NULL, (ChildOptions) { .argv = argv, .capture_max = 10 }, &s), -ENOENT);
	assert_int_equal(s.exits, 0);
	assert_non_null(strstr(buf_cstr(&s.errors), "no-such-program-of-stead"));
	assert_non_null(strstr(buf_cstr(&s.errors), "install it"));
	AUTO(seen_done) Seen t = { 0 };
	assert_int_equal(run("true", (ChildOptions) { .cwd = "/no/such/dir" }, &t), -ENOENT);
	assert_non_null(strstr(buf_cstr(&t.errors), "/no/such/dir"));
	assert_int_equal(count_fds(), before);
}

static void forgotten_is_reaped(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	uv_loop_t loop;
	assert_int_equal(uv_loop_init(&loop), 0);
	const char *argv[] = { "/bin/sh", "-c", "echo a; echo b; exit 1", NULL };
	ChildOptions o = { .argv = argv, .line = on_line, .exited = on_exited, .user = &s };
	assert_int_equal(child_spawn(&loop, &o, &s.forget_at_line, NULL), 0);
	pid_t pid = child_pid(s.forget_at_line);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&loop), 0);
	assert_int_equal(s.lines, 1);
	assert_int_equal(s.exits, 0);
	assert_int_equal(kill(pid, 0), -1);
}

static void signals_reach_it(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	uv_loop_t loop;
	assert_int_equal(uv_loop_init(&loop), 0);
	const char *argv[] = { "sleep", "60", NULL };
	Child *c = NULL;
	ChildOptions o = { .argv = argv, .exited = on_exited, .user = &s, .oom_score_adj = 500 };
	assert_int_equal(child_spawn(&loop, &o, &c, NULL), 0);
	AUTO_FREE char *path = xasprintf("/proc/%d/oom_score_adj", (int) child_pid(c));
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[8] = "";
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "500\n");
	child_signal(c, SIGTERM);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&loop), 0);
	assert_int_equal(s.signal, SIGTERM);
}

/** Many at once and one after the other leave no descriptor behind. */
static void many(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	uv_loop_t loop;
	assert_int_equal(uv_loop_init(&loop), 0);
	const char *argv[] = { "/bin/true", NULL };
	ChildOptions o = { .argv = argv, .exited = on_exited, .user = &s, .capture_max = 10, .input = "x", .input_len = 1 };
	int before = count_fds();
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 40; i++)
			assert_int_equal(child_spawn(&loop, &o, NULL, NULL), 0);
		assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	}
	assert_int_equal(s.exits, 200);
	assert_true(count_fds() <= before + 1); /* the loop's own epoll may have come */
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void one_that_is_left_runs_on(void **state)
{
	const char *const argv[] = { "sleep", "1000", NULL };
	uv_loop_t loop;
	Child *c = NULL;
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(child_spawn(&loop, &(ChildOptions) { .argv = argv, .exited = on_exited }, &c, NULL), 0);
	pid_t pid = child_pid(c);
	child_leave(c);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&loop), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(captures_and_codes),
		cmocka_unit_test(keeps_only_the_limit),
		cmocka_unit_test(reports_signals),
		cmocka_unit_test(input_is_read_and_may_be_ignored),
		cmocka_unit_test(no_input_is_null),
		cmocka_unit_test(environment_and_directory),
		cmocka_unit_test(lines_come_one_by_one),
		cmocka_unit_test(endless_line_kills),
		cmocka_unit_test(timeout_kills_the_group),
		cmocka_unit_test(orphans_do_not_hold_the_exit),
		cmocka_unit_test(descriptors_are_placed),
		cmocka_unit_test(nothing_else_is_inherited),
		cmocka_unit_test(mask_and_dispositions_are_reset),
		cmocka_unit_test(sessions),
		cmocka_unit_test(failures_are_named),
		cmocka_unit_test(forgotten_is_reaped),
		cmocka_unit_test(signals_reach_it),
		cmocka_unit_test(many),
		cmocka_unit_test(one_that_is_left_runs_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
