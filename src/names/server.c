// SPDX-License-Identifier: Apache-2.0

/*
 * One thread, one epoll set, level-triggered. A source that is closed in a round may still have an event
 * waiting in the same round: its fd is -1 then, and its memory stays until the round is over (server_bury).
 *
 * What the daemon says comes before what containers ask: it tells about a container before it starts it, so
 * handling its socket first in each round means that a container's first query finds everything in place,
 * without an acknowledgement that somebody had to wait for.
 */

#include "names/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

#define EVENTS_MAX 32
#define QUERIES_PER_ROUND 16 /* of one container, so that none keeps the others waiting */

/* ── loop ─────────────────────────────────────────────────────────── */

int64_t server_now_ms(void)
{
	struct timespec t;

	(void) clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* xorshift128+ from a seed of the kernel's: for shuffling. What must not be guessed (ids) is taken from
 * getrandom(2) itself. */
static uint64_t server_random(Server *s)
{
	uint64_t a = s->random[0], b = s->random[1];

	s->random[0] = b;
	a ^= a << 23;
	s->random[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
	return s->random[1] + b;
}

int source_watch(Server *s, Source *src, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = src };

	if (epoll_ctl(s->epoll, EPOLL_CTL_MOD, src->fd, &e) == 0)
		return 0;
	if (errno != ENOENT || epoll_ctl(s->epoll, EPOLL_CTL_ADD, src->fd, &e) < 0)
		return -errno;
	return 0;
}

void source_close(Source *src)
{
	if (src->fd >= 0)
		(void) close(src->fd); /* leaves the epoll set, as nothing else holds it */
	src->fd = -1;
}

void server_bury(Server *s, void *p)
{
	*array_append(s->buried, s->n_buried) = p;
}

static void free_buried(Server *s)
{
	for (size_t i = 0; i < s->n_buried; i++)
		free(s->buried[i]);
	free(s->buried);
	s->buried = NULL;
	s->n_buried = 0;
}

static void dispatch(const struct epoll_event *e)
{
	Source *src = e->data.ptr;

	if (src->fd >= 0)
		src->ready(src, e->events);
}

static bool is_session(const Server *s, const struct epoll_event *e)
{
	return e->data.ptr == &s->listener || e->data.ptr == &s->control;
}

/* Gives how long the next wait may last. */
static int tick(Server *s)
{
	int64_t now = server_now_ms(), a = forward_tick(s, now), b = stream_tick(s, now),
		next = a < b ? a : b;

	if (next == INT64_MAX)
		return -1;
	return next <= now ? 0 : (int) (next - now) + 1;
}

int server_round(Server *s, int ms)
{
	struct epoll_event events[EVENTS_MAX];
	int wait = tick(s), n;

	free_buried(s);
	if (wait < 0 || (ms >= 0 && ms < wait))
		wait = ms;
	n = epoll_wait(s->epoll, events, EVENTS_MAX, wait);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++)
		if (is_session(s, &events[i]))
			dispatch(&events[i]);
	for (int i = 0; i < n; i++)
		if (!is_session(s, &events[i]))
			dispatch(&events[i]);
	free_buried(s);
	return n;
}

int server_run(Server *s)
{
	int r = 0;

	/* Without daemon and containers there is nothing to be here for. */
	while (r >= 0 && !(s->quit && s->n_endpoints == 0))
		r = server_round(s, -1);
	return r < 0 ? r : 0;
}

void server_init(Server *s, int listener)
{
	memset(s, 0, offsetof(Server, in));
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->listener = (Source){ listener, session_ready };
	s->control.fd = -1;
	if (getrandom(s->random, sizeof(s->random), 0) != sizeof(s->random))
		s->random[0] = (uint64_t) server_now_ms();
	s->random[1] |= 1;
	(void) fcntl(listener, F_SETFL, O_NONBLOCK);
	(void) source_watch(s, &s->listener, EPOLLIN);
}

void server_done(Server *s)
{
	while (s->n_endpoints)
		server_endpoint_remove(s, s->endpoints[0]);
	free_buried(s);
	free(s->endpoints);
	free(s->matches.items);
	table_done(&s->table);
	source_close(&s->control);
	source_close(&s->listener);
	(void) close(s->epoll);
}

/* ── answers ──────────────────────────────────────────────────────── */

static void shuffle(Server *s)
{
	Matches *m = &s->matches;

	for (size_t i = m->n; i > 1; i--) {
		size_t k = server_random(s) % i;
		const NamesAddress *a = m->items[i - 1];

		m->items[i - 1] = m->items[k];
		m->items[k] = a;
	}
}

static void add_addresses(Server *s, DnsReply *reply, uint16_t type)
{
	shuffle(s);
	for (size_t i = 0; i < s->matches.n; i++) {
		const NamesAddress *a = s->matches.items[i];
		bool wanted = type == DNS_TYPE_ANY || type == (a->family == 4 ? DNS_TYPE_A : DNS_TYPE_AAAA);

		if (wanted && !dns_reply_address(reply, a->bytes, a->family == 4 ? 4 : 16, NAMES_TTL))
			return;
	}
}

/* Who has this address? 1: answered. */
static int add_pointer(Endpoint *e, DnsReply *reply, const char *name)
{
	NamesAddress a = { 0 };
	const NameNetwork *network;
	const Entry *entry;
	AUTO_FREE char *full = NULL;
	size_t n = dns_reverse_address(name, a.bytes);

	if (!n)
		return 0;
	a.family = n == 4 ? 4 : 6;
	entry = table_find_address(e->networks, e->n_networks, &a, &network);
	if (!entry)
		return 0;
	full = xasprintf("%s.%s", entry_name(entry), network->name);
	(void) dns_reply_ptr(reply, full, NAMES_TTL);
	return 1;
}

size_t server_answer_code(Server *s, const uint8_t *q, size_t n, int rcode)
{
	DnsQuery query;
	DnsReply reply;

	if (dns_parse_query(q, n, &query) < 0)
		return 0;
	dns_reply_begin(&reply, s->out, DNS_UDP_MIN, q, &query, rcode);
	return dns_reply_end(&reply);
}

Answer server_answer(Server *s, Endpoint *e, const uint8_t *q, size_t n, size_t max, size_t *ret_n)
{
	DnsQuery query;
	DnsReply reply;
	int r = dns_parse_query(q, n, &query);
	bool in = query.class == DNS_CLASS_IN || query.class == DNS_CLASS_ANY;

	if (r < 0)
		return ANSWER_NONE;
	if (!max)
		max = query.udp_size < DNS_UDP_MAX ? query.udp_size : DNS_UDP_MAX;
	dns_reply_begin(&reply, s->out, max, q, &query, r);
	if (r == 0) {
		/* A known name has no records of other types, and nobody outside is asked about it. */
		if (in && table_find(e->networks, e->n_networks, query.name, &s->matches))
			add_addresses(s, &reply, query.type);
		else if (!(in && query.type == DNS_TYPE_PTR && add_pointer(e, &reply, query.name)))
			return ANSWER_FORWARD;
	}
	*ret_n = dns_reply_end(&reply);
	return ANSWER_READY;
}

static void on_udp(Source *src, uint32_t events)
{
	Endpoint *e = (Endpoint *) src;
	Server *s = e->server;

	for (int i = 0; i < QUERIES_PER_ROUND; i++) {
		struct sockaddr_in from;
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(
			src->fd, s->in, sizeof(s->in), MSG_DONTWAIT, (struct sockaddr *) &from, &from_len);
		size_t out = 0;
		Answer a;

		if (n < 0)
			return;
		if (from_len != sizeof(from) || from.sin_family != AF_INET)
			continue;
		a = server_answer(s, e, s->in, (size_t) n, 0, &out);
		if (a == ANSWER_FORWARD)
			forward_query(s, e, &from, s->in, (size_t) n);
		else if (a == ANSWER_READY)
			(void) sendto(
				src->fd, s->out, out, MSG_DONTWAIT, (struct sockaddr *) &from, from_len);
	}
}

/* ── endpoints ────────────────────────────────────────────────────── */

Endpoint *server_endpoint(Server *s, const char *id)
{
	for (size_t i = 0; i < s->n_endpoints; i++)
		if (strcmp(s->endpoints[i]->id, id) == 0)
			return s->endpoints[i];
	return NULL;
}

static void leave_networks(Endpoint *e)
{
	for (size_t i = 0; i < e->n_networks; i++)
		e->networks[i]->users--;
	free(e->networks);
	e->networks = NULL;
	e->n_networks = 0;
}

static void join_networks(Server *s, Endpoint *e, const NamesEndpointRecord *r)
{
	NameNetwork **networks = NULL;
	size_t n = 0;

	for (uint32_t i = 0; i < r->n_networks; i++) {
		NameNetwork *network = table_network(&s->table, r->networks[i]);

		if (!network)
			continue;
		network->users++;
		*array_append(networks, n) = network;
	}
	leave_networks(e);
	e->networks = networks;
	e->n_networks = n;
	table_tidy(&s->table);
}

static void set_sockets(Server *s, Endpoint *e, int udp, int tcp)
{
	source_close(&e->udp);
	source_close(&e->tcp);
	e->udp = (Source){ udp, on_udp };
	e->tcp = (Source){ tcp, stream_accept };
	(void) fcntl(tcp, F_SETFL, O_NONBLOCK);
	(void) source_watch(s, &e->udp, EPOLLIN);
	(void) source_watch(s, &e->tcp, EPOLLIN);
}

int server_endpoint_set(Server *s, const NamesEndpointRecord *r, int udp, int tcp)
{
	Endpoint *e = server_endpoint(s, r->id);

	if (!e && udp < 0)
		return -ENOENT;
	if (!e && s->n_endpoints >= ENDPOINTS_MAX) {
		(void) close(udp);
		(void) close(tcp);
		return -ENOSPC;
	}
	if (!e) {
		e = xcalloc(1, sizeof(*e));
		e->server = s;
		e->udp.fd = e->tcp.fd = -1;
		memcpy(e->id, r->id, sizeof(e->id));
		*array_append(s->endpoints, s->n_endpoints) = e;
	}
	if (udp >= 0)
		set_sockets(s, e, udp, tcp);
	e->generation = s->table.generation;
	e->forward = r->forward != 0;
	e->n_upstreams = r->n_upstreams;
	memcpy(e->upstreams, r->upstreams, sizeof(e->upstreams));
	join_networks(s, e, r);
	return 0;
}

void server_endpoint_remove(Server *s, Endpoint *e)
{
	forward_drop_endpoint(s, e);
	stream_drop_endpoint(s, e);
	source_close(&e->udp);
	source_close(&e->tcp);
	leave_networks(e);
	table_tidy(&s->table);
	for (size_t i = 0; i < s->n_endpoints; i++) {
		if (s->endpoints[i] == e) {
			s->endpoints[i] = s->endpoints[--s->n_endpoints];
			break;
		}
	}
	server_bury(s, e);
}

const NamesAddress *endpoint_upstreams(const Endpoint *e, uint32_t *ret_n)
{
	if (!e->forward) {
		*ret_n = 0;
		return NULL;
	}
	if (e->n_upstreams) {
		*ret_n = e->n_upstreams;
		return e->upstreams;
	}
	*ret_n = e->server->upstreams.n;
	return e->server->upstreams.servers;
}
