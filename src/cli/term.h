// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The terminal: whether there is one, its size, colours, raw mode, and the cleaning of text from
 * outside, so that a name can never move the cursor. Only log and exec output goes out raw.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <termios.h>

#include "base/buf.h"

typedef enum TermAnsi { TERM_AUTO, TERM_NEVER, TERM_ALWAYS } TermAnsi;

/** What --ansi said; TERM_AUTO at the start. */
void term_set_ansi(TermAnsi mode);
/** Escape sequences may go to fd: a terminal, TERM is not "dumb"; or --ansi always. */
bool term_ansi(int fd);
/** Colours may: as term_ansi, and NO_COLOR (https://no-color.org) is not set. */
bool term_colour(int fd);
/** Columns and rows; 80 x 24 where there is no terminal. */
void term_size(int fd, unsigned *ret_columns, unsigned *ret_rows);

/** Puts fd into raw mode; -errno. */
int term_raw(int fd, struct termios *ret_saved);
void term_restore(int fd, const struct termios *saved);
/**
 * Asks on `out` for a line of the terminal `tty`, which does not show it. Gives its length, with the newline; 0 at the end of the input; -errno.
 * Ctrl-C ends the process as ever, but the echo is back then.
 */
ssize_t term_ask_hidden(int tty, int out, const char *question, char *line, size_t size);

/** The colour of the n-th log prefix, "\033[36m" …; cycles. */
const char *term_palette(size_t n);
#define TERM_RESET "\033[0m"
#define TERM_RED "\033[31m"
#define TERM_GREEN "\033[32m"
#define TERM_YELLOW "\033[33m"
#define TERM_BLUE "\033[34m"
#define TERM_DIM "\033[2m"

/** Appends s with control characters, C1 controls and what is not UTF-8 replaced by "?" and tabs by a space. NULL appends nothing. */
void term_clean(Buf *out, const char *s);
/** Columns that a cleaned text takes: one a code point. */
size_t term_columns(const char *s);
