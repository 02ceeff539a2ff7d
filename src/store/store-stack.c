// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "store/sql.h"

int store_stack_put(Store *s, const StoreStack *v, Err *err)
{
	Sql q = sql_begin(s, "INSERT INTO stacks (name, model, files, created, down) VALUES (?, ?, ?, ?, ?) ON CONFLICT (name)"
			     " DO UPDATE SET model = excluded.model, files = excluded.files, down = excluded.down");
	sql_text(&q, v->name);
	sql_text(&q, v->model);
	sql_strv(&q, v->files);
	sql_int(&q, v->created);
	sql_int(&q, v->down);
	int r = sql_run(&q, err, "store stack", v->name);
	return r < 0 ? r : 0;
}

int store_stack_delete(Store *s, const char *name, Err *err)
{
	Sql q = sql_begin(s, "DELETE FROM stacks WHERE name = ?");
	sql_text(&q, name);
	int r = sql_run(&q, err, "delete stack", name);
	return r < 0 ? r : 0;
}

int store_stacks_load(Store *s, StoreStack **ret, size_t *ret_n, Err *err)
{
	StoreStack *v = NULL;
	size_t n = 0;
	int r;
	Sql q = sql_begin(s, "SELECT name, model, files, created, down FROM stacks ORDER BY name");
	while ((r = sql_row(&q, err, "load stacks")) > 0) {
		StoreStack *p = array_append(v, n);
		p->name = sql_get_text(&q);
		p->model = sql_get_text(&q);
		p->files = sql_get_strv(&q);
		p->created = sql_get_int(&q);
		p->down = sql_get_int(&q);
	}
	if (r < 0) {
		store_stacks_free(v, n);
		return r;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

void store_stacks_free(StoreStack *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(v[i].name);
		free(v[i].model);
		strv_free(v[i].files);
	}
	free(v);
}
