// SPDX-License-Identifier: Apache-2.0
#include "io/frames.h"

#include <errno.h>
#include <string.h>

void frame_header(uint8_t stream, size_t n, uint8_t ret[FRAME_HEADER])
{
	const uint8_t h[FRAME_HEADER] = { stream, 0, 0, 0, (uint8_t) (n >> 24), (uint8_t) (n >> 16), (uint8_t) (n >> 8), (uint8_t) n };
	memcpy(ret, h, sizeof(h));
}

int64_t frame_length(const uint8_t h[FRAME_HEADER])
{
	if (h[1] || h[2] || h[3])
		return -EPROTO;
	return (int64_t) h[4] << 24 | (int64_t) h[5] << 16 | (int64_t) h[6] << 8 | h[7];
}

size_t frames_whole(const void *p, size_t n, size_t max)
{
	const uint8_t *at = p;
	size_t whole = 0;
	while (n - whole >= FRAME_HEADER) {
		int64_t length = frame_length(at + whole);
		if (length < 0 || (size_t) length > max)
			return n;
		if (n - whole - FRAME_HEADER < (size_t) length)
			break;
		whole += FRAME_HEADER + (size_t) length;
	}
	return whole;
}

static int header_done(FrameDecoder *d)
{
	int64_t n = frame_length(d->header);
	if (d->header[0] > FRAME_ERROR || n < 0 || n > FRAME_MAX)
		return -EPROTO;
	d->left = (size_t) n;
	if (n == 0)
		d->header_len = 0; /* an empty frame says nothing */
	return 0;
}

int frame_feed(FrameDecoder *d, const void *p, size_t n, FrameFn fn, void *user)
{
	const char *at = p;
	while (n) {
		if (d->header_len < FRAME_HEADER) {
			d->header[d->header_len++] = (uint8_t) *at++;
			n--;
			if (d->header_len == FRAME_HEADER && header_done(d) < 0)
				return -EPROTO;
			continue;
		}
		size_t piece = n < d->left ? n : d->left;
		fn(user, (FrameStream) d->header[0], at, piece);
		at += piece;
		n -= piece;
		d->left -= piece;
		if (d->left == 0)
			d->header_len = 0;
	}
	return 0;
}

int frame_at_boundary(const FrameDecoder *d)
{
	return d->header_len == 0;
}
