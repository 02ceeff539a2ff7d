// SPDX-License-Identifier: Apache-2.0
#include "build/options.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/manifest.h"

#define LIST_MAX 4096
#define CACHE_DIRS_MAX 64

static void cache_dirs_done(CacheDir *dirs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(dirs[i].name);
	free(dirs);
}

void build_options_done(BuildOptions *o)
{
	cache_dirs_done(o->cache_from, o->n_cache_from);
	cache_dirs_done(o->cache_to, o->n_cache_to);
	free(o->dockerfile);
	free(o->dockerfile_name);
	free(o->ignore);
	free(o->ignore_name);
	free(o->context);
	free(o->target);
	free(o->platform);
	free(o->build_platform);
	strv_free(o->args);
	strv_free(o->labels);
	strv_free(o->tags);
	strv_free(o->secrets);
	strv_free(o->ssh);
	strv_free(o->no_cache_filter);
	strv_free(o->contexts);
	*o = (BuildOptions) { 0 };
}

/* As others write it: v8 is what arm64 without a variant means. */
static const char *written_variant(const char *arch, const char *variant)
{
	return str_eq(arch, "arm64") && str_eq(variant, "v8") ? NULL : variant;
}

int platform_split(const char *platform, char **ret_arch, char **ret_variant, Err *err)
{
	const char *arch = platform, *variant = NULL, *known;
	if (strchr(platform, ','))
		return err_set(err, -EINVAL, "platform '%s': an image has one platform here; build once for each", platform);
	if (str_starts(platform, "linux/"))
		arch += strlen("linux/");
	const char *slash = strchr(arch, '/');
	AUTO_FREE char *name = slash ? xstrndup(arch, (size_t) (slash - arch)) : xstrdup(arch);
	known = platform_arch(name, &variant);
	if (!known)
		return err_set(err, -EINVAL, "platform '%s' is not known: write linux/amd64, linux/arm64, linux/arm/v7, …", platform);
	*ret_arch = xstrdup(known);
	*ret_variant = xstrdup(written_variant(known, slash ? slash + 1 : variant));
	return 0;
}

static int get_text(const json_t *o, const char *key, char **ret, Err *err)
{
	const json_t *v = json_object_get(o, key);
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_string(v))
		return err_set(err, -EINVAL, "build option '%s' is not a string", key);
	free(*ret);
	*ret = xstrdup(json_string_value(v));
	return 0;
}

static int get_bool(const json_t *o, const char *key, bool *ret, Err *err)
{
	const json_t *v = json_object_get(o, key);
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_boolean(v))
		return err_set(err, -EINVAL, "build option '%s' is neither true nor false", key);
	*ret = json_is_true(v);
	return 0;
}

static int get_list(const json_t *o, const char *key, char ***ret, Err *err)
{
	const json_t *v = json_object_get(o, key);
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_array(v) || json_array_size(v) > LIST_MAX)
		return err_set(err, -EINVAL, "build option '%s' is not a list of at most %d strings", key, LIST_MAX);
	for (size_t i = 0; i < json_array_size(v); i++) {
		if (!json_is_string(json_array_get(v, i)))
			return err_set(err, -EINVAL, "build option '%s' is not a list of strings", key);
		strv_add(ret, json_string_value(json_array_get(v, i)));
	}
	return 0;
}

/* A map of strings as "NAME=value"s. null: the name is passed over, it has no value. */
static int get_map(const json_t *o, const char *key, char ***ret, Err *err)
{
	json_t *map = json_object_get(o, key), *value;
	const char *name;
	if (!map || json_is_null(map))
		return 0;
	if (!json_is_object(map) || json_object_size(map) > LIST_MAX)
		return err_set(err, -EINVAL, "build option '%s' is not a map of at most %d strings", key, LIST_MAX);
	json_object_foreach(map, name, value)
	{
		if (json_is_null(value))
			continue;
		if (!json_is_string(value) || !*name || strchr(name, '='))
			return err_set(err, -EINVAL, "build option '%s' has '%s', which is no name with a string", key, name);
		strv_take(ret, xasprintf("%s=%s", name, json_string_value(value)));
	}
	return 0;
}

static int get_cache_dirs(const json_t *o, const char *key, CacheDir **ret, size_t *ret_n, Err *err)
{
	const json_t *list = json_object_get(o, key);
	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list) || json_array_size(list) > CACHE_DIRS_MAX)
		return err_set(err, -EINVAL, "build option '%s' is not a list of at most %d directories", key, CACHE_DIRS_MAX);
	for (size_t i = 0; i < json_array_size(list); i++) {
		CacheDir d = { 0 };
		const char *name;
		json_error_t e;
		int final_only = 0, ignore_error = 0;
		if (json_unpack_ex(json_array_get(list, i), &e, JSON_STRICT, "{s:I, s:s, s?b, s?b}", "dir", &d.number, "name", &name, "final_only", &final_only,
				"ignore_error", &ignore_error) < 0)
			return err_set(err, -EINVAL, "build option '%s': %s", key, e.text);
		d.name = xstrdup(name);
		d.final_only = final_only;
		d.ignore_error = ignore_error;
		*array_append(*ret, *ret_n) = d;
	}
	return 0;
}

static int get_source(const json_t *o, ContextSource *ret, Err *err)
{
	const char *s = json_string_value(json_object_get(o, "source"));
	if (!s || str_eq(s, "none"))
		*ret = CONTEXT_NONE;
	else if (str_eq(s, "client"))
		*ret = CONTEXT_CLIENT;
	else if (str_eq(s, "tar"))
		*ret = CONTEXT_TAR;
	else
		return err_set(err, -EINVAL, "build option 'source' is '%s', not client, tar or none", s);
	return 0;
}

static int get_epoch(const json_t *o, BuildOptions *ret, Err *err)
{
	const json_t *v = json_object_get(o, "source_date_epoch");
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 253402300799LL)
		return err_set(err, -EINVAL, "build option 'source_date_epoch' is no number of seconds");
	ret->epoch = json_integer_value(v);
	ret->has_epoch = true;
	return 0;
}

/* Docker takes it from the arguments, too. */
static int epoch_argument(BuildOptions *o, Err *err)
{
	const char *text = strv_env(o->args, "SOURCE_DATE_EPOCH");
	if (o->has_epoch || str_empty(text))
		return 0;
	if (parse_i64(text, &o->epoch) < 0 || o->epoch < 0 || o->epoch > 253402300799LL)
		return err_set(err, -EINVAL, "SOURCE_DATE_EPOCH is '%s', not a number of seconds", text);
	o->has_epoch = true;
	return 0;
}

static int set_platforms(BuildOptions *o, Err *err)
{
	const char *variant, *arch = platform_host(&variant);
	AUTO_FREE char *asked_arch = NULL;
	AUTO_FREE char *asked_variant = NULL;
	variant = written_variant(arch, variant);
	o->build_platform = xasprintf("linux/%s%s%s", arch, variant ? "/" : "", variant ? variant : "");
	if (str_empty(o->platform)) {
		str_set(&o->platform, o->build_platform);
		return 0;
	}
	int r = platform_split(o->platform, &asked_arch, &asked_variant, err);
	if (r < 0)
		return r;
	free(o->platform);
	o->platform = xasprintf("linux/%s%s%s", asked_arch, asked_variant ? "/" : "", asked_variant ? asked_variant : "");
	return 0;
}

int build_options_read(const json_t *o, BuildOptions *ret, Err *err)
{
	__attribute__((cleanup(build_options_done))) BuildOptions b = { .package_caches = true };
	const struct {
		const char *key;
		char **text;
		char ***list, ***map;
		bool *flag;
	} fields[] = {
		{ "dockerfile", .text = &b.dockerfile }, { "dockerfile_name", .text = &b.dockerfile_name }, { "ignore", .text = &b.ignore },
		{ "ignore_name", .text = &b.ignore_name }, { "context", .text = &b.context }, { "target", .text = &b.target },
		{ "platform", .text = &b.platform }, { "tags", .list = &b.tags }, { "secrets", .list = &b.secrets }, { "ssh", .list = &b.ssh },
		{ "no_cache_filter", .list = &b.no_cache_filter }, { "args", .map = &b.args }, { "labels", .map = &b.labels },
		{ "contexts", .map = &b.contexts }, { "no_cache", .flag = &b.no_cache }, { "pull", .flag = &b.pull },
		{ "package_caches", .flag = &b.package_caches },
	};
	int r = json_is_object(o) ? 0 : err_set(err, -EINVAL, "the options of the build are no JSON object");
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(fields); i++) {
		const char *key = fields[i].key;
		r = fields[i].text ? get_text(o, key, fields[i].text, err) : fields[i].list ? get_list(o, key, fields[i].list, err) :
			fields[i].map ? get_map(o, key, fields[i].map, err) : get_bool(o, key, fields[i].flag, err);
	}
	if (r < 0 || (r = get_cache_dirs(o, "cache_from", &b.cache_from, &b.n_cache_from, err)) < 0 ||
		(r = get_cache_dirs(o, "cache_to", &b.cache_to, &b.n_cache_to, err)) < 0 || (r = get_source(o, &b.source, err)) < 0 || (r = get_epoch(o, &b, err)) < 0 || (r = epoch_argument(&b, err)) < 0 ||
		(r = set_platforms(&b, err)) < 0)
		return r;
	if (str_empty(b.dockerfile_name))
		str_set(&b.dockerfile_name, "Dockerfile");
	if (!b.ignore_name)
		b.ignore_name = xstrdup(".dockerignore");
	if (!b.context)
		b.context = xstrdup("");
	if (b.target && !*b.target)
		free_and_null(&b.target);
	*ret = b;
	b = (BuildOptions) { 0 };
	return 0;
}
