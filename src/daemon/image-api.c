// SPDX-License-Identifier: Apache-2.0
/*
 * Jobs on images with an HTTP client at the other end. A worker that is slower than its client holds it back; if the client goes
 * away, the pipe between them closes and the worker ends in an error. A job is not cancelled when its client stops listening to the
 * progress alone.
 */
#include <errno.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/image.h"
#include "daemon/json.h"
#include "daemon/worker-pipe.h"
#include "image/job.h"
#include "image/reference.h"

typedef struct ImageRequest {
	Daemon *d;
	HttpRequest *r; /* NULL once the client has gone */
	bool docker;    /* the answer's lines are Docker's */
	bool upload_refused; /* an error is the archive's: code 2 */
	WorkerPipe *upload; /* or NULL */
} ImageRequest;

/* ── upload ───────────────────────────────────────────────────────── */

static void upload_chunk(void *user, const void *p, size_t n)
{
	ImageRequest *ir = user;
	if (n == 0)
		worker_pipe_end(ir->upload);
	else if (worker_pipe_write(ir->upload, p, n) > LIMIT_API_BACKLOG)
		http_body_pause(ir->r, true);
}

/* A worker that has seen enough closes its end: the rest of the body is read and dropped. */
static void upload_written(void *user, size_t waiting)
{
	ImageRequest *ir = user;
	if (waiting < LIMIT_API_BACKLOG / 2)
		http_body_pause(ir->r, false);
}

/* ── answers ──────────────────────────────────────────────────────── */

static void client_gone(void *user)
{
	ImageRequest *ir = user;
	ir->r = NULL;
	worker_pipe_close(steal_ptr(&ir->upload));
}

static ImageRequest *image_request_new(Daemon *d, HttpRequest *r, bool docker)
{
	ImageRequest *ir = xcalloc(1, sizeof(*ir));
	ir->d = d;
	ir->r = r;
	ir->docker = docker;
	http_set_user(r, ir, client_gone);
	return ir;
}

static void image_request_end(ImageRequest *ir)
{
	worker_pipe_close(ir->upload);
	if (ir->r) {
		HttpRequest *r = ir->r;
		http_set_user(r, NULL, NULL);
		http_stream_end(r);
	}
	free(ir);
}

static void progress(void *user, const char *text)
{
	ImageRequest *ir = user;
	if (!ir->r)
		return;
	if (ir->docker)
		(void) http_stream_json(ir->r, json_pack("{s:o}", "status", json_safe(text)));
	else
		(void) http_stream_json(ir->r, json_pack("{s:o}", "progress", json_safe(text)));
}

static void answer_error(ImageRequest *ir, const char *text)
{
	if (!ir->r)
		return;
	if (ir->docker)
		(void) http_stream_json(ir->r, json_pack("{s:{s:o}, s:o}", "errorDetail", "message", json_safe(text), "error", json_safe(text)));
	else
		(void) http_stream_json(ir->r, json_pack("{s:o, s:i}", "error", json_safe(text), "code", ir->upload_refused ? 2 : 1));
}

static void answer_image(ImageRequest *ir, const char *id, char *const *tags)
{
	if (!ir->r)
		return;
	if (!ir->docker) {
		(void) http_stream_json(ir->r, json_pack("{s:s, s:s}", "result", "done", "image", id));
		return;
	}
	for (char *const *t = tags; t && *t; t++) {
		AUTO_FREE char *shown = reference_show(*t);
		AUTO_FREE char *line = xasprintf("Loaded image: %s\n", shown);
		(void) http_stream_json(ir->r, json_pack("{s:s}", "stream", line));
	}
	if (!tags || !*tags) {
		AUTO_FREE char *line = xasprintf("Loaded image ID: %s\n", id);
		(void) http_stream_json(ir->r, json_pack("{s:s}", "stream", line));
	}
}

static void made(void *user, JobResult *result, const Err *err)
{
	ImageRequest *ir = user;
	if (err) {
		answer_error(ir, err_text(err));
		image_request_end(ir);
		return;
	}
	bool answered = false;
	for (size_t i = 0; i < result->n_images; i++) {
		AUTO_ERR e = ERR_INIT;
		AUTO_STRV char **tags = strv_dup(result->images[i]->tags);
		AUTO_FREE char *id = xstrdup(result->images[i]->id);
		if (image_add(ir->d, steal_ptr(&result->images[i]), &e) < 0)
			answer_error(ir, err_text(&e));
		else if (ir->docker || !answered) /* the image that was asked for comes first, what it stands on behind it */
			answer_image(ir, id, tags);
		answered = true;
	}
	image_request_end(ir);
}

/* The daemon ends. */
static void lost(void *user)
{
	image_request_end(user);
}

/* ── bootstrap and import ─────────────────────────────────────────── */

typedef struct ImageOptions {
	JobImageOptions o;
	char **entrypoint, **cmd, **env, **ports, **volumes, **labels, **packages;
} ImageOptions;

static void image_options_done(ImageOptions *io)
{
	strv_free(io->entrypoint);
	strv_free(io->cmd);
	strv_free(io->env);
	strv_free(io->ports);
	strv_free(io->volumes);
	strv_free(io->labels);
	strv_free(io->packages);
}

static const char *text_of(json_t *body, const char *key)
{
	const char *s = json_string_value(json_object_get(body, key));
	return str_empty(s) ? NULL : s;
}

/* The strings are borrowed from `body`. */
static int image_options_parse(json_t *body, ImageOptions *ret, Err *err)
{
	const struct {
		const char *key;
		char ***list;
	} lists[] = { { "entrypoint", &ret->entrypoint }, { "cmd", &ret->cmd }, { "env", &ret->env }, { "ports", &ret->ports },
		{ "volumes", &ret->volumes }, { "labels", &ret->labels }, { "packages", &ret->packages } };
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		json_t *v = json_object_get(body, lists[i].key);
		if (v && !json_is_array(v))
			return err_set(err, -EINVAL, "%s: a list of strings is expected", lists[i].key);
		*lists[i].list = json_to_strv(v);
	}
	ret->o = (JobImageOptions) {
		.name = text_of(body, "name"),
		.arch = text_of(body, "arch"),
		.entrypoint = ret->entrypoint,
		.cmd = ret->cmd,
		.env = ret->env,
		.ports = ret->ports,
		.volumes = ret->volumes,
		.labels = ret->labels,
		.user = text_of(body, "user"),
		.workdir = text_of(body, "workdir"),
		.stop_signal = text_of(body, "stop_signal"),
	};
	if (!ret->o.name)
		return err_set(err, -EINVAL, "name: an image reference is needed");
	AUTO_FREE char *normal = NULL;
	return reference_normalise(ret->o.name, &normal, err);
}

void image_api_bootstrap(Daemon *d, HttpRequest *r)
{
	AUTO_ERR err = ERR_INIT;
	json_t *body = NULL;
	ImageOptions io __attribute__((cleanup(image_options_done))) = { 0 };
	if (http_body_json(r, &body, &err) < 0 || image_options_parse(body, &io, &err) < 0) {
		http_error_err(r, &err);
		json_decref(body);
		return;
	}
	JobBootstrap b = { .image = io.o, .packages = io.packages, .suite = text_of(body, "suite"), .mirror = text_of(body, "mirror") };
	ImageRequest *ir = image_request_new(d, r, false);
	JobCallbacks cb = { .progress = progress, .done = made, .lost = lost, .user = ir };
	http_stream_begin(r, 200, "application/x-ndjson");
	if (job_bootstrap(d->jobs, &b, &cb, NULL, &err) < 0) {
		answer_error(ir, err_text(&err));
		image_request_end(ir);
	}
	json_decref(body);
}

/* Query parameters in the form of the JSON body of bootstrap. */
static json_t *query_body(HttpRequest *r)
{
	static const char *const texts[] = { "name", "arch", "user", "workdir", "stop_signal" };
	static const struct {
		const char *query, *key;
	} lists[] = { { "env", "env" }, { "port", "ports" }, { "volume", "volumes" }, { "label", "labels" } };
	static const char *const arrays[] = { "cmd", "entrypoint" };
	json_t *body = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (http_query(r, texts[i]))
			json_object_set_new(body, texts[i], json_safe(http_query(r, texts[i])));
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		AUTO_STRV char **v = http_query_all(r, lists[i].query);
		json_object_set_new(body, lists[i].key, json_strv(v));
	}
	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++)
		if (http_query(r, arrays[i])) {
			json_t *a = json_loads(http_query(r, arrays[i]), 0, NULL);
			json_object_set_new(body, arrays[i], a ? a : json_false());
		}
	return body;
}

static void take_archive(Daemon *d, HttpRequest *r, const JobImageOptions *import)
{
	AUTO_ERR err = ERR_INIT;
	ImageRequest *ir = image_request_new(d, r, !import);
	ir->upload_refused = true;
	JobCallbacks cb = { .progress = progress, .done = made, .lost = lost, .user = ir };
	WorkerPipeCallbacks upload = { .written = upload_written, .user = ir };
	int fd = -1;
	int e = worker_pipe_open(d->loop, &upload, &ir->upload, &fd, &err);
	http_stream_begin(r, 200, import ? "application/x-ndjson" : "application/json");
	if (e == 0)
		e = import ? job_import(d->jobs, fd, import, &cb, NULL, &err) : job_load(d->jobs, fd, &cb, NULL, &err);
	if (e < 0) {
		answer_error(ir, err_text(&err));
		image_request_end(ir);
		return;
	}
	http_on_body(r, upload_chunk);
}

void image_api_import(Daemon *d, HttpRequest *r)
{
	AUTO_ERR err = ERR_INIT;
	ImageOptions io __attribute__((cleanup(image_options_done))) = { 0 };
	json_t *body = query_body(r);
	if (image_options_parse(body, &io, &err) < 0)
		http_error_err(r, &err);
	else
		take_archive(d, r, &io.o);
	json_decref(body);
}

void image_api_load(Daemon *d, HttpRequest *r)
{
	take_archive(d, r, NULL);
}

/* ── save ─────────────────────────────────────────────────────────── */

typedef struct Save {
	HttpRequest *r; /* NULL once the client has gone */
	WorkerPipe *pipe; /* NULL: all has come, or nobody wants it */
	bool begun, done;
	char *failure;
} Save;

static void save_maybe_end(Save *s)
{
	if (s->pipe || !s->done)
		return;
	if (s->r) {
		HttpRequest *r = s->r;
		http_set_user(r, NULL, NULL);
		if (!s->begun)
			http_error(r, 500, "%s", s->failure ? s->failure : "nothing was written");
		else
			http_stream_end(r);
	}
	if (s->failure)
		log_warning("save: %s", s->failure);
	free(s->failure);
	free(s);
}

static void save_close_pipe(void *user)
{
	Save *s = user;
	worker_pipe_close(steal_ptr(&s->pipe));
	save_maybe_end(s);
}

static void save_client_gone(void *user)
{
	Save *s = user;
	s->r = NULL;
	save_close_pipe(s); /* the worker gets EPIPE */
}

static void save_read(void *user, Buf *in)
{
	Save *s = user;
	if (!s->begun)
		http_stream_begin(s->r, 200, "application/x-tar");
	s->begun = true;
	if (http_stream_write(s->r, in->data, in->len) > LIMIT_API_BACKLOG)
		worker_pipe_read(s->pipe, false);
	buf_clear(in);
}

static void save_drained(void *user)
{
	Save *s = user;
	if (s->pipe)
		worker_pipe_read(s->pipe, true);
}

static void saved(void *user, JobResult *result, const Err *err)
{
	Save *s = user;
	s->done = true;
	if (err)
		s->failure = xstrdup(err_text(err));
	save_maybe_end(s);
}

/* The daemon ends. */
static void save_lost(void *user)
{
	Save *s = user;
	s->done = true;
	save_close_pipe(s);
}

void image_api_save(Daemon *d, HttpRequest *r, char *const *names)
{
	AUTO_ERR err = ERR_INIT;
	JobSaveItem *items = NULL;
	size_t n = 0;
	AUTO_STRV char **owned = NULL;
	Save *s = NULL;
	int fd = -1, e = names && *names ? 0 : err_set(&err, -EINVAL, "names: an image is needed");
	for (char *const *name = names; e == 0 && *name; name++) {
		Image *img = NULL;
		char *tag = NULL;
		e = daemon_find_image(d, *name, &img, &tag, &err);
		if (e < 0)
			break;
		JobSaveItem *item = array_append(items, n);
		item->id = img->id;
		if (tag) {
			strv_take(&owned, tag);
			char **one = xcalloc(2, sizeof(char *));
			one[0] = tag;
			item->tags = one;
		}
	}
	if (e == 0) {
		s = xcalloc(1, sizeof(*s));
		WorkerPipeCallbacks pipe = { .read = save_read, .ended = save_close_pipe, .user = s };
		e = worker_pipe_open(d->loop, &pipe, &s->pipe, &fd, &err);
	}
	if (e < 0) {
		http_error_err(r, &err);
		free(s);
	} else {
		JobCallbacks cb = { .done = saved, .lost = save_lost, .user = s };
		s->r = r;
		http_set_user(r, s, save_client_gone);
		http_on_drained(r, save_drained);
		worker_pipe_read(s->pipe, true);
		if (job_save(d->jobs, items, n, fd, &cb, NULL, &err) < 0) {
			saved(s, NULL, &err);
			save_close_pipe(s);
		}
	}
	for (size_t i = 0; i < n; i++)
		free((void *) items[i].tags);
	free(items);
}
