// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "cli/term.h"

enum { COLUMN_MIN = 10, COLUMN_GAP = 3 };

static void take_cell(Table *t, char *text)
{
	char **cell = array_append(t->cells, t->n_cells);
	*cell = text;
}

void table_init(Table *t, const char *const *headers)
{
	*t = (Table) { 0 };
	for (; headers[t->n_columns]; t->n_columns++)
		take_cell(t, xstrdup(headers[t->n_columns]));
}

void table_add(Table *t, const char *cell)
{
	Buf b = BUF_INIT;
	term_clean(&b, cell);
	take_cell(t, buf_steal(&b));
}

void table_addf(Table *t, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	AUTO_FREE char *text = xvasprintf(fmt, ap);
	va_end(ap);
	table_add(t, text);
}

void table_format(const Table *t, Buf *out)
{
	AUTO_FREE size_t *width = xcalloc(t->n_columns + 1, sizeof(*width));
	for (size_t i = 0; i < t->n_cells; i++) {
		size_t n = term_columns(t->cells[i]), c = i % t->n_columns;
		width[c] = n > width[c] ? n : width[c];
	}
	for (size_t i = 0; i < t->n_cells; i++) {
		size_t c = i % t->n_columns;
		buf_str(out, t->cells[i]);
		if (c + 1 == t->n_columns) {
			buf_char(out, '\n');
			continue;
		}
		size_t full = width[c] + COLUMN_GAP;
		full = full < COLUMN_MIN ? COLUMN_MIN : full;
		for (size_t n = term_columns(t->cells[i]); n < full; n++)
			buf_char(out, ' ');
	}
}

void table_print(const Table *t)
{
	AUTO_BUF out = BUF_INIT;
	table_format(t, &out);
	(void) fwrite(buf_cstr(&out), 1, out.len, stdout);
}

void table_done(Table *t)
{
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i]);
	free(t->cells);
	*t = (Table) { 0 };
}
