// SPDX-License-Identifier: Apache-2.0
/*
 * Credentials for the images that a Dockerfile is made from, as docker's own builder gets them: of the user, from the client. Only for those
 * that the daemon will pull, so that no credential helper runs for what is there.
 */
#include "base/mem.h"
#include "base/str.h"
#include "cli/building.h"
#include "cli/docker-config.h"
#include "cli/pulling.h"
#include "dockerfile/graph.h"
#include "dockerfile/scope.h"

static void add_image(const From *f, char ***images)
{
	if (f->kind == FROM_IMAGE && !strv_has(*images, f->name))
		strv_add(images, f->name);
}

static void add_from(const Dockerfile *d, size_t stage, const Instruction *i, const char *name, char *const *contexts, char ***images)
{
	From f = { 0 };
	if (name && dockerfile_from(d, stage, i, name, contexts, &f, NULL) == 0)
		add_image(&f, images);
	from_done(&f);
}

char **building_args(const Building *b)
{
	char **args = NULL;
	const char *key;
	json_t *value;
	json_object_foreach(json_object_get(b->options, "args"), key, value)
	{
		char *both = xasprintf("%s=%s", key, json_string_value(value) ? json_string_value(value) : "");
		strv_take(&args, both);
	}
	return args;
}

char **building_context_names(const Building *b)
{
	char **names = NULL;
	const char *key;
	json_t *value;
	json_object_foreach(json_object_get(b->options, "contexts"), key, value)
		strv_add(&names, key);
	return names;
}

/* The images that stand behind names of contexts. */
static void add_contexts(const Building *b, char ***images)
{
	static const char image[] = "docker-image://";
	const char *key;
	json_t *value;
	json_object_foreach(json_object_get(b->options, "contexts"), key, value)
	{
		const char *text = json_string_value(value);
		if (text && str_starts(text, image) && !strv_has(*images, text + strlen(image)))
			strv_add(images, text + strlen(image));
	}
}

/** Images that are not made in the Dockerfile but used there, as written; a strv of the caller. Nothing where the file is wrong. */
static char **building_images(const Building *b)
{
	AUTO(dockerfile_freep) Dockerfile *d = NULL;
	AUTO(scope_freep) Scope *scope = NULL;
	AUTO(graph_freep) Graph *g = NULL;
	AUTO_STRV char **args = building_args(b), **contexts = building_context_names(b), **images = NULL;
	const BuildArguments a = { .args = args, .build_platform = "linux/amd64", .target_platform = json_string_value(json_object_get(b->options, "platform")) };
	/* What is wrong with the file is for the builder to say. */
	if (dockerfile_parse(b->dockerfile_name, b->dockerfile, strlen(b->dockerfile), &d, NULL) < 0 || scope_new_global(d, &a, &scope, NULL) < 0 ||
		dockerfile_graph(d, scope, contexts, json_string_value(json_object_get(b->options, "target")), &g, NULL) < 0)
		return NULL;
	for (size_t i = 0; i < g->n_stages; i++) {
		const Stage *s = &d->stages[g->stages[i].stage];
		add_image(&g->stages[i].base, &images);
		for (size_t k = 0; k < s->n_instructions; k++) {
			const Instruction *in = &s->instructions[k];
			add_from(d, g->stages[i].stage, in, in->from, contexts, &images);
			for (size_t m = 0; m < in->n_mounts; m++)
				add_from(d, g->stages[i].stage, in, in->mounts[m].from, contexts, &images);
		}
	}
	add_contexts(b, &images);
	return steal_ptr(&images);
}

static bool is_there(HttpClient *c, const char *image)
{
	AUTO_BUF url = BUF_INIT;
	json_t *answer = NULL;
	buf_str(&url, "/images/");
	http_url_append(&url, image);
	buf_str(&url, "/json");
	int r = client_get(c, buf_cstr(&url), JSON_OBJECT, &answer, NULL);
	json_decref(answer);
	return r == 0;
}

json_t *building_auths(const Building *b, HttpClient *c)
{
	AUTO_FREE char *config = docker_config_path();
	AUTO_STRV char **images = access(config, F_OK) == 0 ? building_images(b) : NULL;
	bool pull = json_is_true(json_object_get(b->options, "pull"));
	json_t *auths = json_object();
	for (char **i = images; i && *i; i++) {
		AUTO_FREE char *domain = pulling_domain(*i);
		AUTO_ERR err = ERR_INIT;
		json_t *auth = NULL;
		if (!domain || json_object_get(auths, domain) || (!pull && is_there(c, *i)))
			continue;
		if (docker_config_auth(domain, &auth, &err) < 0)
			cli_warning("no credentials for %s: %s", domain, err_text(&err));
		if (auth)
			(void) json_object_set_new(auths, domain, auth);
	}
	if (json_object_size(auths))
		return auths;
	json_decref(auths);
	return NULL;
}
