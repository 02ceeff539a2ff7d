// SPDX-License-Identifier: Apache-2.0
/* The test is the worker. */
#include "daemon/worker-pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"

#define LARGE (4U << 20) /* more than any socket takes at once */

static uv_loop_t loop;
static WorkerPipe *our_end;
static int theirs = -1;
static Buf came;
static size_t waiting;
static unsigned n_ended, n_written;

static void on_read(void *user, Buf *in)
{
	buf_append(&came, in->data, in->len);
	buf_clear(in);
}

static void on_ended(void *user)
{
	n_ended++;
}

static void on_written(void *user, size_t left)
{
	waiting = left;
	n_written++;
}

static int setup(void **state)
{
	const WorkerPipeCallbacks cb = { .read = on_read, .ended = on_ended, .written = on_written };
	n_ended = n_written = 0;
	waiting = 0;
	buf_clear(&came);
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(worker_pipe_open(&loop, &cb, &our_end, &theirs, NULL), 0);
	return 0;
}

static void hang_up(void)
{
	if (theirs >= 0)
		(void) close(theirs);
	theirs = -1;
}

/* A pipe that is still open keeps the loop from closing. */
static int teardown(void **state)
{
	worker_pipe_close(our_end);
	our_end = NULL;
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	hang_up();
	return uv_loop_close(&loop);
}

/* What the worker reads until there is nothing, or the end. */
static size_t take_all(bool *ret_end)
{
	char piece[65536];
	size_t total = 0;
	ssize_t n;
	assert_int_equal(fcntl(theirs, F_SETFL, O_NONBLOCK), 0);
	while ((n = read(theirs, piece, sizeof(piece))) > 0)
		total += (size_t) n;
	*ret_end = n == 0;
	assert_true(n == 0 || errno == EAGAIN);
	return total;
}

static void test_writes_and_end(void **state)
{
	AUTO_FREE char *large = xcalloc(1, LARGE);
	size_t got = 0;
	bool end = false;
	assert_true(worker_pipe_write(our_end, large, LARGE) == LARGE);
	assert_true(worker_pipe_write(our_end, "more", 4) == LARGE + 4);
	worker_pipe_end(our_end);
	worker_pipe_end(our_end);
	assert_true(worker_pipe_write(our_end, "late", 4) == LARGE + 4); /* is not written */
	(void) uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(n_written, 0); /* nobody has read */
	while (!end) {
		got += take_all(&end);
		(void) uv_run(&loop, UV_RUN_NOWAIT);
	}
	assert_true(got == LARGE + 4);
	assert_int_equal(n_written, 2);
	assert_int_equal(waiting, 0);
}

static void test_reads_when_asked(void **state)
{
	assert_int_equal(write(theirs, "one", 3), 3);
	(void) uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(came.len, 0);
	worker_pipe_read(our_end, true);
	while (came.len < 3)
		(void) uv_run(&loop, UV_RUN_ONCE);
	worker_pipe_read(our_end, false);
	assert_int_equal(write(theirs, "two", 3), 3);
	(void) uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(came.len, 3);
	hang_up();
	worker_pipe_read(our_end, true);
	while (!n_ended)
		(void) uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(came.len, 6);
	assert_memory_equal(came.data, "onetwo", 6);
}

/* Its client is not held back for good. */
static void test_worker_that_takes_no_more(void **state)
{
	hang_up();
	assert_true(worker_pipe_write(our_end, "for nobody", 10) <= 10);
	while (!n_written)
		(void) uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(waiting, 0);
}

static void test_closed_says_nothing(void **state)
{
	AUTO_FREE char *large = xcalloc(1, LARGE);
	(void) worker_pipe_write(our_end, large, LARGE);
	worker_pipe_read(our_end, true);
	assert_int_equal(write(theirs, "one", 3), 3);
	worker_pipe_close(steal_ptr(&our_end));
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(came.len, 0);
	assert_int_equal(n_written + n_ended, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_writes_and_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reads_when_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_worker_that_takes_no_more, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed_says_nothing, setup, teardown),
	};
	(void) signal(SIGPIPE, SIG_IGN);
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	buf_done(&came);
	return r;
}
