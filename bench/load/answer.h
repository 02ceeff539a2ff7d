// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An HTTP/1.1 answer as it comes in: its parts go to the exchange, which judges them.
 */

#include <http_parser.h>

#include "base/buf.h"
#include "bench/load/load.h"

typedef struct Answer {
	http_parser parser;
	Exchange *x;
	Buf name, value; /* of the header that is being read */
	bool value_seen;
	bool complete;   /* all of it has been read */
	size_t bytes;    /* so far, with its head */
	const char *accept; /* what Sec-WebSocket-Accept must be, or NULL; borrowed */
	bool accepted;
} Answer;

/** Before each answer. x is borrowed until the next one. */
void answer_begin(Answer *a, Exchange *x);
/**
 * Reads on; n = 0 is the connection's end. Gives the bytes that belong to the answer: fewer than n where it ends
 * within them, or becomes another protocol (parser.upgrade), or where parser.http_errno says that this is no HTTP.
 */
size_t answer_read(Answer *a, const char *p, size_t n);
void answer_done(Answer *a);
