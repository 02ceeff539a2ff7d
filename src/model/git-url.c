// SPDX-License-Identifier: Apache-2.0
#include "model/git-url.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

#define TEXT_MAX 4096
#define WORD "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
#define HEX "0123456789abcdef"
#define CHECKSUM_MIN 7

void git_url_done(GitUrl *u)
{
	free(u->remote);
	free(u->shown);
	free(u->ref);
	free(u->subdir);
	free(u->checksum);
	*u = (GitUrl) { 0 };
}

bool git_commit_valid(const char *text)
{
	size_t n = strlen(text);
	return (n == 40 || n == 64) && strspn(text, HEX) == n;
}

bool git_checksum_valid(const char *text)
{
	size_t n = strlen(text);
	return n >= CHECKSUM_MIN && n <= 64 && strspn(text, HEX) == n;
}

/* ── what it is ───────────────────────────────────────────────────── */

/* USER@HOST:PATH: the length up to the path; 0: it is none. */
static size_t scp_prefix(const char *s)
{
	size_t user = strspn(s, WORD);
	if (!user || s[user] != '@')
		return 0;
	size_t host = strspn(s + user + 1, WORD ".");
	return host && s[user + 1 + host] == ':' ? user + 1 + host + 1 : 0;
}

static size_t path_end(const char *s)
{
	return strcspn(s, "?#");
}

bool git_url_is(const char *text)
{
	size_t n = path_end(text);
	if (str_starts(text, "http://") || str_starts(text, "https://"))
		return n > 4 && strncmp(text + n - 4, ".git", 4) == 0;
	return str_starts(text, "git://") || str_starts(text, "ssh://") || scp_prefix(text);
}

bool git_url_is_context(const char *text)
{
	return git_url_is(text) || str_starts(text, "github.com/");
}

bool build_archive_url(const char *text)
{
	return (str_starts(text, "http://") || str_starts(text, "https://")) && !git_url_is_context(text);
}

/* ── reference and directory ──────────────────────────────────────── */

static bool has_blank(const char *s)
{
	for (; *s; s++)
		if ((unsigned char) *s <= ' ' || *s == 0x7f)
			return true;
	return false;
}

/* As git-check-ref-format(1) has it, as far as it is about what a name could do elsewhere. */
static bool ref_valid(const char *ref)
{
	return *ref && *ref != '-' && *ref != '/' && !has_blank(ref) && !strpbrk(ref, "~^:?*[\\") && !strstr(ref, "..") && !strstr(ref, "@{") &&
		!strstr(ref, "//") && !str_ends(ref, "/") && !str_ends(ref, ".lock");
}

static int set_ref(GitUrl *u, const char *before, const char *ref, Err *err)
{
	if (u->ref)
		return err_set(err, -EINVAL, "it names two references; keep one");
	u->ref = xasprintf("%s%s", before, ref);
	return ref_valid(u->ref) ? 0 : err_set(err, -EINVAL, "'%s' is no name of a branch, a tag or a commit", ref);
}

static int set_subdir(GitUrl *u, const char *dir, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	if (u->subdir)
		return err_set(err, -EINVAL, "it names two directories; keep one");
	for (const char *p = dir; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && strncmp(p, "..", 2) == 0)
			return err_set(err, -EINVAL, "the directory '%s' leads out of the repository", dir);
		if (n && !(n == 1 && *p == '.')) {
			if (b.len)
				buf_char(&b, '/');
			buf_append(&b, p, n);
		}
		p += n + (p[n] == '/');
	}
	if (b.len)
		u->subdir = buf_steal(&b);
	return 0;
}

static int set_flag(const char *value, bool *ret, Err *err)
{
	bool yes = !*value || str_eq(value, "1") || str_eq(value, "true");
	if (!yes && !str_eq(value, "0") && !str_eq(value, "false"))
		return err_set(err, -EINVAL, "'%s' is neither true nor false", value);
	*ret = yes;
	return 0;
}

static int set_option(GitUrl *u, const char *key, const char *value, Err *err)
{
	bool submodules;
	int r;
	if (str_eq(key, "branch"))
		return set_ref(u, "refs/heads/", value, err);
	if (str_eq(key, "tag"))
		return set_ref(u, "refs/tags/", value, err);
	if (str_eq(key, "ref"))
		return set_ref(u, "", value, err);
	if (str_eq(key, "subdir"))
		return set_subdir(u, value, err);
	if (str_eq(key, "keep-git-dir"))
		return set_flag(value, &u->keep_git_dir, err);
	if (str_eq(key, "submodules")) {
		r = set_flag(value, &submodules, err);
		u->no_submodules = r == 0 && !submodules;
		return r;
	}
	if (str_eq(key, "checksum") || str_eq(key, "commit")) {
		str_set(&u->checksum, value);
		return git_checksum_valid(value) ? 0 : err_set(err, -EINVAL, "the checksum '%s' is no commit: 7 to 64 hexadecimal digits are expected", value);
	}
	return err_set(err, -EINVAL, "unknown option '%.100s'; there are branch, tag, ref, subdir, checksum, keep-git-dir and submodules", key);
}

static int decode(char *s, Err *err)
{
	char *to = s;
	for (const char *p = s; *p; p++) {
		uint8_t byte = (uint8_t) *p;
		if (*p == '%') {
			const char digits[] = { p[1], p[1] ? p[2] : '\0', '\0' };
			if (strlen(digits) != 2 || hex_decode(digits, 1, &byte) < 0 || !byte)
				return err_set(err, -EINVAL, "'%s' has a '%%' without two hexadecimal digits behind it", s);
			p += 2;
		}
		*to++ = (char) byte;
	}
	*to = '\0';
	return str_is_utf8(s, strlen(s)) ? 0 : err_set(err, -EINVAL, "its query is not UTF-8");
}

static int take_query(GitUrl *u, const char *query, size_t n, Err *err)
{
	for (const char *p = query, *end = query + n; p < end;) {
		const char *stop = memchr(p, '&', (size_t) (end - p));
		AUTO_FREE char *pair = xstrndup(p, (size_t) ((stop ? stop : end) - p));
		char *eq = strchr(pair, '='), *value = eq ? eq + 1 : pair + strlen(pair);
		if (eq)
			*eq = '\0';
		int r = decode(value, err);
		if (r == 0 && *pair)
			r = set_option(u, pair, value, err);
		if (r < 0)
			return r;
		p = stop ? stop + 1 : end;
	}
	return 0;
}

static int take_fragment(GitUrl *u, const char *fragment, Err *err)
{
	AUTO_FREE char *text = xstrdup(fragment);
	char *colon = strchr(text, ':');
	if (colon)
		*colon++ = '\0';
	int r = *text ? set_ref(u, "", text, err) : 0;
	return r < 0 || !colon ? r : set_subdir(u, colon, err);
}

/* ── the remote ───────────────────────────────────────────────────── */

/* scheme://[USER[:PASSWORD]@]HOST[:PORT]/PATH */
static int check_url(const char *remote, const char *rest, char **ret_shown, Err *err)
{
	size_t authority = strcspn(rest, "/");
	const char *host = rest;
	for (size_t i = 0; i < authority; i++)
		if (rest[i] == '@')
			host = rest + i + 1;
	const char *colon = host > rest ? memchr(rest, ':', (size_t) (host - rest)) : NULL;
	size_t n = authority - (size_t) (host - rest);
	if (!n || *host == '-' || *host == ':' || !rest[authority] || !rest[authority + 1] || *rest == '-')
		return err_set(err, -EINVAL, "a host and a path are expected behind '://'");
	if (strspn(host, WORD ".:[]%") < n)
		return err_set(err, -EINVAL, "'%.*s' is no host", (int) n, host);
	*ret_shown = colon ? xasprintf("%.*s:xxxxx@%s", (int) (colon - remote), remote, host) : xstrdup(remote);
	return 0;
}

static int check_remote(GitUrl *u, Err *err)
{
	size_t scp = scp_prefix(u->remote);
	if (has_blank(u->remote) || !str_is_utf8(u->remote, strlen(u->remote)))
		return err_set(err, -EINVAL, "there is a blank or a control character in it");
	u->ssh = scp || str_starts(u->remote, "ssh://");
	if (!scp)
		return check_url(u->remote, strstr(u->remote, "://") + 3, &u->shown, err);
	u->shown = xstrdup(u->remote);
	if (*u->remote == '-' || u->remote[strcspn(u->remote, "@") + 1] == '-')
		return err_set(err, -EINVAL, "a user or host does not begin with '-'");
	return u->remote[scp] && u->remote[scp] != '-' ? 0 : err_set(err, -EINVAL, "a path is expected behind ':'");
}

int git_url_parse(const char *text, GitUrl *ret, Err *err)
{
	AUTO_GIT_URL u = { 0 };
	size_t n = path_end(text);
	const char *query = text[n] == '?' ? text + n + 1 : NULL, *fragment = strchr(text, '#');
	int r = 0;
	if (!git_url_is_context(text) || strlen(text) > TEXT_MAX)
		r = err_set(err, -EINVAL, "no git repository is written like this; https://HOST/PATH.git, ssh://, git:// and USER@HOST:PATH are");
	u.remote = xasprintf("%s%.*s", r == 0 && !git_url_is(text) ? "https://" : "", (int) n, text);
	if (r == 0)
		r = check_remote(&u, err);
	if (r == 0 && query)
		r = take_query(&u, query, fragment ? (size_t) (fragment - query) : strlen(query), err);
	if (r == 0 && fragment)
		r = take_fragment(&u, fragment + 1, err);
	if (r < 0)
		return err_wrap(err, "the repository '%.300s'", u.shown ? u.shown : text);
	if (!u.ref && u.checksum && git_commit_valid(u.checksum))
		u.ref = xstrdup(u.checksum);
	*ret = u;
	u = (GitUrl) { 0 };
	return 0;
}
