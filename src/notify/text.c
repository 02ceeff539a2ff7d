// SPDX-License-Identifier: Apache-2.0
#include "notify/text.h"

#include <stdint.h>
#include <string.h>

#include "base/str.h"

#define ELLIPSIS "\xe2\x80\xa6"
#define REPLACEMENT "\xef\xbf\xbd"

/** Bytes of the valid character at s, or 0. */
static size_t char_len(const char *s)
{
	unsigned char c = (unsigned char) *s;
	size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	for (size_t i = 1; i < n; i++)
		if (!s[i])
			return 0;
	return str_is_utf8(s, n) ? n : 0;
}

/** As a terminal does: CSI and its parameters to the final byte, OSC and the like to BEL or ST, else one character. Gives the bytes after ESC. */
static size_t escape_len(const char *s)
{
	size_t i = 1;
	if (*s == '[') {
		while (s[i] >= 0x20 && s[i] <= 0x3f)
			i++;
		return s[i] >= 0x40 && s[i] <= 0x7e ? i + 1 : i;
	}
	if (*s && strchr("]PX^_", *s)) {
		while (s[i] && s[i] != '\a' && s[i] != '\n' && s[i] != '\x1b')
			i++;
		return s[i] == '\a' ? i + 1 : s[i] == '\x1b' && s[i + 1] == '\\' ? i + 2 : i;
	}
	return *s >= 0x20 && *s <= 0x7e ? 1 : 0;
}

/** U+0080–009F are control characters too; U+200E, 200F, 202A–202E, 2066–2069 turn text around; a byte order mark shows as nothing. */
static bool is_unwanted(const char *s, size_t n)
{
	const unsigned char *u = (const unsigned char *) s;
	if (n == 2)
		return u[0] == 0xc2 && u[1] < 0xa0;
	if (n != 3)
		return false;
	uint32_t c = (uint32_t) (u[0] & 0x0f) << 12 | (uint32_t) (u[1] & 0x3f) << 6 | (u[2] & 0x3f);
	return c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

void text_clean(Buf *b, const char *s)
{
	while (*s) {
		size_t n = char_len(s);
		if (n == 0) {
			buf_str(b, REPLACEMENT);
			n = 1;
		} else if (*s == '\x1b') {
			n += escape_len(s + 1);
		} else if (*s == '\t') {
			buf_str(b, "    ");
		} else if (n == 1 ? *s == '\n' || (*s >= ' ' && *s != 0x7f) : !is_unwanted(s, n)) {
			buf_append(b, s, n);
		}
		s += n;
	}
}

size_t text_prefix(const char *s, size_t max)
{
	size_t n = strnlen(s, max + 1);
	if (n <= max)
		return n;
	for (n = max; n && ((unsigned char) s[n] & 0xc0) == 0x80; n--)
		;
	return n;
}

static size_t cost_of(const TextOut *o, const char *s, size_t n)
{
	size_t cost = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char) s[i];
		if (o->unit == TEXT_UTF16)
			cost += (c & 0xc0) == 0x80 ? 0 : c >= 0xf0 ? 2 : 1;
		else if (o->unit == TEXT_JSON)
			cost += c == '"' || c == '\\' || c == '\n' ? 2 : 1;
		else
			cost++;
	}
	return cost;
}

/** What goes out for the character at s; its bytes there in *n. */
static const char *unit_at(const TextOut *o, const char *s, size_t *n, size_t *ret_len)
{
	*n = char_len(s);
	const char *other = *n == 1 && o->escape ? o->escape(*s) : NULL;
	if (*n == 0) { /* not valid: the caller's bug, but nothing broken may go out */
		*n = 1;
		other = REPLACEMENT;
	}
	*ret_len = other ? strlen(other) : *n;
	return other ? other : s;
}

/** How much of s fits; its cost in *ret_cost. */
static size_t fits(const TextOut *o, const char *s, size_t room, size_t *ret_cost)
{
	const char *p = s;
	*ret_cost = 0;
	while (*p) {
		size_t n, len;
		const char *out = unit_at(o, p, &n, &len);
		size_t cost = cost_of(o, out, len);
		if (cost > room - *ret_cost)
			break;
		*ret_cost += cost;
		p += n;
	}
	return (size_t) (p - s);
}

static void put(TextOut *o, const char *s, size_t bytes, size_t cost)
{
	for (const char *p = s; p < s + bytes;) {
		size_t n, len;
		const char *out = unit_at(o, p, &n, &len);
		buf_append(o->buf, out, len);
		p += n;
	}
	o->room -= cost;
}

bool text_put_raw(TextOut *o, const char *s)
{
	size_t n = strlen(s), cost = cost_of(o, s, n);
	if (cost > o->room)
		return false;
	buf_append(o->buf, s, n);
	o->room -= cost;
	return true;
}

bool text_put(TextOut *o, const char *s)
{
	size_t cost, n = fits(o, s, o->room, &cost);
	if (!s[n]) {
		put(o, s, n, cost);
		return true;
	}
	size_t dots = cost_of(o, ELLIPSIS, strlen(ELLIPSIS));
	if (dots > o->room)
		return false;
	n = fits(o, s, o->room - dots, &cost);
	put(o, s, n, cost);
	(void) text_put_raw(o, ELLIPSIS);
	return false;
}

size_t text_put_last_lines(TextOut *o, char *const *lines)
{
	size_t n = 0, first, newline = cost_of(o, "\n", 1), room = o->room;
	while (lines && lines[n])
		n++;
	for (first = n; first > 0; first--) {
		size_t cost, len = fits(o, lines[first - 1], room, &cost);
		if (lines[first - 1][len] || cost + newline > room)
			break;
		room -= cost + newline;
	}
	if (first == n && n > 0 && o->room > newline) {
		o->room -= newline;
		(void) text_put(o, lines[n - 1]);
		o->room += newline;
		(void) text_put_raw(o, "\n");
		return 1;
	}
	for (size_t i = first; i < n; i++) {
		(void) text_put(o, lines[i]);
		(void) text_put_raw(o, "\n");
	}
	return n - first;
}

bool text_blank(const char *s)
{
	return !s || !s[strspn(s, " \t\r\n")];
}
