// SPDX-License-Identifier: Apache-2.0
/*
 * Logs and attach. Both write the frames of io/frames.h (raw bytes with a terminal). What is read of a
 * log is gathered into larger writes, a bounded piece of it each turn of the loop, and nothing more is
 * read while the client has not taken what it was sent.
 *
 * Attach with `logs` first holds conmon's stream back, sends the log, then lets the stream go.
 */
#include <errno.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/api-docker.h"
#include "daemon/container.h"
#include "daemon/detach.h"
#include "daemon/events.h"
#include "io/frames.h"
#include "run/attach.h"
#include "run/logs.h"

#define TURN_ENTRIES 1024
#define TURN_BYTES (64U << 10)
#define INPUT_BACKLOG (64U << 10) /* typed bytes that the container has not read: the client is held back */
#define RAW_TYPE "application/vnd.docker.raw-stream"

typedef struct LogStream {
	HttpRequest *r;
	LogReader *reader;
	uv_poll_t *poll;   /* while following */
	uv_timer_t *turn;
	Waiter *waiter;    /* for the container's end */
	Buf out;
	bool tty, timestamps;
	bool last;         /* the container has ended: what is there now is all */
	bool stalled;      /* the client has not taken what it was sent */
	bool in_line[3];   /* per stream: the entry goes on a line that was begun */
	/* Attach. */
	Attach *attach;
	bool opening; /* the log is still to be sent before the stream */
	bool want_out, want_err, want_in;
	DetachKeys keys;
} LogStream;

static void handle_closed(uv_handle_t *h)
{
	free(h);
}

static void log_done(LogStream *ls)
{
	if (ls->poll)
		uv_close((uv_handle_t *) ls->poll, handle_closed);
	ls->poll = NULL;
	log_reader_free(ls->reader);
	ls->reader = NULL;
}

static void stream_closed(void *user)
{
	LogStream *ls = user;
	log_done(ls);
	ctr_wait_cancel(ls->waiter);
	if (ls->attach)
		attach_close(ls->attach);
	uv_close((uv_handle_t *) ls->turn, handle_closed);
	buf_done(&ls->out);
	free(ls);
}

/** Frame and payload behind each other in `out`. */
static void add_frame(LogStream *ls, int stream, const char *time, const char *p, size_t n)
{
	uint8_t header[FRAME_HEADER];
	if (!ls->tty) {
		frame_header(stream == 2 ? FRAME_STDERR : FRAME_STDOUT, n + strlen(time), header);
		buf_append(&ls->out, header, sizeof(header));
	}
	buf_str(&ls->out, time);
	buf_append(&ls->out, p, n);
}

static void add_entry(LogStream *ls, const LogEntry *e)
{
	char time[TIME_TEXT_MAX] = "";
	char text[TIME_TEXT_MAX + 1] = "";
	bool *in_line = &ls->in_line[e->stream == 2 ? 2 : 1];
	if (ls->timestamps && !*in_line)
		(void) snprintf(text, sizeof(text), "%s ", time_rfc3339(e->time, time));
	*in_line = e->partial;
	add_frame(ls, e->stream, text, e->data, e->len);
}

/** Sends what was gathered. */
static void flush(LogStream *ls)
{
	if (http_stream_write(ls->r, ls->out.data, ls->out.len) > LIMIT_API_BACKLOG)
		ls->stalled = true;
	buf_clear(&ls->out);
}

static void log_ended(LogStream *ls)
{
	log_done(ls);
	if (!ls->opening) {
		http_stream_end(ls->r);
		return;
	}
	ls->opening = false;
	if (ls->attach)
		attach_pause(ls->attach, false);
	else
		http_stream_end(ls->r);
}

static void on_turn(uv_timer_t *t);
static void on_more(uv_poll_t *p, int status, int events);

static void pump(LogStream *ls)
{
	int r = 1;
	LogEntry e;
	for (int i = 0; i < TURN_ENTRIES && ls->out.len < TURN_BYTES && r > 0; i++) {
		r = log_reader_next(ls->reader, &e);
		if (r > 0)
			add_entry(ls, &e);
	}
	flush(ls);
	if (ls->poll && (r > 0 || ls->stalled))
		(void) uv_poll_stop(ls->poll);
	if (ls->stalled)
		return;
	if (r > 0)
		(void) uv_timer_start(ls->turn, on_turn, 0, 0);
	else if (r < 0 || !ls->poll || ls->last || log_reader_ended(ls->reader))
		log_ended(ls);
	else
		(void) uv_poll_start(ls->poll, UV_READABLE, on_more);
}

static void on_turn(uv_timer_t *t)
{
	LogStream *ls = t->data;
	if (ls->reader && !ls->stalled)
		pump(ls);
}

static void on_more(uv_poll_t *p, int status, int events)
{
	pump(p->data);
}

static void on_taken(void *user)
{
	LogStream *ls = user;
	ls->stalled = false;
	if (ls->reader)
		(void) uv_timer_start(ls->turn, on_turn, 0, 0);
	else if (ls->attach)
		attach_pause(ls->attach, false);
}

static LogStream *stream_new(Container *c, HttpRequest *r)
{
	LogStream *ls = xcalloc(1, sizeof(*ls));
	ls->r = r;
	ls->tty = c->svc.tty;
	ls->turn = xcalloc(1, sizeof(*ls->turn));
	(void) uv_timer_init(c->d->loop, ls->turn);
	ls->turn->data = ls;
	http_set_user(r, ls, stream_closed);
	http_on_drained(r, on_taken);
	return ls;
}

/* ── logs ─────────────────────────────────────────────────────────── */

static void container_ended(void *user, Container *c, int exit_code)
{
	LogStream *ls = user;
	ls->waiter = NULL;
	ls->last = true;
	if (ls->reader && !ls->stalled)
		(void) uv_timer_start(ls->turn, on_turn, 0, 0);
}

static bool follow(LogStream *ls, Container *c)
{
	int fd = log_reader_fd(ls->reader);
	if (fd < 0)
		return false;
	uv_poll_t *poll = xcalloc(1, sizeof(*poll));
	if (uv_poll_init(c->d->loop, poll, fd) < 0) {
		free(poll);
		return false;
	}
	poll->data = ls;
	ls->poll = poll;
	ls->waiter = ctr_wait(c, WAIT_NEXT_EXIT, container_ended, ls);
	return true;
}

static bool parse_log_options(HttpRequest *r, LogOptions *o)
{
	*o = (LogOptions) { .out = http_query_bool(r, "stdout", false), .err = http_query_bool(r, "stderr", false) };
	if (!o->out && !o->err) {
		http_error(r, 400, "Bad parameters: you must choose at least one stream");
		return false;
	}
	return docker_query_moment(r, "since", &o->since) && docker_query_moment(r, "until", &o->until) &&
	       docker_query_number(r, "tail", -1, &o->tail);
}

static void logs(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	LogOptions o;
	LogReader *reader = NULL;
	Container *c = docker_container(d, r, args[0]);
	if (!c || !parse_log_options(r, &o))
		return;
	if (str_eq(c->svc.logging_driver, "none")) {
		http_error(r, 501, "container %s keeps no log: its logging driver is 'none'", c->name);
		return;
	}
	/* As with docker, following ends when the container does. */
	o.follow = http_query_bool(r, "follow", false) && ctr_is_running(c);
	if (log_reader_open(c->paths, &o, &reader, &err) < 0) {
		http_error_err(r, &err);
		return;
	}
	LogStream *ls = stream_new(c, r);
	ls->reader = reader;
	ls->timestamps = http_query_bool(r, "timestamps", false);
	http_stream_begin(r, 200, RAW_TYPE);
	if (o.follow && !follow(ls, c))
		log_warning("%s: its log cannot be followed", c->name);
	pump(ls);
}

/* ── attach ───────────────────────────────────────────────────────── */

static void attach_output(void *user, int stream, const char *p, size_t n)
{
	LogStream *ls = user;
	if (stream == 2 ? !ls->want_err : !ls->want_out)
		return;
	add_frame(ls, stream, "", p, n);
	flush(ls);
	if (ls->stalled)
		attach_pause(ls->attach, true);
}

static void attach_input_taken(void *user)
{
	LogStream *ls = user;
	http_body_pause(ls->r, false);
}

static void attach_ended(void *user)
{
	LogStream *ls = user;
	ls->attach = NULL;
	if (!ls->opening)
		http_stream_end(ls->r);
}

static void attach_typed(void *user, const void *p, size_t n)
{
	LogStream *ls = user;
	AUTO_BUF in = BUF_INIT;
	if (!ls->want_in || !ls->attach)
		return;
	if (n == 0) {
		attach_close_stdin(ls->attach);
		return;
	}
	bool detach = detach_keys_feed(&ls->keys, p, n, &in);
	ssize_t waiting = in.len ? attach_write(ls->attach, in.data, in.len) : 0;
	if (detach)
		http_stream_end(ls->r);
	else if (waiting > (ssize_t) INPUT_BACKLOG)
		http_body_pause(ls->r, true);
}

static bool attach_refused(HttpRequest *r, const Container *c)
{
	if (!ctr_is_running(c))
		http_error(r, 409, "container %s is not running; start it first, or read what it has written with 'logs'", c->name);
	else if (c->paused)
		http_error(r, 409, "container %s is paused; unpause it before attaching", c->name);
	else
		return false;
	return true;
}

static void attach(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	LogReader *reader = NULL;
	DetachKeys keys = { .n = 0 };
	Container *c = docker_container(d, r, args[0]);
	if (!c)
		return;
	bool stream = http_query_bool(r, "stream", false), with_log = http_query_bool(r, "logs", false);
	bool in = http_query_bool(r, "stdin", false);
	LogOptions o = { .out = http_query_bool(r, "stdout", false), .err = http_query_bool(r, "stderr", false), .tail = -1 };
	if (stream && attach_refused(r, c))
		return;
	int e = c->svc.tty ? detach_keys_parse(http_query(r, "detachKeys"), &keys, &err) : 0;
	if (e == 0 && with_log)
		e = log_reader_open(c->paths, &o, &reader, &err);
	if (e < 0) {
		http_error_err(r, &err);
		return;
	}
	LogStream *ls = stream_new(c, r);
	ls->reader = reader;
	ls->opening = reader != NULL;
	ls->want_in = in && c->svc.stdin_open;
	ls->want_out = o.out;
	ls->want_err = o.err;
	ls->keys = keys;
	AttachCallbacks cb = { .output = attach_output, .drained = attach_input_taken, .closed = attach_ended, .user = ls };
	if (stream && attach_open(d->loop, c->paths, &cb, &ls->attach, &err) < 0) {
		http_error(r, 409, "%s", err_text(&err));
		return;
	}
	http_hijack(r, attach_typed);
	events_container(c, "attach");
	if (ls->attach && ls->opening)
		attach_pause(ls->attach, true);
	if (ls->opening)
		pump(ls);
	else if (!ls->attach)
		http_stream_end(r);
}

const ApiRoute api_docker_stream_routes[] = {
	{ "GET", "/containers/*/logs", logs, false },
	{ "POST", "/containers/*/attach", attach, false },
	{ NULL, NULL, NULL, false },
};
