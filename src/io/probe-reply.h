// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Reading of one HTTP/1.1 answer (RFC 9112) from a stream of bytes, without any I/O, for probes: what answers is
 * whatever listens in a container. Framing is http-parser's (Content-Length, chunked, to the end of the connection);
 * checked besides: header names are tokens, headers have a limit. Interim answers (1xx but 101) are read over.
 * Headers are not kept, of the body only as much as was asked for.
 */

#include <http_parser.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

typedef enum ProbeReplyState {
	PROBE_REPLY_MORE,     /* more bytes are needed */
	PROBE_REPLY_COMPLETE, /* status and body are known; what follows is not looked at */
	PROBE_REPLY_BAD,      /* bad_text says why */
} ProbeReplyState;

typedef struct ProbeReply {
	http_parser parser;
	int status;           /* of the final answer; 0 until its headers are complete */
	Buf body;             /* the first body_max bytes */
	size_t body_max;
	size_t body_bytes;    /* all that came */
	const char *bad_text; /* static */
	/* Private. */
	size_t head_bytes; /* trailers among them */
	bool complete, interim;
} ProbeReply;

void probe_reply_init(ProbeReply *r, size_t body_max);
void probe_reply_done(ProbeReply *r);
/** Takes the next bytes; n = 0 is the end of the connection (never MORE then). */
ProbeReplyState probe_reply_feed(ProbeReply *r, const char *p, size_t n);
