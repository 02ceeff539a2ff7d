// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/mem.h"
#include "image/packed-testing.h"
#include "image/stream.h"

#define NO_LIMIT (1ULL << 40)

static const struct {
	const char *name;
	void (*pack)(const Buf *in, Buf *out);
	size_t magic_len;
} formats[] = {
	{ "gzip", pack_gzip, 2 },
	{ "zstd", pack_zstd, 4 },
	{ "xz", pack_xz, 6 },
	{ "bzip2", pack_bzip2, 3 },
};

/* A connection that gives a few bytes at a time. */
typedef struct Trickle {
	Stream s;
	Stream *inner;
	size_t at_once;
} Trickle;

static ssize_t trickle_read(Stream *s, void *p, size_t n, Err *err)
{
	Trickle *t = (Trickle *) s;
	return stream_read(t->inner, p, n < t->at_once ? n : t->at_once, err);
}

static void trickle_free(Stream *s)
{
	stream_free(((Trickle *) s)->inner);
	free(s);
}

static Stream *trickle(const void *p, size_t n, size_t at_once)
{
	Trickle *t = xcalloc(1, sizeof(*t));
	*t = (Trickle) { { .read = trickle_read, .free = trickle_free }, stream_memory(p, n), at_once };
	return &t->s;
}

/* Reads all in pieces of `piece`. 0, or the error. */
static int unpack_in(const void *p, size_t n, size_t at_once, size_t piece, Buf *ret, bool *ret_packed, Err *err)
{
	AUTO_STREAM s = NULL;
	ssize_t k;
	int r = stream_unpack(trickle(p, n, at_once), NO_LIMIT, &s, ret_packed, err);
	if (r < 0)
		return r;
	while ((k = stream_read(s, buf_reserve(ret, piece), piece, err)) > 0)
		buf_added(ret, (size_t) k);
	if (k == 0) /* the end stays the end */
		assert_int_equal(stream_read(s, buf_reserve(ret, piece), piece, err), 0);
	return (int) k;
}

static int unpack(const Buf *packed, Buf *ret, Err *err)
{
	bool is_packed;
	return unpack_in(packed->data, packed->len, SIZE_MAX, 100000, ret, &is_packed, err);
}

static void expect(const char *what, const Buf *packed, const Buf *want)
{
	AUTO_BUF got = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	if (unpack(packed, &got, &err) < 0)
		fail_msg("%s: %s", what, err_text(&err));
	if (got.len != want->len || memcmp(buf_cstr(&got), buf_cstr(want), got.len) != 0)
		fail_msg("%s: %zu bytes that differ from the %zu expected", what, got.len, want->len);
}

static void expect_error(const char *what, const Buf *packed, int code, const char *word)
{
	AUTO_BUF got = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	int r = unpack(packed, &got, &err);
	if (r != code || !strstr(err_text(&err), word))
		fail_msg("%s: expected %d with '%s', got %d: %s", what, code, word, r, err_text(&err));
}

/* Text that compresses to a good half, the same each time. */
static void fill(Buf *b, size_t n)
{
	uint32_t x = 1;
	for (size_t i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		buf_char(b, (char) ('a' + (x >> 28)));
	}
}

static void pieces_of_all_sizes(void **unused)
{
	static const size_t sizes[] = { 0, 1, 511, 65536, 300001 }, at_once[] = { 1, 4097, SIZE_MAX }, pieces[] = { 1, 512, 65536, 200000 };
	for (size_t f = 0; f < ARRAY_SIZE(formats); f++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			AUTO_BUF in = BUF_INIT;
			AUTO_BUF packed = BUF_INIT;
			fill(&in, sizes[i]);
			formats[f].pack(&in, &packed);
			for (size_t k = 0; k < ARRAY_SIZE(at_once) * ARRAY_SIZE(pieces); k++) {
				AUTO_BUF got = BUF_INIT;
				AUTO_ERR err = ERR_INIT;
				bool is_packed = false;
				int r = unpack_in(packed.data, packed.len, at_once[k % 3], pieces[k / 3], &got, &is_packed, &err);
				if (r < 0 || !is_packed || got.len != in.len || memcmp(buf_cstr(&got), buf_cstr(&in), in.len) != 0)
					fail_msg("%s of %zu bytes: %d, %zu bytes: %s", formats[f].name, in.len, r, got.len, err_text(&err));
			}
		}
}

static void as_it_is(void **unused)
{
	static const char *const texts[] = { "", "a", "BZ", "BZx", "\x1f", "P*M", "\xfd" "7zX", "usr/bin" };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		AUTO_BUF got = BUF_INIT;
		AUTO_ERR err = ERR_INIT;
		bool is_packed = true;
		assert_int_equal(unpack_in(texts[i], strlen(texts[i]), 1, 3, &got, &is_packed, &err), 0);
		assert_false(is_packed);
		assert_string_equal(buf_cstr(&got), texts[i]);
	}
}

static void members(void **unused)
{
	for (size_t f = 0; f < ARRAY_SIZE(formats); f++) {
		AUTO_BUF a = BUF_INIT;
		AUTO_BUF empty = BUF_INIT;
		AUTO_BUF packed = BUF_INIT;
		AUTO_BUF want = BUF_INIT;
		fill(&a, 100000);
		formats[f].pack(&a, &packed);
		formats[f].pack(&empty, &packed);
		formats[f].pack(&a, &packed);
		buf_append(&want, a.data, a.len);
		buf_append(&want, a.data, a.len);
		expect(formats[f].name, &packed, &want);
		/* Tapes are padded. */
		for (int i = 0; i < 70000; i++)
			buf_char(&packed, '\0');
		expect(formats[f].name, &packed, &want);
		formats[f].pack(&a, &packed);
		buf_append(&want, a.data, a.len);
		expect(formats[f].name, &packed, &want);
	}
}

static void something_behind(void **unused)
{
	for (size_t f = 0; f < ARRAY_SIZE(formats); f++) {
		AUTO_BUF a = BUF_INIT;
		AUTO_BUF packed = BUF_INIT;
		AUTO_BUF other = BUF_INIT;
		fill(&a, 1000);
		formats[f].pack(&a, &packed);
		buf_append(&other, packed.data, packed.len);
		formats[(f + 1) % ARRAY_SIZE(formats)].pack(&a, &other);
		expect_error(formats[f].name, &other, -EBADMSG, "followed by something else");
		buf_char(&packed, 'x');
		expect_error(formats[f].name, &packed, -EBADMSG, "followed by something else");
	}
}

static void every_cut(void **unused)
{
	for (size_t f = 0; f < ARRAY_SIZE(formats); f++) {
		AUTO_BUF a = BUF_INIT;
		AUTO_BUF packed = BUF_INIT;
		fill(&a, 3000);
		formats[f].pack(&a, &packed);
		for (size_t n = formats[f].magic_len; n < packed.len; n++) {
			const Buf cut = { .data = packed.data, .len = n };
			expect_error(formats[f].name, &cut, -EBADMSG, "cut off");
		}
	}
}

/* What comes out is right, or there is an error. */
static void every_flip(void **unused)
{
	for (size_t f = 0; f < ARRAY_SIZE(formats); f++) {
		AUTO_BUF a = BUF_INIT;
		AUTO_BUF packed = BUF_INIT;
		fill(&a, 700);
		formats[f].pack(&a, &packed);
		for (size_t i = formats[f].magic_len * 8; i < packed.len * 8; i++) {
			AUTO_BUF got = BUF_INIT;
			AUTO_ERR err = ERR_INIT;
			packed.data[i / 8] ^= (char) (1 << i % 8);
			if (unpack(&packed, &got, &err) >= 0 && (got.len != a.len || memcmp(got.data, a.data, a.len) != 0))
				fail_msg("%s: bit %zu flipped was not noticed", formats[f].name, i);
			packed.data[i / 8] ^= (char) (1 << i % 8);
		}
		packed.data[packed.len - 5] ^= 1;
		AUTO_BUF got = BUF_INIT;
		assert_int_equal(unpack(&packed, &got, NULL), -EBADMSG);
	}
}

static void put_skippable(Buf *b, char kind, size_t n)
{
	const char head[] = { (char) (0x50 | kind), 0x2a, 0x4d, 0x18, (char) n, (char) (n >> 8), (char) (n >> 16), 0 };
	buf_append(b, head, sizeof(head));
	for (size_t i = 0; i < n; i++)
		buf_char(b, 'x');
}

/* Tables of contents, as in layers that can be fetched in parts. */
static void zstd_skippable_frames(void **unused)
{
	AUTO_BUF a = BUF_INIT;
	AUTO_BUF want = BUF_INIT;
	AUTO_BUF packed = BUF_INIT;
	fill(&a, 5000);
	buf_append(&want, a.data, a.len);
	buf_append(&want, a.data, a.len);
	put_skippable(&packed, 0, 0);
	pack_zstd(&a, &packed);
	put_skippable(&packed, 15, 200000);
	pack_zstd(&a, &packed);
	put_skippable(&packed, 7, 9);
	expect("skippable frames", &packed, &want);
	packed.len--;
	expect_error("skippable frame", &packed, -EBADMSG, "cut off");
}

/* Behind the stream's header of 12 bytes comes the block's: its size, flags, the two sizes that they announce, the filter LZMA2 with 1 byte of properties. */
static void set_window(Buf *xz, uint8_t code)
{
	uint8_t *block = (uint8_t *) xz->data + 12;
	size_t at = 2, n = (block[0] + 1U) * 4;
	assert_int_equal(block[1], 0xc0);
	for (int sizes = 0; sizes < 2; at++)
		sizes += !(block[at] & 0x80);
	assert_int_equal(block[at], 0x21);
	block[at + 2] = code;
	const uint32_t sum = lzma_crc32(block, n - 4, 0);
	for (size_t i = 0; i < 4; i++)
		block[n - 4 + i] = (uint8_t) (sum >> 8 * i);
}

/* A frame and a stream that ask for 256 MiB, in their headers alone. */
static void windows(void **unused)
{
	static const char frame[] = "\x28\xb5\x2f\xfd\x00\x90\x01\x00\x00";
	const Buf zstd = { .data = (char *) frame, .len = sizeof(frame) - 1 };
	expect_error("zstd", &zstd, -EFBIG, "128 MiB");
	AUTO_BUF a = BUF_INIT;
	AUTO_BUF xz = BUF_INIT;
	fill(&a, 1000);
	pack_xz(&a, &xz);
	set_window(&xz, 32);
	expect_error("xz", &xz, -EFBIG, "128 MiB");
	set_window(&xz, 28);
	expect("64 MiB, as of xz -9", &xz, &a);
}

static void bombs(void **unused)
{
	AUTO_BUF zero = BUF_INIT;
	size_t n = 96 << 20;
	memset(buf_reserve(&zero, n), 0, n);
	buf_added(&zero, n);
	for (size_t f = 1; f < ARRAY_SIZE(formats); f++) { /* gzip reaches 1032 at most */
		AUTO_BUF packed = BUF_INIT;
		formats[f].pack(&zero, &packed);
		expect_error(formats[f].name, &packed, -EFBIG, "bomb");
	}
}

static void limit(void **unused)
{
	AUTO_BUF a = BUF_INIT;
	AUTO_BUF packed = BUF_INIT;
	fill(&a, 100000);
	pack_gzip(&a, &packed);
	const Buf *both[] = { &a, &packed };
	for (size_t i = 0; i < ARRAY_SIZE(both); i++)
		for (uint64_t max = a.len - 1; max <= a.len; max++) {
			AUTO_STREAM s = NULL;
			AUTO_FREE char *chunk = xmalloc(a.len);
			assert_int_equal(stream_unpack(stream_memory(both[i]->data, both[i]->len), max, &s, NULL, NULL), 0);
			assert_int_equal(stream_read_full(s, chunk, a.len, NULL), max < a.len ? -EFBIG : (ssize_t) a.len);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_of_all_sizes), cmocka_unit_test(as_it_is), cmocka_unit_test(members), cmocka_unit_test(something_behind),
		cmocka_unit_test(every_cut), cmocka_unit_test(every_flip), cmocka_unit_test(zstd_skippable_frames), cmocka_unit_test(windows),
		cmocka_unit_test(bombs), cmocka_unit_test(limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
