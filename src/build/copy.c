// SPDX-License-Identifier: Apache-2.0
/*
 * COPY and ADD. First comes the list of all that they bring, with hashes: the cache is asked with that. Contents are moved
 * only when the answer is no, and then only those that the last result of the same instruction has not.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/add.h"
#include "build/parts.h"
#include "build/select.h"

#define DELTAS_MAX 16     /* layers of one COPY; then it is written anew */
#define LAYERS_ROOM 20    /* as many fewer than may be: no more small layers */

typedef struct Copy {
	Build *b;
	BuildStage *s;
	const Instruction *i;
	Selection selection;
	Tree tree;
	Context *context;        /* whose list the tree is; or NULL */
	View source, below;      /* of --from; the stage so far */
	Ignore *excludes;
	char **local, **remote;  /* sources */
	AddGit *gits;            /* others */
	size_t n_gits;
	char *workdir;
	Destination to;
	Entries list;
	size_t *wanted;          /* indexes into the context's list */
	size_t n_wanted;
	char *unpacked;          /* tmp/NAME/root has what archives had in them */
	View archives;
	char list_hex[DIGEST_HEX_MAX], key[DIGEST_HEX_MAX], quick[DIGEST_HEX_MAX];
	char sources[DIGEST_HEX_MAX];
	char slot[DIGEST_HEX_MAX], any_slot[DIGEST_HEX_MAX]; /* the latter of exported caches: that of any context */
} Copy;

static void copy_done(Copy *c)
{
	view_done(&c->source);
	view_done(&c->below);
	view_done(&c->archives);
	ignore_free(c->excludes);
	strv_free(c->local);
	strv_free(c->remote);
	for (size_t k = 0; k < c->n_gits; k++)
		add_git_done(&c->gits[k]);
	free(c->gits);
	free(c->workdir);
	destination_done(&c->to);
	entries_done(&c->list);
	free(c->wanted);
	if (c->unpacked)
		(void) tree_remove(c->b->store.tmp, c->unpacked);
	free(c->unpacked);
}

/* What it takes. */

static int sort_sources(Copy *c, Err *err)
{
	size_t n = strv_len(c->i->args);
	int r = 0;
	for (size_t k = 0; r == 0 && k + 1 < n; k++) {
		const char *s = c->i->args[k];
		bool add = c->i->kind == INSTRUCTION_ADD;
		if (!add && !c->i->from && (add_is_url(s) || git_url_is(s)))
			r = err_set(err, -EINVAL, "'%s' is a URL, which COPY does not fetch: ADD does", s);
		else if (add && git_url_is(s))
			r = add_git_find(c->b, c->i, s, array_append(c->gits, c->n_gits), err);
		else
			strv_add(add && add_is_url(s) ? &c->remote : &c->local, s);
	}
	return r;
}

/* False: it is not plain which files a source stands for. */
static bool add_source(const Copy *c, const char *source, Entries *some)
{
	const Entries *all = &c->context->list;
	const Tree t = { .list = all };
	AUTO_STRV char **paths = NULL;
	if (tree_glob(&t, source, c->i->parents, &paths, NULL) < 0)
		return false;
	for (char **p = paths; p && *p; p++) {
		const Entry *e = **p ? entries_find(all, *p) : NULL;
		if (!e || e->type == 'l')
			return false;
		for (size_t i = entries_lower(all, *p); i < all->n && str_starts(all->items[i].path, *p); i++)
			if (path_below(all->items[i].path, *p))
				*array_append(some->items, some->n) = all->items[i];
	}
	return true;
}

/* What it takes of the context, or could, without its times: the same on every machine. */
static int digest_sources(Copy *c, Err *err)
{
	Entries some = { 0 }; /* borrows what it has */
	bool plain = true;
	int r = context_load(c->context, err);
	if (r < 0)
		return r;
	for (char **s = c->local; plain && s && *s; s++)
		plain = add_source(c, *s, &some);
	entries_digest(plain ? &some : &c->context->list, c->sources);
	free(some.items);
	return 0;
}

/* What it takes from; ret_input stands for all that can be copied, or is NULL. 1: the stage or image is not there yet. */
static int find_source(Copy *c, const LayerStack **ret_layers, const char **ret_input, Err *err)
{
	BuildSource from = { .context = &c->b->context };
	int r = c->i->from ? build_source(c->b, c->s, c->s->at, c->i->from, &from, err) : c->local ? build_open_context(c->b, err) : 0;
	*ret_layers = NULL;
	*ret_input = NULL;
	c->workdir = config_workdir(c->s->doc);
	if (r != 0)
		return r;
	c->context = from.context;
	if (!from.context) {
		*ret_layers = from.layers;
		*ret_input = *from.layers->chain ? from.layers->chain : "scratch";
	} else if (c->local && (c->b->o.n_cache_from || c->b->o.n_cache_to)) {
		r = digest_sources(c, err);
		*ret_input = c->sources;
	} else if (c->local && *from.context->hash) {
		*ret_input = from.context->hash;
	}
	return r;
}

static int prepare(Copy *c, const LayerStack *layers, Err *err)
{
	const Instruction *i = c->i;
	Selection *s = &c->selection;
	int r = layers ? build_view(c->b, layers, &c->source, err) : 0;
	if (r < 0 || (r = build_view(c->b, &c->s->layers, &c->below, err)) < 0)
		return r;
	if (layers)
		c->tree.view = &c->source;
	else
		c->tree.list = &c->context->list;
	*s = (Selection) {
		.tree = &c->tree, .below = &c->below, .workdir = c->workdir, .sources = c->local, .destination = i->args[strv_len(i->args) - 1],
		.further = strv_len(c->remote) + c->n_gits + i->n_heredocs, .ignore = i->from ? NULL : c->b->ignore, .ignore_name = c->b->ignore_name,
		.context = c->context != NULL,
		.parents = i->parents, .link = i->link, .chmod = !str_empty(i->chmod), .mode = i->chmod,
	};
	if (i->excludes && (r = ignore_from_patterns("--exclude", i->excludes, &c->excludes, err)) < 0)
		return r;
	s->excludes = c->excludes;
	if (str_empty(i->chown))
		return 0;
	s->owner = true;
	return build_owner(&c->below, i->chown, &s->uid, &s->gid, err);
}

static char *path_for(const Copy *c, const char *name)
{
	return c->to.directory ? xasprintf("%s%s%s", c->to.path, *c->to.path ? "/" : "", name) : xstrdup(c->to.path);
}

/* Takes ownership of what is in *e. */
static int add_entry(Copy *c, Entry *e, char *path, Err *err)
{
	e->path = path;
	e->uid = e->gid = 0;
	int r = select_attributes(&c->selection, e, err);
	if (r == 0 && !entry_path_valid(path))
		r = err_set(err, -EINVAL, "'/%.200s' is no valid path in an image", path);
	if (r < 0)
		entry_done(e);
	else
		*array_append(c->list.items, c->list.n) = *e;
	return r;
}

static int take_heredocs(Copy *c, Err *err)
{
	int r = 0;
	for (size_t k = 0; r == 0 && k < c->i->n_heredocs; k++) {
		const Heredoc *h = &c->i->heredocs[k];
		AUTO_FILES_WRITER w = FILES_WRITER_INIT;
		Entry e = { .type = 'f', .mode = 0644, .size = (int64_t) strlen(h->text), .mtime = c->b->now };
		if ((r = files_begin(&c->b->context.files, &w, err)) < 0 || (r = files_append(&w, h->text, strlen(h->text), err)) < 0 ||
			(r = files_finish(&w, e.hash, err)) < 0)
			return r;
		r = add_entry(c, &e, path_for(c, h->name), err);
	}
	return r;
}

static int take_urls(Copy *c, Err *err)
{
	int r = 0;
	for (char **u = c->remote; r == 0 && u && *u; u++) {
		Entry e;
		AUTO_FREE char *name = add_url_name(*u);
		if (c->to.directory && !name)
			return err_set(err, -EINVAL, "%s has no file name: give the destination one, without a '/' at its end", *u);
		if ((r = add_fetch(c->b, *u, c->i->checksum, &e, err)) < 0)
			return r;
		e.named = c->i->unpack == 1;
		r = add_entry(c, &e, path_for(c, name ? name : ""), err);
	}
	return r;
}

/* Files of the context are known by their hashes from here on; which of them they are is kept apart. */
static void leave_context(Copy *c)
{
	if (!c->tree.list)
		return;
	c->wanted = xcalloc(c->list.n + 1, sizeof(size_t));
	for (size_t k = 0; k < c->list.n; k++) {
		Entry *e = &c->list.items[k];
		size_t at = e->source ? entries_lower(c->tree.list, e->source) : c->tree.list->n;
		c->wanted[k] = at < c->tree.list->n && str_eq(c->tree.list->items[at].path, e->source) ? at : SIZE_MAX;
		free_and_null(&e->source);
	}
	c->n_wanted = c->list.n;
}

static int take_all(Copy *c, Err *err)
{
	int r = c->local ? select_files(&c->selection, &c->to, &c->list, err) : select_destination(&c->selection, c->selection.further, &c->to, err);
	if (r == 0)
		r = take_heredocs(c, err);
	if (r == 0)
		r = take_urls(c, err);
	if (r < 0 || (r = select_finish(&c->list, err)) < 0)
		return r;
	leave_context(c);
	entries_digest(&c->list, c->list_hex);
	return 0;
}

/* Keys. */

static const char *what_it_is(const Instruction *i)
{
	return i->kind == INSTRUCTION_ADD ? i->unpack == 0 ? "add" : "unpack" : "copy";
}

/* The flags as they are written: what they mean lies in the layers below. */
static void add_words(const Copy *c, CacheKey *k)
{
	key_add(k, c->i->chown);
	key_add(k, c->i->chmod);
	key_add(k, what_it_is(c->i));
}

static void add_flags(const Copy *c, CacheKey *k)
{
	char ids[32];
	(void) snprintf(ids, sizeof(ids), "%d:%u:%u", c->selection.owner, c->selection.uid, c->selection.gid);
	key_add(k, ids);
	key_add(k, c->i->chmod);
	key_add(k, what_it_is(c->i));
}

/* By what the instruction says and all that it could copy: found without looking at a file, in the layers below, too. */
static void quick_key(Copy *c, const char *input)
{
	CacheKey k = { BUF_INIT };
	key_add(&k, c->i->from ? "from" : "context");
	key_add(&k, c->s->layers.chain);
	key_add(&k, input);
	key_add_strv(&k, c->i->args);
	key_add_strv(&k, c->i->excludes);
	key_add(&k, c->workdir);
	key_add(&k, c->i->parents ? "parents" : c->i->link ? "link" : "");
	add_words(c, &k);
	key_finish(&k, c->quick);
}

/* By what it brings. */
static void content_key(Copy *c)
{
	CacheKey k = { BUF_INIT };
	key_add(&k, "copy");
	key_add(&k, c->s->layers.chain);
	key_add(&k, c->list_hex);
	key_add(&k, c->to.path);
	add_flags(c, &k);
	for (size_t n = 0; n < c->n_gits; n++)
		add_git_key(&c->gits[n], &k);
	if (c->n_gits)
		key_add_strv(&k, c->i->excludes);
	key_finish(&k, c->key);
}

/* By where it stands and what it says: the last result of this instruction, whatever the files were. */
static void slot_key(const Copy *c, const char *context, char hex[DIGEST_HEX_MAX])
{
	CacheKey k = { BUF_INIT };
	key_add(&k, "slot");
	key_add(&k, c->s->layers.chain);
	key_add(&k, context);
	key_add_strv(&k, c->i->args);
	key_add(&k, c->i->from);
	key_add(&k, c->workdir);
	add_words(c, &k);
	key_finish(&k, hex);
}

static void note_inputs(Copy *c)
{
	json_t *text = json_string(c->i->text);
	json_t *inputs = json_pack("{s:s, s:s}", "below", c->s->layers.chain, "list", c->list_hex);
	(void) json_object_set_new(inputs, "text", text ? text : json_string(""));
	if (c->n_gits)
		(void) json_object_set_new(inputs, "commit", json_string(c->gits[0].commit));
	why_inputs(c->b, c->s, inputs);
}

static void keep_slot(Copy *c)
{
	json_t *now = cache_get(&c->b->cache, c->slot);
	if (!str_eq(json_string_value(json_object_get(now, "same")), c->key))
		step_alias(c->b, c->slot, c->key, NULL);
	json_decref(now);
	if (c->b->o.n_cache_to) {
		now = json_pack("{s:s}", "same", c->key);
		export_note(c->b, c->any_slot, now);
		json_decref(now);
	}
}

static void slot_keys(Copy *c)
{
	slot_key(c, c->b->o.context, c->slot);
	slot_key(c, NULL, c->any_slot);
}

/* 1: the step is done. */
static int look_quickly(Copy *c, const char *input, Err *err)
{
	quick_key(c, input);
	json_t *alias = step_find(c->b, c->quick);
	const char *key = json_string_value(json_object_get(alias, "same")), *list = json_string_value(json_object_get(alias, "list"));
	int r = 0;
	if (key && list) {
		(void) snprintf(c->key, sizeof(c->key), "%s", key);
		(void) snprintf(c->list_hex, sizeof(c->list_hex), "%s", list);
		note_inputs(c);
		r = step_cached(c->b, c->s, c->key, err);
	}
	json_decref(alias);
	if (r == 1) {
		step_found(c->b, c->quick);
		slot_keys(c);
		keep_slot(c);
	}
	return r;
}

/* What it makes. */

/* The contents of what is written, in the mirror. */
static int fetch_contents(Copy *c, const bool *skip, Err *err)
{
	AUTO_FREE size_t *wanted = xcalloc(c->n_wanted + 1, sizeof(size_t));
	size_t n = 0;
	for (size_t k = 0; k < c->n_wanted; k++)
		if (c->wanted[k] != SIZE_MAX && (!skip || !skip[k]))
			wanted[n++] = c->wanted[k];
	return n ? context_fetch(c->context, wanted, n, err) : 0;
}

/* Archives that ADD names: what is in them takes their place in the list. */
static int unpack_archives(Copy *c, Err *err)
{
	Entries old = c->list;
	AUTO_CLOSE int dir = -1;
	int r = 0;
	c->list = (Entries) { 0 };
	for (size_t k = 0; k < old.n; k++) {
		Entry *e = &old.items[k];
		if (r < 0 || !e->named || e->type != 'f' || !add_is_archive(c->b, e->hash)) {
			*array_append(c->list.items, c->list.n) = *e;
			continue;
		}
		if (!c->unpacked && (r = store_stage_begin(&c->b->store, &c->unpacked, err)) == 0) {
			AUTO_FREE char *root = xasprintf("%s/root", c->unpacked);
			dir = openat(c->b->store.tmp, root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			r = dir < 0 ? err_errno(err, -errno, "tmp/%s", root) : 0;
		}
		char number[24];
		(void) snprintf(number, sizeof(number), "%zu", k);
		if (r == 0 && (r = add_unpack(c->b, &c->selection, e->hash, dir, number, c->to.path, &c->list, err)) < 0)
			(void) err_wrap(err, "unpacking '/%s'", e->path);
		entry_done(e);
	}
	free(old.items);
	if (r < 0 || dir < 0)
		return r;
	view_add(&c->archives, steal_fd(&dir));
	if ((r = select_finish(&c->list, err)) < 0)
		return r;
	entries_digest(&c->list, c->list_hex);
	return 0;
}

/* Repositories, when the cache does not have them. All contents are in the mirror then. */
static int take_gits(Copy *c, Err *err)
{
	int r = fetch_contents(c, NULL, err);
	c->n_wanted = 0;
	for (size_t k = 0; r == 0 && k < c->n_gits; k++) {
		Selection s = c->selection;
		s.further += strv_len(c->local);
		r = add_git_take(c->b, &c->gits[k], &s, &c->list, err);
	}
	if (r < 0 || (r = select_finish(&c->list, err)) < 0)
		return r;
	entries_digest(&c->list, c->list_hex);
	return 0;
}

static LayerSpec spec_of(const Copy *c)
{
	return (LayerSpec) {
		.list = &c->list,
		.below = &c->below,
		.files = &c->b->context.files,
		.from = c->unpacked ? &c->archives : c->tree.view,
		.uid = c->selection.uid,
		.gid = c->selection.gid,
		.now = c->b->now,
	};
}

/* On top of what the same instruction made last. 1: that is not possible. */
static int make_delta(Copy *c, LayerStack *made, Err *err)
{
	AUTO(layer_stack_done) LayerStack old = { 0 };
	AUTO_ENTRIES before = { 0 };
	AUTO_STRV char **gone = NULL;
	AUTO_FREE bool *skip = NULL;
	char diff_id[sizeof(DIGEST_PREFIX) + 64];
	LayerInfo info;
	LayerSpec spec = spec_of(c);
	if (!step_may_reuse(c->b, c->s))
		return 1;
	json_t *record = step_record(c->b, c->slot);
	if (!record && c->b->o.n_cache_from)
		record = step_record(c->b, c->any_slot);
	const char *hex = json_string_value(json_object_get(record, "list"));
	bool usable = hex && step_record_layers(c->b, record, &old) == 1 && old.n && old.n < DELTAS_MAX &&
		old.n + c->s->layers.n + LAYERS_ROOM < LIMIT_IMAGE_LAYERS && build_list(c->b, hex, &before) == 0;
	json_decref(record);
	int r = usable ? layer_delta(&before, &c->list, &c->below, &skip, &gone, err) : 1;
	entries_done(&before); /* large, and not needed for what takes memory itself */
	if (r != 0 || (r = fetch_contents(c, skip, err)) < 0)
		return r;
	spec.skip = skip;
	spec.gone = gone;
	if ((r = layer_make(&c->b->store, &spec, diff_id, &info, err)) < 0)
		return r;
	for (size_t k = 0; k < old.n; k++)
		layer_stack_push(made, old.diff_ids[k], old.sizes[k]);
	layer_stack_push(made, diff_id, info.size);
	return 0;
}

static int make_whole(Copy *c, LayerStack *made, Err *err)
{
	char diff_id[sizeof(DIGEST_PREFIX) + 64];
	LayerInfo info;
	LayerSpec spec = spec_of(c);
	int r = fetch_contents(c, NULL, err);
	if (r < 0 || !c->list.n || (r = layer_make(&c->b->store, &spec, diff_id, &info, err)) < 0)
		return r;
	layer_stack_push(made, diff_id, info.size);
	return 0;
}

static int make(Copy *c, Err *err)
{
	AUTO(layer_stack_done) LayerStack made = { 0 };
	int r = c->n_gits ? take_gits(c, err) : 0;
	if (r < 0)
		return r;
	if (c->i->kind == INSTRUCTION_ADD && c->i->unpack != 0 && ((r = fetch_contents(c, NULL, err)) < 0 || (r = unpack_archives(c, err)) < 0))
		return r;
	/* The contents of --from have hashes by now, those of an archive, too. */
	r = c->unpacked ? 1 : make_delta(c, &made, err);
	size_t reused = r == 0 ? made.n - 1 : 0;
	if (r == 1)
		r = make_whole(c, &made, err);
	if (r < 0 || (r = cache_put_list(&c->b->cache, c->list_hex, &c->list, err)) < 0)
		return r;
	step_made(c->b, c->s, c->key, &made, reused, json_pack("{s:s}", "list", c->list_hex));
	return 0;
}

/* 1: it waits. */
static int run(Copy *c, Err *err)
{
	const LayerStack *layers;
	const char *input;
	char noted[DIGEST_HEX_MAX];
	int r = sort_sources(c, err);
	if (r < 0 || (r = find_source(c, &layers, &input, err)) != 0)
		return r;
	if (c->remote || c->n_gits || c->i->n_heredocs)
		input = NULL; /* is not all */
	if (input && (r = look_quickly(c, input, err)) != 0)
		return r < 0 ? r : 0;
	if (!layers && c->local && (r = context_load(c->context, err)) < 0)
		return r;
	if ((r = prepare(c, layers, err)) < 0 || (r = take_all(c, err)) < 0)
		return r;
	content_key(c);
	slot_keys(c);
	note_inputs(c);
	memcpy(noted, c->list_hex, sizeof(noted)); /* what comes out of archives is another list */
	r = step_cached(c->b, c->s, c->key, err);
	if (r == 0)
		r = make(c, err);
	if (r < 0)
		return r;
	if (input)
		step_alias(c->b, c->quick, c->key, json_pack("{s:s}", "list", noted));
	keep_slot(c);
	return 0;
}

int step_copy(Build *b, BuildStage *s, const Instruction *i, Err *err)
{
	AUTO(copy_done) Copy c = { .b = b, .s = s, .i = i };
	return run(&c, err);
}
