// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What workers (image/fetch.h) and stead-fetch (fetch/) say to each other. Both come from one build.
 *
 * The worker starts stead-fetch with one end of a unix stream socket as descriptor FETCH_CONTROL_FD; when the other end closes,
 * stead-fetch ends. For each transfer the worker makes two pipes and sends one byte over the socket with two descriptors (SCM_RIGHTS):
 * the reading end of `up`, the writing end of `down`. A worker that is fenced in (image/sandbox.h) can still do all of that.
 *
 * up:   one frame 'J', the request; then the body as it is, until the end of the pipe.
 *       {"method": "GET", "url": "https://…", "headers": ["Name: value"], "ca": PEM, "insecure": bool, "direct": no proxy, "length": bytes of the body, -1 = unknown,
 *       absent = there is none, "seconds": for all of it}
 * down: 'H' {"status": 200, "url": "…", "redirect": absolute URL or absent, "retry_after": seconds, "headers": {"lower-case": "value"}}, as soon
 *       as it is known; 'D' frames of the body; 'E', the end: {} or {"error": text, "kind": see FETCH_*}. A reader that closes ends the transfer.
 *
 * A frame is its type, three zero bytes, the length (big-endian, 32 bits) and the payload, as in io/frames.h.
 */

#include <stdint.h>

#define FETCH_CONTROL_FD 3
#define FETCH_FRAME_HEADER 8
#define FETCH_REQUEST_MAX (1U << 20)
#define FETCH_FRAME_MAX (1U << 20)

#define FETCH_KIND_CUT "cut"         /* under way: may be tried again */
#define FETCH_KIND_CONNECT "connect" /* no connection, no such host */
#define FETCH_KIND_TLS "tls"         /* the other side does not speak TLS */
#define FETCH_KIND_TRUST "trust"     /* its certificate is not trusted */
#define FETCH_KIND_OTHER "other"

static inline void fetch_frame_header(char type, uint32_t n, uint8_t ret[FETCH_FRAME_HEADER])
{
	ret[0] = (uint8_t) type;
	ret[1] = ret[2] = ret[3] = 0;
	ret[4] = (uint8_t) (n >> 24);
	ret[5] = (uint8_t) (n >> 16);
	ret[6] = (uint8_t) (n >> 8);
	ret[7] = (uint8_t) n;
}

static inline uint32_t fetch_frame_length(const uint8_t h[FETCH_FRAME_HEADER])
{
	return (uint32_t) h[4] << 24 | (uint32_t) h[5] << 16 | (uint32_t) h[6] << 8 | h[7];
}
