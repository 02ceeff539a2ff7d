// SPDX-License-Identifier: Apache-2.0

/*
 * TCP (RFC 7766): messages with their length in two bytes before them. A client's queries are answered one
 * after the other; while one is being asked outside, nothing is read from the client. A connection to a
 * resolver is made for each such query and closed after it.
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

#define PREFIX 2U
#define FIRST_SIZE 512U /* room for a query at first; larger ones are rare */

typedef enum StreamState {
	STREAM_QUERY,   /* reads the client's query into `query` */
	STREAM_CONNECT, /* waits for the resolver to accept */
	STREAM_ANSWER,  /* reads its answer into `answer` */
	STREAM_WRITE,   /* writes `answer` to the client */
} StreamState;

/* A message with its prefix, partly read or written. */
typedef struct Message {
	uint8_t *p; /* owned */
	size_t size;
	size_t done; /* bytes read or written */
} Message;

typedef struct Stream {
	Source client; /* first */
	Source upstream;
	struct Stream *next;
	Server *server;
	Endpoint *endpoint;
	StreamState state;
	int64_t deadline; /* ms */
	uint32_t n_tries;
	uint8_t id[2]; /* of the query to the resolver */
	Message query, answer;
} Stream;

static size_t message_length(const Message *m)
{
	return PREFIX + ((size_t) m->p[0] << 8 | m->p[1]);
}

static void message_clear(Message *m)
{
	free(m->p);
	*m = (Message){ NULL, 0, 0 };
}

static void message_set(Message *m, const uint8_t *p, size_t n)
{
	message_clear(m);
	m->size = PREFIX + n;
	m->p = xmalloc(m->size);
	m->p[0] = (uint8_t) (n >> 8);
	m->p[1] = (uint8_t) n;
	memcpy(m->p + PREFIX, p, n);
}

/* 1: a whole message is there; 0: more is to come; <0: the end, an error, or longer than `max`. Never reads
 * into the next message. */
static int message_read(Message *m, int fd, size_t max)
{
	for (;;) {
		size_t want = m->done < PREFIX ? PREFIX : message_length(m);
		ssize_t n;

		if (want > PREFIX + max || (m->done >= PREFIX && want < PREFIX + DNS_HEADER))
			return -EMSGSIZE;
		if (m->done == want)
			return 1;
		if (m->size < want) {
			m->size = want < FIRST_SIZE ? FIRST_SIZE : want;
			m->p = xreallocarray(m->p, m->size, 1);
		}
		n = recv(fd, m->p + m->done, want - m->done, MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		if (n == 0)
			return -EPIPE;
		m->done += (size_t) n;
	}
}

static void stream_end(Stream *t)
{
	Server *s = t->server;

	source_close(&t->client);
	source_close(&t->upstream);
	message_clear(&t->query);
	message_clear(&t->answer);
	for (Stream **p = &s->streams; *p; p = &(*p)->next) {
		if (*p == t) {
			*p = t->next;
			break;
		}
	}
	s->n_streams--;
	t->endpoint->clients--;
	server_bury(s, t);
}

static void enter(Stream *t, StreamState state, uint32_t client_events, int64_t patience_ms)
{
	t->state = state;
	t->deadline = server_now_ms() + patience_ms;
	if (source_watch(t->server, &t->client, client_events) < 0)
		t->deadline = 0; /* the next tick ends it */
}

/* Writes what is left; then the next query may come. */
static void write_answer(Stream *t)
{
	Message *m = &t->answer;
	ssize_t n = send(t->client.fd, m->p + m->done, m->size - m->done, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		stream_end(t);
		return;
	}
	if (n > 0)
		m->done += (size_t) n;
	if (m->done < m->size) {
		enter(t, STREAM_WRITE, EPOLLOUT, STREAM_IDLE_MS);
		return;
	}
	message_clear(m);
	message_clear(&t->query);
	enter(t, STREAM_QUERY, EPOLLIN, STREAM_IDLE_MS);
}

static void answer(Stream *t, const uint8_t *p, size_t n)
{
	source_close(&t->upstream);
	if (!n) {
		stream_end(t);
		return;
	}
	message_set(&t->answer, p, n);
	write_answer(t);
}

static void answer_failure(Stream *t)
{
	Server *s = t->server;
	size_t n = server_answer_code(s, t->query.p + PREFIX, t->query.done - PREFIX, DNS_SERVFAIL);

	answer(t, s->out, n);
}

static void on_upstream(Source *src, uint32_t events);

static bool connect_to(Stream *t, const NamesAddress *upstream)
{
	struct sockaddr_storage ss;
	socklen_t len = upstream_sockaddr(upstream, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	t->upstream = (Source){ fd, on_upstream };
	message_clear(&t->answer);
	if (fd >= 0 && (connect(fd, (struct sockaddr *) &ss, len) == 0 || errno == EINPROGRESS) &&
		source_watch(t->server, &t->upstream, EPOLLOUT) == 0)
		return true;
	source_close(&t->upstream);
	return false;
}

static void ask_next(Stream *t)
{
	uint32_t n;
	const NamesAddress *upstreams = endpoint_upstreams(t->endpoint, &n);

	source_close(&t->upstream);
	while (t->n_tries < n) {
		if (connect_to(t, &upstreams[t->n_tries++])) {
			enter(t, STREAM_CONNECT, 0, FORWARD_STEP_MS * (t->n_tries < n ? 1 : 2));
			return;
		}
	}
	answer_failure(t);
}

/* The resolver has accepted: a query fits into an empty socket buffer, so a short write is a failure. */
static void send_query(Stream *t)
{
	uint8_t *q = t->query.p + PREFIX;
	uint16_t own = dns_id(q);
	int failed = 0;
	socklen_t len = sizeof(failed);
	ssize_t n = -1;

	if (getsockopt(t->upstream.fd, SOL_SOCKET, SO_ERROR, &failed, &len) == 0 && !failed &&
		getrandom(t->id, sizeof(t->id), 0) == sizeof(t->id)) {
		dns_set_id(q, dns_id(t->id));
		n = send(t->upstream.fd, t->query.p, t->query.done, MSG_DONTWAIT | MSG_NOSIGNAL);
		dns_set_id(q, own);
	}
	if (n != (ssize_t) t->query.done || source_watch(t->server, &t->upstream, EPOLLIN) < 0) {
		ask_next(t);
		return;
	}
	enter(t, STREAM_ANSWER, 0, FORWARD_TOTAL_MS);
}

static void read_upstream(Stream *t)
{
	Message *m = &t->answer;
	uint8_t *q = t->query.p + PREFIX;
	int r = message_read(m, t->upstream.fd, DNS_MESSAGE_MAX);
	int rcode;

	if (r == 0)
		return;
	rcode = r < 0 ? r
		      : dns_check_response(
				m->p + PREFIX, m->done - PREFIX, dns_id(t->id), q, t->query.done - PREFIX);
	if (rcode < 0 || rcode == DNS_SERVFAIL || rcode == DNS_REFUSED) {
		ask_next(t);
		return;
	}
	source_close(&t->upstream);
	dns_set_id(m->p + PREFIX, dns_id(q));
	m->size = m->done;
	m->done = 0;
	write_answer(t);
}

static void on_upstream(Source *src, uint32_t events)
{
	Stream *t = (Stream *) ((char *) src - offsetof(Stream, upstream));

	if (t->state == STREAM_CONNECT)
		send_query(t);
	else
		read_upstream(t);
}

static void read_query(Stream *t)
{
	Server *s = t->server;
	Message *m = &t->query;
	int r = message_read(m, t->client.fd, DNS_QUERY_MAX);
	size_t n = 0;
	Answer a;

	if (r == 0)
		return;
	if (r < 0) {
		stream_end(t);
		return;
	}
	t->n_tries = 0;
	a = server_answer(s, t->endpoint, m->p + PREFIX, m->done - PREFIX, DNS_MESSAGE_MAX, &n);
	if (a == ANSWER_FORWARD)
		ask_next(t);
	else
		answer(t, s->out, a == ANSWER_READY ? n : 0);
}

static void on_client(Source *src, uint32_t events)
{
	Stream *t = (Stream *) src;

	if (t->state == STREAM_QUERY)
		read_query(t);
	else if (t->state == STREAM_WRITE)
		write_answer(t);
	else
		stream_end(t); /* it hung up while we were asking */
}

/* The longest there is, of `e` only if that is not NULL: streams are listed newest first. */
static Stream *oldest(Server *s, const Endpoint *e)
{
	Stream *found = NULL;

	for (Stream *t = s->streams; t; t = t->next)
		if (!e || t->endpoint == e)
			found = t;
	return found;
}

void stream_accept(Source *tcp, uint32_t events)
{
	Endpoint *e = (Endpoint *) ((char *) tcp - offsetof(Endpoint, tcp));
	Server *s = e->server;
	int fd = accept4(tcp->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	Stream *t;

	if (fd < 0)
		return;
	if (e->clients >= ENDPOINT_CLIENTS_MAX)
		stream_end(oldest(s, e));
	else if (s->n_streams >= LIMIT_DNS_TCP_CLIENTS)
		stream_end(oldest(s, NULL));
	t = xcalloc(1, sizeof(*t));
	t->client = (Source){ fd, on_client };
	t->upstream.fd = -1;
	t->server = s;
	t->endpoint = e;
	t->next = s->streams;
	s->streams = t;
	s->n_streams++;
	e->clients++;
	enter(t, STREAM_QUERY, EPOLLIN, STREAM_IDLE_MS);
}

void stream_drop_endpoint(Server *s, const Endpoint *e)
{
	Stream *next;

	for (Stream *t = s->streams; t; t = next) {
		next = t->next;
		if (t->endpoint == e)
			stream_end(t);
	}
}

int64_t stream_tick(Server *s, int64_t now)
{
	int64_t soonest = INT64_MAX;
	Stream *next;

	for (Stream *t = s->streams; t; t = next) {
		next = t->next;
		if (t->deadline <= now) {
			if (t->state == STREAM_CONNECT || t->state == STREAM_ANSWER)
				ask_next(t);
			else
				stream_end(t);
		} else if (t->deadline < soonest) {
			soonest = t->deadline;
		}
	}
	/* What was asked anew has a time of its own. */
	for (Stream *t = s->streams; t; t = t->next)
		if (t->deadline < soonest)
			soonest = t->deadline;
	return soonest;
}
