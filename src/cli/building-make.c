// SPDX-License-Identifier: Apache-2.0
/*
 * What a build is made from: the Dockerfile, the ignore file, secrets, and what a service says of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/building-archive.h"
#include "cli/building-git.h"
#include "cli/operation.h"
#include "dockerfile/ignore.h"

void building_init(Building *b)
{
	*b = (Building) { .options = json_object(), .limits = json_object() };
}

static void secret_done(BuildingSecret *s)
{
	free(s->id);
	free(s->file);
	free(s->text);
}

static void named_context_done(BuildingContext *c)
{
	free(c->name);
	free(c->remote);
	git_checkout_done(&c->checkout);
	free(c->dir);
	free(c->ignore);
	free(c->ignore_name);
	*c = (BuildingContext) { 0 };
}

void building_done(Building *b)
{
	free(b->context);
	free(b->context_id);
	git_checkout_done(&b->checkout);
	free(b->dockerfile);
	free(b->dockerfile_name);
	free(b->ignore);
	free(b->ignore_name);
	free(b->image);
	json_decref(b->options);
	json_decref(b->limits);
	for (size_t i = 0; i < b->n_secrets; i++)
		secret_done(&b->secrets[i]);
	free(b->secrets);
	build_agents_done(&b->agents);
	for (size_t i = 0; i < b->n_caches; i++)
		building_cache_done(&b->caches[i]);
	free(b->caches);
	for (size_t i = 0; i < b->n_contexts; i++)
		named_context_done(&b->contexts[i]);
	free(b->contexts);
	*b = (Building) { 0 };
}

/* ── files ────────────────────────────────────────────────────────── */

/* As a string of JSON has it. */
static int take_text(const char *name, Buf *b, char **ret, Err *err)
{
	if (b->len && (memchr(b->data, '\0', b->len) || !str_is_utf8(b->data, b->len)))
		return err_set(err, -EINVAL, "%s is no text in UTF-8", name);
	free(*ret);
	*ret = buf_steal(b);
	return 0;
}

static int read_stdin(Buf *b, Err *err)
{
	for (;;) {
		ssize_t n = read(STDIN_FILENO, buf_reserve(b, 65536), 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, -errno, "reading the Dockerfile from standard input");
		if (n == 0)
			return 0;
		buf_added(b, (size_t) n);
		if (b->len > LIMIT_DOCKERFILE_BYTES)
			return err_set(err, -EFBIG, "the Dockerfile on standard input is larger than %u bytes", LIMIT_DOCKERFILE_BYTES);
	}
}

/* What a repository or an archive names stays in it, whatever its links say. */
static int read_file(const char *checkout, const char *path, Buf *ret)
{
	if (!checkout)
		return file_read(AT_FDCWD, path, LIMIT_DOCKERFILE_BYTES, ret);
	AUTO_CLOSE int root = open(checkout, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int fd = root < 0 ? -1 : open_in_root(root, path + strlen(checkout), O_RDONLY, 0);
	if (fd < 0)
		return -errno;
	AUTO_FREE char *proc = xasprintf("/proc/self/fd/%d", fd);
	return file_read(AT_FDCWD, proc, LIMIT_DOCKERFILE_BYTES, ret);
}

static int read_dockerfile(Building *b, const char *path, Err *err)
{
	AUTO_BUF text = BUF_INIT;
	int r = read_file(b->checkout.path, path, &text);
	if (r == -ENOENT && b->checkout.path)
		return err_set(err, r, "there is no %s in the context; name the Dockerfile with -f, or in compose with 'dockerfile:'", b->dockerfile_name);
	if (r == -ENOENT)
		return err_set(err, r, "there is no %s; name the Dockerfile with -f, or in compose with 'dockerfile:'", path);
	if (r < 0)
		return err_errno(err, r, "%s", path);
	return take_text(path, &text, &b->dockerfile, err);
}

/* A Dockerfile's own one counts before the context's. `checkout` is the repository or archive that the context is from, or NULL. */
static int read_ignore_of(const char *checkout, const char *context, const char *dockerfile, char **ret_name, char **ret, Err *err)
{
	AUTO_FREE char *own = dockerfile ? ignore_name_for(dockerfile) : NULL;
	AUTO_FREE char *common = xasprintf("%s/.dockerignore", context);
	const char *const paths[] = { own, common };
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		AUTO_BUF text = BUF_INIT;
		int r = paths[i] ? read_file(checkout, paths[i], &text) : -ENOENT;
		if (r == -ENOENT || r == -ENOTDIR)
			continue;
		if (r < 0)
			return err_errno(err, r, "%s", paths[i]);
		str_set(ret_name, strrchr(paths[i], '/') ? strrchr(paths[i], '/') + 1 : paths[i]);
		return take_text(paths[i], &text, ret, err);
	}
	return 0;
}

static int read_ignore(Building *b, const char *dockerfile, Err *err)
{
	return read_ignore_of(b->checkout.path, b->context, dockerfile, &b->ignore_name, &b->ignore, err);
}

/* 1: it was the Dockerfile. */
static int check_context(Building *b, const char *context, Err *err)
{
	struct stat st;
	if (str_eq(context, "-") || build_archive_url(context))
		return building_archive_context(b, str_eq(context, "-") ? NULL : context, err);
	if (git_url_is_context(context))
		return building_git_context(b, context, err);
	if (strstr(context, "://"))
		return err_set(err, -EINVAL, "'%s' is neither a directory, nor a git repository (https://HOST/PATH.git), nor an archive (https://HOST/FILE.tar.gz)", context);
	char *path = realpath(context, NULL);
	if (!path || stat(path, &st) < 0) {
		free(path);
		return err_errno(err, -errno, "the build context %s", context);
	}
	b->context = path;
	return S_ISDIR(st.st_mode) ? 0 : err_set(err, -ENOTDIR, "the build context %s is no directory", context);
}

int building_read(Building *b, const char *context, const char *file, const char *text, Err *err)
{
	AUTO_BUF in = BUF_INIT;
	int r = context ? check_context(b, context, err) : 0;
	if (r > 0)
		return file || text ? err_set(err, -EINVAL, "the context '%s' is a Dockerfile, no archive: there is none beside it that could be named", context) : 0;
	if (r < 0)
		return r;
	if (text) {
		str_set(&b->dockerfile, text);
		str_set(&b->dockerfile_name, "dockerfile_inline");
		return b->context ? read_ignore(b, NULL, err) : 0;
	}
	if (str_eq(file, "-")) {
		str_set(&b->dockerfile_name, "Dockerfile");
		r = read_stdin(&in, err);
		if (r == 0)
			r = take_text("the Dockerfile on standard input", &in, &b->dockerfile, err);
		return r < 0 || !b->context ? r : read_ignore(b, NULL, err);
	}
	AUTO_FREE char *path = file && !b->checkout.path ? xstrdup(file) : xasprintf("%s/%s", b->context, file ? file : "Dockerfile");
	size_t below = b->context ? strlen(b->context) : 0;
	bool inside = below && strncmp(path, b->context, below) == 0 && path[below] == '/';
	str_set(&b->dockerfile_name, inside ? path + below + 1 : path);
	r = read_dockerfile(b, path, err);
	return r < 0 ? r : read_ignore(b, path, err);
}

/* ── named contexts ───────────────────────────────────────────────── */

char *building_context_id(const char *dir)
{
	char host[256] = "";
	(void) gethostname(host, sizeof(host) - 1);
	return xasprintf("%s:%s", host, dir);
}

static BuildingContext *place_for(Building *b, const char *name)
{
	BuildingContext *c = NULL;
	for (size_t i = 0; i < b->n_contexts; i++)
		if (str_eq(b->contexts[i].name, name))
			c = &b->contexts[i];
	if (!c)
		c = array_append(b->contexts, b->n_contexts);
	named_context_done(c);
	c->name = xstrdup(name);
	return c;
}

static int add_directory(Building *b, const char *name, const char *value, char **ret_id, Err *err)
{
	struct stat st;
	char *dir = realpath(value, NULL);
	if (!dir || stat(dir, &st) < 0) {
		free(dir);
		return err_errno(err, -errno, "the build context %s=%s", name, value);
	}
	BuildingContext *c = place_for(b, name);
	c->dir = dir;
	if (!S_ISDIR(st.st_mode))
		return err_set(err, -ENOTDIR, "the build context %s=%s is no directory", name, value);
	*ret_id = building_context_id(dir);
	return read_ignore_of(NULL, dir, NULL, &c->ignore_name, &c->ignore, err);
}

/* They are fetched when something takes from them. */
static int add_archive(Building *b, const char *name, const char *value, char **ret_id, Err *err)
{
	(void) err;
	place_for(b, name)->remote = xstrdup(value);
	*ret_id = xstrdup(value);
	return 0;
}

static int add_repository(Building *b, const char *name, const char *value, char **ret_id, Err *err)
{
	AUTO_GIT_URL u = { 0 };
	int r = git_url_parse(value, &u, err);
	if (r < 0)
		return err_wrap(err, "the build context %s", name);
	place_for(b, name)->remote = xstrdup(value);
	*ret_id = building_repository_id(&u);
	return 0;
}

static int fetch_repository(const Building *b, BuildingContext *c, bool (*tick)(void *user), void *user, Err *err)
{
	AUTO_GIT_URL u = { 0 };
	int r = git_url_parse(c->remote, &u, err);
	return r < 0 ? r : building_git_fetch(b, &u, tick, user, &c->checkout, err);
}

int building_fetch_context(const Building *b, BuildingContext *c, bool (*tick)(void *user), void *user, Err *err)
{
	int r = build_archive_url(c->remote) ? building_archive_fetch(c->remote, tick, user, &c->checkout, err) : fetch_repository(b, c, tick, user, err);
	if (r > 0)
		r = err_set(err, -EINVAL, "%s is no tar archive", c->remote);
	if (r < 0)
		return r;
	str_set(&c->dir, c->checkout.path);
	return read_ignore_of(c->checkout.path, c->dir, NULL, &c->ignore_name, &c->ignore, err);
}

int building_add_context(Building *b, const char *name, const char *value, Err *err)
{
	static const char image[] = "docker-image://", layout[] = "oci-layout://";
	json_t *all = json_object_get(b->options, "contexts");
	if (!*name || !*value)
		return err_set(err, -EINVAL, "the build context '%s=%s': write NAME=DIRECTORY, NAME=docker-image://IMAGE, a git repository or the URL of an archive", name,
			value);
	if (str_starts(value, layout))
		return err_set(err, -ENOTSUP, "the build context %s=%s: load the images of the directory (tar -C %s -c . | stead load), and write docker-image://IMAGE", name,
			value, value + strlen(layout));
	bool repository = !str_starts(value, image) && git_url_is_context(value), archive = build_archive_url(value);
	if (!str_starts(value, image) && !repository && !archive && strstr(value, "://"))
		return err_set(err, -ENOTSUP, "the build context %s=%s is neither a directory, nor docker-image://, nor a git repository (https://HOST/PATH.git), nor an archive "
			"(https://HOST/FILE.tar.gz)", name, value);
	if (str_eq(value, image))
		return err_set(err, -EINVAL, "the build context %s=%s: the image's name is missing", name, value);
	if (!all) {
		all = json_object();
		(void) json_object_set_new(b->options, "contexts", all);
	}
	if (str_starts(value, image))
		return json_object_set_new(all, name, json_string(value)) < 0 ? err_set(err, -EINVAL, "the build context %s: its name is not UTF-8", name) : 0;
	AUTO_FREE char *id = NULL;
	int r = (repository ? add_repository : archive ? add_archive : add_directory)(b, name, value, &id, err);
	if (r < 0)
		return r;
	AUTO_FREE char *text = xasprintf("local://%s", id);
	return json_object_set_new(all, name, json_string(text)) < 0 ? err_set(err, -EINVAL, "the build context %s=%s is not UTF-8", name, value) : 0;
}

/* ── secrets ─────────────────────────────────────────────── */

int building_add_secret(Building *b, const char *text, Err *err)
{
	AUTO_FREE char *copy = xstrdup(text);
	const char *id = NULL, *file = NULL, *env = NULL, *type = NULL;
	for (char *p = copy, *next; *p; p = next) {
		next = p + strcspn(p, ",");
		if (*next)
			*next++ = '\0';
		char *eq = strchr(p, '=');
		const struct {
			const char *key;
			const char **value;
		} keys[] = { { "id", &id }, { "src", &file }, { "source", &file }, { "env", &env }, { "type", &type } };
		bool known = false;
		for (size_t i = 0; eq && i < ARRAY_SIZE(keys); i++)
			if ((size_t) (eq - p) == strlen(keys[i].key) && strncmp(p, keys[i].key, (size_t) (eq - p)) == 0) {
				*keys[i].value = eq + 1;
				known = true;
			}
		if (!known)
			return err_set(err, -EINVAL, "--secret %s: write id=ID,src=FILE or id=ID,env=VARIABLE", text);
	}
	if (str_empty(id))
		return err_set(err, -EINVAL, "--secret %s: it needs an id: id=ID,src=FILE or id=ID,env=VARIABLE", text);
	if (type && str_eq(type, "env") && !env)
		env = file ? file : id;
	if (!env && !file && getenv(id))
		env = id;
	if (env && !getenv(env))
		return err_set(err, -EINVAL, "--secret %s: the variable %s is not set", text, env);
	if (!env && access(file ? file : id, R_OK) < 0)
		return err_errno(err, -errno, "--secret %s: %s", text, file ? file : id);
	*array_append(b->secrets, b->n_secrets) = (BuildingSecret) { .id = xstrdup(id), .file = env ? NULL : xstrdup(file ? file : id),
		.text = env ? xstrdup(getenv(env)) : NULL };
	return 0;
}

int building_secret(const Building *b, const char *id, Buf *ret, Err *err)
{
	for (size_t i = 0; i < b->n_secrets; i++) {
		const BuildingSecret *x = &b->secrets[i];
		if (!str_eq(x->id, id))
			continue;
		int r = x->file ? file_read(AT_FDCWD, x->file, LIMIT_BUILD_SECRET, ret) : 0;
		if (!x->file)
			buf_str(ret, x->text);
		return r < 0 ? err_errno(err, r, "secret '%s': %s", id, x->file) : 1;
	}
	return 0;
}

/* ── caches ───────────────────────────────────────────────────────── */

int building_add_cache(Building *b, const char *text, bool write, const char *base, Err *err)
{
	const char *key = write ? "cache_to" : "cache_from";
	BuildingCache c;
	json_t *option = NULL;
	int r = building_cache_parse(text, write, base ? base : ".", &c, &option, err);
	if (r != 0)
		return r < 0 ? r : 0;
	(void) json_object_set_new(option, "dir", json_integer((json_int_t) b->n_caches));
	*array_append(b->caches, b->n_caches) = c;
	if (!json_object_get(b->options, key))
		(void) json_object_set_new(b->options, key, json_array());
	return json_array_append_new(json_object_get(b->options, key), option);
}

int building_refuse(const Err *err)
{
	if (err->code != -ECANCELED)
		return cli_refuse(err);
	fprintf(stderr, "stead: the build is cancelled\n");
	return EXIT_INTERRUPTED;
}

/* ── a service's build ────────────────────────────────────────────── */

static json_t *pairs(char *const *v)
{
	json_t *o = json_object();
	for (; v && *v; v++) {
		const char *eq = strchr(*v, '=');
		AUTO_FREE char *key = xstrndup(*v, eq ? (size_t) (eq - *v) : strlen(*v));
		(void) json_object_set_new(o, key, json_string(eq ? eq + 1 : ""));
	}
	return o;
}

static int add_secrets(const Stack *stack, const ServiceBuild *from, Building *b, Err *err)
{
	for (size_t i = 0; i < from->n_secrets; i++) {
		const FileSource *src = stack_secret(stack, from->secrets[i].source);
		const char *id = from->secrets[i].target ? from->secrets[i].target : from->secrets[i].source;
		if (!src)
			return err_set(err, -ENOENT, "secret '%s' is not there", from->secrets[i].source);
		if (src->file && access(src->file, R_OK) < 0)
			return err_errno(err, -errno, "secret '%s': %s", src->key, src->file);
		*array_append(b->secrets, b->n_secrets) = (BuildingSecret) { .id = xstrdup(id), .file = xstrdup(src->file),
			.text = src->file ? NULL : xstrdup(src->content) };
	}
	return 0;
}

static json_t *ulimits(const ServiceBuild *from)
{
	json_t *o = json_object();
	for (size_t i = 0; i < from->n_ulimits; i++)
		(void) json_object_set_new(o, from->ulimits[i].name,
			json_pack("{s:I, s:I}", "soft", (json_int_t) from->ulimits[i].soft, "hard", (json_int_t) from->ulimits[i].hard));
	return o;
}

static void set_options(const Service *svc, Building *b)
{
	const ServiceBuild *from = &svc->build;
	json_t *tags = json_array(), *o = b->options;
	(void) json_array_append_new(tags, json_string(svc->image));
	for (char **t = from->tags; t && *t; t++)
		(void) json_array_append_new(tags, json_string(*t));
	(void) json_object_set_new(o, "tags", tags);
	(void) json_object_set_new(o, "args", pairs(from->args));
	(void) json_object_set_new(o, "labels", pairs(from->labels));
	(void) json_object_set_new(o, "no_cache", json_boolean(from->no_cache));
	(void) json_object_set_new(o, "pull", json_boolean(from->pull));
	if (from->target)
		(void) json_object_set_new(o, "target", json_string(from->target));
	if (from->platforms || svc->platform)
		(void) json_object_set_new(o, "platform", json_string(from->platforms ? from->platforms[0] : svc->platform));
	if (from->network)
		(void) json_object_set_new(b->limits, "network", json_string(from->network));
	if (from->shm_size >= 0)
		(void) json_object_set_new(b->limits, "shm_size", json_integer(from->shm_size));
	if (from->extra_hosts)
		(void) json_object_set_new(b->limits, "hosts", strv_to_json(from->extra_hosts));
	if (from->n_ulimits)
		(void) json_object_set_new(b->limits, "ulimits", ulimits(from));
}

/* "service:NAME" is the image of that service. */
static int add_contexts(const Stack *stack, const ServiceBuild *from, Building *b, Err *err)
{
	int r = 0;
	for (char **c = from->contexts; r == 0 && c && *c; c++) {
		const char *eq = strchr(*c, '=');
		AUTO_FREE char *name = xstrndup(*c, (size_t) (eq - *c));
		const Service *other = str_starts(eq + 1, BUILD_CONTEXT_SERVICE) ? stack_service(stack, eq + 1 + strlen(BUILD_CONTEXT_SERVICE)) : NULL;
		AUTO_FREE char *value = other ? xasprintf("docker-image://%s", other->image) : xstrdup(eq + 1);
		r = building_add_context(b, name, value, err);
	}
	return r;
}

/** From a service's `build:`. What it says of files is read now. */
static int building_from_service(const Stack *stack, const Service *svc, Building *b, Err *err)
{
	const ServiceBuild *from = &svc->build;
	AUTO_FREE char *file = NULL;
	if (from->dockerfile)
		file = from->dockerfile[0] == '/' || from->context[0] != '/' ? xstrdup(from->dockerfile) : xasprintf("%s/%s", from->context, from->dockerfile);
	set_options(svc, b);
	int r = add_secrets(stack, from, b, err);
	if (r == 0)
		r = add_contexts(stack, from, b, err);
	for (char **k = from->ssh; r == 0 && k && *k; k++)
		r = build_agents_add(&b->agents, *k, err);
	for (char **k = from->cache_from; r == 0 && k && *k; k++)
		r = building_add_cache(b, *k, false, stack->working_dir, err);
	for (char **k = from->cache_to; r == 0 && k && *k; k++)
		r = building_add_cache(b, *k, true, stack->working_dir, err);
	return r < 0 ? r : building_read(b, from->context, file, from->dockerfile_inline, err);
}

/* ── the services of a stack ──────────────────────────────────────── */

/* 1: it is there, 0: it is not. */
static int image_there(HttpClient *c, const char *image, Err *err)
{
	AUTO_BUF url = BUF_INIT;
	AUTO_BUF body = BUF_INIT;
	buf_str(&url, "/images/");
	http_url_append(&url, image);
	buf_str(&url, "/json");
	int status = http_request(c, "GET", buf_cstr(&url), NULL, false, err);
	if (status < 0)
		return status;
	int r = http_read_all(c, LIMIT_MANIFEST_BYTES * 2, &body, err);
	return r < 0 ? r : status < 400;
}

static void add_named(const Stack *stack, const char *name, bool deps, char ***ret)
{
	const Service *svc = stack_service(stack, name);
	if (!svc || strv_has(*ret, name))
		return;
	strv_add(ret, name);
	for (size_t i = 0; deps && i < svc->n_depends; i++)
		add_named(stack, svc->depends[i].service, deps, ret);
}

typedef struct Services {
	const Cli *cli;
	const Stack *stack;
	BuildServices which;
	int (*adjust)(void *user, const Service *svc, Building *b, Err *err);
	void *user;
	HttpClient *client; /* NULL: not needed yet */
	char **seen;        /* services */
	char **built;       /* images */
} Services;

static int build_one(const Services *x, const Service *svc)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_BUILDING b;
	building_init(&b);
	int r = building_from_service(x->stack, svc, &b, &err);
	if (r == 0 && x->adjust)
		r = x->adjust(x->user, svc, &b, &err);
	if (r < 0) {
		(void) err_wrap(&err, "service '%s'", svc->name);
		return building_refuse(&err);
	}
	b.check = x->which == BUILD_CHECK;
	if (!b.quiet)
		fprintf(stderr, "%s %s\n", b.check ? "checking" : "building", svc->name);
	return building_run(x->cli, &b);
}

/* 1: it is wanted, 0: it is not; the exit code goes to *ret_code. */
static int is_wanted(Services *x, const Service *svc, int *ret_code)
{
	AUTO_ERR err = ERR_INIT;
	if (x->which != BUILD_MISSING || svc->pull_policy == PULL_BUILD)
		return 1;
	if (!x->client && (*ret_code = client_open_or_fail(x->cli, &x->client)))
		return 0;
	int there = image_there(x->client, svc->image, &err);
	if (there < 0)
		*ret_code = cli_fail(&err);
	return there == 0;
}

/* The services whose images are its contexts come first. */
static int build_service(Services *x, const Service *svc)
{
	int code = 0;
	if (!svc || !svc->build.context || strv_has(x->seen, svc->name))
		return 0;
	strv_add(&x->seen, svc->name);
	for (char **c = svc->build.contexts; !code && c && *c; c++) {
		const char *value = strchr(*c, '=') + 1;
		if (str_starts(value, BUILD_CONTEXT_SERVICE) && x->which != BUILD_CHECK)
			code = build_service(x, stack_service(x->stack, value + strlen(BUILD_CONTEXT_SERVICE)));
	}
	if (code || strv_has(x->built, svc->image) || !is_wanted(x, svc, &code))
		return code;
	strv_add(&x->built, svc->image);
	return build_one(x, svc);
}

int building_services(const Cli *cli, Stack *stack, char *const *services, bool deps, BuildServices which,
	int (*adjust)(void *user, const Service *svc, Building *b, Err *err), void *user)
{
	AUTO_STRV char **named = NULL;
	Services x = { .cli = cli, .stack = stack, .which = which, .adjust = adjust, .user = user };
	int code = 0;
	for (char *const *s = services; s && *s; s++)
		add_named(stack, *s, deps, &named);
	for (size_t i = 0; i < stack->n_services && (!code || which == BUILD_CHECK); i++) {
		const Service *svc = &stack->services[i];
		int one = services && !strv_has(named, svc->name) ? 0 : build_service(&x, svc);
		code = one > code ? one : code;
	}
	http_client_free(x.client);
	strv_free(x.seen);
	strv_free(x.built);
	return code;
}
