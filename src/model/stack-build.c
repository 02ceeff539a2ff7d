// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "model/git-url.h"
#include "model/names.h"
#include "model/stack-parts.h"

#define AT(member) offsetof(ServiceBuild, member)
#define LIST(member, schema) AT(member), AT(n_##member), .arg = &(schema)
#define REFUSED(key, remedy) { key, &field_refused, .arg = remedy }

static int check_context(Reader *r, const ServiceBuild *b)
{
	AUTO_GIT_URL url = { 0 };
	AUTO_ERR err = ERR_INIT;
	if (b->context[0] == '/')
		return 0;
	if (git_url_is_context(b->context))
		return git_url_parse(b->context, &url, &err) < 0 ? reader_fail_at(r, "context", "%s", err_text(&err)) : 0;
	if (build_archive_url(b->context))
		return 0;
	if (strstr(b->context, "://"))
		return reader_fail_at(r, "context", "'%s' is neither a directory, nor a git repository (https://HOST/PATH.git), nor an archive (https://HOST/FILE.tar.gz)", b->context);
	return reader_fail_at(r, "context", "'%s' must be an absolute path", b->context);
}

static int check_network(Reader *r, const ServiceBuild *b)
{
	static const char *const known[] = { "default", "host", "none", NULL };
	if (!b->network || word_in(known, b->network))
		return 0;
	return reader_fail_at(r, "network", "'%s' is unknown; a build has the network 'default', 'host' or 'none', never one of the stack's",
		b->network);
}

static int check_contexts(Reader *r, const ServiceBuild *b)
{
	static const char image[] = "docker-image://";
	for (char **c = b->contexts; c && *c; c++) {
		const char *value = strchr(*c, '=') + 1;
		if (value[0] == '/' || (str_starts(value, image) && value[strlen(image)]) ||
			(str_starts(value, BUILD_CONTEXT_SERVICE) && value[strlen(BUILD_CONTEXT_SERVICE)]) || git_url_is_context(value) || build_archive_url(value))
			continue;
		if (str_starts(value, "oci-layout://"))
			return reader_fail_at(r, "additional_contexts", "'%s' is not supported; load the images of the directory (tar -C DIRECTORY -c . | stead load), and write "
				"docker-image://IMAGE", value);
		return reader_fail_at(r, "additional_contexts", "'%s' is no context; write a directory, docker-image://IMAGE, service:NAME, a git repository (https://HOST/PATH.git) or an "
			"archive (https://HOST/FILE.tar.gz)", value);
	}
	return 0;
}

static int check_build(Reader *r, void *base)
{
	ServiceBuild *b = base;
	if (check_context(r, b) < 0 || check_network(r, b) < 0 || check_contexts(r, b) < 0)
		return -EINVAL;
	if (b->dockerfile && b->dockerfile_inline)
		return reader_fail_at(r, "dockerfile_inline", "stands beside 'dockerfile'; keep one of them");
	if (strv_len(b->platforms) > 1)
		return reader_fail_at(r, "platforms", "names %zu platforms; an image has one here: keep one", strv_len(b->platforms));
	for (size_t i = 0; i < b->n_ulimits; i++)
		if (!word_in(ulimit_names, b->ulimits[i].name))
			return reader_fail_at(r, "ulimits", "'%s' is no limit; see setrlimit(2)", b->ulimits[i].name);
	return 0;
}

static const Field secret_fields[] = {
	{ "source", &field_word, offsetof(BuildSecret, source), .flags = FIELD_REQUIRED },
	{ "target", &field_word, offsetof(BuildSecret, target) },
	/* What RUN --mount says of these counts. */
	{ "uid", &field_ignored },
	{ "gid", &field_ignored },
	{ "mode", &field_ignored },
};
static const Schema secret_schema = OBJECT_SCHEMA(secret_fields, BuildSecret, NULL, "a secret of a build");

static const Field build_fields[] = {
	{ "context", &field_word, AT(context), .flags = FIELD_REQUIRED },
	{ "dockerfile", &field_word, AT(dockerfile) },
	{ "dockerfile_inline", &field_text, AT(dockerfile_inline) },
	{ "args", &field_pairs, AT(args) },
	{ "target", &field_word, AT(target) },
	{ "labels", &field_pairs, AT(labels) },
	{ "cache_from", &field_strs, AT(cache_from) },
	{ "cache_to", &field_strs, AT(cache_to) },
	{ "no_cache", &field_bool, AT(no_cache) },
	{ "pull", &field_bool, AT(pull) },
	{ "network", &field_word, AT(network) },
	{ "shm_size", &field_bytes, AT(shm_size), .unset = -1, .min = 0 },
	{ "secrets", &field_list, LIST(secrets, secret_schema) },
	{ "ssh", &field_strs, AT(ssh) },
	{ "extra_hosts", &field_strs, AT(extra_hosts) },
	{ "platforms", &field_strs, AT(platforms) },
	{ "tags", &field_strs, AT(tags) },
	{ "additional_contexts", &field_pairs, AT(contexts) },
	{ "ulimits", &field_map, LIST(ulimits, ulimit_schema) },
	/* Attestations are signed by a registry's tools; without them an image is none the worse. */
	{ "provenance", &field_ignored },
	{ "sbom", &field_ignored },
	REFUSED("privileged", "remove it; a build has no more rights than a service"),
	REFUSED("entitlements", "remove it; a build has no more rights than a service"),
	REFUSED("isolation", "remove it"),
};
const Schema build_schema = OBJECT_SCHEMA(build_fields, ServiceBuild, check_build, "a build");

/* Images that need each other cannot be built. */
typedef struct BuildWalk {
	Reader *r;
	const Stack *stack;
	enum { BUILD_NEW, BUILD_OPEN, BUILD_DONE } *marks;
} BuildWalk;

static int walk_build(BuildWalk *w, const Service *s)
{
	size_t at = (size_t) (s - w->stack->services);
	int e = 0;
	if (w->marks[at] == BUILD_DONE)
		return 0;
	w->marks[at] = BUILD_OPEN;
	for (char **c = s->build.contexts; e == 0 && c && *c; c++) {
		const char *value = strchr(*c, '=') + 1, *name = value + strlen(BUILD_CONTEXT_SERVICE);
		if (!str_starts(value, BUILD_CONTEXT_SERVICE))
			continue;
		const Service *other = stack_service(w->stack, name);
		if (!other)
			return stack_fail_in(w->r, s->name, "build.additional_contexts", "there is no service '%s' (or its profile is off)", name);
		if (w->marks[other - w->stack->services] == BUILD_OPEN)
			return stack_fail_in(w->r, s->name, "build.additional_contexts", "the images of '%s' and '%s' need each other", s->name, name);
		e = walk_build(w, other);
	}
	w->marks[at] = BUILD_DONE;
	return e;
}

int stack_check_builds(Reader *r, const Stack *st)
{
	BuildWalk w = { .r = r, .stack = st, .marks = xcalloc(st->n_services + 1, sizeof(*w.marks)) };
	int e = 0;
	for (size_t i = 0; e == 0 && i < st->n_services; i++)
		e = walk_build(&w, &st->services[i]);
	free(w.marks);
	return e;
}

static bool secret_used(const Stack *s, const char *key)
{
	for (size_t i = 0; i < s->n_services; i++)
		for (size_t k = 0; k < s->services[i].n_secrets; k++)
			if (str_eq(s->services[i].secrets[k].source, key))
				return true;
	return false;
}

void stack_drop_builds(Stack *s)
{
	size_t kept = 0;
	for (size_t i = 0; i < s->n_services; i++) {
		if (s->services[i].build.context && s->services[i].pull_policy != PULL_NEVER)
			s->services[i].pull_policy = PULL_BUILD; /* no registry has it */
		object_done(&build_schema, &s->services[i].build);
		s->services[i].build = (ServiceBuild) { .shm_size = -1 };
	}
	for (size_t i = 0; i < s->n_secrets; i++) {
		if (secret_used(s, s->secrets[i].key)) {
			s->secrets[kept++] = s->secrets[i];
			continue;
		}
		free(s->secrets[i].key);
		object_done(&file_source_schema, &s->secrets[i]);
	}
	s->n_secrets = kept;
}
