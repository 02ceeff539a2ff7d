// SPDX-License-Identifier: Apache-2.0

/*
 * Each query goes out from a socket of its own, connected to the resolver: the kernel picks a random source
 * port and drops what comes from elsewhere, and the id is random, too; so an answer is hard to forge (RFC
 * 5452). The query itself is passed on byte for byte, with whatever EDNS options it has, and so is the
 * answer.
 *
 * The first resolver is asked at once, the next after FORWARD_STEP_MS or when one fails; all that were asked
 * may still answer, until FORWARD_TOTAL_MS have passed. A client's own patience is 5 s as a rule.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "names/server.h"

typedef struct Try {
	Source source; /* first */
	struct Forward *forward;
	uint16_t id;
} Try;

typedef struct Forward {
	struct Forward *next;
	Server *server;
	Endpoint *endpoint;
	struct sockaddr_in from;
	int64_t step_at, deadline; /* ms */
	unsigned n_tries, open;
	Try tries[NAMES_UPSTREAMS_MAX];
	size_t n;
	uint8_t query[];
} Forward;

socklen_t upstream_sockaddr(const NamesAddress *a, struct sockaddr_storage *ret)
{
	struct sockaddr_in *sin = (struct sockaddr_in *) ret;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *) ret;

	memset(ret, 0, sizeof(*ret));
	if (a->family == 6) {
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(NAMES_PORT);
		memcpy(&sin6->sin6_addr, a->bytes, 16);
		return sizeof(*sin6);
	}
	sin->sin_family = AF_INET;
	sin->sin_port = htons(NAMES_PORT);
	memcpy(&sin->sin_addr, a->bytes, 4);
	return sizeof(*sin);
}

static void reply(Forward *f, const uint8_t *p, size_t n)
{
	if (n)
		(void) sendto(f->endpoint->udp.fd, p, n, MSG_DONTWAIT, (struct sockaddr *) &f->from,
			sizeof(f->from));
}

static void forward_end(Forward *f)
{
	Server *s = f->server;

	for (unsigned i = 0; i < f->n_tries; i++)
		source_close(&f->tries[i].source);
	for (Forward **p = &s->forwards; *p; p = &(*p)->next) {
		if (*p == f) {
			*p = f->next;
			break;
		}
	}
	s->n_forwards--;
	f->endpoint->forwards--;
	server_bury(s, f);
}

static void forward_fail(Forward *f)
{
	reply(f, f->server->out, server_answer_code(f->server, f->query, f->n, DNS_SERVFAIL));
	forward_end(f);
}

static void on_answer(Source *src, uint32_t events);

/* Asks one more resolver. False: it could not even be sent there. */
static bool ask(Forward *f, const NamesAddress *upstream)
{
	struct sockaddr_storage ss;
	socklen_t len = upstream_sockaddr(upstream, &ss);
	Try *t = &f->tries[f->n_tries++];
	struct iovec io[2];
	uint8_t id[2];
	int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	t->source = (Source){ fd, on_answer };
	t->forward = f;
	if (fd < 0 || getrandom(id, sizeof(id), 0) != sizeof(id))
		return false;
	t->id = dns_id(id);
	io[0] = (struct iovec){ id, 2 };
	io[1] = (struct iovec){ f->query + 2, f->n - 2 };
	if (connect(fd, (struct sockaddr *) &ss, len) == 0 &&
		sendmsg(fd, &(struct msghdr){ .msg_iov = io, .msg_iovlen = 2 }, MSG_NOSIGNAL) ==
			(ssize_t) f->n &&
		source_watch(f->server, &t->source, EPOLLIN) == 0) {
		f->open++;
		return true;
	}
	source_close(&t->source);
	return false;
}

/* Asks the next resolver that can be reached. False: none is left. */
static bool ask_next(Forward *f, int64_t now)
{
	uint32_t n;
	const NamesAddress *upstreams = endpoint_upstreams(f->endpoint, &n);

	f->step_at = INT64_MAX;
	while (f->n_tries < n && f->n_tries < NAMES_UPSTREAMS_MAX) {
		if (ask(f, &upstreams[f->n_tries])) {
			f->step_at = f->n_tries < n ? now + FORWARD_STEP_MS : INT64_MAX;
			return true;
		}
	}
	return false;
}

/* This resolver has failed: go on to the next, or wait for another one's answer, or give up. */
static void try_failed(Try *t)
{
	Forward *f = t->forward;

	source_close(&t->source);
	f->open--;
	if (!ask_next(f, server_now_ms()) && !f->open)
		forward_fail(f);
}

static void on_answer(Source *src, uint32_t events)
{
	Try *t = (Try *) src;
	Forward *f = t->forward;
	Server *s = f->server;
	ssize_t n = recv(src->fd, s->in, sizeof(s->in), MSG_DONTWAIT);
	int rcode;

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR) /* ECONNREFUSED: nobody serves there */
			try_failed(t);
		return;
	}
	rcode = dns_check_response(s->in, (size_t) n, t->id, f->query, f->n);
	if (rcode < 0)
		return; /* not ours; the right one may still come */
	if ((rcode == DNS_SERVFAIL || rcode == DNS_REFUSED) && f->open + (f->step_at != INT64_MAX) > 1) {
		try_failed(t);
		return;
	}
	dns_set_id(s->in, dns_id(f->query));
	reply(f, s->in, (size_t) n);
	forward_end(f);
}

/* A client that asks again while we are still asking. */
static bool is_repeated(const Server *s, const Endpoint *e, const struct sockaddr_in *from, const uint8_t *q)
{
	for (const Forward *f = s->forwards; f; f = f->next)
		if (f->endpoint == e && f->from.sin_port == from->sin_port &&
			f->from.sin_addr.s_addr == from->sin_addr.s_addr && dns_id(f->query) == dns_id(q))
			return true;
	return false;
}

void forward_query(Server *s, Endpoint *e, const struct sockaddr_in *from, const uint8_t *q, size_t n)
{
	int64_t now = server_now_ms();
	Forward *f;

	if (is_repeated(s, e, from, q))
		return;
	if (s->n_forwards >= LIMIT_DNS_FORWARDS || e->forwards >= ENDPOINT_FORWARDS_MAX) {
		size_t out = server_answer_code(s, q, n, DNS_SERVFAIL);

		(void) sendto(
			e->udp.fd, s->out, out, MSG_DONTWAIT, (const struct sockaddr *) from, sizeof(*from));
		return;
	}
	f = xcalloc(1, sizeof(*f) + n);
	f->server = s;
	f->endpoint = e;
	f->from = *from;
	f->deadline = now + FORWARD_TOTAL_MS;
	f->n = n;
	memcpy(f->query, q, n);
	f->next = s->forwards;
	s->forwards = f;
	s->n_forwards++;
	e->forwards++;
	if (!ask_next(f, now))
		forward_fail(f);
}

void forward_drop_endpoint(Server *s, const Endpoint *e)
{
	Forward *next;

	for (Forward *f = s->forwards; f; f = next) {
		next = f->next;
		if (f->endpoint == e)
			forward_end(f);
	}
}

int64_t forward_tick(Server *s, int64_t now)
{
	int64_t soonest = INT64_MAX;
	Forward *next;

	for (Forward *f = s->forwards; f; f = next) {
		next = f->next;
		if (f->deadline <= now) {
			forward_fail(f);
			continue;
		}
		if (f->step_at <= now)
			(void) ask_next(f, now);
		if (f->deadline < soonest)
			soonest = f->deadline;
		if (f->step_at < soonest)
			soonest = f->step_at;
	}
	return soonest;
}
