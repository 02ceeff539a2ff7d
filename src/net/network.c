// SPDX-License-Identifier: Apache-2.0

/*
 * A veth pair is made by one request that names both ends and puts the inner one right into the container's
 * namespace, so no interface ever shows up under a wrong name in the host. The host end is up and on its
 * bridge before the inner end is configured, which is what makes it usable; a crash between leaves a pair
 * without address, which the next attach completes.
 *
 * IPv6 link-local addresses are switched off on every end (address generation mode "none") while networks are
 * IPv4 only: they would cost duplicate address detection and router solicitations at each start. MAC
 * addresses are derived from the addresses, so that neighbours' caches stay right when a container is
 * replaced.
 */

#include "net/network.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/claim.h"
#include "net/netlink.h"
#include "net/reaper.h"

#define TAG_DIGITS 4
#define ID_DIGITS 8
#define VARIANTS "0123456789abcdef" /* last digit of a veth's name */
#define MTU_DEFAULT 1500

struct Net {
	char tag[TAG_DIGITS + 1];
	uint32_t group, group_internal;
	Netlink nl;
	Reaper *reaper;
	Claims *claims;
};

static void tag_of(const char *daemon_name, char tag[TAG_DIGITS + 1])
{
	char hex[DIGEST_HEX_MAX];

	digest_sha256(daemon_name, strlen(daemon_name), hex);
	memcpy(tag, hex, TAG_DIGITS);
	tag[TAG_DIGITS] = 0;
}

const char *net_bridge_prefix(const char *daemon_name, char dst[IFNAMSIZ])
{
	char tag[TAG_DIGITS + 1];

	tag_of(daemon_name, tag);
	(void) snprintf(dst, IFNAMSIZ, "st%s-", tag);
	return dst;
}

uint32_t net_group(const char *daemon_name, bool internal)
{
	char hex[DIGEST_HEX_MAX];
	uint8_t b[4];

	digest_sha256(daemon_name, strlen(daemon_name), hex);
	hex[8] = 0;
	(void) hex_decode(hex, 4, b);
	/* Groups are int in places; 0 is everybody's. The last bit tells the internal ones. */
	return (((uint32_t) b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3]) & 0x3ffffffe) | 0x40000000 |
	       (internal ? 1 : 0);
}

int net_new(uv_loop_t *loop, const char *daemon_name, Net **ret, Err *err)
{
	Net *n = xcalloc(1, sizeof(*n));
	n->claims = claims_new(CLAIM_FILE);
	int r = netlink_open(&n->nl, NETLINK_ROUTE, -1, err);

	if (r == 0)
		r = reaper_new(loop, &n->reaper, err);
	if (r < 0) {
		net_free(n);
		return r;
	}
	tag_of(daemon_name, n->tag);
	n->group = net_group(daemon_name, false);
	n->group_internal = net_group(daemon_name, true);
	*ret = n;
	return 0;
}

void net_free(Net *n)
{
	if (!n)
		return;
	reaper_free(n->reaper);
	netlink_close(&n->nl);
	claims_free(n->claims);
	free(n);
}

int net_subnet_claim(Net *n, const Addr *subnet)
{
	return claims_take(n->claims, subnet);
}

void net_subnet_release(Net *n, const Addr *subnet)
{
	claims_release(n->claims, subnet);
}

static const char *interface_name(const Net *n, const char *kind, const char *of, char dst[IFNAMSIZ])
{
	char hex[DIGEST_HEX_MAX];

	digest_sha256(of, strlen(of), hex);
	(void) snprintf(dst, IFNAMSIZ, "%s%s-%.*s", kind, n->tag, ID_DIGITS, hex);
	return dst;
}

const char *net_bridge_name(const Net *n, const char *network_id, char dst[IFNAMSIZ])
{
	return interface_name(n, "st", network_id, dst);
}

const char *net_veth_name(const Net *n, const char *container_id, const char *ifname, char dst[IFNAMSIZ])
{
	AUTO_FREE char *both = xasprintf("%s/%s", container_id, ifname);

	(void) interface_name(n, "sv", both, dst);
	dst[strlen(dst) - 1] = VARIANTS[0];
	return dst;
}

static struct nlmsghdr *add_link(
	Netlink *nl, uint16_t type, uint16_t flags, const char *name, bool up, const char *what, int tolerate)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC };
	struct nlmsghdr *m;

	if (up)
		ifi.ifi_flags = ifi.ifi_change = IFF_UP;
	m = netlink_add(nl, type, flags, &ifi, sizeof(ifi), what, tolerate);
	mnl_attr_put_strz(m, IFLA_IFNAME, name);
	return m;
}

/* A kernel without IPv6 has nothing to switch off. */
static void add_no_link_local(Netlink *nl, const char *name)
{
	struct nlmsghdr *m = add_link(
		nl, RTM_NEWLINK, 0, name, false, "switch off IPv6 link-local addresses", -EAFNOSUPPORT);
	struct nlattr *spec = mnl_attr_nest_start(m, IFLA_AF_SPEC);
	struct nlattr *inet6 = mnl_attr_nest_start(m, AF_INET6);

	mnl_attr_put_u8(m, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(m, inet6);
	mnl_attr_nest_end(m, spec);
}

static void add_address(Netlink *nl, int index, const Addr *a)
{
	struct ifaddrmsg ifa = { .ifa_family = a->family, .ifa_prefixlen = a->prefix, .ifa_index = index };
	size_t n = a->family == AF_INET ? 4 : 16;
	struct nlmsghdr *m = netlink_add(
		nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &ifa, sizeof(ifa), "set the address", 0);

	mnl_attr_put(m, IFA_LOCAL, n, a->bytes);
	mnl_attr_put(m, IFA_ADDRESS, n, a->bytes);
	if (a->family == AF_INET && a->prefix < 31) {
		Addr broadcast = addr_from_v4(addr_v4(a) | UINT32_MAX >> a->prefix, a->prefix);

		mnl_attr_put(m, IFA_BROADCAST, 4, broadcast.bytes);
	}
}

static void add_default_route(Netlink *nl, int index, const Addr *gateway)
{
	struct rtmsg rt = {
		.rtm_family = gateway->family,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_scope = RT_SCOPE_UNIVERSE,
		.rtm_type = RTN_UNICAST,
	};
	struct nlmsghdr *m = netlink_add(
		nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &rt, sizeof(rt), "set the default route", 0);

	mnl_attr_put(m, RTA_GATEWAY, gateway->family == AF_INET ? 4 : 16, gateway->bytes);
	mnl_attr_put_u32(m, RTA_OIF, index);
}

/*
 * route_localnet lets packets of the host to 127.0.0.1:PUBLISHED leave through the bridge after their address
 * was changed. What containers could do with it (talk to the host's own loopback) is dropped by the rules
 * (net/nft.h) before it is routed. Internal networks publish nothing, and the kernel forwards nothing that
 * comes in from them.
 */
static void add_bridge_up(Netlink *nl, const char *name, bool internal)
{
	struct nlmsghdr *m = add_link(nl, RTM_NEWLINK, 0, name, true, "bring up the bridge", 0);
	struct nlattr *spec = mnl_attr_nest_start(m, IFLA_AF_SPEC);
	struct nlattr *inet = mnl_attr_nest_start(m, AF_INET);
	struct nlattr *conf = mnl_attr_nest_start(m, IFLA_INET_CONF);

	mnl_attr_put_u32(m, IPV4_DEVCONF_ROUTE_LOCALNET, !internal);
	mnl_attr_put_u32(m, IPV4_DEVCONF_FORWARDING, !internal);
	mnl_attr_nest_end(m, conf);
	mnl_attr_nest_end(m, inet);
	mnl_attr_nest_end(m, spec);
}

static void add_bridge(Net *n, const char *name, const NetworkSpec *s)
{
	uint8_t mac[6];
	struct nlattr *info;
	struct nlmsghdr *m = add_link(
		&n->nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, name, false, "make the bridge", -EEXIST);

	mac_from_addr(&s->gateway, mac);
	mnl_attr_put(m, IFLA_ADDRESS, sizeof(mac), mac);
	mnl_attr_put_u32(m, IFLA_MTU, s->mtu ? s->mtu : MTU_DEFAULT);
	mnl_attr_put_u32(m, IFLA_GROUP, s->internal ? n->group_internal : n->group);
	info = mnl_attr_nest_start(m, IFLA_LINKINFO);
	mnl_attr_put_strz(m, IFLA_INFO_KIND, "bridge");
	mnl_attr_nest_end(m, info);
}

int network_create(Net *n, const NetworkSpec *s, Err *err)
{
	char name[IFNAMSIZ];
	Addr gateway = s->gateway;
	int index, r;

	(void) net_bridge_name(n, s->id, name);
	add_bridge(n, name, s);
	add_no_link_local(&n->nl, name);
	r = netlink_commit(&n->nl, err);
	if (r < 0)
		return err_wrap(err, "bridge %s", name);
	index = netlink_ifindex(&n->nl, name);
	if (!index)
		return err_set(err, -ENODEV, "bridge %s went away while it was set up", name);
	gateway.prefix = s->subnet.prefix;
	add_address(&n->nl, index, &gateway);
	add_bridge_up(&n->nl, name, s->internal);
	r = netlink_commit(&n->nl, err);
	return r < 0 ? err_wrap(err, "bridge %s", name) : 0;
}

static void add_delete(Netlink *nl, const char *name)
{
	(void) add_link(nl, RTM_DELLINK, 0, name, false, "delete the interface", -ENODEV);
}

void network_delete(Net *n, const char *network_id, NetDoneFn done, void *user)
{
	char name[IFNAMSIZ];

	reaper_delete(n->reaper, net_bridge_name(n, network_id, name), done, user);
}

/* br_netfilter (Docker loads it) is on in our namespace. */
static bool bridge_calls_netfilter(void)
{
	AUTO_CLOSE int fd = open("/proc/sys/net/bridge/bridge-nf-call-iptables", O_RDONLY | O_CLOEXEC);
	char c;

	return fd >= 0 && read(fd, &c, 1) == 1 && c == '1';
}

/*
 * With br_netfilter a container's packet to its own published port is translated while still in the bridge,
 * which then has to send it out of the port it came in by. Not set otherwise, since it also gives senders
 * their own broadcasts back.
 */
static void put_hairpin(struct nlmsghdr *m)
{
	struct nlattr *info = mnl_attr_nest_start(m, IFLA_LINKINFO), *data;

	mnl_attr_put_strz(m, IFLA_INFO_SLAVE_KIND, "bridge");
	data = mnl_attr_nest_start(m, IFLA_INFO_SLAVE_DATA);
	mnl_attr_put_u8(m, IFLA_BRPORT_MODE, 1);
	mnl_attr_nest_end(m, data);
	mnl_attr_nest_end(m, info);
}

static void add_veth(Net *n, const EndpointSpec *s, const char *host, int bridge)
{
	static const uint8_t none[6];
	struct ifinfomsg peer_ifi = { .ifi_family = AF_UNSPEC };
	uint32_t mtu = s->mtu ? s->mtu : MTU_DEFAULT;
	uint8_t mac[6];
	struct nlattr *info, *data, *peer;
	struct nlmsghdr *m = add_link(
		&n->nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, host, false, "make the veth pair", 0);

	memcpy(mac, s->mac, sizeof(mac));
	if (memcmp(mac, none, sizeof(mac)) == 0)
		mac_from_addr(&s->address, mac);
	mnl_attr_put_u32(m, IFLA_MTU, mtu);
	mnl_attr_put_u32(m, IFLA_MASTER, bridge);
	info = mnl_attr_nest_start(m, IFLA_LINKINFO);
	mnl_attr_put_strz(m, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(m, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(m, VETH_INFO_PEER);
	memcpy(mnl_nlmsg_put_extra_header(m, sizeof(peer_ifi)), &peer_ifi, sizeof(peer_ifi));
	mnl_attr_put_strz(m, IFLA_IFNAME, s->ifname);
	mnl_attr_put(m, IFLA_ADDRESS, sizeof(mac), mac);
	mnl_attr_put_u32(m, IFLA_MTU, mtu);
	mnl_attr_put_u32(m, IFLA_NET_NS_FD, s->netns_fd);
	mnl_attr_nest_end(m, peer);
	mnl_attr_nest_end(m, data);
	mnl_attr_nest_end(m, info);
	add_no_link_local(&n->nl, host);
	m = add_link(&n->nl, RTM_NEWLINK, 0, host, true, "bring up the host's end", 0);
	if (bridge_calls_netfilter())
		put_hairpin(m);
}

static void peer_index(void *user, const struct nlmsghdr *m)
{
	int *ret = user;
	struct nlattr *a;

	mnl_attr_for_each(a, m, sizeof(struct ifinfomsg)) if (mnl_attr_get_type(a) == IFLA_LINK &&
							      mnl_attr_validate(a, MNL_TYPE_U32) >= 0) *ret =
		(int) mnl_attr_get_u32(a);
}

/* Both ends are there and belong together: an attach before got this far. */
static bool pair_complete(Net *n, Netlink *inside, const char *host, const char *ifname)
{
	int other = 0, inner = netlink_ifindex(inside, ifname);

	if (!inner)
		return false;
	(void) add_link(&n->nl, RTM_GETLINK, 0, host, false, "look at the veth pair", 0);
	return netlink_query(&n->nl, peer_index, &other, NULL) == 0 && other == inner;
}

/* What lives on in a former namespace would go on answering for the address. */
static void set_down(Net *n, const char *host, int index)
{
	const struct ifinfomsg down = { .ifi_family = AF_UNSPEC, .ifi_index = index, .ifi_change = IFF_UP };
	AUTO_ERR err = ERR_INIT;

	(void) netlink_add(&n->nl, RTM_NEWLINK, 0, &down, sizeof(down), "set down", -ENODEV);
	if (netlink_commit(&n->nl, &err) < 0)
		log_warning("interface %s of a container that has ended: %s", host, err_text(&err));
}

/*
 * Of a container that was just restarted the former pair may still be dying with its namespace; so the name's
 * last digit is counted on until the name is free or belongs to the pair that is wanted. 1: it is complete
 * already; 0: `host` is free.
 */
static int choose_host_name(Net *n, Netlink *inside, const EndpointSpec *s, char host[IFNAMSIZ], Err *err)
{
	char *digit;

	(void) net_veth_name(n, s->container_id, s->ifname, host);
	digit = host + strlen(host) - 1;
	for (const char *v = VARIANTS; *v; v++) {
		int index;

		*digit = *v;
		index = netlink_ifindex(&n->nl, host);
		if (!index)
			return 0;
		if (pair_complete(n, inside, host, s->ifname))
			return 1;
		set_down(n, host, index);
	}
	return err_set(err, -EEXIST, "interface %s and all its variants exist already", host);
}

static int make_pair(Net *n, Netlink *inside, const EndpointSpec *s, int bridge, Err *err)
{
	char host[IFNAMSIZ];
	struct nlmsghdr *m;
	int r = choose_host_name(n, inside, s, host, err);

	if (r < 0)
		return r;
	if (r > 0) {
		m = add_link(&n->nl, RTM_NEWLINK, 0, host, true, "put the host's end on its bridge", 0);
		mnl_attr_put_u32(m, IFLA_MASTER, bridge);
		return netlink_commit(&n->nl, err);
	}
	if (netlink_ifindex(inside, s->ifname)) {
		/* Rare, so it may wait: something else has that name in there. */
		add_delete(inside, s->ifname);
		r = netlink_commit(inside, err);
		if (r < 0)
			return r;
	}
	add_veth(n, s, host, bridge);
	return netlink_commit(&n->nl, err);
}

/** Calls fn for each of a container's pairs: there may be former ones. */
static void each_pair(Net *n, const char *container_id, const char *ifname, void (*fn)(Reaper *r, const char *host))
{
	char host[IFNAMSIZ];
	char *digit;

	(void) net_veth_name(n, container_id, ifname, host);
	digit = host + strlen(host) - 1;
	for (const char *v = VARIANTS; *v; v++) {
		*digit = *v;
		if (netlink_ifindex(&n->nl, host))
			fn(n->reaper, host);
	}
}

static void delete_pair(Reaper *r, const char *host)
{
	reaper_delete(r, host, NULL, NULL);
}

void endpoint_detach(Net *n, const char *container_id, const char *ifname)
{
	each_pair(n, container_id, ifname, delete_pair);
}

void endpoint_abandon(Net *n, const char *container_id, const char *ifname)
{
	each_pair(n, container_id, ifname, reaper_expect);
}

static int configure_inside(Netlink *inside, const EndpointSpec *s, Err *err)
{
	int index = netlink_ifindex(inside, s->ifname);

	if (!index)
		return err_set(err, -ENODEV, "interface %s went away while it was set up", s->ifname);
	add_no_link_local(inside, s->ifname);
	add_address(inside, index, &s->address);
	(void) add_link(inside, RTM_NEWLINK, 0, s->ifname, true, "bring up the container's end", 0);
	if (addr_set(&s->gateway))
		add_default_route(inside, index, &s->gateway);
	return netlink_commit(inside, err);
}

int endpoint_attach(Net *n, const EndpointSpec *s, Err *err)
{
	char bridge_name[IFNAMSIZ];
	Netlink inside;
	int bridge = netlink_ifindex(&n->nl, net_bridge_name(n, s->network_id, bridge_name)), r;

	if (!bridge)
		return err_set(err, -ENODEV, "the network's bridge %s is missing", bridge_name);
	if (strlen(s->ifname) >= IFNAMSIZ)
		return err_set(err, -EINVAL, "'%s' cannot name an interface", s->ifname);
	r = netlink_open(&inside, NETLINK_ROUTE, s->netns_fd, err);
	if (r < 0)
		return r;
	r = make_pair(n, &inside, s, bridge, err);
	if (r == 0)
		r = configure_inside(&inside, s, err);
	netlink_close(&inside);
	return r < 0 ? err_wrap(err, "connect %s to bridge %s", s->ifname, bridge_name) : 0;
}

typedef struct LinkList {
	const Net *net;
	char *const *known;
	char **strays;
} LinkList;

static bool is_ours(const Net *n, const char *name)
{
	return (str_starts(name, "st") || str_starts(name, "sv")) &&
	       strncmp(name + 2, n->tag, TAG_DIGITS) == 0 && name[2 + TAG_DIGITS] == '-' &&
	       strlen(name) == 3 + TAG_DIGITS + ID_DIGITS;
}

static bool is_known(char *const *known, const char *name)
{
	size_t n = strlen(name) - (name[1] == 'v'); /* without the digit that varies */

	for (; known && *known; known++)
		if (strncmp(*known, name, n) == 0)
			return true;
	return false;
}

static void find_stray(void *user, const struct nlmsghdr *m)
{
	LinkList *l = user;
	struct nlattr *a;

	mnl_attr_for_each(a, m, sizeof(struct ifinfomsg))
	{
		if (mnl_attr_get_type(a) != IFLA_IFNAME || mnl_attr_validate(a, MNL_TYPE_NUL_STRING) < 0)
			continue;
		if (is_ours(l->net, mnl_attr_get_str(a)) && !is_known(l->known, mnl_attr_get_str(a)))
			strv_add(&l->strays, mnl_attr_get_str(a));
	}
}

int net_sweep(Net *n, char *const *known, Err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC };
	LinkList l = { n, known, NULL };
	int r = netlink_dump(&n->nl, RTM_GETLINK, &ifi, sizeof(ifi), find_stray, &l, err), found = 0;

	for (char **s = l.strays; r >= 0 && s && *s; s++, found++)
		reaper_delete(n->reaper, *s, NULL, NULL);
	strv_free(l.strays);
	return r < 0 ? r : found;
}

typedef struct RouteList {
	const Net *net;
	Addr *routes;
	size_t n;
} RouteList;

static void find_route(void *user, const struct nlmsghdr *m)
{
	const struct rtmsg *rt = mnl_nlmsg_get_payload(m);
	RouteList *l = user;
	char name[IF_NAMESIZE];
	uint32_t oif = 0;
	Addr a = { .family = AF_INET, .prefix = rt->rtm_dst_len };
	struct nlattr *attr;

	if (rt->rtm_family != AF_INET || rt->rtm_dst_len == 0 || rt->rtm_dst_len > 32 ||
		rt->rtm_table == RT_TABLE_LOCAL)
		return;
	mnl_attr_for_each(attr, m, sizeof(*rt))
	{
		if (mnl_attr_get_payload_len(attr) != 4)
			continue;
		if (mnl_attr_get_type(attr) == RTA_DST)
			memcpy(a.bytes, mnl_attr_get_payload(attr), 4);
		else if (mnl_attr_get_type(attr) == RTA_OIF)
			oif = mnl_attr_get_u32(attr);
	}
	if (oif && if_indextoname(oif, name) && is_ours(l->net, name))
		return;
	*array_append(l->routes, l->n) = a;
}

int net_host_routes(Net *n, Addr **ret, size_t *ret_n, Err *err)
{
	struct rtmsg rt = { .rtm_family = AF_INET };
	RouteList l = { .net = n };
	int r = netlink_dump(&n->nl, RTM_GETROUTE, &rt, sizeof(rt), find_route, &l, err);

	if (r < 0) {
		free(l.routes);
		return r;
	}
	*ret = l.routes;
	*ret_n = l.n;
	return 0;
}
