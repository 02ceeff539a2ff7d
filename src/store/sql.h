// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the parts of the store share: cached statements with values bound and read in order, errors
 * turned into texts, migrations. Private to store/ (and its tests).
 *
 * A statement is used so: sql_begin, sql_text/sql_int for each "?", then sql_run, or sql_row until it
 * gives 0. A failure on the way is kept and comes out of sql_run or sql_row.
 */

#include <sqlite3.h>

#include "store/store.h"

typedef struct CachedStmt {
	const char *text; /* the literal itself is the key */
	sqlite3_stmt *stmt;
} CachedStmt;

struct Store {
	sqlite3 *db;
	char *path; /* of the database, for texts */
	int lock_fd;
	CachedStmt *cached;
	size_t n_cached;
};

typedef struct Sql {
	Store *store;
	sqlite3_stmt *stmt;
	int next; /* parameter or column */
	int rc;
} Sql;

/** `text` must be a literal (or static): its address is the cache's key. */
Sql sql_begin(Store *s, const char *text);
void sql_text(Sql *q, const char *v);
void sql_int(Sql *q, int64_t v);
/** A strv as a JSON array of strings. */
void sql_strv(Sql *q, char *const *v);
/** Runs a statement that gives no rows; the number of rows changed, or an error. `what`: "store container 'x'". */
int sql_run(Sql *q, Err *err, const char *what, const char *name);
/** As sql_run, with -ENOENT when no row was changed. */
int sql_run_existing(Sql *q, Err *err, const char *what, const char *name);
/** The next row: 1, or 0 at the end; then the columns in order. After an error, or before the end, sql_end. */
int sql_row(Sql *q, Err *err, const char *what);
/** Owned by the caller; NULL for NULL. */
char *sql_get_text(Sql *q);
int64_t sql_get_int(Sql *q);
char **sql_get_strv(Sql *q);
void sql_end(Sql *q);
/** Runs a literal without parameters. */
int sql_exec(Store *s, const char *text, Err *err, const char *what);

int sql_error(Store *s, int rc, Err *err, const char *what, const char *name);

/** Brings user_version from where it is to n, step by step, each in a transaction. */
int sql_migrate(Store *s, const char *const *steps, int n, Err *err);
/** The scripts of each version, in schema.c. */
extern const char *const schema_steps[];
extern const int schema_version;
