// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: a Source is one container with a connection of its own, on which its log is streamed
 * (GET /containers/ID/logs). In follow mode one poll(2) loop watches all of them, the stream of "start"
 * events of the stack, and perhaps the stream of an operation. When a log stream ends, the container
 * is inspected: it has ended for good, or runs anew (then its log is opened again from the start of that
 * run), or is about to restart: then it is looked at again when an event tells of it, and every half second, since
 * events and states may cross. Lines are written whole, so that those of several containers never mix.
 */
#include "cli/follow.h"

#include <errno.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/containers.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/stream.h"
#include "cli/term.h"
#include "io/frames.h"

#define LOOK_AGAIN (500 * NSEC_PER_MSEC)
#define LINE_MAX_KEPT (1U << 20) /* a longer line goes out in pieces */

typedef struct Source {
	Follower *f;
	char *id, *name, *label, *service; /* label is cleaned */
	char *started;                     /* StartedAt of the run whose log is open */
	size_t colour;
	bool tty, ended, reported;
	HttpClient *log; /* NULL while no log is open */
	FrameDecoder frames;
	Buf partial[2]; /* unfinished lines of stdout and stderr */
	bool midline[2]; /* the beginning of the line is out already */
	int64_t look_at; /* monotonic; when to inspect it again; 0 = never */
} Source;

struct Follower {
	const Cli *cli;
	char *project;
	LogOptions o;
	Source **sources;
	size_t n_sources;
	size_t label_width;
	char *const *services;
	FollowExitFn exited;
	void *user;
	HttpClient *query, *events, *operation;
	LineStream event_lines, operation_lines;
	bool operation_over, stop;
	bool colour[2];
};

Follower *follower_new(const Cli *cli, const char *project, const LogOptions *o)
{
	Follower *f = xcalloc(1, sizeof(*f));
	f->cli = cli;
	f->project = xstrdup(project);
	f->o = *o;
	f->colour[0] = !o->no_colour && term_colour(STDOUT_FILENO);
	f->colour[1] = !o->no_colour && term_colour(STDERR_FILENO);
	return f;
}

static void source_close(Source *s)
{
	http_client_free(s->log);
	s->log = NULL;
}

void follower_free(Follower *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n_sources; i++) {
		Source *s = f->sources[i];
		source_close(s);
		free(s->id);
		free(s->name);
		free(s->label);
		free(s->service);
		free(s->started);
		buf_done(&s->partial[0]);
		buf_done(&s->partial[1]);
		free(s);
	}
	free(f->sources);
	line_stream_done(&f->event_lines);
	line_stream_done(&f->operation_lines);
	http_client_free(f->query);
	http_client_free(f->events);
	http_client_free(f->operation);
	free(f->project);
	free(f);
}

int follower_add(Follower *f, const json_t *container, Err *err)
{
	AUTO_BUF label = BUF_INIT;
	if (f->o.follow && f->n_sources >= FOLLOW_MAX)
		return err_set(err, -E2BIG, "no more than %d containers can be followed at once; name the services that matter", FOLLOW_MAX);
	Source *s = xcalloc(1, sizeof(*s));
	s->f = f;
	s->id = xstrdup(json_text(container, "Id"));
	s->name = xstrdup(container_name(container));
	s->service = xstrdup(container_label(container, LABEL_SERVICE));
	term_clean(&label, progress_short_name(f->project, s->name));
	s->label = buf_steal(&label);
	s->colour = f->n_sources;
	size_t width = term_columns(s->label);
	f->label_width = width > f->label_width ? width : f->label_width;
	*array_append(f->sources, f->n_sources) = s;
	return 0;
}

static void put_prefix(const Source *s, int which, Buf *out)
{
	const Follower *f = s->f;
	if (f->o.no_prefix)
		return;
	if (f->colour[which])
		buf_str(out, term_palette(s->colour));
	buf_str(out, s->label);
	for (size_t n = term_columns(s->label); n < f->label_width; n++)
		buf_char(out, ' ');
	buf_str(out, "  | ");
	if (f->colour[which])
		buf_str(out, TERM_RESET);
}

static void put_out(Follower *f, int which, const Buf *out)
{
	if (fd_write_all(which ? STDERR_FILENO : STDOUT_FILENO, buf_cstr(out), out->len) < 0)
		f->stop = true; /* nobody reads any more */
}

/* Whole lines go out at once; an unfinished one waits for its end. */
static void on_output(void *user, FrameStream stream, const char *p, size_t n)
{
	Source *s = user;
	int which = stream == FRAME_STDERR || stream == FRAME_ERROR;
	Buf *partial = &s->partial[which];
	AUTO_BUF out = BUF_INIT;
	while (n) {
		const char *end = memchr(p, '\n', n);
		if (!end && partial->len + n < LINE_MAX_KEPT) {
			buf_append(partial, p, n);
			break;
		}
		size_t take = end ? (size_t) (end - p) + 1 : n;
		if (!s->midline[which])
			put_prefix(s, which, &out);
		buf_append(&out, buf_cstr(partial), partial->len);
		buf_append(&out, p, take);
		s->midline[which] = !end;
		buf_clear(partial);
		p += take;
		n -= take;
	}
	if (out.len)
		put_out(s->f, which, &out);
}

static void flush_partial(Source *s)
{
	for (int which = 0; which < 2; which++) {
		AUTO_BUF out = BUF_INIT;
		if (!s->partial[which].len && !s->midline[which])
			continue;
		if (!s->midline[which])
			put_prefix(s, which, &out);
		s->midline[which] = false;
		buf_append(&out, buf_cstr(&s->partial[which]), s->partial[which].len);
		if (!s->f->o.no_prefix)
			buf_char(&out, '\n');
		put_out(s->f, which, &out);
		buf_clear(&s->partial[which]);
	}
}

static int query(Follower *f, const char *id, json_t **ret, Err *err)
{
	AUTO_BUF url = BUF_INIT;
	buf_str(&url, "/containers/");
	http_url_append(&url, id);
	buf_str(&url, "/json");
	if (!f->query) {
		int r = client_open(f->cli, &f->query, err);
		if (r < 0)
			return r;
	}
	return client_get(f->query, buf_cstr(&url), JSON_OBJECT, ret, err);
}

static int source_open(Source *s, bool follow, const char *since, Err *err)
{
	const LogOptions *o = &s->f->o;
	AUTO_BUF url = BUF_INIT;
	int r = client_open(s->f->cli, &s->log, err);
	if (r < 0)
		return r;
	buf_str(&url, "/containers/");
	http_url_append(&url, s->id);
	buf_str(&url, "/logs?stdout=1&stderr=1");
	if (follow)
		http_url_query(&url, "follow", "1");
	if (o->timestamps)
		http_url_query(&url, "timestamps", "1");
	http_url_query(&url, "tail", since != o->since ? NULL : o->tail); /* a new run is shown whole */
	http_url_query(&url, "since", since);
	http_url_query(&url, "until", o->until);
	s->frames = (FrameDecoder) { 0 };
	return http_call(s->log, "GET", buf_cstr(&url), NULL, false, err);
}

/* Gives what has come to the output: 1 = more may come, 0 = the stream is over. */
static int source_read(Source *s, bool wait, Err *err)
{
	char piece[16384];
	for (;;) {
		ssize_t n = wait ? http_read(s->log, piece, sizeof(piece), err) : http_read_some(s->log, piece, sizeof(piece), err);
		if (n == -EAGAIN)
			return 1;
		if (n < 0)
			return (int) n;
		if (n == 0)
			break;
		if (s->tty)
			on_output(s, FRAME_STDOUT, piece, (size_t) n);
		else if (frame_feed(&s->frames, piece, (size_t) n, on_output, s) < 0)
			return err_set(err, -EPROTO, "the daemon's stream of the log is not in frames");
		if (!wait)
			return 1;
	}
	flush_partial(s);
	if (!s->tty && !frame_at_boundary(&s->frames))
		return err_set(err, -EPIPE, "the stream ended in the middle; has the daemon been stopped?");
	return 0;
}

static int report(const Source *s, Err *err)
{
	(void) err_wrap(err, "log of %s", s->name);
	return cli_fail(err);
}

int follower_print(Follower *f)
{
	AUTO_ERR err = ERR_INIT;
	for (size_t i = 0; i < f->n_sources && !f->stop; i++) {
		Source *s = f->sources[i];
		json_t *info = NULL;
		int r = query(f, s->id, &info, &err);
		if (r == 0) {
			s->tty = json_is_true(json_object_get(json_object_get(info, "Config"), "Tty"));
			r = source_open(s, false, f->o.since, &err);
		}
		json_decref(info);
		if (r >= 0)
			r = source_read(s, true, &err);
		source_close(s);
		if (r < 0)
			return report(s, &err);
	}
	return EXIT_DONE;
}

static void source_ended(Source *s, const char *how)
{
	Follower *f = s->f;
	AUTO_BUF out = BUF_INIT;
	s->ended = true;
	s->look_at = 0;
	if (f->o.no_prefix)
		return;
	if (f->colour[0])
		buf_str(&out, term_palette(s->colour));
	buf_str(&out, s->label);
	if (f->colour[0])
		buf_str(&out, TERM_RESET);
	buf_printf(&out, " %s\n", how);
	put_out(f, 0, &out);
}

/* The API wants seconds.nanoseconds. */
static char *api_time(int64_t ns)
{
	return xasprintf("%lld.%09lld", (long long) (ns / NSEC_PER_SEC), (long long) (ns % NSEC_PER_SEC));
}

/* What has become of a container whose log is not open. */
static int source_look(Source *s, Err *err)
{
	Follower *f = s->f;
	json_t *info = NULL;
	bool first = !s->started;
	int r = query(f, s->id, &info, err);
	if (r < 0 && f->query && http_status(f->query) == 404) {
		err_done(err);
		source_ended(s, "was removed");
		return 0;
	}
	if (r < 0)
		return r;
	const json_t *state = json_object_get(info, "State");
	const char *started = json_text(state, "StartedAt");
	bool running = json_is_true(json_object_get(state, "Running")), restarting = json_is_true(json_object_get(state, "Restarting"));
	bool anew = !first && !str_eq(started, s->started);
	s->tty = json_is_true(json_object_get(json_object_get(info, "Config"), "Tty"));
	s->look_at = 0;
	if (first || anew) {
		int64_t ns;
		AUTO_FREE char *since = anew && time_parse_rfc3339(started, &ns) == 0 ? api_time(ns) : NULL;
		str_set(&s->started, started);
		s->ended = false;
		r = source_open(s, true, anew ? since : f->o.since, err);
		r = r < 0 ? r : 0;
	} else if (running || restarting) {
		s->look_at = time_mono() + LOOK_AGAIN;
	} else if (!s->ended) {
		int code = (int) json_number(state, "ExitCode");
		AUTO_FREE char *how = xasprintf("exited with code %d", code);
		/* A container that was only created has not ended in any way worth a line. */
		if (str_eq(json_text(state, "Status"), "created"))
			s->ended = true;
		else
			source_ended(s, how);
		if (f->exited && f->exited(f->user, s->service, code))
			f->stop = true;
	}
	json_decref(info);
	return r;
}

static int open_events(Follower *f, Err *err)
{
	AUTO_BUF url = BUF_INIT;
	if (!f->project || f->events)
		return 0;
	int r = client_open(f->cli, &f->events, err);
	if (r < 0)
		return r;
	json_t *filters = json_object();
	AUTO_FREE char *label = xasprintf(LABEL_PROJECT "=%s", f->project);
	filter_add(filters, "type", "container");
	filter_add(filters, "event", "start");
	filter_add(filters, "event", "die");
	filter_add(filters, "label", label);
	buf_str(&url, "/events");
	filter_query(&url, filters);
	json_decref(filters);
	f->event_lines.c = f->events;
	r = http_call(f->events, "GET", buf_cstr(&url), NULL, false, err);
	return r < 0 ? r : 0;
}

static Source *source_of(const Follower *f, const char *id)
{
	for (size_t i = 0; i < f->n_sources; i++)
		if (str_eq(f->sources[i]->id, id))
			return f->sources[i];
	return NULL;
}

static void take_event(Follower *f, const json_t *event)
{
	const json_t *actor = json_object_get(event, "Actor"), *attributes = json_object_get(actor, "Attributes");
	const char *id = json_text(actor, "ID"), *service = json_text(attributes, LABEL_SERVICE);
	Source *s = source_of(f, id);
	if (!s && *id && str_eq(json_text(event, "Action"), "start") && (!f->services || strv_has(f->services, service))) {
		json_t *container = json_pack("{s:s, s:[s], s:{s:s}}", "Id", id, "Names", json_text(attributes, "name"), "Labels",
			LABEL_SERVICE, service);
		if (follower_add(f, container, NULL) == 0)
			s = f->sources[f->n_sources - 1];
		json_decref(container);
	}
	if (s && !s->log)
		s->look_at = time_mono();
}

static int read_events(Follower *f, Err *err)
{
	char *text;
	int r;
	while ((r = line_stream_next(&f->event_lines, &text, err)) > 0) {
		json_t *event = json_loads(text, 0, NULL);
		if (event)
			take_event(f, event);
		json_decref(event);
	}
	if (r == 0)
		return err_set(err, -EPIPE, "the daemon closed the connection; has it been stopped? The containers run on");
	return r == -EAGAIN ? 0 : r;
}

/* The operation's own lines are few: only its failure is shown. */
static int read_operation(Follower *f, Err *err)
{
	char *text;
	int r;
	while ((r = line_stream_next(&f->operation_lines, &text, err)) > 0) {
		json_t *o = json_loads(text, 0, NULL);
		if (*json_text(o, "error"))
			cli_error("%s", json_text(o, "error"));
		if (json_object_get(o, "error") || json_object_get(o, "result"))
			f->operation_over = true;
		json_decref(o);
	}
	if (r == 0 && !f->operation_over)
		return err_set(err, -EPIPE, "the daemon closed the connection; has it been stopped?");
	return r == -EAGAIN ? 0 : r;
}

/* Everything that is due or has come; gives the ms until something is due again, or -1. */
static int step(Follower *f, Err *err, int *ret_timeout)
{
	int r = 0;
	int64_t now = time_mono(), next = 0;
	if (f->events)
		r = read_events(f, err);
	if (r == 0 && f->operation && !f->operation_over)
		r = read_operation(f, err);
	for (size_t i = 0; r == 0 && i < f->n_sources; i++) {
		Source *s = f->sources[i];
		if (!s->log && s->look_at && s->look_at <= now)
			r = source_look(s, err);
		while (r == 0 && s->log && !f->stop) {
			r = source_read(s, false, err);
			if (r > 0 && !http_pending(s->log))
				break;
			if (r == 0) {
				source_close(s);
				r = source_look(s, err);
			} else if (r > 0) {
				r = 0;
			}
		}
		r = r > 0 ? 0 : r;
		if (s->look_at && (!next || s->look_at < next))
			next = s->look_at;
		if (r < 0)
			(void) err_wrap(err, "log of %s", s->name);
	}
	*ret_timeout = next ? (int) ((next > now ? next - now : 0) / NSEC_PER_MSEC) + 1 : -1;
	return r;
}

static bool all_ended(const Follower *f)
{
	for (size_t i = 0; i < f->n_sources; i++)
		if (!f->sources[i]->ended || f->sources[i]->log)
			return false;
	return !f->operation || f->operation_over;
}

static FollowEnd follow(Follower *f)
{
	AUTO_ERR err = ERR_INIT;
	int timeout, r;
	signals_catch();
	for (;;) {
		AUTO_FREE struct pollfd *fds = xcalloc(f->n_sources + 3, sizeof(*fds));
		size_t n = 0;
		if (signals_ended())
			return FOLLOW_INTERRUPTED;
		r = step(f, &err, &timeout);
		if (r < 0)
			break;
		if (f->stop)
			return FOLLOW_STOPPED;
		if (all_ended(f))
			return FOLLOW_ENDED;
		for (size_t i = 0; i < f->n_sources; i++)
			if (f->sources[i]->log)
				fds[n++] = (struct pollfd) { .fd = http_fd(f->sources[i]->log), .events = POLLIN };
		if (f->events)
			fds[n++] = (struct pollfd) { .fd = http_fd(f->events), .events = POLLIN };
		if (f->operation && !f->operation_over)
			fds[n++] = (struct pollfd) { .fd = http_fd(f->operation), .events = POLLIN };
		r = signals_poll(fds, n, timeout);
		if (r < 0) {
			(void) err_errno(&err, r, "wait for the daemon");
			break;
		}
	}
	(void) cli_fail(&err);
	return FOLLOW_FAILED;
}

FollowEnd follower_run(Follower *f, char *const *services, FollowExitFn exited, void *user)
{
	AUTO_ERR err = ERR_INIT;
	f->services = services;
	f->exited = exited;
	f->user = user;
	if (open_events(f, &err) < 0) {
		(void) cli_fail(&err);
		return FOLLOW_FAILED;
	}
	for (size_t i = 0; i < f->n_sources; i++)
		f->sources[i]->look_at = time_mono();
	return follow(f);
}

FollowEnd follower_finish(Follower *f, const char *verb, const json_t *body)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF url = BUF_INIT;
	const HttpBody b = { .json = body };
	buf_str(&url, "/stead/v1/stacks/");
	http_url_append(&url, f->project);
	buf_printf(&url, "/%s", verb);
	http_client_free(f->operation);
	f->operation = NULL;
	f->operation_over = false;
	f->stop = false;
	f->exited = NULL;
	line_stream_done(&f->operation_lines);
	f->operation_lines = (LineStream) { 0 };
	if (client_open(f->cli, &f->operation, &err) < 0 ||
		http_call(f->operation, "POST", buf_cstr(&url), &b, false, &err) < 0) {
		(void) cli_fail(&err);
		return FOLLOW_FAILED;
	}
	f->operation_lines.c = f->operation;
	return follow(f);
}

int log_moment(const char *option, const char *text, char **ret, Err *err)
{
	int64_t ns;
	*ret = NULL;
	if (!text)
		return 0;
	if (time_parse_moment(text, time_real(), &ns) < 0)
		return err_set(err, -EINVAL, "--%s: '%s' is no moment; write 2024-01-02T15:04:05Z, a date, seconds since 1970, or 10m for ten minutes ago",
			option, text);
	*ret = api_time(ns);
	return 0;
}
