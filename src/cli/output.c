// SPDX-License-Identifier: Apache-2.0
#include "cli/output.h"

#include <stdio.h>

#include "base/buf.h"
#include "cli/term.h"

void print_clean_line(const char *text)
{
	AUTO_BUF out = BUF_INIT;
	term_clean(&out, text);
	buf_char(&out, '\n');
	(void) fwrite(buf_cstr(&out), 1, out.len, stdout);
}

void print_json(json_t *value)
{
	(void) json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
	(void) putchar('\n');
	json_decref(value);
}

void print_json_pretty(const json_t *value, unsigned indent)
{
	(void) json_dumpf(value, stdout, JSON_INDENT(indent) | JSON_ENCODE_ANY);
	(void) putchar('\n');
}
