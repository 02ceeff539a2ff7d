// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: the callbacks of http-parser only collect. They pause the parser at the two events, so that the
 * caller acts outside of it and may free or hijack what it likes. Paused in on_headers_complete, the
 * parser gives the last line feed back and is fed it again; paused in on_message_complete it has used all of the message.
 *
 * http-parser refuses Content-Length beside Transfer-Encoding, several lengths and bare control
 * characters. Checked here once more, since builds of it differ: what decides about the framing must be
 * there once and be plain. (Debian's build is the lenient one: it takes a space in a header's name.)
 */
#include "io/http-message.h"

#include <limits.h>
#include <strings.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

static int bad(HttpMessage *m, int status, const char *text)
{
	if (!m->bad_status) {
		m->bad_status = status;
		m->bad_text = text;
	}
	return -1;
}

static int count_head(HttpMessage *m, size_t n)
{
	m->head_bytes += n;
	return m->head_bytes > LIMIT_API_HEADERS ? bad(m, 431, "the request's headers are too large") : 0;
}

static int on_url(http_parser *parser, const char *p, size_t n)
{
	HttpMessage *m = parser->data;
	if (count_head(m, n) < 0)
		return -1;
	buf_append(&m->target, p, n);
	return 0;
}

/** Trailers are read over: nothing that serves an API may depend on them. */
static int skip_trailer(HttpMessage *m, size_t n)
{
	m->trailer_bytes += n;
	return m->trailer_bytes > LIMIT_API_HEADERS ? bad(m, 431, "the request's trailers are too large") : 0;
}

static int on_field(http_parser *parser, const char *p, size_t n)
{
	HttpMessage *m = parser->data;
	if (m->headers_seen)
		return skip_trailer(m, n);
	if (count_head(m, n + 2) < 0)
		return -1;
	if (m->in_value) {
		buf_char(&m->headers, '\0');
		m->in_value = false;
	}
	buf_append(&m->headers, p, n);
	return 0;
}

static int on_value(http_parser *parser, const char *p, size_t n)
{
	HttpMessage *m = parser->data;
	if (m->headers_seen)
		return skip_trailer(m, n);
	if (count_head(m, n + 2) < 0)
		return -1;
	if (!m->in_value) {
		buf_char(&m->headers, '\0');
		m->in_value = true;
	}
	buf_append(&m->headers, p, n);
	return 0;
}

static const char *next_header(const HttpMessage *m, size_t *at, const char **ret_value)
{
	if (*at >= m->headers.len)
		return NULL;
	const char *name = m->headers.data + *at;
	const char *value = name + strlen(name) + 1;
	*at = (size_t) (value - m->headers.data) + strlen(value) + 1;
	*ret_value = value;
	return name;
}

static const char *find_header(const HttpMessage *m, const char *wanted, size_t *ret_count)
{
	const char *found = NULL, *value = NULL;
	size_t at = 0;
	*ret_count = 0;
	for (const char *name; (name = next_header(m, &at, &value));) {
		if (strcasecmp(name, wanted) != 0)
			continue;
		if (!found)
			found = value;
		(*ret_count)++;
	}
	return found;
}

const char *http_message_header(const HttpMessage *m, const char *name)
{
	size_t count;
	return find_header(m, name, &count);
}

/** Names must be tokens (RFC 9110 section 5.6.2): "Content-Length : 3" is one to some readers and not to others. */
static int check_names(HttpMessage *m)
{
	static const char token[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	const char *value;
	size_t at = 0;
	for (const char *name; (name = next_header(m, &at, &value));)
		if (!*name || name[strspn(name, token)])
			return bad(m, 400, "the name of a header has a character that it must not have");
	return 0;
}

static int check_framing(HttpMessage *m)
{
	size_t lengths, codings, hosts;
	const char *length = find_header(m, "Content-Length", &lengths);
	const char *coding = find_header(m, "Transfer-Encoding", &codings);
	(void) find_header(m, "Host", &hosts);
	if (m->parser.http_major != 1 || m->parser.http_minor > 1)
		return bad(m, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
	m->http10 = m->parser.http_minor == 0;
	if (lengths > 1 || codings > 1 || (lengths && codings))
		return bad(m, 400, "the length of the request's body is ambiguous");
	if (length && (!*length || length[strspn(length, "0123456789")]))
		return bad(m, 400, "Content-Length is not a number");
	if (coding && m->http10)
		return bad(m, 400, "HTTP/1.0 has no Transfer-Encoding");
	if (coding && strcasecmp(coding, "chunked") != 0)
		return bad(m, 501, "the only Transfer-Encoding understood is chunked");
	if (hosts > 1 || (hosts == 0 && !m->http10))
		return bad(m, 400, "exactly one Host header is needed");
	m->content_length = length ? m->parser.content_length : ULLONG_MAX;
	m->has_body = coding || (length && m->content_length > 0);
	return 0;
}

static int parse_target(HttpMessage *m)
{
	const char *p = buf_cstr(&m->target);
	/* Absolute form (RFC 9112 section 3.2.2): the authority says nothing on a unix socket. */
	if (strncasecmp(p, "http://", 7) == 0) {
		p += 7;
		p += strcspn(p, "/?#");
	}
	size_t path_len = strcspn(p, "?#");
	if (path_decode(p, path_len, &m->path) < 0)
		return bad(m, 400, "the path of the request is not a valid one");
	const char *q = p + path_len;
	if (*q != '?')
		return 0;
	q++;
	return query_parse(q, strcspn(q, "#"), &m->query) < 0 ?
		       bad(m, 400, "the query of the request is not valid: a broken % escape, or too many parameters") :
		       0;
}

static int on_headers(http_parser *parser)
{
	HttpMessage *m = parser->data;
	if (m->in_value || m->headers.len)
		buf_char(&m->headers, '\0');
	m->headers_seen = true;
	m->method = http_method_str((enum http_method) parser->method);
	if (check_names(m) < 0 || check_framing(m) < 0 || parse_target(m) < 0)
		return -1;
	const char *expect = http_message_header(m, "Expect");
	if (expect && strcasecmp(expect, "100-continue") != 0)
		return bad(m, 417, "the only expectation understood is 100-continue");
	m->expect_continue = expect && !m->http10 && m->has_body;
	m->upgrade_tcp = parser->upgrade && str_eq(http_message_header(m, "Upgrade"), "tcp");
	http_parser_pause(parser, 1);
	return 0;
}

static int on_body(http_parser *parser, const char *p, size_t n)
{
	HttpMessage *m = parser->data;
	buf_append(&m->body, p, n);
	return 0;
}

static int on_complete(http_parser *parser)
{
	HttpMessage *m = parser->data;
	m->complete = true;
	m->keep_alive = http_should_keep_alive(parser);
	http_parser_pause(parser, 1);
	return 0;
}

static const http_parser_settings settings = {
	.on_url = on_url,
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_headers,
	.on_body = on_body,
	.on_message_complete = on_complete,
};

void http_message_init(HttpMessage *m)
{
	*m = (HttpMessage) { .content_length = ULLONG_MAX };
	http_parser_init(&m->parser, HTTP_REQUEST);
	m->parser.data = m;
}

void http_message_done(HttpMessage *m)
{
	free(m->path);
	query_done(&m->query);
	buf_done(&m->body);
	buf_done(&m->target);
	buf_done(&m->headers);
}

void http_message_reset(HttpMessage *m)
{
	http_message_done(m);
	http_message_init(m);
}

bool http_message_begun(const HttpMessage *m)
{
	return m->target.len > 0 && !m->headers_seen;
}

HttpEvent http_message_feed(HttpMessage *m, const char *p, size_t n, size_t *ret_used)
{
	*ret_used = 0;
	if (m->bad_status)
		return HTTP_EVENT_BAD;
	if (m->complete || n == 0) /* http-parser takes n = 0 for the end of the stream */
		return HTTP_EVENT_MORE;
	http_parser_pause(&m->parser, 0);
	*ret_used = http_parser_execute(&m->parser, &settings, p, n);
	enum http_errno e = HTTP_PARSER_ERRNO(&m->parser);
	if (m->bad_status)
		return HTTP_EVENT_BAD;
	if (e != HPE_OK && e != HPE_PAUSED) {
		(void) bad(m, e == HPE_HEADER_OVERFLOW ? 431 : 400,
			   e == HPE_HEADER_OVERFLOW ? "the request's headers are too large" : http_errno_description(e));
		return HTTP_EVENT_BAD;
	}
	if (m->headers_seen && !m->headers_told) {
		m->headers_told = true;
		return HTTP_EVENT_HEADERS;
	}
	return m->complete ? HTTP_EVENT_COMPLETE : HTTP_EVENT_MORE;
}
