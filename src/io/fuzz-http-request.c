// SPDX-License-Identifier: Apache-2.0
/*
 * The same bytes, whole and in pieces, must give the same requests: a parser that depends on where a
 * read happened to end would be a way around its checks. The first byte is the size of the pieces.
 */
#include <assert.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/http-message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void note(Buf *log, const HttpMessage *m)
{
	buf_printf(log, "%s %s %zu %d|", m->method, m->path, m->query.n_params, m->upgrade_tcp);
	assert(m->path[0] == '/' && !str_has_control(m->path));
	assert(m->headers.len <= 2 * (LIMIT_API_HEADERS + 1));
	assert(!m->has_body || m->content_length > 0);
	(void) http_message_header(m, "Host");
}

static void parse(const char *p, size_t size, size_t piece, Buf *log)
{
	HttpMessage m;
	http_message_init(&m);
	for (size_t at = 0, end = 0; at < size;) {
		if (end <= at)
			end = at + piece < size ? at + piece : size;
		size_t used;
		HttpEvent e = http_message_feed(&m, p + at, end - at, &used);
		assert(used <= end - at);
		at += used;
		if (e == HTTP_EVENT_BAD) {
			buf_printf(log, "bad %d", m.bad_status);
			break;
		}
		if (e == HTTP_EVENT_HEADERS)
			note(log, &m);
		if (e == HTTP_EVENT_MORE)
			assert(at == end);
		if (e == HTTP_EVENT_COMPLETE) {
			buf_printf(log, "%zu %d\n", m.body.len, m.keep_alive);
			http_message_reset(&m);
		}
	}
	http_message_done(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	AUTO_BUF whole = BUF_INIT;
	AUTO_BUF pieces = BUF_INIT;
	parse((const char *) data + 1, size - 1, size, &whole);
	parse((const char *) data + 1, size - 1, (size_t) (data[0] % 16) + 1, &pieces);
	assert(str_eq(buf_cstr(&whole), buf_cstr(&pieces)));
	return 0;
}
