// SPDX-License-Identifier: Apache-2.0
/*
 * net/'s kernel side of the machine in memory: bridges, namespaces, packet rules, and the containers whose names are served.
 * Bridges and namespaces outlive the daemon; rules and names begin empty with each.
 */
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "daemon/sim-private.h"
#include "net/names.h"
#include "net/netns.h"
#include "net/network.h"
#include "net/nft.h"
#include "net/resolv.h"

static char **netns, **bridges, **named;
static NftPort *rules;
static size_t n_rules;

static void strv_remove(char ***v, const char *s)
{
	char **kept = NULL;
	for (char **p = *v; p && *p; p++)
		if (!str_eq(*p, s))
			strv_add(&kept, *p);
	strv_free(*v);
	*v = kept;
}

void sim_net_reset(void)
{
	strv_free(netns);
	strv_free(named);
	strv_free(bridges);
	netns = named = bridges = NULL;
	free_and_null(&rules);
	n_rules = 0;
}

bool sim_net_has_namespace(const char *id)
{
	return strv_has(netns, id);
}

int net_new(uv_loop_t *loop, const char *daemon_name, Net **ret, Err *err)
{
	*ret = (Net *) &bridges;
	return 0;
}

void net_free(Net *n)
{
}

const char *net_bridge_name(const Net *n, const char *network_id, char dst[IFNAMSIZ])
{
	(void) snprintf(dst, IFNAMSIZ, "st-%.8s", network_id);
	return dst;
}

const char *net_veth_name(const Net *n, const char *container_id, const char *ifname, char dst[IFNAMSIZ])
{
	(void) snprintf(dst, IFNAMSIZ, "sv%.6s%.5s", container_id, ifname);
	return dst;
}

int network_create(Net *n, const NetworkSpec *s, Err *err)
{
	char name[IFNAMSIZ];
	if (!strv_has(bridges, net_bridge_name(n, s->id, name)))
		strv_add(&bridges, name);
	return 0;
}

void network_delete(Net *n, const char *network_id, NetDoneFn done, void *user)
{
	char name[IFNAMSIZ];
	strv_remove(&bridges, net_bridge_name(n, network_id, name));
}

int endpoint_attach(Net *n, const EndpointSpec *s, Err *err)
{
	return 0;
}

int net_sweep(Net *n, char *const *known, Err *err)
{
	char **kept = NULL;
	for (char **b = bridges; b && *b; b++)
		if (strv_has(known, *b))
			strv_add(&kept, *b);
	strv_free(bridges);
	bridges = kept;
	return 0;
}

int net_host_routes(Net *n, Addr **ret, size_t *ret_n, Err *err)
{
	*ret = NULL;
	*ret_n = 0;
	return 0;
}

int net_subnet_claim(Net *n, const Addr *subnet)
{
	return 0;
}

void net_subnet_release(Net *n, const Addr *subnet)
{
}

int net_enable_forwarding(const char *run_dir, char ***ret_guard, Err *err)
{
	return 0;
}

char *net_forward_policy_drop(const char *daemon_name)
{
	return NULL;
}

int net_port_hold(const char *protocol, const Addr *ip, uint16_t port, int *ret_fd, Err *err)
{
	*ret_fd = dup(2);
	return 0;
}

int net_port_choose(const char *protocol, const Addr *ip, uint16_t first, uint16_t last, uint16_t *ret_port, int *ret_fd, Err *err)
{
	*ret_port = (uint16_t) (30000 + sim_random(10000));
	*ret_fd = dup(2);
	return 0;
}

int netns_setup(const char *run_dir, Err *err)
{
	return 0;
}

int netns_teardown(const char *run_dir, Err *err)
{
	return 0;
}

int netns_create(const char *run_dir, const char *id, char *const *sysctls, int *ret_fd, Err *err)
{
	*ret_fd = dup(2);
	if (strv_has(netns, id))
		return 1;
	strv_add(&netns, id);
	return 0;
}

int netns_open(const char *run_dir, const char *id, int *ret_fd, Err *err)
{
	if (!strv_has(netns, id))
		return err_set(err, -ENOENT, "no such namespace");
	*ret_fd = dup(2);
	return 0;
}

int netns_remove(const char *run_dir, const char *id, Err *err)
{
	strv_remove(&netns, id);
	return 0;
}

int netns_list(const char *run_dir, char ***ret, Err *err)
{
	*ret = strv_dup(netns);
	return 0;
}

char *netns_path(const char *run_dir, const char *id)
{
	return xasprintf("%s/netns/%s", run_dir, id);
}

static void rules_ready_later(void *arg)
{
}

int nft_new(uv_loop_t *loop, const char *daemon_name, char *const *guard, const NftPort *ports, size_t n,
	void (*ready)(void *user, const Err *err), void *user, Nft **ret, Err *err)
{
	free(rules);
	rules = NULL;
	n_rules = 0;
	*ret = (Nft *) &rules;
	(void) sim_later(loop, rules_ready_later, NULL, 0);
	return nft_publish(*ret, ports, n, err);
}

void nft_free(Nft *n)
{
}

int nft_remove(Nft *n, Err *err)
{
	return 0;
}

static bool same_rule(const NftPort *a, const NftPort *b)
{
	return a->protocol == b->protocol && a->port == b->port && addr_eq(&a->ip, &b->ip);
}

int nft_unpublish(Nft *n, const NftPort *ports, size_t n_ports, Err *err)
{
	for (size_t i = 0; i < n_ports; i++)
		for (size_t k = 0; k < n_rules; k++)
			if (same_rule(&rules[k], &ports[i]))
				rules[k--] = rules[--n_rules];
	return 0;
}

int nft_publish(Nft *n, const NftPort *ports, size_t n_ports, Err *err)
{
	(void) nft_unpublish(n, ports, n_ports, err);
	for (size_t i = 0; i < n_ports; i++)
		*array_append(rules, n_rules) = ports[i];
	return 0;
}

int names_new(uv_loop_t *loop, const char *run_dir, void (*lost)(void *user), void *user, Names **ret, Err *err)
{
	*ret = (Names *) &named;
	strv_free(named);
	named = NULL;
	return 0;
}

int resolv_watch_new(uv_loop_t *loop, const char *path, void (*read)(void *user, const ResolvConf *conf), void *user,
	ResolvWatch **ret, Err *err)
{
	return 0;
}

void resolv_watch_free(ResolvWatch *w)
{
}

void names_free(Names *n)
{
}

void names_quit(Names *n)
{
}

void names_upstreams(Names *n, const Addr *servers, size_t n_servers)
{
}

int names_endpoint_add(Names *n, const NamesEndpoint *e, Err *err)
{
	if (!strv_has(named, e->id))
		strv_add(&named, e->id);
	return 0;
}

void endpoint_detach(Net *n, const char *container_id, const char *ifname)
{
}

void endpoint_abandon(Net *n, const char *container_id, const char *ifname)
{
}

void names_endpoint_remove(Names *n, const char *id)
{
	strv_remove(&named, id);
}

int names_set(Names *n, const char *network_id, const char *network_name, const Addr *address, const char *const *names, Err *err)
{
	return 0;
}

void names_clear(Names *n, const char *network_id, const Addr *address)
{
}

void names_synced(Names *n)
{
}

static bool netns_owned(Daemon *d, const char *id)
{
	for (size_t i = 0; i < d->n_containers; i++)
		if (str_eq(d->containers[i]->id, id) && d->containers[i]->netns)
			return true;
	return false;
}

char *sim_net_compare(Daemon *d)
{
	size_t ports = 0;
	for (size_t i = 0; i < d->n_containers; i++)
		ports += d->containers[i]->n_ports;
	for (char **id = netns; id && *id; id++)
		if (!netns_owned(d, *id))
			return xasprintf("network namespace %.12s is left over", *id);
	for (char **id = named; id && *id; id++)
		if (!netns_owned(d, *id))
			return xasprintf("names of %.12s are left over", *id);
	if (strv_len(bridges) > d->n_nets)
		return xasprintf("%zu bridges, %zu networks", strv_len(bridges), d->n_nets);
	if (n_rules != ports)
		return xasprintf("%zu rules, %zu published ports", n_rules, ports);
	return NULL;
}
