// SPDX-License-Identifier: Apache-2.0
/*
 * The engine of shaping and the plain kinds of values. Scalars are taken by what the key wants, not by how
 * they are quoted: "80" and 80 are the same port, as in compose, where a variable's value is always text.
 * What is wanted as text stays as it was written: 3.10 is "3.10".
 */
#include "compose/shape.h"

#include <errno.h>
#include <stdarg.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"

void *shape_fail(Shape *s, const Node *n, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *text = NULL;
	text = xvasprintf(fmt, ap);
	va_end(ap);
	(void) load_fail(s->l, n, &s->path, "%s", text);
	free(text);
	return NULL;
}

/* ---- scalars ---- */

Node *shape_any(Shape *s, const Node *n)
{
	return node_copy(&s->l->arena, n);
}

static const char *scalar_text(Shape *s, const Node *n, const char *wanted)
{
	if (n->kind != NODE_SCALAR)
		return shape_fail(s, n, "must be %s, not %s", wanted, node_what(n));
	return n->text;
}

Node *shape_string(Shape *s, const Node *n)
{
	const char *text = scalar_text(s, n, "a string");
	return text ? node_string(&s->l->arena, n, text) : NULL;
}

Node *shape_text(Shape *s, const Node *n)
{
	return shape_string(s, n);
}

Node *shape_lower(Shape *s, const Node *n)
{
	Node *v = shape_string(s, n);
	char *text = v ? arena_strdup(&s->l->arena, v->text) : NULL;
	for (char *p = text; p && *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p += 'a' - 'A';
	if (v)
		v->text = text;
	return v;
}

Node *shape_bool(Shape *s, const Node *n)
{
	static const char *const yes[] = { "true", "y", "yes", "on", "1", "t" }, *const no[] = { "false", "n",
		"no", "off", "0", "f" };
	const char *text = scalar_text(s, n, "true or false");
	if (!text)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (strcasecmp(text, yes[i]) == 0)
			return node_typed(&s->l->arena, n, SCALAR_BOOL, "true");
		if (strcasecmp(text, no[i]) == 0)
			return node_typed(&s->l->arena, n, SCALAR_BOOL, "false");
	}
	return shape_fail(s, n, "must be true or false, not '%s'", text);
}

Node *shape_int(Shape *s, const Node *n)
{
	int64_t v;
	const char *text = scalar_text(s, n, "a whole number");
	if (!text)
		return NULL;
	int e = node_integer(n, &v);
	if (e == -ERANGE)
		return shape_fail(s, n, "%s is out of range", text);
	if (e < 0)
		return shape_fail(s, n, "must be a whole number, not '%s'", text);
	return node_typed(&s->l->arena, n, SCALAR_INT, arena_printf(&s->l->arena, "%lld", (long long) v));
}

Node *shape_number(Shape *s, const Node *n)
{
	double v;
	const char *text = scalar_text(s, n, "a number");
	if (!text)
		return NULL;
	if (parse_double(text, &v) < 0)
		return shape_fail(s, n, "must be a number such as 0.5, not '%s'", text);
	return node_string(&s->l->arena, n, text);
}

Node *shape_bytes(Shape *s, const Node *n)
{
	int64_t v;
	const char *text = scalar_text(s, n, "a size");
	if (!text)
		return NULL;
	if (str_eq(text, "-1"))
		return node_string(&s->l->arena, n, text);
	int e = parse_bytes(text, &v);
	if (e < 0)
		return shape_fail(s, n, "'%s' %s", text,
			e == -ERANGE ? "is out of range" : "is no size; write a number with b, k, m or g");
	return node_string(&s->l->arena, n, arena_printf(&s->l->arena, "%lld", (long long) v));
}

Node *shape_mode(Shape *s, const Node *n)
{
	const char *text = scalar_text(s, n, "a mode");
	int64_t mode = 0;
	if (!text)
		return NULL;
	/* A plain decimal number is decimal, as YAML says; nearly always octal was meant. */
	bool decimal = node_type(n) == SCALAR_INT && *text != '0';
	if (decimal ? node_integer(n, &mode) < 0 : !*text || text[strspn(text, "01234567o")])
		return shape_fail(s, n, "'%s' is no mode; write octal digits such as 0440", text);
	if (!decimal)
		mode = strtol(str_starts(text, "0o") ? text + 2 : text, NULL, 8);
	if (mode < 0 || mode > 07777)
		return shape_fail(
			s, n, "'%s' is no mode; write at most four octal digits such as 0440", text);
	if (decimal)
		load_warn(s->l, n, &s->path,
			"%s is a decimal number, that is mode %04llo; write 0%s if that was meant", text,
			(unsigned long long) mode, text);
	return node_string(&s->l->arena, n, arena_printf(&s->l->arena, "%04llo", (unsigned long long) mode));
}

/* ---- paths ---- */

const char *clean_path(Arena *a, const char *path)
{
	char *out = arena_alloc(a, strlen(path) + 2);
	size_t len = 0;
	while (*path) {
		path += strspn(path, "/");
		size_t n = strcspn(path, "/");
		if (n == 2 && strncmp(path, "..", 2) == 0) {
			while (len && out[--len] != '/')
				;
		} else if (n && !(n == 1 && *path == '.')) {
			out[len++] = '/';
			memcpy(out + len, path, n);
			len += n;
		}
		path += n;
	}
	if (!len)
		out[len++] = '/';
	out[len] = '\0';
	return out;
}

const char *shape_resolve_path(Shape *s, const Node *n, const char *path)
{
	Arena *a = &s->l->arena;
	if (*path == '/')
		return clean_path(a, path);
	if (*path == '~' && (!path[1] || path[1] == '/')) {
		const char *home = s->l->vars.get(s->l->vars.user, "HOME");
		if (str_empty(home) || *home != '/')
			return shape_fail(s, n, "'~' has no meaning without HOME; write the path out");
		return clean_path(a, arena_printf(a, "%s/%s", home, path + 1));
	}
	if (*path == '~')
		return shape_fail(s, n,
			"'%s': other people's home directories are not looked up; write the path out", path);
	return clean_path(a, arena_printf(a, "%s/%s", s->l->project_dir, path));
}

Node *shape_path(Shape *s, const Node *n)
{
	const char *text = scalar_text(s, n, "a path");
	if (text && !*text)
		return shape_fail(s, n, "must not be empty");
	text = text ? shape_resolve_path(s, n, text) : NULL;
	return text ? node_string(&s->l->arena, n, text) : NULL;
}

/* ---- lists ---- */

Node *shape_strings(Shape *s, const Node *n)
{
	Arena *a = &s->l->arena;
	if (!node_is_seq(n))
		return shape_fail(s, n, "must be a list, not %s", node_what(n));
	Node *out = node_seq(a, n);
	for (size_t i = 0; i < n->n; i++) {
		const Node *item = n->items[i].value;
		size_t before = path_enter_index(&s->path, i);
		if (!node_is_scalar(item))
			return shape_fail(s, item, "must be a string, not %s", node_what(item));
		path_leave(&s->path, before);
		node_push(a, out, node_string(a, item, item->text));
	}
	return out;
}

Node *shape_one_or_more(Shape *s, const Node *n)
{
	if (!node_is_scalar(n))
		return shape_strings(s, n);
	Node *out = node_seq(&s->l->arena, n);
	if (*n->text)
		node_push(&s->l->arena, out, node_string(&s->l->arena, n, n->text));
	return out;
}

/* "K=V", or "K" for which `alone` stands (NULL = a null). */
static void add_pair(Shape *s, Node *out, const Node *item, const char *alone)
{
	Arena *a = &s->l->arena;
	const char *eq = strchr(item->text, '=');
	const char *key = eq ? arena_strndup(a, item->text, (size_t) (eq - item->text)) : item->text;
	if (eq)
		node_set(a, out, key, node_string(a, item, eq + 1));
	else
		node_set(a, out, key,
			alone ? node_string(a, item, alone) : node_typed(a, item, SCALAR_NULL, ""));
}

static Node *pairs(Shape *s, const Node *n, const char *alone)
{
	Arena *a = &s->l->arena;
	if (!node_is_map(n) && !node_is_seq(n))
		return shape_fail(s, n, "must be a map or a list of NAME=value, not %s", node_what(n));
	Node *out = node_map(a, n);
	for (size_t i = 0; i < n->n; i++) {
		const Node *item = n->items[i].value;
		size_t before = n->items[i].key ? path_enter(&s->path, n->items[i].key)
						: path_enter_index(&s->path, i);
		if (!node_is_scalar(item))
			return shape_fail(s, item, "must be a string, not %s; quote it", node_what(item));
		if (n->kind == NODE_SEQ && (!*item->text || *item->text == '='))
			return shape_fail(s, item, "must be NAME=value, not '%s'", item->text);
		path_leave(&s->path, before);
		if (n->kind == NODE_SEQ)
			add_pair(s, out, item, alone);
		else if (node_is_null(item))
			node_add(a, out, n->items[i].key, n->items[i].line,
				alone ? node_string(a, item, alone) : node_typed(a, item, SCALAR_NULL, ""));
		else
			node_add(a, out, n->items[i].key, n->items[i].line, node_string(a, item, item->text));
	}
	return out;
}

Node *shape_pairs(Shape *s, const Node *n)
{
	return pairs(s, n, NULL);
}

Node *shape_labels(Shape *s, const Node *n)
{
	return pairs(s, n, "");
}

/* ---- commands ---- */

/* The next word of a command line by POSIX quoting rules; 0 at the end, -EINVAL for an open quote. */
static int next_word(const char **p, Buf *word)
{
	char quote = 0;
	*p += strspn(*p, " \t\n\r");
	if (!**p)
		return 0;
	for (; **p && (quote || !strchr(" \t\n\r", **p)); (*p)++) {
		char c = **p;
		if (quote ? c == quote : c == '\'' || c == '"') {
			quote = quote ? 0 : c;
			continue;
		}
		if (c == '\\' && quote != '\'' && (*p)[1] && (!quote || strchr("\"\\$`\n", (*p)[1]))) {
			c = *++*p;
			if (c == '\n')
				continue;
		}
		buf_char(word, c);
	}
	return quote ? -EINVAL : 1;
}

Node *shape_command(Shape *s, const Node *n)
{
	Arena *a = &s->l->arena;
	if (!node_is_scalar(n))
		return shape_strings(s, n);
	Node *out = node_seq(a, n);
	for (const char *p = n->text;;) {
		AUTO_BUF word = BUF_INIT;
		int e = next_word(&p, &word);
		if (e < 0)
			return shape_fail(s, n, "a quote is not closed in '%s'", n->text);
		if (!e)
			return out;
		if (load_charge(s->l, n, &s->path, 1) < 0)
			return NULL;
		node_push(a, out, node_string(a, n, arena_strndup(a, buf_cstr(&word), word.len)));
	}
}

/* ---- maps ---- */

static bool is_extension(const char *key)
{
	return str_starts(key, "x-") && (!str_starts(key, "x-stead") || str_eq(key, "x-stead-origin"));
}

/* A key that takes a name and is given nothing, as by a variable without a value, is as good as no key. */
static bool is_unset(const Node *n, ShapeFn *fn)
{
	return fn != shape_text && fn != shape_any && n->kind == NODE_SCALAR && n->type == SCALAR_STRING &&
	       !*n->text;
}

Node *shape_table(Shape *s, const Node *n, const ShapeKey *table, size_t n_table)
{
	Arena *a = &s->l->arena;
	if (!node_is_map(n))
		return shape_fail(s, n, "must be a map, not %s", node_what(n));
	Node *out = node_map(a, n);
	for (size_t i = 0; i < n->n; i++) {
		const NodeItem *item = &n->items[i];
		ShapeFn *fn = shape_any;
		if (is_extension(item->key))
			continue;
		for (size_t k = 0; k < n_table; k++)
			if (strcmp(table[k].key, item->key) == 0)
				fn = table[k].fn;
		if (!fn || (node_is_null(item->value) && fn != shape_any && !item->value->tag))
			continue;
		size_t before = path_enter(&s->path, item->key);
		Node *v = item->value->tag == TAG_RESET ? item->value : fn(s, item->value);
		if (!v)
			return NULL;
		path_leave(&s->path, before);
		if (v->tag != TAG_RESET && is_unset(v, fn))
			continue;
		v->tag = item->value->tag;
		node_add(a, out, item->key, item->line, v);
	}
	return out;
}

Node *shape_named(Shape *s, const Node *n, ShapeFn *fn)
{
	Arena *a = &s->l->arena;
	if (!node_is_map(n))
		return shape_fail(s, n, "must be a map, not %s", node_what(n));
	Node *out = node_map(a, n);
	for (size_t i = 0; i < n->n; i++) {
		const NodeItem *item = &n->items[i];
		size_t before = path_enter(&s->path, item->key);
		Node *v = item->value->tag == TAG_RESET ? item->value
			  : node_is_null(item->value)   ? node_map(a, item->value)
							: fn(s, item->value);
		if (!v)
			return NULL;
		path_leave(&s->path, before);
		v->tag = item->value->tag;
		node_add(a, out, item->key, item->line, v);
	}
	return out;
}
