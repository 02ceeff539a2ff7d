// SPDX-License-Identifier: Apache-2.0
/*
 * An image configuration comes from whoever made the image. Every value is checked for its type and
 * for what its use would make of it: no control characters where a value ends up in a file of the
 * container, no "..", in a path, counts bounded before anything is copied (the lists here are strvs,
 * whose appending is linear). Labels are opaque text. Go's JSON reader gives null the meaning of
 * "absent" everywhere, so it has that meaning here.
 */
#include "model/image.h"

#include <errno.h>

#include "base/digest.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

#define LIST_MAX 4096 /* entries of Env, Cmd, Labels, … */

static void image_config_done(ImageConfig *c)
{
	strv_free(c->entrypoint);
	strv_free(c->cmd);
	strv_free(c->env);
	free(c->user);
	free(c->working_dir);
	free(c->stop_signal);
	strv_free(c->labels);
	strv_free(c->exposed_ports);
	strv_free(c->volumes);
	strv_free(c->shell);
	strv_free(c->healthcheck.test);
}

const char *machine_architecture(const char *machine)
{
	static const char *const names[][2] = { { "x86_64", "amd64" }, { "aarch64", "arm64" }, { "armv7l", "arm" },
		{ "armv6l", "arm" }, { "i686", "386" } };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(names[i][0], machine))
			return names[i][1];
	return machine;
}

void image_free(Image *i)
{
	if (!i)
		return;
	free(i->id);
	free(i->architecture);
	free(i->os);
	free(i->variant);
	for (size_t k = 0; k < i->n_layers; k++)
		free(i->layers[k].diff_id);
	free(i->layers);
	strv_free(i->tags);
	strv_free(i->digests);
	image_config_done(&i->config);
	free(i->config_json);
	free(i);
}

void image_freep(Image **i)
{
	image_free(*i);
}

void layer_dir_name(const char *diff_id, char dst[33])
{
	const char *hex = str_starts(diff_id, DIGEST_PREFIX) ? diff_id + strlen(DIGEST_PREFIX) : diff_id;
	size_t n = strnlen(hex, 32);
	memcpy(dst, hex, n);
	dst[n] = '\0';
}

static const json_t *member(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	return json_is_null(v) ? NULL : v;
}

static int wrong_type(const char *key, const char *expected, Err *err)
{
	return err_set(err, -EINVAL, "image configuration: '%s' is not %s", key, expected);
}

static int get_string(const json_t *o, const char *key, char **ret, Err *err)
{
	const json_t *v = member(o, key);
	if (!v)
		return 0;
	if (!json_is_string(v))
		return wrong_type(key, "a string", err);
	if (str_has_control(json_string_value(v)))
		return err_set(err, -EINVAL, "image configuration: '%s' has control characters", key);
	if (*json_string_value(v))
		*ret = xstrdup(json_string_value(v));
	return 0;
}

static int too_many(const char *key, Err *err)
{
	return err_set(err, -EINVAL, "image configuration: '%s' has more than %d entries", key, LIST_MAX);
}

/* A list of strings, or (as old images have it) one string. */
static int get_strings(const json_t *o, const char *key, char ***ret, Err *err)
{
	const json_t *v = member(o, key);
	if (!v)
		return 0;
	if (json_is_string(v)) {
		strv_add(ret, json_string_value(v));
		return 0;
	}
	if (!json_is_array(v))
		return wrong_type(key, "a list of strings", err);
	if (json_array_size(v) > LIST_MAX)
		return too_many(key, err);
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *e = json_array_get(v, i);
		if (!json_is_string(e))
			return wrong_type(key, "a list of strings", err);
		strv_add(ret, json_string_value(e));
	}
	return 0;
}

static int get_env(const json_t *o, char ***ret, Err *err)
{
	AUTO_STRV char **raw = NULL;
	int r = get_strings(o, "Env", &raw, err);
	if (r < 0)
		return r;
	for (char **e = raw; e && *e; e++) {
		if (!**e || **e == '=')
			return err_set(err, -EINVAL, "image configuration: 'Env' has an entry without a name");
		strv_take(ret, strchr(*e, '=') ? xstrdup(*e) : xasprintf("%s=", *e));
	}
	return 0;
}

static int get_labels(const json_t *o, char ***ret, Err *err)
{
	const json_t *v = member(o, "Labels"), *e;
	const char *key;
	if (!v)
		return 0;
	if (!json_is_object(v))
		return wrong_type("Labels", "a map of strings", err);
	if (json_object_size(v) > LIST_MAX)
		return too_many("Labels", err);
	json_object_foreach((json_t *) v, key, e)
	{
		if (!json_is_string(e) && !json_is_null(e))
			return wrong_type("Labels", "a map of strings", err);
		if (!*key || strchr(key, '='))
			return err_set(err, -EINVAL, "image configuration: the label name '%s' is empty or has a '='", key);
		strv_take(ret, xasprintf("%s=%s", key, json_is_string(e) ? json_string_value(e) : ""));
	}
	return 0;
}

/* Absolute, without "..": it becomes a mount point inside the container. */
static bool container_path_valid(const char *p)
{
	if (p[0] != '/' || str_has_control(p) || strlen(p) >= 4096)
		return false;
	for (const char *s = p; (s = strstr(s, "/.."));) {
		s += 3;
		if (!*s || *s == '/')
			return false;
	}
	return true;
}

static int get_volumes(const json_t *o, char ***ret, Err *err)
{
	const json_t *v = member(o, "Volumes"), *e;
	const char *key;
	if (!v)
		return 0;
	if (!json_is_object(v))
		return wrong_type("Volumes", "a map", err);
	if (json_object_size(v) > LIST_MAX)
		return too_many("Volumes", err);
	json_object_foreach((json_t *) v, key, e)
	{
		if (!container_path_valid(key))
			return err_set(err, -EINVAL,
				"image configuration: the volume '%s' is not an absolute path without '..'", key);
		strv_add(ret, key);
	}
	return 0;
}

static int bad_port(const char *s, Err *err)
{
	return err_set(err, -EINVAL, "image configuration: the exposed port '%s' is not PORT[-PORT][/tcp|udp|sctp]", s);
}

/* "80", "80/tcp", "8000-8010/udp": one entry a port. */
static int add_port(const char *s, char ***ret, Err *err)
{
	AUTO_FREE char *copy = xstrdup(s);
	char *slash = strchr(copy, '/');
	const char *protocol = "tcp";
	if (slash) {
		*slash = '\0';
		protocol = slash + 1;
		if (!str_eq(protocol, "tcp") && !str_eq(protocol, "udp") && !str_eq(protocol, "sctp"))
			return bad_port(s, err);
	}
	char *dash = strchr(copy, '-');
	if (dash)
		*dash = '\0';
	uint32_t from, to;
	if (parse_u32_max(copy, 65535, &from) < 0 || parse_u32_max(dash ? dash + 1 : copy, 65535, &to) < 0 || !from || to < from)
		return bad_port(s, err);
	if (to - from + strv_len(*ret) >= LIST_MAX)
		return too_many("ExposedPorts", err);
	for (uint32_t p = from; p <= to; p++)
		strv_take(ret, xasprintf("%u/%s", p, protocol));
	return 0;
}

static int get_ports(const json_t *o, char ***ret, Err *err)
{
	const json_t *v = member(o, "ExposedPorts"), *e;
	const char *key;
	if (!v)
		return 0;
	if (!json_is_object(v))
		return wrong_type("ExposedPorts", "a map", err);
	if (json_object_size(v) > LIST_MAX)
		return too_many("ExposedPorts", err);
	json_object_foreach((json_t *) v, key, e)
	{
		int r = add_port(key, ret, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Nanoseconds; 0 and absent are "unset", as Docker reads them. */
static int get_interval(const json_t *o, const char *key, int64_t *ret, Err *err)
{
	const json_t *v = member(o, key);
	*ret = -1;
	if (!v)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return wrong_type(key, "a number of nanoseconds", err);
	if (json_integer_value(v) > 0)
		*ret = json_integer_value(v);
	return 0;
}

static int get_healthcheck(const json_t *o, Healthcheck *ret, Err *err)
{
	const json_t *h = member(o, "Healthcheck");
	*ret = (Healthcheck) { .interval = -1, .timeout = -1, .start_period = -1, .start_interval = -1, .retries = -1 };
	if (!h)
		return 0;
	if (!json_is_object(h))
		return wrong_type("Healthcheck", "a map", err);
	const json_t *retries = member(h, "Retries");
	if (retries && (!json_is_integer(retries) || json_integer_value(retries) < 0 || json_integer_value(retries) > INT32_MAX))
		return wrong_type("Healthcheck.Retries", "a small number", err);
	if (retries && json_integer_value(retries) > 0)
		ret->retries = (int) json_integer_value(retries);
	int r;
	if ((r = get_strings(h, "Test", &ret->test, err)) < 0 || (r = get_interval(h, "Interval", &ret->interval, err)) < 0 ||
		(r = get_interval(h, "Timeout", &ret->timeout, err)) < 0 ||
		(r = get_interval(h, "StartPeriod", &ret->start_period, err)) < 0 ||
		(r = get_interval(h, "StartInterval", &ret->start_interval, err)) < 0)
		return r;
	ret->set = true;
	size_t n = strv_len(ret->test);
	if (n == 0) {
		/* No test of its own: Docker inherits, and there is nothing to inherit from here. */
		ret->set = false;
	} else if (str_eq(ret->test[0], "NONE")) {
		ret->disable = true;
	} else if (!(str_eq(ret->test[0], "CMD") && n >= 2) && !(str_eq(ret->test[0], "CMD-SHELL") && n == 2)) {
		return err_set(err, -EINVAL,
			"image configuration: 'Healthcheck.Test' is not [\"NONE\"], [\"CMD\", …] or [\"CMD-SHELL\", COMMAND]");
	}
	return 0;
}

static int get_config(const json_t *o, ImageConfig *c, Err *err)
{
	int r;
	if ((r = get_strings(o, "Entrypoint", &c->entrypoint, err)) < 0 || (r = get_strings(o, "Cmd", &c->cmd, err)) < 0 ||
		(r = get_strings(o, "Shell", &c->shell, err)) < 0 || (r = get_env(o, &c->env, err)) < 0 ||
		(r = get_string(o, "User", &c->user, err)) < 0 || (r = get_string(o, "WorkingDir", &c->working_dir, err)) < 0 ||
		(r = get_string(o, "StopSignal", &c->stop_signal, err)) < 0 || (r = get_labels(o, &c->labels, err)) < 0 ||
		(r = get_ports(o, &c->exposed_ports, err)) < 0 || (r = get_volumes(o, &c->volumes, err)) < 0 ||
		(r = get_healthcheck(o, &c->healthcheck, err)) < 0)
		return r;
	if (c->working_dir && c->working_dir[0] != '/') {
		char *absolute = xasprintf("/%s", c->working_dir);
		free(c->working_dir);
		c->working_dir = absolute;
	}
	if (c->working_dir && !container_path_valid(c->working_dir))
		return err_set(err, -EINVAL, "image configuration: the working directory '%s' has '..' or is too long",
			c->working_dir);
	return 0;
}

static int get_layers(const json_t *root, Image *i, Err *err)
{
	const json_t *rootfs = member(root, "rootfs");
	if (!json_is_object(rootfs))
		return err_set(err, -EINVAL, "image configuration: 'rootfs' is missing or not a map: this is not an image");
	const json_t *ids = member(rootfs, "diff_ids");
	if (!ids)
		return 0;
	if (!json_is_array(ids))
		return wrong_type("rootfs.diff_ids", "a list of digests", err);
	if (json_array_size(ids) > LIMIT_IMAGE_LAYERS)
		return err_set(err, -EINVAL, "image configuration: %zu layers, at most %d can be mounted", json_array_size(ids),
			LIMIT_IMAGE_LAYERS);
	for (size_t k = 0; k < json_array_size(ids); k++) {
		const char *id = json_string_value(json_array_get(ids, k));
		if (!digest_valid(id))
			return err_set(err, -EINVAL,
				"image configuration: 'rootfs.diff_ids' has '%s', which is not sha256: and 64 hexadecimal digits",
				id ? id : "no string");
		array_append(i->layers, i->n_layers)->diff_id = xstrdup(id);
	}
	return 0;
}

static int fill(const json_t *root, Image *i, Err *err)
{
	int r;
	AUTO_FREE char *created = NULL;
	if (!json_is_object(root))
		return err_set(err, -EINVAL, "image configuration: not a map");
	if ((r = get_string(root, "architecture", &i->architecture, err)) < 0 || (r = get_string(root, "os", &i->os, err)) < 0 ||
		(r = get_string(root, "variant", &i->variant, err)) < 0 || (r = get_string(root, "created", &created, err)) < 0)
		return r;
	/* An unreadable date is no reason to refuse an image: 0 reads as "unknown". */
	if (created && time_parse_rfc3339(created, &i->created) < 0)
		i->created = 0;
	if ((r = get_layers(root, i, err)) < 0)
		return r;
	const json_t *config = member(root, "config");
	if (config && !json_is_object(config))
		return wrong_type("config", "a map", err);
	return get_config(config, &i->config, err);
}

int image_from_config(const char *json, size_t n, Image **ret, Err *err)
{
	json_error_t e;
	if (n > LIMIT_MANIFEST_BYTES)
		return err_set(err, -EINVAL, "image configuration: larger than %u bytes", LIMIT_MANIFEST_BYTES);
	json_t *root = json_loadb(json, n, JSON_REJECT_DUPLICATES, &e);
	if (!root)
		return err_set(err, -EINVAL, "image configuration: line %d: %s", e.line, e.text);
	Image *i = xcalloc(1, sizeof(*i));
	int r = fill(root, i, err);
	json_decref(root);
	if (r < 0) {
		image_free(i);
		return r;
	}
	char hex[DIGEST_HEX_MAX];
	digest_sha256(json, n, hex);
	i->id = xasprintf(DIGEST_PREFIX "%s", hex);
	i->config_json = xstrndup(json, n);
	*ret = i;
	return 0;
}
