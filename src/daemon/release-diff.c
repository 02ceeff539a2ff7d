// SPDX-License-Identifier: Apache-2.0
#include "daemon/release-diff.h"

#include "base/mem.h"
#include "base/str.h"

/* Takes ownership of `names`; says nothing when there are none and `always` is not set. */
static void add(json_t *changes, const char *service, const char *what, char **names, bool always)
{
	if (names || always) {
		json_t *list = json_array();
		for (char **name = names; name && *name; name++)
			json_array_append_new(list, json_string(*name));
		json_array_append_new(changes, json_pack("{s:s, s:s, s:o}", "service", service, "what", what, "names", list));
	}
	strv_free(names);
}

static char *image_text(const Service *svc, const char *id)
{
	const char *hex = id && str_starts(id, "sha256:") ? id + strlen("sha256:") : id;
	return hex ? xasprintf("%s (%.12s)", svc->image, hex) : xstrdup(svc->image);
}

static void diff_image(json_t *changes, const Service *old, const char *old_id, const Service *now, const char *now_id)
{
	char **names = NULL;
	if (str_eq(old->image, now->image) && str_eq(old_id, now_id))
		return;
	strv_take(&names, image_text(old, old_id));
	strv_take(&names, image_text(now, now_id));
	add(changes, now->name, "image", names, true);
}

/* Entries are "KEY=value" or "KEY". */
static const char *find_variable(char *const *env, const char *entry)
{
	size_t n = strcspn(entry, "=");
	for (; env && *env; env++)
		if (strcspn(*env, "=") == n && strncmp(*env, entry, n) == 0)
			return *env;
	return NULL;
}

static void diff_environment(json_t *changes, const Service *old, const Service *now)
{
	char **names = NULL;
	for (char *const *e = now->environment; e && *e; e++)
		if (!str_eq(find_variable(old->environment, *e), *e))
			strv_take(&names, xstrndup(*e, strcspn(*e, "=")));
	for (char *const *e = old->environment; e && *e; e++)
		if (!find_variable(now->environment, *e))
			strv_take(&names, xstrndup(*e, strcspn(*e, "=")));
	add(changes, now->name, "environment", names, false);
}

static const FileSource *source_of(const Stack *s, const FileRef *ref, bool secret)
{
	return secret ? stack_secret(s, ref->source) : stack_config(s, ref->source);
}

static bool same_source(const FileSource *a, const FileSource *b)
{
	return str_eq(a->digest, b->digest) && str_eq(a->content, b->content) && (a->digest || str_eq(a->file, b->file));
}

static void diff_files(char ***names, const Stack *old_stack, const Stack *now_stack, const FileRef *refs, size_t n, bool secret)
{
	for (size_t i = 0; i < n; i++) {
		const FileSource *old = source_of(old_stack, &refs[i], secret), *now = source_of(now_stack, &refs[i], secret);
		if (old && now && !same_source(old, now) && !strv_has(*names, refs[i].source))
			strv_add(names, refs[i].source);
	}
}

static char *route_text(json_t *route)
{
	const char *host = json_string_value(json_object_get(route, "host")), *path = json_string_value(json_object_get(route, "path"));
	return xasprintf("%s%s", host ? host : "*", path ? path : "/");
}

static bool has_route(json_t *routes, json_t *wanted)
{
	size_t i;
	json_t *route;
	json_array_foreach(routes, i, route)
		if (json_equal(route, wanted))
			return true;
	return false;
}

static void routes_missing(json_t *from, json_t *in, char ***names)
{
	size_t i;
	json_t *route;
	json_array_foreach(from, i, route) {
		AUTO_FREE char *text = route_text(route);
		if (!has_route(in, route) && !strv_has(*names, text))
			strv_add(names, text);
	}
}

/* Keys that differ, of what is left in the two objects. */
static char **differing_keys(json_t *old, json_t *now, const char *prefix)
{
	char **names = NULL;
	const char *key;
	json_t *v;
	json_object_foreach(now, key, v)
		if (!json_equal(v, json_object_get(old, key)))
			strv_take(&names, xasprintf("%s%s", prefix, key));
	json_object_foreach(old, key, v)
		if (!json_object_get(now, key))
			strv_take(&names, xasprintf("%s%s", prefix, key));
	return names;
}

/* The rest of the keys, and routes, by their JSON: what a later key of the model means need not be known here. */
static void diff_keys(json_t *changes, const Service *old_svc, const Service *now_svc)
{
	static const char *const told_elsewhere[] = { "image", "environment", "scale", "deploy.replicas" };
	json_t *old = service_to_json(old_svc), *now = service_to_json(now_svc);
	json_t *old_stead = json_incref(json_object_get(old, "x-stead")), *now_stead = json_incref(json_object_get(now, "x-stead"));
	for (size_t i = 0; i < ARRAY_SIZE(told_elsewhere); i++) {
		(void) json_object_del(old, told_elsewhere[i]);
		(void) json_object_del(now, told_elsewhere[i]);
	}
	(void) json_object_del(old, "x-stead");
	(void) json_object_del(now, "x-stead");
	char **names = differing_keys(old, now, "");
	if (!json_equal(json_object_get(old_stead, "deploy"), json_object_get(now_stead, "deploy")) &&
		(json_object_get(old_stead, "deploy") || json_object_get(now_stead, "deploy")))
		strv_add(&names, "x-stead.deploy");
	add(changes, now_svc->name, "config", names, false);
	names = NULL;
	routes_missing(json_object_get(now_stead, "routes"), json_object_get(old_stead, "routes"), &names);
	routes_missing(json_object_get(old_stead, "routes"), json_object_get(now_stead, "routes"), &names);
	add(changes, now_svc->name, "route", names, false);
	json_decref(old_stead);
	json_decref(now_stead);
	json_decref(old);
	json_decref(now);
}

static void diff_service(json_t *changes, const Stack *old_stack, const Service *old, char *const *old_images, const Stack *now_stack,
	const Service *now, char *const *now_images)
{
	char **names = NULL;
	diff_image(changes, old, strv_env(old_images, now->name), now, strv_env(now_images, now->name));
	diff_environment(changes, old, now);
	diff_files(&names, old_stack, now_stack, now->configs, now->n_configs, false);
	diff_files(&names, old_stack, now_stack, now->secrets, now->n_secrets, true);
	add(changes, now->name, "file", names, false);
	diff_keys(changes, old, now);
	if (old->replicas != now->replicas) {
		names = NULL;
		strv_take(&names, xasprintf("%d to %d", old->replicas, now->replicas));
		add(changes, now->name, "scale", names, true);
	}
}

static void diff_top(json_t *changes, const Stack *old_stack, const Stack *now_stack)
{
	static const char *const keys[] = { "networks", "volumes" };
	json_t *old = stack_to_json(old_stack), *now = stack_to_json(now_stack);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		AUTO_FREE char *prefix = xasprintf("%s.", keys[i]);
		add(changes, "", "config", differing_keys(json_object_get(old, keys[i]), json_object_get(now, keys[i]), prefix), false);
	}
	json_decref(old);
	json_decref(now);
}

json_t *release_diff(const Stack *old, char *const *old_images, const Stack *now, char *const *now_images)
{
	json_t *changes = json_array();
	if (old)
		diff_top(changes, old, now);
	for (size_t i = 0; i < now->n_services; i++) {
		const Service *svc = &now->services[i], *before = old ? stack_service(old, svc->name) : NULL;
		if (before)
			diff_service(changes, old, before, old_images, now, svc, now_images);
		else
			add(changes, svc->name, "new", NULL, true);
	}
	for (size_t i = 0; old && i < old->n_services; i++)
		if (!stack_service(now, old->services[i].name))
			add(changes, old->services[i].name, "removed", NULL, true);
	return changes;
}
