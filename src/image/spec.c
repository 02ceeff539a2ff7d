// SPDX-License-Identifier: Apache-2.0
#include "image/spec.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "image/manifest.h"
#include "image/reference.h"

#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

void image_spec_done(ImageSpec *s)
{
	free(s->name);
	free(s->arch);
	free(s->variant);
	strv_free(s->entrypoint);
	strv_free(s->cmd);
	strv_free(s->env);
	strv_free(s->ports);
	strv_free(s->volumes);
	strv_free(s->labels);
	free(s->user);
	free(s->workdir);
	free(s->stop_signal);
	strv_free(s->packages);
	free(s->suite);
	free(s->mirror);
	*s = (ImageSpec) { 0 };
}

static int get_list(const json_t *o, const char *key, char ***ret, Err *err)
{
	const json_t *v = json_object_get(o, key);
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_array(v) || json_array_size(v) > 1000)
		return err_set(err, -EINVAL, "'%s' is not a list of at most 1000 strings", key);
	for (size_t i = 0; i < json_array_size(v); i++) {
		const char *s = json_string_value(json_array_get(v, i));
		if (!s)
			return err_set(err, -EINVAL, "'%s' is not a list of strings", key);
		strv_add(ret, s);
	}
	return 0;
}

static int get_text(const json_t *o, const char *key, char **ret, Err *err)
{
	const json_t *v = json_object_get(o, key);
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_string(v) || str_has_control(json_string_value(v)))
		return err_set(err, -EINVAL, "'%s' is not a line of text", key);
	if (*json_string_value(v))
		*ret = xstrdup(json_string_value(v));
	return 0;
}

/* Debian Policy 5.6.1: lower-case letters, digits, "+-.", at least two characters; apt's "=version" and ":arch" too. */
static bool package_valid(const char *s)
{
	if (!((*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9')) || strlen(s) > 200)
		return false;
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.");
	if (n < 2 || s[n - 1] == '-' || s[n - 1] == '+') /* apt: "name-" removes */
		return n >= 2 && s[n - 1] == '+' && !s[n] && str_ends(s, "++"); /* g++ */
	return !s[n] ||
		((s[n] == '=' || s[n] == ':') &&
			strspn(s + n + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.~:") ==
				strlen(s + n + 1));
}

/* All that the configuration would be refused for is better said before minutes of work. */
static int check_configuration(const ImageSpec *s, Err *err)
{
	Image *image = NULL;
	int r = image_spec_build(s, NULL, 0, "check", &image, err);
	image_free(image);
	return r;
}

static int check(ImageSpec *s, Err *err)
{
	char *name = NULL;
	const char *variant = NULL, *arch;
	int r = reference_normalise(s->name ? s->name : "", &name, err);
	if (r < 0)
		return r;
	free(s->name);
	s->name = name;
	if (strchr(name, '@'))
		return err_set(err, -EINVAL, "image name '%s': a name with a digest cannot be given to an image", name);
	arch = s->arch ? platform_arch(s->arch, &variant) : platform_host(&variant);
	if (!arch)
		return err_set(err, -EINVAL,
			"architecture '%s' is not known (amd64, arm64, armhf, armel, i386, ppc64el, s390x, riscv64)", s->arch);
	str_set(&s->arch, arch);
	str_set(&s->variant, variant);
	for (char **p = s->packages; p && *p; p++)
		if (!package_valid(*p))
			return err_set(err, -EINVAL, "'%s' is not a package name", *p);
	if (s->suite && (strspn(s->suite, "abcdefghijklmnopqrstuvwxyz0123456789-.") != strlen(s->suite) || s->suite[0] == '-'))
		return err_set(err, -EINVAL, "suite '%s' is not a name such as bookworm", s->suite);
	if (s->mirror && !str_starts(s->mirror, "http://") && !str_starts(s->mirror, "https://"))
		return err_set(err, -EINVAL, "mirror '%s' does not begin with http:// or https://", s->mirror);
	if (s->mirror && strpbrk(s->mirror, " \t[]"))
		return err_set(err, -EINVAL, "mirror '%s' has blanks or brackets", s->mirror);
	return check_configuration(s, err);
}

int image_spec_from_json(const json_t *o, ImageSpec *ret, Err *err)
{
	AUTO_IMAGE_SPEC s = { 0 };
	const struct {
		const char *key;
		char ***list;
		char **text;
	} fields[] = {
		{ "name", NULL, &s.name }, { "arch", NULL, &s.arch }, { "entrypoint", &s.entrypoint, NULL }, { "cmd", &s.cmd, NULL },
		{ "env", &s.env, NULL }, { "ports", &s.ports, NULL }, { "volumes", &s.volumes, NULL }, { "labels", &s.labels, NULL },
		{ "user", NULL, &s.user }, { "workdir", NULL, &s.workdir }, { "stop_signal", NULL, &s.stop_signal },
		{ "packages", &s.packages, NULL }, { "suite", NULL, &s.suite }, { "mirror", NULL, &s.mirror },
	};
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		int r = fields[i].list ? get_list(o, fields[i].key, fields[i].list, err) :
					 get_text(o, fields[i].key, fields[i].text, err);
		if (r < 0)
			return r;
	}
	int r = check(&s, err);
	if (r < 0)
		return r;
	*ret = s;
	s = (ImageSpec) { 0 };
	return 0;
}

/* Building. */

static void put_list(json_t *o, const char *key, char *const *v)
{
	if (!v)
		return;
	json_t *list = json_array();
	for (; *v; v++)
		(void) json_array_append_new(list, json_string(*v));
	(void) json_object_set_new(o, key, list);
}

static void put_set(json_t *o, const char *key, char *const *v, const char *suffix)
{
	if (!v)
		return;
	json_t *set = json_object();
	for (; *v; v++) {
		AUTO_FREE char *name = xasprintf("%s%s", *v, strchr(*v, '/') ? "" : suffix);
		(void) json_object_set_new(set, name, json_object());
	}
	(void) json_object_set_new(o, key, set);
}

static int put_labels(json_t *o, char *const *v, Err *err)
{
	if (!v)
		return 0;
	json_t *map = json_object();
	(void) json_object_set_new(o, "Labels", map);
	for (; *v; v++) {
		const char *eq = strchr(*v, '=');
		if (!eq || eq == *v)
			return err_set(err, -EINVAL, "label '%s' is not KEY=VALUE", *v);
		AUTO_FREE char *key = xstrndup(*v, (size_t) (eq - *v));
		(void) json_object_set_new(map, key, json_string(eq + 1));
	}
	return 0;
}

static int put_env(json_t *o, const ImageSpec *s, Err *err)
{
	AUTO_STRV char **env = NULL;
	strv_add(&env, "PATH=" PATH_DEFAULT);
	for (char **e = s->env; e && *e; e++) {
		const char *eq = strchr(*e, '=');
		if (!eq || eq == *e)
			return err_set(err, -EINVAL, "environment '%s' is not KEY=VALUE", *e);
		AUTO_FREE char *key = xstrndup(*e, (size_t) (eq - *e));
		strv_setenv(&env, key, eq + 1);
	}
	put_list(o, "Env", env);
	return 0;
}

static int build_config(const ImageSpec *s, json_t *config, Err *err)
{
	int r = put_env(config, s, err);
	if (r < 0 || (r = put_labels(config, s->labels, err)) < 0)
		return r;
	put_list(config, "Entrypoint", s->entrypoint);
	put_list(config, "Cmd", s->cmd);
	put_set(config, "ExposedPorts", s->ports, "/tcp");
	put_set(config, "Volumes", s->volumes, "");
	if (s->user)
		(void) json_object_set_new(config, "User", json_string(s->user));
	if (s->workdir)
		(void) json_object_set_new(config, "WorkingDir", json_string(s->workdir));
	if (s->stop_signal)
		(void) json_object_set_new(config, "StopSignal", json_string(s->stop_signal));
	return 0;
}

int image_spec_build(const ImageSpec *s, const char *const *diff_ids, size_t n, const char *how, Image **ret, Err *err)
{
	char when[TIME_TEXT_MAX];
	json_t *ids = json_array(), *config = json_object(), *history = json_array();
	(void) time_rfc3339(time_real(), when);
	for (size_t i = 0; i < n; i++) {
		(void) json_array_append_new(ids, json_string(diff_ids[i]));
		(void) json_array_append_new(history, json_pack("{s:s, s:s}", "created", when, "created_by", how));
	}
	int r = build_config(s, config, err);
	json_t *root = json_pack("{s:s, s:s, s:s, s:o, s:{s:s, s:o}, s:o}", "architecture", s->arch, "os", "linux", "created", when,
		"config", config, "rootfs", "type", "layers", "diff_ids", ids, "history", history);
	if (!root)
		return err_set(err, -EINVAL, "a value is not UTF-8");
	if (s->variant)
		(void) json_object_set_new(root, "variant", json_string(s->variant));
	AUTO_FREE char *text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(root);
	return r < 0 ? r : image_from_config(text, strlen(text), ret, err);
}
