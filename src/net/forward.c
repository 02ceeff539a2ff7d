// SPDX-License-Identifier: Apache-2.0

#include <net/if.h> /* before the kernel's headers, which look for it */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/network.h"
#include "net/nfnl.h"

#define IP_FORWARD "/proc/sys/net/ipv4/ip_forward"
#define GUARD_FILE "forward-guard"
#define GUARD_BYTES_MAX (64U << 10)

/* ── forwarding ───────────────────────────────────────────────────── */

static int read_guard(const char *path, char ***ret, Err *err)
{
	AUTO_BUF text = BUF_INIT;
	int r = file_read(AT_FDCWD, path, GUARD_BYTES_MAX, &text);
	char *next = text.data, *line;

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_errno(err, r, "read %s", path);
	while (next && (line = strsep(&next, "\n")))
		if (*line)
			strv_add(ret, line);
	return 0;
}

/* All interfaces but lo: bridges of stead are made later, as are those of a virtual machine or VPN, which are
 * nobody's surprise. */
static int write_guard(const char *path, char ***ret, Err *err)
{
	AUTO_BUF text = BUF_INIT;
	struct if_nameindex *all = if_nameindex();
	int r;

	if (!all)
		return err_errno(err, -errno, "list network interfaces");
	for (const struct if_nameindex *i = all; i->if_index; i++) {
		if (str_eq(i->if_name, "lo") || strpbrk(i->if_name, "\"\\* /\n"))
			continue;
		strv_add(ret, i->if_name);
		buf_printf(&text, "%s\n", i->if_name);
	}
	if_freenameindex(all);
	r = file_write_atomic(AT_FDCWD, path, buf_cstr(&text), text.len, 0600, false);
	return r < 0 ? err_errno(err, r, "write %s", path) : 0;
}

static int forwarding_is_on(Err *err)
{
	AUTO_BUF text = BUF_INIT;
	int r = file_read(AT_FDCWD, IP_FORWARD, 16, &text);

	return r < 0 ? err_errno(err, r, "read " IP_FORWARD) : buf_cstr(&text)[0] == '1';
}

int net_enable_forwarding(const char *run_dir, char ***ret_guard, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/" GUARD_FILE, run_dir);
	AUTO_STRV char **guard = NULL;
	int r = forwarding_is_on(err);

	if (r < 0)
		return r;
	r = r ? read_guard(path, &guard, err) : write_guard(path, &guard, err);
	if (r < 0)
		return r;
	*ret_guard = steal_ptr(&guard);
	return 0;
}

int net_switch_forwarding_on(Err *err)
{
	int r = forwarding_is_on(err);

	if (r != 0)
		return r < 0 ? r : 0;
	r = file_write(AT_FDCWD, IP_FORWARD, "1", 1, 0644);
	return r < 0 ? err_errno(err, r, "turn on IPv4 forwarding (" IP_FORWARD ")") : 0;
}

/* ── who drops ────────────────────────────────────────────────────── */

typedef struct Dropper {
	char *table; /* "ip filter" */
	char *chain;
} Dropper;

static uint32_t nested_be32(const struct nlattr *nest, uint16_t type, uint32_t otherwise)
{
	struct nlattr *a;

	mnl_attr_for_each_nested(
		a, nest) if (mnl_attr_get_type(a) == type &&
			     mnl_attr_get_payload_len(a) >= 4) return ntohl(mnl_attr_get_u32(a));
	return otherwise;
}

static void find_dropper(void *user, const struct nlmsghdr *m)
{
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(m);
	const char *table = "", *chain = "";
	uint32_t hook = UINT32_MAX, policy = NF_ACCEPT;
	Dropper *d = user;
	struct nlattr *a;

	if (d->table || (g->nfgen_family != NFPROTO_IPV4 && g->nfgen_family != NFPROTO_INET))
		return;
	mnl_attr_for_each(a, m, sizeof(*g))
	{
		uint16_t type = mnl_attr_get_type(a);

		if (type == NFTA_CHAIN_HOOK)
			hook = nested_be32(a, NFTA_HOOK_HOOKNUM, UINT32_MAX);
		else if (type == NFTA_CHAIN_POLICY && mnl_attr_get_payload_len(a) >= 4)
			policy = ntohl(mnl_attr_get_u32(a));
		else if (type == NFTA_CHAIN_TABLE && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
			table = mnl_attr_get_str(a);
		else if (type == NFTA_CHAIN_NAME && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
			chain = mnl_attr_get_str(a);
	}
	if (hook != NF_INET_FORWARD || policy != NF_DROP)
		return;
	d->table = xasprintf("%s %s", g->nfgen_family == NFPROTO_IPV4 ? "ip" : "inet", table);
	d->chain = xstrdup(chain);
}

/* The verdict of the rule that stands for the policy of FORWARD in the older iptables. */
static bool legacy_entry_drops(const struct ipt_getinfo *info, const struct ipt_get_entries *e)
{
	size_t at = info->underflow[NF_INET_FORWARD];
	const struct ipt_entry *entry;
	const struct xt_standard_target *t;

	if (at + sizeof(*entry) > e->size)
		return false;
	entry = (const void *) ((const char *) e->entrytable + at);
	if (at + entry->target_offset + sizeof(*t) > e->size)
		return false;
	t = (const void *) ((const char *) entry + entry->target_offset);
	return t->target.u.user.name[0] == 0 && t->verdict == -NF_DROP - 1;
}

static bool legacy_drops(void)
{
	struct ipt_getinfo info = { .name = "filter" };
	AUTO_FREE struct ipt_get_entries *entries = NULL;
	AUTO_BUF names = BUF_INIT;
	AUTO_CLOSE int fd = -1;
	socklen_t n = sizeof(info);

	/* Asking for a table that is not loaded would load it. */
	if (file_read(AT_FDCWD, "/proc/net/ip_tables_names", 4096, &names) < 0 ||
		!strstr(buf_cstr(&names), "filter\n"))
		return false;
	fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	if (fd < 0 || getsockopt(fd, IPPROTO_IP, IPT_SO_GET_INFO, &info, &n) < 0 || info.size > (64U << 20))
		return false;
	n = (socklen_t) (sizeof(*entries) + info.size);
	entries = xcalloc(1, n);
	memcpy(entries->name, info.name, sizeof(entries->name));
	entries->size = info.size;
	if (getsockopt(fd, IPPROTO_IP, IPT_SO_GET_ENTRIES, entries, &n) < 0)
		return false;
	return legacy_entry_drops(&info, entries);
}

static char *drop_text(const char *daemon_name, const char *table, const char *chain)
{
	char name[IFNAMSIZ];

	net_bridge_prefix(daemon_name, name);
	return xasprintf("this host drops forwarded packets (table %s, chain %s, policy drop), which stead "
			 "does not override: containers "
			 "are not reachable through published ports from outside and cannot reach out until "
			 "you allow it, for "
			 "example with: nft insert rule %s %s iifname '\"%s*\"' accept; nft insert rule %s "
			 "%s oifname '\"%s*\"' ct "
			 "state established,related accept; nft insert rule %s %s oifname '\"%s*\"' ct "
			 "status dnat accept (with ufw: ufw "
			 "default allow routed)",
		table, chain, table, chain, name, table, chain, name, table, chain, name);
}

static char *legacy_text(const char *daemon_name)
{
	char name[IFNAMSIZ];

	net_bridge_prefix(daemon_name, name);
	return xasprintf("this host drops forwarded packets (iptables, chain FORWARD, policy DROP), which "
			 "stead does not override: containers "
			 "are not reachable through published ports from outside and cannot reach out until "
			 "you allow it, for "
			 "example with: iptables-legacy -I FORWARD -i %s+ -j ACCEPT; iptables-legacy -I "
			 "FORWARD -o %s+ -m conntrack "
			 "--ctstate ESTABLISHED,RELATED,DNAT -j ACCEPT",
		name, name);
}

char *net_forward_policy_drop(const char *daemon_name)
{
	Dropper d = { NULL, NULL };
	char *text = NULL;
	Netlink nl;

	if (netlink_open(&nl, NETLINK_NETFILTER, -1, NULL) == 0)
		(void) nfnl_dump(
			&nl, NFNL_SUBSYS_NFTABLES, NFT_MSG_GETCHAIN, AF_UNSPEC, find_dropper, &d, NULL);
	netlink_close(&nl);
	if (d.table)
		text = drop_text(daemon_name, d.table, d.chain);
	else if (legacy_drops())
		text = legacy_text(daemon_name);
	free(d.table);
	free(d.chain);
	return text;
}
