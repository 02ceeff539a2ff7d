// SPDX-License-Identifier: Apache-2.0
#include "store/sql.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"

/* ---- errors ---- */

typedef struct ErrorText {
	int rc;
	int code;
	const char *text;
} ErrorText;

static const ErrorText errors[] = {
	{ SQLITE_FULL, -ENOSPC, "the disk is full; free some space and try again" },
	{ SQLITE_CORRUPT, -EIO,
	  "the database is damaged; stop the daemon and restore it from a backup, or move it away to begin with an empty one" },
	{ SQLITE_NOTADB, -EIO, "this is not a database of stead; restore it from a backup, or move it away to begin with an empty one" },
	{ SQLITE_IOERR, -EIO, "the disk cannot be read or written; check it (dmesg) before you start again" },
	{ SQLITE_CANTOPEN, -EACCES, "it cannot be opened; check the permissions of its directory" },
	{ SQLITE_PERM, -EACCES, "no permission; run the daemon as root" },
	{ SQLITE_READONLY, -EACCES, "it can only be read; check the file system and the permissions" },
	{ SQLITE_BUSY, -EBUSY, "another process has locked it; close what has it open (fuser finds it)" },
	{ SQLITE_LOCKED, -EBUSY, "it is locked" },
	{ SQLITE_NOMEM, -ENOMEM, "out of memory" },
	{ SQLITE_TOOBIG, -EFBIG, "the value is too large" },
};

static int constraint_error(Store *s, int extended, Err *err, const char *what, const char *name)
{
	if (extended == SQLITE_CONSTRAINT_PRIMARYKEY || extended == SQLITE_CONSTRAINT_UNIQUE)
		return err_set(err, -EEXIST, "%s '%s': the name or id is taken already", what, name);
	if (extended == SQLITE_CONSTRAINT_FOREIGNKEY)
		return err_set(err, -EINVAL, "%s '%s': it refers to what does not exist", what, name);
	return err_set(err, -EINVAL, "%s '%s': %s", what, name, sqlite3_errmsg(s->db));
}

int sql_error(Store *s, int rc, Err *err, const char *what, const char *name)
{
	if ((rc & 0xff) == SQLITE_CONSTRAINT)
		return constraint_error(s, sqlite3_extended_errcode(s->db), err, what, name);
	const char *quote = *name ? "'" : "", *gap = *name ? " " : "";
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		if (errors[i].rc == (rc & 0xff))
			return err_set(err, errors[i].code, "%s%s%s%s%s: %s: %s (%s)", what, gap, quote, name, quote, s->path, errors[i].text,
				       sqlite3_errstr(rc));
	return err_set(err, -EIO, "%s%s%s%s%s: %s: %s", what, gap, quote, name, quote, s->path, sqlite3_errmsg(s->db));
}

/* ---- statements ---- */

static sqlite3_stmt *cached(Store *s, const char *text, int *ret_rc)
{
	for (size_t i = 0; i < s->n_cached; i++)
		if (s->cached[i].text == text)
			return s->cached[i].stmt;
	sqlite3_stmt *stmt = NULL;
	*ret_rc = sqlite3_prepare_v3(s->db, text, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
	if (*ret_rc != SQLITE_OK)
		return NULL;
	*array_append(s->cached, s->n_cached) = (CachedStmt) { .text = text, .stmt = stmt };
	return stmt;
}

Sql sql_begin(Store *s, const char *text)
{
	Sql q = { .store = s, .next = 1, .rc = SQLITE_OK };
	q.stmt = cached(s, text, &q.rc);
	return q;
}

void sql_text(Sql *q, const char *v)
{
	if (q->rc == SQLITE_OK)
		q->rc = v ? sqlite3_bind_text(q->stmt, q->next++, v, -1, SQLITE_TRANSIENT) : sqlite3_bind_null(q->stmt, q->next++);
}

void sql_int(Sql *q, int64_t v)
{
	if (q->rc == SQLITE_OK)
		q->rc = sqlite3_bind_int64(q->stmt, q->next++, v);
}

void sql_strv(Sql *q, char *const *v)
{
	json_t *a = json_array();
	for (; v && *v; v++)
		/* What is not UTF-8 cannot be kept; a NULL then violates NOT NULL. */
		if (json_array_append_new(a, json_string(*v)) < 0) {
			json_decref(a);
			a = NULL;
			break;
		}
	AUTO_FREE char *text = a ? json_dumps(a, JSON_COMPACT) : NULL;
	json_decref(a);
	sql_text(q, text);
}

void sql_end(Sql *q)
{
	if (!q->stmt)
		return;
	(void) sqlite3_reset(q->stmt);
	(void) sqlite3_clear_bindings(q->stmt);
	q->stmt = NULL;
}

int sql_run(Sql *q, Err *err, const char *what, const char *name)
{
	if (q->rc == SQLITE_OK)
		q->rc = sqlite3_step(q->stmt);
	int r = q->rc == SQLITE_DONE ? sqlite3_changes(q->store->db) : sql_error(q->store, q->rc, err, what, name ? name : "");
	sql_end(q);
	return r;
}

int sql_run_existing(Sql *q, Err *err, const char *what, const char *name)
{
	int r = sql_run(q, err, what, name);
	return r == 0 ? err_set(err, -ENOENT, "%s '%s': there is none of that name", what, name) : r < 0 ? r : 0;
}

int sql_row(Sql *q, Err *err, const char *what)
{
	if (q->rc == SQLITE_OK || q->rc == SQLITE_ROW)
		q->rc = sqlite3_step(q->stmt);
	q->next = 0;
	if (q->rc == SQLITE_ROW)
		return 1;
	int r = q->rc == SQLITE_DONE ? 0 : sql_error(q->store, q->rc, err, what, "");
	sql_end(q);
	return r;
}

char *sql_get_text(Sql *q)
{
	return xstrdup((const char *) sqlite3_column_text(q->stmt, q->next++));
}

int64_t sql_get_int(Sql *q)
{
	return sqlite3_column_int64(q->stmt, q->next++);
}

char **sql_get_strv(Sql *q)
{
	const char *text = (const char *) sqlite3_column_text(q->stmt, q->next++);
	json_t *a = text ? json_loads(text, 0, NULL) : NULL, *item;
	char **v = NULL;
	size_t i;
	json_array_foreach(a, i, item)
		if (json_is_string(item))
			strv_add(&v, json_string_value(item));
	json_decref(a);
	return v;
}

int sql_exec(Store *s, const char *text, Err *err, const char *what)
{
	int rc = sqlite3_exec(s->db, text, NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : sql_error(s, rc, err, what, "");
}

/* ---- migrations ---- */

static int user_version(Store *s, int *ret, Err *err)
{
	Sql q = sql_begin(s, "PRAGMA user_version");
	int r = sql_row(&q, err, "open");
	if (r < 0)
		return r;
	*ret = r ? (int) sql_get_int(&q) : 0;
	sql_end(&q);
	return 0;
}

int sql_migrate(Store *s, const char *const *steps, int n, Err *err)
{
	int version;
	int r = user_version(s, &version, err);
	if (r < 0)
		return r;
	if (version > n)
		return err_set(err, -ENOTSUP,
			"%s was written by a newer version of stead (schema %d, this one knows %d); install that version again, "
			"or restore a backup from before the upgrade", s->path, version, n);
	for (; version < n; version++) {
		AUTO_FREE char *script = xasprintf("BEGIN IMMEDIATE;%s;PRAGMA user_version = %d;COMMIT", steps[version], version + 1);
		r = sql_exec(s, script, err, "migrate");
		if (r < 0) {
			store_rollback(s);
			return err_wrap(err, "schema %d", version + 1);
		}
	}
	return 0;
}
