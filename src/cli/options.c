// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: parse_long and parse_short find the entry by the scopes in order, take a value if the
 * kind wants one, and hand both to store_value, the only place that knows the kinds. Values are
 * written through the offset, so a command reads plain struct fields and no parser code exists
 * a command.
 */
#include "cli/options.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "model/nearest.h"

typedef struct Parser {
	const OptionScope *scopes;
	size_t n_scopes;
	char *const *argv;
	int argc, at;
	Err *err;
} Parser;

static void *value_at(const Option *o, void *values)
{
	return (char *) values + o->offset;
}

void options_init(OptionTable table, void *values)
{
	for (const Option *o = table; o->name; o++)
		if (o->kind == OPTION_NUMBER)
			*(int64_t *) value_at(o, values) = -1;
}

void options_done(OptionTable table, void *values)
{
	for (const Option *o = table; o->name; o++) {
		if (o->kind == OPTION_LIST) {
			char ***list = value_at(o, values);
			strv_free(*list);
			*list = NULL;
		}
	}
}

const Option *option_by_name(OptionTable table, const char *name, size_t n)
{
	for (const Option *o = table; o->name; o++)
		if (strlen(o->name) == n && memcmp(o->name, name, n) == 0)
			return o;
	return NULL;
}

const Option *option_by_letter(OptionTable table, char letter)
{
	for (const Option *o = table; o->name; o++)
		if (o->letter && o->letter == letter)
			return o;
	return NULL;
}

/* Go's strconv.ParseBool, which docker's flags use. */
static int parse_flag(const char *s, bool *ret)
{
	static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
	static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (str_eq(s, yes[i]) || str_eq(s, no[i])) {
			*ret = str_eq(s, yes[i]);
			return 0;
		}
	}
	return -EINVAL;
}

static bool choice_has(const char *words, const char *word)
{
	size_t n = strlen(word);
	for (const char *p = words; *p;) {
		size_t len = strcspn(p, " ");
		if (len == n && memcmp(p, word, n) == 0)
			return true;
		p += len + strspn(p + len, " ");
	}
	return false;
}

static int store_value(Parser *p, const Option *o, void *values, const char *text)
{
	void *v = value_at(o, values);
	uint64_t n;
	switch (o->kind) {
	case OPTION_FLAG:
		if (!text)
			*(bool *) v = true;
		else if (parse_flag(text, v) < 0)
			return err_set(p->err, -EINVAL, "--%s: '%s' is neither true nor false", o->name, text);
		return 0;
	case OPTION_STRING:
		*(const char **) v = text;
		return 0;
	case OPTION_OPTIONAL:
		*(const char **) v = text ? text : "";
		return 0;
	case OPTION_LIST:
		strv_add(v, text);
		return 0;
	case OPTION_NUMBER:
		if (parse_u64(text, &n) < 0 || n > INT32_MAX)
			return err_set(p->err, -EINVAL, "--%s: '%s' is not a number from 0 to %d", o->name, text, INT32_MAX);
		*(int64_t *) v = (int64_t) n;
		return 0;
	case OPTION_CHOICE:
		if (strstr(text, "{{"))
			return err_set(p->err, -EINVAL, "--%s: Go templates are not supported; use --json and jq(1)", o->name);
		if (!choice_has(o->complete, text))
			return err_set(p->err, -EINVAL, "--%s: '%s' is not one of: %s", o->name, text, o->complete);
		*(const char **) v = text;
		return 0;
	}
	return -EINVAL;
}

typedef struct NameWalk {
	const Parser *p;
	size_t scope, at;
} NameWalk;

static const char *next_name(void *state)
{
	NameWalk *w = state;
	while (w->scope < w->p->n_scopes) {
		const char *name = w->p->scopes[w->scope].table[w->at++].name;
		if (name)
			return name;
		w->scope++;
		w->at = 0;
	}
	return NULL;
}

static int unknown_name(Parser *p, const char *name, size_t n)
{
	AUTO_FREE char *word = xstrndup(name, n);
	NameWalk walk = { p, 0, 0 };
	const char *near = nearest_word(word, next_name, &walk);
	if (near)
		return err_set(p->err, -EINVAL, "unknown option --%s; did you mean --%s?", word, near);
	return err_set(p->err, -EINVAL, "unknown option --%s", word);
}

static int parse_long(Parser *p, const char *word)
{
	const char *eq = strchr(word, '=');
	size_t n = eq ? (size_t) (eq - word) : strlen(word);
	for (size_t i = 0; i < p->n_scopes; i++) {
		const Option *o = option_by_name(p->scopes[i].table, word, n);
		if (!o)
			continue;
		const char *text = eq ? eq + 1 : NULL;
		if (!text && o->kind != OPTION_FLAG && o->kind != OPTION_OPTIONAL) {
			if (p->at >= p->argc)
				return err_set(p->err, -EINVAL, "--%s needs a value (%s)", o->name, o->arg);
			text = p->argv[p->at++];
		}
		return store_value(p, o, p->scopes[i].values, text);
	}
	return unknown_name(p, word, n);
}

/* "it", "n5", "n=5": flags may be joined; the first option that takes a value takes the rest. */
static int parse_short(Parser *p, const char *word)
{
	for (; *word; word++) {
		const Option *o = NULL;
		void *values = NULL;
		for (size_t i = 0; i < p->n_scopes && !o; i++) {
			o = option_by_letter(p->scopes[i].table, *word);
			values = p->scopes[i].values;
		}
		if (!o && (*word < 0x21 || *word > 0x7e))
			return err_set(p->err, -EINVAL, "an option letter that is no printable ASCII character");
		if (!o)
			return err_set(p->err, -EINVAL, "unknown option -%c", *word);
		if (o->kind == OPTION_FLAG && word[1] != '=') {
			(void) store_value(p, o, values, NULL);
			continue;
		}
		const char *text = word + 1;
		if (*text == '=')
			text++;
		else if (!*text && p->at >= p->argc)
			return err_set(p->err, -EINVAL, "-%c (--%s) needs a value (%s)", o->letter, o->name, o->arg);
		else if (!*text)
			text = p->argv[p->at++];
		return store_value(p, o, values, text);
	}
	return 0;
}

int options_parse(int argc, char *const *argv, const OptionScope *scopes, size_t n_scopes, bool stop, char ***args, Err *err)
{
	Parser p = { scopes, n_scopes, argv, argc, 0, err };
	while (p.at < argc) {
		const char *word = argv[p.at];
		int r;
		if (word[0] != '-' || !word[1]) {
			if (stop)
				break;
			strv_add(args, word);
			p.at++;
			continue;
		}
		p.at++;
		if (str_eq(word, "--"))
			break;
		r = word[1] == '-' ? parse_long(&p, word + 2) : parse_short(&p, word + 1);
		if (r < 0)
			return r;
	}
	while (p.at < argc)
		strv_add(args, argv[p.at++]);
	return 0;
}

static void option_spelling(const Option *o, bool letter, Buf *out)
{
	if (letter && o->letter)
		buf_printf(out, "  -%c, --%s", o->letter, o->name);
	else
		buf_printf(out, "      --%s", o->name);
	if (o->arg)
		buf_printf(out, o->kind == OPTION_OPTIONAL ? "[=%s]" : " %s", o->arg);
}

void options_help(OptionTable table, OptionTable hides, Buf *out)
{
	size_t width = 0;
	for (const Option *o = table; o->name; o++) {
		AUTO_BUF b = BUF_INIT;
		option_spelling(o, true, &b);
		width = b.len > width ? b.len : width;
	}
	for (const Option *o = table; o->name; o++) {
		if (hides && option_by_name(hides, o->name, strlen(o->name)))
			continue;
		AUTO_BUF b = BUF_INIT;
		option_spelling(o, !hides || !option_by_letter(hides, o->letter), &b);
		buf_printf(out, "%-*s  %s", (int) width, buf_cstr(&b), o->help);
		if (o->kind == OPTION_CHOICE)
			buf_printf(out, " (%s)", o->complete);
		buf_char(out, '\n');
	}
}

const char *nearest_word(const char *word, const char *(*next)(void *state), void *state)
{
	const char *best = NULL;
	unsigned distance = edit_distance_allowed(word) + 1;
	for (const char *c; (c = next(state));) {
		unsigned d = edit_distance(word, c, distance);
		if (d < distance) {
			distance = d;
			best = c;
		}
	}
	return best;
}
