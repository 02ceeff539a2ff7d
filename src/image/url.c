// SPDX-License-Identifier: Apache-2.0
#include "image/url.h"

#include <errno.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"

#define URL_MAX 8192

void url_done(Url *u)
{
	free(u->host);
	free(u->port);
	free(u->path);
	*u = (Url) { 0 };
}

static bool clean(const char *s)
{
	for (const unsigned char *p = (const unsigned char *) s; *p; p++)
		if (*p <= ' ' || *p >= 0x7f || *p == '\\' || *p == '"' || *p == '<' || *p == '>' || *p == '^' || *p == '`')
			return false;
	return true;
}

static bool host_ok(const char *s, size_t n)
{
	bool six = n > 2 && s[0] == '[' && s[n - 1] == ']';
	for (size_t i = six ? 1 : 0; i < (six ? n - 1 : n); i++) {
		char c = s[i];
		bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
		bool word = hex || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.';
		if (six ? !hex && c != ':' && c != '.' : !word)
			return false;
	}
	return n > 0 && n < 256;
}

int url_parse(const char *s, Url *ret, Err *err)
{
	AUTO_URL u = { 0 };
	const char *p;
	if (strlen(s) > URL_MAX || !clean(s))
		return err_set(err, -EINVAL, "'%.80s' is no URL: too long, or with characters that none has", s);
	if (strncasecmp(s, "https://", 8) == 0) {
		u.tls = true;
		p = s + 8;
	} else if (strncasecmp(s, "http://", 7) == 0) {
		p = s + 7;
	} else {
		return err_set(err, -EINVAL, "'%.80s' is neither an http:// nor an https:// URL: refused", s);
	}
	size_t n = strcspn(p, "/?#");
	if (memchr(p, '@', n))
		return err_set(err, -EINVAL, "a URL with a user name in it (…@%.80s): refused", (const char *) memchr(p, '@', n) + 1);
	const char *colon = *p == '[' ? memchr(p, ']', n) : p;
	colon = colon ? memchr(colon, ':', n - (size_t) (colon - p)) : NULL;
	size_t host = colon ? (size_t) (colon - p) : n;
	size_t digits = colon ? n - host - 1 : 0;
	if (!host_ok(p, host) || (colon && (digits < 1 || digits > 5 || strspn(colon + 1, "0123456789") != digits)))
		return err_set(err, -EINVAL, "'%.80s': '%.*s' is not a host[:port]", s, (int) (n < 256 ? n : 256), p);
	u.host = xstrndup(p, host);
	for (char *c = u.host; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c += 'a' - 'A';
	u.port = colon ? xstrndup(colon + 1, digits) : xstrdup(u.tls ? "443" : "80");
	size_t rest = strcspn(p + n, "#");
	u.path = xasprintf("%s%.*s", p[n] == '/' ? "" : "/", (int) rest, p + n);
	*ret = u;
	u = (Url) { 0 };
	return 0;
}

bool url_same_origin(const Url *a, const Url *b)
{
	return a->tls == b->tls && str_eq(a->host, b->host) && str_eq(a->port, b->port);
}

bool url_is_local(const char *host)
{
	if (str_starts(host, "[::1]"))
		return !host[5] || host[5] == ':';
	size_t n = strcspn(host, ":");
	if (n == strlen("localhost") && strncasecmp(host, "localhost", n) == 0)
		return true;
	return str_starts(host, "127.") && strspn(host, "0123456789.") == n;
}
