// SPDX-License-Identifier: Apache-2.0
/*
 * An operation is done when nothing that it asked for is left: no flag on a container of the stack, no
 * slot to fill, nothing under way. `up --wait` looks further, at health. A failed operation first calls
 * off what it had not begun, lets what is under way come to its end, undoes what a first `up` has made, and
 * only then sends its last line, so that a client that has the answer finds the machine at rest.
 */
#include "daemon/operation.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/container.h"
#include "daemon/deploy.h"
#include "daemon/edge.h"
#include "daemon/network.h"
#include "daemon/release.h"
#include "daemon/stack.h"
#include "daemon/state.h"
#include "daemon/volume.h"
#include "run/bundle.h"

#define FAILURE_LOG_LINES 10

static void send_line(Operation *op, json_t *line)
{
	if (op->r)
		(void) http_stream_json(op->r, line);
	else
		json_decref(line);
}

void operation_line(StackState *s, json_t *line)
{
	if (s->op)
		send_line(s->op, line);
	else
		json_decref(line);
}

void operation_report(StackState *s, const char *kind, const char *name, const char *service, const char *status)
{
	if (!s->op)
		return;
	json_t *line = json_pack("{s:s, s:s, s:s}", "kind", kind, "name", name, "status", status);
	if (service)
		json_object_set_new(line, "service", json_string(service));
	send_line(s->op, line);
}

void operation_warn(StackState *s, const char *fmt, ...)
{
	va_list ap;
	char *text;
	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	if (s->op)
		send_line(s->op, json_pack("{s:s}", "warning", text));
	else
		log_warning("stack %s: %s", s->name, text);
	free(text);
}

/*
 * What a failed operation had not begun, it does not begin: a container that still runs is not replaced, nor restarted. One
 * that was stopped for its successor had been running, so the successor is started all the same.
 */
static void call_off(StackState *s, Container *c)
{
	if (ctr_is_busy(c))
		return;
	bool successor = c->phase == PHASE_CREATED && !c->fresh;
	if (c->ask_start && c->phase == PHASE_RUNNING)
		c->ask_stop = false;
	if (c->ask_start && !successor)
		c->ask_start = false;
	if (!c->ask_replace)
		return;
	if (c->phase == PHASE_RUNNING) {
		c->ask_remove = c->ask_replace = false;
		stack_drop_missing(s, c->svc.name, c->number);
	} else {
		stack_leave_stopped(s, c->svc.name, c->number);
	}
}

void operation_fail(StackState *s, Container *c, const char *fmt, ...)
{
	Operation *op = s->op;
	va_list ap;
	char *text;
	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	if (!op || op->failed || op->deploy) {
		if (op && op->deploy)
			deploy_failed(s, c, text);
		else
			log_error("stack %s: %s", s->name, text);
		free(text);
		return;
	}
	op->failed = true;
	op->failure = json_pack("{s:s, s:i}", "error", text, "code", 1);
	if (c) {
		json_object_set_new(op->failure, "service", json_string(c->svc.name));
		json_object_set_new(op->failure, "container", json_string(c->name));
		if (c->phase == PHASE_EXITED)
			json_object_set_new(op->failure, "exit_code", json_integer(c->exit_code));
		json_object_set_new(op->failure, "logs", ctr_last_lines(c, FAILURE_LOG_LINES));
		operation_report(s, "container", c->name, c->svc.name, "failed");
	}
	log_error("stack %s: %s", s->name, text);
	free(text);
	for (size_t i = 0; i < s->d->n_containers; i++)
		if (str_eq(s->d->containers[i]->stack, s->name))
			call_off(s, s->d->containers[i]);
	stack_wake(s);
}

void operation_free(Operation *op)
{
	if (!op)
		return;
	if (op->r) {
		http_set_user(op->r, NULL, NULL);
		http_stream_end(op->r);
	}
	deploy_free(op->deploy);
	deploy_coming_free(op);
	stack_free(op->model);
	strv_free(op->image_ids);
	free(op->who);
	free(op->commit);
	free(op->author);
	strv_free(op->services);
	strv_free(op->scale);
	strv_free(op->targets);
	strv_free(op->new_networks);
	strv_free(op->new_volumes);
	free(op->images);
	json_decref(op->failure);
	free(op);
}

static bool is_deploy(const Operation *op)
{
	return op->kind == OP_DEPLOY || op->kind == OP_ROLLBACK;
}

static void client_gone(void *user)
{
	Operation *op = user;
	op->r = NULL;
	/* Ctrl-C is how a deploy is called off; nobody waits any more for what has not begun. */
	if (is_deploy(op) && op->deploy)
		deploy_call_off(op, "called off by the client", false);
}

/* Is this container among the services that were named (none named: all)? */
static bool selected(const Operation *op, const Container *c)
{
	return str_eq(c->stack, op->s->name) && (!op->services || strv_has(op->services, c->svc.name));
}

static void ask_to_stop(Operation *op, Container *c)
{
	c->ask_timeout = op->timeout;
	c->wanted_running = false;
	c->ask_start = false;
	if (ctr_is_running(c) || c->restarting || ctr_is_busy(c))
		c->ask_stop = true;
	ctr_changed(c);
}

static void mark_stop(Operation *op, Container *c)
{
	ask_to_stop(op, c);
}

static void mark_start(Operation *op, Container *c)
{
	if (!ctr_is_running(c))
		c->ask_start = true;
	c->wanted_running = true;
	c->restart_tries = c->restart_count = 0;
	ctr_changed(c);
}

static void mark_restart(Operation *op, Container *c)
{
	if (ctr_is_running(c) || c->restarting)
		c->ask_stop = true;
	c->ask_timeout = op->timeout;
	mark_start(op, c);
	c->ask_start = true;
}

static void mark_kill(Operation *op, Container *c)
{
	AUTO_ERR err = ERR_INIT;
	if (!ctr_is_running(c))
		return;
	if (ctr_kill(c, op->signal, &err) < 0)
		operation_fail(op->s, c, "%s", err_text(&err));
	else
		operation_report(op->s, "container", c->name, c->svc.name, "killed");
}

static void mark_rm(Operation *op, Container *c)
{
	if (ctr_is_running(c) && !op->stop)
		return;
	ask_to_stop(op, c);
	c->ask_stop = false;
	c->ask_remove = true;
	c->remove_volumes = op->volumes;
}

/* Running containers whose depends_on says `restart: true` of a service that is restarted go with it. */
static void mark_dependents(Operation *op)
{
	const Stack *m = op->s->model;
	if (op->no_deps || !op->services)
		return;
	for (size_t i = 0; m && i < m->n_services; i++) {
		const Service *svc = &m->services[i];
		for (size_t k = 0; k < svc->n_depends; k++)
			if (svc->depends[k].restart && strv_has(op->services, svc->depends[k].service) &&
				!strv_has(op->services, svc->name)) {
				strv_add(&op->services, svc->name);
				i = (size_t) -1; /* from the start: this one may have dependents too */
				break;
			}
	}
}

static int down_begin(Operation *op, Err *err)
{
	Daemon *d = op->s->d;
	int r = state_set_down(op->s, err);
	if (r < 0)
		return r;
	op->s->down = true;
	for (size_t i = 0; i < d->n_containers; i++) {
		Container *c = d->containers[i];
		if (!str_eq(c->stack, op->s->name))
			continue;
		if (op->s->model && !stack_service(op->s->model, c->svc.name) && !op->remove_orphans)
			operation_warn(op->s, "container %s belongs to service '%s', which the file no longer has; it is removed too",
				c->name, c->svc.name);
		ask_to_stop(op, c);
		c->ask_stop = false;
		c->ask_remove = true;
		c->remove_volumes = true;
	}
	return 0;
}

static int marks_begin(Operation *op, Err *err)
{
	static void (*const marks[])(Operation *, Container *) = {
		[OP_STOP] = mark_stop,
		[OP_START] = mark_start,
		[OP_RESTART] = mark_restart,
		[OP_KILL] = mark_kill,
		[OP_RM] = mark_rm,
	};
	Daemon *d = op->s->d;
	size_t found = 0;
	for (char **name = op->services; name && *name; name++) {
		bool known = op->s->model && stack_service(op->s->model, *name);
		for (size_t i = 0; !known && i < d->n_containers; i++)
			known = str_eq(d->containers[i]->stack, op->s->name) && str_eq(d->containers[i]->svc.name, *name);
		if (!known)
			return err_set(err, -ENOENT, "no such service: %s", *name);
	}
	if (op->kind == OP_RESTART)
		mark_dependents(op);
	for (size_t i = 0; i < d->n_containers; i++)
		if (selected(op, d->containers[i])) {
			found++;
			marks[op->kind](op, d->containers[i]);
		}
	if (!found && op->kind == OP_START)
		return err_set(err, -ENOENT, "stack '%s' has no container to start; `stead up` makes them", op->s->name);
	return state_write_dirty(d, err);
}

static void begin(Operation *op)
{
	AUTO_ERR err = ERR_INIT;
	StackState *s = op->s;
	int r = op->kind == OP_UP ? up_begin(op, &err) : op->kind == OP_DOWN ? down_begin(op, &err) : is_deploy(op) ? deploy_begin(op, &err) : marks_begin(op, &err);
	s->restore = false;
	if (r < 0 && !op->failed) {
		operation_fail(s, NULL, "%s", err_text(&err));
		/* Refused before anything was begun: the file or the machine does not fit, as for a usage error. */
		json_object_set_new(op->failure, "code", json_integer(2));
		if (op->where.text[0])
			json_object_set_new(op->failure, "path", json_string(op->where.text));
	}
	stack_wake(s);
}

static Operation *take_queued(StackState *s)
{
	Operation *op = s->queue;
	s->queue = op->next;
	op->next = NULL;
	return op;
}

/* What an `up` records beside a deploy's releases: it is the stack since it began, whatever came of it. */
static void end_release(Operation *op)
{
	AUTO_ERR err = ERR_INIT;
	json_t *report = json_pack("{s:O}", "text", op->failed ? json_object_get(op->failure, "error") : json_null());
	if (!op->release || !op->s->model) {
		json_decref(report);
		return;
	}
	if (release_end(op->s->d, op->s->name, op->release, op->failed ? "failed" : "success", report, &err) < 0)
		log_error("stack %s: %s", op->s->name, err_text(&err));
	else if (!op->failed)
		release_trim(op->s);
}

static void finish(StackState *s)
{
	Operation *op = s->op;
	end_release(op);
	json_t *last = op->deploy ? deploy_last_line(op) : op->failed ? json_incref(op->failure) : json_pack("{s:s}", "result", "done");
	for (size_t i = 0; i < s->d->n_containers; i++)
		if (str_eq(s->d->containers[i]->stack, s->name))
			s->d->containers[i]->fresh = false;
	send_line(op, last);
	s->op = NULL;
	operation_free(op);
	while (s->queue && is_deploy(s->queue) && !s->queue->r)
		operation_free(take_queued(s)); /* nobody waits for it any more */
	if (s->queue) {
		s->op = take_queued(s);
		begin(s->op);
	} else if (!s->model) {
		stack_forget(s);
	}
}

/* What a first `up` that failed has made goes again: containers first, then networks and volumes. */
static bool undo(StackState *s)
{
	Operation *op = s->op;
	bool left = false;
	for (size_t i = 0; i < s->d->n_containers; i++) {
		Container *c = s->d->containers[i];
		if (!str_eq(c->stack, s->name) || !c->fresh)
			continue;
		left = true;
		c->ask_start = c->ask_stop = false;
		c->ask_remove = true;
		c->remove_volumes = true;
		c->wanted_running = false;
	}
	if (left) {
		stack_wake(s);
		return false;
	}
	for (char **name = op->new_networks; name && *name; name++)
		network_remove_by_name(s, *name);
	for (char **name = op->new_volumes; name && *name; name++)
		volume_remove_by_name(s, *name);
	if (op->first)
		state_delete_stack(s);
	return true;
}

/* `down` once the containers are gone. */
static void clean_up(StackState *s)
{
	Operation *op = s->op;
	network_remove_stack(s);
	if (op && op->volumes)
		volume_remove_stack(s);
	if (op && op->images)
		state_remove_stack_images(s, op->images);
	state_delete_stack(s);
}

/* What `up --wait` still waits for: true when it need not wait any longer. */
static bool waited(Operation *op)
{
	for (char **name = op->targets; name && *name; name++) {
		Container *c = daemon_container_by_name(op->s->d, *name);
		if (!c)
			continue;
		if (c->restarting || (ctr_is_running(c) && c->health_state == HEALTH_STARTING))
			return false;
		if (c->health_state == HEALTH_UNHEALTHY && ctr_is_running(c)) {
			operation_fail(op->s, c, "service '%s': container %s is unhealthy", c->svc.name, c->name);
			return true;
		}
		/* A one-shot that has done its work is as good as a running service. */
		if (c->phase == PHASE_EXITED && c->exit_code != 0) {
			operation_fail(op->s, c, "service '%s': container %s exited (%d)", c->svc.name, c->name, c->exit_code);
			return true;
		}
	}
	return true;
}

void operation_check(StackState *s)
{
	Daemon *d = s->d;
	if (s->awake)
		return; /* a step has changed things: plan first */
	if (s->op && s->op->deploy) {
		if (deploy_check(s->op))
			finish(s);
		return;
	}
	bool any = false;
	for (size_t i = 0; i < d->n_containers; i++) {
		Container *c = d->containers[i];
		if (!str_eq(c->stack, s->name))
			continue;
		any = true;
		if (c->ask_start || c->ask_stop || c->ask_remove || ctr_is_busy(c))
			return;
	}
	if (s->n_missing)
		return;
	Operation *op = s->op;
	if (s->down && !any) {
		clean_up(s);
		if (!op) {
			stack_forget(s);
			return;
		}
	}
	if (!op) {
		s->restore = false;
		return;
	}
	if (op->kind == OP_UP && op->wait && !op->failed && !waited(op))
		return;
	if (op->failed && op->kind == OP_UP && !op->undone) {
		if (!undo(s))
			return;
		op->undone = true;
	}
	if (!op->failed && !daemon_edge_settled(d))
		return; /* it wakes the stack */
	finish(s);
}

static int parse_options(Operation *op, json_t *body, Err *err)
{
	const struct {
		const char *key;
		bool *value;
	} flags[] = {
		{ "wait", &op->wait },
		{ "no_start", &op->no_start },
		{ "no_deps", &op->no_deps },
		{ "force_recreate", &op->force_recreate },
		{ "no_recreate", &op->no_recreate },
		{ "always_recreate_deps", &op->always_recreate_deps },
		{ "remove_orphans", &op->remove_orphans },
		{ "renew_anon_volumes", &op->renew_volumes },
		{ "volumes", &op->volumes },
		{ "stop", &op->stop },
	};
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		json_t *v = json_object_get(body, flags[i].key);
		if (v && !json_is_boolean(v))
			return err_set(err, -EINVAL, "%s: true or false is expected", flags[i].key);
		*flags[i].value = json_is_true(v);
	}
	json_t *v = json_object_get(body, "timeout");
	op->timeout = -1;
	if (v && !json_is_null(v)) {
		if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 86400)
			return err_set(err, -EINVAL, "timeout: seconds from 0 to 86400 are expected");
		op->timeout = (int) json_integer_value(v);
	}
	size_t i;
	json_t *item;
	v = json_object_get(body, "services");
	if (v && !json_is_array(v))
		return err_set(err, -EINVAL, "services: a list of names is expected");
	json_array_foreach(v, i, item) {
		if (!json_is_string(item))
			return err_set(err, -EINVAL, "services: a list of names is expected");
		strv_add(&op->services, json_string_value(item));
	}
	const char *key;
	json_object_foreach(json_object_get(body, "scale"), key, item) {
		if (!json_is_integer(item) || json_integer_value(item) < 0 || json_integer_value(item) > 1000)
			return err_set(err, -EINVAL, "scale: '%s' needs a number from 0 to 1000", key);
		strv_take(&op->scale, xasprintf("%s=%d", key, (int) json_integer_value(item)));
	}
	const char *images = json_string_value(json_object_get(body, "images"));
	if (!str_empty(images)) {
		if (!str_eq(images, "all") && !str_eq(images, "local"))
			return err_set(err, -EINVAL, "images: 'all' or 'local' is expected, not '%s'", images);
		op->images = xstrdup(images);
	}
	const char *signal_name = json_string_value(json_object_get(body, "signal"));
	op->signal = SIGKILL;
	if (signal_name && (op->signal = signal_parse(signal_name)) <= 0)
		return err_set(err, -EINVAL, "signal: '%s' is no signal", signal_name);
	return 0;
}

static int parse_model(Operation *op, json_t *body, const char *stack, Err *err)
{
	ModelPath where = { "" };
	AUTO_ERR inner = ERR_INIT;
	if (stack_from_json(json_object_get(body, "model"), &op->model, &where, &inner) < 0)
		return err_set(err, -EINVAL, "%s%s%s", where.text, where.text[0] ? ": " : "", err_text(&inner));
	if (!str_eq(op->model->name, stack))
		return err_set(err, -EINVAL, "the model is of project '%s', not '%s'", op->model->name, stack);
	return 0;
}

static bool is_starting(const Operation *op)
{
	return is_deploy(op) || op->kind == OP_UP || op->kind == OP_START || op->kind == OP_RESTART;
}

static bool is_ending(const Operation *op)
{
	return op->kind == OP_DOWN || op->kind == OP_STOP || op->kind == OP_KILL || (op->kind == OP_RM && op->stop);
}

/* Nobody should have to wait for a health that never comes before he may stop it. */
static void call_off_starting(StackState *s)
{
	if (s->op->deploy) {
		deploy_call_off(s->op, "called off: the stack is being stopped", true);
		return;
	}
	operation_fail(s, NULL, "called off: the stack is being stopped");
	s->op->undone = true;
}

static char *holder(const StackState *s)
{
	char *text = deploy_holder(s);
	return text ? text : xasprintf("another operation on stack '%s' is under way", s->name);
}

static int check_free(const Operation *op, const StackState *s, Err *err)
{
	if (!op->no_wait || !s || !s->op)
		return 0;
	AUTO_FREE char *text = holder(s);
	return err_set(err, -EBUSY, "%s; wait for it (without --no-wait), or call it off with Ctrl-C where it was begun", text);
}

static void tell_holder(Operation *op)
{
	AUTO_FREE char *text = holder(op->s);
	send_line(op, json_pack("{s:s, s:s, s:s, s:s, s:s}", "kind", "deploy", "service", "", "step", "wait", "status", "begin", "detail", text));
}

int operation_submit(Daemon *d, OperationKind kind, const char *stack, json_t *body, HttpRequest *r, Err *err)
{
	if (!stack_name_valid(stack))
		return err_set(err, -EINVAL, "'%s' is no project name", stack);
	bool known = daemon_stack(d, stack) != NULL;
	if (!known && kind != OP_UP && kind != OP_DOWN && kind != OP_DEPLOY)
		return err_set(err, -ENOENT, "no such stack: %s", stack);
	Operation *op = xcalloc(1, sizeof(*op));
	op->kind = kind;
	int e = parse_options(op, body, err);
	if (e == 0 && (kind == OP_UP || kind == OP_DEPLOY))
		e = parse_model(op, body, stack, err);
	if (e == 0 && (kind == OP_UP || is_deploy(op)))
		e = deploy_parse(op, body, err);
	if (e == 0)
		e = check_free(op, daemon_stack(d, stack), err);
	if (e < 0) {
		operation_free(op);
		return e;
	}
	StackState *s = op->s = stack_state(d, stack);
	op->first = kind == OP_UP && !s->model;
	op->r = r;
	http_set_user(r, op, client_gone);
	http_stream_begin(r, 200, "application/x-ndjson");
	if (s->op) {
		if (is_ending(op) && is_starting(s->op))
			call_off_starting(s);
		else if (is_deploy(op))
			tell_holder(op);
		Operation **last = &s->queue;
		while (*last)
			last = &(*last)->next;
		*last = op;
	} else {
		s->op = op;
		begin(op);
	}
	return 0;
}
