// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The framing of streams without a terminal in attach, exec and logs (Docker Engine API 1.41,
 * "Stream format"): eight bytes [stream, 0, 0, 0, length big-endian], then the payload. The encoder
 * writes the header alone, so that a payload need not be copied. The decoder takes the bytes in pieces of
 * any size and hands payloads on as they come: a frame may be given in several pieces.
 */

#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER 8
#define FRAME_MAX (16U << 20) /* a longer frame is nothing that a daemon sends: refused */

typedef enum FrameStream { FRAME_STDIN = 0, FRAME_STDOUT = 1, FRAME_STDERR = 2, FRAME_ERROR = 3 } FrameStream;

void frame_header(uint8_t stream, size_t n, uint8_t ret[FRAME_HEADER]);
/** The payload's length that a header says. -EPROTO: it is none. */
int64_t frame_length(const uint8_t header[FRAME_HEADER]);
/** How many of the n bytes are whole frames. All of them where they are not framed so, or a frame is longer than `max`: that is for whoever reads them. */
size_t frames_whole(const void *p, size_t n, size_t max);

/** Zero initialisation is the state before the first frame. */
typedef struct FrameDecoder {
	uint8_t header[FRAME_HEADER];
	size_t header_len;
	size_t left; /* of the payload */
} FrameDecoder;

/** A piece of a payload, n > 0. */
typedef void (*FrameFn)(void *user, FrameStream stream, const char *p, size_t n);

/** 0, or -EPROTO when the bytes are not framed so (then the decoder must not be fed again). */
int frame_feed(FrameDecoder *d, const void *p, size_t n, FrameFn fn, void *user);
/** True between frames: an end here has cut nothing off. */
int frame_at_boundary(const FrameDecoder *d);
