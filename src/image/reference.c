// SPDX-License-Identifier: Apache-2.0
/*
 * The grammar is regular, so each part is checked by one pass over its characters. Where the parts
 * end is found first: the digest after '@', the tag after a ':' that follows the last '/', the
 * domain before the first '/' if it looks like a host (a '.', a ':', an upper-case letter, or
 * "localhost"), which is the rule of normalize.go.
 */
#include "image/reference.h"

#include <ctype.h>
#include <errno.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

#define DOMAIN_DEFAULT "docker.io"
#define DOMAIN_LEGACY "index.docker.io"
#define PATH_OFFICIAL "library/"
#define NAME_MAX_LENGTH 255 /* reference.go: RepositoryNameTotalLengthMax */
#define TAG_MAX_LENGTH 128

void reference_done(Reference *r)
{
	free(r->domain);
	free(r->path);
	free(r->tag);
	free(r->digest);
	*r = (Reference) { 0 };
}

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* domain-component ['.' domain-component]*, hyphens inside a component only. */
static bool host_valid(const char *s, size_t n)
{
	char before = '.';
	for (size_t i = 0; i < n; before = s[i++]) {
		if (is_alnum(s[i]))
			continue;
		if (s[i] == '-' && before != '.' && i + 1 < n && s[i + 1] != '.')
			continue;
		if (s[i] == '.' && before != '.' && i + 1 < n)
			continue;
		return false;
	}
	return n > 0;
}

/* The length of "[IPv6]" at the head of s, 0 if it is none; zone identifiers are not allowed. */
static size_t ipv6_host(const char *s, size_t n)
{
	size_t i = 1;
	while (i < n && (isxdigit((unsigned char) s[i]) || s[i] == ':'))
		i++;
	return i > 1 && i < n && s[i] == ']' ? i + 1 : 0;
}

static bool domain_valid(const char *s)
{
	size_t n = strlen(s), host;
	if (s[0] == '[') {
		host = ipv6_host(s, n);
		if (!host || (s[host] && s[host] != ':'))
			return false;
	} else {
		host = strcspn(s, ":");
		if (!host_valid(s, host))
			return false;
	}
	if (!s[host])
		return true;
	const char *port = s + host + 1;
	return *port && strspn(port, "0123456789") == strlen(port);
}

/* alpha-numeric [separator alpha-numeric]*, separator = one of "_", ".", "__" or any number of "-". */
static bool component_valid(const char *s, size_t n)
{
	size_t i = 0;
	if (!n || !is_lower_alnum(s[0]) || !is_lower_alnum(s[n - 1]))
		return false;
	while (i < n) {
		size_t start = i;
		if (is_lower_alnum(s[i])) {
			i++;
			continue;
		}
		char sep = s[i];
		while (i < n && s[i] == sep)
			i++;
		if (sep == '-' || (sep == '_' && i - start <= 2) || (sep == '.' && i - start == 1))
			if (is_lower_alnum(s[i]))
				continue;
		return false;
	}
	return true;
}

static bool path_valid(const char *s)
{
	for (;;) {
		size_t n = strcspn(s, "/");
		if (!component_valid(s, n))
			return false;
		if (!s[n])
			return true;
		s += n + 1;
	}
}

static bool tag_valid(const char *s)
{
	size_t n = strlen(s);
	if (!n || n > TAG_MAX_LENGTH || s[0] == '.' || s[0] == '-')
		return false;
	for (; *s; s++)
		if (!is_alnum(*s) && *s != '_' && *s != '.' && *s != '-')
			return false;
	return true;
}

static bool reference_digest_valid(const char *s)
{
	static const struct {
		const char *prefix;
		size_t digits;
	} kinds[] = { { "sha256:", 64 }, { "sha384:", 96 }, { "sha512:", 128 } };
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!str_starts(s, kinds[i].prefix))
			continue;
		const char *hex = s + strlen(kinds[i].prefix);
		return strlen(hex) == kinds[i].digits && strspn(hex, "0123456789abcdef") == kinds[i].digits;
	}
	return false;
}

static bool has_upper(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] >= 'A' && s[i] <= 'Z')
			return true;
	return false;
}

static bool looks_like_domain(const char *s, size_t n)
{
	return memchr(s, '.', n) || memchr(s, ':', n) || has_upper(s, n) ||
		(n == strlen("localhost") && memcmp(s, "localhost", n) == 0);
}

/* Splits "name" (no tag, no digest) and fills in docker.io and library/. */
static int split_name(const char *whole, const char *name, Reference *r, Err *err)
{
	const char *slash = strchr(name, '/');
	size_t n = slash ? (size_t) (slash - name) : 0;
	if (slash && looks_like_domain(name, n)) {
		r->domain = xstrndup(name, n);
		r->path = xstrdup(slash + 1);
	} else {
		r->domain = xstrdup(DOMAIN_DEFAULT);
		r->path = xstrdup(name);
	}
	if (str_eq(r->domain, DOMAIN_LEGACY))
		str_set(&r->domain, DOMAIN_DEFAULT);
	if (str_eq(r->domain, DOMAIN_DEFAULT) && !strchr(r->path, '/')) {
		char *official = xasprintf(PATH_OFFICIAL "%s", r->path);
		free(r->path);
		r->path = official;
	}
	if (!domain_valid(r->domain))
		return err_set(err, -EINVAL, "image reference '%s': '%s' is not a registry host[:port]", whole, r->domain);
	if (has_upper(r->path, strlen(r->path)))
		return err_set(err, -EINVAL, "image reference '%s': the name must be lower case", whole);
	if (!path_valid(r->path))
		return err_set(err, -EINVAL,
			"image reference '%s': '%s' is not a name (lower-case letters and digits, separated by '/', '.', '_', "
			"'__' or '-')",
			whole, r->path);
	if (strlen(r->path) > NAME_MAX_LENGTH)
		return err_set(err, -EINVAL, "image reference '%.40s…': the name is longer than %d characters", whole,
			NAME_MAX_LENGTH);
	return 0;
}

int reference_parse(const char *s, Reference *ret, Err *err)
{
	AUTO_REFERENCE r = { 0 };
	if (str_empty(s))
		return err_set(err, -EINVAL, "image reference is empty");
	if (str_has_control(s) || strlen(s) > 1024)
		return err_set(err, -EINVAL, "image reference has control characters or is longer than 1024 bytes");
	if (strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64)
		return err_set(err, -EINVAL, "image reference '%s': 64 hexadecimal digits are an image id, not a name", s);
	AUTO_FREE char *name = xstrdup(s);
	char *at = strchr(name, '@');
	if (at) {
		*at = '\0';
		if (!reference_digest_valid(at + 1))
			return err_set(err, -EINVAL,
				"image reference '%s': '%s' is not a digest (sha256: and 64 lower-case hexadecimal digits)", s,
				at + 1);
		r.digest = xstrdup(at + 1);
	}
	char *slash = strrchr(name, '/');
	char *colon = strchr(slash ? slash : name, ':');
	if (colon) {
		*colon = '\0';
		if (!tag_valid(colon + 1))
			return err_set(err, -EINVAL,
				"image reference '%s': '%s' is not a tag (letters, digits, '_', '.', '-', at most %d)", s,
				colon + 1, TAG_MAX_LENGTH);
		r.tag = xstrdup(colon + 1);
	}
	if (!r.tag && !r.digest)
		r.tag = xstrdup("latest");
	int code = split_name(s, name, &r, err);
	if (code < 0)
		return code;
	*ret = r;
	r = (Reference) { 0 };
	return 0;
}

static void add_suffixes(const Reference *r, Buf *b)
{
	if (r->tag)
		buf_printf(b, ":%s", r->tag);
	if (r->digest)
		buf_printf(b, "@%s", r->digest);
}

char *reference_string(const Reference *r)
{
	Buf b = BUF_INIT;
	buf_printf(&b, "%s/%s", r->domain, r->path);
	add_suffixes(r, &b);
	return buf_steal(&b);
}

char *reference_familiar_name(const Reference *r)
{
	if (!str_eq(r->domain, DOMAIN_DEFAULT))
		return xasprintf("%s/%s", r->domain, r->path);
	const char *rest = str_starts(r->path, PATH_OFFICIAL) ? r->path + strlen(PATH_OFFICIAL) : r->path;
	/* "library/a/b" was written with its two components: shortened, it would mean "a/b". */
	if (rest != r->path && strchr(rest, '/'))
		rest = r->path;
	/* So would a first component that reads as a host. */
	const char *slash = strchr(rest, '/');
	if (slash && looks_like_domain(rest, (size_t) (slash - rest)))
		return xasprintf("%s/%s", r->domain, rest);
	return xstrdup(rest);
}

char *reference_familiar(const Reference *r)
{
	AUTO_FREE char *name = reference_familiar_name(r);
	Buf b = BUF_INIT;
	buf_str(&b, name);
	add_suffixes(r, &b);
	return buf_steal(&b);
}

int reference_normalise(const char *s, char **ret, Err *err)
{
	AUTO_REFERENCE r = { 0 };
	int code = reference_parse(s, &r, err);
	if (code < 0)
		return code;
	*ret = reference_string(&r);
	return 0;
}

char *reference_show(const char *normalised)
{
	AUTO_REFERENCE r = { 0 };
	if (reference_parse(normalised, &r, NULL) < 0)
		return xstrdup(normalised);
	return reference_familiar(&r);
}
