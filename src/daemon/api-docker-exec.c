// SPDX-License-Identifier: Apache-2.0
/*
 * Exec: an instance is made (POST /containers/{id}/exec), started on a connection that it takes over
 * (POST /exec/{id}/start), and asked for its exit code (GET /exec/{id}/json). Instances live in memory
 * only: what runs in one ends with the daemon. A finished one is kept for five minutes.
 */
#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/api-docker.h"
#include "daemon/container.h"
#include "daemon/detach.h"
#include "daemon/events.h"
#include "daemon/json.h"
#include "io/frames.h"
#include "run/exec.h"

#define KEEP_FINISHED (300 * NSEC_PER_SEC)
#define INPUT_BACKLOG (64U << 10) /* typed bytes that the process has not read: the client is held back */

typedef struct Instance Instance;
struct Instance {
	Daemon *d;
	char id[65];
	char container[65];
	char **cmd, **env;
	char *cwd, *user, *detach_keys;
	bool privileged, tty, in, out, err;
	unsigned rows, cols;
	bool started, running;
	int exit_code;
	pid_t pid;
	int64_t finished; /* monotonic */
	Exec *exec;       /* while it runs */
	HttpRequest *r;   /* while a client is attached */
	DetachKeys keys;
	Instance *next;
};

/* The API's own: nothing else of the daemon knows about instances. */
static Instance *instances;

static void instance_free(Instance *x)
{
	strv_free(x->cmd);
	strv_free(x->env);
	free(x->cwd);
	free(x->user);
	free(x->detach_keys);
	free(x);
}

/** Drops what is finished and old, or whose container is gone; gives the number that is left. */
static size_t collect(Daemon *d)
{
	size_t n = 0;
	int64_t now = time_mono();
	for (Instance **p = &instances; *p;) {
		Instance *x = *p;
		Container *c;
		bool gone = daemon_find_container(d, x->container, &c, NULL) < 0;
		if (!x->running && (gone || (x->started && now - x->finished > KEEP_FINISHED))) {
			*p = x->next;
			instance_free(x);
		} else {
			p = &x->next;
			n++;
		}
	}
	return n;
}

static Instance *find(HttpRequest *r, const char *id)
{
	Instance *found = NULL;
	for (Instance *x = instances; x; x = x->next)
		if (str_eq(x->id, id) || (strlen(id) >= 4 && str_starts(x->id, id) && !found))
			found = x;
	if (!found)
		http_error(r, 404, "No such exec instance: %s", id);
	return found;
}

json_t *docker_exec_ids(const Container *c)
{
	json_t *list = json_array();
	for (const Instance *x = instances; x; x = x->next)
		if (x->running && str_eq(x->container, c->id))
			json_array_append_new(list, json_string(x->id));
	if (json_array_size(list))
		return list;
	json_decref(list);
	return json_null();
}

static void announce(const Instance *x, Container *c, const char *what)
{
	AUTO_BUF action = BUF_INIT;
	buf_printf(&action, "%s:", what);
	for (char *const *a = x->cmd; *a; a++)
		buf_printf(&action, " %s", *a);
	events_container_with(c, buf_cstr(&action), "execID", x->id);
}

/* ── create ───────────────────────────────────────────────────────── */

static bool flag(const json_t *body, const char *key)
{
	return json_is_true(json_object_get(body, key));
}

static char *text(const json_t *body, const char *key)
{
	const char *s = json_string_value(json_object_get(body, key));
	return str_empty(s) ? NULL : xstrdup(s);
}

/** [rows, columns], as later API versions have it. */
static void console_size(const json_t *body, unsigned *rows, unsigned *cols)
{
	const json_t *a = json_object_get(body, "ConsoleSize");
	json_int_t h = json_integer_value(json_array_get(a, 0)), w = json_integer_value(json_array_get(a, 1));
	if (h > 0 && h <= UINT16_MAX && w > 0 && w <= UINT16_MAX) {
		*rows = (unsigned) h;
		*cols = (unsigned) w;
	}
}

static bool not_running(HttpRequest *r, const Container *c)
{
	if (!ctr_is_running(c))
		http_error(r, 409, "Container %s is not running", c->id);
	else if (c->paused)
		http_error(r, 409, "Container %s is paused, unpause the container before exec", c->id);
	else
		return false;
	return true;
}

static void create(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	json_t *body = NULL;
	Container *c = docker_container(d, r, args[0]);
	if (!c || not_running(r, c))
		return;
	if (http_body_json(r, &body, &err) < 0) {
		http_error_err(r, &err);
		return;
	}
	AUTO_STRV char **cmd = json_to_strv(json_object_get(body, "Cmd"));
	if (!cmd) {
		http_error(r, 400, "No exec command specified");
	} else if (collect(d) >= LIMIT_EXECS) {
		http_error(r, 409, "%d exec instances exist already; end some of them first", LIMIT_EXECS);
	} else {
		Instance *x = xcalloc(1, sizeof(*x));
		x->d = d;
		hex_random(32, x->id);
		memcpy(x->container, c->id, sizeof(x->container));
		x->cmd = steal_ptr(&cmd);
		x->env = json_to_strv(json_object_get(body, "Env"));
		x->cwd = text(body, "WorkingDir");
		x->user = text(body, "User");
		x->detach_keys = text(body, "DetachKeys");
		x->privileged = flag(body, "Privileged");
		x->tty = flag(body, "Tty");
		x->in = flag(body, "AttachStdin");
		x->out = flag(body, "AttachStdout");
		x->err = flag(body, "AttachStderr");
		console_size(body, &x->rows, &x->cols);
		x->next = instances;
		instances = x;
		announce(x, c, "exec_create");
		http_reply_json(r, 201, json_pack("{s:s}", "Id", x->id));
	}
	json_decref(body);
}

/* ── the stream ───────────────────────────────────────────────────── */

static void send_output(Instance *x, int stream, const char *p, size_t n)
{
	AUTO_BUF b = BUF_INIT;
	uint8_t header[FRAME_HEADER];
	if (!x->r)
		return;
	if (!x->tty) {
		frame_header(stream == 2 ? FRAME_STDERR : FRAME_STDOUT, n, header);
		buf_append(&b, header, sizeof(header));
		buf_append(&b, p, n);
		p = b.data;
		n = b.len;
	}
	if (http_stream_write(x->r, p, n) > LIMIT_API_BACKLOG && x->exec)
		exec_pause(x->exec, true);
}

static void on_output(void *user, int stream, const char *p, size_t n)
{
	Instance *x = user;
	if (stream == 2 ? x->err : x->out)
		send_output(x, stream, p, n);
}

static void on_taken(void *user)
{
	Instance *x = user;
	if (x->exec)
		exec_pause(x->exec, false);
}

static void on_input_written(void *user)
{
	Instance *x = user;
	if (x->r)
		http_body_pause(x->r, false);
}

/** The client is no longer there, or has detached: the process runs on, as with docker. */
static void client_gone(void *user)
{
	Instance *x = user;
	x->r = NULL;
	if (!x->exec)
		return;
	exec_pause(x->exec, false);
	exec_close_stdin(x->exec);
}

static void on_exited(void *user, int code, const char *error)
{
	Instance *x = user;
	Container *c;
	char number[12];
	x->exec = NULL;
	x->running = false;
	x->exit_code = code;
	x->finished = time_mono();
	if (error) {
		AUTO_FREE char *line = xasprintf("%s%s", error, x->tty ? "\r\n" : "\n");
		send_output(x, 2, line, strlen(line));
	}
	if (daemon_find_container(x->d, x->container, &c, NULL) == 0) {
		(void) snprintf(number, sizeof(number), "%d", code);
		events_container_with(c, "exec_die", "exitCode", number);
	}
	/* Only now: who has seen the end of the stream asks for the exit code. */
	HttpRequest *r = x->r;
	x->r = NULL;
	if (r) {
		http_set_user(r, NULL, NULL);
		http_stream_end(r);
	}
}

static void on_typed(void *user, const void *p, size_t n)
{
	Instance *x = user;
	AUTO_BUF in = BUF_INIT;
	if (!x->exec || !x->in)
		return;
	if (n == 0) {
		exec_close_stdin(x->exec);
		return;
	}
	bool detach = detach_keys_feed(&x->keys, p, n, &in);
	ssize_t waiting = in.len ? exec_write(x->exec, in.data, in.len) : 0;
	if (detach)
		http_stream_end(x->r);
	else if (waiting > (ssize_t) INPUT_BACKLOG)
		http_body_pause(x->r, true);
}

static void drop_typed(void *user, const void *p, size_t n)
{
}

/* ── start ────────────────────────────────────────────────────────── */

static int begin(Instance *x, const Container *c, bool detach, Err *err)
{
	ExecSpec spec = {
		.runtime = x->d->runtime,
		.paths = c->paths,
		.cmd = x->cmd,
		.env = x->env,
		.cwd = x->cwd,
		.user = x->user,
		.privileged = x->privileged,
		.tty = x->tty,
		.attach_stdin = x->in && !detach,
		.attach_stdout = x->out && !detach,
		.attach_stderr = x->err && !detach,
		.rows = x->rows,
		.cols = x->cols,
	};
	ExecCallbacks cb = { .output = on_output, .drained = on_input_written, .exited = on_exited, .user = x };
	int r = x->tty && x->in ? detach_keys_parse(x->detach_keys, &x->keys, err) : 0;
	if (r == 0)
		r = exec_start(x->d->loop, &spec, &cb, &x->exec, err);
	if (r < 0)
		return r;
	x->started = x->running = true;
	return 0;
}

/** As docker: the reason goes down the stream and the exit code is 126, since its client shows no other answer. */
static void start_failed(Instance *x, HttpRequest *r, bool detach, const Err *err)
{
	x->started = true;
	x->exit_code = 126;
	x->finished = time_mono();
	if (detach) {
		http_error_err(r, err);
		return;
	}
	AUTO_FREE char *line = xasprintf("%s%s", err_text(err), x->tty ? "\r\n" : "\n");
	http_hijack(r, drop_typed);
	x->r = r;
	send_output(x, 2, line, strlen(line));
	x->r = NULL;
	http_stream_end(r);
}

static void start(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	json_t *body = NULL;
	Instance *x = find(r, args[0]);
	Container *c = x ? docker_container(d, r, x->container) : NULL;
	if (!c)
		return;
	if (x->started) {
		http_error(r, 409, "exec instance %s was started already", x->id);
		return;
	}
	if (not_running(r, c))
		return;
	if (http_body_json(r, &body, &err) < 0) {
		http_error_err(r, &err);
		return;
	}
	bool detach = flag(body, "Detach");
	console_size(body, &x->rows, &x->cols);
	json_decref(body);
	if (begin(x, c, detach, &err) < 0) {
		start_failed(x, r, detach, &err);
		return;
	}
	announce(x, c, "exec_start");
	if (detach) {
		http_reply(r, 200, NULL, NULL, 0);
		return;
	}
	x->r = r;
	http_set_user(r, x, client_gone);
	http_on_drained(r, on_taken);
	http_hijack(r, on_typed);
}

static void resize(Daemon *d, HttpRequest *r, char *const *args)
{
	int64_t rows, cols;
	const Instance *x = find(r, args[0]);
	if (!x || !docker_query_number(r, "h", 0, &rows) || !docker_query_number(r, "w", 0, &cols))
		return;
	if (rows < 0 || rows > UINT16_MAX || cols < 0 || cols > UINT16_MAX)
		http_error(r, 400, "a terminal has at most %d rows and columns", UINT16_MAX);
	else if (!x->exec)
		http_error(r, 409, "exec instance %s is not running", x->id);
	else if (exec_resize(x->exec, (unsigned) rows, (unsigned) cols) < 0)
		http_error(r, 400, "exec instance %s has no terminal", x->id);
	else
		http_reply(r, 200, NULL, NULL, 0);
}

static void inspect(Daemon *d, HttpRequest *r, char *const *args)
{
	const Instance *x = find(r, args[0]);
	if (!x)
		return;
	json_t *process = json_pack("{s:b, s:o, s:o, s:b}", "tty", x->tty, "entrypoint", json_safe(x->cmd[0]), "arguments",
		json_strv(x->cmd + 1), "privileged", x->privileged);
	if (x->user)
		json_object_set_new(process, "user", json_safe(x->user));
	json_t *o = json_pack("{s:s, s:b, s:o, s:o, s:b, s:b, s:b, s:b, s:s, s:s, s:i}", "ID", x->id, "Running", x->running, "ExitCode",
		x->started && !x->running ? json_integer(x->exit_code) : json_null(), "ProcessConfig", process, "OpenStdin", x->in,
		"OpenStdout", x->out, "OpenStderr", x->err, "CanRemove", false, "ContainerID", x->container, "DetachKeys", "", "Pid",
		x->exec ? (int) exec_pid(x->exec) : 0);
	http_reply_json(r, 200, o);
}

const ApiRoute api_docker_exec_routes[] = {
	{ "POST", "/containers/*/exec", create, false },
	{ "POST", "/exec/*/start", start, false },
	{ "POST", "/exec/*/resize", resize, false },
	{ "GET", "/exec/*/json", inspect, false },
	{ NULL, NULL, NULL, false },
};
