// SPDX-License-Identifier: Apache-2.0
/* Each check runs in a child, since a sandbox is never left again. */
#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <cmocka.h>

#include "image/parallel.h"
#include "image/sandbox.h"
#include "image/testing.h"

/* What still works, below the state directory: what unpacking does. */
static int works(void)
{
	AUTO_FREE char *a = scratch_path("state/a");
	AUTO_FREE char *b = scratch_path("state/sub/b");
	AUTO_FREE char *dev = scratch_path("state/dev");
	AUTO_FREE char *sub = scratch_path("state/sub");
	if (file_write(AT_FDCWD, a, "x", 1, 0600) < 0)
		return 1;
	if (chown(a, 5, 6) < 0 || chmod(a, 04755) < 0)
		return 2;
	if (mknod(dev, S_IFCHR, 0) < 0)
		return 3;
	if (mkdir(sub, 0755) < 0 || setxattr(sub, "trusted.overlay.opaque", "y", 1, 0) < 0)
		return 4;
	return rename(a, b) < 0 ? 5 : 0;
}

/* What does not. */
static int denied(void)
{
	char *argv[] = { (char *) "/bin/true", NULL };
	if (socket(AF_INET, SOCK_STREAM, 0) >= 0 || socket(AF_UNIX, SOCK_STREAM, 0) >= 0)
		return 11;
	if (mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) == 0 || errno != EPERM)
		return 12;
	(void) execv(argv[0], argv);
	if (errno != EPERM && errno != EACCES)
		return 13;
	return 0;
}

/* Each waits for the other. */
static int meet(void *user, size_t i, Err *err)
{
	sem_t *arrived = user;
	struct timespec until;
	(void) sem_post(&arrived[i]);
	(void) clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	while (sem_timedwait(&arrived[1 - i], &until) < 0)
		if (errno != EINTR)
			return err_set(err, -errno, "alone");
	return 0;
}

static int threads(void)
{
	sem_t arrived[2];
	Parallel p = { .one = meet, .user = arrived, .n = 2 };
	if (sem_init(&arrived[0], 0, 0) < 0 || sem_init(&arrived[1], 0, 0) < 0)
		return 31;
	return parallel_run(&p, 2, NULL) < 0 ? 32 : 0;
}

static int outside(void)
{
	AUTO_FREE char *file = scratch_path("outside");
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
	if (version < 2)
		return 0;
	if (file_write(AT_FDCWD, file, "x", 1, 0600) == 0)
		return 21;
	return unlink(file) == 0 ? 22 : 0;
}

static void in_sandbox(int (*check)(void))
{
	AUTO_FREE char *dir = scratch_path("state");
	AUTO_FREE char *file = scratch_path("outside");
	int status;
	assert_int_equal(tree_remove(AT_FDCWD, dir), 0);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(file_write(AT_FDCWD, file, "mine", 4, 0600), 0);
	pid_t pid = fork();
	if (pid == 0) {
		AUTO_ERR err = ERR_INIT;
		if (sandbox_enter(dir, &err) < 0) {
			fprintf(stderr, "%s\n", err_text(&err));
			_exit(99);
		}
		_exit(check());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	AUTO_FREE char *text = read_text(file);
	assert_string_equal(text, "mine");
}

static void unpacking_works(void **state)
{
	in_sandbox(works);
}

static void nothing_is_started_or_opened(void **state)
{
	in_sandbox(denied);
}

static void several_at_once(void **state)
{
	in_sandbox(threads);
}

static void nothing_else_is_written(void **state)
{
	in_sandbox(outside);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unpacking_works),
		cmocka_unit_test(nothing_is_started_or_opened),
		cmocka_unit_test(several_at_once),
		cmocka_unit_test(nothing_else_is_written),
	};
	int skipped = need_root();
	return skipped ? skipped : cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
