// SPDX-License-Identifier: Apache-2.0
/* Real workers, from the build tree. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "base/digest.h"
#include "base/limits.h"
#include "image/job.h"
#include "image/testing.h"

static uv_loop_t loop;
static Jobs *jobs;
static char *state_dir;

typedef struct Seen {
	int done, lines, code;
	char *id, *tag, *text;
	int64_t freed;
	size_t n_images;
	bool inside; /* the call that starts a job has not returned */
	bool keep;   /* the store takes what was made */
} Seen;

static void seen_done(Seen *s)
{
	free(s->id);
	free(s->tag);
	free(s->text);
	*s = (Seen) { 0 };
}

static void on_progress(void *user, const char *text)
{
	Seen *s = user;
	assert_false(s->inside);
	s->lines++;
}

/* What the store would refer to. */
static char **kept_layers, **kept_images;

static void on_done(void *user, JobResult *result, const Err *err)
{
	Seen *s = user;
	assert_false(s->inside);
	s->done++;
	s->code = err ? err->code : 0;
	s->n_images = result->n_images;
	s->freed = result->freed;
	if (err)
		str_set(&s->text, err_text(err));
	if (result->n_images) {
		str_set(&s->id, result->images[result->n_images - 1]->id);
		str_set(&s->tag, result->images[result->n_images - 1]->tags[0]);
		assert_true(result->images[0]->size > 0);
		char name[33];
		layer_dir_name(result->images[0]->layers[0].diff_id, name);
		if (s->keep) {
			strv_add(&kept_layers, name);
			strv_add(&kept_images, s->id);
		}
	}
}

static void refs(void *user, char ***layers, char ***images)
{
	for (char **l = kept_layers; l && *l; l++)
		strv_add(layers, *l);
	for (char **i = kept_images; i && *i; i++)
		strv_add(images, *i);
}

static JobCallbacks callbacks(Seen *s)
{
	return (JobCallbacks) { .progress = on_progress, .done = on_done, .user = s };
}

static void run_until(const Seen *s, int done)
{
	while (s->done < done && uv_run(&loop, UV_RUN_ONCE))
		;
	assert_int_equal(s->done, done);
}

static int archive_fd(Buf *b, const char *text)
{
	AUTO_FREE char *path = scratch_path("tar");
	put_file(b, "f", text);
	tar_write_end(b);
	assert_int_equal(file_write(AT_FDCWD, path, b->data, b->len, 0600), 0);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static bool layer_exists(const Buf *tar)
{
	char hex[DIGEST_HEX_MAX], name[33];
	digest_sha256(tar->data, tar->len, hex);
	layer_dir_name(hex, name);
	AUTO_FREE char *path = xasprintf("%s/layers/%s/f", state_dir, name);
	return access(path, F_OK) == 0;
}

static void import_and_sweep(void **state)
{
	AUTO(seen_done) Seen s = { .keep = true };
	AUTO(seen_done) Seen sweep = { 0 };
	AUTO_BUF b = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	char *cmd[] = { (char *) "/f", NULL };
	JobImageOptions o = { .name = "one", .cmd = cmd };
	JobCallbacks cb = callbacks(&s), sweep_cb = callbacks(&sweep);
	s.inside = true;
	if (job_import(jobs, archive_fd(&b, "text"), &o, &cb, NULL, &err) < 0)
		fail_msg("%s", err_text(&err));
	s.inside = false;
	/* Waits for the import, then takes all that the store does not name. */
	assert_int_equal(job_sweep(jobs, &sweep_cb, NULL, NULL), 0);
	run_until(&s, 1);
	if (s.code)
		fail_msg("%s", s.text);
	assert_string_equal(s.tag, "docker.io/library/one:latest");
	assert_true(s.lines > 0);
	run_until(&sweep, 1);
	assert_int_equal(sweep.code, 0);
	assert_true(layer_exists(&b));
	strv_free(steal_ptr(&kept_layers));
	strv_free(steal_ptr(&kept_images));
	assert_int_equal(job_sweep(jobs, &sweep_cb, NULL, NULL), 0);
	run_until(&sweep, 2);
	assert_false(layer_exists(&b));
	assert_true(sweep.freed == 4);
}

/* What the store refers to is asked for when the worker starts, not when the job is: images are made meanwhile. */
static void pruning_knows_what_is_new(void **state)
{
	AUTO(seen_done) Seen s = { .keep = true };
	AUTO(seen_done) Seen load = { 0 };
	AUTO(seen_done) Seen pruned = { 0 };
	AUTO_BUF b = BUF_INIT;
	char hex[DIGEST_HEX_MAX];
	JobImageOptions o = { .name = "one" };
	JobCallbacks cb = callbacks(&s), load_cb = callbacks(&load), prune_cb = callbacks(&pruned);
	Job *loads[LIMIT_WORKERS];
	int write_end[LIMIT_WORKERS];
	for (size_t i = 0; i < ARRAY_SIZE(loads); i++) {
		int p[2];
		assert_int_equal(pipe2(p, O_CLOEXEC), 0);
		write_end[i] = p[1];
		assert_int_equal(job_load(jobs, p[0], &load_cb, &loads[i], NULL), 0);
	}
	/* Both wait for a place. */
	assert_int_equal(job_import(jobs, archive_fd(&b, "new"), &o, &cb, NULL, NULL), 0);
	assert_int_equal(job_prune_builds(jobs, json_object(), &prune_cb, NULL, NULL), 0);
	digest_sha256(b.data, b.len, hex);
	AUTO_FREE char *record = xasprintf("{\"layers\":[\"sha256:%s\"]}", hex);
	AUTO_FREE char *dir = xasprintf("%s/build/cache", state_dir);
	AUTO_FREE char *path = xasprintf("%s/%s", dir, hex);
	assert_int_equal(dir_make(dir, 0700), 0);
	assert_int_equal(file_write(AT_FDCWD, path, record, strlen(record), 0600), 0);
	job_cancel(loads[0]);
	run_until(&s, 1);
	run_until(&pruned, 1);
	assert_int_equal(pruned.code, 0);
	assert_int_equal(access(path, F_OK), 0);
	for (size_t i = 0; i < ARRAY_SIZE(loads); i++)
		(void) close(write_end[i]);
	run_until(&load, LIMIT_WORKERS);
	/* With nothing to keep it, it goes. */
	strv_free(steal_ptr(&kept_layers));
	strv_free(steal_ptr(&kept_images));
	assert_int_equal(job_prune_builds(jobs, json_object(), &prune_cb, NULL, NULL), 0);
	run_until(&pruned, 2);
	assert_int_not_equal(access(path, F_OK), 0);
	assert_true(pruned.freed >= 3);
}

static void save_to_a_pipe_and_load(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	AUTO(seen_done) Seen load = { 0 };
	AUTO_BUF b = BUF_INIT;
	JobImageOptions o = { .name = "two:2" };
	JobCallbacks cb = callbacks(&s), load_cb = callbacks(&load);
	int p[2];
	assert_int_equal(job_import(jobs, archive_fd(&b, "other"), &o, &cb, NULL, NULL), 0);
	run_until(&s, 1);
	assert_int_equal(s.code, 0);
	char *tags[] = { s.tag, NULL };
	JobSaveItem item = { s.id, tags };
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(job_save(jobs, &item, 1, p[1], &cb, NULL, NULL), 0);
	assert_int_equal(job_load(jobs, p[0], &load_cb, NULL, NULL), 0);
	run_until(&load, 1);
	run_until(&s, 2);
	assert_int_equal(s.code, 0);
	if (load.code)
		fail_msg("%s", load.text);
	assert_string_equal(load.id, s.id);
	assert_string_equal(load.tag, "docker.io/library/two:2");
}

static void failures_are_told(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	JobCallbacks cb = callbacks(&s);
	int p[2];
	/* The writer goes before it has written anything. */
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(job_load(jobs, p[0], &cb, NULL, NULL), 0);
	(void) close(p[1]);
	run_until(&s, 1);
	assert_int_equal(s.code, -EINVAL);
	assert_non_null(strstr(s.text, "empty"));
	JobImageOptions o = { .name = "NO" };
	AUTO_BUF b = BUF_INIT;
	assert_int_equal(job_import(jobs, archive_fd(&b, "x"), &o, &cb, NULL, NULL), 0);
	run_until(&s, 2);
	assert_non_null(strstr(s.text, "lower case"));
	AUTO_ERR err = ERR_INIT;
	JobImageOptions latin = { .name = "\xe9" };
	assert_int_equal(job_import(jobs, archive_fd(&b, "x"), &latin, &cb, NULL, &err), 0);
	run_until(&s, 3);
	assert_int_not_equal(s.code, 0);
}

static void cancels(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	JobCallbacks cb = callbacks(&s);
	enum { N = 7 }; /* more than run at once */
	Job *job[N];
	int write_end[N];
	for (int i = 0; i < N; i++) {
		int p[2];
		assert_int_equal(pipe2(p, O_CLOEXEC), 0);
		write_end[i] = p[1];
		assert_int_equal(job_load(jobs, p[0], &cb, &job[i], NULL), 0);
	}
	assert_int_equal(jobs_active(jobs), N);
	s.inside = true;
	job_cancel(job[N - 1]);
	job_cancel(job[0]);
	s.inside = false;
	run_until(&s, 2);
	assert_int_equal(s.code, -ECANCELED);
	for (int i = 0; i < N; i++)
		(void) close(write_end[i]);
	run_until(&s, N);
	assert_int_equal(jobs_active(jobs), 0);
}

static void removes_trees(void **state)
{
	AUTO_FREE char *tree = xasprintf("%s/containers/x/upper/deep", state_dir);
	AUTO_FREE char *top = xasprintf("%s/containers/x", state_dir);
	AUTO_FREE char *up = xasprintf("%s/containers/../..", state_dir);
	AUTO_FREE char *tmp = xasprintf("%s/tmp", state_dir);
	assert_int_equal(dir_make(tree, 0755), 0);
	assert_int_equal(job_remove_tree(jobs, top, NULL), 0);
	assert_int_equal(access(top, F_OK), -1);
	assert_int_equal(job_remove_tree(jobs, top, NULL), 0);
	assert_int_equal(dir_make(tree, 0755), 0);
	assert_int_equal(job_remove_tree(jobs, top, NULL), 0);
	assert_int_equal(job_remove_tree(jobs, "/etc", NULL), -EINVAL);
	assert_int_equal(job_remove_tree(jobs, up, NULL), -EINVAL);
	assert_int_equal(job_remove_tree(jobs, state_dir, NULL), -EINVAL);
	while (jobs_active(jobs) && uv_run(&loop, UV_RUN_ONCE))
		;
	AUTO_FREE char *lock = xasprintf("%s/lock", tmp);
	(void) unlink(lock);
	assert_int_equal(rmdir(tmp), 0);
	assert_int_equal(mkdir(tmp, 0700), 0);
}

/* A worker that dies in the middle leaves what a sweep removes, and nothing under a layer's name. */
static void killed_workers_leave_nothing(void **state)
{
	AUTO(seen_done) Seen s = { 0 };
	JobCallbacks cb = callbacks(&s);
	AUTO_BUF b = BUF_INIT;
	JobImageOptions o = { .name = "three" };
	Job *job;
	int p[2];
	for (int i = 0; i < 3000; i++) {
		char name[32];
		(void) snprintf(name, sizeof(name), "d/%d", i);
		put_file(&b, name, "x");
	}
	tar_write_end(&b);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(job_import(jobs, p[0], &o, &cb, &job, NULL), 0);
	assert_true(write(p[1], b.data, 40000) > 0);
	(void) uv_run(&loop, UV_RUN_NOWAIT);
	job_cancel(job);
	run_until(&s, 1);
	(void) close(p[1]);
	assert_int_equal(job_sweep(jobs, &cb, NULL, NULL), 0);
	run_until(&s, 2);
	assert_int_equal(s.code, 0);
	AUTO_FREE char *layers = xasprintf("%s/layers", state_dir);
	assert_int_equal(rmdir(layers), 0);
	assert_int_equal(mkdir(layers, 0700), 0);
}

static int setup(void **state)
{
	AUTO_ERR err = ERR_INIT;
	if (scratch_setup(state) < 0 || uv_loop_init(&loop) < 0)
		return -1;
	state_dir = scratch_path("state");
	return jobs_new(&loop, state_dir, refs, NULL, &jobs, &err);
}

static int teardown(void **state)
{
	jobs_free(jobs);
	while (uv_run(&loop, UV_RUN_DEFAULT))
		;
	assert_int_equal(uv_loop_close(&loop), 0);
	free(state_dir);
	return scratch_teardown(state);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(import_and_sweep), cmocka_unit_test(pruning_knows_what_is_new),   cmocka_unit_test(save_to_a_pipe_and_load),
		cmocka_unit_test(failures_are_told),  cmocka_unit_test(cancels),
		cmocka_unit_test(removes_trees),      cmocka_unit_test(killed_workers_leave_nothing),
	};
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int skipped = need_root();
	if (skipped)
		return skipped;
	self[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(self, '/');
	AUTO_FREE char *worker = xasprintf("%.*s/worker/stead-worker", slash ? (int) (slash - self) : 0, self);
	if (access(worker, X_OK) < 0) {
		printf("skipped: %s is not built\n", worker);
		return 77;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
