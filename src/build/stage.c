// SPDX-License-Identifier: Apache-2.0
/*
 * A step's key is made of what it depends on: the layers below it (by their digests, not by how they were made), what it
 * does, and the contents that it takes. So a step is found again whatever stands before it, as long as that gives the same
 * files; and an instruction that only changes the configuration is no reason to run anything again.
 */
#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/parts.h"

/* Results. */

/* As BuildKit counts: what makes files, and a base that comes from elsewhere. */
static bool is_shown(const BuildStage *s, const Instruction *i)
{
	static const bool makes[INSTRUCTION_KINDS] = {
		[INSTRUCTION_ADD] = true, [INSTRUCTION_COPY] = true, [INSTRUCTION_RUN] = true, [INSTRUCTION_WORKDIR] = true,
	};
	if (i->kind == INSTRUCTION_FROM)
		return s->plan->base.kind == FROM_IMAGE || s->plan->base.kind == FROM_CONTEXT;
	return makes[i->kind];
}

size_t step_count_shown(const BuildStage *s, const Instruction *list, size_t n)
{
	size_t shown = 0;
	for (size_t i = 0; i < n; i++)
		shown += is_shown(s, &list[i]);
	return shown;
}

static void event_begin(Build *b, BuildStage *s)
{
	AUTO_FREE char *number = xasprintf("stage-%zu", s->index);
	const char *name = b->n_stages == 1 ? "" : s->def->name ? s->def->name : number;
	bool shown = is_shown(s, s->at);
	if (s->pc == 0)
		s->total = shown + step_count_shown(s, s->def->instructions, s->def->n_instructions);
	s->step = ++b->steps;
	s->shown += shown;
	s->began = time_mono();
	json_t *text = json_string(s->at->text);
	build_event(json_pack("{s:I, s:s, s:s, s:o, s:i, s:I, s:I, s:I}", "step", s->step, "state", "begin", "stage", name, "text",
		text ? text : json_string(instruction_name(s->at->kind)), "line", (int) s->at->line, "index", (json_int_t) (shown ? s->shown : 0), "total",
		(json_int_t) s->total, "steps", b->all_steps));
}

static void add_history(BuildStage *s, const char *created, size_t layers)
{
	const char *script;
	AUTO_STRV char **shell = config_shell(s->doc), **argv = NULL, **args = NULL;
	if (s->at->kind == INSTRUCTION_RUN) {
		argv = instruction_command(s->expanded, shell, &script);
		args = scope_run_args(s->scope);
	}
	AUTO_FREE char *by = config_created_by(s->expanded, argv, args);
	for (size_t i = 0; i < (layers ? layers : 1); i++)
		config_add_history(s->doc, created, by, layers == 0);
}

void step_end(Build *b, BuildStage *s, const char *created, size_t layers, int64_t bytes, bool cached)
{
	double seconds = (double) (time_mono() - s->began) / NSEC_PER_SEC;
	if (s->at->kind != INSTRUCTION_FROM)
		add_history(s, created ? created : b->created, layers);
	build_event(json_pack("{s:I, s:s, s:f, s:I}", "step", s->step, "state", cached ? "cached" : "done", "seconds", seconds, "bytes",
		(json_int_t) bytes));
	why_step(b, s, cached, bytes, seconds);
}

bool step_may_reuse(const Build *b, const BuildStage *s)
{
	if (b->o.no_cache)
		return false;
	for (char **f = b->o.no_cache_filter; f && *f; f++)
		if (s->def->name && strcasecmp(*f, s->def->name) == 0)
			return false;
	return true;
}

json_t *step_find(Build *b, const char *key)
{
	for (size_t i = 0; i < b->n_pending; i++)
		if (str_eq(b->pending[i].key, key))
			return json_incref(b->pending[i].record);
	json_t *record = cache_get(&b->cache, key);
	return record ? record : import_record(b, key);
}

json_t *step_record(Build *b, const char *key)
{
	json_t *record = step_find(b, key);
	const char *same = json_string_value(json_object_get(record, "same"));
	if (!same)
		return record;
	json_t *other = step_find(b, same);
	json_decref(record);
	return other;
}

bool build_has_layer(Build *b, const char *diff_id, int64_t *ret_size)
{
	LayerInfo info;
	for (size_t i = 0; i < b->store.n_staged; i++)
		if (str_eq(b->store.staged[i].diff_id, diff_id))
			return true;
	if (store_layer(&b->store, diff_id, &info, NULL) != 1)
		return false;
	if (ret_size)
		*ret_size = info.size;
	return true;
}

int step_record_layers(Build *b, const json_t *record, LayerStack *ret)
{
	const json_t *ids = json_object_get(record, "layers");
	if (!json_is_array(ids) || json_array_size(ids) > LIMIT_IMAGE_LAYERS)
		return 0;
	for (size_t i = 0; i < json_array_size(ids); i++) {
		const char *id = json_string_value(json_array_get(ids, i));
		int64_t size = json_integer_value(json_array_get(json_object_get(record, "sizes"), i));
		if (!id || !digest_valid(id) || (!build_has_layer(b, id, &size) && !import_has_layer(b, id)))
			return 0;
		layer_stack_push(ret, id, size);
	}
	return 1;
}

void step_keep(Build *b, const char *key, json_t *record)
{
	PendingRecord *p = array_append(b->pending, b->n_pending);
	(void) snprintf(p->key, sizeof(p->key), "%s", key);
	p->record = record;
	export_note(b, key, record);
}

/* What was found is exported, too, and what was imported is kept here. */
void step_found(Build *b, const char *key)
{
	json_t *record = b->imports.records || b->o.n_cache_to ? step_find(b, key) : NULL;
	const char *same = json_string_value(json_object_get(record, "same"));
	if (!record)
		return;
	if (json_object_get(b->imports.records, key) == record)
		step_keep(b, key, json_incref(record));
	else
		export_note(b, key, record);
	if (same && !str_eq(same, key))
		step_found(b, same);
	json_decref(record);
}

int step_cached(Build *b, BuildStage *s, const char *key, Err *err)
{
	LayerStack found = { 0 };
	int64_t bytes = 0;
	if (!step_may_reuse(b, s))
		return 0;
	json_t *record = step_record(b, key);
	int r = record ? step_record_layers(b, record, &found) : 0;
	for (size_t i = 0; r == 1 && i < found.n; i++) {
		layer_stack_push(&s->layers, found.diff_ids[i], found.sizes[i]);
		bytes += found.sizes[i];
	}
	if (r == 1) {
		step_found(b, key);
		step_end(b, s, json_string_value(json_object_get(record, "created")), found.n, bytes, true);
	}
	layer_stack_done(&found);
	json_decref(record);
	return r;
}

void step_made(Build *b, BuildStage *s, const char *key, const LayerStack *made, size_t reused, json_t *extra)
{
	json_t *ids = json_array(), *sizes = json_array(), *record = extra ? extra : json_object();
	int64_t bytes = 0;
	for (size_t i = 0; i < made->n; i++) {
		(void) json_array_append_new(ids, json_string(made->diff_ids[i]));
		(void) json_array_append_new(sizes, json_integer(made->sizes[i]));
		layer_stack_push(&s->layers, made->diff_ids[i], made->sizes[i]);
		bytes += i < reused ? 0 : made->sizes[i];
	}
	(void) json_object_set_new(record, "what", json_stringn(s->at->text, strcspn(s->at->text, "\n")));
	(void) json_object_set_new(record, "layers", ids);
	(void) json_object_set_new(record, "sizes", sizes);
	(void) json_object_set_new(record, "created", json_string(b->created));
	(void) json_object_set_new(record, "seconds", json_real((double) (time_mono() - s->began) / NSEC_PER_SEC));
	step_keep(b, key, record);
	step_end(b, s, NULL, made->n, bytes, false);
}

void step_alias(Build *b, const char *key, const char *same, json_t *extra)
{
	json_t *record = extra ? extra : json_object();
	(void) json_object_set_new(record, "same", json_string(same));
	step_keep(b, key, record);
}

/* Directories. */

/* WORKDIR makes the directory, and those on the way, for USER. */
static int step_workdir(Build *b, BuildStage *s, const Instruction *i, Err *err)
{
	AUTO_FREE char *path = config_workdir(s->doc);
	char key[DIGEST_HEX_MAX], diff_id[sizeof(DIGEST_PREFIX) + 64];
	LayerInfo info;
	CacheKey k = { BUF_INIT };
	AUTO_VIEW v = { 0 };
	AUTO_ENTRIES list = { 0 };
	AUTO_FREE char *resolved = NULL;
	AUTO(layer_stack_done) LayerStack made = { 0 };
	struct stat st;
	(void) i;
	key_add(&k, "workdir");
	key_add(&k, s->layers.chain);
	key_add(&k, path);
	key_add(&k, config_user(s->doc));
	key_finish(&k, key);
	int r = step_cached(b, s, key, err);
	if (r != 0)
		return r < 0 ? r : 0;
	if ((r = build_view(b, &s->layers, &v, err)) < 0 || (r = view_resolve(&v, path, true, &resolved, err)) < 0 ||
		(r = view_stat(&v, resolved, &st, NULL, err)) < 0)
		return r;
	if (r == 1 && !S_ISDIR(st.st_mode))
		return err_set(err, -ENOTDIR, "'%s' is a file in the image", path);
	if (r == 1 || !*resolved) {
		step_made(b, s, key, &made, 0, NULL);
		return 0;
	}
	LayerSpec spec = { .list = &list, .below = &v, .files = &b->context.files, .now = b->now };
	if (*config_user(s->doc) && (r = build_owner(&v, config_user(s->doc), &spec.uid, &spec.gid, err)) < 0)
		return r;
	Entry *e = array_append(list.items, list.n);
	*e = (Entry) { .path = xstrdup(resolved), .type = 'd', .mode = 0755, .uid = spec.uid, .gid = spec.gid, .mtime = b->now };
	if ((r = layer_make(&b->store, &spec, diff_id, &info, err)) < 0)
		return r;
	layer_stack_push(&made, diff_id, info.size);
	step_made(b, s, key, &made, 0, NULL);
	return 0;
}

/* Steps. */

static const Instruction *instruction_at(const BuildStage *s)
{
	if (s->pc == 0)
		return &s->def->from;
	size_t n = s->pc - 1;
	if (n < s->n_triggers)
		return &s->triggers[n];
	n -= s->n_triggers;
	return n < s->def->n_instructions ? &s->def->instructions[n] : NULL;
}

/* Errors say where. */
static int run_step(Build *b, BuildStage *s, const Instruction *i, Err *err)
{
	static const StepFn steps[INSTRUCTION_KINDS] = {
		[INSTRUCTION_ADD] = step_copy, [INSTRUCTION_COPY] = step_copy, [INSTRUCTION_FROM] = step_from, [INSTRUCTION_RUN] = step_run,
		[INSTRUCTION_WORKDIR] = step_workdir,
	};
	int r = i->kind == INSTRUCTION_FROM ? 0 : config_apply(b->file, i, s->doc, &s->config, err);
	if (r < 0)
		return r;
	if (!steps[i->kind]) {
		step_end(b, s, NULL, 0, 0, true);
		return 0;
	}
	r = steps[i->kind](b, s, i, err);
	return r < 0 ? instruction_wrap(b->file, s->at, err) : r;
}

static int expand_and_run(Build *b, BuildStage *s, Err *err)
{
	AUTO(instruction_done) Instruction i = { 0 };
	bool from = s->at->kind == INSTRUCTION_FROM;
	int r = instruction_expand(from ? b->globals : s->scope, s->at, &i, err);
	if (r < 0)
		return r;
	s->expanded = &i;
	r = run_step(b, s, &i, err);
	s->expanded = NULL;
	return r == 0 && !from ? scope_apply(s->scope, &i, err) : r;
}

static int begin_step(Build *b, BuildStage *s, Err *err)
{
	event_begin(b, s);
	/* A trigger was written for other files. */
	if (s->at->kind == INSTRUCTION_FROM || s->pc <= s->n_triggers)
		return 0;
	check_variables(b->file, s->scope, s->at);
	return build_warn(b, err);
}

static int too_many_layers(const Build *b, const BuildStage *s, Err *err)
{
	(void) err_set(err, -E2BIG, "the image gets more than %d layers: join RUN or COPY instructions", LIMIT_IMAGE_LAYERS);
	return instruction_wrap(b->file, s->at, err);
}

int build_stage_advance(Build *b, BuildStage *s, Err *err)
{
	bool moved = false;
	for (;;) {
		s->at = instruction_at(s);
		s->locked_out = false;
		if (!s->at) {
			s->done = true;
			return 1;
		}
		int r = s->began ? 0 : begin_step(b, s, err);
		if (r == 0)
			r = expand_and_run(b, s, err);
		if (r < 0 && import_retry(b, err))
			return 1;
		if (r < 0)
			build_event(json_pack("{s:I, s:s}", "step", s->step, "state", "failed"));
		if (r != 0)
			return r < 0 ? r : moved;
		if (s->layers.n > LIMIT_IMAGE_LAYERS)
			return too_many_layers(b, s, err);
		s->began = 0;
		s->pc++;
		moved = true;
	}
}
