// SPDX-License-Identifier: Apache-2.0
/* The two ends are threads with sockets of their own, or nobody at all. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/ship-relay.h"

typedef struct Seen {
	Buf controls;
	size_t data;
	uint64_t position;
} Seen;

static void on_control(void *user, bool from_sender, const json_t *value)
{
	Seen *s = user;
	AUTO_FREE char *text = json_dumps(value, JSON_COMPACT);
	buf_printf(&s->controls, "%c%s ", from_sender ? '>' : '<', text);
}

static void on_data(void *user, size_t n)
{
	Seen *s = user;
	s->data += n;
}

static void on_position(void *user, uint64_t tar)
{
	((Seen *) user)->position = tar;
}

static void put(Buf *b, char type, const void *p, size_t n)
{
	uint8_t h[FRAME_HEADER];
	frame_header((uint8_t) type, n, h);
	buf_append(b, h, sizeof(h));
	buf_append(b, p, n);
}

static void put_text(Buf *b, char type, const char *text)
{
	put(b, type, text, strlen(text));
}

static void frames_go_on_but_the_last_word(void **state)
{
	Relay r;
	Seen seen = { .data = 0 };
	AUTO_BUF in = BUF_INIT, wanted = BUF_INIT;
	relay_init(&r);
	r.control = on_control;
	r.data = on_data;
	r.position = on_position;
	r.user = &seen;
	put_text(&in, 'J', "{\"ship\":1}");
	put(&in, 'D', "0123456789", 10);
	put(&in, 'D', "", 0);
	put(&in, 'S', "\0\0\0\0\0\x01\x02\0", 8);
	put(&in, 'Q', "of a later version", 18);
	buf_append(&wanted, in.data, in.len);
	put_text(&in, 'E', "{\"result\":\"done\"}");
	/* In pieces of every size: no border of a read may matter. */
	for (size_t step = 1; step < in.len; step++) {
		seen.data = seen.position = 0;
		buf_clear(&seen.controls);
		buf_clear(&r.there.out);
		r.there.bytes = 0;
		for (size_t at = 0; at < in.len; at += step)
			assert_int_equal(relay_feed(&r, &r.there, in.data + at, in.len - at < step ? in.len - at : step, NULL), 0);
		assert_int_equal(r.there.out.len, wanted.len);
		assert_memory_equal(r.there.out.data, wanted.data, wanted.len);
		assert_int_equal(r.there.bytes, wanted.len);
		assert_int_equal(seen.data, 10);
		assert_int_equal(seen.position, 0x10200);
		assert_string_equal(buf_cstr(&seen.controls), ">{\"ship\":1} ");
		assert_string_equal(json_text(r.sender.last, "result"), "done");
		json_decref(r.sender.last);
		r.sender.last = NULL;
	}
	buf_done(&seen.controls);
	relay_done(&r);
}

static void nonsense_is_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} cases[] = {
		{ "HTTP/1.1 400 Bad Request\r\n", 26 }, { "SSH-2.0-OpenSSH_9.2\r\n", 21 }, { "D\0\0\0\0\x10\0\x01x", 9 }, /* one byte above 1 MiB */
		{ "J\0\0\0\0\0\0\x02[]", 10 }, { "J\0\0\0\0\0\0\x03{,}", 11 }, { "E\0\0\0\0\0\0\0", 8 }, { "d\0\0\0\0\0\0\0", 8 }, { "D\0\0\x01\0\0\0\0", 8 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		Relay r;
		AUTO_ERR err = ERR_INIT;
		relay_init(&r);
		assert_int_equal(relay_feed(&r, &r.back, cases[i].bytes, cases[i].n, &err), -EPROTO);
		assert_non_null(strstr(err_text(&err), "receiver"));
		relay_done(&r);
	}
}

/* ── both ends ────────────────────────────────────────────────────── */

typedef struct Peer {
	int fd;
	Buf send;
	size_t receive; /* bytes to wait for before `send`; SIZE_MAX: all, to the end */
	bool first;     /* `send` comes before */
	size_t received;
	pthread_t thread;
} Peer;

static void *peer_run(void *user)
{
	Peer *p = user;
	AUTO_FREE char *piece = xmalloc(65536);
	if (p->first)
		(void) fd_write_all(p->fd, p->send.data, p->send.len);
	ssize_t n;
	while (p->received < p->receive && (n = read(p->fd, piece, 65536)) > 0)
		p->received += (size_t) n;
	if (!p->first)
		(void) fd_write_all(p->fd, p->send.data, p->send.len);
	(void) close(p->fd);
	return NULL;
}

static void peer_start(Peer *p, ShipEnd *e)
{
	int fds[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	p->fd = fds[1];
	ship_end_open(e, fds[0], fds[0]);
	assert_int_equal(pthread_create(&p->thread, NULL, peer_run, p), 0);
}

static int run_relay(Relay *r, Peer *sender, Peer *receiver, Err *err)
{
	relay_init(r);
	peer_start(sender, &r->sender);
	peer_start(receiver, &r->receiver);
	int e = relay_run(r, err);
	return e;
}

static void stop(Relay *r, Peer *sender, Peer *receiver)
{
	relay_done(r);
	(void) pthread_join(sender->thread, NULL);
	(void) pthread_join(receiver->thread, NULL);
	buf_done(&sender->send);
	buf_done(&receiver->send);
}

static void megabytes_go_through(void **state)
{
	Relay r;
	AUTO_ERR err = ERR_INIT;
	Peer sender = { .first = true, .receive = 0 }, receiver = { .receive = SIZE_MAX };
	AUTO_FREE char *data = xcalloc(1, 65536);
	for (int i = 0; i < 100; i++)
		put(&sender.send, 'D', data, 65536);
	put_text(&sender.send, 'E', "{\"result\":\"done\"}");
	put_text(&receiver.send, 'E', "{\"result\":\"done\",\"images\":[]}");
	assert_int_equal(run_relay(&r, &sender, &receiver, &err), 0);
	assert_string_equal(json_text(r.receiver.last, "result"), "done");
	assert_int_equal(r.there.bytes, 100 * (65536 + FRAME_HEADER));
	stop(&r, &sender, &receiver);
	assert_int_equal(receiver.received, 100 * (65536 + FRAME_HEADER));
}

static void a_receiver_that_refuses_ends_it(void **state)
{
	Relay r;
	Peer sender = { .first = true, .receive = SIZE_MAX }, receiver = { .receive = 1 };
	AUTO_FREE char *data = xcalloc(1, 65536);
	for (int i = 0; i < 100; i++)
		put(&sender.send, 'D', data, 65536);
	put_text(&receiver.send, 'E', "{\"error\":\"no space\",\"code\":-28}");
	assert_int_equal(run_relay(&r, &sender, &receiver, NULL), 0);
	assert_string_equal(json_text(r.receiver.last, "error"), "no space");
	stop(&r, &sender, &receiver);
}

static void a_sender_that_fails_lets_the_receiver_end(void **state)
{
	Relay r;
	Peer sender = { .first = true, .receive = 0 }, receiver = { .receive = SIZE_MAX };
	put_text(&sender.send, 'E', "{\"error\":\"no such layer\",\"code\":-5}");
	put_text(&receiver.send, 'E', "{\"error\":\"the stream ended early\",\"code\":-32}");
	assert_int_equal(run_relay(&r, &sender, &receiver, NULL), 0);
	assert_string_equal(json_text(r.sender.last, "error"), "no such layer");
	assert_string_equal(json_text(r.receiver.last, "error"), "the stream ended early");
	stop(&r, &sender, &receiver);
}

static void a_lost_receiver_leaves_the_word_of_the_sender(void **state)
{
	Relay r;
	Peer sender = { .receive = SIZE_MAX }, receiver = { .receive = 0 };
	put_text(&sender.send, 'E', "{\"error\":\"the other end is gone\",\"code\":-32}");
	assert_int_equal(run_relay(&r, &sender, &receiver, NULL), 0);
	assert_null(r.receiver.last);
	assert_string_equal(json_text(r.sender.last, "error"), "the other end is gone");
	stop(&r, &sender, &receiver);
}

static void a_peer_that_is_none_ends_it(void **state)
{
	Relay r;
	AUTO_ERR err = ERR_INIT;
	Peer sender = { .receive = SIZE_MAX }, receiver = { .first = true, .receive = SIZE_MAX };
	buf_str(&receiver.send, "bash: line 1: stead: command not found\n");
	assert_int_equal(run_relay(&r, &sender, &receiver, &err), -EPROTO);
	stop(&r, &sender, &receiver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_go_on_but_the_last_word),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(megabytes_go_through),
		cmocka_unit_test(a_receiver_that_refuses_ends_it),
		cmocka_unit_test(a_sender_that_fails_lets_the_receiver_end),
		cmocka_unit_test(a_lost_receiver_leaves_the_word_of_the_sender),
		cmocka_unit_test(a_peer_that_is_none_ends_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
