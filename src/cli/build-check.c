// SPDX-License-Identifier: Apache-2.0
/*
 * `stead build --check`: what dockerfile/check.h finds, without a builder. The daemon is asked only for what base images set; where it cannot
 * tell, what variables are worth is not known, and nothing is said of them.
 */
#include "base/mem.h"
#include "base/str.h"
#include "cli/build-progress.h"
#include "cli/building.h"
#include "cli/output.h"
#include "dockerfile/check.h"
#include "dockerfile/config.h"
#include "dockerfile/graph.h"

#define PLATFORM "linux/amd64" /* any will do: nothing is built */

typedef struct Checking {
	const Building *b;
	Dockerfile *f;
	Scope *global;
	HttpClient *client; /* NULL: the daemon is not there */
	json_t **docs;      /* the configuration of each stage at its end; NULL: not known */
} Checking;

/* {"config": {"Env": …}}, or NULL. */
static json_t *image_config(const Checking *k, const char *image)
{
	AUTO_BUF url = BUF_INIT;
	json_t *answer = NULL;
	if (!k->client)
		return NULL;
	buf_str(&url, "/images/");
	http_url_append(&url, image);
	buf_str(&url, "/json");
	if (client_get(k->client, buf_cstr(&url), JSON_OBJECT, &answer, NULL) < 0)
		return NULL;
	json_t *config = json_object_get(answer, "Config");
	json_t *doc = json_is_object(config) ? json_pack("{s:O}", "config", config) : NULL;
	json_decref(answer);
	return doc;
}

static json_t *base_of(const Checking *k, const From *base)
{
	static const char image[] = "docker-image://";
	const char *value = base->name;
	if (base->kind == FROM_STAGE)
		return k->docs[base->stage] ? json_deep_copy(k->docs[base->stage]) : NULL;
	if (base->kind == FROM_CONTEXT) {
		value = json_string_value(json_object_get(json_object_get(k->b->options, "contexts"), base->name));
		value = value && str_starts(value, image) ? value + strlen(image) : NULL;
	}
	json_t *doc = value ? image_config(k, value) : config_new(PLATFORM);
	if (!doc)
		cli_warning("%s: image '%s' is not here: variables of the stages that are FROM it are not looked at", k->f->name, value);
	return doc;
}

static int check_stage(const Checking *k, const GraphStage *g, Err *err)
{
	const Stage *stage = &k->f->stages[g->stage];
	json_t *doc = base_of(k, &g->base);
	ConfigState state = { 0 };
	int r = 0;
	k->docs[g->stage] = doc;
	if (!doc)
		return 0;
	AUTO_STRV char **env = config_env(doc);
	AUTO(scope_freep) Scope *s = scope_new_stage(k->global, k->f, env);
	for (size_t n = 0; r == 0 && n < stage->n_instructions; n++) {
		AUTO(instruction_done) Instruction i = { 0 };
		check_variables(k->f, s, &stage->instructions[n]);
		r = instruction_expand(s, &stage->instructions[n], &i, err);
		if (r == 0)
			r = config_apply(k->f, &i, doc, &state, err);
		if (r == 0)
			r = scope_apply(s, &i, err);
	}
	return r;
}

static int check_all(Checking *k, Err *err)
{
	const Building *b = k->b;
	AUTO(graph_freep) Graph *g = NULL;
	AUTO_STRV char **args = building_args(b), **contexts = building_context_names(b);
	const BuildArguments a = { .args = args, .build_platform = PLATFORM, .target_platform = json_string_value(json_object_get(b->options, "platform")) };
	int r = dockerfile_parse(b->dockerfile_name, b->dockerfile, strlen(b->dockerfile), &k->f, err);
	if (r < 0 || (r = scope_new_global(k->f, &a, &k->global, err)) < 0)
		return r;
	check_bases(k->f, k->global, &a);
	if ((r = dockerfile_graph(k->f, k->global, contexts, json_string_value(json_object_get(b->options, "target")), &g, err)) < 0)
		return r;
	k->docs = xcalloc(k->f->n_stages, sizeof(*k->docs));
	for (size_t i = 0; r == 0 && i < g->n_stages; i++)
		r = check_stage(k, &g->stages[i], err);
	check_sort(k->f);
	return r;
}

static void print_warning(const Checking *k, const DockerfileWarning *w, Buf *out)
{
	AUTO_FREE char *place = xasprintf("%s:%u: ", k->f->name, w->line);
	buf_printf(out, "\nWARNING: %s - ", w->rule);
	buf_printf(out, "%s\n", str_starts(w->text, place) ? w->text + strlen(place) : w->text);
	build_progress_excerpt(out, k->f->name, k->b->dockerfile, w->line);
}

static int show(const Checking *k)
{
	AUTO_BUF out = BUF_INIT;
	if (!k->f->n_warnings)
		buf_str(&out, "Check complete, no warnings found.\n");
	else
		buf_printf(&out, "Check complete, %zu warning%s found!\n", k->f->n_warnings, k->f->n_warnings == 1 ? " has been" : "s have been");
	for (size_t i = 0; i < k->f->n_warnings; i++)
		print_warning(k, &k->f->warnings[i], &out);
	for (const char *p = buf_cstr(&out), *nl; (nl = strchr(p, '\n')); p = nl + 1) {
		AUTO_FREE char *line = xstrndup(p, (size_t) (nl - p));
		print_clean_line(line);
	}
	return k->f->n_warnings ? EXIT_FAILED : EXIT_DONE;
}

int building_check(const Cli *cli, const Building *b)
{
	AUTO_ERR err = ERR_INIT;
	Checking k = { .b = b };
	(void) client_open(cli, &k.client, NULL);
	int r = check_all(&k, &err);
	/* What is wrong is an end, but no reason to be silent about the rest. */
	int code = r == 0 || (k.f && k.f->n_warnings) ? show(&k) : EXIT_USAGE;
	if (r < 0)
		code = cli_refuse(&err);
	for (size_t i = 0; k.docs && i < k.f->n_stages; i++)
		json_decref(k.docs[i]);
	free(k.docs);
	scope_free(k.global);
	dockerfile_free(k.f);
	http_client_free(k.client);
	return code;
}
