// SPDX-License-Identifier: Apache-2.0

/*
 * The kernel's table is changed in two ways. The whole of it is replaced by a child nft(8) in one
 * transaction, from `ports`, which is always what should be there. A few elements are added and deleted by a
 * small netlink batch in-process, which takes some 50 microseconds where a child takes milliseconds; when
 * that fails (somebody meddled), the whole table is loaded again. While a child runs, changes are only
 * remembered and a further load follows.
 *
 * The kernel tells listeners of each change to nftables in this namespace. When a table of our name is
 * deleted, it is looked a moment later whether it is really gone: our own loads delete and make it in one go.
 */

#include "net/nft.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "io/child.h"
#include "net/conntrack.h"
#include "net/network.h"
#include "net/nfnl.h"
#include "net/nft-text.h"

#define ELEMENTS_PER_MESSAGE 32
#define LOAD_TIMEOUT (60 * NSEC_PER_SEC) /* a booting machine may read its modules from a slow card */
#define ERRORS_MAX 2048
#define RECHECK_MS 20 /* after a hint that the table was deleted */
#define RETRY_MS 2000 /* after a failed load */
#define EVENTS_MAX 32768
#define EVENT_ROUNDS 64 /* datagrams taken in one go, so that a busy firewall does not hold up the loop */

struct Nft {
	uv_loop_t *loop;
	char *daemon_name, *table;
	char **guard;
	NftPort *ports; /* what should be published */
	size_t n;
	Netlink nl;
	Netlink watch;
	uv_poll_t poll;   /* of watch */
	uv_timer_t check; /* look whether the table is there / try again */
	unsigned handles; /* open ones, to be closed before the memory goes */
	Child *loading;
	bool again;        /* changed while loading */
	unsigned failures; /* loads in a row that failed */
	void (*ready)(void *user, const Err *err);
	void *user;
};

/* ── the list of what should be there ─────────────────────────────── */

static bool same_key(const NftPort *a, const NftPort *b)
{
	return a->protocol == b->protocol && a->port == b->port && nft_port_any_ip(a) == nft_port_any_ip(b) &&
	       (nft_port_any_ip(a) || addr_eq(&a->ip, &b->ip));
}

static NftPort *find_port(Nft *n, const NftPort *p)
{
	for (size_t i = 0; i < n->n; i++)
		if (same_key(&n->ports[i], p))
			return &n->ports[i];
	return NULL;
}

static void remember(Nft *n, const NftPort *p)
{
	NftPort *old = find_port(n, p);

	if (!old)
		old = array_append(n->ports, n->n);
	*old = *p;
}

static void forget(Nft *n, const NftPort *p)
{
	NftPort *old = find_port(n, p);

	if (old)
		*old = n->ports[--n->n];
}

/* ── the whole table ──────────────────────────────────────────────── */

static void load(Nft *n);
static void on_check(uv_timer_t *t);

static void tell_ready(Nft *n, const Err *err)
{
	void (*ready)(void *user, const Err *err) = n->ready;

	n->ready = NULL;
	if (ready)
		ready(n->user, err);
	else if (err)
		log_error("%s", err_text(err));
}

static void load_failed(Nft *n, const Err *err)
{
	if (!n->ready && n->failures++) /* told already */
		log_debug("%s", err_text(err));
	else
		tell_ready(n, err);
	(void) uv_timer_start(&n->check, on_check, RETRY_MS, 0);
}

static void loaded(void *user, const ChildExit *e)
{
	AUTO_ERR err = ERR_INIT;
	Nft *n = user;

	n->loading = NULL;
	if (e->code != 0) {
		err_set(&err, -EIO, "nft could not load table inet %s: %s", n->table,
			e->timed_out           ? "it took too long"
			: str_empty(e->errors) ? "no reason given"
					       : e->errors);
		load_failed(n, &err);
		return;
	}
	n->failures = 0;
	if (net_switch_forwarding_on(&err) < 0) /* the next start tries again */
		tell_ready(n, &err);
	else if (n->again)
		load(n);
	else
		tell_ready(n, NULL);
}

static void load(Nft *n)
{
	static const char *const argv[] = { "nft", "-f", "-", NULL };
	AUTO_BUF text = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	int r;

	n->again = n->loading != NULL;
	if (n->loading)
		return;
	r = nft_text(n->daemon_name, n->guard, n->ports, n->n, &text, &err);
	if (r == 0)
		r = child_spawn(n->loop,
			&(ChildOptions){ .argv = argv,
				.input = buf_cstr(&text),
				.input_len = text.len,
				.capture_max = ERRORS_MAX,
				.timeout_ns = LOAD_TIMEOUT,
				.exited = loaded,
				.user = n },
			&n->loading, &err);
	if (r < 0) {
		err_wrap(&err, "load packet rules");
		load_failed(n, &err);
	}
}

/* ── elements ─────────────────────────────────────────────────────── */

/* Fields of a concatenation are padded to 32 bits each. */
static size_t element_key(const NftPort *p, uint8_t key[12])
{
	size_t n = 4;

	memset(key, 0, 12);
	key[0] = p->protocol;
	if (!nft_port_any_ip(p)) {
		memcpy(key + n, p->ip.bytes, 4);
		n += 4;
	}
	key[n] = (uint8_t) (p->port >> 8);
	key[n + 1] = (uint8_t) p->port;
	return n + 4;
}

static void add_element(struct nlmsghdr *m, const NftPort *p, bool with_data)
{
	uint8_t key[12], data[8] = { 0 };
	size_t n = element_key(p, key);
	struct nlattr *nest = mnl_attr_nest_start(m, NFTA_LIST_ELEM);

	nfnl_put_data(m, NFTA_SET_ELEM_KEY, key, n);
	if (with_data) {
		memcpy(data, p->to.bytes, 4);
		data[4] = (uint8_t) (p->to_port >> 8);
		data[5] = (uint8_t) p->to_port;
		nfnl_put_data(m, NFTA_SET_ELEM_DATA, data, sizeof(data));
	}
	mnl_attr_nest_end(m, nest);
}

/* One message for up to ELEMENTS_PER_MESSAGE elements of one map; gives how many of `ports` it went through.
 */
static size_t add_elements(Nft *n, uint8_t type, bool any, const NftPort *ports, size_t n_ports)
{
	bool add = type == NFT_MSG_NEWSETELEM;
	size_t i, used = 0;
	struct nlattr *list;
	struct nlmsghdr *m = nfnl_add(&n->nl, NFNL_SUBSYS_NFTABLES, type, NFPROTO_INET,
		add ? NLM_F_CREATE : 0, add ? "add published ports" : "remove published ports", 0);

	mnl_attr_put_strz(m, NFTA_SET_ELEM_LIST_TABLE, n->table);
	mnl_attr_put_strz(m, NFTA_SET_ELEM_LIST_SET, any ? NFT_MAP_ANY : NFT_MAP_IP);
	list = mnl_attr_nest_start(m, NFTA_SET_ELEM_LIST_ELEMENTS);
	for (i = 0; i < n_ports && used < ELEMENTS_PER_MESSAGE; i++) {
		if (nft_port_any_ip(&ports[i]) != any)
			continue;
		add_element(m, &ports[i], add);
		used++;
	}
	mnl_attr_nest_end(m, list);
	return i;
}

static bool has_kind(const NftPort *ports, size_t n, bool any)
{
	for (size_t i = 0; i < n; i++)
		if (nft_port_any_ip(&ports[i]) == any)
			return true;
	return false;
}

static int change_elements(Nft *n, uint8_t type, const NftPort *ports, size_t n_ports)
{
	int r = 0;

	for (int any = 0; any < 2; any++) {
		for (size_t i = 0; r == 0 && i < n_ports && has_kind(ports + i, n_ports - i, any);) {
			nfnl_batch_begin(&n->nl);
			i += add_elements(n, type, any, ports + i, n_ports - i);
			nfnl_batch_end(&n->nl);
			r = netlink_commit(&n->nl, NULL);
		}
	}
	return r;
}

/* What of `ports` is in the list, but (for `changed`) only where it leads elsewhere. */
static NftPort *listed(Nft *n, const NftPort *ports, size_t n_ports, bool changed, size_t *ret_n)
{
	NftPort *found = NULL;

	*ret_n = 0;
	for (size_t i = 0; i < n_ports; i++) {
		const NftPort *old = find_port(n, &ports[i]);

		if (old && !(changed && addr_eq(&old->to, &ports[i].to) && old->to_port == ports[i].to_port))
			*array_append(found, *ret_n) = *old;
	}
	return found;
}

static NftPort *unlisted(Nft *n, const NftPort *ports, size_t n_ports, size_t *ret_n)
{
	NftPort *found = NULL;

	*ret_n = 0;
	for (size_t i = 0; i < n_ports; i++)
		if (!find_port(n, &ports[i]))
			*array_append(found, *ret_n) = ports[i];
	return found;
}

int nft_publish(Nft *n, const NftPort *ports, size_t n_ports, Err *err)
{
	AUTO_FREE NftPort *old = NULL;
	AUTO_FREE NftPort *new = NULL;
	size_t n_old, n_new;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n_ports; i++)
		r = nft_port_check(&ports[i], err);
	if (r < 0 || !n_ports)
		return r;
	old = listed(n, ports, n_ports, true, &n_old);
	for (size_t i = 0; i < n_old; i++)
		forget(n, &old[i]);
	new = unlisted(n, ports, n_ports, &n_new);
	for (size_t i = 0; i < n_new; i++)
		remember(n, &new[i]);
	if (!n->loading)
		r = change_elements(n, NFT_MSG_DELSETELEM, old, n_old);
	if (!n->loading && r == 0)
		r = change_elements(n, NFT_MSG_NEWSETELEM, new, n_new);
	if (n->loading || r < 0)
		load(n);
	conntrack_forget_udp(&n->nl, new, n_new);
	return 0;
}

int nft_unpublish(Nft *n, const NftPort *ports, size_t n_ports, Err *err)
{
	AUTO_FREE NftPort *old = NULL;
	size_t n_old;

	old = listed(n, ports, n_ports, false, &n_old);
	for (size_t i = 0; i < n_old; i++)
		forget(n, &old[i]);
	if (!n_old)
		return 0;
	if (n->loading || change_elements(n, NFT_MSG_DELSETELEM, old, n_old) < 0)
		load(n);
	conntrack_forget_udp(&n->nl, old, n_old);
	return 0;
}

/* ── the table as a whole ─────────────────────────────────────────── */

int nft_present(Nft *n)
{
	struct nlmsghdr *m = nfnl_add(
		&n->nl, NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE, NFPROTO_INET, 0, "look for the nft table", 0);
	int r;

	mnl_attr_put_strz(m, NFTA_TABLE_NAME, n->table);
	r = netlink_commit(&n->nl, NULL);
	return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

int nft_remove(Nft *n, Err *err)
{
	struct nlmsghdr *m;
	int r;

	(void) uv_timer_stop(&n->check);
	(void) uv_poll_stop(&n->poll);
	n->again = false;
	n->n = 0;
	if (!nft_present(n))
		return 0;
	nfnl_batch_begin(&n->nl);
	m = nfnl_add(&n->nl, NFNL_SUBSYS_NFTABLES, NFT_MSG_DELTABLE, NFPROTO_INET, 0, "delete", -ENOENT);
	mnl_attr_put_strz(m, NFTA_TABLE_NAME, n->table);
	nfnl_batch_end(&n->nl);
	r = netlink_commit(&n->nl, err);
	return r < 0 ? err_wrap(err, "nft table inet %s", n->table) : 0;
}

/* ── watching ─────────────────────────────────────────────────────── */

static void on_check(uv_timer_t *t)
{
	Nft *n = t->data;

	if (n->loading)
		return;
	if (n->failures || nft_present(n) == 0) {
		if (!n->failures)
			log_warning("nft table inet %s was deleted by somebody; loading it again", n->table);
		load(n);
	}
}

static bool is_our_table(const Nft *n, const struct nlmsghdr *m)
{
	struct nlattr *a;

	mnl_attr_for_each(
		a, m, sizeof(struct nfgenmsg)) if (mnl_attr_get_type(a) == NFTA_TABLE_NAME &&
						   mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >=
							   0) return str_eq(mnl_attr_get_str(a), n->table);
	return false;
}

static bool tells_deletion(const Nft *n, const char *buf, int len)
{
	for (const struct nlmsghdr *m = (const void *) buf; mnl_nlmsg_ok(m, len); m = mnl_nlmsg_next(m, &len))
		if (m->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE) && is_our_table(n, m))
			return true;
	return false;
}

static void on_events(uv_poll_t *poll, int status, int events)
{
	AUTO_FREE char *buf = xmalloc(EVENTS_MAX);
	Nft *n = poll->data;
	bool check = false;

	for (int i = 0; i < EVENT_ROUNDS; i++) {
		ssize_t len = recv(n->watch.fd, buf, EVENTS_MAX, MSG_DONTWAIT);

		if (len < 0 && errno == ENOBUFS) /* some events were lost */
			check = true;
		else if (len < 0)
			break;
		else
			check = check || tells_deletion(n, buf, (int) len);
	}
	if (check && !uv_is_active((uv_handle_t *) &n->check))
		(void) uv_timer_start(&n->check, on_check, RECHECK_MS, 0);
}

static int watch(Nft *n, Err *err)
{
	static const int group = NFNLGRP_NFTABLES;
	static const struct sockaddr_nl any = { .nl_family = AF_NETLINK };
	int r;

	/* Without a port of its own a socket is taken for the kernel's and gets no events. */
	if (bind(n->watch.fd, (const void *) &any, sizeof(any)) < 0 ||
		setsockopt(n->watch.fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return err_errno(err, -errno, "watch nftables");
	r = uv_timer_init(n->loop, &n->check);
	if (r == 0)
		r = uv_poll_init(n->loop, &n->poll, n->watch.fd);
	if (r < 0)
		return err_errno(err, r, "watch nftables");
	n->check.data = n->poll.data = n;
	(void) uv_poll_start(&n->poll, UV_READABLE, on_events);
	return 0;
}

/* ── life ─────────────────────────────────────────────────────────── */

static void free_memory(Nft *n)
{
	netlink_close(&n->nl);
	netlink_close(&n->watch);
	strv_free(n->guard);
	free(n->daemon_name);
	free(n->table);
	free(n->ports);
	free(n);
}

static void on_closed(uv_handle_t *h)
{
	Nft *n = h->data;

	if (--n->handles == 0)
		free_memory(n);
}

void nft_free(Nft *n)
{
	if (!n)
		return;
	if (n->loading)
		child_forget(n->loading);
	n->handles = 2;
	uv_close((uv_handle_t *) &n->check, on_closed);
	uv_close((uv_handle_t *) &n->poll, on_closed);
}

int nft_new(uv_loop_t *loop, const char *daemon_name, char *const *guard, const NftPort *ports,
	size_t n_ports, void (*ready)(void *user, const Err *err), void *user, Nft **ret, Err *err)
{
	AUTO_BUF checked = BUF_INIT;
	Nft *n;
	int r = nft_text(daemon_name, guard, ports, n_ports, &checked, err);

	if (r < 0)
		return r;
	n = xcalloc(1, sizeof(*n));
	n->loop = loop;
	n->watch.fd = -1;
	n->daemon_name = xstrdup(daemon_name);
	n->table = xasprintf("stead_%s", daemon_name);
	n->guard = strv_dup(guard);
	for (size_t i = 0; i < n_ports; i++)
		remember(n, &ports[i]);
	n->ready = ready;
	n->user = user;
	r = netlink_open(&n->nl, NETLINK_NETFILTER, -1, err);
	if (r == 0)
		r = netlink_open(&n->watch, NETLINK_NETFILTER, -1, err);
	if (r == 0)
		r = watch(n, err);
	if (r < 0) {
		free_memory(n);
		return r;
	}
	load(n);
	*ret = n;
	return 0;
}
