// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "store/sql.h"

/* ---- networks ---- */

#define NETWORK_COLUMNS "stack, key, driver, internal, attachable, subnet, gateway, ip_range, bridge, labels, created"

/** In the order of NETWORK_COLUMNS. */
static void bind_network(Sql *q, const StoreNetwork *v)
{
	sql_text(q, v->stack);
	sql_text(q, v->key);
	sql_text(q, v->driver);
	sql_int(q, v->internal);
	sql_int(q, v->attachable);
	sql_text(q, v->subnet);
	sql_text(q, v->gateway);
	sql_text(q, v->ip_range);
	sql_text(q, v->bridge);
	sql_strv(q, v->labels);
	sql_int(q, v->created);
}

int store_network_insert(Store *s, const StoreNetwork *v, Err *err)
{
	Sql q = sql_begin(s, "INSERT INTO networks (" NETWORK_COLUMNS ", name, id)"
			     " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
	bind_network(&q, v);
	sql_text(&q, v->name);
	sql_text(&q, v->id);
	int r = sql_run(&q, err, "store network", v->name);
	return r < 0 ? r : 0;
}

int store_network_delete(Store *s, const char *name, Err *err)
{
	Sql q = sql_begin(s, "DELETE FROM networks WHERE name = ?");
	sql_text(&q, name);
	int r = sql_run(&q, err, "delete network", name);
	return r < 0 ? r : 0;
}

int store_networks_load(Store *s, StoreNetwork **ret, size_t *ret_n, Err *err)
{
	StoreNetwork *v = NULL;
	size_t n = 0;
	int r;
	Sql q = sql_begin(s, "SELECT name, id, " NETWORK_COLUMNS " FROM networks ORDER BY name");
	while ((r = sql_row(&q, err, "load networks")) > 0) {
		StoreNetwork *p = array_append(v, n);
		p->name = sql_get_text(&q);
		p->id = sql_get_text(&q);
		p->stack = sql_get_text(&q);
		p->key = sql_get_text(&q);
		p->driver = sql_get_text(&q);
		p->internal = sql_get_int(&q);
		p->attachable = sql_get_int(&q);
		p->subnet = sql_get_text(&q);
		p->gateway = sql_get_text(&q);
		p->ip_range = sql_get_text(&q);
		p->bridge = sql_get_text(&q);
		p->labels = sql_get_strv(&q);
		p->created = sql_get_int(&q);
	}
	if (r < 0) {
		store_networks_free(v, n);
		return r;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

void store_networks_free(StoreNetwork *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(v[i].name);
		free(v[i].id);
		free(v[i].stack);
		free(v[i].key);
		free(v[i].driver);
		free(v[i].subnet);
		free(v[i].gateway);
		free(v[i].ip_range);
		free(v[i].bridge);
		strv_free(v[i].labels);
	}
	free(v);
}

/* ---- volumes ---- */

int store_volume_insert(Store *s, const StoreVolume *v, Err *err)
{
	Sql q = sql_begin(s, "INSERT INTO volumes (name, stack, key, driver, labels, anonymous, container, created)"
			     " VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
	sql_text(&q, v->name);
	sql_text(&q, v->stack);
	sql_text(&q, v->key);
	sql_text(&q, v->driver);
	sql_strv(&q, v->labels);
	sql_int(&q, v->anonymous);
	sql_text(&q, v->container);
	sql_int(&q, v->created);
	int r = sql_run(&q, err, "store volume", v->name);
	return r < 0 ? r : 0;
}

int store_volume_delete(Store *s, const char *name, Err *err)
{
	Sql q = sql_begin(s, "DELETE FROM volumes WHERE name = ?");
	sql_text(&q, name);
	int r = sql_run(&q, err, "delete volume", name);
	return r < 0 ? r : 0;
}

int store_volumes_load(Store *s, StoreVolume **ret, size_t *ret_n, Err *err)
{
	StoreVolume *v = NULL;
	size_t n = 0;
	int r;
	Sql q = sql_begin(s, "SELECT name, stack, key, driver, labels, anonymous, container, created FROM volumes ORDER BY name");
	while ((r = sql_row(&q, err, "load volumes")) > 0) {
		StoreVolume *p = array_append(v, n);
		p->name = sql_get_text(&q);
		p->stack = sql_get_text(&q);
		p->key = sql_get_text(&q);
		p->driver = sql_get_text(&q);
		p->labels = sql_get_strv(&q);
		p->anonymous = sql_get_int(&q);
		p->container = sql_get_text(&q);
		p->created = sql_get_int(&q);
	}
	if (r < 0) {
		store_volumes_free(v, n);
		return r;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

void store_volumes_free(StoreVolume *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(v[i].name);
		free(v[i].stack);
		free(v[i].key);
		free(v[i].driver);
		strv_free(v[i].labels);
		free(v[i].container);
	}
	free(v);
}
