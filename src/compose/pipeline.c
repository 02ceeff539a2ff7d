// SPDX-License-Identifier: Apache-2.0
/*
 * The model speaks of a path, "services.web.ports[0].target". The nodes still know their lines, so the path
 * is walked to the deepest node there is, and that is the line of the error.
 */
#include "compose/pipeline.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "compose/interpolate.h"
#include "compose/merge.h"
#include "compose/shape.h"

/* ---- variables in values ---- */

int interpolate_scalar(Load *l, Node *n, const KeyPath *path)
{
	AUTO_BUF out = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	if (interpolate(n->text, &l->vars, &out, &err) < 0)
		return load_fail(l, n, path, "%s", err_text(&err));
	if (!str_is_utf8(buf_cstr(&out), out.len))
		return load_fail(l, n, path, "the value is not UTF-8 once its variables are replaced");
	n->text = arena_strndup(&l->arena, buf_cstr(&out), out.len);
	n->type = SCALAR_STRING;
	return 0;
}

static int interpolate_tree(Load *l, Node *n, KeyPath *path)
{
	if (n->kind == NODE_SCALAR)
		return strchr(n->text, '$') ? interpolate_scalar(l, n, path) : 0;
	for (size_t i = 0; i < n->n; i++) {
		size_t before =
			n->kind == NODE_MAP ? path_enter(path, n->items[i].key) : path_enter_index(path, i);
		if (interpolate_tree(l, n->items[i].value, path) < 0)
			return -EINVAL;
		path_leave(path, before);
	}
	return 0;
}

/* ---- merging ---- */

static int merge_documents(Load *l, Node *const *docs, size_t n, Node **ret)
{
	Node *whole = NULL;
	for (size_t i = 0; i < n; i++) {
		KeyPath path = { .len = 0 };
		if (interpolate_tree(l, docs[i], &path) < 0)
			return -EINVAL;
		Node *shaped = shape_document(l, docs[i]);
		if (!shaped)
			return -EINVAL;
		if (!whole) {
			merge_strip_resets(shaped);
			whole = shaped;
		} else if (merge_document(l, whole, shaped) < 0) {
			return -EINVAL;
		}
	}
	*ret = whole;
	return 0;
}

/* ---- to the model ---- */

/* One step of a model path into a node; gives the rest of the path, NULL when the step leads nowhere. */
static const char *path_step(const Node *n, const char *path, const NodeItem **ret)
{
	size_t best = 0;
	if (*path == '.')
		path++;
	if (*path == '[') {
		char *end;
		unsigned long i = strtoul(path + 1, &end, 10);
		if (n->kind != NODE_SEQ || *end != ']' || i >= n->n)
			return NULL;
		*ret = &n->items[i];
		return end + 1;
	}
	for (size_t i = 0; n->kind == NODE_MAP && i < n->n; i++) {
		size_t len = strlen(n->items[i].key);
		if (len >= best && strncmp(path, n->items[i].key, len) == 0 &&
			(!path[len] || path[len] == '.' || path[len] == '[')) {
			best = len;
			*ret = &n->items[i];
		}
	}
	return best ? path + best : NULL;
}

/* The error of the model, with the place of the deepest node on its path. */
static int fail_model(Load *l, const Node *doc, const char *path, const char *text)
{
	const char *rest = path;
	unsigned file = doc->file, line = doc->line;
	while (*rest) {
		const NodeItem *item = NULL;
		rest = path_step(doc, rest, &item);
		if (!rest)
			break;
		doc = item->value;
		file = doc->file;
		line = item->key && doc->kind != NODE_SCALAR ? item->line : doc->line;
	}
	return load_fail_line(l, file, line, NULL, "%s", text);
}

static void add_origin(Load *l, Node *doc, const Node *off, char *const *files, const char *project)
{
	Arena *a = &l->arena;
	Node *origin = node_map(a, doc), *list = node_seq(a, doc);
	node_add(a, origin, "working_dir", 1, node_string(a, doc, arena_strdup(a, l->project_dir)));
	for (; files && *files; files++)
		node_push(a, list, node_string(a, doc, arena_strdup(a, *files)));
	node_add(a, origin, "files", 1, list);
	Node *names = node_seq(a, doc);
	for (size_t i = 0; i < off->n; i++)
		node_push(a, names, node_string(a, doc, off->items[i].key));
	if (off->n)
		node_add(a, origin, "off", 1, names);
	node_set(a, doc, "x-stead-origin", origin);
	node_set(a, doc, "name", node_string(a, doc, arena_strdup(a, project)));
}

static int to_stack(Load *l, const Node *doc, Stack **ret)
{
	AUTO_ERR err = ERR_INIT;
	ModelPath where = { "" };
	if (l->refused_path) {
		AUTO_FREE char *text = xasprintf("%s: %s", l->refused_path, l->refused_text);
		return fail_model(l, doc, l->refused_path, text);
	}
	json_t *root = node_to_json(doc);
	int e = stack_from_json(root, ret, &where, &err);
	json_decref(root);
	return e < 0 ? fail_model(l, doc, where.text, err_text(&err)) : 0;
}

/* A service that is off is not looked into, but a key that no service has is a slip there, too. */
static int check_off(Load *l, const Node *doc, const Node *off)
{
	for (size_t i = 0; i < off->n; i++) {
		AUTO_ERR err = ERR_INIT;
		ModelPath where = { "" };
		json_t *o = node_to_json(off->items[i].value);
		int e = service_check_keys(o, off->items[i].key, &where, &err);
		json_decref(o);
		if (e < 0) {
			Node *all = node_map(&l->arena, doc);
			node_add(&l->arena, all, "services", doc->line, (Node *) off);
			return fail_model(l, all, where.text, err_text(&err));
		}
	}
	return 0;
}

int pipeline_run(
	Load *l, Node *const *docs, size_t n, char *const *files, const ResolveOptions *o, Stack **ret)
{
	Node *doc = NULL, *off = NULL;
	if (merge_documents(l, docs, n, &doc) < 0 || resolve_document(l, doc, o, &off) < 0 ||
		check_off(l, doc, off) < 0)
		return -EINVAL;
	add_origin(l, doc, off, files, o->project);
	return to_stack(l, doc, ret);
}
