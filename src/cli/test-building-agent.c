// SPDX-License-Identifier: Apache-2.0
/* What goes to an SSH agent and what does not; the test is daemon and agent. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/building-agent.h"
#include "io/frames.h"

typedef struct Place {
	char dir[40];
	int agent; /* listens */
	BuildAgents agents;
	Buf frames; /* to the daemon */
} Place;

static int setup(void **state)
{
	Place *p = xcalloc(1, sizeof(*p));
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	(void) snprintf(p->dir, sizeof(p->dir), "/tmp/stead-test-agents-XXXXXX");
	*state = p;
	if (!mkdtemp(p->dir) || chdir(p->dir) < 0)
		return -1;
	(void) snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/agent", p->dir);
	p->agent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void) unsetenv("SSH_AUTH_SOCK");
	return bind(p->agent, (struct sockaddr *) &sa, sizeof(sa)) < 0 || listen(p->agent, 8) < 0;
}

static int teardown(void **state)
{
	Place *p = *state;
	build_agents_done(&p->agents);
	buf_done(&p->frames);
	(void) close(p->agent);
	assert_int_equal(chdir("/"), 0);
	(void) tree_remove(AT_FDCWD, p->dir);
	free(p);
	return 0;
}

static void ask(Place *p, const char *frame, size_t n)
{
	AUTO_ERR err = ERR_INIT;
	if (build_agents_ask(&p->agents, frame, n, &p->frames, &err) < 0)
		fail_msg("%s", err_text(&err));
}

static void turn(Place *p)
{
	struct pollfd fds[BUILD_AGENT_CALLS_MAX];
	for (int i = 0; i < 10; i++) {
		size_t n = build_agents_poll(&p->agents, fds);
		(void) poll(fds, n, 0);
		build_agents_ready(&p->agents, fds, &p->frames);
	}
}

static void expect_frames(Place *p, const char *bytes, size_t n)
{
	assert_int_equal(p->frames.len, n);
	assert_memory_equal(p->frames.data, bytes, n);
	buf_clear(&p->frames);
}

static int take_call(Place *p, const char *bytes, size_t n)
{
	char in[64];
	turn(p);
	int fd = accept4(p->agent, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(recv(fd, in, sizeof(in), 0), n);
	assert_memory_equal(in, bytes, n);
	return fd;
}

static void questions_and_answers(void **state)
{
	Place *p = *state;
	AUTO_FREE char *option = xasprintf("default=%s/agent", p->dir);
	assert_int_equal(build_agents_add(&p->agents, option, NULL), 0);
	assert_int_equal(build_agents_start(&p->agents, NULL), 0);
	ask(p, "\0\0\1\2default\0\13", 13);
	ask(p, "\0\0\1\3default\0\15abc", 16);
	assert_int_equal(p->frames.len, 0);
	AUTO_CLOSE int list = take_call(p, "\0\0\0\1\13", 5);
	AUTO_CLOSE int sign = take_call(p, "\0\0\0\4\15abc", 8);
	assert_int_equal(send(sign, "\0\0\0\2\16", 5, 0), 5); /* a part of it */
	assert_int_equal(send(list, "\0\0\0\1\14more", 9, 0), 9);
	turn(p);
	expect_frames(p, "A\0\0\0\0\0\0\5\0\0\1\2\14", 13);
	assert_int_equal(send(sign, "x", 1, 0), 1);
	turn(p);
	expect_frames(p, "A\0\0\0\0\0\0\6\0\0\1\3\16x", 14);
	assert_int_equal(p->agents.n_calls, 0);
}

#define REFUSED(number) "A\0\0\0\0\0\0\5\0\0\0" number "\5"

static void what_is_not_passed_on(void **state)
{
	Place *p = *state;
	AUTO_FREE char *option = xasprintf("default=%s/agent", p->dir);
	assert_int_equal(build_agents_add(&p->agents, option, NULL), 0);
	/* Every kind of message but those two. */
	for (int type = 0; type < 256; type++) {
		char frame[] = "\0\0\0\1default\0?rest";
		frame[12] = (char) type;
		if (type == 11 || type == 13)
			continue;
		ask(p, frame, sizeof(frame) - 1);
		expect_frames(p, REFUSED("\1"), 13);
	}
	ask(p, "\0\0\0\2other\0\13", 11); /* no such agent */
	expect_frames(p, REFUSED("\2"), 13);
	assert_true(accept4(p->agent, NULL, NULL, SOCK_CLOEXEC) < 0);
}

static void an_agent_that_fails(void **state)
{
	Place *p = *state;
	AUTO_FREE char *option = xasprintf("default=%s/agent", p->dir);
	assert_int_equal(build_agents_add(&p->agents, option, NULL), 0);
	ask(p, "\0\0\0\1default\0\13", 13);
	(void) close(take_call(p, "\0\0\0\1\13", 5));
	turn(p);
	expect_frames(p, REFUSED("\1"), 13);
	static const char *const lengths[] = { "\0\0\0\0", "\0\4\0\1", "\377\377\377\377" };
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		ask(p, "\0\0\0\1default\0\13", 13);
		AUTO_CLOSE int fd = take_call(p, "\0\0\0\1\13", 5);
		assert_int_equal(send(fd, lengths[i], 4, 0), 4);
		turn(p);
		expect_frames(p, REFUSED("\1"), 13);
	}
	(void) unlink("agent");
	ask(p, "\0\0\0\1default\0\13", 13);
	expect_frames(p, REFUSED("\1"), 13);
}

static void a_daemon_that_lies(void **state)
{
	Place *p = *state;
	AUTO_FREE char *option = xasprintf("default=%s/agent", p->dir);
	assert_int_equal(build_agents_add(&p->agents, option, NULL), 0);
	assert_true(build_agents_ask(&p->agents, "", 0, &p->frames, NULL) < 0);
	assert_true(build_agents_ask(&p->agents, "\0\0\0\1", 4, &p->frames, NULL) < 0);
	assert_true(build_agents_ask(&p->agents, "\0\0\0\1default", 11, &p->frames, NULL) < 0);
	assert_true(build_agents_ask(&p->agents, "\0\0\0\1default\0", 12, &p->frames, NULL) < 0);
	AUTO_FREE char *large = xcalloc(1, LIMIT_AGENT_MESSAGE + 14);
	(void) memcpy(large, "\0\0\0\1default\0\13", 13);
	assert_true(build_agents_ask(&p->agents, large, LIMIT_AGENT_MESSAGE + 13, &p->frames, NULL) < 0);
	/* More at once than there may be. */
	for (unsigned i = 0; i < 8; i++) /* as many as wait at the agent's door */
		ask(p, "\0\0\0\1default\0\13", 13);
	for (unsigned i = 0; i < 2 * BUILD_AGENT_CALLS_MAX; i++)
		ask(p, "\0\0\0\1default\0\13", 13);
	assert_true(p->agents.n_calls <= BUILD_AGENT_CALLS_MAX);
}

static void options(void **state)
{
	Place *p = *state;
	static const struct {
		const char *text, *wanted;
	} refused[] = {
		{ "default", "SSH_AUTH_SOCK is not set" },
		{ "default=", "SSH_AUTH_SOCK is not set" },
		{ "=agent", "needs an id" },
		{ "k=missing", "missing" },
		{ "k=.", "is a directory" },
		{ "k=agent,key", "one agent's socket, or keys" },
		{ "k=key,agent", "one agent's socket, or keys" },
		{ "k=agent,agent", "one agent's socket, or keys" },
	};
	assert_int_equal(file_write(AT_FDCWD, "key", "x", 1, 0600), 0);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		AUTO_ERR err = ERR_INIT;
		assert_true(build_agents_add(&p->agents, refused[i].text, &err) < 0);
		if (!strstr(err_text(&err), refused[i].wanted))
			fail_msg("%s: %s", refused[i].text, err_text(&err));
	}
	assert_int_equal(p->agents.n, 0);
	assert_int_equal(build_agents_add(&p->agents, "k=key,key", NULL), 0);
	assert_int_equal(strv_len(p->agents.list[0].keys), 2);
	(void) setenv("SSH_AUTH_SOCK", "agent", 1);
	assert_int_equal(build_agents_add(&p->agents, "default", NULL), 0);
	assert_int_equal(build_agents_add(&p->agents, "k", NULL), 0); /* instead of the first */
	assert_int_equal(p->agents.n, 2);
	assert_null(p->agents.list[0].keys);
	assert_string_equal(p->agents.list[0].socket, "agent");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(questions_and_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_not_passed_on, setup, teardown),
		cmocka_unit_test_setup_teardown(an_agent_that_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(a_daemon_that_lies, setup, teardown),
		cmocka_unit_test_setup_teardown(options, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
