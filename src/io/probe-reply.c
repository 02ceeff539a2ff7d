// SPDX-License-Identifier: Apache-2.0
#include "io/probe-reply.h"

#include "base/limits.h"

static int bad(ProbeReply *r, const char *text)
{
	if (!r->bad_text)
		r->bad_text = text;
	return -1;
}

static int count_head(ProbeReply *r, size_t n)
{
	r->head_bytes += n;
	return r->head_bytes > LIMIT_PROBE_HEADERS ? bad(r, "its headers are too large") : 0;
}

static int on_status(http_parser *parser, const char *p, size_t n)
{
	return count_head(parser->data, n);
}

/** Debian's build of http-parser takes a space in a header's name: "Content-Length : 3" is one to some readers only. */
static int on_field(http_parser *parser, const char *p, size_t n)
{
	static const char marks[] = "!#$%&'*+-.^_`|~";
	for (size_t i = 0; i < n; i++) {
		bool alnum = (p[i] >= '0' && p[i] <= '9') || (p[i] >= 'A' && p[i] <= 'Z') || (p[i] >= 'a' && p[i] <= 'z');
		if (!alnum && !memchr(marks, p[i], sizeof(marks) - 1))
			return bad(parser->data, "the name of a header has a character that it must not have");
	}
	return count_head(parser->data, n + 2);
}

static int on_value(http_parser *parser, const char *p, size_t n)
{
	return count_head(parser->data, n + 2);
}

static int on_headers(http_parser *parser)
{
	ProbeReply *r = parser->data;
	r->interim = parser->status_code < 200 && parser->status_code != 101;
	if (parser->http_major != 1)
		return bad(r, "it is of another version than HTTP/1");
	if (parser->status_code < 100 || parser->status_code > 599)
		return bad(r, "its status is none that HTTP knows");
	if (!r->interim)
		r->status = (int) parser->status_code;
	return 0;
}

static int on_body(http_parser *parser, const char *p, size_t n)
{
	ProbeReply *r = parser->data;
	size_t room = r->body_max - r->body.len;
	r->body_bytes += n;
	if (room)
		buf_append(&r->body, p, n < room ? n : room);
	return 0;
}

static int on_complete(http_parser *parser)
{
	ProbeReply *r = parser->data;
	if (r->interim)
		return count_head(r, sizeof("HTTP/1.1 100")); /* there is an end to bare ones too */
	r->complete = true;
	http_parser_pause(parser, 1);
	return 0;
}

static const http_parser_settings settings = {
	.on_status = on_status,
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_headers,
	.on_body = on_body,
	.on_message_complete = on_complete,
};

void probe_reply_init(ProbeReply *r, size_t body_max)
{
	*r = (ProbeReply) { .body_max = body_max };
	http_parser_init(&r->parser, HTTP_RESPONSE);
	r->parser.data = r;
}

void probe_reply_done(ProbeReply *r)
{
	buf_done(&r->body);
}

ProbeReplyState probe_reply_feed(ProbeReply *r, const char *p, size_t n)
{
	if (r->bad_text)
		return PROBE_REPLY_BAD;
	if (r->complete)
		return PROBE_REPLY_COMPLETE;
	(void) http_parser_execute(&r->parser, &settings, p, n);
	enum http_errno e = HTTP_PARSER_ERRNO(&r->parser);
	if (r->complete && (e == HPE_OK || e == HPE_PAUSED))
		return PROBE_REPLY_COMPLETE;
	if (n == 0)
		(void) bad(r, r->status ? "the connection was closed before its body was complete" : "the connection was closed before an answer came");
	else if (e != HPE_OK && e != HPE_PAUSED)
		(void) bad(r, http_errno_description(e));
	return r->bad_text ? PROBE_REPLY_BAD : PROBE_REPLY_MORE;
}
