// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Tables of listings, laid out as docker prints them: columns at least ten wide, three spaces
 * between, the last one ragged. Cells are cleaned of control characters.
 */

#include <stddef.h>

#include "base/buf.h"

typedef struct Table {
	char **cells; /* row by row, the headers first */
	size_t n_cells, n_columns;
} Table;

/** `headers` ends with NULL. */
void table_init(Table *t, const char *const *headers);
/** The next cell of the row; NULL = "". */
void table_add(Table *t, const char *cell);
/** As table_add, printed. */
void table_addf(Table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_format(const Table *t, Buf *out);
/** Writes it to stdout. */
void table_print(const Table *t);
void table_done(Table *t);
