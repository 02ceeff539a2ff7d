// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: what comes through the worker's pipe and from the client is passed on, unread; each direction stops reading while the
 * other side is slower. What the worker made becomes known when it has ended: then one frame E says how it went, and the connection is
 * closed. From the worker whole frames are passed on, so that E is understood behind what a killed one had begun.
 *
 * A client that goes away closes the socket. The worker sees the end of what had arrived and ends in an error, keeping what a further
 * try can go on with; if it has not done so in a while, it is killed. A connection on which nothing moves is ended,
 * since a box that lost its power says nothing, and a receiver keeps layers from being swept.
 */
#include "daemon/ship.h"

#include <errno.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/box.h"
#include "daemon/image.h"
#include "daemon/json.h"
#include "daemon/worker-pipe.h"
#include "image/job.h"
#include "image/reference.h"
#include "io/frame-io.h"
#include "io/frames.h"

#define TICK_MSEC 1000
#define GRACE_TICKS 30 /* of a worker whose client has gone */

typedef struct Ship {
	Daemon *d;
	HttpRequest *r;   /* NULL once the client has gone */
	Job *job;         /* NULL once it has ended */
	WorkerPipe *pipe; /* NULL: closed */
	uv_timer_t timer;
	unsigned idle;    /* ticks without a byte */
	bool ended;       /* nothing more comes from the worker, or is wanted */
	bool receives;
	json_t *last;     /* what frame E will say */
} Ship;

/* ── the end ──────────────────────────────────────────────────────── */

static void ship_free(uv_handle_t *timer)
{
	Ship *s = timer->data;
	json_decref(s->last);
	free(s);
}

static void send_last(Ship *s)
{
	uint8_t header[FRAME_HEADER];
	AUTO_FREE char *text = json_dumps(s->last, JSON_COMPACT);
	HttpRequest *r = s->r;
	s->r = NULL;
	http_set_user(r, NULL, NULL);
	frame_header('E', strlen(text), header);
	(void) http_stream_write(r, header, sizeof(header));
	(void) http_stream_write(r, text, strlen(text));
	http_stream_end(r);
}

/* Once the worker has ended and all that it wrote has been passed on. */
static void maybe_end(Ship *s)
{
	if (s->job || !s->ended)
		return;
	if (s->r)
		send_last(s);
	worker_pipe_close(s->pipe);
	uv_close((uv_handle_t *) &s->timer, ship_free);
}

static void client_gone(void *user)
{
	Ship *s = user;
	s->r = NULL;
	s->ended = true;
	s->idle = 0;
	worker_pipe_close(steal_ptr(&s->pipe));
	maybe_end(s);
}

/* ── between the client and the worker ────────────────────────────── */

static void to_worker_done(void *user, size_t waiting)
{
	Ship *s = user;
	s->idle = 0;
	if (waiting < LIMIT_SHIP_BACKLOG / 2)
		http_body_pause(s->r, false);
}

static void from_client(void *user, const void *p, size_t n)
{
	Ship *s = user;
	s->idle = 0;
	if (n == 0)
		worker_pipe_end(s->pipe);
	else if (worker_pipe_write(s->pipe, p, n) > LIMIT_SHIP_BACKLOG)
		http_body_pause(s->r, true);
}

static void from_worker(void *user, Buf *in)
{
	Ship *s = user;
	size_t n = frames_whole(in->data, in->len, FRAME_IO_MAX);
	s->idle = 0;
	if (http_stream_write(s->r, in->data, n) > LIMIT_API_BACKLOG)
		worker_pipe_read(s->pipe, false);
	buf_consume(in, n);
}

static void worker_ended(void *user)
{
	Ship *s = user;
	s->ended = true;
	maybe_end(s);
}

static void client_drained(void *user)
{
	Ship *s = user;
	s->idle = 0;
	if (!s->ended)
		worker_pipe_read(s->pipe, true);
}

static void on_tick(uv_timer_t *t)
{
	Ship *s = t->data;
	if (!s->job || ++s->idle <= (s->r ? LIMIT_SHIP_IDLE : GRACE_TICKS))
		return;
	if (s->r)
		log_warning("ship: nothing has come from the other end for %d s; given up", LIMIT_SHIP_IDLE);
	s->idle = 0;
	job_cancel(s->job);
}

/* ── the worker ───────────────────────────────────────────────────── */

static json_t *failure(const Ship *s, const Err *err)
{
	bool idle = err->code == -ECANCELED && s->r;
	AUTO_FREE char *text = idle ? xasprintf("nothing has come from the other end for %d s", LIMIT_SHIP_IDLE) : xstrdup(err_text(err));
	return json_pack("{s:o, s:i}", "error", json_safe(text), "code", idle ? -ETIMEDOUT : err->code);
}

static void worker_done(void *user, JobResult *result, const Err *err)
{
	Ship *s = user;
	AUTO_ERR e = ERR_INIT;
	json_t *images = json_array();
	s->job = NULL;
	for (size_t i = 0; !err && s->receives && i < result->n_images; i++) {
		AUTO_STRV char **tags = NULL;
		for (char **t = result->images[i]->tags; t && *t; t++)
			strv_take(&tags, reference_show(*t));
		json_array_append_new(images, json_pack("{s:s, s:o, s:I}", "id", result->images[i]->id, "tags", json_strv(tags), "size",
			(json_int_t) result->images[i]->size));
		if (image_add(s->d, steal_ptr(&result->images[i]), &e) < 0)
			err = &e;
	}
	if (err) {
		log_warning("ship: %s", err_text(err));
		json_decref(images);
		s->last = failure(s, err);
		if (s->receives) /* what a killed worker left is as large as what it received */
			image_sweep(s->d, NULL, NULL);
	} else {
		s->last = json_pack("{s:s, s:o}", "result", "done", "images", images);
	}
	maybe_end(s);
}

/* The daemon ends. */
static void worker_lost(void *user)
{
	Ship *s = user;
	s->job = NULL;
	s->ended = true;
	s->last = json_pack("{s:s, s:i}", "error", "the daemon was stopped", "code", -ECONNRESET);
	maybe_end(s);
}

/* Gives the worker's end of the pipe. */
static int ship_new(Daemon *d, HttpRequest *r, Ship **ret, int *ret_fd, Err *err)
{
	if (jobs_ships(d->jobs) >= LIMIT_SHIPS)
		return err_set(err, -EBUSY, "%d ships are under way on this box; try again when one of them has ended", LIMIT_SHIPS);
	Ship *s = xcalloc(1, sizeof(*s));
	const WorkerPipeCallbacks cb = { .read = from_worker, .ended = worker_ended, .written = to_worker_done, .user = s };
	int e = worker_pipe_open(d->loop, &cb, &s->pipe, ret_fd, err);
	if (e < 0) {
		free(s);
		return e;
	}
	s->d = d;
	s->r = r;
	s->timer.data = s;
	(void) uv_timer_init(d->loop, &s->timer);
	*ret = s;
	return 0;
}

/* After the job was asked for; `e` < 0: in vain. */
static void ship_begin(Ship *s, int e, const Err *err)
{
	if (e < 0) {
		http_error_err(s->r, err);
		s->r = NULL;
		s->ended = true;
		maybe_end(s);
		return;
	}
	http_set_user(s->r, s, client_gone);
	http_on_drained(s->r, client_drained);
	http_hijack(s->r, from_client);
	(void) uv_timer_start(&s->timer, on_tick, TICK_MSEC, TICK_MSEC);
	worker_pipe_read(s->pipe, true);
}

/* ── the API ──────────────────────────────────────────────────────── */

void ship_api_box(Daemon *d, HttpRequest *r)
{
	AUTO_BOX box = { 0 };
	box_read(d->o.state_dir, &box);
	http_reply_json(r, 200, box_json(&box));
}

void ship_api_config(Daemon *d, HttpRequest *r, const char *name)
{
	AUTO_ERR err = ERR_INIT;
	Image *img = NULL;
	if (daemon_find_image(d, name, &img, NULL, &err) < 0)
		http_error_err(r, &err);
	else
		http_reply(r, 200, "application/json", img->config_json, strlen(img->config_json));
}

void ship_api_receive(Daemon *d, HttpRequest *r)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_BOX box = { 0 };
	Ship *s;
	int fd;
	if (ship_new(d, r, &s, &fd, &err) < 0) {
		http_error_err(r, &err);
		return;
	}
	box_read(d->o.state_dir, &box);
	const JobBox job_box = { .arch = box.architecture, .emulated = box.emulated, .memory_free = box.memory_free };
	const JobCallbacks cb = { .done = worker_done, .lost = worker_lost, .user = s };
	s->receives = true;
	ship_begin(s, job_ship_receive(d->jobs, &job_box, fd, &cb, &s->job, &err), &err);
}

typedef struct Items {
	JobSaveItem *items;
	size_t n;
} Items;

static void items_done(Items *l)
{
	for (size_t i = 0; i < l->n; i++)
		strv_free((char **) l->items[i].tags);
	free(l->items);
}

/* An image that was asked for twice is one with two tags. */
static JobSaveItem *item_of(Items *l, const char *id)
{
	for (size_t i = 0; i < l->n; i++)
		if (str_eq(l->items[i].id, id))
			return &l->items[i];
	JobSaveItem *item = array_append(l->items, l->n);
	item->id = id;
	return item;
}

static int find_items(Daemon *d, const json_t *names, Items *ret, Err *err)
{
	json_t *name;
	size_t i;
	if (!json_array_size(names) || json_array_size(names) > LIMIT_ARCHIVE_IMAGES)
		return err_set(err, -EINVAL, "images: a list of 1 to %d images is expected", LIMIT_ARCHIVE_IMAGES);
	json_array_foreach((json_t *) names, i, name)
	{
		Image *img = NULL;
		AUTO_FREE char *tag = NULL;
		const char *ref = json_string_value(name);
		if (!ref)
			return err_set(err, -EINVAL, "images: a list of strings is expected");
		int r = daemon_find_image(d, ref, &img, &tag, err);
		if (r < 0) {
			AUTO_FREE char *near = image_nearest(d, ref);
			return near ? err_set(err, r, "%s; did you mean %s?", err_text(err), near) : r;
		}
		JobSaveItem *item = item_of(ret, img->id);
		char **tags = (char **) item->tags;
		if (tag && !strv_has(tags, tag))
			strv_add(&tags, tag);
		item->tags = tags;
	}
	return 0;
}

void ship_api_send(Daemon *d, HttpRequest *r)
{
	AUTO_ERR err = ERR_INIT;
	AUTO(items_done) Items l = { 0 };
	json_t *body = NULL;
	Ship *s;
	int fd;
	int e = http_body_json(r, &body, &err);
	if (e == 0)
		e = find_items(d, json_object_get(body, "images"), &l, &err);
	json_decref(body);
	if (e < 0 || ship_new(d, r, &s, &fd, &err) < 0) {
		http_error_err(r, &err);
		return;
	}
	const JobCallbacks cb = { .done = worker_done, .lost = worker_lost, .user = s };
	ship_begin(s, job_ship_send(d->jobs, l.items, l.n, fd, &cb, &s->job, &err), &err);
}
