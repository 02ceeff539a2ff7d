// SPDX-License-Identifier: Apache-2.0
/*
 * /stead/v1: stacks and what makes images here. docs/API.md describes it.
 */
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "daemon/api.h"
#include "daemon/cert-check.h"
#include "daemon/image.h"
#include "daemon/json.h"
#include "daemon/operation.h"
#include "daemon/ship.h"

static json_t *stack_summary(const Daemon *d, const StackState *s)
{
	size_t containers = 0, running = 0;
	for (size_t i = 0; i < d->n_containers; i++)
		if (str_eq(d->containers[i]->stack, s->name)) {
			containers++;
			running += ctr_is_running(d->containers[i]);
		}
	return json_pack("{s:s, s:I, s:I, s:I, s:o}", "name", s->name, "services", (json_int_t) (s->model ? s->model->n_services : 0),
		"containers", (json_int_t) containers, "running", (json_int_t) running, "files",
		json_strv(s->model ? s->model->files : NULL));
}

static void list_stacks(Daemon *d, HttpRequest *r, char *const *args)
{
	json_t *list = json_array();
	for (size_t i = 0; i < d->n_stacks; i++)
		json_array_append_new(list, stack_summary(d, d->stacks[i]));
	http_reply_json(r, 200, list);
}

/* A service is wanted running when one of its containers is. */
static json_t *wanted(const Daemon *d, const StackState *s)
{
	json_t *o = json_object();
	for (size_t i = 0; i < d->n_containers; i++) {
		const Container *c = d->containers[i];
		if (!str_eq(c->stack, s->name))
			continue;
		if (c->wanted_running || !json_object_get(o, c->svc.name))
			json_object_set_new(o, c->svc.name, json_string(c->wanted_running ? "running" : "stopped"));
	}
	return o;
}

static void show_stack(Daemon *d, HttpRequest *r, char *const *args)
{
	const StackState *s = api_stack(d, r, args[0]);
	if (!s)
		return;
	http_reply_json(r, 200, json_pack("{s:s, s:o, s:o}", "name", s->name, "model", stack_to_json(s->model), "wanted", wanted(d, s)));
}

static void submit_checked(Daemon *d, HttpRequest *r, const char *stack, json_t *body, int kind)
{
	AUTO_ERR err = ERR_INIT;
	if (operation_submit(d, (OperationKind) kind, stack, body, r, &err) < 0)
		http_error_err(r, &err);
}

void api_submit(Daemon *d, HttpRequest *r, int operation_kind, const char *stack)
{
	AUTO_ERR err = ERR_INIT;
	json_t *body = NULL;
	if (http_body_json(r, &body, &err) < 0)
		http_error_err(r, &err);
	else
		cert_check(d, r, stack, body, submit_checked, operation_kind);
}

static void up(Daemon *d, HttpRequest *r, char *const *args)
{
	api_submit(d, r, OP_UP, args[0]);
}

static void down(Daemon *d, HttpRequest *r, char *const *args)
{
	api_submit(d, r, OP_DOWN, args[0]);
}

static void stop(Daemon *d, HttpRequest *r, char *const *args)
{
	api_submit(d, r, OP_STOP, args[0]);
}

static void start(Daemon *d, HttpRequest *r, char *const *args)
{
	api_submit(d, r, OP_START, args[0]);
}

static void restart(Daemon *d, HttpRequest *r, char *const *args)
{
	api_submit(d, r, OP_RESTART, args[0]);
}

static void kill_stack(Daemon *d, HttpRequest *r, char *const *args)
{
	api_submit(d, r, OP_KILL, args[0]);
}

static void rm(Daemon *d, HttpRequest *r, char *const *args)
{
	api_submit(d, r, OP_RM, args[0]);
}

static void bootstrap(Daemon *d, HttpRequest *r, char *const *args)
{
	image_api_bootstrap(d, r);
}

static void import(Daemon *d, HttpRequest *r, char *const *args)
{
	image_api_import(d, r);
}

static void box(Daemon *d, HttpRequest *r, char *const *args)
{
	ship_api_box(d, r);
}

static void image_config(Daemon *d, HttpRequest *r, char *const *args)
{
	ship_api_config(d, r, args[0]);
}

static void ship_send(Daemon *d, HttpRequest *r, char *const *args)
{
	ship_api_send(d, r);
}

static void ship_receive(Daemon *d, HttpRequest *r, char *const *args)
{
	ship_api_receive(d, r);
}

const ApiRoute api_stead_routes[] = {
	{ "GET", "/stead/v1/stacks", list_stacks, false },
	{ "GET", "/stead/v1/stacks/*", show_stack, false },
	{ "POST", "/stead/v1/stacks/*/up", up, false },
	{ "POST", "/stead/v1/stacks/*/down", down, false },
	{ "POST", "/stead/v1/stacks/*/stop", stop, false },
	{ "POST", "/stead/v1/stacks/*/start", start, false },
	{ "POST", "/stead/v1/stacks/*/restart", restart, false },
	{ "POST", "/stead/v1/stacks/*/kill", kill_stack, false },
	{ "POST", "/stead/v1/stacks/*/rm", rm, false },
	{ "POST", "/stead/v1/images/bootstrap", bootstrap, false },
	{ "POST", "/stead/v1/images/import", import, true },
	{ "GET", "/stead/v1/images/**/config", image_config, false },
	{ "GET", "/stead/v1/box", box, false },
	{ "POST", "/stead/v1/ships/send", ship_send, false },
	{ "POST", "/stead/v1/ships/receive", ship_receive, false },
	{ NULL, NULL, NULL, false },
};
