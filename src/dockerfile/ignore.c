// SPDX-License-Identifier: Apache-2.0
#include "dockerfile/ignore.h"

#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/glob.h"
#include "dockerfile/parse.h"

typedef struct Rule {
	IgnoreRule rule;
	char *text;
	Glob *glob;
} Rule;

struct Ignore {
	Rule *rules;
	size_t n;
	bool negated; /* one of them is */
};

/* `p` has no spaces around it and is not empty. */
static int add_rule(Ignore *i, const char *p, unsigned line, Err *err)
{
	Rule *r = array_append(i->rules, i->n);
	r->text = xstrdup(p);
	r->rule = (IgnoreRule){ .line = line, .text = r->text, .negated = *p == '!' };
	i->negated |= r->rule.negated;
	p += r->rule.negated;
	while (dockerfile_is_space(*p))
		p++;
	if (!*p)
		return err_set(err, -EINVAL, "'!' alone takes nothing back in; write a pattern behind it");
	if (i->n > LIMIT_IGNORE_PATTERNS)
		return err_set(err, -EINVAL, "more than %d patterns", LIMIT_IGNORE_PATTERNS);
	AUTO_FREE char *clean = path_clean(p);
	return glob_compile(clean[0] == '/' && clean[1] ? clean + 1 : clean, GLOB_DEEP, &r->glob, err);
}

int ignore_parse(const char *name, const char *text, size_t n, Ignore **ret, Err *err)
{
	if (n > LIMIT_DOCKERFILE_BYTES)
		return err_set(err, -EINVAL, "%s: larger than %u KiB", name, LIMIT_DOCKERFILE_BYTES >> 10);
	if (n && memchr(text, '\0', n))
		return err_set(err, -EINVAL, "%s: has NUL bytes; it is no ignore file, or not in UTF-8", name);
	AUTO(ignore_freep) Ignore *i = xcalloc(1, sizeof(*i));
	const char *p = text, *end = text + n;
	if (n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
		p += 3;
	for (unsigned line = 1; p < end; line++) {
		const char *nl = memchr(p, '\n', (size_t) (end - p)), *stop = nl ? nl : end;
		const char *next = nl ? nl + 1 : end;
		if (*p != '#') {
			while (p < stop && dockerfile_is_space(*p))
				p++;
			while (stop > p && dockerfile_is_space(stop[-1]))
				stop--;
			AUTO_FREE char *pattern = xstrndup(p, (size_t) (stop - p));
			if (*pattern && add_rule(i, pattern, line, err) < 0)
				return err_wrap(err, "%s:%u", name, line);
		}
		p = next;
	}
	*ret = steal_ptr(&i);
	return 0;
}

int ignore_from_patterns(const char *what, char *const *patterns, Ignore **ret, Err *err)
{
	AUTO(ignore_freep) Ignore *i = xcalloc(1, sizeof(*i));
	for (char *const *p = patterns; p && *p; p++)
		if (**p && add_rule(i, *p, 0, err) < 0)
			return err_wrap(err, "%s", what);
	*ret = steal_ptr(&i);
	return 0;
}

bool ignore_match(const Ignore *i, const char *path, const IgnoreRule **ret_rule)
{
	const IgnoreRule *decided = NULL;
	for (size_t k = i ? i->n : 0; k-- > 0 && !decided;)
		if (glob_match_parents(i->rules[k].glob, path))
			decided = &i->rules[k].rule;
	if (ret_rule)
		*ret_rule = decided;
	return decided && !decided->negated;
}

bool ignore_walk_below(const Ignore *i, const char *dir)
{
	for (size_t k = 0; i && i->negated && k < i->n; k++)
		if (i->rules[k].rule.negated && glob_may_match_below(i->rules[k].glob, dir))
			return true;
	return false;
}

void ignore_free(Ignore *i)
{
	if (!i)
		return;
	for (size_t k = 0; k < i->n; k++) {
		free(i->rules[k].text);
		glob_free(i->rules[k].glob);
	}
	free(i->rules);
	free(i);
}

void ignore_freep(Ignore **i)
{
	ignore_free(*i);
}

char *ignore_name_for(const char *dockerfile)
{
	return xasprintf("%s.dockerignore", dockerfile);
}
