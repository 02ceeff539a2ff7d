// SPDX-License-Identifier: Apache-2.0
/*
 * A hand-written scanner over the text, a cursor and a line number. The rules are those of compose's dotenv
 * reader: an unquoted value ends at the line's end or at " #"; in single quotes nothing is special but \'; in
 * double quotes the escapes of Go strings work and variables are replaced, while "\$" and "$$" are a dollar
 * sign.
 */
#include "compose/env-file.h"

#include <ctype.h>
#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

typedef struct Scan {
	const char *file;
	const char *p, *end;
	unsigned line;
	const Variables *v;
	char ***env;
	Err *err;
} Scan;

static int fail(const Scan *s, unsigned line, const char *text)
{
	return err_set(s->err, -EINVAL, "%s:%u: %s", s->file, line, text);
}

static const char *get_variable(void *user, const char *name)
{
	const Scan *s = user;
	const char *value = s->v->get(s->v->user, name);
	return value ? value : strv_env(*s->env, name);
}

static void tell_unset(void *user, const char *name)
{
	const Scan *s = user;
	if (s->v->unset)
		s->v->unset(s->v->user, name);
}

static int expand(Scan *s, unsigned line, const char *text, Buf *ret)
{
	const Variables v = { .get = get_variable, .unset = tell_unset, .user = s };
	AUTO_ERR err = ERR_INIT;
	int e = interpolate(text, &v, ret, &err);
	if (e < 0)
		return err_set(s->err, e, "%s:%u: %s", s->file, line, err_text(&err));
	return 0;
}

static void skip_blanks(Scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t'))
		s->p++;
}

static void skip_line(Scan *s)
{
	const char *nl = memchr(s->p, '\n', (size_t) (s->end - s->p));
	s->p = nl ? nl + 1 : s->end;
	s->line++;
}

/* ---- values ---- */

/* "\0" and up to three octal digits; gives how many characters were used after the backslash, 0 if it is
 * none. */
static size_t octal_escape(const char *s, char *ret)
{
	unsigned v = 0;
	size_t i = 1;
	if (s[0] != '0')
		return 0;
	for (; i < 4 && s[i] >= '0' && s[i] <= '7'; i++)
		v = v * 8 + (unsigned) (s[i] - '0');
	*ret = (char) v;
	return v && v < 256 ? i : 0;
}

/* The escapes of a double-quoted value. A dollar sign stays doubled, since variables are replaced after this.
 */
static void unescape(const char *s, Buf *ret)
{
	static const char letters[] = "abfnrtv\"\\", values[] = "\a\b\f\n\r\t\v\"\\";
	for (; *s; s++) {
		char c;
		size_t n;
		const char *l = *s == '\\' && s[1] ? strchr(letters, s[1]) : NULL;
		if (l) {
			buf_char(ret, values[l - letters]);
			s++;
		} else if (*s == '\\' && s[1] == '$') {
			buf_str(ret, "$$");
			s++;
		} else if (*s == '\\' && (n = octal_escape(s + 1, &c)) > 0) {
			buf_char(ret, c);
			s += n;
		} else {
			buf_char(ret, *s);
		}
	}
}

static int quoted_value(Scan *s, char quote, Buf *ret)
{
	unsigned line = s->line;
	AUTO_BUF raw = BUF_INIT;
	for (s->p++; s->p < s->end && *s->p != quote; s->p++) {
		if (*s->p == '\\' && s->p + 1 < s->end && (quote == '"' || s->p[1] == quote)) {
			if (s->p[1] != quote || quote == '"')
				buf_char(&raw, '\\');
			s->p++;
		}
		if (*s->p == '\n')
			s->line++;
		buf_char(&raw, *s->p);
	}
	if (s->p == s->end)
		return fail(s, line, "the quoted value has no end; close the quote");
	s->p++;
	skip_blanks(s);
	if (s->p < s->end && *s->p != '\n' && *s->p != '#')
		return fail(s, s->line, "text follows the closing quote; quote all of it or nothing");
	skip_line(s);
	if (quote == '\'') {
		buf_str(ret, buf_cstr(&raw));
		return 0;
	}
	AUTO_BUF plain = BUF_INIT;
	unescape(buf_cstr(&raw), &plain);
	return expand(s, line, buf_cstr(&plain), ret);
}

static int plain_value(Scan *s, Buf *ret)
{
	unsigned line = s->line;
	const char *start = s->p, *nl = memchr(start, '\n', (size_t) (s->end - start));
	size_t n = (size_t) ((nl ? nl : s->end) - start);
	skip_line(s);
	for (size_t i = 0; i < n; i++) {
		if (start[i] == '#' && (!i || start[i - 1] == ' ' || start[i - 1] == '\t')) {
			n = i;
			break;
		}
	}
	while (n && isspace((unsigned char) start[n - 1]))
		n--;
	AUTO_FREE char *text = xstrndup(start, n);
	return expand(s, line, text, ret);
}

/* ---- lines ---- */

static bool key_char(char c)
{
	return isalnum((unsigned char) c) || strchr("_.-[]", c);
}

/* Reads KEY and the separator; `ret_value` says whether a value follows. */
static int read_key(Scan *s, char **ret, bool *ret_value)
{
	if (s->end - s->p > 7 && strncmp(s->p, "export", 6) == 0 && (s->p[6] == ' ' || s->p[6] == '\t')) {
		s->p += 7;
		skip_blanks(s);
	}
	const char *start = s->p;
	while (s->p < s->end && *s->p && key_char(*s->p))
		s->p++;
	if (s->p == start)
		return fail(s, s->line,
			"the line does not begin with the name of a variable; write NAME=value, or # for a comment");
	AUTO_FREE char *key = xstrndup(start, (size_t) (s->p - start));
	skip_blanks(s);
	*ret_value = s->p < s->end && (*s->p == '=' || *s->p == ':');
	if (!*ret_value && s->p < s->end && *s->p != '\n' && *s->p != '#')
		return fail(s, s->line,
			"the name of a variable has a character that cannot be in one; write NAME=value");
	if (*ret_value)
		s->p++;
	*ret = steal_ptr(&key);
	return 0;
}

static int read_assignment(Scan *s)
{
	AUTO_FREE char *key = NULL;
	AUTO_BUF value = BUF_INIT;
	bool has_value = false;
	if (read_key(s, &key, &has_value) < 0)
		return -EINVAL;
	if (!has_value) {
		const char *inherited = s->v->get(s->v->user, key);
		skip_line(s);
		if (inherited)
			strv_setenv(s->env, key, inherited);
		return 0;
	}
	skip_blanks(s);
	int e = s->p < s->end && (*s->p == '"' || *s->p == '\'') ? quoted_value(s, *s->p, &value)
								 : plain_value(s, &value);
	if (e >= 0)
		strv_setenv(s->env, key, buf_cstr(&value));
	return e;
}

/* Of the raw format: the line as it is, without quotes and variables. */
static int read_raw(Scan *s)
{
	const char *start = s->p, *nl = memchr(start, '\n', (size_t) (s->end - start));
	AUTO_FREE char *line = xstrndup(start, (size_t) ((nl ? nl : s->end) - start));
	char *eq = strchr(line, '=');
	if (eq == line || line[strcspn(line, "= \t")] == ' ')
		return fail(
			s, s->line, "the line does not begin with the name of a variable; write NAME=value");
	skip_line(s);
	if (eq)
		*eq = '\0';
	const char *value = eq ? eq + 1 : s->v->get(s->v->user, line);
	if (value)
		strv_setenv(s->env, line, value);
	return 0;
}

static int check_text(const Scan *s, const char *text, size_t n)
{
	if (n > LIMIT_ENV_FILE_BYTES)
		return err_set(s->err, -EINVAL, "%s: the file is larger than %u bytes", s->file,
			LIMIT_ENV_FILE_BYTES);
	if (!str_is_utf8(text, n) || memchr(text, '\0', n))
		return err_set(s->err, -EINVAL, "%s: the file is not UTF-8 text", s->file);
	return 0;
}

int env_file_parse(const char *file, const char *text, size_t n, EnvFormat format, const Variables *v,
	char ***env, Err *err)
{
	AUTO_BUF unix_text = BUF_INIT;
	Scan s = { .file = file, .line = 1, .v = v, .env = env, .err = err };
	if (check_text(&s, text, n) < 0)
		return -EINVAL;
	if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3;
		n -= 3;
	}
	for (size_t i = 0; i < n; i++)
		if (text[i] != '\r' || i + 1 == n || text[i + 1] != '\n')
			buf_char(&unix_text, text[i]);
	s.p = buf_cstr(&unix_text);
	s.end = s.p + unix_text.len;
	for (unsigned variables = 0; s.p < s.end;) {
		skip_blanks(&s);
		if (s.p == s.end)
			break;
		if (*s.p == '\n' || *s.p == '#') {
			skip_line(&s);
			continue;
		}
		if (++variables > LIMIT_ENV_FILE_VARIABLES)
			return fail(
				&s, s.line, "the file has more variables than can be taken; make it smaller");
		int e = format == ENV_FORMAT_RAW ? read_raw(&s) : read_assignment(&s);
		if (e < 0)
			return e;
	}
	return 0;
}
