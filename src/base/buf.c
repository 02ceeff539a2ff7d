// SPDX-License-Identifier: Apache-2.0
#include "base/buf.h"

#include <stdarg.h>

#include "base/mem.h"

char *buf_reserve(Buf *b, size_t n)
{
	if (b->cap - b->len < n + 1) {
		size_t want = b->len + n + 1;
		size_t cap = b->cap ? b->cap : 64;
		while (cap < want)
			cap *= 2;
		b->data = xreallocarray(b->data, cap, 1);
		b->cap = cap;
		b->data[b->len] = '\0';
	}
	return b->data + b->len;
}

void buf_added(Buf *b, size_t n)
{
	b->len += n;
	b->data[b->len] = '\0';
}

void buf_append(Buf *b, const void *p, size_t n)
{
	char *dst = buf_reserve(b, n);
	if (n)
		memcpy(dst, p, n);
	buf_added(b, n);
}

void buf_str(Buf *b, const char *s)
{
	buf_append(b, s, strlen(s));
}

void buf_char(Buf *b, char c)
{
	buf_append(b, &c, 1);
}

void buf_printf(Buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	char *dst = buf_reserve(b, (size_t) n);
	va_start(ap, fmt);
	(void) vsnprintf(dst, (size_t) n + 1, fmt, ap);
	va_end(ap);
	buf_added(b, (size_t) n);
}

void buf_consume(Buf *b, size_t n)
{
	if (n >= b->len) {
		buf_clear(b);
		return;
	}
	memmove(b->data, b->data + n, b->len - n + 1);
	b->len -= n;
}

void buf_clear(Buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

const char *buf_cstr(const Buf *b)
{
	return b->data ? b->data : "";
}

char *buf_steal(Buf *b)
{
	char *s = b->data ? b->data : xstrdup("");
	*b = (Buf) BUF_INIT;
	return s;
}

void buf_done(Buf *b)
{
	free(b->data);
	*b = (Buf) BUF_INIT;
}
