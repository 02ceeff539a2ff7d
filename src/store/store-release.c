// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "store/sql.h"

#define SUMMARY "stack, number, kind, result, current, base, source, created, ended, who, commit_id, author, changes, images, files"

int store_release_insert(Store *s, const StoreRelease *v, Err *err)
{
	Sql q = sql_begin(s, "INSERT INTO releases (" SUMMARY ", model, made) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
	sql_text(&q, v->stack);
	sql_int(&q, v->number);
	sql_text(&q, v->kind);
	sql_text(&q, v->result);
	sql_int(&q, v->current);
	sql_int(&q, v->base);
	sql_int(&q, v->source);
	sql_int(&q, v->created);
	sql_int(&q, v->ended);
	sql_text(&q, v->who);
	sql_text(&q, v->commit);
	sql_text(&q, v->author);
	sql_text(&q, v->changes);
	sql_text(&q, v->images);
	sql_strv(&q, v->files);
	sql_text(&q, v->model);
	sql_text(&q, v->made);
	int r = sql_run(&q, err, "store release of stack", v->stack);
	return r < 0 ? r : 0;
}

int store_release_end(Store *s, const char *stack, int number, const char *result, int64_t ended, const char *report, Err *err)
{
	Sql q = sql_begin(s, "UPDATE releases SET (result, ended, report) = (?, ?, ?) WHERE stack = ? AND number = ?");
	sql_text(&q, result);
	sql_int(&q, ended);
	sql_text(&q, report);
	sql_text(&q, stack);
	sql_int(&q, number);
	return sql_run_existing(&q, err, "store the end of a release of stack", stack);
}

int store_release_result(Store *s, const char *stack, int number, const char *result, Err *err)
{
	Sql q = sql_begin(s, "UPDATE releases SET result = ? WHERE stack = ? AND number = ?");
	sql_text(&q, result);
	sql_text(&q, stack);
	sql_int(&q, number);
	return sql_run_existing(&q, err, "store the result of a release of stack", stack);
}

int store_release_set_current(Store *s, const char *stack, int number, Err *err)
{
	Sql q = sql_begin(s, "UPDATE releases SET current = (number = ?) WHERE stack = ?");
	sql_int(&q, number);
	sql_text(&q, stack);
	return sql_run_existing(&q, err, "store the current release of stack", stack);
}

int store_release_delete(Store *s, const char *stack, int number, Err *err)
{
	Sql q = sql_begin(s, "DELETE FROM releases WHERE stack = ? AND number = ?");
	sql_text(&q, stack);
	sql_int(&q, number);
	int r = sql_run(&q, err, "delete release of stack", stack);
	return r < 0 ? r : 0;
}

int store_releases_delete(Store *s, const char *stack, Err *err)
{
	Sql q = sql_begin(s, "DELETE FROM releases WHERE stack = ?");
	sql_text(&q, stack);
	int r = sql_run(&q, err, "delete releases of stack", stack);
	return r < 0 ? r : 0;
}

/** In the order of SUMMARY. */
static void read_summary(Sql *q, StoreRelease *v)
{
	v->stack = sql_get_text(q);
	v->number = (int) sql_get_int(q);
	v->kind = sql_get_text(q);
	v->result = sql_get_text(q);
	v->current = sql_get_int(q);
	v->base = (int) sql_get_int(q);
	v->source = (int) sql_get_int(q);
	v->created = sql_get_int(q);
	v->ended = sql_get_int(q);
	v->who = sql_get_text(q);
	v->commit = sql_get_text(q);
	v->author = sql_get_text(q);
	v->changes = sql_get_text(q);
	v->images = sql_get_text(q);
	v->files = sql_get_strv(q);
}

int store_releases_load(Store *s, const char *stack, StoreRelease **ret, size_t *ret_n, Err *err)
{
	StoreRelease *v = NULL;
	size_t n = 0;
	int r;
	Sql q = stack ? sql_begin(s, "SELECT " SUMMARY " FROM releases WHERE stack = ? ORDER BY number") :
			sql_begin(s, "SELECT " SUMMARY " FROM releases ORDER BY stack, number");
	if (stack)
		sql_text(&q, stack);
	while ((r = sql_row(&q, err, "load releases")) > 0)
		read_summary(&q, array_append(v, n));
	if (r < 0) {
		store_releases_free(v, n);
		return r;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

int store_release_load(Store *s, const char *stack, int number, StoreRelease *ret, Err *err)
{
	Sql q = sql_begin(s, "SELECT " SUMMARY ", model, made, report FROM releases WHERE stack = ? AND number = ?");
	sql_text(&q, stack);
	sql_int(&q, number);
	int r = sql_row(&q, err, "load release");
	if (r <= 0)
		return r < 0 ? r : 1;
	*ret = (StoreRelease) { 0 };
	read_summary(&q, ret);
	ret->model = sql_get_text(&q);
	ret->made = sql_get_text(&q);
	ret->report = sql_get_text(&q);
	sql_end(&q);
	return 0;
}

void store_release_done(StoreRelease *v)
{
	free(v->stack);
	free(v->kind);
	free(v->result);
	free(v->who);
	free(v->commit);
	free(v->author);
	free(v->changes);
	free(v->images);
	strv_free(v->files);
	free(v->model);
	free(v->made);
	free(v->report);
	*v = (StoreRelease) { 0 };
}

void store_releases_free(StoreRelease *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		store_release_done(&v[i]);
	free(v);
}
