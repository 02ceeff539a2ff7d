// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Reading of HTTP/1.1 requests from a stream of bytes, without any I/O: framing (RFC 9112) by
 * http-parser, plus what it leaves to us: limits, the target, and refusal of whatever two readers
 * could take differently (request smuggling, RFC 9112 section 11.2).
 *
 * http_message_feed stops at the events that the caller must act on: the headers are complete, the
 * message is complete. Bytes after a complete message are not touched.
 */

#include <http_parser.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "io/http-query.h"

typedef enum HttpEvent {
	HTTP_EVENT_MORE,     /* all bytes are used up; more are needed */
	HTTP_EVENT_HEADERS,  /* once a message: method, path, query, headers are known */
	HTTP_EVENT_COMPLETE, /* once a message, after HEADERS */
	HTTP_EVENT_BAD,      /* not a request: answer `bad_status` and close */
} HttpEvent;

typedef struct HttpMessage {
	http_parser parser;
	/* Known from HTTP_EVENT_HEADERS on. */
	const char *method;
	char *path;  /* decoded */
	Query query;
	bool keep_alive, upgrade_tcp, expect_continue;
	bool http10;
	bool has_body;
	unsigned long long content_length; /* ULLONG_MAX: chunked or none */
	/* The body's bytes are appended here; the caller takes them out. */
	Buf body;
	int bad_status;        /* 400, 413, 417, 431, 501, 505 */
	const char *bad_text;  /* static */
	/* Private: "name\0value\0" pairs, the target, and where the collecting stands. */
	Buf target, headers;
	size_t head_bytes, trailer_bytes;
	bool in_value, complete, headers_seen, headers_told;
} HttpMessage;

void http_message_init(HttpMessage *m);
void http_message_done(HttpMessage *m);
/** Gets ready for the next message. */
void http_message_reset(HttpMessage *m);
/** Parses up to n bytes; `ret_used` are consumed. */
HttpEvent http_message_feed(HttpMessage *m, const char *p, size_t n, size_t *ret_used);
/** Some bytes of a message have come, but not its headers yet. */
bool http_message_begun(const HttpMessage *m);
/** The first header of that name (case ignored), or NULL. */
const char *http_message_header(const HttpMessage *m, const char *name);
