// SPDX-License-Identifier: Apache-2.0
/*
 * A recursive descent over the word: expand_until is a level, which ends at the text's end or at the '}' or '/' of the
 * ${…} that it belongs to. What a level makes goes into a Buf; the outermost one also cuts words, and there the value of
 * a variable is cut while quoted text is not.
 */
#include "dockerfile/words.h"

#include <ctype.h>
#include <errno.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/parse.h"

#define DEPTH_MAX 32
#define STARS_MAX 32       /* in one pattern: refused */
#define STEPS_MAX 20000000 /* of pattern matching in one word: refused */

typedef struct Words {
	char **words;
	size_t n, cap;
	Buf word;
} Words;

typedef struct Expander {
	const char *p;
	const WordVariables *v;
	bool quotes; /* are special */
	unsigned depth;
	size_t steps;
	Err *err;
} Expander;

static int expand_until(Expander *x, char stop, bool raw_escapes, Buf *out, Words *words);

static void end_word(Words *w)
{
	if (!w->word.len)
		return;
	if (w->n + 2 > w->cap) {
		w->cap = w->cap ? w->cap * 2 : 8;
		w->words = xreallocarray(w->words, w->cap, sizeof(*w->words));
	}
	w->words[w->n++] = buf_steal(&w->word);
	w->words[w->n] = NULL;
}

/* Gives text to the level's result and, outermost, to its words; `whole`: spaces in it do not cut. */
static int emit(Expander *x, const char *s, size_t n, bool whole, Buf *out, Words *w)
{
	buf_append(out, s, n);
	if (out->len > LIMIT_DOCKERFILE_VALUE)
		return err_set(x->err, -EINVAL, "the value becomes longer than %u KiB", LIMIT_DOCKERFILE_VALUE >> 10);
	for (size_t i = 0; w && i < n; i++) {
		if (whole || !dockerfile_is_space(s[i]))
			buf_char(&w->word, s[i]);
		else
			end_word(w);
	}
	return 0;
}

typedef struct Pattern {
	const char *p;
	size_t n;
	char escape;
} Pattern;

/* Of a character of UTF-8, not its first. */
static bool inner_byte(char c)
{
	return ((unsigned char) c & 0xc0) == 0x80;
}

/* One element of a pattern at *i: gives '*', '?' or the character itself with *ret_special false. */
static char pattern_next(const Pattern *p, size_t *i, bool *ret_special)
{
	char c = p->p[(*i)++];
	*ret_special = c == '*' || c == '?';
	if (c == p->escape && *i < p->n)
		c = p->p[(*i)++];
	return c;
}

/* Length of the shortest or longest beginning of s that matches from pattern element i on; -1: none. Steps are counted. */
static ssize_t match_prefix(Expander *x, const Pattern *p, size_t i, const char *s, size_t n, bool longest)
{
	size_t at = 0;
	while (i < p->n) {
		bool special;
		if (++x->steps > STEPS_MAX)
			return -1;
		char c = pattern_next(p, &i, &special);
		if (!special || c == '?') {
			if (at == n || (!special && s[at] != c))
				return -1;
			at++;
			while (special && at < n && inner_byte(s[at])) /* one character, not one byte */
				at++;
			continue;
		}
		for (size_t k = 0; k <= n - at; k++) {
			size_t from = longest ? n - k : at + k;
			ssize_t rest = match_prefix(x, p, i, s + from, n - from, longest);
			if (rest >= 0)
				return (ssize_t) from + rest;
			if (x->steps > STEPS_MAX)
				return -1;
		}
		return -1;
	}
	return (ssize_t) at;
}

/* Whether the whole of s matches. */
static bool match_whole(Expander *x, const Pattern *p, size_t i, const char *s, size_t n)
{
	size_t at = 0, star = SIZE_MAX, star_at = 0;
	for (;;) {
		if (++x->steps > STEPS_MAX)
			return false;
		bool special = false;
		size_t next = i;
		char c = i < p->n ? pattern_next(p, &next, &special) : 0;
		if (i < p->n && special && c == '*') {
			star = i = next;
			star_at = at;
		} else if (i < p->n && at < n && (special || s[at] == c)) {
			i = next;
			at++;
			while (special && at < n && inner_byte(s[at]))
				at++;
		} else if (i == p->n && at == n) {
			return true;
		} else if (star == SIZE_MAX || star_at >= n) {
			return false;
		} else {
			i = star;
			at = ++star_at;
		}
	}
}

static int too_long(Expander *x)
{
	return x->steps > STEPS_MAX ? err_set(x->err, -EINVAL, "the pattern takes too long to match") : 0;
}

static int remove_match(Expander *x, char which, const Pattern *p, bool longest, const char *value, Buf *out)
{
	size_t n = strlen(value), from = 0, to = n;
	if (which == '#') {
		ssize_t k = match_prefix(x, p, 0, value, n, longest);
		from = k > 0 ? (size_t) k : 0;
	} else {
		for (size_t k = 0; k <= n && x->steps <= STEPS_MAX; k++) {
			size_t begin = longest ? k : n - k;
			if (!inner_byte(value[begin]) && match_whole(x, p, 0, value + begin, n - begin)) {
				to = begin;
				break;
			}
		}
	}
	buf_append(out, value + from, to - from);
	return too_long(x);
}

static int replace_match(Expander *x, const Pattern *p, bool all, const char *value, const char *by, Buf *out)
{
	size_t n = strlen(value), at = 0;
	while (p->n && at < n && x->steps <= STEPS_MAX) {
		ssize_t k = match_prefix(x, p, 0, value + at, n - at, true);
		if (k <= 0) {
			do
				buf_char(out, value[at++]);
			while (inner_byte(value[at]));
			continue;
		}
		buf_str(out, by);
		if (out->len > LIMIT_DOCKERFILE_VALUE)
			return err_set(x->err, -EINVAL, "the value becomes longer than %u KiB", LIMIT_DOCKERFILE_VALUE >> 10);
		at += (size_t) k;
		if (!all)
			break;
	}
	buf_append(out, value + at, n - at);
	return too_long(x);
}

static char *take_name(Expander *x)
{
	const char *p = x->p;
	size_t n = 0;
	if (isdigit((unsigned char) *p))
		while (isdigit((unsigned char) p[n]))
			n++;
	else if (*p && strchr("@*#?-$!", *p))
		n = 1;
	else
		while (isalnum((unsigned char) p[n]) || p[n] == '_' || (unsigned char) p[n] >= 0x80)
			n++;
	x->p += n;
	return xstrndup(p, n);
}

static const char *value_of(const Expander *x, const char *name)
{
	const char *value = x->v->get(x->v->user, name);
	if (!value && x->v->unset && !strv_has(*x->v->unset, name))
		strv_add(x->v->unset, name);
	return value;
}

/* Behind the name: the operator and its words. */
static int expand_operator(Expander *x, const char *name, Buf *out)
{
	const char *value = x->v->get(x->v->user, name);
	bool set = value != NULL;
	char op = *x->p++;
	if (op == ':') {
		set = set && *value;
		op = *x->p ? *x->p++ : 0;
		if (!op || !strchr("-+?", op))
			return err_set(x->err, -EINVAL, "${%s:%c…}: there are :- :+ and :?", name, op ? op : ' ');
	}
	bool twice = (op == '/' || op == '#' || op == '%') && *x->p == op;
	AUTO_BUF word = BUF_INIT;
	AUTO_BUF by = BUF_INIT;
	x->p += twice;
	int r = expand_until(x, op == '/' ? '/' : '}', op == '#' || op == '%' || op == '/', &word, NULL);
	if (r == 0 && op == '/')
		r = expand_until(x, '}', false, &by, NULL);
	if (r < 0)
		return r;
	/* The value may have gone while the words were expanded. */
	value = strchr("-+?", op) ? x->v->get(x->v->user, name) : value_of(x, name);
	const Pattern pattern = { buf_cstr(&word), word.len, x->v->escape };
	if (op == '?' && !set)
		return err_set(x->err, -EINVAL, "%s: %s", name, word.len ? buf_cstr(&word) : value ? "must not be empty" : "must be set");
	size_t stars = 0;
	for (size_t i = 0; i < pattern.n && strchr("#%/", op); i++)
		stars += pattern.p[i] == '*';
	if (stars > STARS_MAX)
		return err_set(x->err, -EINVAL, "more than %d '*' in the pattern of ${%s%c…}", STARS_MAX, name, op);
	if (op == '#' || op == '%')
		return remove_match(x, op, &pattern, twice, value ? value : "", out);
	if (op == '/')
		return replace_match(x, &pattern, twice, value ? value : "", buf_cstr(&by), out);
	if (op == '-' ? !set : op == '+' && set)
		buf_append(out, word.data, word.len);
	else if (op != '+')
		buf_str(out, value ? value : "");
	return 0;
}

/* At a '$'. */
static int expand_variable(Expander *x, Buf *out)
{
	x->p++;
	bool braces = *x->p == '{';
	x->p += braces;
	AUTO_FREE char *name = take_name(x);
	if (!braces) {
		const char *value = *name ? value_of(x, name) : "$";
		buf_str(out, value ? value : "");
		return 0;
	}
	if (!*x->p)
		return err_set(x->err, -EINVAL, "${%s has no end; a '}' is missing", name);
	if (!*name)
		return err_set(x->err, -EINVAL, "${%.20s: a name is missing behind ${", x->p);
	if (*x->p == '}') {
		const char *value = value_of(x, name);
		buf_str(out, value ? value : "");
		x->p++;
		return 0;
	}
	if (!strchr(":-+?#%/", *x->p))
		return err_set(x->err, -EINVAL, "${%s%c…}: unknown operator '%c'; there are - + ? (and with a colon before them) # %% /", name, *x->p, *x->p);
	if (++x->depth > DEPTH_MAX)
		return err_set(x->err, -EINVAL, "more than %d levels of ${…}", DEPTH_MAX);
	int r = expand_operator(x, name, out);
	x->depth--;
	return r;
}

static int expand_single_quotes(Expander *x, Buf *out)
{
	const char *end = strchr(++x->p, '\'');
	if (!end)
		return err_set(x->err, -EINVAL, "a ' has no end");
	buf_append(out, x->p, (size_t) (end - x->p));
	x->p = end + 1;
	return 0;
}

/* The escape character counts before ", $ and itself. */
static int expand_double_quotes(Expander *x, bool raw_escapes, Buf *out)
{
	const char escape = x->v->escape;
	for (x->p++; *x->p != '"';) {
		if (!*x->p)
			return err_set(x->err, -EINVAL, "a \" has no end");
		if (*x->p == '$') {
			int r = expand_variable(x, out);
			if (r < 0)
				return r;
			continue;
		}
		if (*x->p == escape && (x->p[1] == '"' || x->p[1] == '$' || x->p[1] == escape)) {
			if (raw_escapes)
				buf_char(out, escape);
			x->p++;
		}
		buf_char(out, *x->p++);
	}
	x->p++;
	return 0;
}

static int expand_one(Expander *x, bool raw_escapes, Buf *out, Words *words)
{
	AUTO_BUF part = BUF_INIT;
	bool whole = true;
	int r = 0;
	if (*x->p == '$') {
		r = expand_variable(x, &part);
		whole = false;
	} else if (x->quotes && *x->p == '\'') {
		r = expand_single_quotes(x, &part);
	} else if (x->quotes && *x->p == '"') {
		r = expand_double_quotes(x, raw_escapes, &part);
	} else if (*x->p == x->v->escape) {
		if (raw_escapes)
			buf_char(&part, *x->p);
		if (*++x->p)
			buf_char(&part, *x->p++);
	} else {
		buf_char(&part, *x->p++);
		whole = false;
	}
	return r < 0 ? r : emit(x, part.data, part.len, whole, out, words);
}

static int expand_until(Expander *x, char stop, bool raw_escapes, Buf *out, Words *words)
{
	while (*x->p) {
		if (stop && *x->p == stop) {
			x->p++;
			return 0;
		}
		int r = expand_one(x, raw_escapes, out, words);
		if (r < 0)
			return r;
	}
	return stop ? err_set(x->err, -EINVAL, "a '%c' is missing at the end of ${…", stop) : 0;
}

static int expand(const char *word, const WordVariables *v, bool quotes, Buf *out, Words *words, Err *err)
{
	Expander x = { .p = word, .v = v, .quotes = quotes, .err = err };
	int r = expand_until(&x, 0, false, out, words);
	if (r < 0 && quotes)
		return err_wrap(err, "'%.200s'", word);
	return r;
}

int word_expand(const char *word, const WordVariables *v, char **ret, Err *err)
{
	AUTO_BUF out = BUF_INIT;
	int r = expand(word, v, true, &out, NULL, err);
	if (r == 0)
		*ret = buf_steal(&out);
	return r;
}

int words_expand(const char *word, const WordVariables *v, char ***ret, Err *err)
{
	AUTO_BUF out = BUF_INIT;
	Words words = { 0 };
	int r = expand(word, v, true, &out, &words, err);
	end_word(&words);
	if (r == 0 && words.n > LIMIT_DOCKERFILE_WORDS)
		r = err_set(err, -EINVAL, "more than %d words", LIMIT_DOCKERFILE_WORDS);
	if (r == 0)
		*ret = steal_ptr(&words.words);
	strv_free(words.words);
	buf_done(&words.word);
	return r;
}

int text_expand(const char *text, const WordVariables *v, char **ret, Err *err)
{
	AUTO_BUF out = BUF_INIT;
	int r = expand(text, v, false, &out, NULL, err);
	if (r == 0)
		*ret = buf_steal(&out);
	return r;
}
