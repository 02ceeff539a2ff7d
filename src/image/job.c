// SPDX-License-Identifier: Apache-2.0
/*
 * Jobs wait in one list, in order, and start when a place is free. Three kinds matter: makers (which
 * add layers), sweeps (which remove what the store does not name, and would take a layer that a maker
 * has just reused and not yet reported), and the rest. A sweep and a maker never run together, and neither
 * overtakes the other, but that makers join one that runs, while a sweep waits for it anyway: a ship over a slow line
 * takes hours, and a build asks for its base images on the way. The rest pass both, since a volume's first copy must not wait for a long bootstrap. Ships wait for
 * the other end, which may be waiting for a ship of its own, so they never wait for a place and take up none. Builds have
 * places of their own, so that the pulls they wait for find one.
 *
 * A zero timer starts waiting jobs and ends cancelled ones, so that no callback is called from inside
 * the call that made the job.
 */
#include "image/job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/child.h"

#define ARCHIVE_FD 3 /* as worker/main.c takes it */
#define PEER_WRITE_FD 4 /* of ships, whose ARCHIVE_FD reads from the peer */
#define STDERR_MAX 4096

typedef enum JobKind { JOB_MAKES, JOB_SWEEPS, JOB_USES } JobKind;

struct Job {
	Jobs *jobs;
	Job *next;
	const char *verb;
	JobKind kind;
	JobCallbacks cb;
	char *options; /* JSON for the worker's stdin; a sweep's is made when it starts */
	bool refs;     /* what the store refers to then is added to them */
	int fd;        /* -1 = none */
	bool ship;     /* fd is a connection to another box: the worker's descriptors 3 and 4 */
	int in;        /* standard input of a build, else -1 */
	Child *child;  /* NULL = waits */
	bool cancelled, ended; /* ended: the worker's last line came */
	JobResult result;
	Err err;
};

struct Jobs {
	uv_loop_t *loop;
	char *state_dir;
	JobRefsFn refs;
	void *user;
	Job *first;
	uv_timer_t timer;
	bool removing, remove_more; /* a remove worker runs; trees came after it had started */
};

static void job_free(Job *job)
{
	for (size_t i = 0; i < job->result.n_images; i++)
		image_free(job->result.images[i]);
	free(job->result.images);
	free(job->options);
	err_done(&job->err);
	if (job->fd >= 0)
		(void) close(job->fd);
	if (job->in >= 0)
		(void) close(job->in);
	free(job);
}

static void unlink_job(Job *job)
{
	Job **p = &job->jobs->first;
	while (*p && *p != job)
		p = &(*p)->next;
	if (*p)
		*p = job->next;
}

static void on_timer(uv_timer_t *t);

static void kick(Jobs *j)
{
	(void) uv_timer_start(&j->timer, on_timer, 0, 0);
}

int jobs_new(uv_loop_t *loop, const char *state_dir, JobRefsFn refs, void *user, Jobs **ret, Err *err)
{
	static const char *const dirs[] = { "", "/blobs", "/blobs/sha256", "/layers", "/tmp", "/cache" };
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		AUTO_FREE char *path = xasprintf("%s%s", state_dir, dirs[i]);
		int r = dir_make(path, 0700);
		if (r < 0)
			return err_errno(err, r, "%s", path);
	}
	Jobs *j = xcalloc(1, sizeof(*j));
	j->loop = loop;
	j->state_dir = xstrdup(state_dir);
	j->refs = refs;
	j->user = user;
	(void) uv_timer_init(loop, &j->timer);
	j->timer.data = j;
	*ret = j;
	return 0;
}

static void on_closed(uv_handle_t *h)
{
	Jobs *j = h->data;
	free(j->state_dir);
	free(j);
}

void jobs_free(Jobs *j)
{
	if (!j)
		return;
	while (j->first) {
		Job *job = j->first;
		if (job->child) {
			child_signal(job->child, SIGKILL);
			child_forget(job->child);
		}
		j->first = job->next;
		if (job->cb.lost)
			job->cb.lost(job->cb.user);
		job_free(job);
	}
	uv_close((uv_handle_t *) &j->timer, on_closed);
}

size_t jobs_active(const Jobs *j)
{
	size_t n = 0;
	for (const Job *job = j->first; job; job = job->next)
		n++;
	return n;
}

/* The worker. */

static void finish(Job *job)
{
	Jobs *j = job->jobs;
	unlink_job(job);
	if (job->cancelled)
		(void) err_set(&job->err, -ECANCELED, "cancelled");
	if (job->cb.done)
		job->cb.done(job->cb.user, &job->result, job->err.code ? &job->err : NULL);
	job_free(job);
	kick(j);
}

/* The worker names an image; its configuration is the blob that the worker has written and checked. */
static int take_image(Job *job, const json_t *o, Err *err)
{
	const char *id = json_string_value(json_object_get(o, "id"));
	const json_t *tags = json_object_get(o, "tags"), *sizes = json_object_get(o, "sizes");
	AUTO_BUF config = BUF_INIT;
	Image *image = NULL;
	if (!digest_valid(id))
		return err_set(err, -EIO, "the worker's report names no image");
	if (job->result.n_images >= LIMIT_ARCHIVE_IMAGES)
		return err_set(err, -EIO, "the worker reports more than %d images", LIMIT_ARCHIVE_IMAGES);
	AUTO_FREE char *path = xasprintf("%s/blobs/sha256/%s", job->jobs->state_dir, id + strlen("sha256:"));
	int r = file_read(AT_FDCWD, path, LIMIT_MANIFEST_BYTES, &config);
	if (r < 0)
		return err_errno(err, r, "%s", path);
	r = image_from_config(buf_cstr(&config), config.len, &image, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < image->n_layers; i++) {
		image->layers[i].size = json_integer_value(json_array_get(sizes, i));
		image->size += image->layers[i].size;
	}
	for (size_t i = 0; i < json_array_size(tags); i++)
		if (json_is_string(json_array_get(tags, i)))
			strv_add(&image->tags, json_string_value(json_array_get(tags, i)));
	*array_append(job->result.images, job->result.n_images) = image;
	return 0;
}

static void on_line(void *user, const char *line, size_t n)
{
	Job *job = user;
	json_t *o = json_loadb(line, n, 0, NULL);
	const char *text = json_string_value(json_object_get(o, "progress"));
	const char *error = json_string_value(json_object_get(o, "error"));
	const json_t *image = json_object_get(o, "image"), *built = json_object_get(o, "built");
	bool report = json_is_object(image); /* a build asks for one by its name */
	if (text && job->cb.progress && !job->cancelled)
		job->cb.progress(job->cb.user, text);
	if ((report || built) && !job->err.code)
		(void) take_image(job, built ? built : image, &job->err);
	if (json_is_true(json_object_get(o, "copied")))
		job->result.copied = true;
	if (job->cb.event && !job->cancelled && !text && !report && !error)
		job->cb.event(job->cb.user, o);
	if (json_object_get(o, "freed"))
		job->result.freed = json_integer_value(json_object_get(o, "freed"));
	if (error) {
		int code = (int) json_integer_value(json_object_get(o, "code"));
		(void) err_set(&job->err, code < 0 ? code : -EIO, "%s", error);
		job->ended = true;
	} else if (json_object_get(o, "result")) {
		job->ended = true;
	}
	json_decref(o);
}

static void on_exited(void *user, const ChildExit *exit)
{
	Job *job = user;
	job->child = NULL;
	if (!job->ended && !job->err.code) {
		if (exit->signal)
			(void) err_set(&job->err, -EIO, "the worker was killed by signal %d (%s)%s", exit->signal, strsignal(exit->signal),
				exit->signal == SIGKILL ? ": out of memory?" : "");
		else
			(void) err_set(&job->err, -EIO, "the worker ended without a result (exit code %d)%s%.300s", exit->code,
				*exit->errors ? ": " : "", exit->errors);
	}
	finish(job);
}

static json_t *strv_json(char *const *v)
{
	json_t *list = json_array();
	for (; v && *v; v++)
		(void) json_array_append_new(list, json_string(*v));
	return list;
}

static void put_options(Job *job, json_t *o)
{
	job->options = json_dumps(o, JSON_COMPACT);
	json_decref(o);
}

static void sweep_options(Job *job)
{
	AUTO_STRV char **layers = NULL;
	AUTO_STRV char **images = NULL;
	Jobs *j = job->jobs;
	if (!j->refs) {
		put_options(job, json_pack("{s:b}", "temporary", 1));
		return;
	}
	j->refs(j->user, &layers, &images);
	put_options(job, json_pack("{s:o, s:o}", "layers", strv_json(layers), "images", strv_json(images)));
}

static void add_refs(Job *job)
{
	AUTO_STRV char **layers = NULL;
	AUTO_STRV char **images = NULL;
	json_t *o = json_loads(job->options, 0, NULL);
	if (job->jobs->refs)
		job->jobs->refs(job->jobs->user, &layers, &images);
	(void) json_object_set_new(o, "layers", strv_json(layers));
	(void) json_object_set_new(o, "images", strv_json(images));
	free(job->options);
	put_options(job, o);
}

static int spawn(Job *job, Err *err)
{
	AUTO_FREE char *worker = libexec_path("stead-worker");
	const char *argv[] = { worker, job->verb, job->jobs->state_dir, NULL };
	ChildFd fds[2];
	size_t n_fds = 0;
	if (job->fd >= 0)
		fds[n_fds++] = (ChildFd) { job->fd, ARCHIVE_FD };
	if (job->ship)
		fds[n_fds++] = (ChildFd) { job->fd, PEER_WRITE_FD };
	if (job->in >= 0)
		fds[n_fds++] = (ChildFd) { job->in, STDIN_FILENO };
	if (job->kind == JOB_SWEEPS)
		sweep_options(job);
	if (job->refs)
		add_refs(job);
	ChildOptions o = {
		.argv = argv,
		.input = job->in >= 0 ? NULL : job->options ? job->options : "",
		.input_len = job->options ? strlen(job->options) : 0,
		.capture_max = STDERR_MAX,
		.line = on_line,
		.exited = on_exited,
		.user = job,
		.fds = fds,
		.n_fds = n_fds,
		.new_session = true,
	};
	int r = child_spawn(job->jobs->loop, &o, &job->child, err);
	if (r < 0)
		return err_wrap(err, "starting %s", worker);
	/* The worker's copy is the only one now: the writer of a pipe notices its end. */
	if (job->fd >= 0)
		(void) close(job->fd);
	if (job->in >= 0)
		(void) close(job->in);
	job->fd = job->in = -1;
	return 0;
}

static bool something_is_made(const Jobs *j)
{
	for (const Job *job = j->first; job; job = job->next)
		if (job->kind == JOB_MAKES && job->child)
			return true;
	return false;
}

static bool is_build(const Job *job)
{
	return str_eq(job->verb, "build");
}

/* May `job` start, given what runs and what waits before it? */
static bool may_start(const Job *job)
{
	size_t running = 0;
	bool before = true, overtakes = job->kind == JOB_MAKES && something_is_made(job->jobs);
	for (const Job *o = job->jobs->first; o; o = o->next) {
		if (o == job) {
			before = false;
			continue;
		}
		if (o->child && !o->ship && is_build(o) == is_build(job))
			running++;
		bool apart = (o->kind == JOB_SWEEPS && job->kind != JOB_USES) || (job->kind == JOB_SWEEPS && o->kind == JOB_MAKES);
		if (apart && (o->child || (before && !overtakes)))
			return false;
	}
	return job->ship || running < (is_build(job) ? LIMIT_BUILDS : LIMIT_WORKERS);
}

size_t jobs_ships(const Jobs *j)
{
	size_t n = 0;
	for (const Job *job = j->first; job; job = job->next)
		n += job->ship;
	return n;
}

bool jobs_delay_sweep(const Jobs *j)
{
	size_t running = 0;
	for (const Job *job = j->first; job; job = job->next) {
		if (job->kind == JOB_MAKES)
			return true;
		running += job->kind == JOB_USES && job->child && !job->ship;
	}
	return running >= LIMIT_WORKERS;
}

static void on_timer(uv_timer_t *t)
{
	Jobs *j = t->data;
	for (Job *job = j->first; job; job = job->next) {
		if (job->child || (!job->cancelled && !may_start(job)))
			continue;
		/* finish() calls out, after which the list may be another: it kicks the timer again. */
		if (job->cancelled || spawn(job, &job->err) < 0) {
			finish(job);
			return;
		}
	}
}

/* Takes ownership of fd and options. */
static Job *job_new(Jobs *j, const char *verb, JobKind kind, int fd, json_t *options, const JobCallbacks *cb)
{
	Job *job = xcalloc(1, sizeof(*job));
	job->jobs = j;
	job->verb = verb;
	job->kind = kind;
	job->fd = fd;
	job->in = -1;
	if (cb)
		job->cb = *cb;
	if (options)
		put_options(job, options);
	return job;
}

/* Takes ownership of the job. */
static int queue_job(Job *job, Job **ret, Err *err)
{
	Jobs *j = job->jobs;
	Job **p = &j->first;
	while (*p)
		p = &(*p)->next;
	*p = job;
	/* At once where possible, so that a worker that cannot be started is the caller's error. */
	if (may_start(job)) {
		int r = spawn(job, err);
		if (r < 0) {
			unlink_job(job);
			job_free(job);
			return r;
		}
	}
	if (ret)
		*ret = job;
	return 0;
}

/* Takes ownership of fd and options. */
static int add_job(Jobs *j, const char *verb, JobKind kind, int fd, json_t *options, const JobCallbacks *cb, Job **ret, Err *err)
{
	Job *job = job_new(j, verb, kind, fd, options, cb);
	if (kind != JOB_SWEEPS && !job->options && options) {
		job_free(job);
		return err_set(err, -EINVAL, "an option is not UTF-8");
	}
	return queue_job(job, ret, err);
}

void job_cancel(Job *job)
{
	job->cancelled = true;
	if (job->child)
		child_signal(job->child, SIGKILL);
	else
		kick(job->jobs);
}

/* The jobs. */

int job_load(Jobs *j, int fd, const JobCallbacks *cb, Job **ret, Err *err)
{
	return add_job(j, "load", JOB_MAKES, fd, NULL, cb, ret, err);
}

static void put_text(json_t *o, const char *key, const char *value)
{
	if (value)
		(void) json_object_set_new(o, key, json_string(value));
}

/* NULL if a string is not UTF-8. */
static json_t *image_options(const JobImageOptions *o)
{
	const struct {
		const char *key;
		char *const *list;
	} lists[] = {
		{ "entrypoint", o->entrypoint }, { "cmd", o->cmd }, { "env", o->env }, { "ports", o->ports }, { "volumes", o->volumes },
		{ "labels", o->labels },
	};
	const struct {
		const char *key, *text;
	} texts[] = {
		{ "name", o->name }, { "arch", o->arch }, { "user", o->user }, { "workdir", o->workdir }, { "stop_signal", o->stop_signal },
	};
	json_t *root = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (lists[i].list)
			(void) json_object_set_new(root, lists[i].key, strv_json(lists[i].list));
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		put_text(root, texts[i].key, texts[i].text);
	return root;
}

int job_import(Jobs *j, int fd, const JobImageOptions *o, const JobCallbacks *cb, Job **ret, Err *err)
{
	return add_job(j, "import", JOB_MAKES, fd, image_options(o), cb, ret, err);
}

int job_bootstrap(Jobs *j, const JobBootstrap *b, const JobCallbacks *cb, Job **ret, Err *err)
{
	json_t *root = image_options(&b->image);
	(void) json_object_set_new(root, "packages", strv_json(b->packages));
	put_text(root, "suite", b->suite);
	put_text(root, "mirror", b->mirror);
	return add_job(j, "bootstrap", JOB_MAKES, -1, root, cb, ret, err);
}

static void put_json(json_t *o, const char *key, const json_t *value)
{
	if (value)
		(void) json_object_set(o, key, (json_t *) value);
}

int job_pull(Jobs *j, const JobPull *p, const JobCallbacks *cb, Job **ret, Err *err)
{
	json_t *o = json_object();
	put_text(o, "ref", p->ref);
	put_text(o, "platform", p->platform);
	put_text(o, "rules", p->rules);
	put_json(o, "auth", p->auth);
	return add_job(j, "pull", JOB_MAKES, -1, o, cb, ret, err);
}

int job_push(Jobs *j, const JobPushItem *items, size_t n, const json_t *auth, const char *rules, const JobCallbacks *cb, Job **ret, Err *err)
{
	json_t *o = json_object(), *list = json_array();
	for (size_t i = 0; i < n; i++)
		(void) json_array_append_new(list, json_pack("{s:s, s:s}", "ref", items[i].ref, "id", items[i].id));
	(void) json_object_set_new(o, "images", list);
	put_text(o, "rules", rules);
	put_json(o, "auth", auth);
	return add_job(j, "push", JOB_USES, -1, o, cb, ret, err);
}

int job_login(Jobs *j, const char *domain, const json_t *auth, const char *rules, const JobCallbacks *cb, Job **ret, Err *err)
{
	json_t *o = json_object();
	put_text(o, "domain", domain);
	put_text(o, "rules", rules);
	put_json(o, "auth", auth);
	return add_job(j, "login", JOB_USES, -1, o, cb, ret, err);
}

int job_build(Jobs *j, int requests, int context, const JobCallbacks *cb, Job **ret, Err *err)
{
	Job *job = job_new(j, "build", JOB_MAKES, context, NULL, cb);
	job->in = requests;
	return queue_job(job, ret, err);
}

int job_prune_builds(Jobs *j, json_t *options, const JobCallbacks *cb, Job **ret, Err *err)
{
	Job *job = job_new(j, "prune-builds", JOB_USES, -1, options, cb);
	if (!job->options) {
		job_free(job);
		return err_set(err, -EINVAL, "an option is not UTF-8");
	}
	job->refs = true;
	return queue_job(job, ret, err);
}

static json_t *items_json(const JobSaveItem *items, size_t n)
{
	json_t *list = json_array();
	for (size_t i = 0; i < n; i++)
		(void) json_array_append_new(list, json_pack("{s:s, s:o}", "id", items[i].id, "tags", strv_json(items[i].tags)));
	return json_pack("{s:o}", "images", list);
}

int job_save(Jobs *j, const JobSaveItem *items, size_t n_items, int fd, const JobCallbacks *cb, Job **ret, Err *err)
{
	return add_job(j, "save", JOB_USES, fd, items_json(items, n_items), cb, ret, err);
}

static int add_ship(Jobs *j, const char *verb, JobKind kind, int fd, json_t *options, const JobCallbacks *cb, Job **ret, Err *err)
{
	Job *job = job_new(j, verb, kind, fd, options, cb);
	job->ship = true;
	return queue_job(job, ret, err);
}

int job_ship_send(Jobs *j, const JobSaveItem *items, size_t n_items, int fd, const JobCallbacks *cb, Job **ret, Err *err)
{
	return add_ship(j, "ship-send", JOB_USES, fd, items_json(items, n_items), cb, ret, err);
}

int job_ship_receive(Jobs *j, const JobBox *box, int fd, const JobCallbacks *cb, Job **ret, Err *err)
{
	json_t *o = json_pack("{s:s, s:o, s:I}", "arch", box->arch, "emulated", strv_json(box->emulated), "memory_free",
		(json_int_t) box->memory_free);
	return add_ship(j, "ship-receive", JOB_MAKES, fd, o, cb, ret, err);
}

int job_copy_up(Jobs *j, char *const *layers, const char *path, const char *dst, const JobCallbacks *cb, Job **ret, Err *err)
{
	json_t *o = json_pack("{s:o, s:s, s:s}", "layers", strv_json(layers), "path", path, "dst", dst);
	if (!o)
		return err_set(err, -EINVAL, "'%s' is not UTF-8", path);
	return add_job(j, "copy", JOB_USES, -1, o, cb, ret, err);
}

int job_sweep(Jobs *j, const JobCallbacks *cb, Job **ret, Err *err)
{
	return add_job(j, "sweep", JOB_SWEEPS, -1, NULL, cb, ret, err);
}

/* Removing trees. */

static void start_remover(Jobs *j);

static void on_removed(void *user, JobResult *result, const Err *err)
{
	Jobs *j = user;
	/* What is left stays out of sight under tmp/, for the next sweep. */
	if (err)
		log_warning("removing files: %s", err_text(err));
	j->removing = false;
	if (j->remove_more)
		start_remover(j);
}

static void start_remover(Jobs *j)
{
	const JobCallbacks cb = { .done = on_removed, .user = j };
	AUTO_ERR err = ERR_INIT;
	if (j->removing) {
		j->remove_more = true;
		return;
	}
	j->remove_more = false;
	if (add_job(j, "remove", JOB_USES, -1, NULL, &cb, NULL, &err) < 0)
		log_warning("removing files: %s", err_text(&err));
	else
		j->removing = true;
}

int job_remove_tree(Jobs *j, const char *path, Err *err)
{
	size_t n = strlen(j->state_dir);
	char rnd[33];
	if (strncmp(path, j->state_dir, n) != 0 || path[n] != '/' || !path[n + 1] || strstr(path + n, "/../") || str_ends(path, "/.."))
		return err_set(err, -EINVAL, "%s is not below %s: not removed", path, j->state_dir);
	hex_random(16, rnd);
	AUTO_FREE char *hidden = xasprintf("%s/tmp/rm-%s", j->state_dir, rnd);
	if (rename(path, hidden) < 0)
		return errno == ENOENT ? 0 : err_errno(err, -errno, "removing %s", path);
	start_remover(j);
	return 0;
}
