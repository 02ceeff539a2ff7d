// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/spawn.h"

static void descriptors_stand_where_they_are_wanted(void **state)
{
	int out[2], in[2];
	pid_t pid;
	AUTO_BUF text = BUF_INIT;
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(fd_write_all(in[1], "five", 4), 0);
	(void) close(in[1]);
	/* Numbers that overlap with ours, and one for two. */
	const char *argv[] = { "sh", "-c", "cat <&5; echo three >&3; echo four >&4; test -z \"$(cat)\"", NULL };
	const SpawnFd fds[] = { { -1, 0 }, { out[1], 1 }, { out[1], 3 }, { out[1], 4 }, { in[0], 5 } };
	assert_int_equal(spawn(argv, fds, ARRAY_SIZE(fds), &pid, NULL), 0);
	(void) close(out[1]);
	(void) close(in[0]);
	char *p = buf_reserve(&text, 100);
	ssize_t n;
	while ((n = read(out[0], p, 100 - text.len)) > 0) {
		buf_added(&text, (size_t) n);
		p = buf_reserve(&text, 100 - text.len);
	}
	assert_string_equal(buf_cstr(&text), "fivethree\nfour\n");
	assert_int_equal(spawn_wait(pid), 0);
	(void) close(out[0]);
}

static void how_it_ended(void **state)
{
	const char *seven[] = { "sh", "-c", "exit 7", NULL }, *killed[] = { "sh", "-c", "kill -TERM $$", NULL },
		   *endless[] = { "sleep", "1000000", NULL }, *none[] = { "there-is-no-such-program", NULL };
	pid_t pid;
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(spawn(seven, NULL, 0, &pid, NULL), 0);
	assert_int_equal(spawn_wait(pid), 7);
	(void) signal(SIGTERM, SIG_IGN); /* it has the default again */
	assert_int_equal(spawn(killed, NULL, 0, &pid, NULL), 0);
	(void) signal(SIGTERM, SIG_DFL);
	assert_int_equal(spawn_wait_for(pid, 60000), 128 + SIGTERM);
	assert_int_equal(spawn(endless, NULL, 0, &pid, NULL), 0);
	assert_int_equal(spawn_wait_for(pid, 20), -ETIMEDOUT);
	assert_int_equal(spawn(none, NULL, 0, &pid, &err), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(descriptors_stand_where_they_are_wanted),
		cmocka_unit_test(how_it_ended),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
