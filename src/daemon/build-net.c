// SPDX-License-Identifier: Apache-2.0
/*
 * RUN instructions reach the outside as services do: from a bridge of this daemon, through its packet rules, with its names
 * server. No row stands for it: the bridge is there while builds are, and what a crash leaves is swept as all that nobody
 * claims. A namespace is kept for the instructions of one build that follow each other: its making costs more than
 * the container's.
 */
#include <errno.h>
#include <netinet/in.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/build-parts.h"
#include "daemon/network.h"
#include "net/names.h"
#include "net/netns.h"
#include "net/network.h"
#include "net/pool.h"

typedef struct BuildNetwork {
	char id[65];
	bool up;
	PoolSpec spec;
	Addr last;
	BuildPlace **places;
	size_t n;
} BuildNetwork;

bool builds_subnet(const Daemon *d, char dst[64])
{
	const BuildNetwork *n = d->builds ? d->builds->network : NULL;
	if (!n || !n->up)
		return false;
	(void) addr_cidr_text(&n->spec.subnet, dst);
	return true;
}

static int network_up(Daemon *d, BuildNetwork *n, Err *err)
{
	if (n->up)
		return 0;
	int r = network_subnet_choose(d, &n->spec, err);
	if (r < 0)
		return err_wrap(err, "the builds' network");
	NetworkSpec spec = { .id = n->id, .subnet = n->spec.subnet, .gateway = n->spec.gateway };
	r = network_create(d->net, &spec, err);
	if (r < 0) {
		net_subnet_release(d->net, &n->spec.subnet);
		return err_wrap(err, "the builds' network");
	}
	n->up = true;
	return 0;
}

static int tell_names(Daemon *d, const BuildNetwork *n, const BuildPlace *p, int netns, Err *err)
{
	const char *networks[] = { n->id, NULL };
	NamesEndpoint e = { .id = p->id, .netns_fd = netns, .networks = networks, .forward = true };
	return names_endpoint_add(d->names, &e, err);
}

static int choose_address(BuildNetwork *n, Addr *ret, Err *err)
{
	Addr *used = NULL;
	size_t n_used = 0;
	for (size_t i = 0; i < n->n; i++)
		if (!n->places[i]->isolated)
			*array_append(used, n_used) = n->places[i]->address;
	int r = pool_choose_address(&n->spec, used, n_used, &n->last, ret, err);
	free(used);
	if (r == 0)
		n->last = *ret;
	return r;
}

static int connect_place(Daemon *d, BuildNetwork *n, BuildPlace *p, int netns, Err *err)
{
	int r = network_up(d, n, err);
	if (r == 0)
		r = choose_address(n, &p->address, err);
	if (r < 0)
		return r;
	p->gateway = n->spec.gateway;
	EndpointSpec spec = { .container_id = p->id, .network_id = n->id, .netns_fd = netns, .ifname = "eth0", .address = p->address,
		.gateway = n->spec.gateway };
	r = endpoint_attach(d->net, &spec, err);
	return r < 0 ? r : tell_names(d, n, p, netns, err);
}

static void place_free(Daemon *d, BuildPlace *p)
{
	AUTO_ERR err = ERR_INIT;
	if (!p->isolated)
		names_endpoint_remove(d->names, p->id);
	if (netns_remove(d->o.run_dir, p->id, &err) < 0)
		log_warning("build: %s", err_text(&err));
	free(p->netns);
	free(p);
}

int build_place_take(Builder *b, bool isolated, BuildPlace **ret, Err *err)
{
	Daemon *d = b->d;
	BuildNetwork *n = d->builds->network;
	for (size_t i = 0; n && i < n->n; i++) {
		BuildPlace *p = n->places[i];
		if (p->owner == b && !p->busy && p->isolated == isolated) {
			p->busy = true;
			*ret = p;
			return 0;
		}
	}
	if (!n) {
		n = xcalloc(1, sizeof(*n));
		hex_random(32, n->id);
		d->builds->network = n;
	}
	BuildPlace *p = xcalloc(1, sizeof(*p));
	hex_random(32, p->id);
	p->owner = b;
	p->isolated = isolated;
	p->busy = true;
	AUTO_CLOSE int fd = -1;
	int r = netns_create(d->o.run_dir, p->id, NULL, &fd, err);
	if (r >= 0) {
		p->netns = netns_path(d->o.run_dir, p->id);
		r = isolated ? 0 : connect_place(d, n, p, fd, err);
	}
	if (r < 0) {
		place_free(d, p);
		return r;
	}
	*array_append(n->places, n->n) = p;
	*ret = p;
	return 0;
}

void build_place_leave(BuildPlace *p)
{
	if (p)
		p->busy = false;
}

void build_places_drop(Builder *b)
{
	Daemon *d = b->d;
	BuildNetwork *n = d->builds->network;
	size_t kept = 0;
	for (size_t i = 0; n && i < n->n; i++) {
		if (n->places[i]->owner == b)
			place_free(d, n->places[i]);
		else
			n->places[kept++] = n->places[i];
	}
	if (!n || kept) {
		if (n)
			n->n = kept;
		return;
	}
	if (n->up) {
		network_delete(d->net, n->id, NULL, NULL);
		net_subnet_release(d->net, &n->spec.subnet);
	}
	free(n->places);
	free(n);
	d->builds->network = NULL;
}

void builds_tell_names(Daemon *d)
{
	const BuildNetwork *n = d->builds ? d->builds->network : NULL;
	for (size_t i = 0; n && i < n->n; i++) {
		AUTO_ERR err = ERR_INIT;
		AUTO_CLOSE int fd = -1;
		if (n->places[i]->isolated)
			continue;
		if (netns_open(d->o.run_dir, n->places[i]->id, &fd, &err) < 0 || tell_names(d, n, n->places[i], fd, &err) < 0)
			log_warning("build: names: %s", err_text(&err));
	}
}
