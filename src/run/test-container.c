// SPDX-License-Identifier: Apache-2.0
#include "run/test-root.h"

#include <sys/resource.h>

#include "run/attach.h"

static void test_life(void **state)
{
	(void) state;
	Box b;
	box_init(&b, "11", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done");
	assert_int_equal(box_create(&b), 0);
	assert_int_equal(box_status(&b), CONTAINER_CREATED);
	box_start(&b);
	ContainerState st;
	AUTO_STRV char **lines = NULL;
	for (int i = 0; i < 6000 && !lines; i++) {
		(void) usleep(10000);
		lines = logs_tail_lines(&b.paths, 5);
	}
	assert_int_equal(strv_len(lines), 1);
	assert_string_equal(lines[0], "ready");
	assert_int_equal(container_probe(world.rt, &b.paths, &st, NULL), 0);
	assert_int_equal(st.status, CONTAINER_RUNNING);
	assert_int_equal(st.pid, b.pid);
	assert_true(st.monitored);
	assert_int_equal(container_start(world.rt, &b.paths, NULL), -ENOENT);

	assert_int_equal(container_pause(world.rt, &b.paths, true, NULL), 0);
	assert_int_equal(container_probe(world.rt, &b.paths, &st, NULL), 0);
	assert_true(st.paused);
	assert_int_equal(container_pause(world.rt, &b.paths, false, NULL), 0);

	CgroupStats cs;
	assert_int_equal(cgroup_stats(world.rt, b.paths.cgroup, &cs), 0);
	assert_true(cs.cpu_total > 0);
	assert_true(cs.pids >= 1);

	assert_int_equal(container_kill(world.rt, &b.paths, SIGTERM), 0);
	world_until(&world, &b.ended);
	assert_int_equal(b.end.status, CONTAINER_EXITED);
	assert_int_equal(b.end.exit_code, 7);
	assert_false(b.end.oom_killed);
	assert_int_equal(box_status(&b), CONTAINER_EXITED);
	assert_int_equal(container_kill(world.rt, &b.paths, SIGTERM), -ESRCH);
	box_remove(&b);
}

static void test_killed(void **state)
{
	(void) state;
	Box b;
	box_init(&b, "22", "sleep 100");
	assert_int_equal(box_create(&b), 0);
	box_start(&b);
	assert_int_equal(container_kill(world.rt, &b.paths, SIGKILL), 0);
	world_until(&world, &b.ended);
	assert_int_equal(b.end.exit_code, 137);
	box_remove(&b);
}

static void test_monitor_dies(void **state)
{
	(void) state;
	Box b;
	box_init(&b, "33", "sleep 100");
	assert_int_equal(box_create(&b), 0);
	box_start(&b);
	AUTO_FREE char *file = xasprintf("%s/conmon/conmon.pid", b.paths.bundle);
	AUTO_BUF t = BUF_INIT;
	assert_int_equal(file_read(AT_FDCWD, file, 32, &t), 0);
	int64_t pid;
	assert_int_equal(parse_i64(buf_cstr(&t), &pid), 0);
	assert_int_equal(kill((pid_t) pid, SIGKILL), 0);
	world_until(&world, &b.ended);
	assert_int_equal(b.end.status, CONTAINER_LOST);
	box_remove(&b);
}

static void test_cannot_run(void **state)
{
	(void) state;
	Box b;
	box_init(&b, "44", "true");
	str_set(&b.svc.command[0], "/no/such/program");
	assert_true(box_create(&b) < 0);
	box_remove(&b);
}

/* Deleting must work from any state: just created, and running without a word to anyone. */
static void test_delete_early(void **state)
{
	(void) state;
	Box b;
	box_init(&b, "55", "sleep 100");
	assert_int_equal(box_create(&b), 0);
	box_remove(&b);
	box_init(&b, "66", "sleep 100 & sleep 100");
	assert_int_equal(box_create(&b), 0);
	box_start(&b);
	box_remove(&b);
}

static void test_oom(void **state)
{
	(void) state;
	if (runtime_require(world.rt, CONTROLLER_MEMORY, "", NULL) < 0)
		skip();
	Box b;
	box_init(&b, "aa", "exec tail /dev/zero");
	b.svc.mem_limit = b.svc.memswap_limit = 16 << 20;
	assert_int_equal(box_create(&b), 0);
	box_start(&b);
	world_until(&world, &b.ended);
	assert_int_equal(b.end.exit_code, 137);
	assert_true(b.end.oom_killed);
	box_remove(&b);
}

/* stead-init: process 1 that hands signals on and reaps what others leave. */
/* Dead children of the container's init that it has not reaped; the shell's own are the shell's to reap. */
static size_t orphan_zombies(const Box *b)
{
	AUTO_FREE char *zombie = xasprintf(") Z %d ", (int) b->pid);
	pid_t *pids = NULL;
	size_t n = 0, zombies = 0;
	assert_int_equal(cgroup_pids(world.rt, b->paths.cgroup, &pids, &n), 0);
	for (size_t i = 0; i < n; i++) {
		AUTO_FREE char *path = xasprintf("/proc/%d/stat", (int) pids[i]);
		AUTO_BUF stat_text = BUF_INIT;
		if (file_read(AT_FDCWD, path, 4096, &stat_text) == 0 && strstr(buf_cstr(&stat_text), zombie))
			zombies++;
	}
	free(pids);
	return zombies;
}

static void test_init(void **state)
{
	(void) state;
	Box b;
	box_init(&b, "bb", "trap 'exit 9' USR1; (sleep 0.05 & exec true) & echo $$; while :; do sleep 0.02; done");
	b.svc.init = 1;
	assert_int_equal(box_create(&b), 0);
	box_start(&b);
	AUTO_STRV char **lines = NULL;
	for (int i = 0; i < 6000 && !lines; i++) {
		(void) usleep(10000);
		lines = logs_tail_lines(&b.paths, 1);
	}
	assert_string_equal(lines[0], "2");
	(void) usleep(200000);
	for (int i = 0; orphan_zombies(&b) > 0; i++) {
		assert_true(i < 6000);
		(void) usleep(10000);
	}
	assert_int_equal(container_kill(world.rt, &b.paths, SIGUSR1), 0);
	world_until(&world, &b.ended);
	assert_int_equal(b.end.exit_code, 9);
	box_remove(&b);
}

static void test_terminal(void **state)
{
	(void) state;
	Box b;
	box_init(&b, "cc", "trap 'stty size; exit 0' WINCH; test -t 1 && echo tty; while :; do sleep 0.02; done");
	b.svc.tty = true;
	assert_int_equal(box_create(&b), 0);
	box_start(&b);
	AUTO_STRV char **lines = NULL;
	for (int i = 0; i < 6000 && !lines; i++) {
		(void) usleep(10000);
		lines = logs_tail_lines(&b.paths, 1);
	}
	assert_string_equal(lines[0], "tty\r");
	assert_int_equal(container_resize(&b.paths, 55, 111, NULL), 0);
	world_until(&world, &b.ended);
	assert_int_equal(b.end.exit_code, 0);
	AUTO_STRV char **last = logs_tail_lines(&b.paths, 1);
	assert_string_equal(last[0], "55 111\r");
	box_remove(&b);
}

/* What protects by default is really in force. */
static void test_confinement(void **state)
{
	(void) state;
	Box b;
	box_init(&b, "dd", "grep -E 'CapBnd|Seccomp:|NoNewPrivs' /proc/self/status; unshare -U true 2>&1 | tail -1; cat /proc/kcore | wc -c; touch /proc/sys/x; "
			   "mount -t tmpfs x /tmp; ls /proc/self/fd; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max");
	b.svc.user = (char *) "web";
	assert_int_equal(box_create(&b), 0);
	box_start(&b);
	world_until(&world, &b.ended);
	AUTO_STRV char **lines = logs_tail_lines(&b.paths, 100);
	assert_true(strv_has(lines, "CapBnd:\t00000000800405fb"));
	assert_true(strv_has(lines, "Seccomp:\t2"));
	assert_true(strv_has(lines, "NoNewPrivs:\t1"));
	assert_true(strv_has(lines, "unshare: unshare failed: Operation not permitted"));
	assert_true(strv_has(lines, "1024"));
	assert_false(strv_has(lines, "4")); /* descriptors 0, 1, 2 and the directory itself, 3 */
	box_remove(&b);
}

/* Without a descriptor to look with, nothing is taken for dead, and no exit code is lost. */
static void test_blind(void **state)
{
	(void) state;
	Box b;
	AUTO_ERR err = ERR_INIT;
	ContainerState st;
	struct rlimit files, none;
	box_init(&b, "ee", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done");
	assert_int_equal(box_create(&b), 0);
	box_start(&b);
	AUTO_STRV char **lines = NULL;
	for (int i = 0; i < 6000 && !lines; i++) {
		(void) usleep(10000);
		lines = logs_tail_lines(&b.paths, 1);
	}
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	none = (struct rlimit) { 0, files.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	int probed = container_probe(world.rt, &b.paths, &st, &err), killed = container_kill(world.rt, &b.paths, SIGKILL);
	int exists = kill(b.pid, SIGTERM);
	for (int i = 0; i < 100; i++) {
		(void) uv_run(&world.loop, UV_RUN_NOWAIT);
		(void) usleep(10000);
	}
	bool told = b.ended;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
	assert_int_equal(probed, -EMFILE);
	assert_non_null(strstr(err_text(&err), "Too many open files: this process may have 0"));
	assert_int_equal(killed, -EMFILE);
	assert_int_equal(exists, 0);
	assert_false(told);
	world_until(&world, &b.ended);
	assert_int_equal(b.end.status, CONTAINER_EXITED);
	assert_int_equal(b.end.exit_code, 5);
	box_remove(&b);
}

static void test_many_at_once(void **state)
{
	(void) state;
	enum { N = 10 };
	static Box boxes[N];
	AUTO_ERR err = ERR_INIT;
	AUTO_STRV char **layers = NULL;
	strv_add(&layers, TEST_LAYER);
	BundleMount usr = { .type = MOUNT_BIND, .source = "/usr", .target = "/usr", .read_only = true, .tmpfs_size = -1, .tmpfs_mode = -1 };
	int64_t begin = time_mono();
	for (int i = 0; i < N; i++) {
		Box *b = &boxes[i];
		box_init(b, "77", "sleep 100");
		BundleSpec spec = { .runtime = world.rt, .paths = &b->paths, .service = &b->svc, .image = &b->img, .hostname = "box", .mounts = &usr,
			.n_mounts = 1 };
		ContainerOptions co = { .paths = &b->paths, .name = "box", .log = true };
		assert_int_equal(container_dirs_make(&b->paths, &err), 0);
		assert_int_equal(rootfs_mount(world.rt, &b->paths, layers, &err), 0);
		assert_int_equal(bundle_write(&spec, NULL, &err), 0);
		assert_int_equal(logs_prepare(&b->paths, &err), 0);
		assert_int_equal(container_create(&world.loop, world.rt, &co, box_created, b, &err), 0);
	}
	int64_t prepared = time_mono();
	for (int i = 0; i < N; i++)
		world_until(&world, &boxes[i].created);
	int64_t created = time_mono();
	for (int i = 0; i < N; i++) {
		assert_int_equal(boxes[i].result, 0);
		box_start(&boxes[i]);
	}
	int64_t started = time_mono();
	for (int i = 0; i < N; i++)
		assert_int_equal(container_kill(world.rt, &boxes[i].paths, SIGKILL), 0);
	for (int i = 0; i < N; i++)
		world_until(&world, &boxes[i].ended);
	int64_t ended = time_mono();
	for (int i = 0; i < N; i++)
		box_remove(&boxes[i]);
	int64_t removed = time_mono();
	printf("ten containers: prepared %.1f ms, created %.1f ms, started %.1f ms, killed %.1f ms, removed %.1f ms\n",
		(double) (prepared - begin) / 1e6, (double) (created - prepared) / 1e6, (double) (started - created) / 1e6,
		(double) (ended - started) / 1e6, (double) (removed - ended) / 1e6);
}

/* Through a real conmon: rotation at full speed loses and doubles nothing. */
static void test_log_rotation(void **state)
{
	(void) state;
	enum { LINES = 20000 };
	Box b;
	box_init(&b, "88", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done");
	assert_int_equal(box_create(&b), 0);
	box_start(&b);
	LogReader *r;
	LogOptions o = { .out = true, .err = true, .tail = -1, .follow = true };
	assert_int_equal(log_reader_open(&b.paths, &o, &r, NULL), 0);
	int next = 0;
	AUTO_BUF line = BUF_INIT;
	int64_t begin = time_mono();
	while (next < LINES) {
		LogEntry e;
		while (log_reader_next(r, &e) == 1) {
			buf_append(&line, e.data, e.len);
			if (e.partial)
				continue;
			char expected[32];
			(void) snprintf(expected, sizeof(expected), "line %d\n", next++);
			assert_string_equal(buf_cstr(&line), expected);
			buf_clear(&line);
		}
		assert_int_equal(logs_rotate(&b.paths, 20000, 5), 0);
		(void) uv_run(&world.loop, UV_RUN_NOWAIT);
		assert_true(time_mono() - begin < 240 * NSEC_PER_SEC);
	}
	log_reader_free(r);
	world_until(&world, &b.ended);
	AUTO_STRV char **lines = logs_tail_lines(&b.paths, 1);
	assert_string_equal(lines[0], "line 19999");
	box_remove(&b);
}

int main(void)
{
	int r = world_make();
	if (r != 0)
		return r;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life), cmocka_unit_test(test_killed), cmocka_unit_test(test_monitor_dies), cmocka_unit_test(test_cannot_run),
		cmocka_unit_test(test_delete_early), cmocka_unit_test(test_oom), cmocka_unit_test(test_init), cmocka_unit_test(test_terminal), cmocka_unit_test(test_confinement),
		cmocka_unit_test(test_blind), cmocka_unit_test(test_many_at_once), cmocka_unit_test(test_log_rotation),
	};
	r = cmocka_run_group_tests(tests, NULL, NULL);
	return r | world_remove();
}
