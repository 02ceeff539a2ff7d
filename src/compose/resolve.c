// SPDX-License-Identifier: Apache-2.0
/*
 * Works on the document as it is after merging, service by service, then on the top level. What no service
 * that is on uses is left out, so a secret of a service that is off need not exist.
 */
#include "compose/resolve.h"

#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "compose/env-file.h"
#include "compose/shape.h"
#include "model/nearest.h"

typedef struct Resolve {
	Load *l;
	Arena *a;
	Node *doc, *services;
	Node *off; /* services whose profile is not active */
	const ResolveOptions *o;
	KeyPath path;
} Resolve;

static Node *top(Resolve *r, const char *key)
{
	Node *n = node_get(r->doc, key);
	if (!node_is_map(n)) {
		n = node_map(r->a, r->doc);
		node_set(r->a, r->doc, key, n);
	}
	return n;
}

static size_t enter_service(Resolve *r, const char *service)
{
	path_leave(&r->path, 0);
	(void) path_enter(&r->path, "services");
	(void) path_enter(&r->path, service);
	return r->path.len;
}

static const char *text_of(const Node *map, const char *key)
{
	const Node *v = node_get(map, key);
	return node_is_scalar(v) ? v->text : NULL;
}

/* ---- profiles ---- */

static bool profile_active(const Resolve *r, const Node *profiles)
{
	if (!node_is_seq(profiles) || !profiles->n || strv_has(r->o->profiles, "*"))
		return true;
	for (size_t i = 0; i < profiles->n; i++)
		if (strv_has(r->o->profiles, profiles->items[i].value->text))
			return true;
	return false;
}

/* Profiles of services that the command line names are on, for these and for all others that have them. */
static bool profile_named(const Resolve *r, const Node *profiles)
{
	for (char *const *s = r->o->services; s && *s; s++) {
		const Node *other = node_get(node_get(r->services, *s), "profiles");
		for (size_t i = 0; node_is_seq(other) && i < other->n; i++)
			for (size_t k = 0; node_is_seq(profiles) && k < profiles->n; k++)
				if (str_eq(other->items[i].value->text, profiles->items[k].value->text))
					return true;
	}
	return false;
}

static int check_named(Resolve *r)
{
	for (char *const *s = r->o->services; s && *s; s++) {
		if (node_get(r->services, *s))
			continue;
		const char *near = NULL;
		unsigned best = edit_distance_allowed(*s) + 1;
		for (size_t i = 0; i < r->services->n; i++) {
			unsigned d = edit_distance(*s, r->services->items[i].key, best - 1);
			if (d < best) {
				best = d;
				near = r->services->items[i].key;
			}
		}
		return err_set(r->l->err, -EINVAL, "there is no service '%s' in %s%s%s%s", *s, r->l->files[0],
			near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	}
	return 0;
}

static void switch_services(Resolve *r)
{
	Node *on = node_map(r->a, r->services);
	r->off = node_map(r->a, r->services);
	for (size_t i = 0; i < r->services->n; i++) {
		const NodeItem *item = &r->services->items[i];
		const Node *profiles = node_get(item->value, "profiles");
		bool active = profile_active(r, profiles) || profile_named(r, profiles);
		node_add(r->a, active ? on : r->off, item->key, item->line, item->value);
	}
	r->services = on;
	node_set(r->a, r->doc, "services", on);
}

/* A dependency on a service that is off, if it is required, is an error that names the profiles to choose
 * from. */
static int check_dependencies(Resolve *r, const NodeItem *service)
{
	const Node *depends = node_get(service->value, "depends_on");
	for (size_t i = 0; node_is_map(depends) && i < depends->n; i++) {
		const NodeItem *d = &depends->items[i];
		const Node *other = node_get(r->off, d->key);
		const char *required = text_of(d->value, "required");
		if (!other || (required && str_eq(required, "false")))
			continue;
		(void) path_enter(&r->path, "depends_on");
		(void) path_enter(&r->path, d->key);
		const Node *profiles = node_get(other, "profiles");
		return load_fail_line(r->l, d->value->file, d->line, &r->path,
			"'%s' is off, since none of its profiles is active; add --profile %s, or required: false",
			d->key, profiles->items[0].value->text);
	}
	return 0;
}

/* ---- environment ---- */

static int read_env_file(Resolve *r, const Node *entry, char ***env)
{
	const Node *path = node_get(entry, "path"), *format = node_get(entry, "format");
	const char *required = text_of(entry, "required");
	AUTO_BUF text = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	if (format && !str_eq(format->text, "raw"))
		return load_fail(r->l, format, &r->path, "'%s' is no format; write raw, or leave it out",
			format->text);
	int e = r->o->read(r->o->user, path->text, LIMIT_ENV_FILE_BYTES, &text);
	if (e == -ENOENT && required && str_eq(required, "false"))
		return 0;
	if (e == -ENOENT)
		return load_fail(r->l, path, &r->path,
			"the file %s does not exist; make it, or write {path: …, required: false}",
			path->text);
	if (e < 0)
		return load_fail(r->l, path, &r->path, "%s cannot be read: %s", path->text, strerror(-e));
	e = env_file_parse(path->text, buf_cstr(&text), text.len,
		format ? ENV_FORMAT_RAW : ENV_FORMAT_COMPOSE, &r->l->vars, env, &err);
	return e < 0 ? load_fail(r->l, path, &r->path, "%s", err_text(&err)) : 0;
}

/* env files, the last wins; then `environment`, of which a key without a value is looked up. */
static int resolve_environment(Resolve *r, Node *service)
{
	Node *files = node_get(service, "env_file"), *own = node_get(service, "environment");
	AUTO_STRV char **env = NULL;
	for (size_t i = 0; node_is_seq(files) && i < files->n; i++) {
		size_t before = path_enter(&r->path, "env_file");
		(void) path_enter_index(&r->path, i);
		if (read_env_file(r, files->items[i].value, &env) < 0)
			return -EINVAL;
		path_leave(&r->path, before);
	}
	(void) node_del(service, "env_file");
	Node *out = node_map(r->a, own ? own : service);
	for (char **p = env; p && *p; p++) {
		const char *eq = strchr(*p, '=');
		node_add(r->a, out, arena_strndup(r->a, *p, (size_t) (eq - *p)), service->line,
			node_string(r->a, files, arena_strdup(r->a, eq + 1)));
	}
	for (size_t i = 0; node_is_map(own) && i < own->n; i++) {
		const NodeItem *item = &own->items[i];
		const char *value =
			node_is_null(item->value) ? r->l->vars.get(r->l->vars.user, item->key) : NULL;
		node_set(r->a, out, item->key,
			value ? node_string(r->a, item->value, arena_strdup(r->a, value)) : item->value);
	}
	if (load_charge(r->l, service, &r->path, out->n) < 0)
		return -EINVAL;
	if (out->n)
		node_set(r->a, service, "environment", out);
	return 0;
}

/* ---- build ---- */

/* A build's context is the project's directory unless it says; its image is named after project and service; arguments without a value are looked up. */
static void resolve_build(Resolve *r, const NodeItem *service)
{
	Node *build = node_get(service->value, "build");
	if (!node_is_map(build))
		return;
	if (!node_get(build, "context"))
		node_add(r->a, build, "context", build->line, node_string(r->a, build, arena_strdup(r->a, r->l->project_dir)));
	if (!node_get(service->value, "image"))
		node_add(r->a, service->value, "image", service->line,
			node_string(r->a, build, arena_printf(r->a, "%s-%s", r->o->project, service->key)));
	Node *args = node_get(build, "args");
	for (size_t i = 0; node_is_map(args) && i < args->n;) {
		NodeItem *item = &args->items[i];
		const char *value = node_is_null(item->value) ? r->l->vars.get(r->l->vars.user, item->key) : NULL;
		if (value)
			item->value = node_string(r->a, item->value, arena_strdup(r->a, value));
		if (node_is_null(item->value))
			node_remove(args, i); /* as if it had not been written */
		else
			i++;
	}
}

/* ---- networks of a service ---- */

/* The machine-wide bridge of Docker has no counterpart: the stack's own network is what comes closest. */
static void resolve_network_mode(Resolve *r, Node *service)
{
	const Node *mode = node_get(service, "network_mode");
	if (!mode || !node_is_scalar(mode))
		return;
	if (str_eq(mode->text, "bridge"))
		load_warn(r->l, mode, &r->path,
			"network_mode: bridge stands for the stack's default network; there is no bridge of the "
			"whole machine");
	if (str_eq(mode->text, "bridge") || str_eq(mode->text, "default"))
		(void) node_del(service, "network_mode");
	else if (str_eq(mode->text, "host") && node_get(service, "ports")) {
		load_warn(r->l, node_get(service, "ports"), &r->path,
			"ports have no effect with network_mode: host, since the service "
			"listens on the host itself");
		(void) node_del(service, "ports");
	}
}

static void add_default_network(Resolve *r, Node *service)
{
	if (node_get(service, "network_mode"))
		return;
	Node *networks = node_get(service, "networks");
	if (!node_is_map(networks) || !networks->n) {
		networks = node_map(r->a, service);
		node_add(r->a, networks, "default", service->line, node_map(r->a, service));
		node_set(r->a, service, "networks", networks);
	}
}

/* Of a service with several networks, the one with the highest priority, as Docker's first. */
static int resolve_mac_address(Resolve *r, Node *service)
{
	Node *mac = node_get(service, "mac_address"), *networks = node_get(service, "networks"), *best = NULL;
	int64_t best_priority = INT64_MIN;
	if (!mac)
		return 0;
	for (size_t i = 0; node_is_map(networks) && i < networks->n; i++) {
		Node *n = networks->items[i].value;
		const Node *priority = node_get(n, "priority");
		int64_t p = 0;
		if (priority)
			(void) node_integer(priority, &p);
		if (p > best_priority) {
			best = n;
			best_priority = p;
		}
	}
	if (!best)
		return load_fail(r->l, mac, &r->path, "mac_address needs a network; remove it");
	if (!node_get(best, "mac_address"))
		node_add(r->a, best, "mac_address", mac->line, mac);
	(void) node_del(service, "mac_address");
	return 0;
}

/* ---- links ---- */

static void add_dependency(Resolve *r, Node *service, const Node *at, const char *name)
{
	Node *depends = node_get(service, "depends_on");
	if (!node_is_map(depends)) {
		depends = node_map(r->a, at);
		node_set(r->a, service, "depends_on", depends);
	}
	if (node_get(depends, name))
		return;
	Node *d = node_map(r->a, at);
	node_add(r->a, d, "condition", at->line, node_string(r->a, at, "service_started"));
	node_add(r->a, d, "restart", at->line, node_typed(r->a, at, SCALAR_BOOL, "true"));
	node_add(r->a, depends, name, at->line, d);
}

static void add_alias(Resolve *r, Node *attachment, const Node *at, const char *alias)
{
	Node *aliases = node_get(attachment, "aliases");
	if (!node_is_seq(aliases)) {
		aliases = node_seq(r->a, at);
		node_set(r->a, attachment, "aliases", aliases);
	}
	for (size_t i = 0; i < aliases->n; i++)
		if (str_eq(aliases->items[i].value->text, alias))
			return;
	node_push(r->a, aliases, node_string(r->a, at, alias));
}

/*
 * "SERVICE[:ALIAS]": the service is started first, and has the alias on every network that both share. In
 * Docker only the linking container would see the alias; here all on that network do.
 */
static int resolve_link(Resolve *r, Node *service, const Node *link)
{
	size_t len = strcspn(link->text, ":");
	const char *name = arena_strndup(r->a, link->text, len),
		   *alias = link->text[len] ? link->text + len + 1 : name;
	Node *other = node_get(r->services, name);
	if (!other)
		return load_fail(r->l, link, &r->path, "there is no service '%s'%s", name,
			node_get(r->off, name) ? ", since its profile is off" : "");
	add_dependency(r, service, link, name);
	const Node *mine = node_get(service, "networks"), *theirs = node_get(other, "networks");
	for (size_t i = 0; node_is_map(mine) && i < mine->n; i++) {
		Node *shared = node_get(theirs, mine->items[i].key);
		if (shared && !str_eq(alias, name))
			add_alias(r, shared, link, alias);
	}
	return 0;
}

static int resolve_links(Resolve *r, Node *service)
{
	const Node *links = node_get(service, "links");
	size_t before = path_enter(&r->path, "links");
	for (size_t i = 0; node_is_seq(links) && i < links->n; i++) {
		size_t at = path_enter_index(&r->path, i);
		if (resolve_link(r, service, links->items[i].value) < 0)
			return -EINVAL;
		path_leave(&r->path, at);
	}
	path_leave(&r->path, before);
	(void) node_del(service, "links");
	return 0;
}

/* ---- volumes that stand for a directory ---- */

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);
	for (; *list; list += strcspn(list, ","), list += *list == ',')
		if (strcspn(list, ",") == n && strncmp(list, word, n) == 0)
			return true;
	return false;
}

/*
 * "driver_opts: {type: none, o: bind, device: PATH}" is a bind mount with a name. It becomes one at each
 * service that uses it; other options stay, for the model to refuse. NULL if it is none of that kind.
 */
static const Node *bind_device(const Node *volume)
{
	const Node *opts = node_get(volume, "driver_opts");
	const char *type = text_of(opts, "type"), *o = text_of(opts, "o");
	bool bind = o && (has_word(o, "bind") || has_word(o, "rbind")) &&
		    (!type || str_eq(type, "none") || str_eq(type, "bind"));
	const Node *device = node_get(opts, "device");
	return bind && node_is_scalar(device) ? device : NULL;
}

static int resolve_bind_volume(Resolve *r, Node *mount, const Node *volume)
{
	Shape s = { .l = r->l, .path = r->path };
	const Node *device = bind_device(volume);
	const char *path = shape_resolve_path(&s, device, device->text);
	if (!path)
		return -EINVAL;
	if (node_get(node_get(mount, "volume"), "subpath"))
		return load_fail(r->l, mount, &r->path,
			"subpath does not go with a volume that is a directory; mount the directory itself");
	node_set(r->a, mount, "type", node_string(r->a, mount, "bind"));
	node_set(r->a, mount, "source", node_string(r->a, device, path));
	(void) node_del(mount, "volume");
	if (has_word(text_of(node_get(volume, "driver_opts"), "o"), "ro"))
		node_set(r->a, mount, "read_only", node_typed(r->a, mount, SCALAR_BOOL, "true"));
	return 0;
}

static int resolve_bind_volumes(Resolve *r, Node *service)
{
	const Node *mounts = node_get(service, "volumes"), *volumes = top(r, "volumes");
	for (size_t i = 0; node_is_seq(mounts) && i < mounts->n; i++) {
		Node *m = mounts->items[i].value;
		const char *type = text_of(m, "type"), *source = text_of(m, "source");
		const Node *volume = source && str_eq(type, "volume") ? node_get(volumes, source) : NULL;
		if (volume && bind_device(volume) && resolve_bind_volume(r, m, volume) < 0)
			return -EINVAL;
	}
	return 0;
}

/* ---- references to the top level ---- */

static int mark_used(
	Resolve *r, Node *used, const Node *declared, const char *what, const char *name, const Node *at)
{
	const NodeItem *item = node_item(declared, name);
	if (!item && !(str_eq(what, "network") && str_eq(name, "default")))
		return load_fail(r->l, at, &r->path,
			"there is no %s '%s'; declare it at the top level: '%ss: {%s: {…}}'", what, name,
			what, name);
	if (!node_get(used, name))
		node_add(r->a, used, name, item ? item->line : at->line,
			item ? item->value : node_map(r->a, at));
	return 0;
}

static int use_networks(Resolve *r, Node *used, const Node *declared, const Node *service)
{
	const Node *networks = node_get(service, "networks");
	for (size_t i = 0; node_is_map(networks) && i < networks->n; i++) {
		size_t before = path_enter(&r->path, "networks");
		(void) path_enter(&r->path, networks->items[i].key);
		if (mark_used(r, used, declared, "network", networks->items[i].key,
			    networks->items[i].value) < 0)
			return -EINVAL;
		path_leave(&r->path, before);
	}
	return 0;
}

/* Lists whose entries name their object with `source`: volumes, configs, secrets. */
static int use_sources(
	Resolve *r, Node *used, const Node *declared, const Node *service, const char *key, const char *what)
{
	const Node *list = node_get(service, key);
	for (size_t i = 0; node_is_seq(list) && i < list->n; i++) {
		const Node *item = list->items[i].value, *source = node_get(item, "source");
		const char *type = text_of(item, "type");
		if (!node_is_scalar(source) || (type && !str_eq(type, "volume")))
			continue;
		size_t before = path_enter(&r->path, key);
		(void) path_enter_index(&r->path, i);
		if (mark_used(r, used, declared, what, source->text, source) < 0)
			return -EINVAL;
		path_leave(&r->path, before);
	}
	return 0;
}

/* ---- the top level ---- */

/* `external: {name: X}` to `external: true, name: X`, and the name that an object has on the machine. */
static int resolve_name(Resolve *r, const NodeItem *item)
{
	Node *n = item->value, *external = node_get(n, "external");
	const char *name = node_is_map(external) ? text_of(external, "name") : NULL;
	if (node_is_map(external)) {
		if (name && !node_get(n, "name"))
			node_add(r->a, n, "name", external->line, node_string(r->a, external, name));
		node_set(r->a, n, "external", node_typed(r->a, external, SCALAR_BOOL, "true"));
		external = node_get(n, "external");
	}
	if (node_get(n, "name"))
		return 0;
	bool outside = external && str_eq(external->text, "true");
	name = outside ? item->key : arena_printf(r->a, "%s_%s", r->o->project, item->key);
	node_add(r->a, n, "name", item->line, node_string(r->a, n, name));
	return 0;
}

/* Where the value comes from: exactly one of file, environment, content (or external, which the model
 * refuses). */
static int resolve_source(Resolve *r, const NodeItem *item)
{
	Node *n = item->value;
	const Node *variable = node_get(n, "environment");
	if (resolve_name(r, item) < 0)
		return -EINVAL;
	if (!node_get(n, "file") && !variable && !node_get(n, "content") && !node_get(n, "external"))
		return load_fail_line(
			r->l, n->file, item->line, &r->path, "needs one of file, environment and content");
	if (!variable)
		return 0;
	if (node_get(n, "file") || node_get(n, "content"))
		return load_fail(r->l, variable, &r->path,
			"has more than one of file, environment and content; keep one");
	const char *value = r->l->vars.get(r->l->vars.user, variable->text);
	if (!value)
		return load_fail(r->l, variable, &r->path,
			"the variable %s is not set; set it in the environment or in .env", variable->text);
	node_add(r->a, n, "content", variable->line, node_string(r->a, variable, arena_strdup(r->a, value)));
	(void) node_del(n, "environment");
	return 0;
}

/* IPv6 inside of networks is to come; without it a network works as well, so this is no reason to stop. */
static int resolve_network(Resolve *r, const NodeItem *item)
{
	Node *config = node_get(node_get(item->value, "ipam"), "config");
	Node *enable = node_get(item->value, "enable_ipv6");
	bool wanted = enable && node_is_scalar(enable) && str_eq(enable->text, "true");
	for (size_t i = 0; node_is_seq(config) && i < config->n;) {
		const char *subnet = text_of(config->items[i].value, "subnet");
		if (!subnet || !strchr(subnet, ':')) {
			i++;
			continue;
		}
		wanted = true;
		node_remove(config, i);
	}
	if (wanted)
		load_warn(r->l, enable ? enable : item->value, &r->path,
			"IPv6 in networks is not supported yet; it has IPv4 only");
	(void) node_del(item->value, "enable_ipv6");
	return resolve_name(r, item);
}

static int resolve_each(Resolve *r, const char *key, Node *used, int (*fn)(Resolve *, const NodeItem *))
{
	for (size_t i = 0; i < used->n; i++) {
		path_leave(&r->path, 0);
		(void) path_enter(&r->path, key);
		(void) path_enter(&r->path, used->items[i].key);
		if (!node_is_map(used->items[i].value))
			continue; /* the model says what is wrong */
		if (fn(r, &used->items[i]) < 0)
			return -EINVAL;
	}
	if (used->n)
		node_set(r->a, r->doc, key, used);
	else
		(void) node_del(r->doc, key);
	return 0;
}

static int use_build_secrets(Resolve *r, Node *used, const Node *service)
{
	const Node *build = node_get(service, "build");
	size_t before = path_enter(&r->path, "build");
	int e = node_is_map(build) ? use_sources(r, used, top(r, "secrets"), build, "secrets", "secret") : 0;
	path_leave(&r->path, before);
	return e;
}

static int resolve_top(Resolve *r)
{
	Node *networks = node_map(r->a, r->doc), *volumes = node_map(r->a, r->doc);
	Node *configs = node_map(r->a, r->doc), *secrets = node_map(r->a, r->doc);
	for (size_t i = 0; i < r->services->n; i++) {
		const Node *service = r->services->items[i].value;
		(void) enter_service(r, r->services->items[i].key);
		if (use_networks(r, networks, top(r, "networks"), service) < 0 ||
			use_sources(r, volumes, top(r, "volumes"), service, "volumes", "volume") < 0 ||
			use_sources(r, configs, top(r, "configs"), service, "configs", "config") < 0 ||
			use_sources(r, secrets, top(r, "secrets"), service, "secrets", "secret") < 0 ||
			use_build_secrets(r, secrets, service) < 0)
			return -EINVAL;
	}
	if (resolve_each(r, "networks", networks, resolve_network) < 0 ||
		resolve_each(r, "volumes", volumes, resolve_name) < 0 ||
		resolve_each(r, "configs", configs, resolve_source) < 0 ||
		resolve_each(r, "secrets", secrets, resolve_source) < 0)
		return -EINVAL;
	return 0;
}

static int resolve_services(Resolve *r)
{
	for (size_t i = 0; i < r->services->n; i++) {
		NodeItem *item = &r->services->items[i];
		(void) enter_service(r, item->key);
		if (check_dependencies(r, item) < 0 || resolve_environment(r, item->value) < 0)
			return -EINVAL;
		resolve_build(r, item);
		resolve_network_mode(r, item->value);
		add_default_network(r, item->value);
		if (resolve_mac_address(r, item->value) < 0 || resolve_bind_volumes(r, item->value) < 0)
			return -EINVAL;
		(void) node_del(item->value, "profiles");
	}
	/* After all have their networks: an alias goes to those that both share. */
	for (size_t i = 0; i < r->services->n; i++) {
		(void) enter_service(r, r->services->items[i].key);
		if (resolve_links(r, r->services->items[i].value) < 0)
			return -EINVAL;
	}
	return 0;
}

int resolve_document(Load *l, Node *doc, const ResolveOptions *o, Node **ret_off)
{
	Resolve r = { .l = l, .a = &l->arena, .doc = doc, .o = o };
	const Node *include = node_get(doc, "include");
	if (include)
		return load_fail(l, include, NULL,
			"include: 'include' is not supported yet; give the files together with -f");
	if (!node_is_map(node_get(doc, "services")) || !node_get(doc, "services")->n)
		return load_fail(l, doc, NULL, "the file has no services; put them under 'services:'");
	r.services = node_get(doc, "services");
	if (check_named(&r) < 0)
		return -EINVAL;
	switch_services(&r);
	*ret_off = r.off;
	if (resolve_services(&r) < 0)
		return -EINVAL;
	return resolve_top(&r);
}
