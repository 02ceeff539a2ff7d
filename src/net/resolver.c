// SPDX-License-Identifier: Apache-2.0

/*
 * The table in the container's namespace, as nft(8) would write it:
 *
 *	table ip stead {
 *		chain output {
 *			type filter hook output priority -150; policy accept;
 *			ip daddr 127.0.0.11 udp dport 53 udp dport set PORT
 *			ip daddr 127.0.0.11 tcp dport 53 tcp dport set PORT
 *			ip saddr 127.0.0.11 udp sport PORT udp sport set 53
 *			ip saddr 127.0.0.11 tcp sport PORT tcp sport set 53
 *		}
 *	}
 *
 * It is made of netlink messages here, in one transaction, as a child nft for each container would cost more
 *than all else that a container's network needs.
 */

#include "net/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/names-protocol.h"
#include "net/netns.h"
#include "net/nfnl.h"

#define TABLE "stead"
#define CHAIN "output"
#define PRIORITY_MANGLE (-150)
#define PORT_FIRST                                                                                           \
	64953 /* above what the kernel hands out by default, and unlikely to be wanted by anybody */
#define PORT_TRIES 32
#define BACKLOG 16
#define IP_SADDR 12 /* offsets in the IPv4 header */
#define IP_DADDR 16
#define UDP_CHECK 6 /* offsets of the checksums in the transport headers */
#define TCP_CHECK 16
#define SPORT 0
#define DPORT 2

/* ── sockets ──────────────────────────────────────────────────────── */

typedef struct Sockets {
	int udp, tcp;
	Netlink nl;
	uint16_t port;
} Sockets;

static int bind_to(int type, uint16_t port, int *ret_fd)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port) };
	AUTO_CLOSE int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void) inet_pton(AF_INET, NAMES_ADDRESS, &sin.sin_addr);
	if (fd < 0 || bind(fd, (const void *) &sin, sizeof(sin)) < 0)
		return -errno;
	if (type == SOCK_STREAM && listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int bind_both(Sockets *s)
{
	int r = bind_to(SOCK_DGRAM, s->port, &s->udp);

	if (r == 0)
		r = bind_to(SOCK_STREAM, s->port, &s->tcp);
	if (r < 0 && s->udp >= 0) {
		(void) close(s->udp);
		s->udp = -1;
	}
	return r;
}

static int open_inside(void *user, Err *err)
{
	Sockets *s = user;
	int r = -EADDRINUSE;

	for (s->port = PORT_FIRST; r == -EADDRINUSE && s->port < PORT_FIRST + PORT_TRIES; s->port++) {
		r = bind_both(s);
		if (r == 0)
			break;
	}
	if (r < 0)
		return err_errno(err, r, "bind the resolver's sockets in the container");
	return netlink_open(&s->nl, NETLINK_NETFILTER, -1, err);
}

/* ── rules ────────────────────────────────────────────────────────── */

typedef struct Expr {
	struct nlmsghdr *m;
	struct nlattr *element, *data;
} Expr;

static Expr expr_begin(struct nlmsghdr *m, const char *name)
{
	Expr e = { .m = m, .element = mnl_attr_nest_start(m, NFTA_LIST_ELEM) };

	mnl_attr_put_strz(m, NFTA_EXPR_NAME, name);
	e.data = mnl_attr_nest_start(m, NFTA_EXPR_DATA);
	return e;
}

static void expr_end(Expr e)
{
	mnl_attr_nest_end(e.m, e.data);
	mnl_attr_nest_end(e.m, e.element);
}

static void expr_load(struct nlmsghdr *m, uint32_t base, uint32_t offset, uint32_t n)
{
	Expr e = expr_begin(m, "payload");

	nfnl_put_be32(m, NFTA_PAYLOAD_DREG, NFT_REG_1);
	nfnl_put_be32(m, NFTA_PAYLOAD_BASE, base);
	nfnl_put_be32(m, NFTA_PAYLOAD_OFFSET, offset);
	nfnl_put_be32(m, NFTA_PAYLOAD_LEN, n);
	expr_end(e);
}

static void expr_store_port(struct nlmsghdr *m, uint32_t offset, uint32_t checksum)
{
	Expr e = expr_begin(m, "payload");

	nfnl_put_be32(m, NFTA_PAYLOAD_SREG, NFT_REG_1);
	nfnl_put_be32(m, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
	nfnl_put_be32(m, NFTA_PAYLOAD_OFFSET, offset);
	nfnl_put_be32(m, NFTA_PAYLOAD_LEN, 2);
	nfnl_put_be32(m, NFTA_PAYLOAD_CSUM_TYPE, NFT_PAYLOAD_CSUM_INET);
	nfnl_put_be32(m, NFTA_PAYLOAD_CSUM_OFFSET, checksum);
	expr_end(e);
}

static void expr_protocol(struct nlmsghdr *m)
{
	Expr e = expr_begin(m, "meta");

	nfnl_put_be32(m, NFTA_META_DREG, NFT_REG_1);
	nfnl_put_be32(m, NFTA_META_KEY, NFT_META_L4PROTO);
	expr_end(e);
}

static void expr_equal(struct nlmsghdr *m, const void *value, size_t n)
{
	Expr e = expr_begin(m, "cmp");

	nfnl_put_be32(m, NFTA_CMP_SREG, NFT_REG_1);
	nfnl_put_be32(m, NFTA_CMP_OP, NFT_CMP_EQ);
	nfnl_put_data(m, NFTA_CMP_DATA, value, n);
	expr_end(e);
}

static void expr_set(struct nlmsghdr *m, const void *value, size_t n)
{
	Expr e = expr_begin(m, "immediate");

	nfnl_put_be32(m, NFTA_IMMEDIATE_DREG, NFT_REG_1);
	nfnl_put_data(m, NFTA_IMMEDIATE_DATA, value, n);
	expr_end(e);
}

typedef struct Rewrite {
	uint8_t protocol;
	uint32_t address, port; /* offsets */
	bool out;               /* from port 53 to ours, or back */
} Rewrite;

static void add_rule(Netlink *nl, const Rewrite *w, uint16_t port)
{
	const uint16_t from = htons(w->out ? NAMES_PORT : port), to = htons(w->out ? port : NAMES_PORT);
	struct nlmsghdr *m = nfnl_add(nl, NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWRULE, NFPROTO_IPV4,
		NLM_F_CREATE | NLM_F_APPEND, "add a rule", 0);
	struct nlattr *list;
	struct in_addr resolver;

	(void) inet_pton(AF_INET, NAMES_ADDRESS, &resolver);
	mnl_attr_put_strz(m, NFTA_RULE_TABLE, TABLE);
	mnl_attr_put_strz(m, NFTA_RULE_CHAIN, CHAIN);
	list = mnl_attr_nest_start(m, NFTA_RULE_EXPRESSIONS);
	expr_load(m, NFT_PAYLOAD_NETWORK_HEADER, w->address, sizeof(resolver));
	expr_equal(m, &resolver, sizeof(resolver));
	expr_protocol(m);
	expr_equal(m, &w->protocol, 1);
	expr_load(m, NFT_PAYLOAD_TRANSPORT_HEADER, w->port, sizeof(from));
	expr_equal(m, &from, sizeof(from));
	expr_set(m, &to, sizeof(to));
	expr_store_port(m, w->port, w->protocol == IPPROTO_UDP ? UDP_CHECK : TCP_CHECK);
	mnl_attr_nest_end(m, list);
}

static void add_chain(Netlink *nl)
{
	struct nlmsghdr *m = nfnl_add(
		nl, NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWCHAIN, NFPROTO_IPV4, NLM_F_CREATE, "add a chain", 0);
	struct nlattr *hook;

	mnl_attr_put_strz(m, NFTA_CHAIN_TABLE, TABLE);
	mnl_attr_put_strz(m, NFTA_CHAIN_NAME, CHAIN);
	mnl_attr_put_strz(m, NFTA_CHAIN_TYPE, "filter");
	hook = mnl_attr_nest_start(m, NFTA_CHAIN_HOOK);
	nfnl_put_be32(m, NFTA_HOOK_HOOKNUM, NF_INET_LOCAL_OUT);
	nfnl_put_be32(m, NFTA_HOOK_PRIORITY, (uint32_t) PRIORITY_MANGLE);
	mnl_attr_nest_end(m, hook);
}

static void add_table(Netlink *nl, uint8_t type, uint16_t flags)
{
	struct nlmsghdr *m = nfnl_add(nl, NFNL_SUBSYS_NFTABLES, type, NFPROTO_IPV4, flags, "make a table", 0);

	mnl_attr_put_strz(m, NFTA_TABLE_NAME, TABLE);
}

static int load_table(Netlink *nl, uint16_t port, bool replace, Err *err)
{
	static const Rewrite rewrites[] = {
		{ IPPROTO_UDP, IP_DADDR, DPORT, true },
		{ IPPROTO_TCP, IP_DADDR, DPORT, true },
		{ IPPROTO_UDP, IP_SADDR, SPORT, false },
		{ IPPROTO_TCP, IP_SADDR, SPORT, false },
	};

	nfnl_batch_begin(nl);
	if (replace)
		add_table(nl, NFT_MSG_DELTABLE, 0);
	add_table(nl, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
	add_chain(nl);
	for (size_t i = 0; i < ARRAY_SIZE(rewrites); i++)
		add_rule(nl, &rewrites[i], port);
	nfnl_batch_end(nl);
	return netlink_commit(nl, err);
}

/* Deleting anything makes the kernel wait for some 10 ms when the socket is closed, so that is done only
 * where there is an older table. */
static int load_rules(Netlink *nl, uint16_t port, Err *err)
{
	int r = load_table(nl, port, false, err);

	if (r == -EEXIST)
		r = load_table(nl, port, true, err);
	return r < 0 ? err_wrap(err, "rules for the container's resolver") : 0;
}

int resolver_open(int netns_fd, int *ret_udp, int *ret_tcp, Err *err)
{
	Sockets s = { .udp = -1, .tcp = -1, .nl.fd = -1 };
	int r = netns_run(netns_fd, open_inside, &s, err);

	if (r == 0)
		r = load_rules(&s.nl, s.port, err);
	netlink_close(&s.nl);
	if (r < 0) {
		if (s.udp >= 0)
			(void) close(s.udp);
		if (s.tcp >= 0)
			(void) close(s.tcp);
		return r;
	}
	*ret_udp = s.udp;
	*ret_tcp = s.tcp;
	return 0;
}
