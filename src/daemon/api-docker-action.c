// SPDX-License-Identifier: Apache-2.0
/*
 * What is done to one container: start, stop, restart, kill, pause, wait, remove. The intent is written
 * first, then the answer waits (ctr_wait) for what was asked to have come true. Unlike an operation on a
 * stack, a start here does not look at dependencies, as with docker start.
 */
#include <errno.h>
#include <signal.h>

#include "base/mem.h"
#include "base/str.h"
#include "daemon/api-docker.h"
#include "daemon/container.h"
#include "daemon/events.h"
#include "daemon/state.h"
#include "run/attach.h"
#include "run/bundle.h"

typedef struct Action Action;
struct Action {
	HttpRequest *r; /* NULL once the client has gone: the action goes on */
	Waiter *waiter;
	void (*next)(Action *a, Container *c, int exit_code); /* the condition has come true; c is NULL when it was removed */
	bool streams; /* wait: the headers have gone out */
	bool restart; /* announce a restart */
};

static void action_gone(void *user)
{
	Action *a = user;
	a->r = NULL;
	/* What only answers is over; a restart has its second half still to do. */
	if (!a->restart) {
		ctr_wait_cancel(a->waiter);
		free(a);
	}
}

static Action *action_new(HttpRequest *r, void (*next)(Action *a, Container *c, int exit_code))
{
	Action *a = xcalloc(1, sizeof(*a));
	a->r = r;
	a->next = next;
	http_set_user(r, a, action_gone);
	return a;
}

static void action_true(void *user, Container *c, int exit_code)
{
	Action *a = user;
	a->waiter = NULL;
	a->next(a, c, exit_code);
}

static void action_wait(Action *a, Container *c, WaitFor what)
{
	/* The callback may come from inside and free `a`. */
	Waiter *w = ctr_wait(c, what, action_true, a);
	if (w)
		a->waiter = w;
}

/** Takes the request out of the action, which ends. NULL when the client has gone. */
static HttpRequest *action_end(Action *a)
{
	HttpRequest *r = a->r;
	if (r)
		http_set_user(r, NULL, NULL);
	free(a);
	return r;
}

static void answer_done(Action *a, Container *c, int exit_code)
{
	HttpRequest *r = action_end(a);
	if (r)
		http_reply(r, 204, NULL, NULL, 0);
}

/** Writes what is wanted before anything is done. False: answered. */
static bool intent_written(HttpRequest *r, Container *c)
{
	AUTO_ERR err = ERR_INIT;
	ctr_changed(c);
	if (state_write_dirty(c->d, &err) == 0)
		return true;
	http_error_err(r, &err);
	return false;
}

static bool going(HttpRequest *r, const Container *c)
{
	if (c->phase != PHASE_REMOVING && !c->ask_remove)
		return false;
	http_error(r, 409, "container %s is being removed", c->name);
	return true;
}

/* ── start ────────────────────────────────────────────────────────── */

static void answer_started(Action *a, Container *c, int exit_code)
{
	bool ok = c && (ctr_is_running(c) || !c->error);
	HttpRequest *r = action_end(a);
	if (!r)
		return;
	if (ok)
		http_reply(r, 204, NULL, NULL, 0);
	else if (!c)
		http_error(r, 409, "the container was removed");
	else /* a command that is not there is the caller's mistake, as docker has it */
		http_error(r, exit_code == 126 || exit_code == 127 ? 400 : 500, "%s", c->error);
}

static void begin_start(Container *c)
{
	c->ask_start = true;
	c->wanted_running = true;
	c->restart_tries = c->restart_count = 0;
	ctr_changed(c);
	if (!ctr_is_busy(c))
		ctr_start(c);
}

static void start(Daemon *d, HttpRequest *r, char *const *args)
{
	Container *c = docker_container(d, r, args[0]);
	if (!c || going(r, c))
		return;
	if (c->paused) {
		http_error(r, 409, "cannot start a paused container, try unpause instead");
		return;
	}
	if (c->phase == PHASE_RUNNING) {
		http_reply(r, 304, NULL, NULL, 0);
		return;
	}
	c->wanted_running = true;
	if (!intent_written(r, c))
		return;
	Action *a = action_new(r, answer_started);
	begin_start(c);
	action_wait(a, c, WAIT_RUNNING);
}

/* ── stop, restart, kill ──────────────────────────────────────────── */

/** The "t" of the query in seconds, -1 = the container's own. False: answered. */
static bool query_timeout(HttpRequest *r, int *ret)
{
	int64_t t;
	if (!docker_query_number(r, "t", -1, &t))
		return false;
	*ret = t > 86400 ? 86400 : (int) t;
	return true;
}

static void begin_stop(Container *c, int timeout, bool wanted)
{
	c->ask_timeout = timeout;
	c->wanted_running = wanted;
	c->ask_start = false;
	if (ctr_is_running(c) || c->restarting || ctr_is_busy(c))
		c->ask_stop = true;
}

static void stop(Daemon *d, HttpRequest *r, char *const *args)
{
	Container *c = docker_container(d, r, args[0]);
	int timeout;
	if (!c || !query_timeout(r, &timeout))
		return;
	if (!ctr_is_running(c) && !c->restarting && !ctr_is_busy(c)) {
		http_reply(r, 304, NULL, NULL, 0);
		return;
	}
	begin_stop(c, timeout, false);
	if (intent_written(r, c))
		action_wait(action_new(r, answer_done), c, WAIT_NOT_RUNNING);
}

static void restart_stopped(Action *a, Container *c, int exit_code)
{
	if (!c) {
		HttpRequest *r = action_end(a);
		if (r)
			http_error(r, 409, "the container was removed");
		return;
	}
	a->restart = false;
	events_container(c, "restart");
	begin_start(c);
	if (!a->r) {
		free(a);
		return;
	}
	a->next = answer_started;
	action_wait(a, c, WAIT_RUNNING);
}

static void restart(Daemon *d, HttpRequest *r, char *const *args)
{
	Container *c = docker_container(d, r, args[0]);
	int timeout;
	if (!c || going(r, c) || !query_timeout(r, &timeout))
		return;
	begin_stop(c, timeout, true);
	if (!intent_written(r, c))
		return;
	Action *a = action_new(r, restart_stopped);
	a->restart = true;
	action_wait(a, c, WAIT_NOT_RUNNING);
}

static void kill_container(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	Container *c = docker_container(d, r, args[0]);
	if (!c)
		return;
	const char *name = http_query(r, "signal");
	int sig = str_empty(name) ? SIGKILL : signal_parse(name);
	if (sig <= 0)
		http_error(r, 400, "Invalid signal: %s", name);
	else if (!ctr_is_running(c))
		http_error(r, 409, "Cannot kill container: %s: Container %s is not running", args[0], c->id);
	else if (ctr_kill(c, sig, &err) < 0)
		http_error_err(r, &err);
	else if (sig == SIGKILL)
		action_wait(action_new(r, answer_done), c, WAIT_NOT_RUNNING);
	else
		http_reply(r, 204, NULL, NULL, 0);
}

/* ── pause, resize, rename ────────────────────────────────────────── */

static void pause_or_not(Daemon *d, HttpRequest *r, const char *ref, bool pause)
{
	AUTO_ERR err = ERR_INIT;
	Container *c = docker_container(d, r, ref);
	if (!c)
		return;
	if (ctr_pause(c, pause, &err) < 0)
		http_error_err(r, &err);
	else
		http_reply(r, 204, NULL, NULL, 0);
}

static void pause_container(Daemon *d, HttpRequest *r, char *const *args)
{
	pause_or_not(d, r, args[0], true);
}

static void unpause(Daemon *d, HttpRequest *r, char *const *args)
{
	pause_or_not(d, r, args[0], false);
}

static void resize(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	int64_t rows, cols;
	const Container *c = docker_container(d, r, args[0]);
	if (!c || !docker_query_number(r, "h", 0, &rows) || !docker_query_number(r, "w", 0, &cols))
		return;
	if (rows < 0 || rows > UINT16_MAX || cols < 0 || cols > UINT16_MAX)
		http_error(r, 400, "a terminal has at most %d rows and columns", UINT16_MAX);
	else if (!ctr_is_running(c))
		http_error(r, 409, "Container %s is not running", c->id);
	else if (container_resize(c->paths, (unsigned) rows, (unsigned) cols, &err) < 0)
		http_error_err(r, &err);
	else
		http_reply(r, 200, NULL, NULL, 0);
}

static void no_rename(Daemon *d, HttpRequest *r, char *const *args)
{
	const Container *c = docker_container(d, r, args[0]);
	if (c)
		http_error(r, 409, "container %s belongs to stack '%s': its name comes from the compose file (container_name)", c->name, c->stack);
}

static void no_update(Daemon *d, HttpRequest *r, char *const *args)
{
	const Container *c = docker_container(d, r, args[0]);
	if (c)
		http_error(r, 409, "container %s belongs to stack '%s': change the compose file and run 'stead up'", c->name, c->stack);
}

/* ── wait ─────────────────────────────────────────────────────────── */

static void answer_waited(Action *a, Container *c, int exit_code)
{
	HttpRequest *r = action_end(a);
	if (!r)
		return;
	(void) http_stream_json(r, json_pack("{s:i, s:n}", "StatusCode", exit_code, "Error"));
	http_stream_end(r);
}

static void wait_for(Daemon *d, HttpRequest *r, char *const *args)
{
	static const struct {
		const char *name;
		WaitFor what;
	} conditions[] = { { "", WAIT_NOT_RUNNING }, { "not-running", WAIT_NOT_RUNNING }, { "next-exit", WAIT_NEXT_EXIT },
		{ "removed", WAIT_REMOVED } };
	Container *c = docker_container(d, r, args[0]);
	if (!c)
		return;
	const char *name = http_query(r, "condition");
	for (size_t i = 0; i < ARRAY_SIZE(conditions); i++)
		if (str_eq(conditions[i].name, name ? name : "")) {
			Action *a = action_new(r, answer_waited);
			/* The headers at once: a client starts the container only when it has them. */
			http_stream_begin(r, 200, "application/json");
			action_wait(a, c, conditions[i].what);
			return;
		}
	http_error(r, 400, "condition: '%s' is none of not-running, next-exit, removed", name);
}

/* ── remove ───────────────────────────────────────────────────────── */

static void remove_container(Daemon *d, HttpRequest *r, char *const *args)
{
	Container *c = docker_container(d, r, args[0]);
	if (!c)
		return;
	bool force = http_query_bool(r, "force", false);
	if (c->phase == PHASE_REMOVING) {
		http_error(r, 409, "removal of container %s is already in progress", c->name);
		return;
	}
	if (http_query_bool(r, "link", false)) {
		http_error(r, 400, "there are no links here: the networks of a stack resolve the names of its services");
		return;
	}
	if ((ctr_is_running(c) || c->restarting) && !force) {
		http_error(r, 409, "You cannot remove a %s container %s. Stop the container before attempting removal or force remove",
			ctr_status(c), c->id);
		return;
	}
	begin_stop(c, force ? 0 : -1, false);
	c->ask_stop = false;
	c->ask_remove = true;
	c->remove_volumes = http_query_bool(r, "v", false);
	if (intent_written(r, c))
		action_wait(action_new(r, answer_done), c, WAIT_REMOVED);
}

const ApiRoute api_docker_action_routes[] = {
	{ "POST", "/containers/*/start", start, false },
	{ "POST", "/containers/*/stop", stop, false },
	{ "POST", "/containers/*/restart", restart, false },
	{ "POST", "/containers/*/kill", kill_container, false },
	{ "POST", "/containers/*/pause", pause_container, false },
	{ "POST", "/containers/*/unpause", unpause, false },
	{ "POST", "/containers/*/resize", resize, false },
	{ "POST", "/containers/*/rename", no_rename, false },
	{ "POST", "/containers/*/update", no_update, false },
	{ "POST", "/containers/*/wait", wait_for, false },
	{ "DELETE", "/containers/*", remove_container, false },
	{ NULL, NULL, NULL, false },
};
