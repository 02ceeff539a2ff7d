// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "io/frames.h"

static void note(void *user, FrameStream stream, const char *p, size_t n)
{
	buf_printf(user, "%d:%.*s ", (int) stream, (int) n, p);
}

static void add(Buf *b, FrameStream stream, const char *s)
{
	uint8_t h[FRAME_HEADER];
	frame_header(stream, strlen(s), h);
	buf_append(b, h, sizeof(h));
	buf_str(b, s);
}

static void whole(void **state)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_BUF seen = BUF_INIT;
	FrameDecoder d = { 0 };
	add(&b, FRAME_STDOUT, "hello");
	add(&b, FRAME_STDOUT, "");
	add(&b, FRAME_STDERR, "oh");
	assert_memory_equal(b.data, "\1\0\0\0\0\0\0\5hello", 13);
	assert_int_equal(frame_feed(&d, b.data, b.len, note, &seen), 0);
	assert_string_equal(buf_cstr(&seen), "1:hello 2:oh ");
	assert_true(frame_at_boundary(&d));
}

static void in_pieces(void **state)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_BUF seen = BUF_INIT;
	FrameDecoder d = { 0 };
	add(&b, FRAME_STDERR, "ab");
	add(&b, FRAME_STDIN, "c");
	for (size_t i = 0; i < b.len; i++) {
		assert_int_equal(frame_at_boundary(&d), i == 0 || i == 10);
		assert_int_equal(frame_feed(&d, b.data + i, 1, note, &seen), 0);
	}
	assert_string_equal(buf_cstr(&seen), "2:a 2:b 0:c ");
}

static void length_is_big_endian(void **state)
{
	uint8_t h[FRAME_HEADER];
	frame_header(FRAME_STDOUT, 0x01020304, h);
	assert_memory_equal(h, "\1\0\0\0\1\2\3\4", 8);
}

static void whole_ones(void **state)
{
	AUTO_BUF b = BUF_INIT;
	add(&b, 'D', "ab");
	add(&b, 'J', "");
	add(&b, 'D', "cde");
	for (size_t n = 0; n <= b.len; n++)
		assert_int_equal(frames_whole(b.data, n, 3), n < 10 ? 0 : n < 18 ? 10 : n < 29 ? 18 : 29);
	/* What is too long is not waited for. */
	assert_int_equal(frames_whole(b.data, 28, 2), 28);
	assert_int_equal(frames_whole("HTTP/1.1", 8, 3), 8);
}

static void refuses(void **state)
{
	static const char *const bad[] = { "\4\0\0\0\0\0\0\1", "\1\1\0\0\0\0\0\1", "\1\0\0\0\1\0\0\1", "HTTP/1.1" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		FrameDecoder d = { 0 };
		AUTO_BUF seen = BUF_INIT;
		assert_int_equal(frame_feed(&d, bad[i], 8, note, &seen), -EPROTO);
		assert_int_equal(seen.len, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),
		cmocka_unit_test(in_pieces),
		cmocka_unit_test(length_is_big_endian),
		cmocka_unit_test(whole_ones),
		cmocka_unit_test(refuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
