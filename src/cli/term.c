// SPDX-License-Identifier: Apache-2.0
#include "cli/term.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

static TermAnsi ansi_mode;

void term_set_ansi(TermAnsi mode)
{
	ansi_mode = mode;
}

bool term_ansi(int fd)
{
	const char *term = getenv("TERM");
	if (ansi_mode != TERM_AUTO)
		return ansi_mode == TERM_ALWAYS;
	return isatty(fd) == 1 && !str_empty(term) && !str_eq(term, "dumb");
}

bool term_colour(int fd)
{
	return term_ansi(fd) && (ansi_mode == TERM_ALWAYS || str_empty(getenv("NO_COLOR")));
}

void term_size(int fd, unsigned *ret_columns, unsigned *ret_rows)
{
	struct winsize w = { 0 };
	(void) ioctl(fd, TIOCGWINSZ, &w);
	*ret_columns = w.ws_col ? w.ws_col : 80;
	*ret_rows = w.ws_row ? w.ws_row : 24;
}

int term_raw(int fd, struct termios *ret_saved)
{
	struct termios t;
	if (tcgetattr(fd, &t) < 0)
		return -errno;
	struct termios raw = t;
	cfmakeraw(&raw);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(fd, TCSADRAIN, &raw) < 0)
		return -errno;
	*ret_saved = t;
	return 0;
}

void term_restore(int fd, const struct termios *saved)
{
	(void) tcsetattr(fd, TCSADRAIN, saved);
}

const char *term_palette(size_t n)
{
	static const char *const colours[] = { "\033[36m", "\033[33m", "\033[32m", "\033[35m", "\033[34m", "\033[96m",
		"\033[93m", "\033[92m", "\033[95m", "\033[94m" };
	return colours[n % ARRAY_SIZE(colours)];
}

/* Bytes of the UTF-8 sequence that begins with c; 0 if none does. */
static size_t sequence_length(unsigned char c)
{
	if (c < 0x80)
		return 1;
	if (c >= 0xc2 && c <= 0xdf)
		return 2;
	if (c >= 0xe0 && c <= 0xef)
		return 3;
	return c >= 0xf0 && c <= 0xf4 ? 4 : 0;
}

void term_clean(Buf *out, const char *s)
{
	size_t left = s ? strlen(s) : 0;
	while (left) {
		unsigned char c = (unsigned char) *s;
		size_t n = sequence_length(c);
		bool good = n && n <= left && str_is_utf8(s, n) && c >= 0x20 && c != 0x7f;
		if (good && c == 0xc2 && (unsigned char) s[1] < 0xa0) /* C1: "\302\233" is a CSI */
			good = false;
		if (good)
			buf_append(out, s, n);
		else if (c == '\t')
			buf_char(out, ' ');
		else
			buf_char(out, '?');
		if (!n || n > left || !str_is_utf8(s, n))
			n = 1;
		s += n;
		left -= n;
	}
}

size_t term_columns(const char *s)
{
	size_t n = 0;
	for (; *s; s++)
		n += ((unsigned char) *s & 0xc0) != 0x80;
	return n;
}
