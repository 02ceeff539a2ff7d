// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "store/sql.h"

#define STATE_COLUMNS "wanted, phase, pid, started_at, finished_at, exit_code, oom_killed, restart_count, error, health"

/** In the order of STATE_COLUMNS. */
static void bind_state(Sql *q, const StoreContainer *c)
{
	sql_text(q, c->wanted_running ? "running" : "stopped");
	sql_text(q, c->phase);
	sql_int(q, c->pid);
	sql_int(q, c->started_at);
	sql_int(q, c->finished_at);
	sql_int(q, c->exit_code);
	sql_int(q, c->oom_killed);
	sql_int(q, c->restart_count);
	sql_text(q, c->error);
	sql_text(q, c->health);
}

int store_container_insert(Store *s, const StoreContainer *c, Err *err)
{
	Sql q = sql_begin(s, "INSERT INTO containers (id, name, stack, service, number, oneoff, config_hash, image_id, service_json,"
			     " created, runtime_json, " STATE_COLUMNS ")"
			     " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
	sql_text(&q, c->id);
	sql_text(&q, c->name);
	sql_text(&q, c->stack);
	sql_text(&q, c->service);
	sql_int(&q, c->number);
	sql_int(&q, c->oneoff);
	sql_text(&q, c->config_hash);
	sql_text(&q, c->image_id);
	sql_text(&q, c->service_json);
	sql_int(&q, c->created);
	sql_text(&q, c->runtime_json);
	bind_state(&q, c);
	int r = sql_run(&q, err, "store container", c->name);
	return r < 0 ? r : 0;
}

int store_container_state(Store *s, const StoreContainer *c, Err *err)
{
	Sql q = sql_begin(s, "UPDATE containers SET (" STATE_COLUMNS ") = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ?");
	bind_state(&q, c);
	sql_text(&q, c->id);
	return sql_run_existing(&q, err, "store the state of container", c->name ? c->name : c->id);
}

int store_container_runtime(Store *s, const char *id, const char *runtime_json, Err *err)
{
	Sql q = sql_begin(s, "UPDATE containers SET runtime_json = ? WHERE id = ?");
	sql_text(&q, runtime_json);
	sql_text(&q, id);
	return sql_run_existing(&q, err, "store container", id);
}

int store_container_rename(Store *s, const char *id, const char *name, Err *err)
{
	Sql q = sql_begin(s, "UPDATE containers SET name = ? WHERE id = ?");
	sql_text(&q, name);
	sql_text(&q, id);
	return sql_run_existing(&q, err, "rename container", id);
}

int store_container_delete(Store *s, const char *id, Err *err)
{
	Sql q = sql_begin(s, "DELETE FROM containers WHERE id = ?");
	sql_text(&q, id);
	int r = sql_run(&q, err, "delete container", id);
	return r < 0 ? r : 0;
}

static void read_state(Sql *q, StoreContainer *c)
{
	AUTO_FREE char *wanted = sql_get_text(q);
	c->wanted_running = str_eq(wanted, "running");
	c->phase = sql_get_text(q);
	c->pid = (pid_t) sql_get_int(q);
	c->started_at = sql_get_int(q);
	c->finished_at = sql_get_int(q);
	c->exit_code = (int) sql_get_int(q);
	c->oom_killed = sql_get_int(q);
	c->restart_count = (int) sql_get_int(q);
	c->error = sql_get_text(q);
	c->health = sql_get_text(q);
}

int store_containers_load(Store *s, StoreContainer **ret, size_t *ret_n, Err *err)
{
	StoreContainer *v = NULL;
	size_t n = 0;
	int r;
	Sql q = sql_begin(s, "SELECT id, name, stack, service, number, oneoff, config_hash, image_id, service_json, created,"
			     " runtime_json, " STATE_COLUMNS " FROM containers ORDER BY created, rowid");
	while ((r = sql_row(&q, err, "load containers")) > 0) {
		StoreContainer *c = array_append(v, n);
		c->id = sql_get_text(&q);
		c->name = sql_get_text(&q);
		c->stack = sql_get_text(&q);
		c->service = sql_get_text(&q);
		c->number = (int) sql_get_int(&q);
		c->oneoff = sql_get_int(&q);
		c->config_hash = sql_get_text(&q);
		c->image_id = sql_get_text(&q);
		c->service_json = sql_get_text(&q);
		c->created = sql_get_int(&q);
		c->runtime_json = sql_get_text(&q);
		read_state(&q, c);
	}
	if (r < 0) {
		store_containers_free(v, n);
		return r;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

void store_container_done(StoreContainer *c)
{
	free(c->id);
	free(c->name);
	free(c->stack);
	free(c->service);
	free(c->config_hash);
	free(c->image_id);
	free(c->service_json);
	free(c->runtime_json);
	free(c->phase);
	free(c->error);
	free(c->health);
}

void store_containers_free(StoreContainer *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		store_container_done(&v[i]);
	free(v);
}
