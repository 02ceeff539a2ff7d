// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Text for messages: from whatever a program wrote to UTF-8 without surprises, and cut to what a vendor takes, at the border of a
 * character, counted as the vendor counts.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/**
 * Appends `s` as valid UTF-8 (what is not becomes U+FFFD) without terminal escapes (ECMA-48), control characters but newline, or characters that
 * turn the direction of writing (Unicode Standard Annex 9: they make text read as another). A tab becomes four spaces.
 */
void text_clean(Buf *b, const char *s);
/** The longest prefix of valid UTF-8 of at most `max` bytes that splits no character. */
size_t text_prefix(const char *s, size_t max);

typedef enum TextUnit {
	TEXT_BYTES,
	TEXT_UTF16, /* code units, as JavaScript counts; never less than characters */
	TEXT_JSON,  /* bytes once it stands in a JSON string */
} TextUnit;

/** Where text goes that has a limit: `room` is what is left. */
typedef struct TextOut {
	Buf *buf;
	size_t room;
	TextUnit unit;
	const char *(*escape)(char c); /* what stands for an ASCII character, or NULL: itself; may be NULL */
} TextOut;

/** Appends valid UTF-8; what does not fit is cut and ends in "…" (in nothing where even that does not fit). False: it was cut. */
bool text_put(TextOut *o, const char *s);
/** Appends as it is (mark-up): all or nothing. */
bool text_put_raw(TextOut *o, const char *s);
/** Appends the last of the lines that fit, with a newline after each; a line that does not fit alone is cut. Gives their number. */
size_t text_put_last_lines(TextOut *o, char *const *lines);
/** Nothing but white space in it; NULL too. */
bool text_blank(const char *s);
