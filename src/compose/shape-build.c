// SPDX-License-Identifier: Apache-2.0
/*
 * `build`: a path alone is the context. Paths are the project's, as everywhere; the Dockerfile's is the context's.
 */
#include "base/mem.h"
#include "base/str.h"
#include "compose/shape.h"
#include "model/git-url.h"

static bool is_remote(const char *s)
{
	return strstr(s, "://") || git_url_is_context(s);
}

static Node *shape_context(Shape *s, const Node *n)
{
	return node_is_scalar(n) && is_remote(n->text) ? shape_string(s, n) : shape_path(s, n);
}

/* A name alone is the secret's and its id. */
static Node *shape_secrets(Shape *s, const Node *n)
{
	static const ShapeKey keys[] = {
		{ "source", shape_string }, { "target", shape_string }, { "uid", shape_string }, { "gid", shape_string }, { "mode", shape_mode },
	};
	Arena *a = &s->l->arena;
	if (!node_is_seq(n))
		return shape_fail(s, n, "must be a list, not %s", node_what(n));
	Node *out = node_seq(a, n);
	for (size_t i = 0; i < n->n; i++) {
		const Node *item = n->items[i].value;
		size_t before = path_enter_index(&s->path, i);
		Node *v;
		if (node_is_scalar(item)) {
			v = node_map(a, item);
			node_add(a, v, "source", item->line, node_string(a, item, item->text));
		} else {
			v = shape_table(s, item, keys, ARRAY_SIZE(keys));
		}
		if (!v)
			return NULL;
		/* Its identity where files are merged. */
		const Node *source = node_get(v, "source");
		if (source && node_is_scalar(source) && !node_get(v, "target"))
			node_add(a, v, "target", item->line, node_string(a, item, source->text));
		path_leave(&s->path, before);
		node_push(a, out, v);
	}
	return out;
}

/* An id, alone or with a socket or keys. */
static Node *ssh_entry(Shape *s, const Node *n, const char *id, const char *paths)
{
	Arena *a = &s->l->arena;
	const char *out = "";
	for (const char *p = paths; *p;) {
		size_t len = strcspn(p, ",");
		const char *path = shape_resolve_path(s, n, arena_printf(a, "%.*s", (int) len, p));
		if (!path)
			return NULL;
		out = arena_printf(a, "%s%s%s", out, *out ? "," : "", path);
		p += len + (p[len] == ',');
	}
	return node_string(a, n, *out ? arena_printf(a, "%s=%s", id, out) : id);
}

/* A list, or a map of ids and paths. */
static Node *shape_ssh(Shape *s, const Node *n)
{
	Arena *a = &s->l->arena;
	Node *out = node_seq(a, n), *list = node_is_map(n) ? NULL : shape_one_or_more(s, n);
	if (!node_is_map(n) && !list)
		return NULL;
	for (size_t i = 0; i < (list ? list->n : n->n); i++) {
		const Node *v = list ? list->items[i].value : n->items[i].value;
		const char *eq = list ? strchr(v->text, '=') : NULL;
		if (!node_is_scalar(v))
			return shape_fail(s, v, "must be a path, not %s", node_what(v));
		Node *entry = !list ? ssh_entry(s, v, n->items[i].key, node_is_null(v) ? "" : v->text) :
			ssh_entry(s, v, eq ? arena_printf(a, "%.*s", (int) (eq - v->text), v->text) : v->text, eq ? eq + 1 : "");
		if (!entry)
			return NULL;
		node_push(a, out, entry);
	}
	return out;
}

static Node *shape_platforms(Shape *s, const Node *n)
{
	Node *list = shape_strings(s, n);
	for (size_t i = 0; list && i < list->n; i++)
		list->items[i].value = shape_lower(s, list->items[i].value);
	return list;
}

/* A directory, unless a colon stands before the first slash: what that means the model says. */
static Node *shape_contexts(Shape *s, const Node *n)
{
	Node *out = shape_labels(s, n);
	for (size_t i = 0; out && i < out->n; i++) {
		const Node *v = out->items[i].value;
		size_t before = path_enter(&s->path, out->items[i].key);
		if (v->text[strcspn(v->text, ":/")] != ':' && !git_url_is_context(v->text) && !(out->items[i].value = shape_path(s, v)))
			return NULL;
		path_leave(&s->path, before);
	}
	return out;
}

static Node *shape_attestation(Shape *s, const Node *n)
{
	if (!node_is_scalar(n) || !str_eq(n->text, "false"))
		load_warn(s->l, n, &s->path, "has no effect");
	return shape_any(s, n);
}

static const ShapeKey build_keys[] = {
	{ "context", shape_context },
	{ "dockerfile", shape_string },
	{ "dockerfile_inline", shape_text },
	{ "args", shape_pairs },
	{ "target", shape_string },
	{ "labels", shape_labels },
	{ "cache_from", shape_strings },
	{ "cache_to", shape_strings },
	{ "no_cache", shape_bool },
	{ "pull", shape_bool },
	{ "network", shape_string },
	{ "shm_size", shape_bytes },
	{ "secrets", shape_secrets },
	{ "ssh", shape_ssh },
	{ "extra_hosts", shape_extra_hosts },
	{ "platforms", shape_platforms },
	{ "tags", shape_strings },
	{ "additional_contexts", shape_contexts },
	{ "ulimits", shape_ulimits },
	{ "provenance", shape_attestation },
	{ "sbom", shape_attestation },
};

Node *shape_build(Shape *s, const Node *n)
{
	if (!node_is_scalar(n))
		return shape_table(s, n, build_keys, ARRAY_SIZE(build_keys));
	Node *context = shape_context(s, n), *out = context ? node_map(&s->l->arena, n) : NULL;
	if (out)
		node_add(&s->l->arena, out, "context", n->line, context);
	return out;
}
