// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The parts of stead-names around its one loop: sources of events, endpoints (a container's resolver), and
 * what answers them. server.c holds the loop and answers from the table, session.c listens to the daemon,
 * forward.c and stream.c ask the outside over UDP and TCP.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "names/message.h"
#include "names/table.h"

#define NAMES_TTL 10 /* seconds; short, as containers come and go */
#define ENDPOINTS_MAX 4096
#define ENDPOINT_FORWARDS_MAX 128 /* outstanding for one container: SERVFAIL beyond */
#define ENDPOINT_CLIENTS_MAX 16   /* TCP connections of one container: its oldest is closed */
#define FORWARD_TOTAL_MS 4000     /* then SERVFAIL */
#define FORWARD_STEP_MS 1300      /* then the next server is asked, too */
#define STREAM_IDLE_MS 10000      /* a TCP client that says nothing is closed */

typedef struct Source Source;
struct Source {
	int fd; /* -1 = closed */
	void (*ready)(Source *s, uint32_t events);
};

typedef struct Endpoint {
	Source udp; /* first: its address is the endpoint's */
	Source tcp; /* listens */
	struct Server *server;
	char id[NAMES_ID_SIZE];
	uint32_t generation;
	bool forward;
	uint32_t n_upstreams;
	NamesAddress upstreams[NAMES_UPSTREAMS_MAX];
	NameNetwork **networks;
	size_t n_networks;
	unsigned forwards; /* outstanding */
	unsigned clients;  /* connected */
} Endpoint;

typedef struct Server {
	int epoll;
	Source listener, control;
	Table table;
	Endpoint **endpoints;
	size_t n_endpoints;
	NamesUpstreams upstreams; /* the host's */
	struct Forward *forwards;
	unsigned n_forwards;
	struct Stream *streams; /* newest first */
	unsigned n_streams;
	Matches matches;
	uint64_t random[2];
	void **buried; /* freed after the round, as later events of it may point there */
	size_t n_buried;
	bool quit; /* when there is no endpoint */
	uint8_t in[DNS_MESSAGE_MAX + 1] __attribute__((aligned(8)));
	uint8_t out[DNS_MESSAGE_MAX + 1] __attribute__((aligned(8)));
} Server;

/* server.c */
void server_init(Server *s, int listener);
void server_done(Server *s);
/** Runs until told to end. */
int server_run(Server *s);
/** One round of the loop, waiting at most `ms` (-1: without end). */
int server_round(Server *s, int ms);
/** Watches for `events`; also changes what is watched. <0: not possible. */
int source_watch(Server *s, Source *src, uint32_t events);
void source_close(Source *src);
/** Frees `p` at the end of the round. */
void server_bury(Server *s, void *p);
int64_t server_now_ms(void);

typedef enum Answer { ANSWER_NONE, ANSWER_READY, ANSWER_FORWARD } Answer;
/** Answers query `q` from the table into s->out (at most `max` bytes; 0: what the query allows over UDP), or
 * says what else to do. */
Answer server_answer(Server *s, Endpoint *e, const uint8_t *q, size_t n, size_t max, size_t *ret_n);
/** A response to `q` without records, into s->out. */
size_t server_answer_code(Server *s, const uint8_t *q, size_t n, int rcode);

Endpoint *server_endpoint(Server *s, const char *id);
/** Makes or changes an endpoint from a record that was checked; takes ownership of the sockets (-1: keeps
 * those it has). */
int server_endpoint_set(Server *s, const NamesEndpointRecord *r, int udp, int tcp);
void server_endpoint_remove(Server *s, Endpoint *e);
/** The resolvers that an endpoint's queries go to. */
const NamesAddress *endpoint_upstreams(const Endpoint *e, uint32_t *ret_n);

/* session.c */
void session_ready(Source *listener, uint32_t events);

/* forward.c */
void forward_query(Server *s, Endpoint *e, const struct sockaddr_in *from, const uint8_t *q, size_t n);
void forward_drop_endpoint(Server *s, const Endpoint *e);
/** Acts on what is due; the time of the next (INT64_MAX: none). */
int64_t forward_tick(Server *s, int64_t now);
/** A sockaddr for port 53 of a resolver; gives its length. */
socklen_t upstream_sockaddr(const NamesAddress *a, struct sockaddr_storage *ret);

/* stream.c */
void stream_accept(Source *tcp, uint32_t events);
void stream_drop_endpoint(Server *s, const Endpoint *e);
int64_t stream_tick(Server *s, int64_t now);
