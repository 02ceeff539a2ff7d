// SPDX-License-Identifier: Apache-2.0
#include "dockerfile/scope.h"

#include <ctype.h>
#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/parse.h"
#include "dockerfile/words.h"
#include "model/names.h"

struct Scope {
	const Dockerfile *f;
	const Scope *global; /* NULL: this is it */
	char **given;        /* global: --build-arg */
	char **platform;     /* global: BUILDPLATFORM, … */
	char **env;          /* stage: ENV */
	char **args;         /* ARGs that have a value */
	char **declared;     /* names of those that have none */
	size_t bytes;        /* of env and args */
};

static const char *const proxies[] = { "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "NO_PROXY",
	"no_proxy", "ALL_PROXY", "all_proxy", NULL };

/* "linux/arm/v7" to PREFIX…PLATFORM, OS, ARCH, VARIANT. */
static void add_platform(Scope *s, const char *prefix, const char *platform)
{
	static const char *const parts[] = { "OS", "ARCH", "VARIANT" };
	strv_take(&s->platform, xasprintf("%sPLATFORM=%s", prefix, platform));
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		size_t n = strcspn(platform, "/");
		strv_take(&s->platform, xasprintf("%s%s=%.*s", prefix, parts[i], (int) n, platform));
		platform += n + (platform[n] == '/');
	}
}

int scope_new_global(const Dockerfile *f, const BuildArguments *a, Scope **ret, Err *err)
{
	AUTO(scope_freep) Scope *s = xcalloc(1, sizeof(*s));
	s->f = f;
	for (char *const *g = a->args; g && *g; g++) {
		if (!**g || **g == '=' || !strchr(*g, '='))
			return err_set(err, -EINVAL, "the build argument '%s' is not NAME=value", *g);
		strv_add(&s->given, *g);
	}
	add_platform(s, "BUILD", a->build_platform);
	add_platform(s, "TARGET", a->target_platform ? a->target_platform : a->build_platform);
	strv_take(&s->platform, xasprintf("TARGETSTAGE=%s", a->target_stage ? a->target_stage : "default"));
	for (size_t k = 0; k < f->n_globals; k++) {
		AUTO(instruction_done) Instruction i = { 0 };
		int r = instruction_expand(s, &f->globals[k], &i, err);
		if (r == 0)
			r = scope_apply(s, &i, err);
		if (r < 0)
			return r;
	}
	*ret = steal_ptr(&s);
	return 0;
}

Scope *scope_new_stage(const Scope *global, const Dockerfile *f, char *const *image_env)
{
	Scope *s = xcalloc(1, sizeof(*s));
	s->f = f;
	s->global = global;
	s->env = strv_dup(image_env);
	for (char **e = s->env; e && *e; e++)
		s->bytes += strlen(*e);
	return s;
}

void scope_free(Scope *s)
{
	if (!s)
		return;
	strv_free(s->given);
	strv_free(s->platform);
	strv_free(s->env);
	strv_free(s->args);
	strv_free(s->declared);
	free(s);
}

void scope_freep(Scope **s)
{
	scope_free(*s);
}

/* What --build-arg says, then what is predefined; in the global scope these count without an ARG. */
static const char *given(const Scope *s, const char *name)
{
	const Scope *g = s->global ? s->global : s;
	return strv_env(g->given, name);
}

static const char *predefined(const Scope *s, const char *name)
{
	const Scope *g = s->global ? s->global : s;
	const char *v = strv_env(g->given, name);
	return v && strv_env(g->platform, name) ? v : strv_env(g->platform, name);
}

const char *scope_get(const Scope *s, const char *name)
{
	const char *v = strv_env(s->env, name);
	if (!v)
		v = strv_env(s->args, name);
	if (!v && !s->global)
		v = predefined(s, name);
	if (!v && s->global && word_in(proxies, name))
		v = given(s, name);
	return v;
}

static int set(Scope *s, char ***to, const char *name, const char *value, Err *err)
{
	s->bytes += strlen(name) + strlen(value) + 2;
	if (s->bytes > LIMIT_DOCKERFILE_ENV)
		return err_set(err, -EINVAL, "the variables become larger than %u KiB together", LIMIT_DOCKERFILE_ENV >> 10);
	strv_setenv(to, name, value);
	return 0;
}

int scope_apply(Scope *s, const Instruction *i, Err *err)
{
	int r = 0;
	if (i->kind != INSTRUCTION_ENV && i->kind != INSTRUCTION_ARG)
		return 0;
	for (size_t k = 0; r == 0 && k < i->n_pairs; k++)
		if (i->pairs[k].value)
			r = set(s, i->kind == INSTRUCTION_ENV ? &s->env : &s->args, i->pairs[k].key, i->pairs[k].value, err);
		else if (!strv_has(s->declared, i->pairs[k].key))
			strv_add(&s->declared, i->pairs[k].key);
	return r < 0 ? instruction_wrap(s->f, i, err) : 0;
}

static const char *get_variable(void *user, const char *name)
{
	return scope_get(user, name);
}

/* The value of an ARG: --build-arg, its default, the global ARG, what is predefined; NULL if there is none. */
static int arg_value(const Scope *s, const WordVariables *v, const KeyValue *arg, char **ret, Err *err)
{
	const char *value = given(s, arg->key);
	if (value) {
		*ret = xstrdup(value);
		return 0;
	}
	if (arg->value)
		return word_expand(arg->value, v, ret, err);
	if (s->global)
		value = strv_env(s->global->args, arg->key);
	*ret = xstrdup(value ? value : predefined(s, arg->key));
	return 0;
}

static int expand_args(const Scope *s, const WordVariables *v, const Instruction *i, Instruction *ret, Err *err)
{
	/* Each of them sees those before it, in the same instruction, too. */
	AUTO(scope_freep) Scope *local = xcalloc(1, sizeof(*local));
	local->f = s->f;
	local->global = s->global ? s->global : s;
	local->env = strv_dup(s->env);
	local->args = strv_dup(s->args);
	if (!s->global) {
		local->given = strv_dup(s->given);
		local->platform = strv_dup(s->platform);
		local->global = NULL;
	}
	const WordVariables seen = { get_variable, local, v->escape, v->unset };
	for (size_t k = 0; k < i->n_pairs; k++) {
		KeyValue *kv = array_append(ret->pairs, ret->n_pairs);
		int r = word_expand(i->pairs[k].key, &seen, &kv->key, err);
		if (r == 0)
			r = arg_value(local, &seen, &(KeyValue){ .key = kv->key, .value = i->pairs[k].value }, &kv->value, err);
		if (r < 0)
			return r;
		if (kv->value)
			strv_setenv(&local->args, kv->key, kv->value);
	}
	return 0;
}

static int expand_pairs(const WordVariables *v, const Instruction *i, Instruction *ret, Err *err)
{
	for (size_t k = 0; k < i->n_pairs; k++) {
		KeyValue *kv = array_append(ret->pairs, ret->n_pairs);
		int r = word_expand(i->pairs[k].key, v, &kv->key, err);
		if (r == 0)
			r = word_expand(i->pairs[k].value, v, &kv->value, err);
		if (r < 0)
			return r;
		if (!*kv->key || (i->kind == INSTRUCTION_ENV && strchr(kv->key, '=')))
			return err_set(err, -EINVAL, "'%s' is no name", kv->key);
	}
	return 0;
}

static int expand_optional(const WordVariables *v, const char *word, char **ret, Err *err)
{
	return word ? word_expand(word, v, ret, err) : 0;
}

static int expand_list(const WordVariables *v, char *const *list, char ***ret, Err *err)
{
	for (char *const *w = list; w && *w; w++) {
		char *expanded;
		int r = word_expand(*w, v, &expanded, err);
		if (r < 0)
			return r;
		strv_take(ret, expanded);
	}
	return 0;
}

/* Several sources: the destination has to be a directory, and says so. */
static int check_copy(const Instruction *i, Err *err)
{
	size_t n = strv_len(i->args);
	const char *to = i->args[n - 1];
	for (size_t k = 0; k < n; k++)
		if (!*i->args[k])
			return err_set(err, -EINVAL, "%s is empty; is a variable not set?", k + 1 < n ? "a source" : "the destination");
	if (n - 1 + i->n_heredocs > 1 && !str_ends(to, "/") && !str_eq(to, ".") && !str_eq(to, ".."))
		return err_set(err, -EINVAL, "with several sources the destination '%s' has to end with '/'", to);
	return 0;
}

static int expand_copy(const WordVariables *v, const Instruction *i, Instruction *ret, Err *err)
{
	int r = expand_list(v, i->args, &ret->args, err);
	for (size_t k = 0; r == 0 && k < i->n_heredocs; k++) {
		Heredoc *h = array_append(ret->heredocs, ret->n_heredocs);
		*h = (Heredoc){ .name = xstrdup(i->heredocs[k].name), .expand = i->heredocs[k].expand, .chomp = i->heredocs[k].chomp };
		if (h->expand)
			r = text_expand(i->heredocs[k].text, v, &h->text, err);
		else
			h->text = xstrdup(i->heredocs[k].text);
	}
	if (r == 0)
		r = expand_optional(v, i->chown, &ret->chown, err);
	if (r == 0)
		r = expand_optional(v, i->chmod, &ret->chmod, err);
	if (r == 0)
		r = expand_optional(v, i->checksum, &ret->checksum, err);
	if (r == 0)
		r = expand_list(v, i->excludes, &ret->excludes, err);
	return r < 0 ? r : check_copy(ret, err);
}

static int expand_mount_value(void *user, const char *word, char **ret, Err *err)
{
	return word_expand(word, user, ret, err);
}

static int expand_run(const WordVariables *v, const Instruction *i, Instruction *ret, Err *err)
{
	ret->args = strv_dup(i->args);
	ret->mount_flags = strv_dup(i->mount_flags);
	for (size_t k = 0; k < i->n_heredocs; k++) {
		const Heredoc *h = &i->heredocs[k];
		*array_append(ret->heredocs, ret->n_heredocs) =
			(Heredoc){ .name = xstrdup(h->name), .text = xstrdup(h->text), .expand = h->expand, .chomp = h->chomp };
	}
	WordVariables copy = *v;
	return mounts_parse(ret, expand_mount_value, &copy, err);
}

static int expand_expose(const WordVariables *v, const Instruction *i, Instruction *ret, Err *err)
{
	for (char **a = i->args; *a; a++) {
		AUTO_STRV char **words = NULL;
		int r = words_expand(*a, v, &words, err);
		if (r < 0)
			return r;
		for (char **w = words; w && *w; w++)
			strv_take(&ret->args, steal_ptr(w));
	}
	if (strv_len(ret->args) > LIMIT_DOCKERFILE_WORDS)
		return err_set(err, -EINVAL, "more than %d ports", LIMIT_DOCKERFILE_WORDS);
	return 0;
}

static int expand_one_word(const WordVariables *v, const Instruction *i, Instruction *ret, Err *err)
{
	int r = expand_list(v, i->args, &ret->args, err);
	if (r < 0)
		return r;
	for (char **a = ret->args; a && *a; a++) {
		if (!(*a)[strspn(*a, " \t")] && i->kind != INSTRUCTION_USER)
			return err_set(err, -EINVAL, "its value is empty; is a variable not set?");
		if (str_has_control(*a))
			return err_set(err, -EINVAL, "its value has control characters");
	}
	if (i->kind == INSTRUCTION_STOPSIGNAL && signal_number(ret->args[0]) < 0)
		return err_set(err, -EINVAL, "'%s' is no signal; write SIGTERM or a number", ret->args[0]);
	return 0;
}

static void copy_healthcheck(Healthcheck *to, const Healthcheck *from)
{
	*to = *from;
	to->test = strv_dup(from->test);
}

static int expand_by_kind(const Scope *s, const WordVariables *v, const Instruction *i, Instruction *ret, Err *err)
{
	switch (i->kind) {
	case INSTRUCTION_ARG:
		return expand_args(s, v, i, ret, err);
	case INSTRUCTION_ENV:
	case INSTRUCTION_LABEL:
		return expand_pairs(v, i, ret, err);
	case INSTRUCTION_ADD:
	case INSTRUCTION_COPY:
		return expand_copy(v, i, ret, err);
	case INSTRUCTION_RUN:
		return expand_run(v, i, ret, err);
	case INSTRUCTION_EXPOSE:
		return expand_expose(v, i, ret, err);
	case INSTRUCTION_FROM:
	case INSTRUCTION_STOPSIGNAL:
	case INSTRUCTION_USER:
	case INSTRUCTION_VOLUME:
	case INSTRUCTION_WORKDIR:
		return expand_one_word(v, i, ret, err);
	default:
		ret->args = strv_dup(i->args);
		return 0;
	}
}

/* $1 and $? are the shell's in some cases, and set by nobody. */
static bool is_name(const char *s)
{
	return *s == '_' || isalpha((unsigned char) *s);
}

static bool declares(const Instruction *i, size_t n, const char *name);

char **instruction_unset(const Scope *s, const Instruction *i)
{
	AUTO(instruction_done) Instruction copy = { .kind = i->kind };
	AUTO_STRV char **found = NULL;
	char **unset = NULL;
	const WordVariables v = { get_variable, (void *) (uintptr_t) s, s->f->escape, &found };
	if (!strchr(i->text, '$'))
		return NULL;
	/* What is wrong with it is said by whoever expands it. */
	(void) expand_by_kind(s, &v, i, &copy, NULL);
	(void) expand_optional(&v, i->platform, &copy.platform, NULL);
	for (char **n = found; n && *n; n++)
		if (is_name(*n) && !strv_has(s->declared, *n) && !word_in(proxies, *n) && !declares(i, 1, *n))
			strv_add(&unset, *n);
	return unset;
}

static void add_names(char *const *from, char ***names)
{
	for (char *const *e = from; e && *e; e++)
		strv_take(names, xstrndup(*e, strcspn(*e, "=")));
}

char *scope_nearest(const Scope *s, const char *name)
{
	AUTO_STRV char **names = NULL;
	add_names(s->env, &names);
	add_names(s->args, &names);
	add_names(s->declared, &names);
	add_names(s->platform, &names);
	return xstrdup(names ? word_nearest((const char *const *) names, name) : NULL);
}

bool scope_has_global(const Scope *s, const char *name)
{
	const Scope *g = s->global ? s->global : s;
	return strv_env(g->args, name) || strv_env(g->platform, name) || strv_has(g->declared, name);
}

int instruction_expand(const Scope *s, const Instruction *i, Instruction *ret, Err *err)
{
	AUTO(instruction_done) Instruction copy = { .kind = i->kind, .line = i->line, .last_line = i->last_line, .json = i->json,
		.link = i->link, .parents = i->parents, .keep_git_dir = i->keep_git_dir, .unpack = i->unpack, .network = i->network };
	const WordVariables v = { get_variable, (void *) (uintptr_t) s, s->f->escape };
	copy.text = xstrdup(i->text);
	copy.stage_name = xstrdup(i->stage_name);
	copy.from = xstrdup(i->from);
	copy_healthcheck(&copy.healthcheck, &i->healthcheck);
	int r = expand_by_kind(s, &v, i, &copy, err);
	if (r == 0)
		r = expand_optional(&v, i->platform, &copy.platform, err);
	if (r < 0)
		return instruction_wrap(s->f, i, err);
	*ret = copy;
	copy = (Instruction){ 0 };
	return 0;
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

char **scope_run_args(const Scope *s)
{
	char **v = NULL;
	for (char **a = s->args; a && *a; a++) {
		AUTO_FREE char *name = xstrndup(*a, strcspn(*a, "="));
		if (!strv_env(s->env, name) && !word_in(proxies, name))
			strv_add(&v, *a);
	}
	if (v)
		qsort(v, strv_len(v), sizeof(*v), compare_strings);
	return v;
}

char **scope_run_env(const Scope *s)
{
	char **v = strv_dup(s->env);
	AUTO_STRV char **args = scope_run_args(s);
	for (char **a = args; a && *a; a++)
		strv_add(&v, *a);
	for (size_t k = 0; proxies[k]; k++) {
		const char *value = strv_env(s->args, proxies[k]);
		if (!value)
			value = given(s, proxies[k]);
		if (value && !strv_env(v, proxies[k]))
			strv_setenv(&v, proxies[k], value);
	}
	return v;
}

static bool declares(const Instruction *i, size_t n, const char *name)
{
	for (size_t k = 0; k < n; k++)
		for (size_t p = 0; i[k].kind == INSTRUCTION_ARG && p < i[k].n_pairs; p++)
			if (str_eq(i[k].pairs[p].key, name))
				return true;
	return false;
}

char **dockerfile_unused_args(const Dockerfile *f, char *const *args)
{
	static const char *const always[] = { "BUILDPLATFORM", "BUILDOS", "BUILDARCH", "BUILDVARIANT", "TARGETPLATFORM", "TARGETOS",
		"TARGETARCH", "TARGETVARIANT", "TARGETSTAGE", "SOURCE_DATE_EPOCH", NULL };
	char **unused = NULL;
	for (char *const *a = args; a && *a; a++) {
		AUTO_FREE char *name = xstrndup(*a, strcspn(*a, "="));
		bool used = word_in(proxies, name) || word_in(always, name) || str_starts(name, "BUILDKIT_") ||
			declares(f->globals, f->n_globals, name);
		for (size_t k = 0; k < f->n_stages && !used; k++)
			used = declares(f->stages[k].instructions, f->stages[k].n_instructions, name);
		if (!used)
			strv_add(&unused, name);
	}
	return unused;
}
