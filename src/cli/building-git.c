// SPDX-License-Identifier: Apache-2.0
#include "cli/building-git.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/signals.h"

/* HOST or HOST:PORT of http://[USER@]HOST/…; owned by the caller. */
static char *host_of(const char *remote)
{
	const char *begin = strstr(remote, "://") + 3;
	size_t n = strcspn(begin, "/");
	AUTO_FREE char *authority = xstrndup(begin, n);
	const char *at = strrchr(authority, '@');
	return xstrdup(at ? at + 1 : authority);
}

/* 1: `ret` is a header; 0: there is no such secret. */
static int header_from(const Building *b, const char *id, bool token, char **ret, Err *err)
{
	AUTO_BUF value = BUF_INIT;
	int r = building_secret(b, id, &value, err);
	if (r <= 0)
		return r;
	while (value.len && (value.data[value.len - 1] == '\n' || value.data[value.len - 1] == '\r'))
		value.data[--value.len] = '\0';
	if (!value.len || strlen(value.data) != value.len || str_has_control(value.data))
		return err_set(err, -EINVAL, "secret '%s': one line of text is expected", id);
	if (!token) {
		*ret = xasprintf("Authorization: %s", value.data);
		return 1;
	}
	AUTO_FREE char *pair = xasprintf("x-access-token:%s", value.data);
	AUTO_FREE char *code = base64_encode(pair, strlen(pair));
	*ret = xasprintf("Authorization: basic %s", code);
	return 1;
}

static int find_header(const Building *b, const GitUrl *u, char **ret, Err *err)
{
	static const char *const names[] = { "GIT_AUTH_HEADER", "GIT_AUTH_TOKEN" };
	AUTO_FREE char *host = host_of(u->remote);
	int r = 0;
	for (size_t i = 0; r == 0 && i < 2 * ARRAY_SIZE(names); i++) {
		AUTO_FREE char *id = i < ARRAY_SIZE(names) ? xasprintf("%s.%s", names[i], host) : xstrdup(names[i - ARRAY_SIZE(names)]);
		r = header_from(b, id, i % ARRAY_SIZE(names) == 1, ret, err);
	}
	return r < 0 ? r : 0;
}

/** What git may use; `ret_header` (the caller's) is what ret->header points to. */
static int building_git_access(const Building *b, const GitUrl *u, bool own, GitAccess *ret, char **ret_header, Err *err)
{
	*ret_header = NULL;
	int r = str_starts(u->remote, "http") ? find_header(b, u, ret_header, err) : 0;
	*ret = (GitAccess) { .own = own, .agent = build_agents_socket(&b->agents, "default"), .header = *ret_header };
	return r;
}

void building_repository_done(BuildingRepository *r)
{
	free(r->url);
	git_url_done(&r->parsed);
}

int building_repository_find(const Building *b, const char *url, bool (*tick)(void *user), void *user, BuildingRepository *ret, Err *err)
{
	__attribute__((cleanup(building_repository_done))) BuildingRepository x = { .url = xstrdup(url) };
	AUTO_FREE char *header = NULL;
	GitRunner g = { .tick = tick, .user = user };
	int r = git_url_parse(url, &x.parsed, err);
	if (r < 0 || (r = building_git_access(b, &x.parsed, false, &g.access, &header, err)) < 0 || (r = git_resolve(&x.parsed, &g, x.commit, err)) < 0)
		return r;
	*ret = x;
	x = (BuildingRepository) { 0 };
	return 0;
}

int building_repository_fetch(const Building *b, const BuildingRepository *x, bool keep, bool (*tick)(void *user), void *user, GitCheckout *ret, Err *err)
{
	AUTO_FREE char *header = NULL;
	GitRunner g = { .tick = tick, .user = user };
	int r = building_git_access(b, &x->parsed, false, &g.access, &header, err);
	return r < 0 ? r : git_checkout(&x->parsed, x->commit, keep, &g, ret, err);
}

static bool interrupted(void *user)
{
	(void) user;
	return signals_ended();
}

/* BuildKit's argument. */
static bool keeps_git_dir(const Building *b)
{
	const char *text = json_string_value(json_object_get(json_object_get(b->options, "args"), "BUILDKIT_CONTEXT_KEEP_GIT_DIR"));
	return str_eq(text, "1") || (text && strcasecmp(text, "true") == 0);
}

int building_git_fetch(const Building *b, const GitUrl *u, bool (*tick)(void *user), void *user, GitCheckout *ret, Err *err)
{
	AUTO_FREE char *header = NULL;
	GitRunner g = { .tick = tick, .user = user };
	char commit[GIT_COMMIT_MAX];
	int r = building_git_access(b, u, true, &g.access, &header, err);
	if (r == 0)
		r = git_resolve(u, &g, commit, err);
	return r < 0 ? r : git_checkout(u, commit, u->keep_git_dir || keeps_git_dir(b), &g, ret, err);
}

char *building_repository_id(const GitUrl *u)
{
	return xasprintf("%s#:%s", u->shown, u->subdir ? u->subdir : "");
}

int building_git_context(Building *b, const char *url, Err *err)
{
	AUTO_GIT_URL u = { 0 };
	int r = git_url_parse(url, &u, err);
	if (r == 0)
		r = build_agents_start(&b->agents, err);
	if (r < 0)
		return r;
	if (!b->quiet)
		fprintf(stderr, "fetching %s%s%s\n", u.shown, u.ref ? "#" : "", u.ref ? u.ref : "");
	signals_catch();
	r = building_git_fetch(b, &u, interrupted, NULL, &b->checkout, err);
	signals_release();
	if (r < 0)
		return r;
	str_set(&b->context, b->checkout.path);
	free(b->context_id);
	b->context_id = building_repository_id(&u);
	return 0;
}
