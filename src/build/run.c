// SPDX-License-Identifier: Apache-2.0
/*
 * A RUN is the daemon's to run: it gets the layers below, an empty directory for what is written, and the mounts:
 *   {"run": N, "step": N, "lower": [dirs, bottom first], "upper": DIR, "work": DIR, "args": […], "env": […], "user": "", "workdir": "/",
 *    "network": "default"|"host"|"none", "mounts": [{"type": "bind"|"tmpfs"|"secret"|"ssh", "source": DIR, "target": PATH, "ro": bool, …}]}
 * Directories are relative to the state directory. When the command has ended well, what was written is the layer.
 */
#include "build/run.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/report.h"

#define LONG_STEP 3 /* seconds after which what a step made is made durable at once */

void run_step_free(Build *b, RunStep *r)
{
	if (!r)
		return;
	if (r->tmp)
		(void) tree_remove(b->store.tmp, r->tmp);
	for (char **t = r->temps; t && *t; t++)
		(void) tree_remove(b->store.tmp, *t);
	for (size_t i = 0; i < r->n_locks; i++)
		(void) close(r->locks[i]);
	if (r->sent && !r->answer)
		b->running--;
	free(r->tmp);
	free(r->locks);
	strv_free(r->temps);
	strv_free(r->env);
	json_decref(r->mounts);
	json_decref(r->answer);
	free(r);
}

void run_step_answer(Build *b, const json_t *answer)
{
	json_int_t number = json_integer_value(json_object_get(answer, "run"));
	for (size_t i = 0; i < b->n_stages; i++) {
		RunStep *r = b->stages[i].run;
		if (r && r->number == number && r->sent && !r->answer) {
			r->answer = json_deep_copy(answer);
			b->running--;
		}
	}
}

/* The key. */

static int run_key(Build *b, BuildStage *s, const Instruction *i, char hex[DIGEST_HEX_MAX], Err *err)
{
	CacheKey k = { BUF_INIT };
	const char *script;
	AUTO_STRV char **shell = config_shell(s->doc);
	AUTO_STRV char **argv = instruction_command(i, shell, &script);
	AUTO_STRV char **env = config_env(s->doc);
	AUTO_STRV char **args = scope_run_args(s->scope);
	key_add(&k, "run");
	key_add(&k, s->layers.chain);
	key_add_strv(&k, argv);
	key_add(&k, script);
	key_add_strv(&k, env);
	key_add_strv(&k, args);
	AUTO_FREE char *workdir = config_workdir(s->doc);
	key_add(&k, config_user(s->doc));
	key_add(&k, workdir);
	key_add(&k, i->network == RUN_NETWORK_NONE ? "none" : i->network == RUN_NETWORK_HOST ? "host" : "");
	key_add(&k, s->arch);
	int r = run_mounts_key(b, s, i, &k, err);
	key_finish(&k, hex);
	return r;
}

static json_t *strv_json(char *const *v)
{
	json_t *list = json_array();
	for (; v && *v; v++) {
		json_t *text = json_string(*v);
		(void) json_array_append_new(list, text ? text : json_string(""));
	}
	return list;
}

static void note_inputs(Build *b, BuildStage *s, const Instruction *i)
{
	AUTO_STRV char **env = config_env(s->doc);
	AUTO_STRV char **args = scope_run_args(s->scope);
	json_t *text = json_string(i->text), *inputs = json_pack("{s:s, s:o, s:o}", "below", s->layers.chain, "env", why_variables(env), "args",
		why_variables(args));
	(void) json_object_set_new(inputs, "text", text ? text : json_string(""));
	why_inputs(b, s, inputs);
}

/* The beginning. */

static int make_directories(Build *b, RunStep *r, Err *err)
{
	int e = store_stage_begin(&b->store, &r->tmp, err);
	if (e < 0)
		return e;
	AUTO_FREE char *work = xasprintf("%s/work", r->tmp);
	return mkdirat(b->store.tmp, work, 0700) < 0 ? store_write_failed(&b->store, -errno, "a temporary directory", err) : 0;
}

static int prepare(Build *b, BuildStage *s, const Instruction *i, RunStep *r, char ***ret_argv, Err *err)
{
	AUTO_VIEW v = { 0 };
	AUTO_STRV char **shell = config_shell(s->doc);
	const char *script;
	r->mounts = json_array();
	r->env = scope_run_env(s->scope);
	*ret_argv = instruction_command(i, shell, &script);
	int e = run_mounts(b, s, i, r, err);
	if (e != 0)
		return e;
	if (script && (e = run_script(b, script, (*ret_argv)[0], r, err)) < 0)
		return e;
	if (b->o.package_caches && ((e = build_view(b, &s->layers, &v, err)) < 0 || (e = run_package_caches(b, s, i, &v, r, err)) < 0))
		return e;
	return make_directories(b, r, err);
}

/* An overlay takes no directory twice; what a layer says counts where it is uppermost. */
static bool comes_again(const LayerStack *l, size_t k)
{
	for (size_t i = k + 1; i < l->n; i++)
		if (str_eq(l->diff_ids[i], l->diff_ids[k]))
			return true;
	return false;
}

static void send_request(Build *b, BuildStage *s, const Instruction *i, RunStep *r, char *const *argv)
{
	json_t *lower = json_array();
	AUTO_FREE char *workdir = config_workdir(s->doc);
	for (size_t k = 0; k < s->layers.n; k++) {
		AUTO_FREE char *path = build_layer_path(b, s->layers.diff_ids[k]);
		if (!comes_again(&s->layers, k))
			(void) json_array_append_new(lower, json_string(path));
	}
	AUTO_FREE char *upper = xasprintf("tmp/%s/root", r->tmp);
	AUTO_FREE char *work = xasprintf("tmp/%s/work", r->tmp);
	r->number = ++b->requests;
	r->sent = true;
	b->running++;
	report_line(json_pack("{s:I, s:I, s:o, s:s, s:s, s:o, s:o, s:s, s:s, s:s, s:O}", "run", r->number, "step", s->step, "lower", lower, "upper",
		upper, "work", work, "args", strv_json(argv), "env", strv_json(r->env), "user", config_user(s->doc), "workdir", workdir,
		"network", i->network == RUN_NETWORK_NONE ? "none" : i->network == RUN_NETWORK_HOST ? "host" : "default", "mounts", r->mounts));
}

static int begin(Build *b, BuildStage *s, const Instruction *i, Err *err)
{
	char key[DIGEST_HEX_MAX];
	AUTO_STRV char **argv = NULL;
	int e = run_key(b, s, i, key, err);
	if (e != 0)
		return e;
	if (!s->note)
		note_inputs(b, s, i);
	if ((e = step_cached(b, s, key, err)) != 0)
		return e < 0 ? e : 0;
	if ((e = import_layers(b, &s->layers, err)) < 0)
		return e;
	RunStep *r = xcalloc(1, sizeof(*r));
	e = prepare(b, s, i, r, &argv, err);
	if (e != 0) {
		run_step_free(b, r);
		return e;
	}
	memcpy(r->key, key, sizeof(key));
	s->run = r;
	send_request(b, s, i, r, argv);
	return 1;
}

/* The end. */

static int failed(const RunStep *r, Err *err)
{
	const char *text = json_string_value(json_object_get(r->answer, "error"));
	long long code = json_integer_value(json_object_get(r->answer, "exit"));
	int64_t peak = json_integer_value(json_object_get(r->answer, "peak"));
	if (text)
		return err_set(err, -EIO, "%s", text);
	if (json_is_true(json_object_get(r->answer, "oom"))) {
		AUTO_FREE char *most = format_bytes(peak);
		return err_set(err, -ENOMEM, "it was killed, since it needed more memory than it may have (%s at most): give the build more (--memory)", most);
	}
	if (code > 128 && code < 160)
		return err_set(err, -EIO, "the command was killed by signal %lld (exit code %lld)", code - 128, code);
	return err_set(err, -EIO, "the command ended with exit code %lld", code);
}

static int finish(Build *b, BuildStage *s, RunStep *r, Err *err)
{
	char diff_id[sizeof(DIGEST_PREFIX) + 64];
	LayerInfo info = { 0 };
	AUTO_VIEW v = { 0 };
	AUTO(layer_stack_done) LayerStack made = { 0 };
	if (json_is_string(json_object_get(r->answer, "error")) || json_integer_value(json_object_get(r->answer, "exit")) != 0)
		return failed(r, err);
	int e = build_view(b, &s->layers, &v, err);
	if (e < 0)
		return e;
	e = layer_from_upper(&b->store, steal_ptr(&r->tmp), &v, b->o.has_epoch ? b->o.epoch : 0, diff_id, &info, err);
	if (e < 0)
		return e;
	bool slow = time_mono() - s->began > LONG_STEP * NSEC_PER_SEC;
	if (e == 0)
		layer_stack_push(&made, diff_id, info.size);
	step_made(b, s, r->key, &made, 0, NULL);
	/* While another one runs, the paths that it was given have to stay. */
	return slow && !b->running ? build_commit(b, err) : 0;
}

int step_run(Build *b, BuildStage *s, const Instruction *i, Err *err)
{
	if (!s->run)
		return begin(b, s, i, err);
	if (!s->run->answer)
		return 1;
	RunStep *r = steal_ptr(&s->run);
	int e = finish(b, s, r, err);
	run_step_free(b, r);
	return e;
}
