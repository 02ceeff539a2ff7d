// SPDX-License-Identifier: Apache-2.0
#include "dockerfile/lines.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* One line of the file, without its end. */
static bool physical(Lines *l, const char **ret, size_t *ret_n)
{
	if (l->p >= l->end)
		return false;
	const char *nl = memchr(l->p, '\n', (size_t) (l->end - l->p));
	const char *stop = nl ? nl : l->end;
	*ret = l->p;
	*ret_n = (size_t) (stop - l->p);
	if (*ret_n && stop[-1] == '\r')
		(*ret_n)--;
	l->p = nl ? nl + 1 : l->end;
	l->line++;
	return true;
}

static void skip_space(const char **p, size_t *n)
{
	while (*n && is_space(**p))
		(*p)++, (*n)--;
}

static bool is_comment(const char *p, size_t n)
{
	skip_space(&p, &n);
	return n && *p == '#';
}

/* "# key = value"; gives both as owned strings. */
static bool directive(const char *p, size_t n, char **ret_key, char **ret_value)
{
	skip_space(&p, &n);
	if (!n || *p != '#')
		return false;
	p++, n--;
	skip_space(&p, &n);
	size_t k = 0;
	while (k < n && isalnum((unsigned char) p[k]))
		k++;
	if (k == 0 || !isalpha((unsigned char) p[0]))
		return false;
	const char *key = p;
	p += k, n -= k;
	skip_space(&p, &n);
	if (!n || *p != '=')
		return false;
	p++, n--;
	skip_space(&p, &n);
	while (n && is_space(p[n - 1]))
		n--;
	if (!n)
		return false;
	*ret_key = xstrndup(key, k);
	*ret_value = xstrndup(p, n);
	return true;
}

static int set_directive(Lines *l, const char *key, const char *value, Err *err)
{
	static const char twice[] = "the parser directive '%s' stands here a second time; keep one";
	if (strcasecmp(key, "escape") == 0) {
		if (l->escape)
			return err_set(err, -EINVAL, twice, "escape");
		if (!str_eq(value, "\\") && !str_eq(value, "`"))
			return err_set(err, -EINVAL, "the escape character '%s' is neither \\ nor `", value);
		l->escape = value[0];
		return 1;
	}
	char **to = strcasecmp(key, "syntax") == 0 ? &l->syntax : strcasecmp(key, "check") == 0 ? &l->check : NULL;
	if (!to)
		return 0;
	if (*to)
		return err_set(err, -EINVAL, twice, to == &l->syntax ? "syntax" : "check");
	*to = xstrdup(value);
	return 1;
}

int lines_open(Lines *l, const char *text, size_t n, Err *err)
{
	*l = (Lines){ .p = text, .end = text + n };
	if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		l->p += 3;
	for (int more = 1; more;) {
		const char *before = l->p, *p;
		size_t k;
		AUTO_FREE char *key = NULL, *value = NULL;
		more = physical(l, &p, &k);
		if (more && !directive(p, k, &key, &value))
			more = 0;
		if (key)
			more = set_directive(l, key, value, err);
		if (more < 0)
			return more;
		if (!more && l->p != before) { /* an instruction or an ordinary comment: to be read again */
			l->p = before;
			l->line--;
		}
	}
	if (!l->escape)
		l->escape = '\\';
	return 0;
}

/* Cuts the escape character from the line's end. True: the next line belongs to this one. */
static bool continued(const Lines *l, const char *p, size_t *n)
{
	size_t k = *n;
	while (k && (p[k - 1] == ' ' || p[k - 1] == '\t'))
		k--;
	if (!k || p[k - 1] != l->escape || (k > 1 && p[k - 2] == l->escape))
		return false;
	*n = k - 1;
	return true;
}

bool heredoc_parse(const char *word, char escape, Heredoc *ret)
{
	while (isdigit((unsigned char) *word))
		word++;
	if (!str_starts(word, "<<"))
		return false;
	word += 2;
	bool chomp = *word == '-', quoted = false;
	word += chomp;
	AUTO_BUF name = BUF_INIT;
	char quote = 0;
	for (; *word; word++) {
		if (*word == '<' || (!quote && is_space(*word)))
			return false;
		if (quote ? *word == quote : *word == '\'' || *word == '"') {
			quote = quote ? 0 : *word;
			quoted = true;
		} else if (*word == escape && word[1] && quote != '\'') {
			quoted = true;
			buf_char(&name, *++word);
		} else {
			buf_char(&name, *word);
		}
	}
	if (quote || !name.len)
		return false;
	*ret = (Heredoc){ .name = buf_steal(&name), .chomp = chomp, .expand = !quoted };
	return true;
}

/* The end of the word at p, whose quotes and escapes stay in it; NULL if a quote is open. */
static const char *word_end(const char *p, char escape)
{
	char quote = 0;
	for (; *p && (quote || !is_space(*p)); p++) {
		if (*p == escape && p[1] && quote != '\'')
			p++;
		else if (quote ? *p == quote : *p == '\'' || *p == '"')
			quote = quote ? 0 : *p;
	}
	return quote ? NULL : p;
}

/* Which heredocs the line begins. A line with an open quote has none. */
static int find_heredocs(const Lines *l, Line *line, Err *err)
{
	Heredoc *found = NULL;
	size_t n = 0;
	for (const char *p = buf_cstr(&line->text), *end; *p; p = end) {
		for (; is_space(*p); p++)
			;
		end = word_end(p, l->escape);
		if (!end) {
			heredocs_free(found, n);
			return 0;
		}
		AUTO_FREE char *word = xstrndup(p, (size_t) (end - p));
		Heredoc h;
		if (heredoc_parse(word, l->escape, &h))
			*array_append(found, n) = h;
	}
	line->heredocs = found;
	line->n_heredocs = n;
	for (size_t i = 0; i < n; i++)
		if (strchr(found[i].name, '/'))
			return err_set(err, -EINVAL, "the heredoc's name '%s' is a file's name; it must not have a slash",
				found[i].name);
	if (n > LIMIT_DOCKERFILE_HEREDOCS)
		return err_set(err, -EINVAL, "more than %d heredocs in one instruction", LIMIT_DOCKERFILE_HEREDOCS);
	return 0;
}

static int read_heredoc(Lines *l, Heredoc *h, Err *err)
{
	const unsigned begin = l->line;
	AUTO_BUF text = BUF_INIT;
	for (;;) {
		const char *p, *start = l->p;
		size_t n;
		if (!physical(l, &p, &n)) {
			l->line = begin;
			return err_set(err, -EINVAL, "the heredoc <<%s has no end; write %s alone on a line behind its text",
				h->name, h->name);
		}
		size_t whole = (size_t) (l->p - start);
		while (h->chomp && n && *p == '\t')
			p++, n--, whole--;
		if (n == strlen(h->name) && memcmp(p, h->name, n) == 0)
			break;
		buf_append(&text, p, whole);
	}
	h->text = buf_steal(&text);
	return 0;
}

/* RUN, COPY and ADD have heredocs, alone and behind ONBUILD. */
static bool may_have_heredocs(const char *text)
{
	for (;;) {
		size_t n = strcspn(text, " \t\v\f\r");
		static const char *const with[] = { "RUN", "COPY", "ADD" };
		for (size_t i = 0; i < ARRAY_SIZE(with); i++)
			if (n == strlen(with[i]) && strncasecmp(text, with[i], n) == 0)
				return true;
		if (n != strlen("ONBUILD") || strncasecmp(text, "ONBUILD", n) != 0)
			return false;
		for (text += n; is_space(*text); text++)
			;
	}
}

static int read_continued(Lines *l, Line *line, Err *err)
{
	const char *p;
	size_t n;
	while (physical(l, &p, &n)) {
		line->last = l->line;
		if (is_comment(p, n))
			continue;
		const char *q = p;
		size_t k = n;
		skip_space(&q, &k);
		if (!k) {
			line->empty_continuation = true;
			continue;
		}
		bool more = continued(l, p, &n);
		buf_append(&line->text, p, n);
		if (line->text.len > LIMIT_DOCKERFILE_LINE)
			return err_set(err, -EINVAL, "the instruction is longer than %u KiB", LIMIT_DOCKERFILE_LINE >> 10);
		if (!more)
			break;
	}
	return 0;
}

int lines_next(Lines *l, Line *line, Err *err)
{
	const char *p;
	size_t n;
	while (physical(l, &p, &n)) {
		if (is_comment(p, n))
			continue;
		skip_space(&p, &n);
		bool more = continued(l, p, &n);
		if (!more && !n)
			continue;
		line->first = line->last = l->line;
		buf_append(&line->text, p, n);
		int r = line->text.len > LIMIT_DOCKERFILE_LINE ?
			err_set(err, -EINVAL, "the instruction is longer than %u KiB", LIMIT_DOCKERFILE_LINE >> 10) :
			more ? read_continued(l, line, err) : 0;
		if (r < 0)
			return r;
		while (line->text.len && is_space(line->text.data[line->text.len - 1]))
			line->text.data[--line->text.len] = '\0';
		size_t blank = 0;
		while (blank < line->text.len && is_space(line->text.data[blank]))
			blank++;
		buf_consume(&line->text, blank);
		if (!line->text.len) /* nothing but escape characters */
			continue;
		if (may_have_heredocs(buf_cstr(&line->text)) && strstr(buf_cstr(&line->text), "<<"))
			r = find_heredocs(l, line, err);
		for (size_t i = 0; r == 0 && i < line->n_heredocs; i++)
			r = read_heredoc(l, &line->heredocs[i], err);
		line->last = l->line;
		return r < 0 ? r : 1;
	}
	return 0;
}

void lines_done(Lines *l)
{
	free_and_null(&l->syntax);
	free_and_null(&l->check);
}

void heredocs_free(Heredoc *h, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(h[i].name);
		free(h[i].text);
	}
	free(h);
}

void line_done(Line *line)
{
	buf_done(&line->text);
	heredocs_free(line->heredocs, line->n_heredocs);
	*line = (Line){ 0 };
}
