// SPDX-License-Identifier: Apache-2.0
/*
 * Two ends over a pair of socket pairs, each turned by hand: what goes into a channel's socket on one side must come out on the
 * other. For what a peer should not do, its bytes are written by the test itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/mux.h"

typedef struct Ends {
	Mux *client, *server;
	int link[2];      /* a socket pair: both directions */
	int accepted[8];  /* the other end of what the server's channels lead to */
	size_t n_accepted;
	bool refuse;
	char *refused;    /* what the client was told, and for which channel */
	uint32_t refused_channel;
} Ends;

static void make_pair(int p[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
}

static int on_greeted(void *user, const json_t *greeting, Err *err)
{
	return json_object_get(greeting, "bad") ? err_set(err, -ENOTSUP, "another version") : 0;
}

static int on_accept(void *user, int *ret_fd, Err *err)
{
	Ends *e = user;
	int p[2];
	if (e->refuse)
		return err_set(err, -EACCES, "no permission");
	make_pair(p);
	*ret_fd = p[0];
	e->accepted[e->n_accepted++] = p[1];
	return 0;
}

static void on_refused(void *user, uint32_t channel, const char *text)
{
	Ends *e = user;
	str_set(&e->refused, text);
	e->refused_channel = channel;
}

static Mux *make_end(Ends *e, bool client, int fd, int tick_ms)
{
	const MuxOptions o = { .in = fd, .out = fd, .client = client, .tick_ms = tick_ms, .ticks = 3, .greeted = on_greeted, .accept = on_accept,
		.refused = on_refused, .user = e };
	Mux *m = NULL;
	json_t *greeting = json_object();
	assert_int_equal(mux_new(&o, greeting, &m, NULL), 0);
	json_decref(greeting);
	return m;
}

static Ends *ends_new(void)
{
	Ends *e = xcalloc(1, sizeof(*e));
	make_pair(e->link);
	e->client = make_end(e, true, e->link[0], 0);
	e->server = make_end(e, false, e->link[1], 0);
	return e;
}

static void ends_free(Ends *e)
{
	mux_free(e->client);
	mux_free(e->server);
	for (size_t i = 0; i < e->n_accepted; i++)
		(void) close(e->accepted[i]);
	(void) close(e->link[0]);
	(void) close(e->link[1]);
	free(e->refused);
	free(e);
}

static bool ready(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	return poll(&p, 1, 0) > 0;
}

/* A turn of one end that does not wait: its extra descriptor is always ready. */
static int turn(Mux *m)
{
	int p[2];
	make_pair(p);
	assert_int_equal(write(p[1], "x", 1), 1);
	struct pollfd extra = { .fd = p[0] };
	AUTO_ERR err = ERR_INIT;
	int r = mux_turn(m, &extra, 1, &err);
	assert_true(extra.revents & POLLIN || r <= 0);
	(void) close(p[0]);
	(void) close(p[1]);
	return r;
}

static void settle(Ends *e)
{
	for (int i = 0; i < 12; i++) {
		assert_true(turn(e->client) > 0);
		assert_true(turn(e->server) > 0);
	}
}

static int open_channel(Ends *e)
{
	int p[2];
	make_pair(p);
	assert_int_not_equal(mux_open(e->client, p[0]), 0);
	return p[1];
}

static void say(int fd, const char *s)
{
	assert_int_equal(fd_write_all(fd, s, strlen(s)), 0);
}

static void hears(int fd, const char *wanted)
{
	char got[100] = "";
	ssize_t n = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);
	assert_int_equal(n, strlen(wanted));
	assert_string_equal(got, wanted);
}

static void both_ways(void **state)
{
	Ends *e = ends_new();
	int a = open_channel(e), b = open_channel(e);
	/* Before anything has been answered: it travels with the greeting. */
	say(a, "one");
	say(b, "two");
	assert_false(mux_greeted(e->client));
	settle(e);
	assert_true(mux_greeted(e->client));
	assert_int_equal(e->n_accepted, 2);
	hears(e->accepted[0], "one");
	hears(e->accepted[1], "two");
	say(e->accepted[1], "back");
	settle(e);
	hears(b, "back");
	assert_false(ready(a));
	(void) close(a);
	(void) close(b);
	ends_free(e);
}

static void half_close(void **state)
{
	Ends *e = ends_new();
	int a = open_channel(e);
	say(a, "request");
	(void) shutdown(a, SHUT_WR);
	settle(e);
	hears(e->accepted[0], "request");
	assert_true(ready(e->accepted[0]));
	hears(e->accepted[0], ""); /* the end */
	say(e->accepted[0], "answer");
	settle(e);
	hears(a, "answer");
	assert_false(ready(a));
	(void) shutdown(e->accepted[0], SHUT_WR);
	settle(e);
	assert_true(ready(a));
	hears(a, "");
	(void) close(a);
	ends_free(e);
}

/* A close is seen as one: writing to it fails, where a half-close would take it. */
static void close_is_no_half_close(void **state)
{
	Ends *e = ends_new();
	int a = open_channel(e), b = open_channel(e);
	say(a, "x");
	settle(e);
	hears(e->accepted[0], "x");
	(void) close(a);
	settle(e);
	struct pollfd p = { .fd = e->accepted[0], .events = POLLIN };
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_true(p.revents & POLLHUP);
	/* The other direction: what was said before comes first. */
	say(e->accepted[1], "last words");
	(void) close(e->accepted[1]);
	e->accepted[1] = -1;
	settle(e);
	hears(b, "last words");
	p = (struct pollfd) { .fd = b, .events = POLLIN };
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_true(p.revents & POLLHUP);
	(void) close(b);
	ends_free(e);
}

/* Closed after a half-close of either side, while nothing moves. */
static void close_after_half_close(void **state)
{
	Ends *e = ends_new();
	int a = open_channel(e);
	(void) shutdown(a, SHUT_WR);
	settle(e);
	(void) close(a);
	settle(e);
	struct pollfd p = { .fd = e->accepted[0], .events = POLLIN };
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_true(p.revents & POLLHUP);
	ends_free(e);
}

static size_t fill(int fd)
{
	static const char piece[16384];
	size_t total = 0;
	for (ssize_t n; (n = send(fd, piece, sizeof(piece), MSG_DONTWAIT | MSG_NOSIGNAL)) > 0;)
		total += (size_t) n;
	return total;
}

static size_t drain(int fd)
{
	char piece[16384];
	size_t total = 0;
	for (ssize_t n; (n = recv(fd, piece, sizeof(piece), MSG_DONTWAIT)) > 0;)
		total += (size_t) n;
	return total;
}

/* A reader that pauses stops its writer at about a window, and nobody else. */
static void window(void **state)
{
	Ends *e = ends_new();
	int a = open_channel(e), b = open_channel(e);
	settle(e);
	size_t sent = 0;
	for (int i = 0; i < 200; i++) {
		sent += fill(a);
		assert_true(turn(e->client) > 0);
		assert_true(turn(e->server) > 0);
	}
	assert_true(sent >= MUX_WINDOW);
	assert_true(sent < 4U * MUX_WINDOW);
	assert_int_equal(fill(a), 0);
	say(b, "me, too");
	settle(e);
	hears(e->accepted[1], "me, too");
	size_t got = 0;
	for (int i = 0; i < 400 && got < sent; i++) {
		got += drain(e->accepted[0]);
		settle(e);
	}
	assert_int_equal(got, sent);
	/* The window is open again. */
	say(a, "more");
	settle(e);
	hears(e->accepted[0], "more");
	(void) close(a);
	(void) close(b);
	ends_free(e);
}

static void refused(void **state)
{
	Ends *e = ends_new();
	e->refuse = true;
	int a = open_channel(e), b = open_channel(e);
	say(a, "request");
	settle(e);
	assert_string_equal(e->refused, "no permission");
	assert_int_equal(e->refused_channel, 2);
	assert_true(ready(a));
	(void) close(a);
	(void) close(b);
	ends_free(e);
}

static void too_many(void **state)
{
	Ends *e = ends_new();
	e->refuse = true;
	int open[MUX_CHANNELS_MAX], p[2];
	for (size_t i = 0; i < ARRAY_SIZE(open); i++)
		open[i] = open_channel(e);
	make_pair(p);
	assert_int_equal(mux_open(e->client, p[0]), 0);
	assert_true(ready(p[1]));
	(void) close(p[1]);
	settle(e);
	make_pair(p);
	assert_int_equal(mux_open(e->client, p[0]), MUX_CHANNELS_MAX + 2);
	(void) close(p[1]);
	for (size_t i = 0; i < ARRAY_SIZE(open); i++)
		(void) close(open[i]);
	settle(e);
	ends_free(e);
}

static void end_of_the_link(void **state)
{
	Ends *e = ends_new();
	int a = open_channel(e);
	settle(e);
	mux_free(e->server);
	e->server = NULL;
	(void) shutdown(e->link[1], SHUT_RDWR);
	assert_int_equal(turn(e->client), 0);
	mux_free(e->client);
	e->client = NULL;
	assert_true(ready(a));
	hears(a, "");
	(void) close(a);
	ends_free(e);
}

#define GREETING "H\0\0\0\0\0\0\x02{}"
static void wrong_bytes(void **state)
{
	static const struct {
		bool client;
		const char *bytes;
		size_t n;
		const char *says;
	} cases[] = {
		{ true, "Hello, this is a shell\nmore\n", 28, "begins with \"Hello, this is a shell\"" },
		{ true, "\n\nWelcome\n", 10, "begins with \"Welcome\"" },
		{ true, "H", 1, NULL },
		{ true, "H\0\0\0\0\0\0\x02[]", 10, "not a JSON object" },
		{ true, "H\0\0\0\0\0\0\x02{x", 10, "not a JSON object" },
		{ true, "H\0\0\0\0\xff\0\0", 8, "not stead's" },
		{ true, "H\0\0\0\0\0\0\x09{\"bad\":1}", 17, "another version" },
		{ true, GREETING "D\0\0\x01\0\0\0\x01x", 19, "nobody has opened" },
		{ true, GREETING "O\0\0\x01\0\0\0\0", 18, "nobody has opened" },
		{ true, GREETING "Z\0\0\0\0\0\0\0", 18, "unknown kind" },
		{ true, GREETING "P\0\0\0\0\0\0\x01x", 19, "unknown kind" },
		{ true, GREETING "D\0\0\0\0\x01\0\x01", 18, "too long" },
		{ false, GREETING "O\0\0\x01\0\0\0\0O\0\0\x01\0\0\0\0", 26, "may not open" },
		{ false, GREETING "O\0\0\x01\0\0\0\0W\0\0\x01\0\0\0\x04\0\0\0\x01", 30, "too large" },
		{ false, GREETING "O\0\0\x01\0\0\0\0W\0\0\x01\0\0\0\x01\0", 27, "no size" },
		{ false, GREETING "O\0\0\x01\0\0\0\0E\0\0\x01\0\0\0\0D\0\0\x01\0\0\0\x01x", 35, "after their end" },
		{ false, GREETING "D\0\0\x07\0\0\0\x01x", 19, NULL }, /* for one that has gone */
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		Ends *e = ends_new();
		AUTO_ERR err = ERR_INIT;
		int r = mux_feed(cases[i].client ? e->client : e->server, cases[i].bytes, cases[i].n, &err);
		if (cases[i].says && (r >= 0 || !strstr(err_text(&err), cases[i].says)))
			fail_msg("case %zu: %d %s", i, r, err_text(&err));
		if (!cases[i].says)
			assert_int_equal(r, 0);
		ends_free(e);
	}
}

static void more_than_the_window(void **state)
{
	Ends *e = ends_new();
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF b = BUF_INIT;
	buf_append(&b, GREETING "O\0\0\x01\0\0\0\0", 18);
	assert_int_equal(mux_feed(e->server, b.data, b.len, NULL), 0);
	buf_clear(&b);
	buf_append(&b, "D\0\0\x01\0\x01\0\0", 8);
	(void) buf_reserve(&b, MUX_PAYLOAD_MAX);
	buf_added(&b, MUX_PAYLOAD_MAX);
	int r = 0;
	unsigned n = 0;
	for (; r == 0 && n < 100; n++)
		r = mux_feed(e->server, b.data, b.len, &err);
	assert_int_equal(r, -EPROTO);
	assert_non_null(strstr(err_text(&err), "more than it may"));
	/* What the socket has taken is granted anew, so somewhat more than a window fits. */
	assert_true(n > MUX_WINDOW / MUX_PAYLOAD_MAX && n < 2 * MUX_WINDOW / MUX_PAYLOAD_MAX);
	ends_free(e);
}

/* A peer that says nothing is asked, then given up; one that answers is not. */
static void silence(void **state)
{
	Ends *e = xcalloc(1, sizeof(*e));
	AUTO_ERR err = ERR_INIT;
	make_pair(e->link);
	e->client = make_end(e, true, e->link[0], 1);
	e->server = make_end(e, false, e->link[1], 0);
	while (!mux_greeted(e->client)) {
		assert_true(turn(e->server) > 0);
		assert_true(turn(e->client) > 0);
	}
	int r, n = 0;
	while ((r = mux_turn(e->client, NULL, 0, &err)) > 0)
		assert_true(n++ < 1000);
	assert_int_equal(r, -ETIMEDOUT);
	assert_non_null(strstr(err_text(&err), "has not answered"));
	/* It has asked before. */
	char got[256];
	ssize_t len = recv(e->link[1], got, sizeof(got), MSG_DONTWAIT);
	assert_true(len >= 8);
	assert_memory_equal(got + len - 8, "P\0\0\0\0\0\0\0", 8);
	ends_free(e);
}

static void answers_to_questions(void **state)
{
	Ends *e = ends_new();
	char got[64];
	settle(e);
	assert_int_equal(mux_feed(e->server, "P\0\0\0\0\0\0\0", 8, NULL), 0);
	assert_true(turn(e->server) > 0);
	assert_int_equal(recv(e->link[0], got, sizeof(got), MSG_DONTWAIT), 8);
	assert_int_equal(got[0], 'Q');
	ends_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ways),
		cmocka_unit_test(half_close),
		cmocka_unit_test(close_is_no_half_close),
		cmocka_unit_test(close_after_half_close),
		cmocka_unit_test(window),
		cmocka_unit_test(refused),
		cmocka_unit_test(too_many),
		cmocka_unit_test(end_of_the_link),
		cmocka_unit_test(wrong_bytes),
		cmocka_unit_test(more_than_the_window),
		cmocka_unit_test(silence),
		cmocka_unit_test(answers_to_questions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
