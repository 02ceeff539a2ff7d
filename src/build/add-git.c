// SPDX-License-Identifier: Apache-2.0
/*
 * The key of an ADD is made of the commit, not of its files: as long as a branch stays where it is, nothing is fetched.
 */
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "build/add.h"

void add_git_done(AddGit *g)
{
	free(g->name);
	git_url_done(&g->url);
}

static int check_commit(const Instruction *i, const AddGit *g, Err *err)
{
	if (str_empty(i->checksum))
		return 0;
	if (!git_checksum_valid(i->checksum))
		return err_set(err, -EINVAL, "--checksum=%s is no commit of a repository: 7 to 64 hexadecimal digits", i->checksum);
	if (str_starts(g->commit, i->checksum))
		return 0;
	return err_set(err, -EINVAL, "%s: wrong checksum: it is at commit %s, --checksum says %s", g->url.shown, g->commit, i->checksum);
}

int add_git_find(Build *b, const Instruction *i, const char *source, AddGit *ret, Err *err)
{
	__attribute__((cleanup(add_git_done))) AddGit g = { 0 };
	int r = git_url_parse(source, &g.url, err);
	if (r < 0)
		return r;
	g.keep = i->keep_git_dir || g.url.keep_git_dir;
	g.name = xasprintf("%s%s", g.keep ? GIT_CONTEXT_KEEP : GIT_CONTEXT, source);
	if ((r = context_git(&b->context, source, g.commit, err)) < 0 || (r = check_commit(i, &g, err)) < 0)
		return r;
	*ret = g;
	g = (AddGit) { 0 };
	return 0;
}

/* Which repository a commit is of says something of .git alone. */
void add_git_key(const AddGit *g, CacheKey *k)
{
	key_add(k, "git");
	key_add(k, g->commit);
	key_add(k, g->url.subdir);
	key_add(k, g->url.no_submodules ? "alone" : "");
	key_add(k, g->keep ? g->url.shown : NULL);
}

/* Known by their hashes from here on. */
static int fetch(Context *c, Entries *list, size_t from, Err *err)
{
	AUTO_FREE size_t *wanted = xcalloc(list->n + 1, sizeof(size_t));
	size_t n = 0;
	for (size_t k = from; k < list->n; k++) {
		Entry *e = &list->items[k];
		if (e->type == 'f' && e->source)
			wanted[n++] = entries_lower(&c->list, e->source);
		free_and_null(&e->source);
	}
	return context_fetch(c, wanted, n, err);
}

int add_git_take(Build *b, const AddGit *g, const Selection *s, Entries *list, Err *err)
{
	char *const all[] = { (char *) ".", NULL };
	AUTO(destination_done) Destination to = { 0 };
	AUTO(context_done) Context c = { 0 };
	/* Whichever commit: the next one has nearly the same list. */
	AUTO_FREE char *id = xasprintf("%s%s#:%s", GIT_CONTEXT, g->url.shown, g->url.subdir ? g->url.subdir : "");
	size_t from = list->n;
	int r = context_init(&c, b->store.state, b->context.fd, CONTEXT_CLIENT, id, err);
	c.name = g->name;
	if (r < 0 || (r = context_load(&c, err)) < 0)
		return err_wrap(err, "%s", g->url.shown);
	const Tree tree = { .list = &c.list };
	Selection mine = *s;
	mine.tree = &tree;
	mine.sources = all;
	mine.ignore = NULL;
	mine.further = s->further - 1;
	r = select_files(&mine, &to, list, err);
	if (r == 0)
		r = fetch(&c, list, from, err);
	b->context.received += c.received;
	return r < 0 ? err_wrap(err, "%s", g->url.shown) : 0;
}
