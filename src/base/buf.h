// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Buf: a growing byte buffer that is always NUL-terminated once anything was appended. Zero
 * initialisation is a valid empty buffer. A caller that takes bytes from outside limits them first.
 */

#include <stddef.h>
#include <stdint.h>

typedef struct Buf {
	char *data; /* owned; NULL while empty */
	size_t len; /* bytes used, without the NUL */
	size_t cap;
} Buf;

#define BUF_INIT { NULL, 0, 0 }
#define AUTO_BUF __attribute__((cleanup(buf_done))) Buf

void buf_append(Buf *b, const void *p, size_t n);
void buf_str(Buf *b, const char *s);
void buf_char(Buf *b, char c);
void buf_printf(Buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3), nonnull(2)));
/** Makes room for n more bytes and gives the place to write them; follow with buf_added. */
char *buf_reserve(Buf *b, size_t n);
void buf_added(Buf *b, size_t n);
/** Drops n bytes from the front. */
void buf_consume(Buf *b, size_t n);
void buf_clear(Buf *b);
/** The string (never NULL); borrowed until the next change. */
const char *buf_cstr(const Buf *b);
/** Hands the string to the caller (never NULL), leaves the buffer empty. */
char *buf_steal(Buf *b);
void buf_done(Buf *b);
