// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * HTTP/1.1 server (RFC 9110, 9112) on a unix stream socket in the libuv loop, for the API. Keep-alive,
 * Content-Length and chunked requests, chunked streams out, and connections taken over (101 UPGRADED
 * or a bare 200, as the Docker Engine API's attach and exec do). Limits: base/limits.h.
 *
 * A request is handed to the handler when its headers and, unless `streaming` says otherwise, its body
 * are complete. Exactly one of http_reply, http_reply_json, http_error, http_stream_begin and
 * http_hijack answers it, at once or later. A HttpRequest lives until it is answered completely (stream: until
 * http_stream_end) or the client has gone: then `closed` is called and the pointer is dead.
 */

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct HttpServer HttpServer;
typedef struct HttpRequest HttpRequest;

typedef struct HttpHandlers {
	/** The body is buffered (at most LIMIT_API_BODY) unless this gives true for the path: then body chunks go to http_on_body. May be NULL. */
	bool (*streaming)(void *user, const HttpRequest *r);
	void (*request)(void *user, HttpRequest *r);
	void *user;
} HttpHandlers;

/** Listens on `path` (a stale socket file is replaced; mode and gid set before it can be reached). */
int http_server_new(uv_loop_t *loop, const char *path, mode_t mode, gid_t gid, const HttpHandlers *h, HttpServer **ret, Err *err);
/** Stops listening, unlinks the socket, closes all connections. */
void http_server_free(HttpServer *s);
/** Number of open connections. */
size_t http_server_clients(const HttpServer *s);

/* The request. Strings are borrowed until it is answered. */
const char *http_method(const HttpRequest *r);
/** Decoded path without the query, "/v1.41/containers/json"; no NUL, no control characters ("%00" is answered 400). */
const char *http_path(const HttpRequest *r);
/** Decoded value of a query parameter, or NULL. */
const char *http_query(const HttpRequest *r, const char *key);
/** All values of a repeated parameter, a strv that the caller frees. */
char **http_query_all(const HttpRequest *r, const char *key);
/** Docker's booleans: absent, "", "0", "no", "false", "none" (any case) are false. */
bool http_query_bool(const HttpRequest *r, const char *key, bool otherwise);
/** Header by name, case ignored; or NULL. */
const char *http_header(const HttpRequest *r, const char *name);
const char *http_body(const HttpRequest *r, size_t *ret_len);
/** The body as a JSON value (new reference). An empty body gives an empty object. -EINVAL. */
int http_body_json(const HttpRequest *r, json_t **ret, Err *err);

/** Per-request pointer of the handler; `closed` is called once when the request is over, however it ends. */
void http_set_user(HttpRequest *r, void *user, void (*closed)(void *user));

/** Streaming request body: `chunk` for each piece, with n = 0 at the end. Pause stops reading from the socket. */
void http_on_body(HttpRequest *r, void (*chunk)(void *user, const void *p, size_t n));
void http_body_pause(HttpRequest *r, bool pause);

/* Answers. Each response carries Api-Version, Ostype, Server, Docker-Experimental as the Docker Engine API has them. */
void http_reply(HttpRequest *r, int status, const char *type, const void *body, size_t n);
/** Takes ownership of `value`. */
void http_reply_json(HttpRequest *r, int status, json_t *value);
/** {"message": "…"}. */
void http_error(HttpRequest *r, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/** The status for an Err: -ENOENT 404, -EEXIST and -EBUSY 409, -EINVAL 400, -EFBIG 413, -ENOTSUP 501, else 500. */
void http_error_err(HttpRequest *r, const Err *err);
/** Adds a header to the coming answer. */
void http_add_header(HttpRequest *r, const char *name, const char *value);

/** Chunked answer; the headers go out at once. */
void http_stream_begin(HttpRequest *r, int status, const char *type);
/** Gives the bytes now waiting for a slow client: beyond LIMIT_API_BACKLOG pause the source until `drained`. */
size_t http_stream_write(HttpRequest *r, const void *p, size_t n);
/** One JSON value and a newline. Takes ownership. */
size_t http_stream_json(HttpRequest *r, json_t *value);
void http_on_drained(HttpRequest *r, void (*drained)(void *user));
void http_stream_end(HttpRequest *r);

/**
 * Takes the connection over: "101 UPGRADED" with Connection/Upgrade headers if the client asked for an upgrade,
 * else a bare 200, Content-Type application/vnd.docker.raw-stream. Then http_stream_write sends raw
 * bytes, `chunk` gets what the client sends (n = 0: it has closed its writing half), http_stream_end closes.
 */
void http_hijack(HttpRequest *r, void (*chunk)(void *user, const void *p, size_t n));
