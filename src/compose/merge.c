// SPDX-License-Identifier: Apache-2.0
#include "compose/merge.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"

/* What identifies an entry of a list; in the arena. Entries that agree in it are one, the later wins. */
typedef const char *IdentityFn(Arena *a, const Node *n);

static const char *by_text(Arena *a, const Node *n)
{
	return n->kind == NODE_SCALAR ? n->text : NULL;
}

static const char *text_of(const Node *map, const char *key)
{
	const Node *v = node_get(map, key);
	return v && v->kind == NODE_SCALAR ? v->text : "";
}

static const char *by_target(Arena *a, const Node *n)
{
	return text_of(n, "target");
}

static const char *by_path(Arena *a, const Node *n)
{
	return text_of(n, "path");
}

static const char *by_port(Arena *a, const Node *n)
{
	return arena_printf(a, "%s:%s:%s/%s", text_of(n, "host_ip"), text_of(n, "published"),
		text_of(n, "target"), text_of(n, "protocol"));
}

/* "/run:size=64m": the path. */
static const char *by_tmpfs_path(Arena *a, const Node *n)
{
	return n->kind == NODE_SCALAR ? arena_strndup(a, n->text, strcspn(n->text, ":")) : NULL;
}

static const char *by_route(Arena *a, const Node *n)
{
	const char *path = text_of(n, "path");
	return arena_printf(a, "%s%s", text_of(n, "host"), *path ? path : "/");
}

/* A smoke test is about what it asks for. */
static const char *by_request(Arena *a, const Node *n)
{
	return arena_printf(a, "%s:%s", text_of(n, "port"), text_of(n, "get"));
}

/*
 * Keys of a service whose lists are more than a set of texts. `replaced` ones are one value that happens to
 * be a list.
 */
static const struct {
	const char *key;
	IdentityFn *identity;
	bool replaced;
} list_rules[] = {
	{ "command", NULL, true }, { "entrypoint", NULL, true }, { "test", NULL, true },
	{ "ports", by_port, false }, { "volumes", by_target, false }, { "devices", by_target, false },
	{ "secrets", by_target, false }, { "configs", by_target, false }, { "env_file", by_path, false },
	{ "tmpfs", by_tmpfs_path, false }, { "config", NULL, true }, /* ipam */
	{ "routes", by_route, false }, { "smoke", by_request, false },
	{ "pre_deploy", NULL, true }, { "post_deploy", NULL, true },
};

/*
 * Appends what is new and puts what is known in the place of the old one. Only duplicates between the files
 * go: two equal entries in one file are a slip that the model reports.
 */
static void append_list(Load *l, Node *base, const Node *over, IdentityFn *identity)
{
	Arena *a = &l->arena;
	Node *known = node_map(a, base);
	for (size_t i = 0; i < base->n; i++) {
		const char *id = identity(a, base->items[i].value);
		if (id && !node_item(known, id))
			node_add(a, known, id, (uint32_t) i, base->items[i].value);
	}
	for (size_t i = 0; i < over->n; i++) {
		const char *id = identity(a, over->items[i].value);
		const NodeItem *before = id ? node_item(known, id) : NULL;
		if (before)
			base->items[before->line].value = over->items[i].value;
		else
			node_push(a, base, over->items[i].value);
	}
}

static int merge_map(Load *l, Node *base, const Node *over, KeyPath *path);

/* Options of one log driver mean nothing to another. */
static bool replaces(const char *key, const Node *base, const Node *over)
{
	return str_eq(key, "logging") && node_get(over, "driver") && node_get(base, "driver") &&
	       !str_eq(text_of(base, "driver"), text_of(over, "driver"));
}

static int merge_lists(Load *l, const char *key, NodeItem *into, const Node *over)
{
	IdentityFn *identity = by_text;
	for (size_t i = 0; i < ARRAY_SIZE(list_rules); i++) {
		if (!str_eq(list_rules[i].key, key))
			continue;
		if (list_rules[i].replaced) {
			into->value = (Node *) over;
			return 0;
		}
		identity = list_rules[i].identity;
	}
	append_list(l, into->value, over, identity);
	return 0;
}

static int merge_item(Load *l, Node *base, const NodeItem *over, KeyPath *path)
{
	NodeItem *into = node_item(base, over->key);
	Node *v = over->value;
	if (v->tag == TAG_RESET) {
		(void) node_del(base, over->key);
		return 0;
	}
	if (!into) {
		merge_strip_resets(v);
		node_add(&l->arena, base, over->key, over->line, v);
		return 0;
	}
	if (v->tag == TAG_OVERRIDE || v->kind == NODE_SCALAR || into->value->kind == NODE_SCALAR ||
		replaces(over->key, into->value, v)) {
		merge_strip_resets(v);
		into->value = v;
		return 0;
	}
	if (v->kind != into->value->kind)
		return load_fail(l, v, path, "cannot be merged: it is %s here and %s on line %u of %s",
			node_what(v), node_what(into->value), into->value->line, l->files[into->value->file]);
	if (v->kind == NODE_SEQ)
		return merge_lists(l, over->key, into, v);
	return merge_map(l, into->value, v, path);
}

static int merge_map(Load *l, Node *base, const Node *over, KeyPath *path)
{
	for (size_t i = 0; i < over->n; i++) {
		size_t before = path_enter(path, over->items[i].key);
		if (merge_item(l, base, &over->items[i], path) < 0)
			return -EINVAL;
		path_leave(path, before);
	}
	return 0;
}

int merge_document(Load *l, Node *base, const Node *over)
{
	KeyPath path = { .len = 0 };
	return merge_map(l, base, over, &path);
}

void merge_strip_resets(Node *n)
{
	size_t kept = 0;
	for (size_t i = 0; i < n->n; i++) {
		if (n->items[i].value->tag == TAG_RESET)
			continue;
		merge_strip_resets(n->items[i].value);
		n->items[kept++] = n->items[i];
	}
	if (kept != n->n) {
		n->n = kept;
		n->index = NULL;
	}
}
