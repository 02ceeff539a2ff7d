// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/ship-peer.h"
#include "image/ship-protocol.h"

typedef struct Case {
	const char *bytes;
	size_t n;
	const char *text;
} Case;

/* The other side says this, and stays. */
static void pair_up(ShipPeer *p, int *ret_far, const char *bytes, size_t n)
{
	int fds[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(fd_write_all(fds[1], bytes, n), 0);
	*p = (ShipPeer) { .in = fds[0], .out = fds[0], .name = "sender" };
	*ret_far = fds[1];
}

static void part(ShipPeer *p, int far)
{
	(void) close(p->in);
	(void) close(far);
	ship_peer_done(p);
}

/* A length with a flipped bit is refused by what may come, not waited for. */
static void lengths_are_bounded(void **state)
{
	static const Case cases[] = {
		{ "S\0\0\0\0\0\0\x0c", 8, "no position" },
		{ "D\0\0\0\0\1\0\1", 8, "a frame of 65537 bytes" },
		{ "J\0\0\0\0\x08\0\1", 8, "a frame of 524289 bytes" },
		{ "I\0\0\0\0\0\0\1", 8, "other data than it announced" },
		{ "B\0\0\0\0\0\0\1", 8, "other data than it announced" },
		{ "X\0\0\0\0\0\0\1", 8, "an unknown kind" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_ERR err = ERR_INIT;
		ShipPeer p;
		uint8_t type;
		int far;
		pair_up(&p, &far, cases[i].bytes, cases[i].n);
		assert_int_equal(ship_peer_receive(&p, &type, &err), -EPROTO);
		if (!strstr(err_text(&err), cases[i].text))
			fail_msg("%zu: %s", i, err_text(&err));
		part(&p, far);
	}
}

static void data_as_announced(void **state)
{
	static const char bytes[] = "I\0\0\0\0\0\0\3abcI\0\0\0\0\0\0\2de";
	static const char longer[] = "I\0\0\0\0\0\0\3abcI\0\0\0\0\0\0\3";
	AUTO_BUF got = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	ShipPeer p;
	int far;
	pair_up(&p, &far, bytes, sizeof(bytes) - 1);
	assert_int_equal(ship_peer_receive_data(&p, SHIP_INDEX, 5, &got, &err), 0);
	assert_string_equal(buf_cstr(&got), "abcde");
	part(&p, far);
	pair_up(&p, &far, longer, sizeof(longer) - 1);
	assert_int_equal(ship_peer_receive_data(&p, SHIP_INDEX, 5, &got, &err), -EPROTO);
	assert_non_null(strstr(err_text(&err), "other data than it announced"));
	part(&p, far);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lengths_are_bounded),
		cmocka_unit_test(data_as_announced),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
