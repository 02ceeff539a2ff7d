// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What http-server.c (listening, connections, the reading side) and http-answer.c (the writing side) share.
 * Private to the two.
 */

#include "io/http-message.h"
#include "io/http-server.h"

typedef struct HttpConn HttpConn;

struct HttpServer {
	uv_loop_t *loop;
	uv_poll_t listener; /* of listen_fd */
	int listen_fd;
	int spare_fd; /* when no other is left, a client is told so by way of it; -1 while that goes on */
	uv_timer_t kick; /* conn_process from the loop rather than from inside a handler's call */
	uv_timer_t tick; /* runs only while a connection has a deadline or is half closed, or clients wait for room */
	unsigned handles;
	char *path;
	HttpHandlers handlers;
	HttpConn *conns;
	size_t n_conns, max_conns;
	bool refusing; /* the log says already that descriptors are lacking */
	bool full;     /* clients wait in the backlog: the listener is stopped */
	bool closing;
	char read_buf[16384]; /* libuv reads one connection at a time */
};

struct HttpConn {
	uv_pipe_t pipe;
	uv_shutdown_t shutdown;
	HttpServer *server;
	HttpConn *next, *prev;
	HttpMessage msg;
	Buf in; /* read, not yet parsed (or, hijacked, not yet handed on) */
	HttpRequest *req;
	uint64_t deadline;   /* loop time in ms; 0 = none */
	uint64_t idle_since; /* loop time */
	bool reading, closing, kicked, processing;
	bool served; /* a request has been answered */
	bool eof; /* the client has closed its writing half */
	bool hup; /* and its reading half */
	bool lingering; /* all is answered: waiting for the client to close */
	bool shut;      /* lingering, and our writing half is closed */
};

typedef enum RequestState { REQUEST_READING, REQUEST_OPEN, REQUEST_STREAM, REQUEST_HIJACKED } RequestState;

struct HttpRequest {
	HttpConn *conn;
	RequestState state;
	void *user;
	void (*closed)(void *user);
	void (*chunk)(void *user, const void *p, size_t n);
	void (*drained)(void *user);
	Buf headers;         /* further ones of the answer, "Name: value\r\n" */
	bool streaming_body; /* chunks go to `chunk` */
	bool told_end;       /* `chunk` has had its n = 0 */
	bool paused;
	bool backlogged;     /* the writer was told to pause */
	bool keep;           /* the connection lives on after the answer */
	bool chunked;
	bool head;           /* no body goes out */
};

/** Lets the loop call conn_process soon. */
void conn_kick(HttpConn *c);
/** Closes at once; from the loop only, never from inside a handler's call. */
void conn_abort(HttpConn *c);
/** Tells a client that waits for it to send its body. */
void conn_continue(HttpConn *c);
/** Queues bytes to the client; errors end the connection from the loop. */
void conn_write(HttpConn *c, const uv_buf_t *bufs, unsigned n);
/** The answer is complete: `closed` is called, r is dead; the connection goes on with the next request if `keep`. */
void request_finish(HttpRequest *r, bool keep);
/** An answer by the server itself, to what is not (or not yet) a request. */
void conn_answer_error(HttpConn *c, int status, const char *text);
