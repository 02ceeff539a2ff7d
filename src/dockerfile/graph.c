// SPDX-License-Identifier: Apache-2.0
#include "dockerfile/graph.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/parse.h"
#include "model/names.h"

typedef enum Mark { MARK_NEW, MARK_OPEN, MARK_DONE } Mark;

typedef struct Walk {
	const Dockerfile *f;
	const Scope *global;
	char *const *contexts;
	Graph *graph;
	Mark *marks;   /* of each stage */
	size_t *places; /* of each stage that is done: its index in the graph */
	Err *err;
} Walk;

static int visit(Walk *w, size_t stage, size_t from_stage, const Instruction *by, size_t *ret);

void from_done(From *f)
{
	free_and_null(&f->name);
}

/* "docker.io/library/node:latest" is "node". Owned by the caller. */
static char *short_name(const char *name)
{
	static const char *const prefixes[] = { "docker.io/", "index.docker.io/", "library/" };
	for (size_t k = 0; k < ARRAY_SIZE(prefixes); k++)
		if (str_starts(name, prefixes[k]))
			name += strlen(prefixes[k]);
	return xstrndup(name, strlen(name) - (str_ends(name, ":latest") ? strlen(":latest") : 0));
}

/* The context of that name, as it was given; NULL: there is none. */
static const char *find_context(char *const *contexts, const char *name)
{
	AUTO_FREE char *wanted = contexts ? short_name(name) : NULL;
	for (char *const *c = contexts; c && *c; c++) {
		AUTO_FREE char *own = short_name(*c);
		if (strcasecmp(own, wanted) == 0)
			return *c;
	}
	return NULL;
}

/* Last stage of that name before `before`; or, if later ones count, any. SIZE_MAX: none. */
static size_t find_stage(const Dockerfile *f, const char *name, size_t before, bool later)
{
	size_t found = SIZE_MAX;
	for (size_t k = 0; k < f->n_stages; k++)
		if (f->stages[k].name && strcasecmp(f->stages[k].name, name) == 0 && (k < before || (later && found == SIZE_MAX)))
			found = k;
	return found;
}

static bool all_digits(const char *s)
{
	return *s && !s[strspn(s, "0123456789")];
}

int dockerfile_from(const Dockerfile *f, size_t stage, const Instruction *i, const char *name, char *const *contexts, From *ret, Err *err)
{
	const bool base = i->kind == INSTRUCTION_FROM;
	const char *context = find_context(contexts, name);
	if (context) {
		*ret = (From){ .kind = FROM_CONTEXT, .name = xstrdup(context) };
		return 0;
	}
	if (base && str_eq(name, "scratch")) {
		*ret = (From){ .kind = FROM_SCRATCH };
		return 0;
	}
	size_t k = find_stage(f, name, stage, !base);
	if (k == SIZE_MAX && !base && all_digits(name)) {
		uint64_t n;
		if (parse_u64(name, &n) < 0 || n >= f->n_stages) {
			(void) err_set(err, -EINVAL, "there is no stage %s; the last one is %zu", name, f->n_stages - 1);
			return instruction_wrap(f, i, err);
		}
		k = (size_t) n;
	}
	*ret = k != SIZE_MAX ? (From){ .kind = FROM_STAGE, .stage = k } : (From){ .kind = FROM_IMAGE, .name = xstrdup(name) };
	return 0;
}

static void add_need(GraphStage *g, size_t need)
{
	size_t k = 0;
	while (k < g->n_needs && g->needs[k] < need)
		k++;
	if (k < g->n_needs && g->needs[k] == need)
		return;
	(void) array_append(g->needs, g->n_needs);
	memmove(&g->needs[k + 1], &g->needs[k], (g->n_needs - 1 - k) * sizeof(*g->needs));
	g->needs[k] = need;
}

static int need(Walk *w, GraphStage *g, size_t stage, const Instruction *by)
{
	size_t place;
	int r = visit(w, stage, g->stage, by, &place);
	if (r == 0)
		add_need(g, place);
	return r;
}

static int need_from(Walk *w, GraphStage *g, const Instruction *i, const char *name)
{
	From from = { 0 };
	int r = dockerfile_from(w->f, g->stage, i, name, w->contexts, &from, w->err);
	if (r == 0 && from.kind == FROM_STAGE)
		r = need(w, g, from.stage, i);
	from_done(&from);
	return r;
}

static int need_of_instruction(Walk *w, GraphStage *g, const Instruction *i)
{
	int r = 0;
	if (i->from)
		r = need_from(w, g, i, i->from);
	for (size_t k = 0; r == 0 && k < i->n_mounts; k++)
		if (i->mounts[k].from)
			r = need_from(w, g, i, i->mounts[k].from);
	return r;
}

/* Triggers of the stage that this one is FROM. */
static int need_of_triggers(Walk *w, GraphStage *g, const Stage *base, unsigned line)
{
	int r = 0;
	for (size_t k = 0; r == 0 && k < base->n_instructions; k++) {
		AUTO(instruction_done) Instruction i = { 0 };
		if (base->instructions[k].kind != INSTRUCTION_ONBUILD)
			continue;
		r = dockerfile_parse_trigger(w->f, base->instructions[k].args[0], line, &i, w->err);
		if (r == 0)
			r = need_of_instruction(w, g, &i);
	}
	return r;
}

static int fill_stage(Walk *w, GraphStage *g)
{
	const Stage *s = &w->f->stages[g->stage];
	AUTO(instruction_done) Instruction from = { 0 };
	int r = instruction_expand(w->global, &s->from, &from, w->err);
	if (r < 0)
		return r;
	if (from.platform && *from.platform) {
		g->platform = steal_ptr(&from.platform);
		for (char *c = g->platform; *c; c++)
			*c = (char) tolower((unsigned char) *c);
	}
	r = dockerfile_from(w->f, g->stage, &s->from, from.args[0], w->contexts, &g->base, w->err);
	if (r == 0 && g->base.kind == FROM_STAGE) {
		r = need(w, g, g->base.stage, &s->from);
		if (r == 0)
			r = need_of_triggers(w, g, &w->f->stages[g->base.stage], s->from.line);
	}
	for (size_t k = 0; r == 0 && k < s->n_instructions; k++)
		r = need_of_instruction(w, g, &s->instructions[k]);
	return r;
}

static void graph_stage_done(GraphStage *g)
{
	from_done(&g->base);
	free(g->platform);
	free(g->needs);
}

static char *stage_label(const Dockerfile *f, size_t k)
{
	return f->stages[k].name ? xasprintf("'%s' (line %u)", f->stages[k].name, f->stages[k].from.line) :
				   xasprintf("number %zu (line %u)", k, f->stages[k].from.line);
}

/* The depth is that of the stages, which are limited. */
static int visit(Walk *w, size_t stage, size_t from_stage, const Instruction *by, size_t *ret)
{
	if (w->marks[stage] == MARK_OPEN) {
		AUTO_FREE char *a = stage_label(w->f, from_stage), *b = stage_label(w->f, stage);
		(void) (from_stage == stage ? err_set(w->err, -EINVAL, "the stage %s needs itself", a) :
					      err_set(w->err, -EINVAL, "the stages %s and %s need each other", a, b));
		return by ? instruction_wrap(w->f, by, w->err) : -EINVAL;
	}
	if (w->marks[stage] == MARK_NEW) {
		GraphStage g = { .stage = stage };
		w->marks[stage] = MARK_OPEN;
		int r = fill_stage(w, &g);
		if (r < 0) {
			graph_stage_done(&g);
			return r;
		}
		w->marks[stage] = MARK_DONE;
		w->places[stage] = w->graph->n_stages;
		*array_append(w->graph->stages, w->graph->n_stages) = g;
	}
	*ret = w->places[stage];
	return 0;
}

static int find_target(const Dockerfile *f, const char *target, size_t *ret, Err *err)
{
	*ret = f->n_stages - 1;
	if (str_empty(target))
		return 0;
	size_t k = find_stage(f, target, f->n_stages, false);
	uint64_t n;
	if (k == SIZE_MAX && all_digits(target) && parse_u64(target, &n) == 0 && n < f->n_stages)
		k = (size_t) n;
	if (k != SIZE_MAX) {
		*ret = k;
		return 0;
	}
	const char *names[LIMIT_DOCKERFILE_STAGES + 1];
	size_t n_names = 0;
	AUTO_BUF all = BUF_INIT;
	for (k = 0; k < f->n_stages; k++)
		if (f->stages[k].name) {
			names[n_names++] = f->stages[k].name;
			buf_printf(&all, "%s%s", all.len ? ", " : "", f->stages[k].name);
		}
	names[n_names] = NULL;
	const char *near = word_nearest(names, target);
	if (near)
		return err_set(err, -EINVAL, "%s: there is no stage '%s'; did you mean %s?", f->name, target, near);
	return err_set(err, -EINVAL, "%s: there is no stage '%s'; %s%s", f->name, target, n_names ? "there are " : "none has a name", buf_cstr(&all));
}

int dockerfile_graph(const Dockerfile *f, const Scope *global, char *const *contexts, const char *target, Graph **ret, Err *err)
{
	size_t last, place;
	int r = find_target(f, target, &last, err);
	if (r < 0)
		return r;
	AUTO(graph_freep) Graph *g = xcalloc(1, sizeof(*g));
	AUTO_FREE Mark *marks = xcalloc(f->n_stages, sizeof(*marks));
	AUTO_FREE size_t *places = xcalloc(f->n_stages, sizeof(*places));
	Walk w = { .f = f, .global = global, .contexts = contexts, .graph = g, .marks = marks, .places = places, .err = err };
	r = visit(&w, last, last, NULL, &place);
	if (r == 0)
		*ret = steal_ptr(&g);
	return r;
}

void graph_free(Graph *g)
{
	if (!g)
		return;
	for (size_t k = 0; k < g->n_stages; k++)
		graph_stage_done(&g->stages[k]);
	free(g->stages);
	free(g);
}

void graph_freep(Graph **g)
{
	graph_free(*g);
}
