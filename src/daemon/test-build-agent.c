// SPDX-License-Identifier: Apache-2.0
/* The socket of an SSH agent as containers see it; the test is the client, too. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "daemon/build-agent.h"

static char dir[] = "/tmp/stead-test-agent-XXXXXX";
static uv_loop_t loop;
static BuildAgent *agent;
static uint32_t asked;
static Buf question;

static uint32_t ask(void *user, const void *p, size_t n)
{
	(void) user;
	buf_clear(&question);
	buf_append(&question, p, n);
	return ++asked;
}

static int setup(void **state)
{
	(void) state;
	const BuildAgentOptions o = { .dir = dir, .name = "agent", .uid = getuid(), .gid = getgid(), .mode = 0640, .ask = ask };
	asked = 0;
	buf_done(&question);
	AUTO_FREE char *path = xasprintf("%s/agent", dir);
	(void) unlink(path);
	return uv_loop_init(&loop) < 0 || build_agent_open(&loop, &o, &agent, NULL) < 0;
}

static void turn(void)
{
	for (int i = 0; i < 50; i++)
		(void) uv_run(&loop, UV_RUN_NOWAIT);
}

static int teardown(void **state)
{
	(void) state;
	build_agent_close(agent);
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

static int dial(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	(void) snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/agent", dir);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(fd, (struct sockaddr *) &sa, sizeof(sa)), 0);
	turn();
	return fd;
}

static void put(int fd, const char *p, size_t n)
{
	assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), n);
	turn();
}

/* Bytes that have come; -1: the end. */
static ssize_t get(int fd, char *p, size_t n)
{
	turn();
	ssize_t k = recv(fd, p, n, 0);
	return k < 0 ? 0 : k == 0 ? -1 : k;
}

static void one_after_the_other(void **state)
{
	(void) state;
	char in[64];
	AUTO_CLOSE int fd = dial();
	put(fd, "\0\0\0\1\13\0\0\0\2\15", 7); /* one, and a part of the next */
	assert_int_equal(asked, 1);
	assert_int_equal(question.len, 1);
	assert_int_equal(question.data[0], 11);
	put(fd, "\0\2\15x", 4);
	assert_int_equal(asked, 1); /* that waits for the answer */
	assert_false(build_agent_answer(agent, 7, "x", 1));
	assert_true(build_agent_answer(agent, 1, "\14abc", 4));
	assert_int_equal(get(fd, in, sizeof(in)), 8);
	assert_memory_equal(in, "\0\0\0\4\14abc", 8);
	assert_int_equal(asked, 2);
	assert_false(build_agent_answer(agent, 1, "x", 1)); /* it has been answered */
	assert_true(build_agent_answer(agent, 2, "\16", 1));
	assert_int_equal(get(fd, in, sizeof(in)), 5);
}

static void the_client_has_no_answer(void **state)
{
	(void) state;
	char in[64];
	AUTO_CLOSE int fd = dial();
	put(fd, "\0\0\0\1\13", 5);
	assert_true(build_agent_answer(agent, 1, NULL, 0));
	assert_int_equal(get(fd, in, sizeof(in)), -1);
}

static void who_asked_is_gone(void **state)
{
	(void) state;
	int fd = dial();
	put(fd, "\0\0\0\1\13", 5);
	(void) close(fd);
	turn();
	(void) build_agent_answer(agent, 1, "\14", 1);
	turn();
	AUTO_CLOSE int next = dial();
	put(next, "\0\0\0\1\13", 5);
	assert_int_equal(asked, 2);
}

static void lengths(void **state)
{
	(void) state;
	char in[64];
	AUTO_CLOSE int nothing = dial();
	put(nothing, "\0\0\0\0", 4);
	assert_int_equal(get(nothing, in, sizeof(in)), -1);
	AUTO_CLOSE int endless = dial();
	put(endless, "\0\4\0\1", 4); /* 256 KiB and a byte */
	assert_int_equal(get(endless, in, sizeof(in)), -1);
	assert_int_equal(asked, 0);
	/* As much as there may be, in pieces. */
	AUTO_CLOSE int most = dial();
	AUTO_FREE char *piece = xcalloc(1, 65536);
	put(most, "\0\4\0\0", 4);
	for (int i = 0; i < 4; i++)
		for (size_t at = 0; at < 65536;) {
			ssize_t n = send(most, piece + at, 65536 - at, MSG_NOSIGNAL);
			at += n > 0 ? (size_t) n : 0;
			turn();
		}
	assert_int_equal(asked, 1);
	assert_int_equal(question.len, LIMIT_AGENT_MESSAGE);
}

static void many_wait(void **state)
{
	(void) state;
	char in[64];
	int fds[LIMIT_AGENT_CONNECTIONS + 2];
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = dial();
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		put(fds[i], "\0\0\0\1\13", 5);
	assert_int_equal(asked, LIMIT_AGENT_CONNECTIONS);
	for (uint32_t i = 1; i <= LIMIT_AGENT_CONNECTIONS; i++)
		assert_true(build_agent_answer(agent, i, "\14", 1));
	turn();
	assert_int_equal(asked, LIMIT_AGENT_CONNECTIONS); /* an answer alone makes no room */
	assert_int_equal(get(fds[0], in, sizeof(in)), 5);
	(void) close(fds[0]);
	(void) close(fds[1]);
	turn();
	assert_int_equal(asked, ARRAY_SIZE(fds));
	for (size_t i = 2; i < ARRAY_SIZE(fds); i++)
		(void) close(fds[i]);
	turn();
}

static void owner_and_mode(void **state)
{
	(void) state;
	struct stat st;
	AUTO_FREE char *path = xasprintf("%s/agent", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_uid, getuid());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_after_the_other, setup, teardown),
		cmocka_unit_test_setup_teardown(the_client_has_no_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(who_asked_is_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(lengths, setup, teardown),
		cmocka_unit_test_setup_teardown(many_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(owner_and_mode, setup, teardown),
	};
	(void) signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(dir))
		return 1;
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	buf_done(&question);
	(void) tree_remove(AT_FDCWD, dir);
	return r;
}
