// SPDX-License-Identifier: Apache-2.0
/*
 * The client's side of an operation: what the daemon streams to it, kept as the tests ask for it.
 */
#include "base/mem.h"
#include "base/str.h"
#include "daemon/sim.h"
#include "io/http-server.h"

struct HttpRequest {
	void *user;
	void (*closed)(void *user);
	json_t *answer;
	char **log;
};

SimClient *sim_client(void)
{
	return xcalloc(1, sizeof(SimClient));
}

json_t *sim_client_answer(SimClient *c)
{
	return c->answer;
}

char *const *sim_client_log(SimClient *c)
{
	return c->log;
}

void sim_client_gone(SimClient *c)
{
	if (c->closed)
		c->closed(c->user);
	json_decref(c->answer);
	strv_free(c->log);
	free(c);
}

void http_set_user(HttpRequest *r, void *user, void (*closed)(void *user))
{
	r->user = user;
	r->closed = closed;
}

void http_stream_begin(HttpRequest *r, int status, const char *type)
{
}

size_t http_stream_json(HttpRequest *r, json_t *value)
{
	const char *name = json_string_value(json_object_get(value, "name"));
	if (name)
		strv_take(&r->log, xasprintf("%s %s", name, json_string_value(json_object_get(value, "status"))));
	const char *step = json_string_value(json_object_get(value, "step"));
	if (step && json_string_value(json_object_get(value, "status")))
		strv_take(&r->log, xasprintf("%s %s %s", json_string_value(json_object_get(value, "service")), step,
			json_string_value(json_object_get(value, "status"))));
	json_t *plan = json_object_get(value, "plan");
	if (plan)
		strv_take(&r->log, xasprintf("plan %s %s", json_string_value(json_object_get(plan, "service")),
			json_string_value(json_object_get(plan, "step"))));
	if (json_object_get(value, "result") || json_object_get(value, "error"))
		r->answer = json_incref(value);
	json_decref(value);
	return 0;
}

void http_stream_end(HttpRequest *r)
{
	r->closed = NULL;
}
