// SPDX-License-Identifier: Apache-2.0
#include "cli/term.h"

#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/signals.h"

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

/* A line, or the signal that came before it. */
static ssize_t read_or_signal(int fd, char *line, size_t size, int *ret_signal)
{
	static const int fatal[] = { SIGINT, SIGTERM, SIGHUP };
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int r = signals_poll(&p, 1, -1);
		for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
			if (signals_take(fatal[i])) {
				*ret_signal = fatal[i];
				return -EINTR;
			}
		if (r < 0)
			return r;
		ssize_t n = r ? read(fd, line, size) : -1;
		if (n >= 0 || (r && errno != EINTR))
			return n < 0 ? -errno : n;
	}
}

ssize_t term_ask_hidden(int tty, int out, const char *question, char *line, size_t size)
{
	struct termios saved, quiet;
	int signal = 0;
	if (tcgetattr(tty, &saved) < 0)
		return -errno;
	quiet = saved;
	quiet.c_lflag &= (tcflag_t) ~ECHO;
	signals_catch();
	(void) tcsetattr(tty, TCSAFLUSH, &quiet); /* before anybody answers */
	(void) fd_write_all(out, question, strlen(question));
	ssize_t n = read_or_signal(tty, line, size, &signal);
	(void) tcsetattr(tty, TCSAFLUSH, &saved);
	(void) fd_write_all(out, "\n", 1);
	signals_release();
	if (signal)
		(void) raise(signal);
	return n;
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
