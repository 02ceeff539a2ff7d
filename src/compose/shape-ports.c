// SPDX-License-Identifier: Apache-2.0
/*
 * Ports. The short form is [[HOST_IP:]HOST[-END]:]CONTAINER[-END][/PROTOCOL], an IPv6 address in brackets.
 * Equal ranges on both sides are pairs; a host range for one container port means "a free one of these".
 */
#include <errno.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"
#include "compose/shape.h"

typedef struct Range {
	uint32_t first, last;
	bool set;
} Range;

static int parse_range(const char *text, size_t n, Range *ret)
{
	if (!n)
		return 0;
	AUTO_FREE char *first = xstrndup(text, n);
	char *dash = strchr(first, '-');
	if (dash)
		*dash = '\0';
	if (parse_u32_max(first, 65535, &ret->first) < 0)
		return -EINVAL;
	ret->last = ret->first;
	if (dash && (parse_u32_max(dash + 1, 65535, &ret->last) < 0 || ret->last < ret->first))
		return -EINVAL;
	ret->set = true;
	return 0;
}

typedef struct PortText {
	const char *host_ip; /* NULL = all */
	Range host, container;
	const char *protocol;
} PortText;

static int bad_port(Shape *s, const Node *n, const char *what)
{
	(void) shape_fail(s, n, "'%s': %s", n->text, what);
	return -EINVAL;
}

/* Splits off "ADDRESS:" in front of the host port; `end` is the colon before the container port. */
static int split_address(Shape *s, const Node *n, const char *text, const char *end, PortText *ret)
{
	Arena *a = &s->l->arena;
	const char *host = text;
	if (*text == '[') {
		const char *close = memchr(text, ']', (size_t) (end - text));
		if (!close || close + 1 >= end || close[1] != ':')
			return bad_port(
				s, n, "the address in brackets must be followed by a colon and a port");
		ret->host_ip = arena_strndup(a, text + 1, (size_t) (close - text - 1));
		host = close + 2;
	} else {
		const char *colon = memrchr(text, ':', (size_t) (end - text));
		if (colon && memchr(text, ':', (size_t) (colon - text)))
			return bad_port(s, n, "an IPv6 address must stand in brackets: \"[::1]:8080:80\"");
		if (colon && colon == text)
			return bad_port(s, n, "the address before the first colon is empty");
		if (colon) {
			ret->host_ip = arena_strndup(a, text, (size_t) (colon - text));
			host = colon + 1;
		}
	}
	if (parse_range(host, (size_t) (end - host), &ret->host) < 0)
		return bad_port(s, n, "the host port is no port or range from 1 to 65535");
	return 0;
}

static int parse_short(Shape *s, const Node *n, PortText *ret)
{
	Arena *a = &s->l->arena;
	const char *slash = strchr(n->text, '/');
	size_t len = slash ? (size_t) (slash - n->text) : strlen(n->text);
	char *text = arena_strndup(a, n->text, len);
	*ret = (PortText){ .protocol = slash ? slash + 1 : "tcp" };
	if (strcasecmp(ret->protocol, "tcp") == 0 || strcasecmp(ret->protocol, "udp") == 0)
		ret->protocol = strcasecmp(ret->protocol, "tcp") == 0 ? "tcp" : "udp";
	const char *colon = strrchr(text, ':');
	if (colon && split_address(s, n, text, colon, ret) < 0)
		return -EINVAL;
	const char *container = colon ? colon + 1 : text;
	if (parse_range(container, strlen(container), &ret->container) < 0 || !ret->container.set ||
		!ret->container.first)
		return bad_port(s, n, "the container port is no port or range from 1 to 65535");
	uint32_t inside = ret->container.last - ret->container.first,
		 outside = ret->host.last - ret->host.first;
	if (ret->host.set && inside && inside != outside)
		return bad_port(s, n, "the ranges of host and container ports differ in length");
	return 0;
}

static Node *port_node(Shape *s, const Node *at, const PortText *p, uint32_t i)
{
	Arena *a = &s->l->arena;
	Node *out = node_map(a, at);
	node_add(a, out, "target", at->line,
		node_typed(a, at, SCALAR_INT, arena_printf(a, "%u", p->container.first + i)));
	if (p->host.set && p->container.first == p->container.last && p->host.first != p->host.last)
		node_add(a, out, "published", at->line,
			node_string(a, at, arena_printf(a, "%u-%u", p->host.first, p->host.last)));
	else if (p->host.set && p->host.first)
		node_add(a, out, "published", at->line,
			node_string(a, at, arena_printf(a, "%u", p->host.first + i)));
	if (p->host_ip)
		node_add(a, out, "host_ip", at->line, node_string(a, at, p->host_ip));
	node_add(a, out, "protocol", at->line, node_string(a, at, p->protocol));
	return out;
}

static const ShapeKey port_keys[] = {
	{ "target", shape_int },
	{ "published", shape_string },
	{ "host_ip", shape_string },
	{ "protocol", shape_string },
	{ "mode", shape_string },
	{ "name", shape_string },
	{ "app_protocol", shape_string },
};

static Node *long_port(Shape *s, const Node *n)
{
	Node *out = shape_table(s, n, port_keys, ARRAY_SIZE(port_keys));
	if (!out)
		return NULL;
	if (!node_get(out, "protocol"))
		node_add(&s->l->arena, out, "protocol", n->line, node_string(&s->l->arena, n, "tcp"));
	return out;
}

Node *shape_ports(Shape *s, const Node *n)
{
	Arena *a = &s->l->arena;
	if (!node_is_seq(n))
		return shape_fail(s, n, "must be a list, not %s", node_what(n));
	Node *out = node_seq(a, n);
	for (size_t i = 0; i < n->n; i++) {
		const Node *item = n->items[i].value;
		PortText p;
		size_t before = path_enter_index(&s->path, i);
		if (!node_is_scalar(item)) {
			Node *v = long_port(s, item);
			if (!v)
				return NULL;
			node_push(a, out, v);
			path_leave(&s->path, before);
			continue;
		}
		if (parse_short(s, item, &p) < 0)
			return NULL;
		uint32_t count = p.container.last - p.container.first + 1;
		if (load_charge(s->l, item, &s->path, (size_t) count * 5) < 0)
			return NULL;
		for (uint32_t k = 0; k < count; k++)
			node_push(a, out, port_node(s, item, &p, k));
		path_leave(&s->path, before);
	}
	return out;
}

/* "80", "80/udp", "3000-3005": to PORT/PROTOCOL each. */
Node *shape_expose(Shape *s, const Node *n)
{
	Arena *a = &s->l->arena;
	Node *list = shape_strings(s, n);
	if (!list)
		return NULL;
	Node *out = node_seq(a, n);
	for (size_t i = 0; i < list->n; i++) {
		const Node *item = list->items[i].value;
		PortText p;
		size_t before = path_enter_index(&s->path, i);
		if (strchr(item->text, ':'))
			return shape_fail(s, item,
				"'%s': expose takes container ports only; publish it with 'ports:'",
				item->text);
		if (parse_short(s, item, &p) < 0)
			return NULL;
		if (load_charge(s->l, item, &s->path, p.container.last - p.container.first + 1) < 0)
			return NULL;
		for (uint32_t port = p.container.first; port <= p.container.last; port++)
			node_push(a, out, node_string(a, item, arena_printf(a, "%u/%s", port, p.protocol)));
		path_leave(&s->path, before);
	}
	return out;
}
