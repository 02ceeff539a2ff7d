// SPDX-License-Identifier: Apache-2.0
#include "bench/load/answer.h"

#include <string.h>
#include <strings.h>

static void header_end(Answer *a)
{
	if (a->value_seen && a->accept && strcasecmp(buf_cstr(&a->name), "Sec-WebSocket-Accept") == 0)
		a->accepted = strcmp(buf_cstr(&a->value), a->accept) == 0;
	if (a->value_seen)
		exchange_header(a->x, buf_cstr(&a->name), a->name.len, buf_cstr(&a->value), a->value.len);
	buf_clear(&a->name);
	buf_clear(&a->value);
	a->value_seen = false;
}

static int on_header_field(http_parser *p, const char *at, size_t n)
{
	Answer *a = p->data;
	if (a->value_seen)
		header_end(a);
	buf_append(&a->name, at, n);
	return 0;
}

static int on_header_value(http_parser *p, const char *at, size_t n)
{
	Answer *a = p->data;
	a->value_seen = true;
	buf_append(&a->value, at, n);
	return 0;
}

static int on_headers_complete(http_parser *p)
{
	Answer *a = p->data;
	header_end(a);
	a->x->status = p->status_code;
	return 0;
}

static int on_body(http_parser *p, const char *at, size_t n)
{
	Answer *a = p->data;
	exchange_body(a->x, at, n);
	return 0;
}

static int on_message_complete(http_parser *p)
{
	Answer *a = p->data;
	if (p->status_code / 100 == 1)
		return 0; /* the answer is still to come, or another protocol */
	a->complete = true;
	http_parser_pause(p, 1);
	return 0;
}

void answer_begin(Answer *a, Exchange *x)
{
	http_parser_init(&a->parser, HTTP_RESPONSE);
	a->parser.data = a;
	a->x = x;
	a->value_seen = a->complete = a->accepted = false;
	a->bytes = 0;
	buf_clear(&a->name);
	buf_clear(&a->value);
}

size_t answer_read(Answer *a, const char *p, size_t n)
{
	static const http_parser_settings settings = {
		.on_header_field = on_header_field,
		.on_header_value = on_header_value,
		.on_headers_complete = on_headers_complete,
		.on_body = on_body,
		.on_message_complete = on_message_complete,
	};
	a->bytes += n;
	return http_parser_execute(&a->parser, &settings, p, n);
}

void answer_done(Answer *a)
{
	buf_done(&a->name);
	buf_done(&a->value);
}
