// SPDX-License-Identifier: Apache-2.0
/*
 * libfyaml gives events; aliases stay names there. A stack of open collections builds the tree. What an
 * anchor names is remembered when its node is complete, so an alias inside its own anchor is an error and
 * no loop. Each node knows how many nodes and levels it stands for (weight, height); an alias charges that
 * to the budget before it is copied. "<<" is worked off when its map closes: keys of the map itself win,
 * then earlier maps of the list, as in the YAML merge type.
 *
 * libfyaml reports no errors of its own here: its diagnostics go to a callback, of which the first line is
 * kept for the message.
 */
#include "compose/yaml.h"

#include <errno.h>
#include <libfyaml.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

typedef struct Open {
	Node *node;
	const char *anchor;
	const char *key; /* of a map, read and waiting for its value */
	uint32_t key_line;
	Node *merges; /* a sequence of the maps that "<<" named, or NULL */
} Open;

typedef struct Parse {
	Load *l;
	unsigned file;
	Open open[LIMIT_YAML_DEPTH];
	size_t depth;
	Node *anchors; /* a map whose values are the anchored nodes; the null node while one is open */
	Node *root;
	Buf diag;
} Parse;

/* Where the parse is, for messages; not kept while all is well. */
static KeyPath current_path(const Parse *p)
{
	KeyPath path = { .len = 0 };
	for (size_t i = 0; i < p->depth; i++) {
		const Open *o = &p->open[i];
		if (o->node->kind == NODE_SEQ)
			(void) path_enter_index(&path, o->node->n);
		else if (o->key)
			(void) path_enter(&path, o->key);
	}
	return path;
}

static int fail(Parse *p, unsigned line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int fail(Parse *p, unsigned line, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *s = NULL;
	s = xvasprintf(fmt, ap);
	va_end(ap);
	KeyPath path = current_path(p);
	int e = load_fail_line(p->l, p->file, line, &path, "%s", s);
	free(s);
	return e;
}

static char *token_text(Parse *p, struct fy_token *t)
{
	size_t n = 0;
	const char *s = t ? fy_token_get_text(t, &n) : NULL;
	return s ? arena_strndup(&p->l->arena, s, n) : NULL;
}

/* A value that is nothing has no token and so no mark: it stands where its key stands. */
static uint32_t event_line(const Parse *p, struct fy_event *e)
{
	const struct fy_mark *m = fy_event_start_mark(e);
	if (m)
		return (uint32_t) m->line + 1;
	const Open *o = p->depth ? &p->open[p->depth - 1] : NULL;
	return !o ? 0 : o->key ? o->key_line : o->node->line;
}

static int charge(Parse *p, uint32_t line, size_t nodes)
{
	p->l->nodes += nodes;
	if (p->l->nodes > LIMIT_YAML_NODES)
		return fail(p, line, "the file has more than %d nodes once it is expanded; make it smaller",
			LIMIT_YAML_NODES);
	return 0;
}

/* ---- merges ---- */

static bool is_merge_key(const Open *o)
{
	return o->key && strcmp(o->key, "<<") == 0;
}

/* The value of "<<": a map or a list of maps. */
static int take_merge(Parse *p, Open *o, Node *value)
{
	Arena *a = &p->l->arena;
	if (!o->merges)
		o->merges = node_seq(a, value);
	if (node_is_map(value)) {
		node_push(a, o->merges, value);
		return 0;
	}
	if (!node_is_seq(value))
		return fail(p, o->key_line, "'<<' takes a map or a list of maps, not %s", node_what(value));
	for (size_t i = 0; i < value->n; i++) {
		if (!node_is_map(value->items[i].value))
			return fail(p, o->key_line, "'<<' takes a map or a list of maps; element %zu is %s",
				i, node_what(value->items[i].value));
		node_push(a, o->merges, value->items[i].value);
	}
	return 0;
}

static void apply_merges(Parse *p, Open *o)
{
	for (size_t m = 0; o->merges && m < o->merges->n; m++) {
		const Node *from = o->merges->items[m].value;
		for (size_t i = 0; i < from->n; i++)
			if (!node_item(o->node, from->items[i].key))
				node_add(&p->l->arena, o->node, from->items[i].key, from->items[i].line,
					from->items[i].value);
	}
}

/* ---- building ---- */

static void measure(Node *n)
{
	uint32_t weight = 1;
	unsigned height = 0;
	for (size_t i = 0; i < n->n; i++) {
		const Node *v = n->items[i].value;
		weight += v->weight;
		if (v->height + 1U > height)
			height = v->height + 1U;
	}
	n->weight = weight;
	n->height = (uint16_t) height;
}

/* A complete node goes into the collection that is open, or becomes the root. */
static int place(Parse *p, Node *n, const char *anchor)
{
	Arena *a = &p->l->arena;
	measure(n);
	if (anchor)
		node_set(a, p->anchors, anchor, n);
	if (!p->depth) {
		p->root = n;
		return 0;
	}
	Open *o = &p->open[p->depth - 1];
	if (o->node->kind == NODE_SEQ) {
		node_push(a, o->node, n);
		return 0;
	}
	if (is_merge_key(o)) {
		if (take_merge(p, o, n) < 0)
			return -EINVAL;
	} else {
		node_add(a, o->node, o->key, o->key_line, n);
	}
	o->key = NULL;
	return 0;
}

static int take_key(Parse *p, Open *o, struct fy_token *value, uint32_t line)
{
	o->key = token_text(p, value);
	o->key_line = line;
	size_t n = 0;
	(void) fy_token_get_text(value, &n);
	if (!o->key || strlen(o->key) != n)
		return fail(p, line, "a key has a NUL character in it");
	const NodeItem *before = node_item(o->node, o->key);
	if (before)
		return fail(p, line, "the key '%s' is there twice (first on line %u); remove one", o->key,
			before->line);
	return 0;
}

static bool expects_key(const Parse *p)
{
	const Open *o = p->depth ? &p->open[p->depth - 1] : NULL;
	return o && o->node->kind == NODE_MAP && !o->key;
}

/* ---- tags ---- */

static int take_tag(Parse *p, struct fy_token *t, uint32_t line, Node *n)
{
	static const struct {
		const char *name;
		ScalarType type;
		NodeTag tag;
	} known[] = {
		{ "!reset", SCALAR_PLAIN, TAG_RESET },
		{ "!override", SCALAR_PLAIN, TAG_OVERRIDE },
		{ "!", SCALAR_STRING, TAG_NONE },
		{ "tag:yaml.org,2002:str", SCALAR_STRING, TAG_NONE },
		{ "tag:yaml.org,2002:int", SCALAR_PLAIN, TAG_NONE },
		{ "tag:yaml.org,2002:float", SCALAR_PLAIN, TAG_NONE },
		{ "tag:yaml.org,2002:bool", SCALAR_PLAIN, TAG_NONE },
		{ "tag:yaml.org,2002:null", SCALAR_PLAIN, TAG_NONE },
		{ "tag:yaml.org,2002:map", SCALAR_PLAIN, TAG_NONE },
		{ "tag:yaml.org,2002:seq", SCALAR_PLAIN, TAG_NONE },
	};
	const char *text = token_text(p, t);
	if (!text)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcmp(text, known[i].name) != 0)
			continue;
		n->tag = known[i].tag;
		if (known[i].type == SCALAR_STRING)
			n->type = SCALAR_STRING;
		return 0;
	}
	return fail(p, line, "unknown tag '%s'; !reset and !override are known", text);
}

/* ---- events ---- */

static int open_collection(
	Parse *p, NodeKind kind, struct fy_token *anchor, struct fy_token *tag, uint32_t line)
{
	Arena *a = &p->l->arena;
	if (expects_key(p))
		return fail(p, line, "a map or list cannot be a key; quote it if it is meant as text");
	if (p->depth == LIMIT_YAML_DEPTH)
		return fail(p, line, "nested deeper than %d levels", LIMIT_YAML_DEPTH);
	if (charge(p, line, 1) < 0)
		return -EINVAL;
	const Node at = { .file = (uint16_t) p->file, .line = line };
	Open *o = &p->open[p->depth++];
	*o = (Open){ .node = kind == NODE_MAP ? node_map(a, &at) : node_seq(a, &at),
		.anchor = token_text(p, anchor) };
	if (o->anchor)
		node_set(a, p->anchors, o->anchor, node_typed(a, &at, SCALAR_NULL, ""));
	return take_tag(p, tag, line, o->node);
}

static int close_collection(Parse *p)
{
	Open *o = &p->open[p->depth - 1];
	apply_merges(p, o);
	p->depth--;
	return place(p, o->node, o->anchor);
}

static int take_alias(Parse *p, struct fy_token *anchor, uint32_t line)
{
	const char *name = token_text(p, anchor);
	Node *n = name ? node_get(p->anchors, name) : NULL;
	if (expects_key(p))
		return fail(p, line, "an alias cannot be a key");
	if (!n)
		return fail(p, line, "there is no anchor '&%s' before this alias", name ? name : "");
	if (n->type == SCALAR_NULL && !n->weight)
		return fail(p, line, "the alias '*%s' is inside of what it names", name);
	if (p->depth + n->height > LIMIT_YAML_DEPTH)
		return fail(p, line, "nested deeper than %d levels once the alias '*%s' is expanded",
			LIMIT_YAML_DEPTH, name);
	if (charge(p, line, n->weight) < 0)
		return -EINVAL;
	return place(p, node_copy(&p->l->arena, n), NULL);
}

static int keep_anchor(Parse *p, const char *name, Node *n)
{
	n->weight = 1;
	node_set(&p->l->arena, p->anchors, name, n);
	return 0;
}

static int take_scalar(Parse *p, const struct fy_event_scalar_data *s, uint32_t line)
{
	if (expects_key(p)) {
		Open *o = &p->open[p->depth - 1];
		if (take_key(p, o, s->value, line) < 0)
			return -EINVAL;
		const Node at = { .file = (uint16_t) p->file, .line = line };
		if (s->anchor)
			return keep_anchor(
				p, token_text(p, s->anchor), node_string(&p->l->arena, &at, o->key));
		return 0;
	}
	if (charge(p, line, 1) < 0)
		return -EINVAL;
	const Node at = { .file = (uint16_t) p->file, .line = line };
	size_t n = 0;
	const char *text = fy_token_get_text(s->value, &n);
	Node *node =
		node_typed(&p->l->arena, &at, SCALAR_PLAIN, text ? arena_strndup(&p->l->arena, text, n) : "");
	if (strlen(node->text) != n)
		return fail(p, line, "a value has a NUL character in it");
	if (fy_token_scalar_style(s->value) != FYSS_PLAIN)
		node->type = SCALAR_STRING;
	if (take_tag(p, s->tag, line, node) < 0)
		return -EINVAL;
	const char *anchor = token_text(p, s->anchor);
	return place(p, node, anchor);
}

static int take_event(Parse *p, struct fy_event *e)
{
	uint32_t line = event_line(p, e);
	if (e->type == FYET_SCALAR)
		return take_scalar(p, &e->scalar, line);
	if (e->type == FYET_ALIAS)
		return take_alias(p, e->alias.anchor, line);
	if (e->type == FYET_MAPPING_START)
		return open_collection(p, NODE_MAP, e->mapping_start.anchor, e->mapping_start.tag, line);
	if (e->type == FYET_SEQUENCE_START)
		return open_collection(p, NODE_SEQ, e->sequence_start.anchor, e->sequence_start.tag, line);
	if (e->type == FYET_MAPPING_END || e->type == FYET_SEQUENCE_END)
		return close_collection(p);
	return 0;
}

/* ---- libfyaml ---- */

static void keep_diagnostic(struct fy_diag *diag, void *user, const char *buf, size_t len)
{
	Buf *b = user;
	if (b->len < 4096)
		buf_append(b, buf, len);
}

/* "LINE:COLUMN: error: text" in the first line of what libfyaml said. */
static int fail_syntax(Parse *p)
{
	char *text = (char *) buf_cstr(&p->diag);
	text[strcspn(text, "\n")] = '\0';
	char *mark = strstr(text, "error: ");
	unsigned line = 0;
	for (const char *s = text; *s && s < (mark ? mark : s); s++) {
		if (*s == ':' && s[1] >= '0' && s[1] <= '9') {
			line = (unsigned) strtoul(s + 1, NULL, 10);
			break;
		}
	}
	return fail(p, line, "not valid YAML: %s", mark ? mark + 7 : "the text cannot be read");
}

static int parse_events(Parse *p, struct fy_parser *parser, Node ***ret, size_t *ret_n)
{
	int e = 0;
	for (;;) {
		struct fy_event *event = fy_parser_parse(parser);
		if (!event)
			return buf_cstr(&p->diag)[0] ? fail_syntax(p) : 0;
		bool end = event->type == FYET_STREAM_END;
		if (event->type == FYET_DOCUMENT_START)
			p->anchors = node_map(&p->l->arena, NULL);
		if (event->type == FYET_DOCUMENT_END && p->root && !node_is_null(p->root)) {
			Node **docs = arena_alloc(&p->l->arena, (*ret_n + 1) * sizeof(Node *));
			if (*ret_n)
				memcpy(docs, *ret, *ret_n * sizeof(Node *));
			docs[(*ret_n)++] = p->root;
			*ret = docs;
			p->root = NULL;
		}
		e = take_event(p, event);
		fy_parser_event_free(parser, event);
		if (e < 0 || end)
			return e;
	}
}

static int check_text(Parse *p, const char *text, size_t n)
{
	if (n > LIMIT_YAML_BYTES)
		return fail(p, 0, "the file is larger than %u bytes", LIMIT_YAML_BYTES);
	unsigned line = 1;
	for (size_t i = 0; i < n;) {
		const char *end = memchr(text + i, '\n', n - i);
		size_t len = end ? (size_t) (end - text) - i : n - i;
		if (!str_is_utf8(text + i, len))
			return fail(p, line, "the file is not UTF-8; save it in that encoding");
		for (size_t k = 0; k < len; k++) {
			unsigned char c = (unsigned char) text[i + k];
			if ((c < 0x20 && c != '\t' && c != '\r') || c == 0x7f)
				return fail(p, line,
					"a control character (0x%02x) stands in the file; remove it", c);
		}
		i += len + 1;
		line++;
	}
	return 0;
}

int yaml_parse(Load *l, unsigned file, const char *text, size_t n, Node ***ret, size_t *ret_n)
{
	AUTO_FREE Parse *p = xcalloc(1, sizeof(*p));
	p->l = l;
	p->file = file;
	if (check_text(p, text, n) < 0)
		return -EINVAL;
	if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3;
		n -= 3;
	}
	struct fy_diag_cfg diag_cfg;
	fy_diag_cfg_default(&diag_cfg);
	diag_cfg.fp = NULL;
	diag_cfg.output_fn = keep_diagnostic;
	diag_cfg.user = &p->diag;
	diag_cfg.colorize = false;
	struct fy_diag *diag = fy_diag_create(&diag_cfg);
	struct fy_parse_cfg cfg = { .diag = diag,
		.flags = FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE | FYPCF_SLOPPY_FLOW_INDENTATION |
			 FYPCF_DISABLE_DEPTH_LIMIT };
	struct fy_parser *parser = fy_parser_create(&cfg);
	int e = 0;
	if (!diag || !parser || fy_parser_set_string(parser, text, n) < 0)
		e = err_set(l->err, -ENOMEM, "the YAML parser cannot be started");
	else
		e = parse_events(p, parser, ret, ret_n);
	if (parser)
		fy_parser_destroy(parser);
	if (diag)
		fy_diag_unref(diag);
	buf_done(&p->diag);
	return e;
}
