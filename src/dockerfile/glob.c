// SPDX-License-Identifier: Apache-2.0
/*
 * The pattern becomes a row of tokens, and matching goes through the path once with the set of tokens that may come next
 * (an NFA without states to build). So a hostile pattern costs no more than its length for each character, and one pass
 * answers all three questions: does the path match, does a directory above it, may something below it.
 */
#include "dockerfile/glob.h"

#include <errno.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

typedef enum TokenKind {
	TOKEN_CHAR,
	TOKEN_ANY,   /* ? : one character, no '/' */
	TOKEN_CLASS, /* [ ] */
	TOKEN_STAR,  /* * : any, no '/' */
	TOKEN_DIRS,  /* "**" + "/" : nothing, or anything up to a '/' */
	TOKEN_ALL,   /* "**" at the end: any */
} TokenKind;

typedef struct Token {
	TokenKind kind;
	uint32_t c;
	const char *class; /* behind the '[' or "[^"; in Glob.pattern */
	bool negated;
} Token;

struct Glob {
	char *pattern;
	Token *tokens;
	size_t n;
	char *literal; /* the whole pattern has no special character: what it says */
	char *needle;  /* what every path that matches has in it, NULL = nothing; most paths are done with that */
};

/* One character of UTF-8; a byte that is none stands for itself. */
static uint32_t next_char(const char **p)
{
	const unsigned char *s = (const unsigned char *) *p;
	unsigned n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 1;
	uint32_t c = n == 1 ? s[0] : s[0] & (0x7fU >> n);
	for (unsigned i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80) {
			(*p)++;
			return 0x110000U + s[0]; /* no character has this number */
		}
		c = c << 6 | (s[i] & 0x3f);
	}
	*p += n;
	return n == 1 && s[0] >= 0x80 ? 0x110000U + s[0] : c;
}

/* One end of a range; false: not allowed there. */
static bool class_char(const char **p, uint32_t *ret)
{
	if (!**p || **p == '-' || **p == ']')
		return false;
	if (**p == '\\' && !*++*p)
		return false;
	*ret = next_char(p);
	return true;
}

/* Goes to the end of the class; NULL: malformed. *ret_in: c is in one of its ranges. */
static const char *class_walk(const char *p, uint32_t c, bool *ret_in)
{
	bool any = false;
	*ret_in = false;
	while (*p != ']' || !any) {
		uint32_t low, high;
		if (!class_char(&p, &low))
			return NULL;
		high = low;
		if (*p == '-') {
			p++;
			if (!class_char(&p, &high))
				return NULL;
		}
		any = true;
		*ret_in |= low <= c && c <= high;
	}
	return p + 1;
}

static int compile_class(Token *t, const char **p, const char *pattern, Err *err)
{
	bool in;
	t->kind = TOKEN_CLASS;
	t->negated = **p == '^';
	t->class = *p + t->negated;
	const char *end = class_walk(t->class, 0, &in);
	if (!end)
		return err_set(err, -EINVAL, "'%s' is no pattern: what begins with '[' must have characters and end with ']'; write [[] for the character itself",
			pattern);
	*p = end;
	return 0;
}

/* Behind the first '*'. "**.go" at the beginning is a suffix, as patternmatcher has it. */
static void compile_stars(Token *t, const char **p, bool first, GlobFlags flags)
{
	t->kind = TOKEN_STAR;
	if (!(flags & GLOB_DEEP) || **p != '*')
		return;
	(*p)++;
	bool suffix = first && **p != '/' && !strpbrk(*p, "*?[\\");
	if (**p == '/')
		(*p)++;
	t->kind = **p && !suffix ? TOKEN_DIRS : TOKEN_ALL;
}

/* The longest text between special characters. */
static char *find_needle(const char *p)
{
	AUTO_BUF now = BUF_INIT;
	AUTO_BUF best = BUF_INIT;
	for (;;) {
		if (*p == '\0' || *p == '*' || *p == '?' || *p == '[') {
			if (now.len > best.len) {
				buf_clear(&best);
				buf_append(&best, now.data, now.len);
			}
			buf_clear(&now);
			if (!*p)
				return best.len ? buf_steal(&best) : NULL;
			bool in, stars = p[0] == '*' && p[1] == '*';
			p = *p == '[' ? class_walk(p + 1 + (p[1] == '^'), 0, &in) : p + 1 + stars;
			if (stars && *p == '/') /* it may match nothing */
				p++;
			continue;
		}
		if (*p == '\\')
			p++;
		buf_char(&now, *p++);
	}
}

int glob_compile(const char *pattern, GlobFlags flags, Glob **ret, Err *err)
{
	AUTO(glob_freep) Glob *g = xcalloc(1, sizeof(*g));
	g->pattern = xstrdup(pattern);
	bool literal = true;
	const char *p = g->pattern;
	while (*p) {
		Token *t = array_append(g->tokens, g->n);
		if (*p == '*' || *p == '?' || *p == '[') {
			literal = false;
			char c = *p++;
			if (c == '*')
				compile_stars(t, &p, g->n == 1, flags);
			else if (c == '?')
				t->kind = TOKEN_ANY;
			else if (compile_class(t, &p, pattern, err) < 0)
				return -EINVAL;
			continue;
		}
		if (*p == '\\' && !*++p)
			return err_set(err, -EINVAL, "'%s' is no pattern: it ends with '\\'", pattern);
		t->c = next_char(&p);
	}
	if (literal)
		g->literal = glob_unescape(pattern);
	else
		g->needle = find_needle(g->pattern);
	*ret = steal_ptr(&g);
	return 0;
}

void glob_free(Glob *g)
{
	if (!g)
		return;
	free(g->pattern);
	free(g->tokens);
	free(g->literal);
	free(g->needle);
	free(g);
}

void glob_freep(Glob **g)
{
	glob_free(*g);
}

#define WORD_BITS 64

typedef struct Set {
	uint64_t *bits;
	size_t words;
} Set;

static bool set_has(const Set *s, size_t i)
{
	return s->bits[i / WORD_BITS] >> (i % WORD_BITS) & 1;
}

/* Adds position i and those that it reaches without a character. */
static void set_add(const Glob *g, Set *s, size_t i)
{
	for (;; i++) {
		s->bits[i / WORD_BITS] |= (uint64_t) 1 << (i % WORD_BITS);
		if (i == g->n || g->tokens[i].kind < TOKEN_STAR)
			return;
	}
}

static void step_token(const Glob *g, size_t i, uint32_t c, Set *to)
{
	const Token *t = &g->tokens[i];
	bool in;
	switch (t->kind) {
	case TOKEN_CHAR:
		if (c == t->c)
			set_add(g, to, i + 1);
		break;
	case TOKEN_ANY:
		if (c != '/')
			set_add(g, to, i + 1);
		break;
	case TOKEN_CLASS:
		(void) class_walk(t->class, c, &in);
		if (in != t->negated)
			set_add(g, to, i + 1);
		break;
	case TOKEN_STAR:
		if (c != '/')
			set_add(g, to, i);
		break;
	case TOKEN_DIRS:
		/* Within: stays. At a '/': may be over. It began as "over" too, through set_add. */
		to->bits[i / WORD_BITS] |= (uint64_t) 1 << (i % WORD_BITS);
		if (c == '/')
			set_add(g, to, i + 1);
		break;
	case TOKEN_ALL:
		set_add(g, to, i);
		break;
	}
}

typedef struct Outcome {
	bool whole, parent, below;
} Outcome;

static Outcome run(const Glob *g, const char *path)
{
	Outcome o = { 0 };
	uint64_t small[2][4];
	Set now = { small[0], g->n / WORD_BITS + 1 }, next = { small[1], g->n / WORD_BITS + 1 };
	AUTO_FREE uint64_t *large = NULL;
	if (now.words > ARRAY_SIZE(small[0])) {
		large = xcalloc(2 * now.words, sizeof(*large));
		now.bits = large;
		next.bits = large + now.words;
	}
	memset(now.bits, 0, now.words * sizeof(*now.bits));
	set_add(g, &now, 0);
	bool alive = true;
	for (const char *p = path; *p && alive;) {
		uint32_t c = next_char(&p);
		if (c == '/' && set_has(&now, g->n))
			o.parent = true;
		memset(next.bits, 0, next.words * sizeof(*next.bits));
		alive = false;
		for (size_t w = 0; w < now.words; w++)
			for (uint64_t left = now.bits[w]; left; left &= left - 1) {
				size_t i = w * WORD_BITS + (size_t) __builtin_ctzll(left);
				if (i < g->n)
					step_token(g, i, c, &next);
			}
		for (size_t w = 0; w < next.words; w++)
			alive |= next.bits[w] != 0;
		Set t = now;
		now = next;
		next = t;
	}
	o.whole = alive && set_has(&now, g->n);
	for (size_t i = 0; i < g->n && alive; i++)
		o.below |= set_has(&now, i);
	return o;
}

static bool hopeless(const Glob *g, const char *path)
{
	return g->needle && !strstr(path, g->needle);
}

bool glob_match(const Glob *g, const char *path)
{
	if (g->literal)
		return str_eq(g->literal, path);
	return !hopeless(g, path) && run(g, path).whole;
}

bool glob_match_parents(const Glob *g, const char *path)
{
	if (g->literal) {
		size_t n = strlen(g->literal);
		return strncmp(path, g->literal, n) == 0 && (path[n] == '\0' || path[n] == '/');
	}
	if (hopeless(g, path))
		return false;
	Outcome o = run(g, path);
	return o.whole || o.parent;
}

bool glob_may_match_below(const Glob *g, const char *dir)
{
	if (!*dir || str_eq(dir, "."))
		return true;
	AUTO_FREE char *prefix = xasprintf("%s/", dir);
	return run(g, prefix).below;
}

bool glob_is_pattern(const char *s)
{
	for (; *s; s++) {
		if (*s == '*' || *s == '?' || *s == '[')
			return true;
		if (*s == '\\' && s[1])
			s++;
	}
	return false;
}

char *glob_unescape(const char *s)
{
	AUTO_BUF b = BUF_INIT;
	for (; *s; s++) {
		if (*s == '\\' && s[1])
			s++;
		buf_char(&b, *s);
	}
	return buf_steal(&b);
}

char *path_clean(const char *path)
{
	AUTO_BUF out = BUF_INIT;
	const bool rooted = path[0] == '/';
	size_t keep = rooted; /* what ".." cannot take away */
	if (rooted)
		buf_char(&out, '/');
	while (*path) {
		while (*path == '/')
			path++;
		size_t n = strcspn(path, "/");
		if (n == 0 || (n == 1 && path[0] == '.')) {
			path += n;
			continue;
		}
		if (n == 2 && memcmp(path, "..", 2) == 0 && out.len > keep) {
			while (out.len > keep && out.data[out.len - 1] != '/')
				out.len--;
			if (out.len > keep)
				out.len--;
			out.data[out.len] = '\0';
		} else if (n != 2 || memcmp(path, "..", 2) != 0 || !rooted) {
			if (out.len && out.data[out.len - 1] != '/')
				buf_char(&out, '/');
			buf_append(&out, path, n);
			if (n == 2 && memcmp(path, "..", 2) == 0)
				keep = out.len;
		}
		path += n;
	}
	if (!out.len)
		buf_char(&out, '.');
	return buf_steal(&out);
}
