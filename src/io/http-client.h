// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A small blocking HTTP/1.1 client over one stream descriptor, for the CLI: the daemon's unix socket,
 * or what a transport dials (cli/ssh.h). One request after the other on a connection
 * (kept alive); a second one at the same time needs a second connection.
 *
 * http_request sends the request and reads the answer's headers. Then the body is read in one of these ways:
 *  - whole, http_read_all;
 *  - line by line, http_read_line (JSON lines);
 *  - by pieces, http_read (blocks), or, for a poll(2) loop over several connections: poll http_fd for
 *    POLLIN unless http_pending, then http_read_some, which never waits;
 *  - as a raw connection, http_hijack, after 101 or a 200 with a raw stream.
 * All texts of errors are fit for the user.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct HttpClient HttpClient;

/**
 * Connects to a unix socket. -ENOENT/-ECONNREFUSED: the daemon is not running (the text says how to start it);
 * -EACCES: no permission (the text names the group).
 */
int http_client_connect(const char *path, HttpClient **ret, Err *err);
/** On a connected descriptor (two that are the same for a socket). Takes ownership of both. */
HttpClient *http_client_new(int read_fd, int write_fd);

/** A way to the daemon that is not a socket here. */
typedef struct HttpTransport {
	int (*dial)(void *user, int *ret_fd, Err *err); /* a new connection: a stream socket */
	int (*wait)(void *user, Err *err);              /* until a connection stands, or the code and text of why none will */
	int (*lost)(void *user, Err *err);              /* why the last one has ended, where it is known: its code and text; else 0 */
	void (*done)(void *user);                       /* frees `user` */
	void *user;
} HttpTransport;

/** Dials. Takes ownership of t->user, also when that fails. */
int http_client_open(const HttpTransport *t, HttpClient **ret, Err *err);
/** Only the connected socket of http_client_connect. */
int http_dial_unix(const char *path, int *ret, Err *err);
/** Waits until the connection stands, for a caller that is not to be interrupted during its request: 0, or a code with its text. */
int http_client_wait(const HttpClient *c, Err *err);
/** Why the connection has ended, where the transport knows more than that: its code, and the text in err; else 0. Also after http_hijack_client. */
int http_client_lost(const HttpClient *c, Err *err);
/** Closes the connection. NULL is fine. */
void http_client_free(HttpClient *c);
void http_client_freep(HttpClient **c);
#define AUTO_HTTP __attribute__((cleanup(http_client_freep))) HttpClient

typedef struct HttpBody {
	const json_t *json;   /* sent as JSON, or NULL */
	const void *data;     /* else these bytes of `type` */
	size_t len;
	const char *type;
	int fd;               /* else, if `stream`: everything from this descriptor; a regular file goes with its length, else chunked */
	bool stream;
	const char *registry_auth; /* X-Registry-Auth (base64), or NULL */
	void (*progress)(void *user, size_t sent); /* while streaming, bytes so far; or NULL */
	void *user;
} HttpBody;

/**
 * Sends a request and reads the answer's status line and headers. `target` is path and query, already encoded
 * (see http_url_append). `body` may be NULL. `upgrade`: asks for "Upgrade: tcp" (attach, exec).
 * Gives the status (> 0), whatever it is, or a negative errno with a text: the connection was lost, or the answer is not HTTP.
 */
int http_request(HttpClient *c, const char *method, const char *target, const HttpBody *body, bool upgrade, Err *err);
/**
 * As http_request, and turns a status of 400 and above into an error: text from {"message": …}, code
 * -ENOENT for 404, -EEXIST for 409, -EINVAL for 400, -ENOTSUP for 501, else -EIO. Gives the status else.
 */
int http_call(HttpClient *c, const char *method, const char *target, const HttpBody *body, bool upgrade, Err *err);
/** http_call, then the whole body as JSON (new reference; an empty body gives JSON null). `ret` may be NULL. */
int http_call_json(HttpClient *c, const char *method, const char *target, const json_t *body, json_t **ret, Err *err);

/** The status of the last answer. */
int http_status(const HttpClient *c);
/** A header of the last answer, case ignored; or NULL. Borrowed until the next request. */
const char *http_response_header(const HttpClient *c, const char *name);

/** Reads the rest of the body (appended); -EFBIG beyond max. */
int http_read_all(HttpClient *c, size_t max, Buf *ret, Err *err);
/** The next line without its newline, NUL-terminated, borrowed until the next read: > 0; 0 at the end of the body. -EFBIG beyond 16 MiB. */
int http_read_line(HttpClient *c, char **ret, size_t *ret_len, Err *err);
/** Some bytes of the body, waiting for them: > 0; 0 at the end. */
ssize_t http_read(HttpClient *c, void *p, size_t n, Err *err);
/** As http_read, but -EAGAIN where it would have to wait. */
ssize_t http_read_some(HttpClient *c, void *p, size_t n, Err *err);
/** Body bytes (or the end) can be read without waiting for http_fd. */
bool http_pending(const HttpClient *c);
/** The descriptor to poll for reading. */
int http_fd(const HttpClient *c);

/**
 * The connection itself, for bytes both ways: descriptors (owned by the caller from now on; equal for a socket) and what of the
 * other side's bytes has been read already (appended to `leftover`). Half-close with shutdown(2), or close of write_fd when they differ.
 * The client can only be asked http_client_lost, and freed, afterwards.
 */
void http_hijack_client(HttpClient *c, int *ret_read_fd, int *ret_write_fd, Buf *leftover);

/** Appends `s` percent-encoded as one component (RFC 3986: unreserved characters stay). */
void http_url_append(Buf *url, const char *s);
/** Appends "?key=value" or "&key=value", encoded. A NULL value appends nothing. */
void http_url_query(Buf *url, const char *key, const char *value);
