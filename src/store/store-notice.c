// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "store/sql.h"

int store_notice_insert(Store *s, const StoreNotice *v, Err *err)
{
	Sql q = sql_begin(s, "INSERT INTO notices (id, target, stack, text, created) VALUES (?, ?, ?, ?, ?)");
	sql_text(&q, v->id);
	sql_text(&q, v->target);
	sql_text(&q, v->stack);
	sql_text(&q, v->text);
	sql_int(&q, v->created);
	int r = sql_run(&q, err, "store notice", v->id);
	return r < 0 ? r : 0;
}

int store_notice_delete(Store *s, const char *id, const char *target, Err *err)
{
	Sql q = sql_begin(s, "DELETE FROM notices WHERE id = ? AND target = ?");
	sql_text(&q, id);
	sql_text(&q, target);
	int r = sql_run(&q, err, "delete notice", id);
	return r < 0 ? r : 0;
}

int store_notices_load(Store *s, StoreNotice **ret, size_t *ret_n, Err *err)
{
	StoreNotice *v = NULL;
	size_t n = 0;
	int r;
	Sql q = sql_begin(s, "SELECT id, target, stack, text, created FROM notices ORDER BY created, id");
	while ((r = sql_row(&q, err, "load notices")) > 0) {
		StoreNotice *p = array_append(v, n);
		p->id = sql_get_text(&q);
		p->target = sql_get_text(&q);
		p->stack = sql_get_text(&q);
		p->text = sql_get_text(&q);
		p->created = sql_get_int(&q);
	}
	if (r < 0) {
		store_notices_free(v, n);
		return r;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

void store_notices_free(StoreNotice *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(v[i].id);
		free(v[i].target);
		free(v[i].stack);
		free(v[i].text);
	}
	free(v);
}
