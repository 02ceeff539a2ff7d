// SPDX-License-Identifier: Apache-2.0

/*
 * How packets go, all by device group (G the ordinary bridges of this daemon, I the internal ones;
 * net/network.h), so that the text depends on nothing but the daemon's name, the ports and the guard:
 *
 * - raw: nothing from a container reaches 127.0.0.0/8 of the host. Bridges have route_localnet on for
 * published ports, which would open that.
 * - prerouting, output: what is addressed to the host itself and published gets a container's address.
 * Connections of the host's own processes, to 127.0.0.1 too, go through output.
 * - postrouting: containers take the host's address on their way out; so do connections whose answers would
 * otherwise miss the host: from a container through a published port to a container (hairpin), and from
 * 127.0.0.1.
 * - forward: what belongs to a known connection passes. Frames between ports of one bridge come by here when
 * br_netfilter is loaded, and pass: their destination is routed back to where they came from. Internal
 * networks exchange nothing with anybody. Into a network goes only what was published; that closes networks
 * to each other, too. The guard: see net_enable_forwarding.
 *
 * "accept" ends only this table's say; a drop anywhere else stays a drop. IPv6 is not translated: a published
 * port answers on the host's IPv4 addresses only; connections over IPv6 are refused by the host as nobody
 * listens.
 */

#include "net/nft-text.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/str.h"
#include "net/network.h"

/* Bit in the packet's mark, from prerouting to postrouting: there br_netfilter does not tell the interface
 * that a packet came in by. */
#define HAIRPIN "0x2000"

/* What may stand unquoted in an nft identifier. */
static bool name_valid(const char *s)
{
	return !str_empty(s) && strlen(s) < NFT_NAME_MAX - sizeof("stead_") &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == strlen(s);
}

/* What may stand in a quoted interface name; '*' at the end would match several. */
static bool ifname_valid(const char *s)
{
	return !str_empty(s) && strlen(s) < IFNAMSIZ && !str_has_control(s) && !strpbrk(s, "\"\\* /");
}

bool nft_port_any_ip(const NftPort *p)
{
	return !addr_set(&p->ip) || addr_is_any(&p->ip);
}

static const char *protocol_name(const NftPort *p)
{
	return p->protocol == IPPROTO_UDP ? "udp" : "tcp";
}

static void text_element(Buf *b, const NftPort *p)
{
	char ip[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX];

	buf_printf(b, "\t\t\t%s . ", protocol_name(p));
	if (!nft_port_any_ip(p))
		buf_printf(b, "%s . ", addr_text(&p->ip, ip));
	buf_printf(b, "%u : %s . %u,\n", p->port, addr_text(&p->to, to), p->to_port);
}

static void text_map(Buf *b, const char *name, const char *key, const NftPort *ports, size_t n, bool any)
{
	bool first = true;

	buf_printf(b, "\tmap %s {\n\t\ttype %s : ipv4_addr . inet_service\n", name, key);
	for (size_t i = 0; i < n; i++) {
		if (nft_port_any_ip(&ports[i]) != any)
			continue;
		if (first)
			buf_str(b, "\t\telements = {\n");
		first = false;
		text_element(b, &ports[i]);
	}
	buf_str(b, first ? "\t}\n" : "\t\t}\n\t}\n");
}

static void text_nat(Buf *b, const char *chain, const char *hook, int priority)
{
	buf_printf(b,
		"\tchain %s {\n"
		"\t\ttype nat hook %s priority %d; policy accept;\n",
		chain, hook, priority);
}

static void text_dnat(Buf *b)
{
	buf_str(b,
		"\t\tfib daddr type local dnat ip to meta l4proto . ip daddr . th dport map @" NFT_MAP_IP "\n"
		"\t\tfib daddr type local meta nfproto ipv4 dnat ip to meta l4proto . th dport map "
		"@" NFT_MAP_ANY "\n"
		"\t}\n");
}

static void text_guard(Buf *b, char *const *guard)
{
	AUTO_BUF set = BUF_INIT;

	if (!guard || !*guard)
		return;
	for (char *const *g = guard; *g; g++)
		buf_printf(&set, "%s\"%s\"", g == guard ? "" : ", ", *g);
	buf_printf(b, "\t\tiifname { %s } oifname { %s } drop\n", buf_cstr(&set), buf_cstr(&set));
}

static void text_chains(Buf *b, uint32_t g, uint32_t i, char *const *guard)
{
	buf_printf(b,
		"\tchain raw {\n"
		"\t\ttype filter hook prerouting priority -300; policy accept;\n"
		"\t\tiifgroup { %u, %u } ip daddr 127.0.0.0/8 drop\n"
		"\t\tiifgroup { %u, %u } ip saddr 127.0.0.0/8 drop\n"
		"\t}\n",
		g, i, g, i);
	text_nat(b, "prerouting", "prerouting", -100);
	buf_printf(b, "\t\tiifgroup %u fib daddr type local meta mark set meta mark or " HAIRPIN "\n", g);
	text_dnat(b);
	text_nat(b, "output", "output", -100);
	text_dnat(b);
	text_nat(b, "postrouting", "postrouting", 100);
	buf_printf(b,
		"\t\tiifgroup %u oifgroup != { %u, %u } masquerade\n"
		"\t\toifgroup %u ct status dnat meta mark and " HAIRPIN " != 0 masquerade\n"
		"\t\tip saddr 127.0.0.0/8 oifgroup %u masquerade\n"
		"\t}\n",
		g, g, i, g, g);
	buf_printf(b,
		"\tchain forward {\n"
		"\t\ttype filter hook forward priority 0; policy accept;\n"
		"\t\tct state established,related accept\n"
		"\t\tiifgroup { %u, %u } fib daddr . iif oif exists accept\n"
		"\t\tiifgroup %u drop\n"
		"\t\toifgroup %u drop\n"
		"\t\toifgroup %u ct status dnat accept\n"
		"\t\toifgroup %u drop\n"
		"\t\tiifgroup %u ct state invalid drop\n",
		g, i, i, i, g, g, g);
	text_guard(b, guard);
	buf_str(b, "\t}\n");
}

int nft_port_check(const NftPort *p, Err *err)
{
	if ((p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP) || !p->port || !p->to_port)
		return err_set(err, -EINVAL, "a published port needs tcp or udp and port numbers");
	if (p->to.family != AF_INET)
		return err_set(
			err, -EINVAL, "port %u can be published only to a container's IPv4 address", p->port);
	if (!nft_port_any_ip(p) && p->ip.family != AF_INET)
		return err_set(err, -EINVAL,
			"port %u: publishing on an IPv6 address of the host is not supported", p->port);
	return 0;
}

int nft_text(const char *daemon_name, char *const *guard, const NftPort *ports, size_t n, Buf *ret, Err *err)
{
	int r = 0;

	if (!name_valid(daemon_name))
		return err_set(err, -EINVAL,
			"daemon name '%s' cannot name an nft table; use letters, digits, '_' and '-'",
			daemon_name);
	for (char *const *g = guard; g && *g; g++)
		if (!ifname_valid(*g))
			return err_set(err, -EINVAL, "interface name '%s' cannot stand in an nft rule", *g);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = nft_port_check(&ports[i], err);
	if (r < 0)
		return r;
	/* The first line makes the second succeed where there is no table yet. */
	buf_printf(ret, "table inet stead_%s\ndelete table inet stead_%s\ntable inet stead_%s {\n",
		daemon_name, daemon_name, daemon_name);
	text_map(ret, NFT_MAP_IP, "inet_proto . ipv4_addr . inet_service", ports, n, false);
	text_map(ret, NFT_MAP_ANY, "inet_proto . inet_service", ports, n, true);
	text_chains(ret, net_group(daemon_name, false), net_group(daemon_name, true), guard);
	buf_str(ret, "}\n");
	return 0;
}
