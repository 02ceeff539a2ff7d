// SPDX-License-Identifier: Apache-2.0
/*
 * What of the host's file system a service sees: volumes, devices, configs and secrets. A volume's short form
 * is [SOURCE:]TARGET[:OPTIONS]; a source that begins with "/", "." or "~" is a path, any other a named
 * volume.
 */
#include "base/mem.h"
#include "base/str.h"
#include "compose/shape.h"

/* ---- volumes ---- */

static void add_string(Arena *a, Node *map, const Node *at, const char *key, const char *value)
{
	node_add(a, map, key, at->line, node_string(a, at, value));
}

static void add_true(Arena *a, Node *map, const Node *at, const char *key)
{
	node_add(a, map, key, at->line, node_typed(a, at, SCALAR_BOOL, "true"));
}

static Node *sub_map(Arena *a, Node *map, const Node *at, const char *key)
{
	Node *n = node_get(map, key);
	if (!n) {
		n = node_map(a, at);
		node_add(a, map, key, at->line, n);
	}
	return n;
}

static bool is_host_path(const char *s)
{
	return *s == '/' || *s == '.' || *s == '~';
}

typedef enum VolumeOption {
	OPT_NONE,
	OPT_RO,
	OPT_PROPAGATION,
	OPT_SELINUX,
	OPT_NOCOPY,
	OPT_IGNORED
} VolumeOption;

static const struct {
	const char *name;
	VolumeOption option;
} volume_options[] = {
	{ "ro", OPT_RO },
	{ "rw", OPT_IGNORED },
	{ "z", OPT_SELINUX },
	{ "Z", OPT_SELINUX },
	{ "nocopy", OPT_NOCOPY },
	{ "cached", OPT_IGNORED }, /* these three tune file sharing on macOS */
	{ "delegated", OPT_IGNORED },
	{ "consistent", OPT_IGNORED },
	{ "private", OPT_PROPAGATION },
	{ "rprivate", OPT_PROPAGATION },
	{ "shared", OPT_PROPAGATION },
	{ "rshared", OPT_PROPAGATION },
	{ "slave", OPT_PROPAGATION },
	{ "rslave", OPT_PROPAGATION },
};

static int apply_option(Shape *s, const Node *n, Node *out, const char *word, bool bind)
{
	Arena *a = &s->l->arena;
	VolumeOption option = OPT_NONE;
	for (size_t i = 0; i < ARRAY_SIZE(volume_options); i++)
		if (str_eq(volume_options[i].name, word))
			option = volume_options[i].option;
	if (option == OPT_NONE) {
		(void) shape_fail(s, n,
			"'%s': unknown option '%s'; ro, rw, z, Z, nocopy and rslave, rshared … are known",
			n->text, word);
		return -1;
	}
	if (option == OPT_RO && !node_get(out, "read_only"))
		add_true(a, out, n, "read_only");
	else if (option == OPT_PROPAGATION && bind)
		node_set(a, sub_map(a, out, n, "bind"), "propagation", node_string(a, n, word));
	else if (option == OPT_SELINUX && bind)
		node_set(a, sub_map(a, out, n, "bind"), "selinux", node_string(a, n, word));
	else if (option == OPT_NOCOPY && !bind)
		node_set(a, sub_map(a, out, n, "volume"), "nocopy", node_typed(a, n, SCALAR_BOOL, "true"));
	return 0;
}

static int apply_options(Shape *s, const Node *n, Node *out, const char *options, bool bind)
{
	while (*options) {
		size_t len = strcspn(options, ",");
		if (apply_option(s, n, out, arena_strndup(&s->l->arena, options, len), bind) < 0)
			return -1;
		options += len + (options[len] == ',');
	}
	return 0;
}

static Node *short_volume(Shape *s, const Node *n)
{
	Arena *a = &s->l->arena;
	char *source = arena_strdup(a, n->text), *target = strchr(source, ':'), *options = NULL;
	Node *out = node_map(a, n);
	if (target)
		*target++ = '\0';
	else
		target = source;
	if (target != source && (options = strchr(target, ':')))
		*options++ = '\0';
	if (!*source || !*target || (options && (!*options || strchr(options, ':'))))
		return shape_fail(s, n, "'%s' must be [SOURCE:]TARGET[:OPTIONS]", n->text);
	bool anonymous = target == source, bind = !anonymous && is_host_path(source);
	if (*target != '/')
		return shape_fail(
			s, n, "'%s': the path in the container must be absolute, not '%s'", n->text, target);
	add_string(a, out, n, "type", bind ? "bind" : "volume");
	if (!anonymous) {
		const char *path = bind ? shape_resolve_path(s, n, source) : source;
		if (!path)
			return NULL;
		add_string(a, out, n, "source", path);
	}
	add_string(a, out, n, "target", clean_path(a, target));
	if (options && apply_options(s, n, out, options, bind) < 0)
		return NULL;
	return out;
}

static const ShapeKey bind_keys[] = {
	{ "create_host_path", shape_bool },
	{ "propagation", shape_string },
	{ "selinux", shape_string },
};

static Node *shape_bind(Shape *s, const Node *n)
{
	return shape_table(s, n, bind_keys, ARRAY_SIZE(bind_keys));
}

static Node *shape_volume_options(Shape *s, const Node *n)
{
	static const ShapeKey keys[] = { { "nocopy", shape_bool }, { "subpath", shape_string } };
	return shape_table(s, n, keys, ARRAY_SIZE(keys));
}

static Node *shape_tmpfs_options(Shape *s, const Node *n)
{
	static const ShapeKey keys[] = { { "size", shape_bytes }, { "mode", shape_mode } };
	return shape_table(s, n, keys, ARRAY_SIZE(keys));
}

static const ShapeKey volume_keys[] = {
	{ "type", shape_string },
	{ "source", shape_string },
	{ "target", shape_string },
	{ "read_only", shape_bool },
	{ "bind", shape_bind },
	{ "volume", shape_volume_options },
	{ "tmpfs", shape_tmpfs_options },
	{ "consistency", shape_string },
};

static Node *long_volume(Shape *s, const Node *n)
{
	Arena *a = &s->l->arena;
	Node *out = shape_table(s, n, volume_keys, ARRAY_SIZE(volume_keys));
	if (!out)
		return NULL;
	const Node *type = node_get(out, "type"), *source = node_get(out, "source"),
		   *target = node_get(out, "target");
	if (!type)
		return shape_fail(s, n, "'type' is missing; write volume, bind or tmpfs");
	if (target && *target->text == '/')
		node_set(a, out, "target", node_string(a, target, clean_path(a, target->text)));
	if (source && str_eq(type->text, "bind")) {
		const char *path = shape_resolve_path(s, source, source->text);
		if (!path)
			return NULL;
		node_set(a, out, "source", node_string(a, source, path));
	}
	return out;
}

static Node *shape_each(Shape *s, const Node *n, ShapeFn *from_scalar, ShapeFn *from_map)
{
	Arena *a = &s->l->arena;
	if (!node_is_seq(n))
		return shape_fail(s, n, "must be a list, not %s", node_what(n));
	Node *out = node_seq(a, n);
	for (size_t i = 0; i < n->n; i++) {
		const Node *item = n->items[i].value;
		size_t before = path_enter_index(&s->path, i);
		Node *v = node_is_scalar(item) ? from_scalar(s, item) : from_map(s, item);
		if (!v)
			return NULL;
		path_leave(&s->path, before);
		node_push(a, out, v);
	}
	return out;
}

Node *shape_volumes(Shape *s, const Node *n)
{
	return shape_each(s, n, short_volume, long_volume);
}

/* ---- devices ---- */

/* HOST[:CONTAINER[:PERMISSIONS]] */
static Node *short_device(Shape *s, const Node *n)
{
	Arena *a = &s->l->arena;
	char *source = arena_strdup(a, n->text), *target = strchr(source, ':'), *permissions = NULL;
	if (*source != '/')
		return shape_fail(s, n, "'%s' must be the path of a device", n->text);
	if (target)
		*target++ = '\0';
	if (target && (permissions = strchr(target, ':')))
		*permissions++ = '\0';
	if (target && *target != '/' && !permissions && !target[strspn(target, "rwm")]) {
		permissions = target;
		target = NULL;
	}
	Node *out = node_map(a, n);
	add_string(a, out, n, "source", clean_path(a, source));
	add_string(a, out, n, "target", target ? target : source);
	add_string(a, out, n, "permissions", permissions ? permissions : "rwm");
	return out;
}

static Node *long_device(Shape *s, const Node *n)
{
	static const ShapeKey keys[] = { { "source", shape_string }, { "target", shape_string },
		{ "permissions", shape_string } };
	Arena *a = &s->l->arena;
	Node *out = shape_table(s, n, keys, ARRAY_SIZE(keys));
	const Node *source = out ? node_get(out, "source") : NULL;
	if (source && !node_get(out, "target"))
		add_string(a, out, source, "target", source->text);
	return out;
}

Node *shape_devices(Shape *s, const Node *n)
{
	return shape_each(s, n, short_device, long_device);
}

/* ---- configs and secrets of a service ---- */

static const char *secret_target(Arena *a, const char *name)
{
	return *name == '/' ? clean_path(a, name) : arena_printf(a, "/run/secrets/%s", name);
}

static const char *config_target(Arena *a, const char *name)
{
	return clean_path(a, arena_printf(a, "/%s", name));
}

static Node *short_ref(Shape *s, const Node *n, bool secret)
{
	Arena *a = &s->l->arena;
	Node *out = node_map(a, n);
	add_string(a, out, n, "source", n->text);
	add_string(a, out, n, "target", secret ? secret_target(a, n->text) : config_target(a, n->text));
	return out;
}

static Node *long_ref(Shape *s, const Node *n, bool secret)
{
	static const ShapeKey keys[] = { { "source", shape_string }, { "target", shape_string },
		{ "uid", shape_string }, { "gid", shape_string }, { "mode", shape_mode } };
	Arena *a = &s->l->arena;
	Node *out = shape_table(s, n, keys, ARRAY_SIZE(keys));
	if (!out)
		return NULL;
	const Node *source = node_get(out, "source"), *target = node_get(out, "target");
	if (!source)
		return shape_fail(s, n, "'source' is missing; name a %s of the top level",
			secret ? "secret" : "config");
	const char *name = target ? target->text : source->text;
	node_set(a, out, "target",
		node_string(a, target ? target : source,
			secret ? secret_target(a, name) : config_target(a, name)));
	return out;
}

static Node *short_secret(Shape *s, const Node *n)
{
	return short_ref(s, n, true);
}

static Node *long_secret(Shape *s, const Node *n)
{
	return long_ref(s, n, true);
}

static Node *short_config(Shape *s, const Node *n)
{
	return short_ref(s, n, false);
}

static Node *long_config(Shape *s, const Node *n)
{
	return long_ref(s, n, false);
}

Node *shape_file_refs_secret(Shape *s, const Node *n)
{
	return shape_each(s, n, short_secret, long_secret);
}

Node *shape_file_refs_config(Shape *s, const Node *n)
{
	return shape_each(s, n, short_config, long_config);
}
