// SPDX-License-Identifier: Apache-2.0

#include "net/pool.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

/* Docker's default-address-pools: first address, prefix of each subnet, number of subnets. */
static const struct {
	uint32_t first;
	uint8_t prefix;
	uint8_t count;
} pools[] = {
	{ 0xac110000, 16, 15 }, /* 172.17.0.0/16 … 172.31.0.0/16 */
	{ 0xc0a80000, 20, 16 }, /* 192.168.0.0/20 … */
};

static const Addr *find_overlap(const Addr *a, const Addr *taken, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (addr_overlap(a, &taken[i]))
			return &taken[i];
	return NULL;
}

int pool_choose_subnet(const Addr *taken, size_t n_taken, Addr *ret, Err *err)
{
	for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
		for (uint32_t k = 0; k < pools[i].count; k++) {
			Addr a =
				addr_from_v4(pools[i].first + (k << (32 - pools[i].prefix)), pools[i].prefix);

			if (!find_overlap(&a, taken, n_taken)) {
				*ret = a;
				return 0;
			}
		}
	}
	return err_set(err, -ENOSPC,
		"no free subnet is left in 172.17.0.0-172.31.255.255 and 192.168.0.0/16; remove unused "
		"networks, or give "
		"the network a subnet of its own (ipam.config.subnet)");
}

static uint32_t host_mask(const Addr *subnet)
{
	return subnet->prefix >= 32 ? 0 : UINT32_MAX >> subnet->prefix;
}

/* The addresses of a subnet that a host can have: not its own, not the broadcast one (but RFC 3021's /31). */
static void usable(const Addr *subnet, uint32_t *ret_first, uint32_t *ret_last)
{
	Addr net = addr_network(subnet);
	uint32_t base = addr_v4(&net), mask = host_mask(subnet);

	*ret_first = mask > 1 ? base + 1 : base;
	*ret_last = mask > 1 ? base + mask - 1 : base + mask;
}

static int parse_subnet(const char *what, const char *text, Addr *ret, Err *err)
{
	Addr a, net;
	char suggest[ADDR_TEXT_MAX];

	if (addr_parse_cidr(text, &a) < 0)
		return err_set(err, -EINVAL, "%s '%s' is not a subnet such as 10.20.0.0/24", what, text);
	if (a.family != AF_INET)
		return err_set(err, -EINVAL, "%s '%s': IPv6 networks are not supported yet; give an IPv4 one",
			what, text);
	net = addr_network(&a);
	if (!addr_eq(&net, &a))
		return err_set(err, -EINVAL, "%s '%s' has bits set behind its prefix; did you mean %s?", what,
			text, addr_cidr_text(&net, suggest));
	*ret = a;
	return 0;
}

static int parse_gateway(const char *text, const Addr *subnet, Addr *ret, Err *err)
{
	uint32_t first, last, v;
	char net[ADDR_TEXT_MAX];
	Addr a;

	usable(subnet, &first, &last);
	if (!text) {
		*ret = addr_from_v4(first, subnet->prefix);
		return 0;
	}
	if (addr_parse(text, &a) < 0 || a.family != AF_INET)
		return err_set(err, -EINVAL, "gateway '%s' is not an IPv4 address", text);
	v = addr_v4(&a);
	if (v < first || v > last)
		return err_set(err, -EINVAL, "gateway %s is no usable address of the subnet %s", text,
			addr_cidr_text(subnet, net));
	a.prefix = subnet->prefix;
	*ret = a;
	return 0;
}

int pool_spec(const char *subnet, const char *ip_range, const char *gateway, const Addr *taken,
	size_t n_taken, PoolSpec *ret, Err *err)
{
	PoolSpec p = { 0 };
	const Addr *other;
	char text[ADDR_TEXT_MAX], other_text[ADDR_TEXT_MAX];
	int r;

	if (!subnet && (ip_range || gateway))
		return err_set(
			err, -EINVAL, "%s needs a subnet beside it", ip_range ? "ip_range" : "gateway");
	r = subnet ? parse_subnet("subnet", subnet, &p.subnet, err)
		   : pool_choose_subnet(taken, n_taken, &p.subnet, err);
	if (r < 0)
		return r;
	if (p.subnet.prefix < 8 || p.subnet.prefix > 30)
		return err_set(err, -EINVAL, "subnet %s: the prefix must be from 8 to 30",
			addr_cidr_text(&p.subnet, text));
	other = find_overlap(&p.subnet, taken, n_taken);
	if (other)
		return err_set(err, -EEXIST,
			"subnet %s overlaps %s, which this host already uses; choose another one",
			addr_cidr_text(&p.subnet, text), addr_cidr_text(other, other_text));
	r = parse_gateway(gateway, &p.subnet, &p.gateway, err);
	if (r < 0)
		return r;
	if (ip_range) {
		r = parse_subnet("ip_range", ip_range, &p.ip_range, err);
		if (r < 0)
			return r;
		if (p.ip_range.prefix < p.subnet.prefix || !addr_in(&p.ip_range, &p.subnet))
			return err_set(err, -EINVAL, "ip_range %s is not inside the subnet %s", ip_range,
				addr_cidr_text(&p.subnet, text));
	}
	*ret = p;
	return 0;
}

static bool is_used(const Addr *a, const Addr *used, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (addr_eq(a, &used[i]))
			return true;
	return false;
}

int pool_choose_address(
	const PoolSpec *p, const Addr *used, size_t n_used, const Addr *last, Addr *ret, Err *err)
{
	uint32_t first, end, at;
	uint64_t size, tries;
	char text[ADDR_TEXT_MAX];

	usable(&p->subnet, &first, &end);
	if (addr_set(&p->ip_range)) {
		uint32_t base = addr_v4(&p->ip_range), top = base + host_mask(&p->ip_range);

		first = base > first ? base : first;
		end = top < end ? top : end;
	}
	at = first;
	if (last && addr_set(last) && addr_v4(last) >= first && addr_v4(last) < end)
		at = addr_v4(last) + 1;
	size = first <= end ? (uint64_t) end - first + 1 : 0;
	/* Of n_used + 2 addresses in a row one is free, so a /8 costs no more than a /24. */
	tries = size < n_used + 2 ? size : n_used + 2;
	for (uint64_t i = 0; i < tries; i++, at = at == end ? first : at + 1) {
		Addr a = addr_from_v4(at, p->subnet.prefix);

		if (!addr_eq(&a, &p->gateway) && !is_used(&a, used, n_used)) {
			*ret = a;
			return 0;
		}
	}
	return err_set(err, -ENOSPC,
		"no free address is left in %s; remove containers or give the network a larger subnet",
		addr_cidr_text(addr_set(&p->ip_range) ? &p->ip_range : &p->subnet, text));
}

int pool_check_address(
	const PoolSpec *p, const char *wish, const Addr *used, size_t n_used, Addr *ret, Err *err)
{
	uint32_t first, last;
	char text[ADDR_TEXT_MAX];
	Addr a;

	usable(&p->subnet, &first, &last);
	if (addr_parse(wish, &a) < 0 || a.family != AF_INET)
		return err_set(err, -EINVAL, "'%s' is not an IPv4 address", wish);
	if (addr_v4(&a) < first || addr_v4(&a) > last)
		return err_set(err, -EINVAL, "address %s is no usable address of the network's subnet %s",
			wish, addr_cidr_text(&p->subnet, text));
	if (addr_eq(&a, &p->gateway))
		return err_set(
			err, -EADDRINUSE, "address %s is the network's gateway; choose another one", wish);
	if (is_used(&a, used, n_used))
		return err_set(err, -EADDRINUSE,
			"address %s is already used by another container of this network", wish);
	a.prefix = p->subnet.prefix;
	*ret = a;
	return 0;
}
