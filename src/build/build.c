// SPDX-License-Identifier: Apache-2.0
/*
 * The order of things that must not be lost or half there: layers are staged under tmp/, one store_commit makes them and the
 * image's configuration durable, then come the records of the cache that name them, then the report. What a failed build has
 * finished is committed, too: the next one goes on from there. A kill at any moment leaves temporary files and perhaps
 * layers that nothing names, both for the next sweep.
 */
#include "build/build.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/parts.h"
#include "image/manifest.h"
#include "image/report.h"
#include "image/sandbox.h"
#include "model/image.h"

#define LOCK_POLL_MSEC 200 /* how often a lock that another build holds is tried */
#define MMAP_THRESHOLD (64 << 10)

/* Layers. */

void layer_stack_push(LayerStack *l, const char *diff_id, int64_t size)
{
	AUTO_FREE char *text = xasprintf(DIGEST_PREFIX "%s %s", l->chain, diff_id);
	size_t n = l->n;
	*array_append(l->sizes, n) = size;
	*array_append(l->diff_ids, l->n) = xstrdup(diff_id);
	if (*l->chain)
		digest_sha256(text, strlen(text), l->chain);
	else
		(void) snprintf(l->chain, sizeof(l->chain), "%s", diff_id + strlen(DIGEST_PREFIX));
}

void layer_stack_copy(const LayerStack *from, LayerStack *to)
{
	*to = (LayerStack) { 0 };
	for (size_t i = 0; i < from->n; i++)
		layer_stack_push(to, from->diff_ids[i], from->sizes[i]);
}

void layer_stack_done(LayerStack *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->diff_ids[i]);
	free(l->diff_ids);
	free(l->sizes);
	*l = (LayerStack) { 0 };
}

char *build_layer_path(const Build *b, const char *diff_id)
{
	char name[33];
	for (size_t i = 0; i < b->store.n_staged; i++)
		if (b->store.staged[i].tmp && str_eq(b->store.staged[i].diff_id, diff_id))
			return xasprintf("tmp/%s/root", b->store.staged[i].tmp);
	layer_dir_name(diff_id, name);
	return xasprintf("layers/%s", name);
}

int build_view(Build *b, const LayerStack *l, View *ret, Err *err)
{
	AUTO_VIEW v = { 0 };
	int r = import_layers(b, l, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < l->n; i++) {
		AUTO_FREE char *path = build_layer_path(b, l->diff_ids[i]);
		int fd = openat(b->store.state, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return err_errno(err, -errno, "layer %s", l->diff_ids[i]);
		view_add(&v, fd);
	}
	*ret = v;
	v = (View) { 0 };
	return 0;
}

int build_commit(Build *b, Err *err)
{
	int r = store_commit(&b->store, err);
	for (size_t i = 0; r == 0 && i < b->n_pending; i++)
		r = cache_put(&b->cache, b->pending[i].key, steal_ptr(&b->pending[i].record), err);
	for (size_t i = 0; i < b->n_pending; i++)
		json_decref(b->pending[i].record);
	free(b->pending);
	b->pending = NULL;
	b->n_pending = 0;
	return r;
}

/* The context. */

static int read_ignore(Build *b, const char *text, size_t n, Err *err)
{
	return ignore_parse(b->ignore_name, text, n, &b->ignore, err);
}

/* A tar has all files: those that the ignore file names go. */
static void drop_ignored(Build *b, Entries *l)
{
	size_t kept = 0;
	for (size_t i = 0; i < l->n; i++) {
		Entry *e = &l->items[i];
		/* As docker: the file that is built from, and the ignore file, may be ignored without harm to the build. */
		if (ignore_match(b->ignore, e->path, NULL))
			entry_done(e);
		else
			l->items[kept++] = *e;
	}
	l->n = kept;
}

/* A small file of a context that came as a tar. -ENOENT. */
static int context_file(Build *b, const char *path, size_t max, Buf *ret)
{
	AUTO_FREE char *clean = path_in_root("", path);
	const Entry *e = entries_find(&b->context.list, clean);
	if (!e || e->type != 'f')
		return -ENOENT;
	AUTO_CLOSE int fd = files_read(&b->context.files, e->hash);
	char proc[40];
	if (fd < 0)
		return fd;
	(void) snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	return file_read(AT_FDCWD, proc, max, ret);
}

/* The Dockerfile and the ignore file are in the tar. */
static int open_tar(Build *b, Buf *ret_dockerfile, Err *err)
{
	AUTO_FREE char *own = ignore_name_for(b->o.dockerfile_name);
	AUTO_BUF ignore = BUF_INIT;
	int r = context_load(&b->context, err);
	if (r < 0)
		return r;
	r = context_file(b, b->o.dockerfile_name, LIMIT_DOCKERFILE_BYTES, ret_dockerfile);
	if (r < 0 && !b->o.dockerfile)
		return err_errno(err, r, "'%s' in the build context", b->o.dockerfile_name);
	if (b->o.ignore)
		return 0;
	if (context_file(b, own, LIMIT_DOCKERFILE_BYTES, &ignore) == 0)
		str_set(&b->ignore_name, own);
	else if (context_file(b, ".dockerignore", LIMIT_DOCKERFILE_BYTES, &ignore) < 0)
		return 0;
	return read_ignore(b, buf_cstr(&ignore), ignore.len, err);
}

static int need_context(const Build *b, Err *err)
{
	return b->o.source == CONTEXT_NONE ? err_set(err, -EINVAL, "there is no build context to copy from") : 0;
}

int build_context(Build *b, Err *err)
{
	int r = need_context(b, err);
	return r < 0 ? r : context_load(&b->context, err);
}

int build_open_context(Build *b, Err *err)
{
	int r = need_context(b, err);
	return r < 0 ? r : context_open(&b->context, err);
}

/* Stages. */

/* Is there a handler for programs of this architecture, one that works inside of containers, too (flag F)? */
static bool is_emulated(const char *machine)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_FREE char *path = xasprintf("/proc/sys/fs/binfmt_misc/qemu-%s", machine);
	if (file_read(AT_FDCWD, path, 4096, &b) < 0 || !str_starts(buf_cstr(&b), "enabled"))
		return false;
	const char *flags = strstr(b.data, "\nflags: ");
	return flags && memchr(flags + 8, 'F', strcspn(flags + 8, "\n"));
}

static bool runs_here(const char *host, const char *arch)
{
	static const char *const machines[][2] = { { "arm64", "aarch64" }, { "amd64", "x86_64" }, { "386", "i386" } };
	const char *machine = arch;
	if (str_eq(host, arch) || (str_eq(host, "amd64") && str_eq(arch, "386")) || (str_eq(host, "arm64") && str_eq(arch, "arm")))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
		if (str_eq(machines[i][0], arch))
			machine = machines[i][1];
	return is_emulated(machine);
}

static bool has_run(const Stage *s)
{
	for (size_t i = 0; i < s->n_instructions; i++)
		if (s->instructions[i].kind == INSTRUCTION_RUN)
			return true;
	return false;
}

/* The platform that a stage is for: what it says, else its base's. */
static const char *stage_platform(const Build *b, const GraphStage *g)
{
	for (; !g->platform && g->base.kind == FROM_STAGE; g = b->stages[g->base.stage].plan)
		;
	return g->platform ? g->platform : b->o.platform;
}

/* Before anything is built: what cannot run here is said now. */
static int check_emulation(Build *b, Err *err)
{
	const char *host = platform_host(NULL);
	for (size_t i = 0; i < b->graph->n_stages; i++) {
		const GraphStage *g = &b->graph->stages[i];
		const Stage *s = &b->file->stages[g->stage];
		AUTO_FREE char *arch = NULL;
		AUTO_FREE char *variant = NULL;
		int r = platform_split(stage_platform(b, g), &arch, &variant, err);
		if (r < 0)
			return instruction_wrap(b->file, &s->from, err);
		if (!has_run(s) || runs_here(host, arch))
			continue;
		(void) err_set(err, -ENOEXEC,
			"programs for %s do not run on this %s machine: install qemu-user-static (apt install qemu-user-static), or let the stage run here "
			"with FROM --platform=$BUILDPLATFORM", arch, host);
		return instruction_wrap(b->file, &s->from, err);
	}
	return 0;
}

static int plan(Build *b, Err *err)
{
	for (char **c = b->o.contexts; c && *c; c++)
		strv_take(&b->context_names, xstrndup(*c, strcspn(*c, "=")));
	int r = dockerfile_graph(b->file, b->globals, b->context_names, b->o.target, &b->graph, err);
	if (r < 0)
		return r;
	b->n_stages = b->file->n_stages;
	b->stages = xcalloc(b->n_stages, sizeof(*b->stages));
	for (size_t i = 0; i < b->n_stages; i++) {
		b->stages[i].def = &b->file->stages[i];
		b->stages[i].index = i;
	}
	for (size_t i = 0; i < b->graph->n_stages; i++) {
		BuildStage *s = &b->stages[b->graph->stages[i].stage];
		s->plan = &b->graph->stages[i];
		b->all_steps += (json_int_t) s->def->n_instructions + 1;
	}
	b->target = b->graph->stages[b->graph->n_stages - 1].stage;
	return check_emulation(b, err);
}

static int check_size(Build *b, Err *err)
{
	size_t n = 0;
	for (size_t i = 0; i < b->n_stages; i++)
		n += b->stages[i].def->n_instructions + 1;
	return n > LIMIT_DOCKERFILE_STEPS ? err_set(err, -EINVAL, "%s: more than %d instructions", b->file->name, LIMIT_DOCKERFILE_STEPS) : 0;
}

int build_warn(Build *b, Err *err)
{
	for (; b->warned < b->file->n_warnings; b->warned++)
		build_event(json_pack("{s:s, s:s}", "warning", b->file->warnings[b->warned].text, "rule", b->file->warnings[b->warned].rule));
	return check_result(b->file, err);
}

static void warn_of_arguments(Build *b)
{
	AUTO_STRV char **unused = dockerfile_unused_args(b->file, b->o.args);
	for (char **a = unused; a && *a; a++) {
		AUTO_FREE char *text = xasprintf("%s: no ARG takes the build argument '%s'", b->file->name, *a);
		build_event(json_pack("{s:s}", "warning", text));
	}
}

static int read_file(Build *b, Err *err)
{
	AUTO_BUF text = BUF_INIT;
	BuildArguments a = { .args = b->o.args, .build_platform = b->o.build_platform, .target_platform = b->o.platform, .target_stage = b->o.target };
	int r = b->o.source == CONTEXT_TAR ? open_tar(b, &text, err) : 0;
	if (r == 0 && b->o.ignore)
		r = read_ignore(b, b->o.ignore, strlen(b->o.ignore), err);
	if (r < 0)
		return r;
	if (b->o.source == CONTEXT_TAR)
		drop_ignored(b, &b->context.list);
	else if (!b->o.dockerfile)
		return err_set(err, -EINVAL, "there is no Dockerfile in the build's options");
	r = b->o.dockerfile ? dockerfile_parse(b->o.dockerfile_name, b->o.dockerfile, strlen(b->o.dockerfile), &b->file, err) :
			      dockerfile_parse(b->o.dockerfile_name, buf_cstr(&text), text.len, &b->file, err);
	if (r < 0 || (r = scope_new_global(b->file, &a, &b->globals, err)) < 0)
		return r;
	check_bases(b->file, b->globals, &a);
	if ((r = build_warn(b, err)) < 0 || (r = plan(b, err)) < 0 || (r = check_size(b, err)) < 0)
		return r;
	warn_of_arguments(b);
	return 0;
}

/* Running. */

static int advance(Build *b, bool *ret_moved, bool *ret_locked, Err *err)
{
	for (size_t i = 0; i < b->n_stages; i++) {
		BuildStage *s = &b->stages[i];
		if (!s->plan || s->done)
			continue;
		int r = build_stage_advance(b, s, err);
		if (r < 0)
			return r;
		*ret_moved = *ret_moved || r == 1;
		*ret_locked = *ret_locked || s->locked_out;
	}
	return 0;
}

static int run_stages(Build *b, Err *err)
{
	while (!b->stages[b->target].done) {
		bool moved = false, locked = false;
		int r = advance(b, &moved, &locked, err);
		if (r < 0)
			return r;
		if (!moved && !b->stages[b->target].done && (r = build_wait(b, locked ? LOCK_POLL_MSEC : -1, err)) < 0)
			return r;
	}
	return 0;
}

/* The result. */

static void set_labels(Build *b, json_t *doc)
{
	json_t *config = json_object_get(doc, "config"), *labels = json_object_get(config, "Labels");
	if (b->o.labels && !json_is_object(labels)) {
		labels = json_object();
		(void) json_object_set_new(config, "Labels", labels);
	}
	for (char **l = b->o.labels; l && *l; l++) {
		const char *eq = strchr(*l, '=');
		AUTO_FREE char *name = xstrndup(*l, (size_t) (eq - *l));
		(void) json_object_set_new(labels, name, json_string(eq + 1));
	}
}

/* The configuration's text, with layers and date. Owned by the caller. */
static char *finish_config(json_t *doc, const LayerStack *l, const char *created)
{
	json_t *ids = json_array();
	for (size_t i = 0; i < l->n; i++)
		(void) json_array_append_new(ids, json_string(l->diff_ids[i]));
	(void) json_object_set_new(doc, "rootfs", json_pack("{s:s, s:o}", "type", "layers", "diff_ids", ids));
	(void) json_object_set_new(doc, "created", json_string(created));
	char *text = json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);
	if (!text)
		abort();
	return text;
}

/* What the image says, but for its dates: the key of the one that was made of the same before. */
static void image_key(json_t *doc, const LayerStack *l, char hex[DIGEST_HEX_MAX])
{
	json_t *copy = json_deep_copy(doc), *history = json_object_get(copy, "history");
	for (size_t i = 0; i < json_array_size(history); i++)
		(void) json_object_del(json_array_get(history, i), "created");
	AUTO_FREE char *text = finish_config(copy, l, "");
	json_decref(copy);
	CacheKey k = { BUF_INIT };
	key_add(&k, "image");
	key_add(&k, text);
	key_finish(&k, hex);
}

static bool image_is_here(Build *b, const char *id)
{
	AUTO_BUF text = BUF_INIT;
	return id && digest_valid(id) && store_read_blob(&b->store, id, &text, NULL) == 0;
}

static int stage_image(Build *b, const BuildStage *s, char **ret_id, Err *err)
{
	char hex[DIGEST_HEX_MAX];
	Image *image __attribute__((cleanup(image_freep))) = NULL;
	AUTO_FREE char *text = finish_config(s->doc, &s->layers, b->created);
	/* What is stored is what will be read. */
	int r = image_from_config(text, strlen(text), &image, err);
	if (r < 0 || (r = store_stage_blob(&b->store, text, strlen(text), hex, err)) < 0)
		return r;
	*ret_id = xasprintf(DIGEST_PREFIX "%s", hex);
	return 0;
}

static int make_image(Build *b, char **ret_id, Err *err)
{
	BuildStage *s = &b->stages[b->target];
	char key[DIGEST_HEX_MAX];
	int r = import_layers(b, &s->layers, err);
	if (r < 0)
		return r;
	set_labels(b, s->doc);
	image_key(s->doc, &s->layers, key);
	json_t *known = b->o.no_cache || b->o.has_epoch ? NULL : cache_get(&b->cache, key);
	const char *id = json_string_value(json_object_get(known, "image"));
	if (image_is_here(b, id)) {
		*ret_id = xstrdup(id);
		json_decref(known);
		return 0;
	}
	json_decref(known);
	if ((r = stage_image(b, s, ret_id, err)) < 0)
		return r;
	PendingRecord *p = array_append(b->pending, b->n_pending);
	memcpy(p->key, key, sizeof(p->key));
	p->record = json_pack("{s:s}", "image", *ret_id);
	return 0;
}

static void report_built(Build *b, const char *id, double seconds)
{
	const LayerStack *l = &b->stages[b->target].layers;
	json_t *tags = json_array(), *sizes = json_array();
	for (char **t = b->o.tags; t && *t; t++)
		(void) json_array_append_new(tags, json_string(*t));
	for (size_t i = 0; i < l->n; i++)
		(void) json_array_append_new(sizes, json_integer(l->sizes[i]));
	report_line(json_pack("{s:{s:s, s:o, s:o, s:O, s:f}}", "built", "id", id, "tags", tags, "sizes", sizes, "why", b->why, "seconds", seconds));
}

static int build(Build *b, int64_t began, Err *err)
{
	AUTO_FREE char *id = NULL;
	int r = read_file(b, err);
	if (r < 0)
		return r;
	why_load(b);
	do {
		r = run_stages(b, err);
		if (r == 0)
			r = make_image(b, &id, err);
	} while (r < 0 && import_retry(b, err));
	why_save(b);
	if (r < 0) {
		/* Steps that are done need not be done again. */
		(void) build_commit(b, NULL);
		return r;
	}
	if ((r = build_commit(b, err)) < 0 || (r = export_caches(b, err)) < 0)
		return r;
	report_built(b, id, (double) (time_mono() - began) / NSEC_PER_SEC);
	return 0;
}

/* The beginning and the end. */

void build_stage_done(BuildStage *s)
{
	for (size_t k = 0; k < s->n_triggers; k++)
		instruction_done(&s->triggers[k]);
	free(s->triggers);
	json_decref(s->doc);
	json_decref(s->note);
	layer_stack_done(&s->layers);
	scope_free(s->scope);
	free(s->arch);
}

static void build_done(Build *b)
{
	for (size_t i = 0; i < b->n_stages; i++) {
		run_step_free(b, b->stages[i].run);
		build_stage_done(&b->stages[i]);
	}
	free(b->stages);
	for (size_t i = 0; i < b->n_images; i++) {
		BaseImage *x = b->images[i];
		free(x->ref);
		free(x->platform);
		free(x->text);
		free(x->id);
		free(x->config);
		free(x->arch);
		layer_stack_done(&x->layers);
		free(x);
	}
	free(b->images);
	for (size_t i = 0; i < b->n_pending; i++)
		json_decref(b->pending[i].record);
	free(b->pending);
	graph_free(b->graph);
	strv_free(b->context_names);
	scope_free(b->globals);
	dockerfile_free(b->file);
	ignore_free(b->ignore);
	free(b->ignore_name);
	json_decref(b->why);
	free(b->why_stages);
	imports_done(&b->imports);
	json_decref(b->used);
	json_decref(b->last);
	json_decref(b->notes);
	buf_done(&b->in_buf);
	context_done(&b->context);
	for (size_t i = 0; i < b->n_named; i++) {
		context_done(&b->named[i]->context);
		free(b->named[i]->name);
		free(b->named[i]);
	}
	free(b->named);
	cache_close(&b->cache);
	store_close(&b->store);
	fetcher_free(b->fetcher);
	err_done(&b->fetcher_error);
	build_options_done(&b->o);
}

static int read_options(Build *b, Err *err)
{
	json_error_t e;
	char *nl;
	while (!b->in_buf.len || !(nl = memchr(b->in_buf.data, '\n', b->in_buf.len))) {
		if (b->in_buf.len > LIMIT_API_BODY * 2)
			return err_set(err, -EFBIG, "the options of the build are larger than %u bytes", LIMIT_API_BODY * 2);
		ssize_t n = read(b->in, buf_reserve(&b->in_buf, 65536), 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? err_errno(err, -errno, "the options of the build") : err_set(err, -EPIPE, "the options of the build are cut off");
		buf_added(&b->in_buf, (size_t) n);
	}
	size_t n = (size_t) (nl - b->in_buf.data);
	json_t *o = json_loadb(b->in_buf.data, n, JSON_REJECT_DUPLICATES, &e);
	buf_consume(&b->in_buf, n + 1);
	int r = o ? build_options_read(o, &b->o, err) : err_set(err, -EINVAL, "the options of the build: %s", e.text);
	json_decref(o);
	return r;
}

/* Does anything fetch? The text is looked at, not parsed: that comes behind the fence. */
static bool may_fetch(const Build *b)
{
	return !b->o.dockerfile || strstr(b->o.dockerfile, "://");
}

static int open_all(Build *b, const char *state_dir, int context, Err *err)
{
	struct rlimit files;
	/* A walk holds a directory of each layer for each level. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void) setrlimit(RLIMIT_NOFILE, &files);
	}
	int r = read_options(b, err);
	if (r < 0 || (r = store_open(state_dir, &b->store, err)) < 0 || (r = cache_open(b->store.state, &b->cache, err)) < 0 ||
		(r = context_init(&b->context, b->store.state, context, b->o.source, b->o.context, err)) < 0)
		return r;
	b->ignore_name = xstrdup(b->o.ignore_name);
	b->now = b->o.has_epoch ? b->o.epoch : time_real() / NSEC_PER_SEC;
	(void) time_rfc3339(b->o.has_epoch ? b->o.epoch * NSEC_PER_SEC : time_real(), b->created);
	b->why = json_array();
	if (may_fetch(b))
		(void) fetcher_new(&b->fetcher, &b->fetcher_error); /* told if it is needed */
	return sandbox_enter(state_dir, err);
}

int build_image_job(const char *state_dir, int in, int context, Err *err)
{
	int64_t began = time_mono();
	/* Lists of files are large for a moment, and then gone: their memory goes back at once. */
	(void) mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
	AUTO(build_done) Build b = {
		.in = in,
		.store = { .state = -1, .layers = -1, .blobs = -1, .tmp = -1, .lock = -1 },
		.cache = { -1, -1, -1 },
		.context = { .fd = -1, .dir = -1, .kept = -1, .files = { .dir = -1, .tmp = -1 } },
	};
	int r = open_all(&b, state_dir, context, err);
	return r < 0 ? r : build(&b, began, err);
}
