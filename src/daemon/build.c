// SPDX-License-Identifier: Apache-2.0
/*
 * The life of a build: a worker is started with its options; what it asks for (base images, RUN instructions) is answered on
 * its standard input, in any order; its events go to the front end; what it has built becomes rows. The worker's end is the
 * build's, but for containers that a dead worker has left: these are killed and waited for first, so that whoever is told of the
 * end finds nothing running any more.
 */
#include "daemon/build-parts.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/statvfs.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/image.h"
#include "daemon/json.h"
#include "image/reference.h"

#define FREE_SPACE_MIN (64ULL << 20)

void builds_open(Daemon *d)
{
	d->builds = xcalloc(1, sizeof(*d->builds));
}

void build_limits_done(BuildLimits *l)
{
	free(l->cpuset);
	free(l->network);
	strv_free(l->hosts);
	json_decref(l->ulimits);
	json_decref(l->auths);
	*l = (BuildLimits) { .cpu_shares = -1, .shm_size = -1, .memory_swap = -1 };
}

/* ── the worker's standard input ──────────────────────────────────── */

typedef struct Line {
	uv_write_t w;
	char *text;
} Line;

static void line_written(uv_write_t *w, int status)
{
	Line *l = w->data;
	(void) status; /* a worker that does not read any more has ended, which is told elsewhere */
	free(l->text);
	free(l);
}

/* It has parsed what strangers wrote, so it may be theirs by now. Its end is told as that of any other. */
static void refuse_worker(Builder *b, const char *why)
{
	if (b->err.code || !b->job)
		return;
	(void) err_set(&b->err, -EPROTO, "the worker was ended: %s", why);
	job_cancel(b->job);
}

void builder_answer(Builder *b, json_t *line)
{
	AUTO_FREE char *text = json_dumps(line, JSON_COMPACT);
	json_decref(line);
	if (!b->requests || !text)
		return;
	Line *l = xcalloc(1, sizeof(*l));
	l->text = xasprintf("%s\n", text);
	l->w.data = l;
	uv_buf_t buf = uv_buf_init(l->text, (unsigned) strlen(l->text));
	if (uv_write(&l->w, (uv_stream_t *) b->requests, &buf, 1, line_written) < 0)
		line_written(&l->w, -EPIPE);
	if (uv_stream_get_write_queue_size((uv_stream_t *) b->requests) > LIMIT_BUILD_BACKLOG)
		refuse_worker(b, "it asks, and does not read what it is answered");
}

static void requests_closed(uv_handle_t *h)
{
	free(h);
}

static void close_requests(Builder *b)
{
	if (b->requests)
		uv_close((uv_handle_t *) b->requests, requests_closed);
	b->requests = NULL;
}

static int open_requests(Builder *b, int *ret_theirs, Err *err)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return err_errno(err, -errno, "make a socket");
	b->requests = xcalloc(1, sizeof(*b->requests));
	(void) uv_pipe_init(b->d->loop, b->requests, 0);
	int r = uv_pipe_open(b->requests, fds[0]);
	if (r < 0) {
		(void) close(fds[0]);
		(void) close(fds[1]);
		return err_errno(err, r, "make a socket");
	}
	*ret_theirs = fds[1];
	return 0;
}

static void leave_pulls(Builder *b);
static void pull_free(BuildPull *p);

/* ── the end ──────────────────────────────────────────────────────── */

static void builder_free(Builder *b)
{
	Builds *all = b->d->builds;
	for (size_t i = 0; i < all->n; i++)
		if (all->list[i] == b)
			all->list[i--] = all->list[--all->n];
	close_requests(b);
	build_places_drop(b);
	build_limits_done(&b->limits);
	json_decref(b->waiting);
	json_decref(b->report);
	free(b->steps);
	free(b->pulls);
	free(b->image_id);
	err_done(&b->err);
	free(b);
}

static void maybe_end(Builder *b)
{
	if (b->job || b->n_steps || b->held)
		return;
	const Image *img = b->image_id ? daemon_image_by_id(b->d, b->image_id) : NULL;
	if (!img && !b->err.code)
		(void) err_set(&b->err, -ENOENT, "the image was removed while it was built");
	if (!b->cancelled)
		b->front.done(b->front.user, img, b->report, b->err.code ? &b->err : NULL);
	builder_free(b);
}

static void kill_steps(Builder *b)
{
	b->held++;
	leave_pulls(b);
	(void) json_array_clear(b->waiting);
	for (size_t i = b->n_steps; i-- > 0;)
		if (i < b->n_steps)
			build_step_kill(b->steps[i]);
	b->held--;
	maybe_end(b);
}

void builder_cancel(Builder *b)
{
	b->cancelled = true;
	if (b->job)
		job_cancel(b->job);
	kill_steps(b);
}

static void take_images(Builder *b, JobResult *result)
{
	if (!result->n_images) {
		(void) err_set(&b->err, -EIO, "the worker has built nothing");
		return;
	}
	b->image_id = xstrdup(result->images[0]->id);
	if (image_add(b->d, steal_ptr(&result->images[0]), &b->err) < 0)
		free_and_null(&b->image_id);
	else
		build_why_keep(b->d, b->image_id, b->report);
}

static void job_done(void *user, JobResult *result, const Err *err)
{
	Builder *b = user;
	b->job = NULL;
	close_requests(b);
	if (b->err.code)
		log_warning("build: %s", err_text(&b->err));
	else if (err)
		(void) err_set(&b->err, err->code, "%s", err_text(err));
	else
		take_images(b, result);
	/* What a worker that did not come to its end has left, or had done twice. */
	if (b->cancelled || b->err.code || b->twice)
		image_sweep(b->d, NULL, NULL);
	build_cache_tidy(b->d);
	kill_steps(b);
}

/* The daemon ends. */
static void lost(void *user)
{
	Builder *b = user;
	AUTO_ERR err = ERR_INIT;
	(void) err_set(&err, -ECANCELED, "the daemon is being stopped");
	while (b->n_pulls) /* they end with their jobs, and tell nobody */
		pull_free(b->pulls[0]);
	while (b->n_steps)
		build_step_abandon(b->steps[--b->n_steps]);
	if (!b->cancelled)
		b->front.done(b->front.user, NULL, NULL, &err);
	builder_free(b);
}

void builds_close(Daemon *d)
{
	while (d->builds && d->builds->n)
		lost(d->builds->list[0]);
	if (d->builds)
		free(d->builds->list);
	free(d->builds);
	d->builds = NULL;
}

/* ── base images ──────────────────────────────────────────────────── */

struct BuildPull {
	Builder *b;
	PullHandle *handle;
	char *ref;
	bool was_here; /* in some form: it was to be looked for anew, or is another platform's */
};

static void pull_free(BuildPull *p)
{
	Builder *b = p->b;
	for (size_t i = 0; i < b->n_pulls; i++)
		if (b->pulls[i] == p)
			b->pulls[i--] = b->pulls[--b->n_pulls];
	free(p->ref);
	free(p);
}

static void leave_pulls(Builder *b)
{
	while (b->n_pulls) {
		image_pull_leave(b->pulls[0]->handle);
		pull_free(b->pulls[0]);
	}
}

static void answer_image(Builder *b, const char *ref, const Image *img)
{
	builder_answer(b, json_pack("{s:s, s:s}", "image", ref, "id", img->id));
}

static void answer_no_image(Builder *b, const char *ref, bool was_here, const Err *err)
{
	AUTO_FREE char *text = was_here ? xstrdup(err_text(err)) :
		xasprintf("it is not on this machine, and: %s; load it (stead load), or make it from packages (stead image bootstrap %s)", err_text(err), ref);
	builder_answer(b, json_pack("{s:s, s:o}", "image", ref, "error", json_safe(text)));
}

static void pull_event(void *user, const json_t *line)
{
	const BuildPull *p = user;
	const char *text = json_string_value(json_object_get(line, "progress"));
	if (!text)
		return;
	AUTO_FREE char *whole = xasprintf("pulling %s: %s", p->ref, text);
	builder_event(p->b, json_pack("{s:o}", "progress", json_safe(whole)));
}

static void pulled(void *user, Image *img, const Err *err)
{
	BuildPull *p = user;
	if (img)
		answer_image(p->b, p->ref, img);
	else
		answer_no_image(p->b, p->ref, p->was_here, err);
	pull_free(p);
}

/* By the registry's name, as `docker login` keeps them. */
static const json_t *credentials(const Builder *b, const char *ref)
{
	AUTO_FREE char *normal = NULL;
	if (!b->limits.auths || reference_normalise(ref, &normal, NULL) < 0)
		return NULL;
	AUTO_FREE char *domain = xstrndup(normal, strcspn(normal, "/"));
	const json_t *auth = json_object_get(b->limits.auths, domain);
	return auth || !str_eq(domain, "docker.io") ? auth : json_object_get(b->limits.auths, "https://index.docker.io/v1/");
}

static void want_image(Builder *b, const json_t *m)
{
	const char *ref = json_string_value(json_object_get(m, "image")), *platform = json_string_value(json_object_get(m, "platform"));
	AUTO_ERR err = ERR_INIT;
	Image *img = NULL;
	bool here = daemon_find_image(b->d, ref, &img, NULL, NULL) == 0;
	if (here && !json_is_true(json_object_get(m, "pull")) && (str_empty(platform) || image_platform_check(img, platform, NULL) == 0)) {
		answer_image(b, ref, img);
		return;
	}
	BuildPull *p = *array_append(b->pulls, b->n_pulls) = xcalloc(1, sizeof(*p));
	*p = (BuildPull) { .b = b, .ref = xstrdup(ref), .was_here = here };
	const ImagePull ask = { .ref = ref, .platform = str_empty(platform) ? NULL : platform, .auth = credentials(b, ref) };
	if (image_pull(b->d, &ask, pull_event, pulled, p, &p->handle, &err) < 0) {
		answer_no_image(b, ref, here, &err);
		pull_free(p);
	}
}

/* ── messages of the worker ───────────────────────────────────────── */

void builder_event(Builder *b, json_t *event)
{
	if (!b->cancelled)
		b->front.event(b->front.user, event);
	json_decref(event);
}

static void run_more(Builder *b)
{
	while (b->n_steps < LIMIT_BUILD_STEPS && json_array_size(b->waiting)) {
		json_t *m = json_incref(json_array_get(b->waiting, 0));
		(void) json_array_remove(b->waiting, 0);
		build_step_start(b, m);
		json_decref(m);
	}
}

static void on_message(void *user, const json_t *m)
{
	Builder *b = user;
	const json_t *event = json_object_get(m, "event"), *built = json_object_get(m, "built");
	if (b->cancelled || b->err.code)
		return;
	if (json_is_object(event)) {
		if (b->front.event(b->front.user, event))
			refuse_worker(b, "the client does not read what happens");
	} else if (json_is_integer(json_object_get(m, "run"))) {
		(void) json_array_append_new(b->waiting, json_deep_copy(m));
		/* Each stage waits for one. */
		if (json_array_size(b->waiting) > LIMIT_DOCKERFILE_STAGES)
			refuse_worker(b, "it asks for more RUN instructions at once than there can be");
		else
			run_more(b);
	} else if (json_is_string(json_object_get(m, "image"))) {
		if (b->n_pulls > LIMIT_DOCKERFILE_STEPS)
			refuse_worker(b, "it asks for more images at once than there can be");
		else
			want_image(b, m);
	} else if (json_is_object(built)) {
		json_decref(b->report);
		b->report = json_deep_copy(built);
	}
}

void builder_step_ended(Builder *b, BuildStep *s)
{
	for (size_t i = 0; i < b->n_steps; i++)
		if (b->steps[i] == s)
			b->steps[i--] = b->steps[--b->n_steps];
	if (b->job && !b->cancelled && !b->err.code)
		run_more(b);
	maybe_end(b);
}

void builder_resume(Builder *b)
{
	for (size_t i = b->n_steps; i-- > 0;)
		build_step_pause(b->steps[i], false);
}

void builder_shell_input(Builder *b, const void *p, size_t n)
{
	for (size_t i = 0; i < b->n_steps; i++)
		if (build_step_input(b->steps[i], p, n))
			return;
}

void builder_shell_resize(Builder *b, unsigned rows, unsigned columns)
{
	for (size_t i = 0; i < b->n_steps; i++)
		if (build_step_resize(b->steps[i], rows, columns))
			return;
}

void builder_agent_answer(Builder *b, uint32_t number, const void *p, size_t n)
{
	for (size_t i = 0; i < b->n_steps; i++)
		if (build_step_agent_answer(b->steps[i], number, p, n))
			return;
}

/* ── the start ────────────────────────────────────────────────────── */

static int normalise_tags(json_t *options, Err *err)
{
	json_t *tags = json_object_get(options, "tags"), *normal = json_array();
	for (size_t i = 0; i < json_array_size(tags); i++) {
		const char *tag = json_string_value(json_array_get(tags, i));
		AUTO_FREE char *text = NULL;
		int r = tag ? reference_normalise(tag, &text, err) : err_set(err, -EINVAL, "tags: a list of names is expected");
		if (r == 0 && strchr(text, '@'))
			r = err_set(err, -EINVAL, "'%s': a digest cannot be a tag", tag);
		if (r < 0) {
			json_decref(normal);
			return r;
		}
		(void) json_array_append_new(normal, json_string(text));
	}
	return json_object_set_new(options, "tags", normal);
}

int build_options_check(json_t *options, Err *err)
{
	static const char *const texts[] = { "dockerfile", "dockerfile_name", "ignore", "context", "target", "platform", "source" };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const json_t *v = json_object_get(options, texts[i]);
		if (v && !json_is_string(v) && !json_is_null(v))
			return err_set(err, -EINVAL, "%s: a string is expected", texts[i]);
	}
	return normalise_tags(options, err);
}

static int check_space(Daemon *d, Err *err)
{
	struct statvfs v;
	if (statvfs(d->o.state_dir, &v) < 0 || (uint64_t) v.f_bavail * v.f_frsize >= FREE_SPACE_MIN)
		return 0;
	return err_set(err, -ENOSPC, "only %llu MB are free in %s; make room (stead image prune, stead builder prune) before you build",
		(unsigned long long) ((uint64_t) v.f_bavail * v.f_frsize >> 20), d->o.state_dir);
}

int builder_start(Daemon *d, json_t *options, BuildLimits *limits, int context, const BuildFront *front, Builder **ret, Err *err)
{
	Builder *b = xcalloc(1, sizeof(*b));
	int theirs = -1;
	b->d = d;
	b->began = time_real() / NSEC_PER_SEC;
	b->front = *front;
	b->limits = *limits;
	b->waiting = json_array();
	*limits = (BuildLimits) { .cpu_shares = -1, .shm_size = -1, .memory_swap = -1 };
	*array_append(d->builds->list, d->builds->n) = b;
	b->twice = json_is_true(json_object_get(options, "no_cache")) || json_array_size(json_object_get(options, "no_cache_filter"));
	for (size_t i = 0; d->builds->n > 1 && i < d->builds->n; i++)
		d->builds->list[i]->twice = true;
	int r = check_space(d, err);
	if (r == 0)
		r = open_requests(b, &theirs, err);
	if (r < 0) {
		(void) close(context);
		json_decref(options);
		builder_free(b);
		return r;
	}
	builder_answer(b, options);
	JobCallbacks cb = { .event = on_message, .done = job_done, .lost = lost, .user = b };
	r = job_build(d->jobs, theirs, context, &cb, &b->job, err);
	if (r < 0) {
		builder_free(b);
		return r;
	}
	*ret = b;
	return 0;
}
