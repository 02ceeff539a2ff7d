// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Streams of lines from the daemon that are watched with poll(2).
 */

#include "cli/client.h"

typedef struct LineStream {
	HttpClient *c; /* borrowed */
	Buf buf;
	size_t taken; /* bytes of buf that the last line occupied */
	bool ended;
} LineStream;

#define STREAM_LINE_MAX (16U << 20)

/**
 * The next line, borrowed until the next call: 1. 0: the stream has ended (a last line without newline was
 * given before). -EAGAIN: nothing yet, poll http_fd. Else an error.
 */
int line_stream_next(LineStream *s, char **ret, Err *err);
void line_stream_done(LineStream *s);
