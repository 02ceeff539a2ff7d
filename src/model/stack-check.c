// SPDX-License-Identifier: Apache-2.0
/*
 * What must hold between the parts of a stack: every reference leads somewhere, dependencies have no
 * cycle, no two containers want one port of the host, one name or one address.
 */
#include <arpa/inet.h>
#include <errno.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/names.h"
#include "model/nearest.h"
#include "model/stack-parts.h"

int stack_fail_in(Reader *r, const char *service, const char *key, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *s = NULL;
	s = xvasprintf(fmt, ap);
	va_end(ap);
	(void) reader_enter(r, "services");
	(void) reader_enter(r, service);
	if (key)
		(void) reader_enter(r, key);
	int e = reader_fail(r, "%s", s);
	free(s);
	return e;
}

/* The name nearest to `word` among structs whose first member is their name. */
static const char *nearest_object(const void *items, size_t n, size_t size, const char *word)
{
	unsigned best = edit_distance_allowed(word) + 1;
	const char *found = NULL;
	for (size_t i = 0; i < n; i++) {
		const char *name = *(char *const *) (const void *) ((const char *) items + i * size);
		unsigned d = edit_distance(word, name, best - 1);
		if (d < best) {
			best = d;
			found = name;
		}
	}
	return found;
}

/* Looks a reference up; an error says what there is instead. */
static int check_reference(Reader *r, const Service *s, const char *list, const char *what, const char *name,
	const void *items, size_t n, size_t size)
{
	if (objects_find(items, n, size, name))
		return 0;
	const char *near = nearest_object(items, n, size, name);
	AUTO_FREE char *key = xasprintf("%s.%s", list, name);
	if (near)
		return stack_fail_in(r, s->name, key, "there is no %s '%s'; did you mean '%s'?", what, name, near);
	if (str_eq(what, "service"))
		return stack_fail_in(r, s->name, key, "there is no service '%s' (or its profile is off)", name);
	return stack_fail_in(r, s->name, key, "there is no %s '%s'; declare it at the top level under '%ss:'", what,
		name, what);
}

static int check_name_of(Reader *r, const Stack *st, const Service *s)
{
	if (!object_name_valid(s->name) || strlen(s->name) > 63)
		return stack_fail_in(r, s->name, NULL,
			"'%s' is no valid name for a service: letters, digits, '_', '.' and '-', at most 63",
			s->name);
	return 0;
}

/* Who shares another's namespace depends on it without saying so in depends_on: the error belongs to that key. */
static int check_shared(Reader *r, const Stack *st, const Service *s)
{
	const struct {
		const char *key, *mode;
	} shared[] = { { "network_mode", s->network_mode }, { "pid", s->pid }, { "ipc", s->ipc } };
	for (size_t i = 0; i < ARRAY_SIZE(shared); i++) {
		if (!shared[i].mode || !str_starts(shared[i].mode, "service:") || stack_service(st, shared[i].mode + 8))
			continue;
		const char *name = shared[i].mode + 8,
			   *near = nearest_object(st->services, st->n_services, sizeof(Service), name);
		return stack_fail_in(r, s->name, shared[i].key, "there is no service '%s'%s%s%s", name,
			near ? "; did you mean '" : " (or its profile is off)", near ? near : "", near ? "'?" : "");
	}
	return 0;
}

static int check_depends(Reader *r, const Stack *st, const Service *s)
{
	if (check_shared(r, st, s) < 0)
		return -EINVAL;
	for (size_t i = 0; i < s->n_depends; i++) {
		const Depends *d = &s->depends[i];
		if (str_eq(d->service, s->name))
			return stack_fail_in(r, s->name, "depends_on", "'%s' depends on itself", s->name);
		if (check_reference(r, s, "depends_on", "service", d->service, st->services, st->n_services,
			    sizeof(Service)) < 0)
			return -EINVAL;
		const Service *other = stack_service(st, d->service);
		if (d->condition == DEPENDS_HEALTHY && other->healthcheck.disable)
			return stack_fail_in(r, s->name, "depends_on",
				"waits for '%s' to be healthy, whose health check is disabled; enable it, or use service_started",
				d->service);
		if (other->replicas > 1 && (str_starts(s->network_mode ? s->network_mode : "", "service:") &&
						   str_eq(s->network_mode + 8, other->name)))
			return stack_fail_in(r, s->name, "network_mode",
				"'%s' has %d replicas; one container is to be shared", other->name,
				other->replicas);
	}
	return 0;
}

static int check_mount_sources(Reader *r, const Stack *st, const Service *s)
{
	for (size_t i = 0; i < s->n_mounts; i++) {
		const Mount *m = &s->mounts[i];
		if (m->type == MOUNT_VOLUME && m->source &&
			check_reference(r, s, "volumes", "volume", m->source, st->volumes, st->n_volumes,
				sizeof(Volume)) < 0)
			return -EINVAL;
	}
	return 0;
}

static int check_file_refs(Reader *r, const Stack *st, const Service *s)
{
	for (size_t i = 0; i < s->n_secrets; i++)
		if (check_reference(r, s, "secrets", "secret", s->secrets[i].source, st->secrets,
			    st->n_secrets, sizeof(FileSource)) < 0)
			return -EINVAL;
	for (size_t i = 0; i < s->n_configs; i++)
		if (check_reference(r, s, "configs", "config", s->configs[i].source, st->configs,
			    st->n_configs, sizeof(FileSource)) < 0)
			return -EINVAL;
	return 0;
}

static int check_fixed_address(
	Reader *r, const Service *s, const Network *n, const char *key, const char *address)
{
	if (!address)
		return 0;
	AUTO_FREE char *path = xasprintf("networks.%s.%s", n->key, key);
	if (s->replicas > 1)
		return stack_fail_in(r, s->name, path, "%d replicas cannot share the address %s; remove it",
			s->replicas, address);
	if (n->external)
		return 0;
	for (size_t i = 0; i < n->n_subnets; i++)
		if (subnet_contains(n->subnets[i].subnet, address))
			return 0;
	return stack_fail_in(r, s->name, path,
		"%s is in no subnet of the network '%s'; give it one with 'ipam: {config: [{subnet: …}]}'",
		address, n->key);
}

/* Only services before this one in the stack are looked at, so that a clash is named once. */
static int check_address_free(Reader *r, const Stack *st, const Service *s, const NetworkAttachment *a)
{
	AUTO_FREE char *path = xasprintf("networks.%s.ipv4_address", a->network);
	for (const Service *other = st->services; a->ipv4_address && other < s; other++)
		for (size_t i = 0; i < other->n_networks; i++)
			if (str_eq(other->networks[i].network, a->network) &&
				str_eq(other->networks[i].ipv4_address, a->ipv4_address))
				return stack_fail_in(r, s->name, path, "%s is the address of service '%s' already; give each its own",
					a->ipv4_address, other->name);
	return 0;
}

static int check_attachments(Reader *r, const Stack *st, const Service *s)
{
	for (size_t i = 0; i < s->n_networks; i++) {
		const NetworkAttachment *a = &s->networks[i];
		if (check_reference(r, s, "networks", "network", a->network, st->networks, st->n_networks,
			    sizeof(Network)) < 0)
			return -EINVAL;
		const Network *n = stack_network(st, a->network);
		if (check_fixed_address(r, s, n, "ipv4_address", a->ipv4_address) < 0 ||
			check_fixed_address(r, s, n, "ipv6_address", a->ipv6_address) < 0 ||
			check_address_free(r, st, s, a) < 0)
			return -EINVAL;
		if (a->mac_address && s->replicas > 1)
			return stack_fail_in(r, s->name, "networks",
				"%d replicas cannot share one mac_address; remove it", s->replicas);
	}
	return 0;
}

/* ---- cycles ---- */

typedef struct Walk {
	Reader *r;
	const Stack *stack;
	char *state; /* by index of service: 0 new, 1 on the path, 2 done */
	size_t path[LIMIT_STACK_SERVICES];
	size_t depth;
} Walk;

static int fail_cycle(Walk *w, size_t again)
{
	AUTO_BUF text = BUF_INIT;
	size_t i = 0;
	while (w->path[i] != again)
		i++;
	for (; i < w->depth; i++)
		buf_printf(&text, "%s → ", w->stack->services[w->path[i]].name);
	buf_str(&text, w->stack->services[again].name);
	return stack_fail_in(w->r, w->stack->services[again].name, "depends_on",
		"the dependencies form a cycle: %s; remove one of them", buf_cstr(&text));
}

static int walk(Walk *w, size_t i)
{
	const Service *s = &w->stack->services[i];
	w->state[i] = 1;
	w->path[w->depth++] = i;
	for (size_t k = 0; k < s->n_depends; k++) {
		size_t next = (size_t) (stack_service(w->stack, s->depends[k].service) - w->stack->services);
		if (w->state[next] == 1)
			return fail_cycle(w, next);
		if (!w->state[next] && walk(w, next) < 0)
			return -EINVAL;
	}
	w->depth--;
	w->state[i] = 2;
	return 0;
}

static int check_cycles(Reader *r, const Stack *st)
{
	AUTO_FREE char *state = xcalloc(st->n_services, 1);
	AUTO_FREE Walk *w = xcalloc(1, sizeof(*w));
	*w = (Walk){ .r = r, .stack = st, .state = state };
	for (size_t i = 0; i < st->n_services; i++)
		if (!state[i] && walk(w, i) < 0)
			return -EINVAL;
	return 0;
}

/* ---- ports ---- */

/* The width of a claim decides what it may meet: all addresses, all of one family, or one. */
typedef enum Width { WIDTH_ALL, WIDTH_FAMILY, WIDTH_ONE } Width;

typedef struct Claim {
	const Service *service;
	const Port *port;
	size_t index;
	Width width;
	int family;
} Claim;

static Claim claim(const Service *s, size_t index)
{
	const Port *p = &s->ports[index];
	const char *ip = p->host_ip;
	bool any = ip && (str_eq(ip, "0.0.0.0") || str_eq(ip, "::"));
	return (Claim){ .service = s,
		.port = p,
		.index = index,
		.width = !ip   ? WIDTH_ALL
			 : any ? WIDTH_FAMILY
			       : WIDTH_ONE,
		.family = ip ? address_family(ip) : 0 };
}

/* By protocol and port, in each group the wide ones first. */
static int compare_claims(const void *a, const void *b)
{
	const Claim *x = a, *y = b;
	int d = strcmp(x->port->protocol, y->port->protocol);
	if (!d)
		d = (int) x->port->published - (int) y->port->published;
	if (!d)
		d = (int) x->width - (int) y->width;
	if (!d && x->port->host_ip)
		d = strcmp(x->port->host_ip, y->port->host_ip);
	if (!d)
		d = x->service < y->service ? -1 : x->service > y->service;
	return d ? d : x->index < y->index ? -1 : x->index > y->index;
}

static bool same_port(const Claim *a, const Claim *b)
{
	return a->port->published == b->port->published && str_eq(a->port->protocol, b->port->protocol);
}

/* The error is put at the one that comes later in the stack. */
static int fail_port(Reader *r, const Claim *first, const Claim *second)
{
	if (second->service < first->service ||
		(second->service == first->service && second->index < first->index)) {
		const Claim *t = first;
		first = second;
		second = t;
	}
	AUTO_FREE char *key = xasprintf("ports[%zu]", second->index);
	if (first->service == second->service)
		return stack_fail_in(r, second->service->name, key, "port %u/%s is published twice; remove one",
			second->port->published, second->port->protocol);
	return stack_fail_in(r, second->service->name, key,
		"port %u/%s is already published by service '%s'; choose another", second->port->published,
		second->port->protocol, first->service->name);
}

static int check_claims(Reader *r, Claim *claims, size_t n)
{
	const Claim *all = NULL, *ipv4 = NULL, *ipv6 = NULL;
	if (n > 1)
		qsort(claims, n, sizeof(*claims), compare_claims);
	for (size_t i = 0; i < n; i++) {
		const Claim *c = &claims[i];
		const Claim *before = i && same_port(c, &claims[i - 1]) ? &claims[i - 1] : NULL;
		if (!before)
			all = ipv4 = ipv6 = NULL;
		const Claim *wide = all                     ? all
				    : c->family == AF_INET  ? ipv4
				    : c->family == AF_INET6 ? ipv6
							    : NULL;
		if (wide)
			return fail_port(r, wide, c);
		if (before && c->width == WIDTH_ONE && str_eq(c->port->host_ip, before->port->host_ip))
			return fail_port(r, before, c);
		if (c->width == WIDTH_ALL)
			all = c;
		else if (c->width == WIDTH_FAMILY)
			*(c->family == AF_INET ? &ipv4 : &ipv6) = c;
	}
	return 0;
}

/* Only ports that are certain: a range, or one that the daemon chooses, gives way to the others. */
static int check_ports(Reader *r, const Stack *st)
{
	AUTO_FREE Claim *claims = NULL;
	size_t n = 0;
	for (size_t i = 0; i < st->n_services; i++) {
		const Service *s = &st->services[i];
		for (size_t k = 0; k < s->n_ports && s->replicas; k++) {
			const Port *p = &s->ports[k];
			int room = p->published_end - p->published + 1;
			if (p->published && s->replicas > room) {
				AUTO_FREE char *key = xasprintf("ports[%zu]", k);
				return stack_fail_in(r, s->name, key,
					"%d replicas cannot all publish port %u; give a range of %d ports, or leave the host port out",
					s->replicas, p->published, s->replicas);
			}
			if (!p->published || room > 1)
				continue;
			Claim *c = array_append(claims, n);
			*c = claim(s, k);
		}
	}
	return check_claims(r, claims, n);
}

/* ---- names ---- */

typedef struct Named {
	const char *name;
	const Service *service;
} Named;

static int check_container_names(Reader *r, const Stack *st)
{
	AUTO_FREE Named *names = NULL;
	size_t n = 0;
	for (size_t i = 0; i < st->n_services; i++) {
		if (!st->services[i].container_name)
			continue;
		Named *p = array_append(names, n);
		*p = (Named){ st->services[i].container_name, &st->services[i] };
	}
	objects_sort(names, n, sizeof(*names));
	for (size_t i = 1; i < n; i++)
		if (str_eq(names[i - 1].name, names[i].name))
			return stack_fail_in(r, names[i].service->name, "container_name",
				"service '%s' has the name '%s' for its container, too; choose another",
				names[i - 1].service->name, names[i].name);
	return 0;
}

/* A dependency that need not be there and is not is none: nobody after this has to think of it. */
static void drop_optional(const Stack *st, Service *s)
{
	size_t n = 0;
	for (size_t i = 0; i < s->n_depends; i++) {
		if (s->depends[i].required || stack_service(st, s->depends[i].service))
			s->depends[n++] = s->depends[i];
		else
			free(s->depends[i].service);
	}
	s->n_depends = n;
}

static int check_counts(Reader *r, const Stack *st)
{
	size_t containers = 0;
	if (!stack_name_valid(st->name))
		return reader_fail_at(r, "name",
			"'%s' is no valid project name: lower-case letters, digits, '_' and '-', beginning with a letter or digit, at most 63",
			st->name);
	if (st->n_services > LIMIT_STACK_SERVICES)
		return reader_fail_at(r, "services", "%zu services are too many (limit %d)", st->n_services,
			LIMIT_STACK_SERVICES);
	for (size_t i = 0; i < st->n_services; i++)
		containers += (size_t) st->services[i].replicas;
	if (containers > LIMIT_STACK_CONTAINERS)
		return reader_fail_at(r, "services", "%zu containers are too many (limit %d)", containers,
			LIMIT_STACK_CONTAINERS);
	return 0;
}

int stack_check(Reader *r, Stack *st)
{
	static int (*const checks[])(Reader *, const Stack *, const Service *) = {
		check_name_of,
		check_depends,
		check_mount_sources,
		check_file_refs,
		check_attachments,
	};
	if (check_counts(r, st) < 0)
		return -EINVAL;
	for (size_t i = 0; i < st->n_services; i++) {
		drop_optional(st, &st->services[i]);
		for (size_t k = 0; k < ARRAY_SIZE(checks); k++)
			if (checks[k](r, st, &st->services[i]) < 0)
				return -EINVAL;
	}
	if (check_cycles(r, st) < 0 || stack_check_builds(r, st) < 0 || check_ports(r, st) < 0 || stack_check_routes(r, st) < 0)
		return -EINVAL;
	return check_container_names(r, st);
}
