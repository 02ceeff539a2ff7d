// SPDX-License-Identifier: Apache-2.0
/*
 * "x-stead": its short forms. `route: HOST[/PATH]` becomes an entry of `routes`, `cache: 10m` a map, a lone
 * smoke test a list, a hook an argv. Receivers of notices whose address is a variable that has no value here
 * are left out with a warning: the same file then works on a developer's machine without the secret.
 */
#include "base/mem.h"
#include "base/str.h"
#include "compose/shape.h"

#define TABLE(name)                                                                                          \
	static Node *shape_##name(Shape *s, const Node *n)                                                   \
	{                                                                                                    \
		return shape_table(s, n, name##_keys, ARRAY_SIZE(name##_keys));                              \
	}

/* A list, or one entry that stands for a list of one; each shaped by `fn`, which gives NULL for a failure. */
static Node *shape_each(Shape *s, const Node *n, ShapeFn *fn)
{
	Arena *a = &s->l->arena;
	Node *out = node_seq(a, n);
	if (!node_is_seq(n)) {
		Node *v = fn(s, n);
		if (v)
			node_push(a, out, v);
		return v ? out : NULL;
	}
	for (size_t i = 0; i < n->n; i++) {
		size_t before = path_enter_index(&s->path, i);
		Node *v = fn(s, n->items[i].value);
		if (!v)
			return NULL;
		path_leave(&s->path, before);
		node_push(a, out, v);
	}
	return out;
}

/* ---- routes ---- */

/* A variable without a value must not open a route to any host. */
static Node *shape_host(Shape *s, const Node *n)
{
	if (node_is_scalar(n) && !*n->text)
		return shape_fail(s, n, "must not be empty; leave the key out for any host");
	return shape_lower(s, n);
}

/* The model has a path without a slash at its end; merging has to see the same. */
static Node *shape_route_path(Shape *s, const Node *n)
{
	if (node_is_scalar(n) && !*n->text)
		return shape_fail(s, n, "must not be empty; leave the key out for '/'");
	Node *v = shape_string(s, n);
	size_t len = v ? strlen(v->text) : 0;
	if (len > 1 && v->text[len - 1] == '/' && v->text[len - 2] != '/')
		v->text = arena_strndup(&s->l->arena, v->text, len - 1);
	return v;
}

static const ShapeKey cache_keys[] = { { "ttl", shape_string }, { "max_size", shape_bytes }, { "disk", shape_bytes } };
TABLE(cache)

static Node *shape_route_cache(Shape *s, const Node *n)
{
	if (!node_is_scalar(n) || !*n->text)
		return node_is_scalar(n) ? shape_string(s, n) : shape_cache(s, n);
	Node *out = node_map(&s->l->arena, n);
	node_add(&s->l->arena, out, "ttl", n->line, node_string(&s->l->arena, n, n->text));
	return out;
}

static const ShapeKey tls_keys[] = { { "cert", shape_path }, { "key", shape_path } };
TABLE(tls)

static Node *shape_route_tls(Shape *s, const Node *n)
{
	return node_is_scalar(n) ? shape_string(s, n) : shape_tls(s, n);
}

static const ShapeKey route_keys[] = {
	{ "host", shape_host },       { "path", shape_route_path }, { "port", shape_int },       { "cache", shape_route_cache },
	{ "max_body", shape_bytes }, { "rate", shape_string },     { "timeout", shape_string }, { "tls", shape_route_tls },
};

/* "HOST", "HOST/PATH" or "/PATH", or a map. */
static Node *shape_route(Shape *s, const Node *n)
{
	Arena *a = &s->l->arena;
	if (!node_is_scalar(n))
		return shape_table(s, n, route_keys, ARRAY_SIZE(route_keys));
	if (!*n->text)
		return shape_fail(s, n, "must be HOST[/PATH], not nothing; leave the key out for no route");
	const char *scheme = strstr(n->text, "://");
	if (scheme)
		return shape_fail(s, n, "'%s' must be HOST[/PATH]: leave '%.*s' off", n->text, (int) (scheme - n->text) + 3, n->text);
	size_t len = strcspn(n->text, "/");
	const Node path = { .kind = NODE_SCALAR, .type = SCALAR_STRING, .file = n->file, .line = n->line, .text = n->text + len };
	const Node host = { .kind = NODE_SCALAR, .type = SCALAR_STRING, .file = n->file, .line = n->line,
		.text = arena_strndup(a, n->text, len) };
	Node *out = node_map(a, n);
	if (len)
		node_add(a, out, "host", n->line, shape_host(s, &host));
	if (*path.text)
		node_add(a, out, "path", n->line, shape_route_path(s, &path));
	return out;
}

static Node *shape_routes(Shape *s, const Node *n)
{
	return shape_each(s, n, shape_route);
}

/* ---- deploys ---- */

static const ShapeKey smoke_keys[] = {
	{ "get", shape_string }, { "status", shape_int }, { "contains", shape_text }, { "port", shape_int }, { "timeout", shape_string },
};

/* "/health", or a map. */
static Node *shape_smoke_test(Shape *s, const Node *n)
{
	if (!node_is_scalar(n))
		return shape_table(s, n, smoke_keys, ARRAY_SIZE(smoke_keys));
	Node *out = node_map(&s->l->arena, n);
	node_add(&s->l->arena, out, "get", n->line, node_string(&s->l->arena, n, n->text));
	return out;
}

static Node *shape_smoke(Shape *s, const Node *n)
{
	return shape_each(s, n, shape_smoke_test);
}

static const ShapeKey deploy_keys[] = {
	{ "order", shape_string },       { "health_timeout", shape_string }, { "drain", shape_string },
	{ "settle", shape_string },      { "bake", shape_string },           { "hold", shape_string },
	{ "smoke", shape_smoke },        { "keep", shape_int },              { "pre_deploy", shape_command },
	{ "post_deploy", shape_command },
};
TABLE(deploy)

/* ---- x-stead of a service ---- */

static const ShapeKey service_keys[] = { { "route", shape_routes }, { "routes", shape_routes }, { "deploy", shape_deploy } };

/* `route` goes under the name of `routes`, so that files with either merge. */
Node *shape_stead_service(Shape *s, const Node *n)
{
	Node *out = shape_table(s, n, service_keys, ARRAY_SIZE(service_keys));
	NodeItem *route = out ? node_item(out, "route") : NULL;
	if (!route)
		return out;
	if (node_get(out, "routes")) {
		(void) path_enter(&s->path, "route");
		return shape_fail(s, route->value, "is the short form of 'routes', which is there, too; keep one");
	}
	Node *v = route->value;
	uint32_t line = route->line;
	(void) node_del(out, "route");
	node_add(&s->l->arena, out, "routes", line, v);
	return out;
}

/* ---- notices ---- */

static const ShapeKey mail_keys[] = {
	{ "to", shape_one_or_more }, { "from", shape_string },     { "server", shape_string },
	{ "user", shape_string },    { "password", shape_string },
};
TABLE(mail)

static const ShapeKey notify_keys[] = {
	{ "slack", shape_string }, { "discord", shape_string }, { "ntfy", shape_string },
	{ "webhook", shape_string }, { "mail", shape_mail },    { "on", shape_one_or_more },
	{ "token", shape_string },
};
TABLE(notify)

/* The address of a receiver, if it is written but empty. */
static const Node *empty_receiver(const Node *n)
{
	static const char *const receivers[] = { "slack", "discord", "ntfy", "webhook" };
	for (size_t i = 0; i < ARRAY_SIZE(receivers); i++) {
		const Node *v = node_get(n, receivers[i]);
		if (node_is_scalar(v) && !*v->text)
			return v;
	}
	const Node *server = node_get(node_get(n, "mail"), "server");
	return node_is_scalar(server) && !*server->text ? server : NULL;
}

static Node *shape_notices(Shape *s, const Node *n)
{
	Arena *a = &s->l->arena;
	Node *out = node_seq(a, n);
	if (!node_is_seq(n))
		return shape_fail(s, n, "must be a list, not %s", node_what(n));
	for (size_t i = 0; i < n->n; i++) {
		const Node *item = n->items[i].value, *empty = empty_receiver(item);
		size_t before = path_enter_index(&s->path, i);
		if (empty)
			load_warn(s->l, empty, &s->path, "the address is empty; nothing is sent there");
		Node *v = empty ? NULL : shape_notify(s, item);
		if (!v && !empty)
			return NULL;
		path_leave(&s->path, before);
		if (v)
			node_push(a, out, v);
	}
	return out;
}

Node *shape_stead_top(Shape *s, const Node *n)
{
	static const ShapeKey keys[] = { { "notify", shape_notices } };
	return shape_table(s, n, keys, ARRAY_SIZE(keys));
}
