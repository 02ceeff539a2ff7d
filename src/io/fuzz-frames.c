// SPDX-License-Identifier: Apache-2.0
/* The first byte is the size of the pieces: whole and in pieces, the payload must be the same. */
#include <assert.h>

#include "base/buf.h"
#include "base/str.h"
#include "io/frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void note(void *user, FrameStream stream, const char *p, size_t n)
{
	assert(n > 0 && stream <= FRAME_ERROR);
	/* Digits of the stream for each byte: where a piece ends makes no difference then. */
	for (size_t i = 0; i < n; i++)
		buf_printf(user, "%d%02x", (int) stream, (unsigned char) p[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_BUF whole = BUF_INIT;
	AUTO_BUF pieces = BUF_INIT;
	FrameDecoder a = { 0 }, b = { 0 };
	if (size < 2)
		return 0;
	size_t piece = (size_t) (data[0] % 16) + 1;
	int r = frame_feed(&a, data + 1, size - 1, note, &whole), s = 0;
	for (size_t at = 1; at < size && s == 0; at += piece)
		s = frame_feed(&b, data + at, size - at < piece ? size - at : piece, note, &pieces);
	assert(r == s && str_eq(buf_cstr(&whole), buf_cstr(&pieces)));
	assert(r < 0 || frame_at_boundary(&a) == frame_at_boundary(&b));
	return 0;
}
