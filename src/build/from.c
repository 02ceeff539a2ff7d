// SPDX-License-Identifier: Apache-2.0
/*
 * What a stage or an instruction stands on: nothing, another stage, an image, or a named context, which is an image or a directory
 * of the client.
 */
#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/parts.h"
#include "build/select.h"

/* What a named context is: an image (then *ret_ref is its name), or a directory of the client. */
static int named_context(Build *b, const char *name, const char **ret_ref, Context **ret, Err *err)
{
	static const char image[] = "docker-image://", local[] = "local://";
	const char *value = strv_env(b->o.contexts, name);
	*ret = NULL;
	if (value && str_starts(value, image)) {
		*ret_ref = value + strlen(image);
		return 0;
	}
	if (!value || !str_starts(value, local) || b->o.source == CONTEXT_TAR)
		return err_set(err, -ENOTSUP, "the named context '%s' is '%s', which cannot be one here", name, value ? value : "");
	for (size_t i = 0; i < b->n_named; i++)
		if (str_eq(b->named[i]->name, name)) {
			*ret = &b->named[i]->context;
			return 0;
		}
	NamedContext *n = *array_append(b->named, b->n_named) = xcalloc(1, sizeof(*n));
	n->name = xstrdup(name);
	int r = context_init(&n->context, b->store.state, b->context.fd, CONTEXT_CLIENT, value + strlen(local), err);
	if (r < 0)
		return r;
	n->context.name = n->name;
	if ((r = context_open(&n->context, err)) < 0)
		return r;
	*ret = &n->context;
	return 0;
}

int build_source(Build *b, const BuildStage *s, const Instruction *i, const char *name, BuildSource *ret, Err *err)
{
	static const LayerStack nothing;
	AUTO(from_done) From f = { 0 };
	const BaseImage *image;
	int r = dockerfile_from(b->file, s->index, i, name, b->context_names, &f, err);
	if (r < 0)
		return r;
	*ret = (BuildSource) { .layers = &nothing };
	if (f.kind == FROM_SCRATCH)
		return 0;
	if (f.kind == FROM_STAGE) {
		ret->layers = &b->stages[f.stage].layers;
		return b->stages[f.stage].done ? 0 : 1;
	}
	const char *ref = f.name;
	if (f.kind == FROM_CONTEXT && ((r = named_context(b, f.name, &ref, &ret->context, err)) < 0 || ret->context))
		return r;
	r = build_image(b, ref, b->o.platform, &image, err);
	if (r == 0)
		ret->layers = &image->layers;
	return r;
}

static int take_triggers(Build *b, BuildStage *s, Err *err)
{
	AUTO_STRV char **triggers = config_take_triggers(s->doc);
	for (char **t = triggers; t && *t; t++) {
		if (s->n_triggers >= LIMIT_DOCKERFILE_STEPS)
			return err_set(err, -EINVAL, "the base image has more than %d triggers", LIMIT_DOCKERFILE_STEPS);
		Instruction i = { 0 };
		int r = dockerfile_parse_trigger(b->file, *t, s->def->from.line, &i, err);
		if (r < 0)
			return err_wrap(err, "a trigger (ONBUILD) of the base image");
		*array_append(s->triggers, s->n_triggers) = i;
	}
	s->total += step_count_shown(s, s->triggers, s->n_triggers);
	b->all_steps += (json_int_t) s->n_triggers;
	return 0;
}

/* A base image's configuration: its text was checked before (image_from_config). */
static int base_config(const char *text, json_t **ret, Err *err)
{
	static const char *const builders[] = { "container", "container_config", "id", "parent" }; /* of the machine that made it */
	json_error_t e;
	json_t *doc = json_loads(text, 0, &e);
	if (!json_is_object(doc)) {
		json_decref(doc);
		return err_set(err, -EINVAL, "the base image's configuration: %s", e.text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(builders); i++)
		(void) json_object_del(doc, builders[i]);
	if (!json_is_object(json_object_get(doc, "config")))
		(void) json_object_set_new(doc, "config", json_object());
	*ret = doc;
	return 0;
}

static int from_image(Build *b, BuildStage *s, const char *ref, const char *platform, Err *err)
{
	const BaseImage *image;
	int r = build_image(b, ref, platform, &image, err);
	if (r != 0 || (r = base_config(image->config, &s->doc, err)) < 0)
		return r;
	layer_stack_copy(&image->layers, &s->layers);
	if (!image->arch || str_eq(image->arch, s->arch))
		return 0;
	dockerfile_warn(b->file, s->def->from.line, "InvalidBaseImagePlatform", "FROM: image '%s' is for %s, the build for %s", s->plan->base.name, image->arch,
		s->arch);
	str_set(&s->arch, image->arch);
	return build_warn(b, err);
}

/* The layer that a directory is, as the cache has it, or a new one. */
static int directory_layer(Build *b, BuildStage *s, Context *c, const Entries *list, Err *err)
{
	static const View nothing;
	char key[DIGEST_HEX_MAX], hex[DIGEST_HEX_MAX], diff_id[sizeof(DIGEST_PREFIX) + 64];
	LayerSpec spec = { .list = list, .below = &nothing, .files = &c->files, .now = b->now };
	LayerInfo info;
	CacheKey k = { BUF_INIT };
	entries_digest(list, hex);
	key_add(&k, "directory");
	key_add(&k, hex);
	key_finish(&k, key);
	json_t *record = step_may_reuse(b, s) ? step_record(b, key) : NULL;
	int r = record ? step_record_layers(b, record, &s->layers) : 0;
	json_decref(record);
	if (r == 1)
		step_found(b, key);
	if (r != 0 || (r = context_fetch_entries(c, list, err)) < 0 || (r = layer_make(&b->store, &spec, diff_id, &info, err)) < 0)
		return r < 0 ? r : 0;
	layer_stack_push(&s->layers, diff_id, info.size);
	step_keep(b, key, json_pack("{s:s, s:[s], s:[I], s:s}", "what", s->def->from.text, "layers", diff_id, "sizes", (json_int_t) info.size, "created",
		b->created));
	return 0;
}

/* FROM a directory of the client: a file system, without a configuration. */
static int from_directory(Build *b, BuildStage *s, Context *c, const char *platform, Err *err)
{
	AUTO_ENTRIES list = { 0 };
	const Tree t = { .list = &c->list };
	int r = context_load(c, err);
	if (r == 0)
		r = select_below(&t, "", &list, err);
	if (r == 0 && list.n)
		r = directory_layer(b, s, c, &list, err);
	if (r < 0)
		return r;
	s->doc = config_new(platform);
	if (s->layers.n)
		config_add_history(s->doc, b->created, s->def->from.text, false);
	return 0;
}

static int from_context(Build *b, BuildStage *s, const char *platform, Err *err)
{
	const char *ref = NULL;
	Context *c;
	int r = named_context(b, s->plan->base.name, &ref, &c, err);
	if (r < 0)
		return r;
	return c ? from_directory(b, s, c, platform, err) : from_image(b, s, ref, platform, err);
}

static int from_any(Build *b, BuildStage *s, const char *platform, Err *err)
{
	const BuildStage *base = &b->stages[s->plan->base.stage];
	switch (s->plan->base.kind) {
	case FROM_SCRATCH:
		s->doc = config_new(platform);
		return 0;
	case FROM_STAGE:
		if (!base->done)
			return 1;
		s->doc = json_deep_copy(base->doc);
		layer_stack_copy(&base->layers, &s->layers);
		str_set(&s->arch, base->arch);
		return 0;
	case FROM_CONTEXT:
		return from_context(b, s, platform, err);
	default:
		return from_image(b, s, s->plan->base.name, platform, err);
	}
}

int step_from(Build *b, BuildStage *s, const Instruction *i, Err *err)
{
	const char *platform = s->plan->platform ? s->plan->platform : b->o.platform;
	AUTO_FREE char *variant = NULL;
	(void) i;
	free_and_null(&s->arch);
	int r = platform_split(platform, &s->arch, &variant, err);
	AUTO_FREE char *full = r < 0 ? NULL : xasprintf("linux/%s%s%s", s->arch, variant ? "/" : "", variant ? variant : "");
	if (r == 0)
		r = from_any(b, s, full, err);
	if (r == 0)
		r = take_triggers(b, s, err);
	if (r != 0)
		return r;
	AUTO_STRV char **env = config_env(s->doc);
	s->scope = scope_new_stage(b->globals, b->file, env);
	why_inputs(b, s, json_pack("{s:s}", "base", s->layers.chain));
	step_end(b, s, NULL, 0, 0, true);
	return 0;
}
