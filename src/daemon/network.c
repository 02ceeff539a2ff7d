// SPDX-License-Identifier: Apache-2.0
/*
 * A container's network namespace is made before the container and is kept through restarts by its
 * policy, and as long as another container runs in it (network_mode: service:…), which so keeps its
 * network. Else it goes when the container is stopped, and in any case when it is removed.
 *
 * Host ports are held by a bound socket as long as a container publishes them: another program then gets
 * EADDRINUSE at once instead of a port that the packet rules take away from it.
 */
#include "daemon/network.h"

#include <errno.h>
#include <netinet/in.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/build.h"
#include "daemon/container.h"
#include "daemon/deploy.h"
#include "daemon/events.h"
#include "daemon/operation.h"
#include "daemon/state.h"
#include "net/names.h"
#include "net/netns.h"
#include "net/network.h"
#include "net/nft.h"
#include "net/pool.h"
#include "net/resolv.h"

/* ── networks ─────────────────────────────────────────────────────── */

static int taken_subnets(Daemon *d, Addr **ret, size_t *ret_n, Err *err)
{
	Addr *taken = NULL, *routes = NULL;
	size_t n = 0, n_routes = 0;
	int r = net_host_routes(d->net, &routes, &n_routes, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n_routes; i++)
		*array_append(taken, n) = routes[i];
	free(routes);
	for (size_t i = 0; i < d->n_nets; i++) {
		Addr a;
		if (addr_parse_cidr(d->nets[i]->subnet, &a) == 0)
			*array_append(taken, n) = a;
	}
	char text[64];
	Addr builds;
	if (builds_subnet(d, text) && addr_parse_cidr(text, &builds) == 0)
		*array_append(taken, n) = builds;
	*ret = taken;
	*ret_n = n;
	return 0;
}

/* `wish` may be NULL. It is claimed. */
static int choose_subnet(Daemon *d, const Subnet *wish, PoolSpec *ret, Err *err)
{
	Addr *taken = NULL;
	size_t n = 0;
	int r = taken_subnets(d, &taken, &n, err);
	if (r < 0)
		return r;
	do {
		r = pool_spec(wish ? wish->subnet : NULL, wish ? wish->ip_range : NULL, wish ? wish->gateway : NULL, taken, n, ret, err);
		if (r == 0)
			/* Another daemon has chosen it just now, and its bridge is not up yet. */
			r = net_subnet_claim(d->net, &ret->subnet);
		if (r > 0)
			*array_append(taken, n) = ret->subnet;
	} while (r > 0);
	free(taken);
	return r;
}

int network_subnet_choose(Daemon *d, PoolSpec *ret, Err *err)
{
	return choose_subnet(d, NULL, ret, err);
}

static void fill_network(NetState *net, const Stack *model, const Network *n, const PoolSpec *spec)
{
	char text[ADDR_TEXT_MAX];
	hex_random(32, net->id);
	net->name = xstrdup(n->name);
	net->stack = xstrdup(model->name);
	net->key = xstrdup(n->key);
	net->driver = xstrdup("bridge");
	net->internal = n->internal;
	net->attachable = n->attachable;
	net->subnet = xstrdup(addr_cidr_text(&spec->subnet, text));
	net->gateway = xstrdup(addr_text(&spec->gateway, text));
	net->ip_range = addr_set(&spec->ip_range) ? xstrdup(addr_cidr_text(&spec->ip_range, text)) : NULL;
	net->labels = strv_dup(n->labels);
	strv_setenv(&net->labels, "com.docker.compose.project", model->name);
	strv_setenv(&net->labels, "com.docker.compose.network", n->key);
	net->created = time_real();
}

int network_prepare(StackState *s, const Stack *model, const Network *n, NetState **ret, Err *err)
{
	Daemon *d = s->d;
	NetState *net = NULL;
	if (daemon_find_network(d, n->name, &net, NULL) == 0 && str_eq(net->name, n->name)) {
		*ret = net;
		if (n->external || (str_eq(net->stack, s->name) && str_eq(net->key, n->key)))
			return 0;
		return err_set(err, -EEXIST, "network '%s' exists and belongs to %s%s%s; name another with `name:`, or use it with "
			"`external: true`", n->name, net->stack ? "stack '" : "nobody", net->stack ? net->stack : "",
			net->stack ? "'" : "");
	}
	if (n->external)
		return err_set(err, -ENOENT, "network '%s' is declared as external, but there is none of that name", n->name);
	PoolSpec spec;
	const Subnet *sub = n->n_subnets ? &n->subnets[0] : NULL;
	int r = choose_subnet(d, sub, &spec, err);
	if (r < 0)
		return r;
	net = xcalloc(1, sizeof(*net));
	fill_network(net, model, n, &spec);
	char bridge[IFNAMSIZ];
	net->bridge = xstrdup(net_bridge_name(d->net, net->id, bridge));
	r = state_insert_network(d, net, err);
	if (r < 0) {
		net_subnet_release(d->net, &spec.subnet);
		state_network_free(net);
		return r;
	}
	*array_append(d->nets, d->n_nets) = net;
	*ret = net;
	return 1;
}

/** The network's bridge is there afterwards. */
static int network_ensure(Daemon *d, NetState *n, Err *err)
{
	if (n->up)
		return 0;
	NetworkSpec spec = { .id = n->id, .internal = n->internal };
	if (addr_parse_cidr(n->subnet, &spec.subnet) < 0 || addr_parse(n->gateway, &spec.gateway) < 0)
		return err_set(err, -EINVAL, "network '%s': its row holds no valid subnet", n->name);
	int r = network_create(d->net, &spec, err);
	if (r < 0) {
		err_wrap(err, "network '%s'", n->name);
		return r;
	}
	/* After a restart; whoever else took it meanwhile does not change where our containers are. */
	(void) net_subnet_claim(d->net, &spec.subnet);
	n->up = true;
	return 0;
}

size_t network_users(const Daemon *d, const NetState *n)
{
	size_t users = 0;
	for (size_t i = 0; i < d->n_containers; i++)
		for (size_t k = 0; k < d->containers[i]->n_endpoints; k++)
			users += d->containers[i]->endpoints[k].net == n;
	return users;
}

int network_remove(Daemon *d, NetState *n, Err *err)
{
	if (network_users(d, n))
		return err_set(err, -EBUSY, "network '%s' is in use by %zu container(s)", n->name, network_users(d, n));
	int r = state_delete_network(d, n, err);
	if (r < 0)
		return r;
	network_delete(d->net, n->id, NULL, NULL);
	Addr subnet;
	if (addr_parse_cidr(n->subnet, &subnet) == 0)
		net_subnet_release(d->net, &subnet);
	events_network(d, n, "destroy");
	for (size_t i = 0; i < d->n_nets; i++)
		if (d->nets[i] == n)
			d->nets[i--] = d->nets[--d->n_nets];
	state_network_free(n);
	return 0;
}

static void remove_reported(StackState *s, NetState *n)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *name = xstrdup(n->name);
	operation_report(s, "network", name, NULL, "removing");
	if (network_remove(s->d, n, &err) < 0)
		operation_warn(s, "network '%s' stays: %s", name, err_text(&err));
	else
		operation_report(s, "network", name, NULL, "removed");
}

void network_remove_stack(StackState *s)
{
	for (size_t i = s->d->n_nets; i-- > 0;)
		if (i < s->d->n_nets && str_eq(s->d->nets[i]->stack, s->name))
			remove_reported(s, s->d->nets[i]);
}

void network_remove_by_name(StackState *s, const char *name)
{
	for (size_t i = 0; i < s->d->n_nets; i++)
		if (str_eq(s->d->nets[i]->name, name)) {
			remove_reported(s, s->d->nets[i]);
			return;
		}
}

/* ── a container's place ──────────────────────────────────────────── */

/* An address is a container's own from its making to its removal, so that it is in the row before anything is done with it. */
static int choose_address(Container *c, Endpoint *e, Err *err)
{
	Daemon *d = c->d;
	Addr chosen;
	char text[ADDR_TEXT_MAX], mac[MAC_TEXT_MAX];
	uint8_t hw[6];
	PoolSpec spec = { 0 };
	Addr *used = NULL, last = { 0 };
	size_t n_used = 0;
	int r = pool_spec(e->net->subnet, e->net->ip_range, e->net->gateway, NULL, 0, &spec, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < d->n_containers; i++)
		for (size_t k = 0; k < d->containers[i]->n_endpoints; k++) {
			const Endpoint *other = &d->containers[i]->endpoints[k];
			Addr a;
			if (other == e || other->net != e->net)
				continue;
			if (addr_parse(other->address, &a) == 0)
				*array_append(used, n_used) = a;
		}
	(void) addr_parse(e->net->last_address, &last);
	if (e->want_address)
		r = pool_check_address(&spec, e->want_address, used, n_used, &chosen, err);
	else
		r = pool_choose_address(&spec, used, n_used, &last, &chosen, err);
	free(used);
	if (r < 0)
		return r;
	if (!e->want_mac)
		mac_from_addr(&chosen, hw);
	else if (mac_parse(e->want_mac, hw) < 0)
		return err_set(err, -EINVAL, "mac_address: '%s' is no MAC address", e->want_mac);
	(void) snprintf(e->address, sizeof(e->address), "%s", addr_text(&chosen, text));
	(void) snprintf(e->mac, sizeof(e->mac), "%s", mac_text(hw, mac));
	if (!e->want_address)
		(void) snprintf(e->net->last_address, sizeof(e->net->last_address), "%s", e->address);
	return 0;
}

int network_endpoints(Container *c, const Stack *model, Err *err)
{
	int best = -1, best_priority = INT32_MIN;
	for (size_t i = 0; i < c->svc.n_networks; i++) {
		const NetworkAttachment *a = &c->svc.networks[i];
		const Network *n = stack_network(model, a->network);
		NetState *net = NULL;
		if (!n || daemon_find_network(c->d, n->name, &net, NULL) < 0)
			return err_set(err, -ENOENT, "network '%s' is not there", n ? n->name : a->network);
		Endpoint *e = array_append(c->endpoints, c->n_endpoints);
		e->net = net;
		e->aliases = strv_dup(a->aliases);
		e->want_address = xstrdup(a->ipv4_address);
		e->want_mac = xstrdup(a->mac_address);
		(void) snprintf(e->ifname, sizeof(e->ifname), "eth%u", (unsigned) i % 100);
		int r = choose_address(c, e, err);
		if (r < 0)
			return err_wrap(err, "network '%s'", net->name);
		if (!net->internal && a->priority > best_priority) {
			best = (int) i;
			best_priority = a->priority;
		}
	}
	if (best >= 0)
		c->endpoints[best].gateway = true;
	return 0;
}

static int attach_endpoint(Container *c, Endpoint *e, int netns_fd, Err *err)
{
	EndpointSpec spec = {
		.container_id = c->id,
		.network_id = e->net->id,
		.netns_fd = netns_fd,
		.ifname = e->ifname,
	};
	Addr subnet;
	int r = network_ensure(c->d, e->net, err);
	if (r < 0)
		return r;
	if (addr_parse(e->address, &spec.address) < 0 || addr_parse_cidr(e->net->subnet, &subnet) < 0 ||
		mac_parse(e->mac, spec.mac) < 0 || (e->gateway && addr_parse(e->net->gateway, &spec.gateway) < 0))
		return err_set(err, -EINVAL, "network '%s': its row or the container's holds no valid address", e->net->name);
	spec.address.prefix = subnet.prefix;
	r = endpoint_attach(c->d->net, &spec, err);
	return r < 0 ? err_wrap(err, "network '%s'", e->net->name) : 0;
}

static int tell_endpoint_names(Container *c, const Endpoint *e, Err *err)
{
	Addr a;
	AUTO_STRV char **names = NULL;
	if (addr_parse(e->address, &a) < 0)
		return 0;
	AUTO_FREE char *short_id = xstrndup(c->id, 12);
	strv_add(&names, c->name);
	strv_add(&names, short_id);
	/* The names of the service lead to what serves, not to what is being brought up or has been replaced. */
	if (!deploy_aside(c)) {
		if (!strv_has(names, c->svc.name))
			strv_add(&names, c->svc.name);
		for (char **alias = e->aliases; alias && *alias; alias++)
			if (!strv_has(names, *alias))
				strv_add(&names, *alias);
		if (c->svc.hostname && !strv_has(names, c->svc.hostname))
			strv_add(&names, c->svc.hostname);
	}
	return names_set(c->d->names, e->net->id, e->net->name, &a, (const char *const *) names, err);
}

/* The resolver of the container itself: which networks it sees, whom it asks for the rest. */
static int tell_endpoint(Container *c, int netns_fd, Err *err)
{
	const char **ids = xcalloc(c->n_endpoints + 1, sizeof(*ids));
	Addr *dns = NULL;
	size_t n_dns = 0;
	bool forward = false;
	for (size_t i = 0; i < c->n_endpoints; i++) {
		ids[i] = c->endpoints[i].net->id;
		forward = forward || !c->endpoints[i].net->internal;
	}
	for (char **server = c->svc.dns; server && *server; server++) {
		Addr a;
		if (addr_parse(*server, &a) == 0)
			*array_append(dns, n_dns) = a;
	}
	NamesEndpoint e = { .id = c->id, .netns_fd = netns_fd, .networks = ids, .dns = dns, .n_dns = n_dns, .forward = forward };
	int r = names_endpoint_add(c->d->names, &e, err);
	free(dns);
	free(ids);
	return r;
}

/** Tells the names server of a running container (at start and after the server was lost). */
static int network_tell_names(Container *c, Err *err)
{
	if (!c->netns || !c->n_endpoints)
		return 0;
	AUTO_CLOSE int fd = -1;
	int r = netns_open(c->d->o.run_dir, c->id, &fd, err);
	if (r == 0)
		r = tell_endpoint(c, fd, err);
	for (size_t i = 0; r == 0 && i < c->n_endpoints; i++)
		r = tell_endpoint_names(c, &c->endpoints[i], err);
	return r;
}

void network_update_names(Container *c)
{
	AUTO_ERR err = ERR_INIT;
	for (size_t i = 0; c->netns && i < c->n_endpoints; i++)
		if (tell_endpoint_names(c, &c->endpoints[i], &err) < 0)
			log_warning("%s: names: %s", c->name, err_text(&err));
}

int network_attach(Container *c, Err *err)
{
	Daemon *d = c->d;
	if (c->netns || (c->svc.network_mode && !str_eq(c->svc.network_mode, "none")))
		return 0;
	AUTO_STRV char **sysctls = NULL;
	for (char **s = c->svc.sysctls; s && *s; s++)
		if (str_starts(*s, "net."))
			strv_add(&sysctls, *s);
	AUTO_CLOSE int fd = -1;
	int r = netns_create(d->o.run_dir, c->id, sysctls, &fd, err);
	if (r < 0)
		return r;
	c->netns = netns_path(d->o.run_dir, c->id);
	r = 0;
	for (size_t i = 0; r == 0 && i < c->n_endpoints; i++)
		r = attach_endpoint(c, &c->endpoints[i], fd, err);
	if (r == 0 && c->n_endpoints)
		r = network_tell_names(c, err);
	if (r < 0) {
		network_release(c);
		return r;
	}
	for (size_t i = 0; i < c->n_endpoints; i++)
		events_network_container(d, c->endpoints[i].net, c, "connect");
	return 0;
}

Container *network_owner(const Container *c)
{
	Container *owner = NULL;
	const Container *from = c;
	/* A model has no circles, but containers of two models may. */
	for (size_t steps = 0; from->svc.network_mode && str_starts(from->svc.network_mode, "service:"); from = owner) {
		owner = ctr_partner(from, from->svc.network_mode + strlen("service:"));
		if (!owner || owner == c || ++steps > c->d->n_containers)
			return NULL;
	}
	return owner;
}

/* Does another container run in its namespace? */
static bool namespace_is_shared(const Container *c)
{
	for (size_t i = 0; i < c->d->n_containers; i++) {
		const Container *other = c->d->containers[i];
		if (other != c && (ctr_is_running(other) || other->phase == PHASE_STARTING) && str_eq(other->stack, c->stack) &&
			network_owner(other) == c)
			return true;
	}
	return false;
}

void network_rest(Container *c)
{
	Container *owner = network_owner(c);
	if (!namespace_is_shared(c))
		network_release(c);
	if (owner && (owner->phase == PHASE_CREATED || owner->phase == PHASE_EXITED) && !owner->restarting && !namespace_is_shared(owner))
		network_release(owner);
}

/* The veth pairs go with the namespace, unless somebody stays in it. */
void network_release(Container *c)
{
	Daemon *d = c->d;
	AUTO_ERR err = ERR_INIT;
	if (!c->netns)
		return;
	bool shared = namespace_is_shared(c);
	for (size_t i = 0; i < c->n_endpoints; i++) {
		Endpoint *e = &c->endpoints[i];
		Addr a;
		if (shared)
			endpoint_detach(d->net, c->id, e->ifname);
		else
			endpoint_abandon(d->net, c->id, e->ifname);
		if (addr_parse(e->address, &a) == 0)
			names_clear(d->names, e->net->id, &a);
		events_network_container(d, e->net, c, "disconnect");
	}
	if (c->n_endpoints)
		names_endpoint_remove(d->names, c->id);
	if (netns_remove(d->o.run_dir, c->id, &err) < 0)
		log_warning("%s: %s", c->name, err_text(&err));
	free_and_null(&c->netns);
}

void network_free_addresses(const Container *c)
{
	for (size_t i = 0; i < c->n_endpoints; i++)
		if (c->endpoints[i].want_address)
			endpoint_detach(c->d->net, c->id, c->endpoints[i].ifname);
}

/* ── ports ────────────────────────────────────────────────────────── */

static uint8_t protocol_number(const char *protocol)
{
	return str_eq(protocol, "udp") ? IPPROTO_UDP : IPPROTO_TCP;
}

/* The address that published ports lead to: that of the endpoint with the default route, else the first. */
static const Endpoint *port_endpoint(const Container *c)
{
	for (size_t i = 0; i < c->n_endpoints; i++)
		if (c->endpoints[i].gateway && c->endpoints[i].address[0])
			return &c->endpoints[i];
	return c->n_endpoints && c->endpoints[0].address[0] ? &c->endpoints[0] : NULL;
}

static void nft_port(const Container *c, const PublishedPort *p, NftPort *ret)
{
	const Endpoint *e = port_endpoint(c);
	*ret = (NftPort) { .protocol = protocol_number(p->protocol), .port = p->host_port, .to_port = p->target };
	if (p->host_ip)
		(void) addr_parse(p->host_ip, &ret->ip);
	if (e)
		(void) addr_parse(e->address, &ret->to);
}

/* nft rules and forwarding are set up when the first port is published, or a network needs a way out. */
static NftPort *all_ports(Daemon *d, size_t *ret_n)
{
	NftPort *ports = NULL;
	*ret_n = 0;
	for (size_t i = 0; i < d->n_containers; i++)
		for (size_t k = 0; k < d->containers[i]->n_ports && port_endpoint(d->containers[i]); k++)
			nft_port(d->containers[i], &d->containers[i]->ports[k], array_append(ports, *ret_n));
	return ports;
}

static bool ip_any(const char *ip)
{
	return !ip || str_eq(ip, "0.0.0.0") || str_eq(ip, "::");
}

static bool ports_clash(const PublishedPort *held, const Port *p)
{
	return held->host_port == p->published && str_eq(held->protocol, p->protocol) &&
	       (ip_any(held->host_ip) || ip_any(p->host_ip) || str_eq(held->host_ip, p->host_ip));
}

int network_port_check(Daemon *d, const char *stack, const Port *p, Err *err)
{
	if (!p->published || p->published_end > p->published)
		return 0;
	for (size_t i = 0; i < d->n_containers; i++) {
		const Container *c = d->containers[i];
		for (size_t k = 0; k < c->n_ports; k++)
			if (c->ports[k].hold >= 0 && ports_clash(&c->ports[k], p)) {
				/* Its own stack is about to replace or keep it. */
				if (str_eq(c->stack, stack))
					return 0;
				return err_set(err, -EADDRINUSE, "port %u/%s is already published by container %s; stop it or publish another port",
					p->published, p->protocol, c->name);
			}
	}
	Addr ip = { 0 };
	if (p->host_ip && addr_parse(p->host_ip, &ip) < 0)
		return err_set(err, -EINVAL, "'%s' is no address", p->host_ip);
	int fd = -1;
	int r = net_port_hold(p->protocol, &ip, p->published, &fd, err);
	if (fd >= 0)
		(void) close(fd);
	return r;
}

static int hold_port(const Port *p, PublishedPort *ret, Err *err)
{
	Addr ip = { 0 };
	ret->host_ip = xstrdup(p->host_ip);
	ret->protocol = xstrdup(p->protocol);
	ret->target = p->target;
	ret->host_port = p->published;
	ret->hold = -1;
	if (p->host_ip && addr_parse(p->host_ip, &ip) < 0)
		return err_set(err, -EINVAL, "ports: '%s' is no address", p->host_ip);
	if (p->published && p->published_end <= p->published)
		return net_port_hold(p->protocol, &ip, p->published, &ret->hold, err);
	return net_port_choose(p->protocol, &ip, p->published, p->published_end, &ret->host_port, &ret->hold, err);
}

int network_publish(Container *c, Err *err)
{
	if (!c->svc.n_ports || c->n_ports || !port_endpoint(c))
		return 0;
	int r = 0;
	for (size_t i = 0; r == 0 && i < c->svc.n_ports; i++)
		r = hold_port(&c->svc.ports[i], array_append(c->ports, c->n_ports), err);
	NftPort *rules = NULL;
	size_t n = 0;
	for (size_t i = 0; r == 0 && i < c->n_ports; i++)
		nft_port(c, &c->ports[i], array_append(rules, n));
	if (r == 0)
		r = nft_publish(c->d->nft, rules, n, err);
	free(rules);
	/* A port that was chosen now stands in no file: it must be in the row before the container can run. */
	for (size_t i = 0; r == 0 && i < c->n_ports; i++)
		if (c->ports[i].host_port != c->svc.ports[i].published) {
			c->dirty = true;
			r = state_write_dirty(c->d, err);
			break;
		}
	if (r < 0) {
		err_wrap(err, "ports");
		network_unpublish(c);
	}
	return r;
}

void network_unpublish(Container *c)
{
	AUTO_ERR err = ERR_INIT;
	NftPort *rules = NULL;
	size_t n = 0;
	for (size_t i = 0; i < c->n_ports; i++)
		nft_port(c, &c->ports[i], array_append(rules, n));
	if (n && nft_unpublish(c->d->nft, rules, n, &err) < 0)
		log_warning("%s: %s", c->name, err_text(&err));
	free(rules);
	ctr_ports_free(c);
}

/* ── the daemon's start ───────────────────────────────────────────── */

static void tell_all_names(Daemon *d)
{
	for (size_t i = 0; i < d->n_containers; i++) {
		AUTO_ERR err = ERR_INIT;
		if (network_tell_names(d->containers[i], &err) < 0)
			log_warning("%s: names: %s", d->containers[i]->name, err_text(&err));
	}
	names_synced(d->names);
}

static void names_lost(void *user)
{
	log_warning("the names server had ended and was started again");
	builds_tell_names(user);
	tell_all_names(user);
}

static void upstreams_read(void *user, const ResolvConf *conf)
{
	Daemon *d = user;
	names_upstreams(d->names, conf->servers, conf->n_servers);
}

static void rules_ready(void *user, const Err *err)
{
	if (err)
		log_error("packet rules: %s", err_text(err));
}

/* Takes the held sockets of ports that a running container published before the daemon's restart. */
static void hold_again(Container *c)
{
	for (size_t i = 0; i < c->n_ports; i++) {
		AUTO_ERR err = ERR_INIT;
		Addr ip = { 0 };
		if (c->ports[i].host_ip)
			(void) addr_parse(c->ports[i].host_ip, &ip);
		if (net_port_hold(c->ports[i].protocol, &ip, c->ports[i].host_port, &c->ports[i].hold, &err) < 0)
			log_warning("%s: %s", c->name, err_text(&err));
	}
}

/* Interfaces and namespaces that no container owns were left by a crash between two steps. */
static void sweep(Daemon *d)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_STRV char **known = NULL, **pinned = NULL;
	char name[IFNAMSIZ];
	for (size_t i = 0; i < d->n_nets; i++)
		strv_add(&known, d->nets[i]->bridge);
	for (size_t i = 0; i < d->n_containers; i++)
		for (size_t k = 0; d->containers[i]->netns && k < d->containers[i]->n_endpoints; k++)
			strv_add(&known, net_veth_name(d->net, d->containers[i]->id, d->containers[i]->endpoints[k].ifname, name));
	if (net_sweep(d->net, known, &err) < 0)
		log_warning("network: %s", err_text(&err));
	if (netns_list(d->o.run_dir, &pinned, &err) < 0)
		log_warning("network: %s", err_text(&err));
	for (char **id = pinned; id && *id; id++) {
		Container *c = NULL;
		if (daemon_find_container(d, *id, &c, NULL) == 0 && c->netns)
			continue;
		if (netns_remove(d->o.run_dir, *id, &err) < 0)
			log_warning("network: %s", err_text(&err));
	}
}

/* The namespace of a container that has ended, while another runs in it. */
static void keep_shared(Daemon *d)
{
	for (size_t i = 0; i < d->n_containers; i++) {
		Container *c = d->containers[i];
		AUTO_CLOSE int fd = -1;
		if (!c->netns && namespace_is_shared(c) && netns_open(d->o.run_dir, c->id, &fd, NULL) == 0)
			c->netns = netns_path(d->o.run_dir, c->id);
	}
}

int network_start(Daemon *d, Err *err)
{
	int r = names_new(d->loop, d->o.run_dir, names_lost, d, &d->names, err);
	if (r < 0)
		return r;
	if (resolv_watch_new(d->loop, NULL, upstreams_read, d, &d->resolv, err) < 0)
		log_warning("%s", err_text(err));
	keep_shared(d);
	sweep(d);
	for (size_t i = 0; i < d->n_nets; i++) {
		AUTO_ERR one = ERR_INIT;
		if (network_users(d, d->nets[i]) && network_ensure(d, d->nets[i], &one) < 0)
			log_error("%s", err_text(&one));
	}
	tell_all_names(d);
	for (size_t i = 0; i < d->n_containers; i++)
		hold_again(d->containers[i]);
	AUTO_FREE char *dropped = net_forward_policy_drop(d->o.name);
	if (dropped)
		log_warning("%s", dropped);
	r = net_enable_forwarding(d->o.run_dir, &d->forward_guard, err);
	if (r < 0)
		return r;
	size_t n;
	NftPort *ports = all_ports(d, &n);
	r = nft_new(d->loop, d->o.name, d->forward_guard, ports, n, rules_ready, NULL, &d->nft, err);
	free(ports);
	return r;
}
