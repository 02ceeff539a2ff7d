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
#include "cli/building-git.h"
#include "cli/operation.h"
#include "cli/output.h"
#include "cli/project.h"
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

/* What a repository names stays in it, whatever its links say. */
static int read_file(const Building *b, const char *path, Buf *ret)
{
	size_t n = b->checkout.path ? strlen(b->checkout.path) : 0;
	if (!n)
		return file_read(AT_FDCWD, path, LIMIT_DOCKERFILE_BYTES, ret);
	AUTO_CLOSE int root = open(b->checkout.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int fd = root < 0 ? -1 : open_in_root(root, path + n, O_RDONLY, 0);
	if (fd < 0)
		return -errno;
	AUTO_FREE char *proc = xasprintf("/proc/self/fd/%d", fd);
	return file_read(AT_FDCWD, proc, LIMIT_DOCKERFILE_BYTES, ret);
}

static int read_dockerfile(Building *b, const char *path, Err *err)
{
	AUTO_BUF text = BUF_INIT;
	int r = read_file(b, path, &text);
	if (r == -ENOENT)
		return err_set(err, r, "there is no %s; name the Dockerfile with -f, or in compose with 'dockerfile:'", path);
	if (r < 0)
		return err_errno(err, r, "%s", path);
	return take_text(path, &text, &b->dockerfile, err);
}

/* Its own one counts before the context's. */
static int read_ignore(Building *b, const char *dockerfile, Err *err)
{
	AUTO_FREE char *own = dockerfile ? ignore_name_for(dockerfile) : NULL;
	AUTO_FREE char *common = xasprintf("%s/.dockerignore", b->context);
	const char *const paths[] = { own, common };
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		AUTO_BUF text = BUF_INIT;
		int r = paths[i] ? read_file(b, paths[i], &text) : -ENOENT;
		if (r == -ENOENT || r == -ENOTDIR)
			continue;
		if (r < 0)
			return err_errno(err, r, "%s", paths[i]);
		str_set(&b->ignore_name, strrchr(paths[i], '/') ? strrchr(paths[i], '/') + 1 : paths[i]);
		return take_text(paths[i], &text, &b->ignore, err);
	}
	return 0;
}

static int check_context(Building *b, const char *context, Err *err)
{
	struct stat st;
	if (git_url_is_context(context))
		return building_git_context(b, context, err);
	if (strstr(context, "://"))
		return err_set(err, -EINVAL, "'%s' is neither a directory nor a git repository (https://HOST/PATH.git)", context);
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
	if (from->contexts)
		(void) json_object_set_new(o, "contexts", pairs(from->contexts));
	if (from->network)
		(void) json_object_set_new(b->limits, "network", json_string(from->network));
	if (from->shm_size >= 0)
		(void) json_object_set_new(b->limits, "shm_size", json_integer(from->shm_size));
	if (from->extra_hosts)
		(void) json_object_set_new(b->limits, "hosts", strv_to_json(from->extra_hosts));
	if (from->n_ulimits)
		(void) json_object_set_new(b->limits, "ulimits", ulimits(from));
}

int building_from_service(const Stack *stack, const Service *svc, Building *b, Err *err)
{
	const ServiceBuild *from = &svc->build;
	AUTO_FREE char *file = NULL;
	if (from->dockerfile)
		file = from->dockerfile[0] == '/' || from->context[0] != '/' ? xstrdup(from->dockerfile) : xasprintf("%s/%s", from->context, from->dockerfile);
	set_options(svc, b);
	int r = add_secrets(stack, from, b, err);
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

static int build_one(const Cli *cli, const Stack *stack, const Service *svc, int (*adjust)(void *, const Service *, Building *, Err *), void *user)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_BUILDING b;
	building_init(&b);
	int r = building_from_service(stack, svc, &b, &err);
	if (r == 0 && adjust)
		r = adjust(user, svc, &b, &err);
	if (r < 0) {
		(void) err_wrap(&err, "service '%s'", svc->name);
		return building_refuse(&err);
	}
	if (!b.quiet)
		fprintf(stderr, "building %s\n", svc->name);
	return building_run(cli, &b);
}

int building_services(const Cli *cli, Stack *stack, char *const *services, bool deps, BuildServices which,
	int (*adjust)(void *user, const Service *svc, Building *b, Err *err), void *user)
{
	AUTO_STRV char **named = NULL;
	AUTO_STRV char **built = NULL;
	AUTO_HTTP *client = NULL;
	int code = 0;
	for (char *const *s = services; s && *s; s++)
		add_named(stack, *s, deps, &named);
	for (size_t i = 0; !code && i < stack->n_services; i++) {
		AUTO_ERR err = ERR_INIT;
		const Service *svc = &stack->services[i];
		if (!svc->build.context || (services && !strv_has(named, svc->name)) || strv_has(built, svc->image))
			continue;
		if (which == BUILD_MISSING && svc->pull_policy != PULL_BUILD) {
			if (!client && (code = client_open_or_fail(cli, &client)))
				return code;
			int there = image_there(client, svc->image, &err);
			if (there < 0)
				return cli_fail(&err);
			if (there)
				continue;
		}
		code = build_one(cli, stack, svc, adjust, user);
		strv_add(&built, svc->image);
	}
	return code;
}
