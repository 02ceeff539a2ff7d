// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Lines on stdout.
 */

#include <jansson.h>

/** The text, cleaned of control characters, and a newline. */
void print_clean_line(const char *text);
/** One line of compact JSON. Takes ownership. */
void print_json(json_t *value);
/** Indented JSON with a newline. Borrowed. */
void print_json_pretty(const json_t *value, unsigned indent);
