// SPDX-License-Identifier: Apache-2.0
#include "cli/stream.h"

#include <errno.h>

int line_stream_next(LineStream *s, char **ret, Err *err)
{
	buf_consume(&s->buf, s->taken);
	s->taken = 0;
	for (size_t scanned = 0;;) {
		char *end = s->buf.len > scanned ? memchr(s->buf.data + scanned, '\n', s->buf.len - scanned) : NULL;
		if (!end && s->ended && s->buf.len)
			end = s->buf.data + s->buf.len;
		if (end) {
			s->taken = (size_t) (end - s->buf.data) + (*end == '\n');
			*end = '\0';
			*ret = s->buf.data;
			return 1;
		}
		if (s->ended)
			return 0;
		scanned = s->buf.len;
		if (scanned > STREAM_LINE_MAX)
			return err_set(err, -EFBIG, "the daemon sent a line of more than %u bytes", STREAM_LINE_MAX);
		char *p = buf_reserve(&s->buf, 16384);
		ssize_t n = http_read_some(s->c, p, 16384, err);
		if (n < 0)
			return (int) n;
		if (n == 0)
			s->ended = true;
		buf_added(&s->buf, (size_t) n);
	}
}

void line_stream_done(LineStream *s)
{
	buf_done(&s->buf);
}
