// SPDX-License-Identifier: Apache-2.0
#include "image/registry.h"

#include <errno.h>
#include <jansson.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/url.h"

#define TOKEN_MAX (64U << 10)

/* ---- challenges ---- */

void challenge_done(Challenge *c)
{
	free(c->realm);
	free(c->service);
	free(c->scope);
	*c = (Challenge) { 0 };
}

static bool is_token(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static void skip_blank(const char **p)
{
	while (**p == ' ' || **p == '\t')
		(*p)++;
}

static char *take_token(const char **p)
{
	const char *begin = *p;
	while (is_token(**p))
		(*p)++;
	return *p > begin ? xstrndup(begin, (size_t) (*p - begin)) : NULL;
}

/* A token or a quoted string; NULL if it is neither. */
static char *take_value(const char **p)
{
	if (**p != '"')
		return take_token(p);
	AUTO_BUF b = BUF_INIT;
	for ((*p)++; **p && **p != '"'; (*p)++) {
		if (**p == '\\' && (*p)[1])
			(*p)++;
		buf_char(&b, **p);
	}
	if (**p != '"')
		return NULL;
	(*p)++;
	return buf_steal(&b);
}

static void take_parameter(Challenge *c, const char *name, char *value)
{
	char **field = strcasecmp(name, "realm") == 0 ? &c->realm : strcasecmp(name, "service") == 0 ? &c->service :
		strcasecmp(name, "scope") == 0 ? &c->scope : NULL;
	if (!field || *field)
		free(value);
	else
		*field = value;
}

/* Better than what there is: `c` moves to `best`. */
static void take_challenge(Challenge *best, Challenge *c)
{
	if (c->kind > best->kind) {
		challenge_done(best);
		*best = *c;
		*c = (Challenge) { 0 };
	}
	challenge_done(c);
}

/*
 * "SCHEME a=b, c=d, SCHEME e=f": what follows a comma is a parameter if a '=' comes after its word, else another scheme. After a
 * scheme without parameters there may be a token68, which neither of ours has.
 */
int challenge_parse(const char *header, Challenge *ret, Err *err)
{
	AUTO_CHALLENGE best = { 0 };
	AUTO_CHALLENGE c = { 0 };
	for (const char *p = header;;) {
		while (*p == ' ' || *p == '\t' || *p == ',')
			p++;
		if (!*p)
			break;
		AUTO_FREE char *word = take_token(&p);
		if (!word)
			return err_set(err, -EINVAL, "a challenge that cannot be read: '%.100s'", header);
		skip_blank(&p);
		if (*p != '=') {
			take_challenge(&best, &c);
			c.kind = strcasecmp(word, "Bearer") == 0 ? CHALLENGE_BEARER : strcasecmp(word, "Basic") == 0 ? CHALLENGE_BASIC : CHALLENGE_NONE;
			continue;
		}
		p++;
		skip_blank(&p);
		char *value = take_value(&p);
		if (!value)
			return err_set(err, -EINVAL, "a challenge that cannot be read: '%.100s'", header);
		take_parameter(&c, word, value);
	}
	take_challenge(&best, &c);
	if (best.kind == CHALLENGE_BEARER && str_empty(best.realm))
		return err_set(err, -EINVAL, "it asks for a token, but does not say where to get one");
	*ret = best;
	best = (Challenge) { 0 };
	return 0;
}

/* ---- tokens ---- */

int token_parse(const char *json, size_t n, char **ret, Err *err)
{
	json_error_t e;
	json_t *o = json_loadb(json, n, 0, &e);
	if (!o)
		return err_set(err, -EINVAL, "the token server's answer is not JSON: line %d: %s", e.line, e.text);
	const char *token = json_string_value(json_object_get(o, "token"));
	if (str_empty(token))
		token = json_string_value(json_object_get(o, "access_token"));
	int r = 0;
	if (str_empty(token))
		r = err_set(err, -EINVAL, "there is no token in the token server's answer");
	else if (strlen(token) > TOKEN_MAX)
		r = err_set(err, -EFBIG, "the token server's token is longer than %u bytes", TOKEN_MAX);
	else if (str_has_control(token))
		r = err_set(err, -EINVAL, "there are control characters in the token server's token");
	else
		*ret = xstrdup(token);
	json_decref(o);
	return r;
}

/* ---- rules ---- */

static const struct {
	const char *name;
	bool value;
} rule_kinds[] = {
	[RULE_MIRROR] = { "mirror", true },
	[RULE_PLAIN_HTTP] = { "plain-http", false },
	[RULE_CA] = { "ca", true },
	[RULE_INSECURE] = { "insecure", false },
};

void registry_rules_done(RegistryRules *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->items[i].host);
		free(r->items[i].value);
	}
	free(r->items);
	*r = (RegistryRules) { 0 };
}

static int check_host(const char *host, Err *err)
{
	AUTO_FREE char *url = xasprintf("https://%s", host);
	AUTO_URL u = { 0 };
	if (strpbrk(host, "/?#") || url_parse(url, &u, NULL) < 0)
		return err_set(err, -EINVAL, "'%.200s' is not a registry, HOST or HOST:PORT (for Docker Hub: docker.io)", host);
	return 0;
}

static int check_value(RegistryRuleKind kind, char *value, Err *err)
{
	AUTO_URL u = { 0 };
	if (kind == RULE_CA)
		return value[0] == '/' ? 0 : err_set(err, -EINVAL, "'%.200s' is not an absolute path", value);
	int r = url_parse(value, &u, err);
	if (r < 0)
		return r;
	size_t n = strlen(value);
	while (n && value[n - 1] == '/')
		value[--n] = '\0';
	return strpbrk(u.path, "?") ? err_set(err, -EINVAL, "a mirror's URL has no query: '%.200s'", value) : 0;
}

static int add_rule(RegistryRules *r, const char *word, const char *host, char *value, const char *more, Err *err)
{
	size_t k = 0;
	while (k < ARRAY_SIZE(rule_kinds) && !str_eq(rule_kinds[k].name, word))
		k++;
	if (k == ARRAY_SIZE(rule_kinds))
		return err_set(err, -EINVAL, "unknown rule '%.60s': one of mirror, plain-http, ca, insecure", word);
	if (!host || (rule_kinds[k].value && !value))
		return err_set(err, -EINVAL, "%s: %s is missing", word, host ? (k == RULE_CA ? "a file" : "a URL") : "a registry");
	if (more || (value && !rule_kinds[k].value))
		return err_set(err, -EINVAL, "%s: '%.60s' is one word too many", word, more ? more : value);
	int e = check_host(host, err);
	if (e == 0 && value)
		e = check_value((RegistryRuleKind) k, value, err);
	if (e < 0)
		return err_wrap(err, "%s", word);
	*array_append(r->items, r->n) = (RegistryRule) { (RegistryRuleKind) k, xstrdup(host), xstrdup(value) };
	return 0;
}

int registry_rules_parse(const char *text, const char *file, RegistryRules *ret, Err *err)
{
	AUTO_REGISTRY_RULES r = { 0 };
	int number = 0;
	for (const char *p = text; *p; number++) {
		size_t n = strcspn(p, "\n");
		AUTO_FREE char *line = xstrndup(p, n);
		char *words[4] = { NULL }, *save = NULL;
		line[strcspn(line, "#")] = '\0';
		words[0] = strtok_r(line, " \t\r", &save);
		for (size_t i = 1; i < ARRAY_SIZE(words) && words[i - 1]; i++)
			words[i] = strtok_r(NULL, " \t\r", &save);
		int e = words[0] ? add_rule(&r, words[0], words[1], words[2], words[3], err) : 0;
		if (e < 0)
			return err_wrap(err, "%s:%d", file, number + 1);
		p += n + (p[n] == '\n');
	}
	*ret = r;
	r = (RegistryRules) { 0 };
	return 0;
}

const RegistryRule *registry_rule(const RegistryRules *r, RegistryRuleKind kind, const char *host, size_t *i)
{
	while (*i < r->n) {
		const RegistryRule *rule = &r->items[(*i)++];
		if (rule->kind == kind && strcasecmp(rule->host, host) == 0)
			return rule;
	}
	return NULL;
}
