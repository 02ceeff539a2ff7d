// SPDX-License-Identifier: Apache-2.0
/*
 * A small YAML writer for the model's JSON: block maps and lists, and scalars quoted wherever a reader of
 * YAML 1.1 or 1.2 could take them for something else. No library emitter: it would have to be told all of
 * this as well.
 */
#include "compose/emit.h"

#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "compose/node.h"

/* Words that some reader takes for a boolean or null. */
static bool is_word_of_yaml(const char *s)
{
	static const char *const words[] = { "y", "n", "yes", "no", "on", "off", "true", "false", "null",
		"~" };
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasecmp(s, words[i]) == 0)
			return true;
	return false;
}

/* Plain text that cannot be mistaken: no indicator, no number or date, no blank at the ends, no ": " or " #".
 */
static bool is_plain(const char *s)
{
	const Node n = { .kind = NODE_SCALAR, .text = s };
	size_t len = strlen(s);
	if (!len || node_type(&n) != SCALAR_STRING || is_word_of_yaml(s) ||
		strchr("-?:,[]{}#&*!|>'\"%@` .+", *s) ||
		(*s >= '0' && *s <= '9' && !s[strspn(s, "0123456789.:-_eExobT+ ")]) || s[len - 1] == ' ' ||
		s[len - 1] == ':')
		return false;
	for (const char *p = s; *p; p++)
		if ((unsigned char) *p < 0x20 || *p == 0x7f || (*p == ':' && p[1] == ' ') ||
			(*p == '#' && p > s && p[-1] == ' '))
			return false;
	return true;
}

static void put_string(Buf *b, const char *s)
{
	bool plain = is_plain(s);
	if (!plain)
		buf_char(b, '"');
	for (const char *p = s; *p; p++) {
		if (*p == '$')
			buf_str(b, "$$");
		else if (!plain && (*p == '"' || *p == '\\'))
			buf_printf(b, "\\%c", *p);
		else if (*p == '\n')
			buf_str(b, "\\n");
		else if (*p == '\t')
			buf_str(b, "\\t");
		else if ((unsigned char) *p < 0x20 || *p == 0x7f)
			buf_printf(b, "\\x%02x", (unsigned char) *p);
		else
			buf_char(b, *p);
	}
	if (!plain)
		buf_char(b, '"');
}

static void put_key(Buf *b, const char *s)
{
	/* Keys are not interpolated, so a dollar sign in one stays single. */
	size_t before = b->len;
	put_string(b, s);
	char *dollar = memchr(b->data + before, '$', b->len - before);
	for (; dollar && dollar[1] == '$'; dollar = strchr(dollar + 1, '$')) {
		memmove(dollar, dollar + 1, strlen(dollar));
		b->len--;
	}
}

static void put_scalar(Buf *b, json_t *v)
{
	if (json_is_string(v)) {
		put_string(b, json_string_value(v));
		return;
	}
	char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
	buf_str(b, text ? text : "null");
	free(text);
}

static void put_value(Buf *b, json_t *v, size_t indent, bool in_list);

static void put_indent(Buf *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_str(b, "  ");
}

static void put_member(Buf *b, const char *key, json_t *v, size_t indent)
{
	put_key(b, key);
	buf_char(b, ':');
	put_value(b, v, indent, false);
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static void put_map(Buf *b, json_t *v, size_t indent, bool in_list)
{
	const char *key;
	json_t *item;
	size_t n = 0;
	AUTO_FREE const char **keys = xcalloc(json_object_size(v), sizeof(char *));
	json_object_foreach(v, key, item) keys[n++] = key;
	qsort(keys, n, sizeof(char *), compare_keys);
	for (size_t i = 0; i < n; i++) {
		if (i || !in_list)
			put_indent(b, indent);
		put_member(b, keys[i], json_object_get(v, keys[i]), indent + 1);
	}
}

static void put_list(Buf *b, json_t *v, size_t indent)
{
	for (size_t i = 0; i < json_array_size(v); i++) {
		put_indent(b, indent);
		buf_char(b, '-');
		put_value(b, json_array_get(v, i), indent + 1, true);
	}
}

/* After "key:" or "-", up to and with the end of the line. */
static void put_value(Buf *b, json_t *v, size_t indent, bool in_list)
{
	if (json_is_object(v) && json_object_size(v)) {
		buf_char(b, in_list ? ' ' : '\n');
		put_map(b, v, indent, in_list);
	} else if (json_is_array(v) && json_array_size(v)) {
		buf_char(b, '\n');
		put_list(b, v, indent);
	} else {
		buf_char(b, ' ');
		if (json_is_object(v) || json_is_array(v))
			buf_str(b, json_is_object(v) ? "{}" : "[]");
		else
			put_scalar(b, v);
		buf_char(b, '\n');
	}
}

char *stack_to_yaml(const Stack *s)
{
	Buf b = BUF_INIT;
	json_t *root = stack_to_json(s), *name = json_incref(json_object_get(root, "name"));
	(void) json_object_del(root, "x-stead-origin");
	(void) json_object_del(root, "name");
	put_member(&b, "name", name, 0);
	put_map(&b, root, 0, false);
	json_decref(name);
	json_decref(root);
	return buf_steal(&b);
}
