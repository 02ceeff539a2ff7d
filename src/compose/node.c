// SPDX-License-Identifier: Apache-2.0
/*
 * Maps keep their items in an array, in the order of the file. Up to a dozen keys are compared one by
 * one; a bigger map gets a hash index when it is first searched, so that a file of one huge map costs no
 * quadratic time. Adding keeps the index up; removing drops it.
 */
#include "compose/node.h"

#include <errno.h>
#include <stdarg.h>
#include <stdalign.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

#define BLOCK_SIZE (64U << 10)
#define INDEX_FROM 12
#define WARNINGS_MAX 200 /* further ones help nobody */

/* ---- memory ---- */

struct ArenaBlock {
	ArenaBlock *before;
	size_t size;
	alignas(max_align_t) char data[];
};

void *arena_alloc(Arena *a, size_t n)
{
	n = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	if (!a->last || a->last->size - a->used < n) {
		size_t size = n > BLOCK_SIZE / 4 ? n : BLOCK_SIZE;
		ArenaBlock *b = xcalloc(1, sizeof(*b) + size);
		b->size = size;
		b->before = a->last;
		a->last = b;
		a->used = 0;
	}
	void *p = a->last->data + a->used;
	a->used += n;
	return p;
}

char *arena_strndup(Arena *a, const char *s, size_t n)
{
	char *p = arena_alloc(a, n + 1);
	memcpy(p, s, n);
	return p;
}

char *arena_strdup(Arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

char *arena_printf(Arena *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *s = NULL;
	int n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	char *p = arena_strndup(a, s, (size_t) n);
	free(s);
	return p;
}

void arena_done(Arena *a)
{
	while (a->last) {
		ArenaBlock *b = a->last;
		a->last = b->before;
		free(b);
	}
	a->used = 0;
}

/* ---- making nodes ---- */

static Node *node_new(Arena *a, const Node *at, NodeKind kind)
{
	Node *n = arena_alloc(a, sizeof(*n));
	n->kind = kind;
	if (at) {
		n->file = at->file;
		n->line = at->line;
	}
	return n;
}

Node *node_typed(Arena *a, const Node *at, ScalarType type, const char *text)
{
	Node *n = node_new(a, at, NODE_SCALAR);
	n->type = type;
	n->text = text;
	return n;
}

Node *node_string(Arena *a, const Node *at, const char *text)
{
	return node_typed(a, at, SCALAR_STRING, text);
}

Node *node_map(Arena *a, const Node *at)
{
	return node_new(a, at, NODE_MAP);
}

Node *node_seq(Arena *a, const Node *at)
{
	return node_new(a, at, NODE_SEQ);
}

/* ---- items ---- */

/* FNV-1a; an attacker who makes keys collide slows only their own command, within the node budget. */
static uint32_t hash_key(const char *s)
{
	uint32_t h = 2166136261U;
	for (; *s; s++)
		h = (h ^ (unsigned char) *s) * 16777619U;
	return h;
}

static void index_put(Node *n, size_t i)
{
	size_t mask = n->index_size - 1, at = hash_key(n->items[i].key) & mask;
	while (n->index[at])
		at = (at + 1) & mask;
	n->index[at] = (uint32_t) i + 1;
}

static void index_make(Arena *a, Node *n)
{
	size_t size = 64;
	while (size < n->n * 4)
		size *= 2;
	n->index = arena_alloc(a, size * sizeof(uint32_t));
	n->index_size = size;
	for (size_t i = 0; i < n->n; i++)
		index_put(n, i);
}

NodeItem *node_item(const Node *map, const char *key)
{
	if (!map || map->kind != NODE_MAP)
		return NULL;
	if (!map->index) {
		for (size_t i = 0; i < map->n; i++)
			if (strcmp(map->items[i].key, key) == 0)
				return &map->items[i];
		return NULL;
	}
	size_t mask = map->index_size - 1;
	for (size_t at = hash_key(key) & mask; map->index[at]; at = (at + 1) & mask)
		if (strcmp(map->items[map->index[at] - 1].key, key) == 0)
			return &map->items[map->index[at] - 1];
	return NULL;
}

Node *node_get(const Node *map, const char *key)
{
	const NodeItem *i = node_item(map, key);
	return i ? i->value : NULL;
}

static NodeItem *item_append(Arena *a, Node *n)
{
	if (n->n == n->cap) {
		size_t cap = n->cap ? n->cap * 2 : 4;
		NodeItem *items = arena_alloc(a, cap * sizeof(NodeItem));
		if (n->n)
			memcpy(items, n->items, n->n * sizeof(NodeItem));
		n->items = items;
		n->cap = cap;
	}
	return &n->items[n->n++];
}

void node_add(Arena *a, Node *map, const char *key, uint32_t line, Node *value)
{
	*item_append(a, map) = (NodeItem){ key, line, value };
	if (map->index && map->n * 2 < map->index_size)
		index_put(map, map->n - 1);
	else if (map->index || map->n > INDEX_FROM)
		index_make(a, map);
}

void node_set(Arena *a, Node *map, const char *key, Node *value)
{
	NodeItem *i = node_item(map, key);
	if (i)
		i->value = value;
	else
		node_add(a, map, key, value->line, value);
}

void node_push(Arena *a, Node *seq, Node *value)
{
	*item_append(a, seq) = (NodeItem){ NULL, value->line, value };
}

void node_remove(Node *n, size_t i)
{
	memmove(&n->items[i], &n->items[i + 1], (n->n - i - 1) * sizeof(NodeItem));
	n->n--;
	n->index = NULL;
}

bool node_del(Node *map, const char *key)
{
	const NodeItem *i = node_item(map, key);
	if (!i)
		return false;
	node_remove(map, (size_t) (i - map->items));
	return true;
}

Node *node_copy(Arena *a, const Node *n)
{
	Node *c = arena_alloc(a, sizeof(*c));
	*c = *n;
	c->index = NULL;
	c->cap = c->n;
	if (n->n)
		c->items = arena_alloc(a, n->n * sizeof(NodeItem));
	for (size_t i = 0; i < n->n; i++) {
		c->items[i] = n->items[i];
		c->items[i].value = node_copy(a, n->items[i].value);
	}
	if (c->kind == NODE_MAP && c->n > INDEX_FROM)
		index_make(a, c);
	return c;
}

/* ---- what a node is ---- */

bool node_is_map(const Node *n)
{
	return n && n->kind == NODE_MAP;
}

bool node_is_seq(const Node *n)
{
	return n && n->kind == NODE_SEQ;
}

bool node_is_scalar(const Node *n)
{
	return n && n->kind == NODE_SCALAR;
}

bool node_is_null(const Node *n)
{
	return node_is_scalar(n) && node_type(n) == SCALAR_NULL;
}

static bool one_of(const char *s, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(s, *words) == 0)
			return true;
	return false;
}

static bool is_integer(const char *s)
{
	if (*s == '-' || *s == '+')
		s++;
	if (s[0] == '0' && s[1] == 'x' && s[2])
		return !s[2 + strspn(s + 2, "0123456789abcdefABCDEF")];
	if (s[0] == '0' && s[1] == 'o' && s[2])
		return !s[2 + strspn(s + 2, "01234567")];
	return *s && !s[strspn(s, "0123456789")];
}

static bool is_float(const char *s)
{
	static const char *const words[] = { ".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN", NULL };
	if (*s == '-' || *s == '+')
		s++;
	if (one_of(s, words))
		return true;
	size_t whole = strspn(s, "0123456789"), part = 0;
	s += whole;
	if (*s == '.') {
		s++;
		part = strspn(s, "0123456789");
		s += part;
	}
	if (!whole && !part)
		return false;
	if (*s == 'e' || *s == 'E') {
		s++;
		if (*s == '-' || *s == '+')
			s++;
		if (!*s)
			return false;
		s += strspn(s, "0123456789");
	}
	return !*s;
}

ScalarType node_type(const Node *n)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
	static const char *const bools[] = { "true", "True", "TRUE", "false", "False", "FALSE", NULL };
	if (n->type != SCALAR_PLAIN)
		return n->type;
	if (one_of(n->text, nulls))
		return SCALAR_NULL;
	if (one_of(n->text, bools))
		return SCALAR_BOOL;
	if (is_integer(n->text))
		return SCALAR_INT;
	return is_float(n->text) ? SCALAR_FLOAT : SCALAR_STRING;
}

int node_integer(const Node *n, int64_t *ret)
{
	const char *s = n->text;
	bool negative = *s == '-';
	if (*s == '-' || *s == '+')
		s++;
	if (!is_integer(s) || *s == '-' || *s == '+')
		return -EINVAL;
	unsigned base = 10;
	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'o')) {
		base = s[1] == 'x' ? 16 : 8;
		s += 2;
	} else if (s[0] == '0' && s[1]) {
		base = 8;
	}
	int64_t v = 0;
	for (; *s; s++) {
		int digit = *s <= '9' ? *s - '0' : (*s | 0x20) - 'a' + 10;
		if (digit >= (int) base)
			return -EINVAL;
		if (__builtin_mul_overflow(v, (int64_t) base, &v) || __builtin_add_overflow(v, digit, &v))
			return -ERANGE;
	}
	*ret = negative ? -v : v;
	return 0;
}

const char *node_what(const Node *n)
{
	static const char *const names[] = {
		[SCALAR_STRING] = "a string",
		[SCALAR_NULL] = "nothing",
		[SCALAR_BOOL] = "a boolean",
		[SCALAR_INT] = "a number",
		[SCALAR_FLOAT] = "a number",
	};
	if (n->kind != NODE_SCALAR)
		return n->kind == NODE_MAP ? "a map" : "a list";
	return names[node_type(n)];
}

/* ---- to JSON ---- */

static json_t *scalar_to_json(const Node *n)
{
	int64_t i;
	double d;
	switch (node_type(n)) {
	case SCALAR_NULL:
		return json_null();
	case SCALAR_BOOL:
		return json_boolean((*n->text | 0x20) == 't');
	case SCALAR_INT:
		if (node_integer(n, &i) == 0)
			return json_integer(i);
		break;
	case SCALAR_FLOAT:
		if (parse_double(n->text, &d) == 0)
			return json_real(d);
		break;
	case SCALAR_PLAIN:
	case SCALAR_STRING:
		break;
	}
	return json_string_nocheck(n->text);
}

json_t *node_to_json(const Node *n)
{
	if (n->kind == NODE_SCALAR)
		return scalar_to_json(n);
	json_t *v = n->kind == NODE_MAP ? json_object() : json_array();
	for (size_t i = 0; i < n->n; i++) {
		json_t *item = node_to_json(n->items[i].value);
		if (n->kind == NODE_MAP)
			(void) json_object_set_new_nocheck(v, n->items[i].key, item);
		else
			(void) json_array_append_new(v, item);
	}
	return v;
}

/* ---- places and messages ---- */

static size_t path_put(KeyPath *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static size_t path_put(KeyPath *p, const char *fmt, ...)
{
	size_t before = p->len, room = sizeof(p->text) - p->len;
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(p->text + p->len, room, fmt, ap);
	va_end(ap);
	p->len += n < 0 ? 0 : (size_t) n < room ? (size_t) n : room - 1;
	return before;
}

size_t path_enter(KeyPath *p, const char *key)
{
	return path_put(p, "%s%s", p->len ? "." : "", key);
}

size_t path_enter_index(KeyPath *p, size_t i)
{
	return path_put(p, "[%zu]", i);
}

void path_leave(KeyPath *p, size_t len)
{
	p->len = len;
	p->text[len] = '\0';
}

static char *message(const Load *l, unsigned file, unsigned line, const KeyPath *path, const char *fmt,
	va_list ap) __attribute__((format(printf, 5, 0)));

static char *message(
	const Load *l, unsigned file, unsigned line, const KeyPath *path, const char *fmt, va_list ap)
{
	char *text = NULL;
	text = xvasprintf(fmt, ap);
	const char *name = file < strv_len(l->files) ? l->files[file] : NULL;
	AUTO_FREE char *place = !name  ? xstrdup("")
				: line ? xasprintf("%s:%u: ", name, line)
				       : xasprintf("%s: ", name);
	char *whole =
		xasprintf("%s%s%s%s", place, path ? path->text : "", path && path->len ? ": " : "", text);
	free(text);
	return whole;
}

int load_fail(Load *l, const Node *at, const KeyPath *path, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	AUTO_FREE char *s = message(l, at ? at->file : UINT16_MAX, at ? at->line : 0, path, fmt, ap);
	va_end(ap);
	return err_set(l->err, -EINVAL, "%s", s);
}

int load_fail_line(Load *l, unsigned file, unsigned line, const KeyPath *path, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	AUTO_FREE char *s = message(l, file, line, path, fmt, ap);
	va_end(ap);
	return err_set(l->err, -EINVAL, "%s", s);
}

int load_charge(Load *l, const Node *at, const KeyPath *path, size_t n)
{
	l->nodes += n;
	if (l->nodes > LIMIT_YAML_NODES)
		return load_fail(l, at, path,
			"the file has more than %d nodes once it is expanded; make it smaller",
			LIMIT_YAML_NODES);
	return 0;
}

void load_warn(Load *l, const Node *at, const KeyPath *path, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *s = message(l, at ? at->file : UINT16_MAX, at ? at->line : 0, path, fmt, ap);
	va_end(ap);
	if (strv_len(l->warnings) >= WARNINGS_MAX || strv_has(l->warnings, s))
		free(s);
	else
		strv_take(&l->warnings, s);
}
