// SPDX-License-Identifier: Apache-2.0
/*
 * The tables of a service and of the top level: which key is shaped how.
 */
#include "base/mem.h"
#include "base/str.h"
#include "compose/shape.h"

#define TABLE(name)                                                                                          \
	static Node *shape_##name(Shape *s, const Node *n)                                                   \
	{                                                                                                    \
		return shape_table(s, n, name##_keys, ARRAY_SIZE(name##_keys));                              \
	}

/* ---- parts of a service ---- */

static Node *shape_test(Shape *s, const Node *n)
{
	Arena *a = &s->l->arena;
	if (!node_is_scalar(n))
		return shape_strings(s, n);
	Node *out = node_seq(a, n);
	node_push(a, out, node_string(a, n, "CMD-SHELL"));
	node_push(a, out, node_string(a, n, n->text));
	return out;
}

static const ShapeKey healthcheck_keys[] = {
	{ "test", shape_test },           { "interval", shape_string }, { "timeout", shape_string }, { "start_period", shape_string },
	{ "start_interval", shape_string }, { "retries", shape_int },   { "disable", shape_bool },
};
TABLE(healthcheck)

static const ShapeKey depends_keys[] = {
	{ "condition", shape_string }, { "required", shape_bool }, { "restart", shape_bool },
};
TABLE(depends)

static Node *list_to_map(Shape *s, const Node *n)
{
	Arena *a = &s->l->arena;
	Node *list = shape_strings(s, n), *out = list ? node_map(a, n) : NULL;
	for (size_t i = 0; list && i < list->n; i++)
		node_set(a, out, list->items[i].value->text, node_map(a, list->items[i].value));
	return out;
}

static Node *shape_depends_on(Shape *s, const Node *n)
{
	return node_is_seq(n) ? list_to_map(s, n) : shape_named(s, n, shape_depends);
}

static const ShapeKey attachment_keys[] = {
	{ "aliases", shape_strings },      { "ipv4_address", shape_string }, { "ipv6_address", shape_string },
	{ "mac_address", shape_string },   { "priority", shape_int },        { "gw_priority", shape_int },
};
TABLE(attachment)

static Node *shape_attachments(Shape *s, const Node *n)
{
	return node_is_seq(n) ? list_to_map(s, n) : shape_named(s, n, shape_attachment);
}

static Node *shape_ulimit(Shape *s, const Node *n)
{
	static const ShapeKey keys[] = { { "soft", shape_int }, { "hard", shape_int } };
	return node_is_scalar(n) ? shape_int(s, n) : shape_table(s, n, keys, ARRAY_SIZE(keys));
}

Node *shape_ulimits(Shape *s, const Node *n)
{
	return shape_named(s, n, shape_ulimit);
}

static const ShapeKey logging_keys[] = { { "driver", shape_string }, { "options", shape_labels } };
TABLE(logging)

/* "NAME:ADDRESS" and "NAME=ADDRESS", or a map; an IPv6 address may stand in brackets. */
static Node *host_entry(Shape *s, const Node *at, const char *name, const char *address)
{
	Arena *a = &s->l->arena;
	size_t n = strlen(address);
	if (*address == '[' && address[n - 1] == ']')
		address = arena_strndup(a, address + 1, n - 2);
	return node_string(a, at, arena_printf(a, "%s=%s", name, address));
}

static Node *hosts_from_map(Shape *s, const Node *n)
{
	Arena *a = &s->l->arena;
	Node *out = node_seq(a, n);
	for (size_t i = 0; i < n->n; i++) {
		const Node *item = n->items[i].value;
		size_t before = path_enter(&s->path, n->items[i].key);
		Node *addresses = shape_one_or_more(s, item);
		if (!addresses)
			return NULL;
		for (size_t k = 0; k < addresses->n; k++)
			node_push(a, out, host_entry(s, item, n->items[i].key, addresses->items[k].value->text));
		path_leave(&s->path, before);
	}
	return out;
}

Node *shape_extra_hosts(Shape *s, const Node *n)
{
	Arena *a = &s->l->arena;
	if (node_is_map(n))
		return hosts_from_map(s, n);
	Node *list = shape_strings(s, n), *out = list ? node_seq(a, n) : NULL;
	for (size_t i = 0; list && i < list->n; i++) {
		const Node *item = list->items[i].value;
		size_t len = strcspn(item->text, "=:");
		size_t before = path_enter_index(&s->path, i);
		if (!len || !item->text[len] || !item->text[len + 1])
			return shape_fail(s, item, "'%s' must be NAME:ADDRESS", item->text);
		path_leave(&s->path, before);
		node_push(a, out, host_entry(s, item, arena_strndup(a, item->text, len), item->text + len + 1));
	}
	return out;
}

/* "cap_net_admin", "NET_ADMIN": to NET_ADMIN. */
static Node *shape_capabilities(Shape *s, const Node *n)
{
	Arena *a = &s->l->arena;
	Node *list = shape_strings(s, n);
	for (size_t i = 0; list && i < list->n; i++) {
		char *name = arena_strdup(a, list->items[i].value->text);
		for (char *p = name; *p; p++)
			if (*p >= 'a' && *p <= 'z')
				*p -= 'a' - 'A';
		list->items[i].value->text = str_starts(name, "CAP_") ? name + 4 : name;
	}
	return list;
}

static Node *shape_env_file(Shape *s, const Node *n)
{
	static const ShapeKey keys[] = { { "path", shape_path }, { "required", shape_bool }, { "format", shape_string } };
	Arena *a = &s->l->arena;
	Node *out = node_seq(a, n);
	size_t count = node_is_seq(n) ? n->n : 1;
	for (size_t i = 0; i < count; i++) {
		const Node *item = node_is_seq(n) ? n->items[i].value : n;
		size_t before = path_enter_index(&s->path, i);
		Node *v = NULL;
		if (node_is_scalar(item)) {
			Node *path = shape_path(s, item);
			if (!path)
				return NULL;
			v = node_map(a, item);
			node_add(a, v, "path", item->line, path);
		} else {
			v = shape_table(s, item, keys, ARRAY_SIZE(keys));
			if (v && !node_get(v, "path"))
				return shape_fail(s, item, "'path' is missing");
		}
		if (!v)
			return NULL;
		path_leave(&s->path, before);
		node_push(a, out, v);
	}
	return out;
}

static Node *shape_pull_policy(Shape *s, const Node *n)
{
	Node *v = shape_string(s, n);
	if (!v)
		return NULL;
	if (str_eq(v->text, "if_not_present"))
		v->text = "missing";
	return v;
}

/* ---- deploy ---- */

/* What steers a cluster's scheduler or a rolling update: there is nothing here that it could steer. */
static Node *shape_no_effect(Shape *s, const Node *n)
{
	load_warn(s->l, n, &s->path, "has no effect");
	return shape_any(s, n);
}

static const ShapeKey limits_keys[] = { { "cpus", shape_number }, { "memory", shape_bytes }, { "pids", shape_int } };
TABLE(limits)

static const ShapeKey reservations_keys[] = { { "cpus", shape_no_effect }, { "memory", shape_bytes } };
TABLE(reservations)

static const ShapeKey resources_keys[] = { { "limits", shape_limits }, { "reservations", shape_reservations } };
TABLE(resources)

static const ShapeKey policy_keys[] = {
	{ "condition", shape_string }, { "delay", shape_string }, { "max_attempts", shape_int }, { "window", shape_string },
};
TABLE(policy)

static const ShapeKey deploy_keys[] = {
	{ "mode", shape_string }, { "replicas", shape_int }, { "resources", shape_resources }, { "restart_policy", shape_policy },
	{ "labels", shape_no_effect }, { "placement", shape_no_effect }, { "update_config", shape_no_effect },
	{ "rollback_config", shape_no_effect }, { "endpoint_mode", shape_no_effect },
};
TABLE(deploy)

/* ---- the service ---- */

static const ShapeKey service_keys[] = {
	{ "image", shape_string },
	{ "build", shape_build },
	{ "container_name", shape_string },
	{ "command", shape_command },
	{ "entrypoint", shape_command },
	{ "environment", shape_pairs },
	{ "env_file", shape_env_file },
	{ "ports", shape_ports },
	{ "expose", shape_expose },
	{ "volumes", shape_volumes },
	{ "tmpfs", shape_one_or_more },
	{ "networks", shape_attachments },
	{ "network_mode", shape_string },
	{ "mac_address", shape_string },
	{ "depends_on", shape_depends_on },
	{ "links", shape_strings },
	{ "healthcheck", shape_healthcheck },
	{ "restart", shape_string },
	{ "hostname", shape_string },
	{ "domainname", shape_string },
	{ "user", shape_string },
	{ "working_dir", shape_string },
	{ "group_add", shape_strings },
	{ "labels", shape_labels },
	{ "annotations", shape_labels },
	{ "profiles", shape_one_or_more },
	{ "deploy", shape_deploy },
	{ "scale", shape_int },
	{ "mem_limit", shape_bytes },
	{ "mem_reservation", shape_bytes },
	{ "memswap_limit", shape_bytes },
	{ "cpus", shape_number },
	{ "cpu_shares", shape_int },
	{ "cpuset", shape_string },
	{ "pids_limit", shape_int },
	{ "ulimits", shape_ulimits },
	{ "cap_add", shape_capabilities },
	{ "cap_drop", shape_capabilities },
	{ "privileged", shape_bool },
	{ "security_opt", shape_strings },
	{ "read_only", shape_bool },
	{ "shm_size", shape_bytes },
	{ "sysctls", shape_labels },
	{ "devices", shape_devices },
	{ "init", shape_bool },
	{ "tty", shape_bool },
	{ "stdin_open", shape_bool },
	{ "stop_signal", shape_string },
	{ "stop_grace_period", shape_string },
	{ "extra_hosts", shape_extra_hosts },
	{ "dns", shape_one_or_more },
	{ "dns_search", shape_one_or_more },
	{ "dns_opt", shape_strings },
	{ "pid", shape_string },
	{ "ipc", shape_string },
	{ "uts", shape_string },
	{ "secrets", shape_file_refs_secret },
	{ "configs", shape_file_refs_config },
	{ "logging", shape_logging },
	{ "pull_policy", shape_pull_policy },
	{ "platform", shape_lower },
	{ "oom_score_adj", shape_int },
	{ "attach", shape_bool },
	{ "x-stead", shape_stead_service },
};

Node *shape_service(Shape *s, const Node *n)
{
	return shape_table(s, n, service_keys, ARRAY_SIZE(service_keys));
}

/* A service without a body is a slip, not an empty service. */
static Node *shape_services(Shape *s, const Node *n)
{
	for (size_t i = 0; node_is_map(n) && i < n->n; i++) {
		const NodeItem *item = &n->items[i];
		if (!node_is_map(item->value) && item->value->tag != TAG_RESET) {
			(void) path_enter(&s->path, item->key);
			return shape_fail(s, item->value, "must be a map, not %s; a service needs at least 'image:'",
				node_what(item->value));
		}
	}
	return shape_named(s, n, shape_service);
}

/* ---- the top level ---- */

/* `external: {name: X}`, the form of old files, stays for the resolver. */
static Node *shape_external(Shape *s, const Node *n)
{
	return node_is_map(n) ? shape_any(s, n) : shape_bool(s, n);
}

static const ShapeKey subnet_keys[] = { { "subnet", shape_string }, { "gateway", shape_string }, { "ip_range", shape_string } };
TABLE(subnet)

static Node *shape_subnets(Shape *s, const Node *n)
{
	Arena *a = &s->l->arena;
	if (!node_is_seq(n))
		return shape_fail(s, n, "must be a list, not %s", node_what(n));
	Node *out = node_seq(a, n);
	for (size_t i = 0; i < n->n; i++) {
		size_t before = path_enter_index(&s->path, i);
		Node *v = shape_subnet(s, n->items[i].value);
		if (!v)
			return NULL;
		path_leave(&s->path, before);
		node_push(a, out, v);
	}
	return out;
}

static const ShapeKey ipam_keys[] = { { "driver", shape_string }, { "config", shape_subnets } };
TABLE(ipam)

static const ShapeKey network_keys[] = {
	{ "name", shape_string },       { "driver", shape_string },    { "external", shape_external }, { "internal", shape_bool },
	{ "attachable", shape_bool },   { "enable_ipv6", shape_bool }, { "ipam", shape_ipam },         { "labels", shape_labels },
	{ "driver_opts", shape_labels },
};
TABLE(network)

static const ShapeKey volume_keys[] = {
	{ "name", shape_string }, { "driver", shape_string }, { "external", shape_external }, { "labels", shape_labels },
	{ "driver_opts", shape_labels },
};
TABLE(volume)

static const ShapeKey source_keys[] = {
	{ "name", shape_string },    { "file", shape_path },         { "environment", shape_string },
	{ "content", shape_text },   { "external", shape_external }, { "labels", shape_labels },
};
TABLE(source)

static Node *shape_networks(Shape *s, const Node *n)
{
	return shape_named(s, n, shape_network);
}

static Node *shape_top_volumes(Shape *s, const Node *n)
{
	return shape_named(s, n, shape_volume);
}

static Node *shape_sources(Shape *s, const Node *n)
{
	return shape_named(s, n, shape_source);
}

static const ShapeKey document_keys[] = {
	{ "version", NULL },          { "name", shape_string },       { "services", shape_services }, { "networks", shape_networks },
	{ "volumes", shape_top_volumes }, { "secrets", shape_sources }, { "configs", shape_sources },
	{ "x-stead", shape_stead_top },
};

Node *shape_document(Load *l, const Node *doc)
{
	Shape s = { .l = l };
	return shape_table(&s, doc, document_keys, ARRAY_SIZE(document_keys));
}
