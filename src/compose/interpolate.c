// SPDX-License-Identifier: Apache-2.0
#include "compose/interpolate.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>

#include "base/limits.h"
#include "base/mem.h"

#define NESTING_MAX 32

typedef struct Scan {
	const Variables *v;
	Err *err;
	int depth;
} Scan;

static int expand(Scan *s, const char *text, size_t n, Buf *ret);

static size_t name_length(const char *s, size_t n)
{
	size_t i = 0;
	if (!n || !(isalpha((unsigned char) s[0]) || s[0] == '_'))
		return 0;
	while (i < n && (isalnum((unsigned char) s[i]) || s[i] == '_'))
		i++;
	return i;
}

static int bad_form(Scan *s, const char *text, size_t n)
{
	return err_set(s->err, -EINVAL, "'%.*s' is no variable; write ${NAME}, or $$ for a dollar sign",
		(int) (n > 60 ? 60 : n), text);
}

/* The end of "${…" (index of its "}"), with nested braces counted; n if there is none. */
static size_t closing_brace(const char *s, size_t n)
{
	int depth = 0;
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '$' && i + 1 < n && s[i + 1] == '$') {
			i++;
		} else if (s[i] == '$' && i + 1 < n && s[i + 1] == '{') {
			depth++;
			i++;
		} else if (s[i] == '}') {
			if (!--depth)
				return i;
		}
	}
	return n;
}

static int append_value(Scan *s, const char *name, const char *value, Buf *ret)
{
	if (!value && s->v->unset)
		s->v->unset(s->v->user, name);
	if (value)
		buf_str(ret, value);
	return 0;
}

static int required(Scan *s, const char *name, const char *text, size_t n)
{
	AUTO_BUF why = BUF_INIT;
	if (expand(s, text, n, &why) < 0)
		return -EINVAL;
	return err_set(s->err, -EINVAL,
		"required variable %s is missing a value%s%s; set it in the environment or in .env", name,
		why.len ? ": " : "", buf_cstr(&why));
}

/* Inside the braces: NAME, or NAME, an operator, and a text that is expanded only when it is used. */
static int braced(Scan *s, const char *text, size_t n, Buf *ret)
{
	size_t len = name_length(text + 2, n - 3);
	const char *rest = text + 2 + len;
	size_t left = n - 3 - len;
	if (!len)
		return bad_form(s, text, n);
	AUTO_FREE char *name = xstrndup(text + 2, len);
	const char *value = s->v->get(s->v->user, name);
	if (!left)
		return append_value(s, name, value, ret);
	bool colon = *rest == ':' && left > 1;
	char op = colon ? rest[1] : rest[0];
	const char *arg = rest + 1 + colon;
	size_t arg_n = left - 1 - colon;
	bool there = value && !(colon && !*value);
	if (op == '-')
		return there ? append_value(s, name, value, ret) : expand(s, arg, arg_n, ret);
	if (op == '+')
		return there ? expand(s, arg, arg_n, ret) : 0;
	if (op == '?')
		return there ? append_value(s, name, value, ret) : required(s, name, arg, arg_n);
	return bad_form(s, text, n);
}

/* One "$…" at text; gives how much of it was used. */
static ssize_t dollar(Scan *s, const char *text, size_t n, Buf *ret)
{
	if (n > 1 && text[1] == '$') {
		buf_char(ret, '$');
		return 2;
	}
	if (n > 1 && text[1] == '{') {
		size_t end = closing_brace(text, n);
		if (end == n)
			return bad_form(s, text, n);
		int e = braced(s, text, end + 1, ret);
		return e < 0 ? e : (ssize_t) end + 1;
	}
	size_t len = name_length(text + 1, n - 1);
	if (!len)
		return bad_form(s, text, n);
	AUTO_FREE char *name = xstrndup(text + 1, len);
	int e = append_value(s, name, s->v->get(s->v->user, name), ret);
	return e < 0 ? e : (ssize_t) len + 1;
}

static int expand(Scan *s, const char *text, size_t n, Buf *ret)
{
	int e = 0;
	if (++s->depth > NESTING_MAX)
		return err_set(s->err, -EINVAL, "variables are nested deeper than %d levels", NESTING_MAX);
	for (size_t i = 0; i < n && e >= 0;) {
		const char *next = memchr(text + i, '$', n - i);
		size_t plain = next ? (size_t) (next - text) - i : n - i;
		buf_append(ret, text + i, plain);
		i += plain;
		if (i == n)
			break;
		ssize_t used = dollar(s, text + i, n - i, ret);
		e = used < 0 ? (int) used : 0;
		i += used < 0 ? 0 : (size_t) used;
		if (ret->len > LIMIT_YAML_BYTES)
			e = err_set(s->err, -EINVAL,
				"the text is longer than %u bytes once its variables are replaced",
				LIMIT_YAML_BYTES);
	}
	s->depth--;
	return e;
}

int interpolate(const char *text, const Variables *v, Buf *ret, Err *err)
{
	Scan s = { .v = v, .err = err };
	return expand(&s, text, strlen(text), ret);
}
