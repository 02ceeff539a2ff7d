// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/frame-io.h"

/** The reading end of a pipe that holds these bytes and then ends. */
static int holding(const void *p, size_t n)
{
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(fd_write_all(fds[1], p, n), 0);
	(void) close(fds[1]);
	return fds[0];
}

static void there_and_back(void **state)
{
	AUTO_BUF got = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	uint8_t type = 0;
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(frame_send(fds[1], 'D', "some\0bytes", 10, &err), 0);
	assert_int_equal(frame_send(fds[1], 'S', NULL, 0, &err), 0);
	assert_int_equal(frame_send_json(fds[1], 'J', json_pack("{s:i}", "ship", 1), &err), 0);
	(void) close(fds[1]);
	assert_int_equal(frame_receive(fds[0], &type, &got, 10, &err), 1);
	assert_int_equal(type, 'D');
	assert_int_equal(got.len, 10);
	assert_memory_equal(got.data, "some\0bytes", 10);
	assert_int_equal(frame_receive(fds[0], &type, &got, 10, &err), 1);
	assert_int_equal(type, 'S');
	assert_int_equal(got.len, 0);
	assert_int_equal(frame_receive(fds[0], &type, &got, 20, &err), 1);
	assert_string_equal(buf_cstr(&got), "{\"ship\":1}");
	assert_int_equal(frame_receive(fds[0], &type, &got, 10, &err), 0);
	(void) close(fds[0]);
}

static void longer_than_a_pipe(void **state)
{
	AUTO_FREE char *big = xmalloc(FRAME_IO_MAX);
	AUTO_BUF got = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	uint8_t type;
	int fds[2], status;
	memset(big, 'x', FRAME_IO_MAX);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0)
		_exit(frame_send(fds[1], 'D', big, FRAME_IO_MAX, &err) == 0 ? 0 : 1);
	(void) close(fds[1]);
	assert_int_equal(frame_receive(fds[0], &type, &got, FRAME_IO_MAX, &err), 1);
	assert_int_equal(got.len, FRAME_IO_MAX);
	assert_memory_equal(got.data, big, FRAME_IO_MAX);
	assert_int_equal(frame_receive(fds[0], &type, &got, FRAME_IO_MAX, &err), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	(void) close(fds[0]);
}

static void what_is_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		int code;
		const char *text;
	} cases[] = {
		{ "D\0\0", 3, -EPROTO, "in the middle of a frame" },
		{ "D\0\0\0\0\0\0\3ab", 10, -EPROTO, "in the middle of a frame" },
		{ "HTTP/1.1 400", 12, -EPROTO, "does not speak in frames" },
		{ "D\0\0\0\0\0\1\1", 8, -EMSGSIZE, "a frame of 257 bytes" },
		{ "D\0\0\0\377\377\377\377", 8, -EMSGSIZE, "a frame of 4294967295 bytes" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_BUF got = BUF_INIT;
		AUTO_ERR err = ERR_INIT;
		uint8_t type;
		int fd = holding(cases[i].bytes, cases[i].n);
		assert_int_equal(frame_receive(fd, &type, &got, 256, &err), cases[i].code);
		assert_non_null(strstr(err_text(&err), cases[i].text));
		(void) close(fd);
	}
}

/* A length that is not true: the rest of the frame does not come. */
static void stops_in_the_middle(void **state)
{
	static const char *const begins[] = { "D\0\0\0", "D\0\0\0\0\0\0\3ab" };
	static const size_t lengths[] = { 4, 10 };
	for (size_t i = 0; i < ARRAY_SIZE(begins); i++) {
		AUTO_BUF got = BUF_INIT;
		AUTO_ERR err = ERR_INIT;
		uint8_t type;
		size_t n = 0;
		int fds[2];
		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		assert_int_equal(fd_write_all(fds[1], begins[i], lengths[i]), 0);
		int r = frame_receive_head(fds[0], 1, &type, &n, &err);
		if (r == 1)
			r = frame_receive_payload(fds[0], 1, n, 256, &got, &err);
		assert_int_equal(r, -ETIMEDOUT);
		assert_non_null(strstr(err_text(&err), "stopped in the middle of a frame"));
		(void) close(fds[0]);
		(void) close(fds[1]);
	}
}

static void nobody_reads(void **state)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *big = xcalloc(1, FRAME_IO_MAX + 1);
	int fds[2];
	(void) signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	(void) close(fds[0]);
	assert_int_equal(frame_send(fds[1], 'D', "x", 1, &err), -EPIPE);
	assert_int_equal(frame_send(fds[1], 'D', big, FRAME_IO_MAX + 1, &err), -EMSGSIZE);
	(void) close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(longer_than_a_pipe),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(stops_in_the_middle),
		cmocka_unit_test(nobody_reads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
