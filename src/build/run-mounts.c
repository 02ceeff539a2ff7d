// SPDX-License-Identifier: Apache-2.0
/*
 * Mounts of a RUN: those of the file (Dockerfile reference, "RUN --mount"), and caches of package managers that it does not
 * ask for. Those never change what a build makes: each is left out where the image has something at its place, where the
 * file names that place, and (for what a program may need later, such as Maven's repository) in the stage that becomes the image.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/run.h"
#include "build/select.h"

#define PRIVATE_MAX 100 /* copies of a cache that several builds use at once, each its own */

/* What the file mounts. */

/* Where a mount's files come from. */
typedef struct MountSource {
	Tree tree;
	View view;
	Context *context;  /* NULL: layers */
	const char *chain; /* theirs */
} MountSource;

/* 1: not there yet. */
static int open_source(Build *b, BuildStage *s, const RunMount *m, MountSource *ret, Err *err)
{
	BuildSource from = { .context = &b->context };
	int r = m->from ? build_source(b, s, s->at, m->from, &from, err) : build_context(b, err);
	if (r != 0)
		return r;
	ret->context = from.context;
	if (from.context) {
		ret->tree.list = &from.context->list;
		return context_load(from.context, err);
	}
	ret->tree.view = &ret->view;
	ret->chain = from.layers->chain;
	return build_view(b, from.layers, &ret->view, err);
}

static void source_done(MountSource *s)
{
	view_done(&s->view);
}
#define AUTO_SOURCE __attribute__((cleanup(source_done))) MountSource

/* The files of a mount; one file alone is named "file". */
static int mount_files(const Build *b, const Tree *t, const RunMount *m, Entries *ret, bool *ret_single, Err *err)
{
	AUTO_FREE char *path = path_in_root("", m->source ? m->source : "");
	AUTO_FREE char *resolved = NULL;
	Entry e;
	int r = tree_resolve(t, path, true, &resolved, err);
	if (r < 0 || (r = tree_stat(t, resolved, &e, err)) < 0)
		return r;
	if (r == 0) {
		const Selection s = { .tree = t, .context = !m->from, .ignore = b->ignore, .ignore_name = b->ignore_name };
		(void) select_missing(&s, m->source, err);
		return err_wrap(err, "--mount source");
	}
	*ret_single = e.type != 'd';
	if (e.type == 'd') {
		entry_done(&e);
		return select_below(t, resolved, ret, err);
	}
	e.inode = 0;
	r = tree_hash(t, &e, err);
	str_set(&e.path, "file");
	*array_append(ret->items, ret->n) = e;
	return r;
}

int run_mounts_key(Build *b, BuildStage *s, const Instruction *i, CacheKey *k, Err *err)
{
	for (size_t n = 0; n < i->n_mounts; n++) {
		const RunMount *m = &i->mounts[n];
		AUTO_SOURCE from = { 0 };
		AUTO_ENTRIES list = { 0 };
		bool single;
		key_add(k, i->mount_flags[n]);
		key_add(k, m->target);
		if (m->type != RUN_MOUNT_BIND && !m->from)
			continue;
		int r = open_source(b, s, m, &from, err);
		if (r != 0)
			return r;
		if (!from.context) {
			key_add(k, from.chain);
			key_add(k, m->source);
			continue;
		}
		char hex[DIGEST_HEX_MAX];
		if ((r = mount_files(b, &from.tree, m, &list, &single, err)) < 0)
			return r;
		entries_digest(&list, hex);
		key_add(k, hex);
	}
	return 0;
}

static void add_mount(RunStep *r, json_t *mount, const BuildStage *s, const char *target)
{
	AUTO_FREE char *absolute = config_path(s->doc, target);
	(void) json_object_set_new(mount, "target", json_string(absolute));
	(void) json_array_append_new(r->mounts, mount);
}

static int fill_directory(Build *b, int dirfd, const MountSource *from, const Entries *list, Err *err)
{
	static const View nothing;
	LayerSpec spec = { .list = list, .below = &nothing, .files = &b->context.files, .from = from->tree.view, .now = b->now };
	int r = from->context ? context_fetch_entries(from->context, list, err) : 0;
	return r < 0 ? r : layer_fill(&b->store, dirfd, &spec, err);
}

static int bind_mount(Build *b, BuildStage *s, const RunMount *m, RunStep *r, Err *err)
{
	AUTO_SOURCE from = { 0 };
	AUTO_ENTRIES list = { 0 };
	char *name = NULL;
	bool single = false;
	int e = open_source(b, s, m, &from, err);
	if (e != 0 || (e = mount_files(b, &from.tree, m, &list, &single, err)) < 0 || (e = store_stage_begin(&b->store, &name, err)) < 0)
		return e;
	strv_take(&r->temps, name);
	AUTO_FREE char *root = xasprintf("%s/root", name);
	AUTO_CLOSE int fd = openat(b->store.tmp, root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	e = fd < 0 ? err_errno(err, -errno, "tmp/%s", root) : fill_directory(b, fd, &from, &list, err);
	if (e < 0)
		return e;
	AUTO_FREE char *source = xasprintf("tmp/%s%s", root, single ? "/file" : "");
	add_mount(r, json_pack("{s:s, s:s, s:b}", "type", "bind", "source", source, "ro", m->read_only), s, m->target);
	return 0;
}

static bool directory_is_empty(int state, const char *path)
{
	struct stat st;
	/* A directory without subdirectories and with no size but its own: ask it for a name. */
	AUTO_CLOSE int fd = openat(state, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	View v = { .layers = (int[]) { fd }, .n = 1 };
	Tree t = { .view = &v };
	AUTO_STRV char **names = NULL;
	return fd >= 0 && fstat(fd, &st) == 0 && tree_glob(&t, "*", false, &names, NULL) == 0 && !names;
}

/* A new cache may begin with files of a stage. */
static int seed_cache(Build *b, BuildStage *s, const RunMount *m, const char *path, Err *err)
{
	AUTO_SOURCE from = { 0 };
	AUTO_ENTRIES list = { 0 };
	bool single;
	if (!m->from || !directory_is_empty(b->store.state, path))
		return 0;
	int r = open_source(b, s, m, &from, err);
	if (r != 0 || (r = mount_files(b, &from.tree, m, &list, &single, err)) < 0)
		return r;
	AUTO_CLOSE int fd = openat(b->store.state, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_errno(err, -errno, "%s", path) : fill_directory(b, fd, &from, &list, err);
}

/* 1: somebody else has it. */
static int cache_directory(Build *b, RunStep *r, const char *id, RunMountSharing sharing, const MountOwner *owner, char **ret_path, Err *err)
{
	int e = 1, lock = -1;
	unsigned most = sharing == RUN_SHARING_PRIVATE ? PRIVATE_MAX : 1;
	for (unsigned n = 0; e == 1 && n < most; n++)
		e = cache_mount(&b->cache, id, n, owner, sharing != RUN_SHARING_SHARED, &lock, ret_path, err);
	if (e == 0)
		*array_append(r->locks, r->n_locks) = lock;
	return e;
}

static int cache_mount_step(Build *b, BuildStage *s, const RunMount *m, RunStep *r, Err *err)
{
	const MountOwner owner = { (uint32_t) m->uid, (uint32_t) m->gid, (mode_t) m->mode };
	AUTO_FREE char *path = NULL;
	int e = cache_directory(b, r, m->id, m->sharing, &owner, &path, err);
	if (e == 1)
		s->locked_out = true;
	if (e != 0 || (e = seed_cache(b, s, m, path, err)) != 0)
		return e;
	add_mount(r, json_pack("{s:s, s:s, s:b}", "type", "bind", "source", path, "ro", m->read_only), s, m->target);
	return 0;
}

/* A file under tmp/ for the time of the step. */
static int temp_file(Build *b, RunStep *r, const void *p, size_t n, mode_t mode, uint32_t uid, uint32_t gid, char **ret_path, Err *err)
{
	char name[40];
	hex_random(16, name);
	strv_add(&r->temps, name);
	int e = file_write(b->store.tmp, name, p, n, 0600);
	if (e == 0 && (fchownat(b->store.tmp, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 || fchmodat(b->store.tmp, name, mode, 0) < 0))
		e = -errno;
	if (e < 0)
		return store_write_failed(&b->store, e, "a temporary file", err);
	*ret_path = xasprintf("tmp/%s", name);
	return 0;
}

static int secret_mount(Build *b, BuildStage *s, const RunMount *m, RunStep *r, Err *err)
{
	AUTO_BUF value = BUF_INIT;
	AUTO_FREE char *path = NULL;
	int e = strv_has(b->o.secrets, m->id) ? context_secret(&b->context, m->id, &value, err) : 0;
	if (e < 0)
		return e;
	if (e == 0)
		return m->required ? err_set(err, -ENOENT, "the secret '%s' is required: build with --secret id=%s,src=FILE", m->id, m->id) : 0;
	if (m->env) {
		if (strlen(buf_cstr(&value)) != value.len)
			return err_set(err, -EINVAL, "the secret '%s' has a zero byte: it cannot be an environment variable", m->id);
		strv_setenv(&r->env, m->env, buf_cstr(&value));
	}
	if (!m->target)
		return 0;
	e = temp_file(b, r, buf_cstr(&value), value.len, (mode_t) m->mode, (uint32_t) m->uid, (uint32_t) m->gid, &path, err);
	if (e == 0)
		add_mount(r, json_pack("{s:s, s:s, s:b}", "type", "secret", "source", path, "ro", 1), s, m->target);
	return e;
}

static int ssh_mount(Build *b, BuildStage *s, const RunMount *m, RunStep *r, Err *err)
{
	if (!strv_has(b->o.ssh, m->id))
		return m->required ? err_set(err, -ENOENT, "the SSH agent '%s' is required: build with --ssh %s", m->id, m->id) : 0;
	AUTO_FREE char *target = config_path(s->doc, m->target);
	add_mount(r, json_pack("{s:s, s:s, s:b, s:I, s:I, s:I}", "type", "ssh", "id", m->id, "ro", 1, "mode", (json_int_t) m->mode, "uid", (json_int_t) m->uid,
			     "gid", (json_int_t) m->gid), s, target);
	/* Of several, the first. */
	if (!strv_env(r->env, "SSH_AUTH_SOCK"))
		strv_setenv(&r->env, "SSH_AUTH_SOCK", target);
	return 0;
}

static int tmpfs_mount(Build *b, BuildStage *s, const RunMount *m, RunStep *r, Err *err)
{
	(void) b;
	(void) err;
	add_mount(r, json_pack("{s:s, s:I}", "type", "tmpfs", "size", (json_int_t) m->size), s, m->target);
	return 0;
}

int run_mounts(Build *b, BuildStage *s, const Instruction *i, RunStep *r, Err *err)
{
	static int (*const kinds[])(Build *, BuildStage *, const RunMount *, RunStep *, Err *) = {
		[RUN_MOUNT_BIND] = bind_mount, [RUN_MOUNT_CACHE] = cache_mount_step, [RUN_MOUNT_SECRET] = secret_mount, [RUN_MOUNT_SSH] = ssh_mount,
		[RUN_MOUNT_TMPFS] = tmpfs_mount,
	};
	int e = 0;
	for (size_t n = 0; e == 0 && n < i->n_mounts; n++)
		e = kinds[i->mounts[n].type](b, s, &i->mounts[n], r, err);
	return e;
}

int run_script(Build *b, const char *text, const char *target, RunStep *r, Err *err)
{
	AUTO_FREE char *path = NULL;
	int e = temp_file(b, r, text, strlen(text), 0755, 0, 0, &path, err);
	if (e == 0)
		(void) json_array_append_new(r->mounts, json_pack("{s:s, s:s, s:s, s:b}", "type", "bind", "source", path, "target", target, "ro", 1));
	return e;
}

/* Package caches. */

typedef struct PackageCache {
	const char *tools[4];  /* words of the command that call for it */
	const char *variable;  /* environment variable that moves it, or NULL */
	const char *below;     /* path below the variable's value */
	const char *home;      /* path below the home directory, or absolute */
	const char *named;     /* a file that has this text says otherwise */
	bool needed_later;     /* by programs of the image: not in the stage that becomes it */
	bool locked, root_only;
} PackageCache;

static const PackageCache package_caches[] = {
	{ .tools = { "npm", "npx" }, .variable = "npm_config_cache", .below = "", .home = ".npm", .named = "/.npm" },
	{ .tools = { "yarn" }, .variable = "YARN_CACHE_FOLDER", .below = "", .home = "/usr/local/share/.cache/yarn", .named = "cache/yarn", .root_only = true },
	{ .tools = { "bun" }, .variable = "BUN_INSTALL_CACHE_DIR", .below = "", .home = ".bun/install/cache", .named = ".bun/install" },
	{ .tools = { "mvn", "mvnw" }, .home = ".m2/repository", .named = ".m2", .needed_later = true, .locked = true },
	{ .tools = { "gradle", "gradlew" }, .variable = "GRADLE_USER_HOME", .below = "/caches", .home = ".gradle/caches", .named = ".gradle", .needed_later = true, .locked = true },
	{ .tools = { "gradlew" }, .variable = "GRADLE_USER_HOME", .below = "/wrapper", .home = ".gradle/wrapper", .named = ".gradle", .needed_later = true, .locked = true },
	{ .tools = { "pip", "pip3" }, .variable = "PIP_CACHE_DIR", .below = "", .home = ".cache/pip", .named = "cache/pip" },
	{ .tools = { "uv" }, .variable = "UV_CACHE_DIR", .below = "", .home = ".cache/uv", .named = "cache/uv" },
	{ .tools = { "apt-get", "apt" }, .home = "/var/cache/apt/archives", .named = "/var/cache/apt", .locked = true, .root_only = true },
	{ .tools = { "go" }, .variable = "GOMODCACHE", .below = "", .home = "go/pkg/mod", .named = "pkg/mod", .needed_later = true },
	{ .tools = { "go" }, .variable = "GOCACHE", .below = "", .home = ".cache/go-build", .named = "go-build" },
	{ .tools = { "cargo" }, .variable = "CARGO_HOME", .below = "/registry", .home = ".cargo/registry", .named = "cargo/registry", .needed_later = true },
	{ .tools = { "cargo" }, .variable = "CARGO_HOME", .below = "/git", .home = ".cargo/git", .named = "cargo/git", .needed_later = true },
};

/* Is it a word of the command, maybe with a path in front? */
static bool calls(const char *text, const char *tool)
{
	static const char between[] = " \t\n;&|()`\"'{}<>[],=$";
	size_t n = strlen(tool);
	for (const char *p = text; (p = strstr(p, tool)); p += n) {
		bool begins = p == text || p[-1] == '/' || strchr(between, p[-1]);
		if (begins && (!p[n] || strchr(between, p[n])))
			return true;
	}
	return false;
}

static bool calls_any(const Instruction *i, const PackageCache *c)
{
	for (size_t k = 0; k < ARRAY_SIZE(c->tools) && c->tools[k]; k++)
		if (calls(i->text, c->tools[k]))
			return true;
	return false;
}

/* Does any instruction of the file name the place? */
static bool file_names(const Build *b, const char *text)
{
	for (size_t s = 0; s < b->file->n_stages; s++)
		for (size_t k = 0; k < b->file->stages[s].n_instructions; k++)
			if (strstr(b->file->stages[s].instructions[k].text, text))
				return true;
	return false;
}

static bool becomes_image(const Build *b, const BuildStage *s)
{
	return s->index == b->target;
}

/* Where it is for this user; owned by the caller, NULL: nowhere. */
static char *cache_place(const BuildStage *s, const PackageCache *c, const char *home)
{
	AUTO_STRV char **env = config_env(s->doc);
	const char *moved = c->variable ? strv_env(env, c->variable) : NULL;
	if (str_eq(c->variable, "GOMODCACHE") && !moved && strv_env(env, "GOPATH"))
		return xasprintf("%s/pkg/mod", strv_env(env, "GOPATH"));
	if (moved)
		return moved[0] == '/' ? xasprintf("%s%s", moved, c->below) : NULL;
	if (c->home[0] == '/')
		return xstrdup(c->home);
	return home && home[0] == '/' && home[1] ? xasprintf("%s/%s", home, c->home) : NULL;
}

/* Nothing is there, or a directory with nothing but what apt keeps in an empty cache. */
static bool place_is_free(const View *v, const char *path)
{
	AUTO_FREE char *resolved = NULL;
	AUTO_STRV char **names = NULL;
	bool empty = true;
	AUTO_FREE char *pattern = xasprintf("%s/*", path);
	Tree t = { .view = v };
	struct stat st;
	if (view_resolve(v, path, true, &resolved, NULL) < 0)
		return false;
	int r = view_stat(v, resolved, &st, NULL, NULL);
	if (r <= 0)
		return r == 0;
	if (!S_ISDIR(st.st_mode) || tree_glob(&t, pattern, false, &names, NULL) < 0)
		return false;
	for (char **n = names; n && *n; n++)
		empty = empty && (str_ends(*n, "/archives/lock") || str_ends(*n, "/archives/partial"));
	return empty;
}

static bool mounted_already(const RunStep *r, const char *path)
{
	for (size_t i = 0; i < json_array_size(r->mounts); i++) {
		const char *target = json_string_value(json_object_get(json_array_get(r->mounts, i), "target"));
		if (target && (path_below(path, target) || path_below(target, path)))
			return true;
	}
	return false;
}

/* Debian's images for containers throw packages away after each apt-get; the file that says so is covered. */
static int keep_packages(Build *b, const View *v, RunStep *r, Err *err)
{
	static const char keep[] = "APT::Keep-Downloaded-Packages \"true\";\n";
	static const char place[] = "etc/apt/apt.conf.d/docker-clean";
	AUTO_FREE char *path = NULL;
	struct stat st;
	if (view_stat(v, place, &st, NULL, NULL) != 1 || !S_ISREG(st.st_mode))
		return 0;
	int e = temp_file(b, r, keep, strlen(keep), 0644, 0, 0, &path, err);
	if (e == 0)
		(void) json_array_append_new(r->mounts, json_pack("{s:s, s:s, s:s, s:b}", "type", "bind", "source", path, "target",
			"/etc/apt/apt.conf.d/docker-clean", "ro", 1));
	return e;
}

static int add_package_cache(Build *b, BuildStage *s, const PackageCache *c, const char *place, const MountOwner *owner, const View *v, RunStep *r,
	Err *err)
{
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *id = xasprintf("packages:%s%s:%u:%s", c->home, c->below ? c->below : "", owner->uid, s->arch);
	int e = cache_directory(b, r, id, c->locked ? RUN_SHARING_PRIVATE : RUN_SHARING_SHARED, owner, &path, err);
	if (e != 0)
		return e < 0 ? e : 0; /* all of them are in use: without, then */
	(void) json_array_append_new(r->mounts, json_pack("{s:s, s:s, s:s}", "type", "bind", "source", path, "target", place));
	return str_eq(c->tools[0], "apt-get") ? keep_packages(b, v, r, err) : 0;
}

int run_package_caches(Build *b, BuildStage *s, const Instruction *i, const View *v, RunStep *r, Err *err)
{
	const char *user = config_user(s->doc), *set_home;
	MountOwner owner = { .mode = 0755 };
	AUTO_STRV char **env = config_env(s->doc);
	if (*user && build_owner(v, user, &owner.uid, &owner.gid, NULL) < 0)
		return 0;
	set_home = strv_env(env, "HOME");
	AUTO_FREE char *home = set_home ? xstrdup(set_home) : build_home(v, owner.uid);
	for (size_t k = 0; k < ARRAY_SIZE(package_caches); k++) {
		const PackageCache *c = &package_caches[k];
		if (!calls_any(i, c) || (c->root_only && owner.uid) || (c->needed_later && becomes_image(b, s)) || file_names(b, c->named))
			continue;
		AUTO_FREE char *place = cache_place(s, c, home);
		if (!place || mounted_already(r, place) || !place_is_free(v, place))
			continue;
		int e = add_package_cache(b, s, c, place, &owner, v, r, err);
		if (e < 0)
			return e;
	}
	return 0;
}
