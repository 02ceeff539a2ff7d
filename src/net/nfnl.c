// SPDX-License-Identifier: Apache-2.0

#include "net/nfnl.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

struct nlmsghdr *nfnl_add(Netlink *nl, uint8_t subsys, uint8_t type, uint8_t family, uint16_t flags,
	const char *what, int tolerate)
{
	const struct nfgenmsg g = { .nfgen_family = family, .version = NFNETLINK_V0 };

	return netlink_add(nl, (uint16_t) (subsys << 8 | type), flags, &g, sizeof(g), what, tolerate);
}

static void mark(Netlink *nl, uint16_t type)
{
	const struct nfgenmsg g = {
		.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES)
	};

	(void) netlink_add_silent(nl, type, 0, &g, sizeof(g));
}

void nfnl_batch_begin(Netlink *nl)
{
	mark(nl, NFNL_MSG_BATCH_BEGIN);
}

void nfnl_batch_end(Netlink *nl)
{
	mark(nl, NFNL_MSG_BATCH_END);
}

int nfnl_dump(Netlink *nl, uint8_t subsys, uint8_t type, uint8_t family,
	void (*each)(void *user, const struct nlmsghdr *m), void *user, Err *err)
{
	const struct nfgenmsg g = { .nfgen_family = family, .version = NFNETLINK_V0 };

	return netlink_dump(nl, (uint16_t) (subsys << 8 | type), &g, sizeof(g), each, user, err);
}

void nfnl_put_be32(struct nlmsghdr *m, uint16_t type, uint32_t value)
{
	mnl_attr_put_u32(m, type, htonl(value));
}

void nfnl_put_data(struct nlmsghdr *m, uint16_t type, const void *data, size_t n)
{
	struct nlattr *nest = mnl_attr_nest_start(m, type);

	mnl_attr_put(m, NFTA_DATA_VALUE, n, data);
	mnl_attr_nest_end(m, nest);
}
