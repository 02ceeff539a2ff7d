// SPDX-License-Identifier: Apache-2.0
#include "run/test-root.h"

#include <linux/keyctl.h>
#include <sys/syscall.h>

#include "run/attach.h"
#include "run/exec.h"

typedef struct Run {
	Buf out, err;
	char *error;
	int code;
	bool ended;
	Exec *exec;
} Run;

static void run_output(void *user, int stream, const char *data, size_t n)
{
	Run *r = user;
	buf_append(stream == 1 ? &r->out : &r->err, data, n);
}

static void run_exited(void *user, int code, const char *error)
{
	Run *r = user;
	r->code = code;
	r->error = xstrdup(error);
	r->ended = true;
	r->exec = NULL;
}

static void run_reset(Run *r)
{
	buf_done(&r->out);
	buf_done(&r->err);
	free(r->error);
	memset(r, 0, sizeof(*r));
}

static void run_begin(Run *r, Box *b, ExecSpec *s, const char *const *cmd)
{
	AUTO_ERR err = ERR_INIT;
	ExecCallbacks cb = { .output = run_output, .exited = run_exited, .user = r };
	run_reset(r);
	s->runtime = world.rt;
	s->paths = &b->paths;
	s->cmd = (char *const *) cmd;
	s->attach_stdout = s->attach_stderr = true;
	if (exec_start(&world.loop, s, &cb, &r->exec, &err) < 0)
		fail_msg("%s", err_text(&err));
}

static void run(Run *r, Box *b, ExecSpec *s, const char *const *cmd)
{
	run_begin(r, b, s, cmd);
	world_until(&world, &r->ended);
}

/* Runs the loop until `text` has been printed. */
static void run_until(Run *r, const char *text)
{
	int64_t begin = time_mono();
	while (!strstr(buf_cstr(&r->out), text)) {
		(void) uv_run(&world.loop, UV_RUN_NOWAIT);
		(void) usleep(1000);
		if (time_mono() - begin > 60 * NSEC_PER_SEC)
			fail_msg("'%s' does not come; there is '%s'", text, buf_cstr(&r->out));
	}
}

#define CMD(...) ((const char *const[]) { __VA_ARGS__, NULL })

static Box box;
static Run result;

static Ulimit limits[] = { { (char *) "core", -1, -1 }, { (char *) "nofile", 200, 300 } };

static int setup(void **state)
{
	(void) state;
	box_init(&box, "e0", "read line; echo got $line; echo oops >&2; sleep 100");
	box.svc.stdin_open = true;
	box.svc.user = (char *) "web";
	box.svc.oom_score_adj = 123;
	box.svc.ulimits = limits;
	box.svc.n_ulimits = ARRAY_SIZE(limits);
	assert_int_equal(box_create(&box), 0);
	box_start(&box);
	return 0;
}

static int teardown(void **state)
{
	(void) state;
	run_reset(&result);
	box_remove(&box);
	return 0;
}

static void test_output_and_code(void **state)
{
	(void) state;
	ExecSpec s = { 0 };
	run(&result, &box, &s, CMD("sh", "-c", "echo out; echo err >&2; exit 3"));
	assert_int_equal(result.code, 3);
	assert_null(result.error);
	assert_string_equal(buf_cstr(&result.out), "out\n");
	assert_string_equal(buf_cstr(&result.err), "err\n");
	run(&result, &box, &s, CMD("sh", "-c", "kill -9 $$"));
	assert_int_equal(result.code, 137);
}

static void test_user_env_cwd(void **state)
{
	(void) state;
	ExecSpec s = { 0 };
	run(&result, &box, &s, CMD("sh", "-c", "id -u; id -g; id -G; echo $HOME; pwd"));
	assert_string_equal(buf_cstr(&result.out), "1000\n1001\n1001 1002\n/home/web\n/\n");
	char *const env[] = { (char *) "A=b c", (char *) "PATH=/usr/bin", NULL };
	ExecSpec root = { .user = "root", .env = env, .cwd = "/tmp" };
	run(&result, &box, &root, CMD("sh", "-c", "id -u; echo $HOME; echo $A; echo $PATH; pwd"));
	assert_string_equal(buf_cstr(&result.out), "0\n/root\nb c\n/usr/bin\n/tmp\n");
	AUTO_ERR err = ERR_INIT;
	Exec *e;
	ExecSpec none = { .runtime = world.rt, .paths = &box.paths, .cmd = (char *const *) CMD("true"), .user = "nobody-there" };
	assert_int_equal(exec_start(&world.loop, &none, &(ExecCallbacks) { 0 }, &e, &err), -ENOENT);
}

static void test_cannot_start(void **state)
{
	(void) state;
	ExecSpec s = { 0 };
	run(&result, &box, &s, CMD("no-such-program"));
	assert_int_equal(result.code, 127);
	assert_non_null(strstr(result.error, "executable file not found in $PATH"));
	assert_int_equal(result.err.len, 0);
	run(&result, &box, &s, CMD("/etc"));
	assert_int_equal(result.code, 126);
}

static void test_input(void **state)
{
	(void) state;
	ExecSpec s = { .attach_stdin = true };
	run_begin(&result, &box, &s, CMD("cat"));
	assert_true(exec_write(result.exec, "hello ", 6) >= 0);
	assert_true(exec_write(result.exec, "world", 5) >= 0);
	exec_close_stdin(result.exec);
	world_until(&world, &result.ended);
	assert_string_equal(buf_cstr(&result.out), "hello world");
	assert_int_equal(result.code, 0);
}

/* The size is told to a terminal that is there already. */
#define SIZED "until test \"$(stty size)\" = '33 77'; do sleep 0.05; done; "

static void test_terminal(void **state)
{
	(void) state;
	ExecSpec s = { .tty = true, .rows = 33, .cols = 77, .attach_stdin = true };
	run(&result, &box, &s, CMD("sh", "-c", SIZED "test -t 0 && stty size; echo $TERM"));
	assert_int_equal(result.code, 0);
	assert_string_equal(buf_cstr(&result.out), "33 77\r\nxterm\r\n");
	/* Typing, echo, and a change of size. */
	run_begin(&result, &box, &s, CMD("sh", "-c", SIZED "trap 'stty size; exit 4' WINCH; echo ready; read x; echo got $x; while :; do sleep 0.01; done"));
	run_until(&result, "ready");
	assert_true(exec_write(result.exec, "hi\n", 3) >= 0);
	run_until(&result, "got hi");
	assert_int_equal(exec_resize(result.exec, 44, 99), 0);
	world_until(&world, &result.ended);
	assert_int_equal(result.code, 4);
	assert_string_equal(buf_cstr(&result.out), "ready\r\nhi\r\ngot hi\r\n44 99\r\n");
	run(&result, &box, &s, CMD("no-such-program"));
	assert_int_equal(result.code, 127);
}

static void test_background_keeps_pipes(void **state)
{
	(void) state;
	ExecSpec s = { 0 };
	if (world.rt->flavour == RUNTIME_RUNC)
		skip(); /* runc itself waits for the pipes */
	int64_t begin = time_mono();
	run(&result, &box, &s, CMD("sh", "-c", "sleep 100 & echo done"));
	assert_string_equal(buf_cstr(&result.out), "done\n");
	assert_true(time_mono() - begin < 60 * NSEC_PER_SEC);
}

typedef struct ProbeResult {
	bool ended, timed_out;
	int code;
	size_t n;
} ProbeResult;

static void probe_done(void *user, int code, bool timed_out, const char *output, size_t n)
{
	ProbeResult *r = user;
	(void) output;
	*r = (ProbeResult) { true, timed_out, code, n };
}

static void test_probe(void **state)
{
	(void) state;
	ProbeResult r = { 0 };
	ExecProbe *p;
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(exec_probe(&world.loop, world.rt, &box.paths, (char *const *) CMD("sh", "-c", "yes | head -c 10000; exit 1"), 60 * NSEC_PER_SEC,
		probe_done, &r, &p, &err), 0);
	world_until(&world, &r.ended);
	assert_int_equal(r.code, 1);
	assert_int_equal(r.n, 4096);
	r.ended = false;
	int64_t begin = time_mono();
	assert_int_equal(exec_probe(&world.loop, world.rt, &box.paths, (char *const *) CMD("sleep", "77"), 100 * NSEC_PER_MSEC, probe_done, &r, &p, &err), 0);
	world_until(&world, &r.ended);
	assert_true(r.timed_out);
	assert_int_equal(r.code, -1);
	assert_true(time_mono() - begin < 60 * NSEC_PER_SEC);
	ExecSpec s = { 0 };
	run(&result, &box, &s, CMD("sh", "-c", "grep -l '^sleep.77' /proc/[0-9]*/cmdline | wc -l"));
	assert_string_equal(buf_cstr(&result.out), "0\n");
}

static void same_lines(const char *a, const char *b)
{
	while (*a || *b) {
		size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");
		if (n != m || strncmp(a, b, n) != 0)
			fail_msg("by stead-exec: '%.*s'; by the runtime: '%.*s'", (int) n, a, (int) m, b);
		a += n + (a[n] == '\n');
		b += m + (b[m] == '\n');
	}
}

/* What the process may, where it is and what it holds is the same whoever starts it, and as the container's init has it. */
static void test_same_by_both(void **state)
{
	(void) state;
	static const char script[] = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Sig(Blk|Ign))' /proc/self/status; cat /proc/self/cgroup; umask; pwd; env | sort;"
		"ulimit -a; for n in mnt net ipc uts pid cgroup user; do readlink /proc/self/ns/$n; done;"
		"for fd in 3 4 5 6 7 8 9 10 11 12; do test -e /proc/self/fd/$fd && readlink /proc/self/fd/$fd; done; cut -d' ' -f5,6 /proc/self/stat | wc -w;"
		"chown 0 /proc/self/fd/1 2>/dev/null; echo x >/proc/$PPID/exe; echo $?";
	char *const env[] = { (char *) "A=b", NULL };
	ExecSpec specs[] = { { 0 }, { .user = "root" }, { .user = "1234:77", .cwd = "/tmp", .env = env }, { .user = "root", .privileged = true } };
	int helper = world.rt->fd_exec;
	if (helper < 0 || world.rt->flavour != RUNTIME_CRUN)
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		run(&result, &box, &specs[i], CMD("sh", "-c", script));
		assert_int_equal(result.code, 0);
		AUTO_FREE char *direct = xstrdup(buf_cstr(&result.out));
		world.rt->fd_exec = -1;
		run(&result, &box, &specs[i], CMD("sh", "-c", script));
		world.rt->fd_exec = helper;
		same_lines(direct, buf_cstr(&result.out));
		assert_non_null(strstr(direct, "Seccomp:\t2\n"));
	}
}

/* The program that is executed in the container cannot be written to from there, even if it is the command itself. */
static void test_helper_is_sealed(void **state)
{
	(void) state;
	ExecSpec root = { .user = "root" };
	if (world.rt->fd_exec < 0)
		skip();
	assert_int_equal(pwrite(world.rt->fd_exec, "x", 1, 0), -1);
	run(&result, &box, &root, CMD("cat", "/proc/self/oom_score_adj"));
	assert_string_equal(buf_cstr(&result.out), "123\n");
	run(&result, &box, &root, CMD("/proc/self/exe"));
	assert_int_equal(result.code, 126);
	run(&result, &box, &root, CMD("sh", "-c", "ls /proc/1/root >/dev/null && echo open"));
	ExecSpec outside = { .cwd = "/proc/self/fd/5" };
	AUTO_ERR err = ERR_INIT;
	Exec *e;
	outside.runtime = world.rt;
	outside.paths = &box.paths;
	outside.cmd = (char *const *) CMD("true");
	assert_int_equal(exec_start(&world.loop, &outside, &(ExecCallbacks) { 0 }, &e, &err), -EINVAL);
}

/* No magic link leads there; and a directory that the user may not enter is one that root has entered for them, as with Docker. */
static void test_directory(void **state)
{
	(void) state;
	ExecSpec root = { .user = "root" }, linked = { .cwd = "/tmp/link" }, closed = { .cwd = "/tmp/closed" };
	if (world.rt->fd_exec < 0 || world.rt->flavour != RUNTIME_CRUN) /* runc keeps no filter: it execs itself */
		skip();
	run(&result, &box, &root, CMD("sh", "-c", "ln -s /proc/1/root/tmp /tmp/link; mkdir -m 0700 /tmp/closed"));
	assert_int_equal(result.code, 0);
	run(&result, &box, &linked, CMD("pwd"));
	assert_int_equal(result.code, 126);
	assert_non_null(strstr(result.error, "chdir to cwd"));
	run(&result, &box, &closed, CMD("pwd"));
	assert_int_equal(result.code, 0);
	assert_string_equal(buf_cstr(&result.out), "/tmp/closed\n");
	run(&result, &box, &root, CMD("sh", "-c", "rm /tmp/link; rmdir /tmp/closed"));
}

/* What root keeps in the daemon's session keyring stays there. The default filter refuses keyctl(2), so it has to be without. */
static void test_own_keyring(void **state)
{
	(void) state;
	char *unconfined[] = { (char *) "seccomp=unconfined", NULL };
	long ours = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	if (world.rt->fd_exec < 0 || ours < 0 || access("/usr/bin/perl", X_OK) < 0)
		skip();
	Box b;
	ExecSpec root = { .user = "root" };
	box_init(&b, "e1", "sleep 100");
	b.svc.security_opt = unconfined;
	assert_int_equal(box_create(&b), 0);
	box_start(&b);
	AUTO_FREE char *script = xasprintf("print syscall(%d, %d, %d, 0)", SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING);
	AUTO_FREE char *not_this = xasprintf("%ld", ours);
	run(&result, &b, &root, CMD("/usr/bin/perl", "-e", script));
	assert_int_equal(result.code, 0);
	assert_true(strtol(buf_cstr(&result.out), NULL, 10) > 0);
	assert_string_not_equal(buf_cstr(&result.out), not_this);
	box_remove(&b);
}

static void test_speed(void **state)
{
	(void) state;
	ExecSpec s = { 0 };
	enum { N = 20 };
	int64_t begin = time_mono();
	for (int i = 0; i < N; i++)
		run(&result, &box, &s, CMD("/bin/true"));
	printf("exec: %.2f ms%s\n", (double) (time_mono() - begin) / 1e6 / N, world.rt->fd_exec >= 0 ? "" : " (by the runtime)");
}

typedef struct Attached {
	Buf out, err;
	bool got, closed;
} Attached;

static void attached_output(void *user, int stream, const char *data, size_t n)
{
	Attached *a = user;
	buf_append(stream == 1 ? &a->out : &a->err, data, n);
	a->got = a->out.len > 0 && a->err.len > 0;
}

static void attached_closed(void *user)
{
	((Attached *) user)->closed = true;
}

static void test_attach(void **state)
{
	(void) state;
	Attached at = { 0 };
	Attach *a;
	AUTO_ERR err = ERR_INIT;
	AttachCallbacks cb = { .output = attached_output, .closed = attached_closed, .user = &at };
	if (attach_open(&world.loop, &box.paths, &cb, &a, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(attach_write(a, "line\n", 5), 0);
	world_until(&world, &at.got);
	assert_string_equal(buf_cstr(&at.out), "got line\n");
	assert_string_equal(buf_cstr(&at.err), "oops\n");
	assert_int_equal(container_kill(world.rt, &box.paths, SIGKILL), 0);
	world_until(&world, &at.closed);
	world_until(&world, &box.ended);
	buf_done(&at.out);
	buf_done(&at.err);
}

int main(void)
{
	int r = world_make();
	if (r != 0)
		return r;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_output_and_code), cmocka_unit_test(test_user_env_cwd), cmocka_unit_test(test_cannot_start),
		cmocka_unit_test(test_input), cmocka_unit_test(test_terminal), cmocka_unit_test(test_background_keeps_pipes), cmocka_unit_test(test_probe),
		cmocka_unit_test(test_same_by_both), cmocka_unit_test(test_helper_is_sealed),
		cmocka_unit_test(test_directory), cmocka_unit_test(test_own_keyring),
		cmocka_unit_test(test_speed), cmocka_unit_test(test_attach),
	};
	r = cmocka_run_group_tests(tests, setup, teardown);
	return r | world_remove();
}
