// SPDX-License-Identifier: Apache-2.0

#include "net/conntrack.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/nfnl.h"
#include "net/nft-text.h"

typedef struct Flow {
	uint32_t destination;
	uint16_t port; /* network order */
	uint8_t protocol;
} Flow;

typedef struct Found {
	const NftPort *ports;
	size_t n_ports;
	struct nlattr **tuples; /* owned copies of CTA_TUPLE_ORIG */
	size_t n;
} Found;

static void read_proto(const struct nlattr *nest, Flow *f)
{
	struct nlattr *a;

	mnl_attr_for_each_nested(a, nest)
	{
		if (mnl_attr_get_type(a) == CTA_PROTO_NUM && mnl_attr_get_payload_len(a) >= 1)
			f->protocol = mnl_attr_get_u8(a);
		else if (mnl_attr_get_type(a) == CTA_PROTO_DST_PORT && mnl_attr_get_payload_len(a) >= 2)
			f->port = mnl_attr_get_u16(a);
	}
}

static void read_ip(const struct nlattr *nest, Flow *f)
{
	struct nlattr *a;

	mnl_attr_for_each_nested(
		a, nest) if (mnl_attr_get_type(a) == CTA_IP_V4_DST && mnl_attr_get_payload_len(a) >= 4)
		f->destination = mnl_attr_get_u32(a);
}

static bool wanted(const Found *f, const struct nlattr *tuple)
{
	Flow flow = { 0 };
	struct nlattr *a;

	mnl_attr_for_each_nested(a, tuple)
	{
		if (mnl_attr_get_type(a) == CTA_TUPLE_PROTO)
			read_proto(a, &flow);
		else if (mnl_attr_get_type(a) == CTA_TUPLE_IP)
			read_ip(a, &flow);
	}
	if (flow.protocol != IPPROTO_UDP)
		return false;
	for (size_t i = 0; i < f->n_ports; i++)
		if (f->ports[i].protocol == IPPROTO_UDP && htons(f->ports[i].port) == flow.port &&
			(nft_port_any_ip(&f->ports[i]) ||
				memcmp(f->ports[i].ip.bytes, &flow.destination, 4) == 0))
			return true;
	return false;
}

static void find_flow(void *user, const struct nlmsghdr *m)
{
	Found *f = user;
	struct nlattr *a;

	mnl_attr_for_each(
		a, m, sizeof(struct nfgenmsg)) if (mnl_attr_get_type(a) == CTA_TUPLE_ORIG && wanted(f, a)) *
		array_append(f->tuples, f->n) = xmemdup(a, a->nla_len);
}

/* ENOENT: it ended by itself. */
static void forget_flow(Netlink *nl, const struct nlattr *tuple)
{
	struct nlmsghdr *m = nfnl_add(
		nl, NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE, AF_INET, 0, "forget a flow", -ENOENT);

	mnl_attr_put(m, CTA_TUPLE_ORIG | NLA_F_NESTED, mnl_attr_get_payload_len(tuple),
		mnl_attr_get_payload(tuple));
}

void conntrack_forget_udp(Netlink *nl, const NftPort *ports, size_t n)
{
	Found f = { .ports = ports, .n_ports = n };
	AUTO_ERR err = ERR_INIT;
	bool any = false;
	int r;

	for (size_t i = 0; i < n; i++)
		any = any || ports[i].protocol == IPPROTO_UDP;
	if (!any)
		return;
	r = nfnl_dump(nl, NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET, AF_INET, find_flow, &f, &err);
	for (size_t i = 0; i < f.n; i++) {
		if (r == 0) {
			forget_flow(nl, f.tuples[i]);
			r = netlink_commit(nl, &err);
		}
		free(f.tuples[i]);
	}
	free(f.tuples);
	if (r < 0)
		log_debug("connection tracking: %s", err_text(&err));
}
