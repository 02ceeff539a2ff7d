// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * HTTP for workers, through a stead-fetch of their own (fetch/): blocking, several at once from several threads. Started before the worker
 * fences itself in (sandbox_enter), used afterwards.
 *
 * Rules that hold for every transfer (RFC 9110, 15.4; for registries: OCI distribution-spec, "Endpoints"): redirects lead to http and https
 * only, never from https to http, at most LIMIT_REDIRECTS of them; `authorization` goes to the origin of the URL that was asked for and to
 * no other; what was sent a body is not redirected.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "image/stream.h"

typedef struct Fetcher Fetcher;
typedef struct Fetch Fetch;

/** Starts stead-fetch. Not after sandbox_enter. */
int fetcher_new(Fetcher **ret, Err *err);
/** Ends it, with all of its transfers. */
void fetcher_free(Fetcher *f);
void fetcher_freep(Fetcher **f);
#define AUTO_FETCHER __attribute__((cleanup(fetcher_freep))) Fetcher *

#define FETCH_ANY_SIZE UINT64_MAX

typedef struct FetchRequest {
	const char *method;        /* NULL = GET */
	const char *url;
	char *const *headers;      /* strv of "Name: value", or NULL */
	const char *authorization; /* value of that header, or NULL */
	const char *ca;            /* PEM: trusted besides the system's; or NULL */
	bool insecure;             /* certificates are not checked */
	bool has_body;             /* PATCH, POST, PUT */
	const void *body;          /* `length` bytes; NULL: fetch_write follows, if length is not 0 */
	int64_t length;            /* -1 = until fetch_end_body */
	uint64_t offset;           /* asks for a range from there on */
	unsigned seconds;          /* for the whole transfer; 0 = as long as something comes */
} FetchRequest;

/** Why a transfer failed, for who may try again. */
typedef enum FetchFailure {
	FETCH_FAILED,  /* asking again would not help */
	FETCH_CUT,     /* the connection broke */
	FETCH_CONNECT, /* there was none */
	FETCH_TLS,     /* the other side does not speak TLS */
	FETCH_TRUST,   /* its certificate is not trusted */
} FetchFailure;

/* One attempt. ret_failure may be NULL and is set on failure. */

/** Sends the request (not its body); follow with fetch_write and fetch_end_body if it has one, then fetch_answer. */
int fetch_begin(Fetcher *f, const FetchRequest *q, Fetch **ret, Err *err);
/** -EPIPE: the other side has answered or gone before it wanted all of it; fetch_answer says how. */
int fetch_write(Fetch *x, const void *p, size_t n);
void fetch_end_body(Fetch *x);
/** Waits for the answer's head. */
int fetch_answer(Fetch *x, FetchFailure *ret_failure, Err *err);
/** begin and answer in one, redirects followed. */
int fetch_open(Fetcher *f, const FetchRequest *q, Fetch **ret, FetchFailure *ret_failure, Err *err);
/** Bytes of the body; 0 at its (whole) end. */
ssize_t fetch_read(Fetch *x, void *p, size_t n, FetchFailure *ret_failure, Err *err);
/** The rest of the body, at most `max` bytes (-EFBIG beyond). */
int fetch_read_all(Fetch *x, size_t max, Buf *ret, FetchFailure *ret_failure, Err *err);
/** Ends the transfer, if it has not ended. */
void fetch_free(Fetch *x);
void fetch_freep(Fetch **x);
#define AUTO_FETCH __attribute__((cleanup(fetch_freep))) Fetch *

int fetch_status(const Fetch *x);
/** By name in lower case; or NULL. Borrowed. */
const char *fetch_header(const Fetch *x, const char *name);
/** Where the answer came from, after redirects. */
const char *fetch_url(const Fetch *x);
/** Seconds of Retry-After; 0 = none. */
int64_t fetch_retry_after(const Fetch *x);

/* With patience. */

/**
 * How long to wait before try number `tries` + 1 (tries >= 1) after this status (0 = the connection broke), in seconds: -1 where asking again does
 * not help. Doubles from 1 on, or as `retry_after` says. Pure.
 */
int64_t fetch_patience(int status, int64_t retry_after, unsigned tries);

typedef struct FetchCalls {
	/**
	 * Called before each attempt, with the 401 that the last one got or NULL: sets the value of Authorization (owned by the callee; NULL = none).
	 * 0: go on; 1: nothing more can be done about the 401, it is the answer. May be NULL.
	 */
	int (*authorize)(void *user, const Fetch *refused, const char **ret, Err *err);
	/** "registry answered 429: waiting 3 s". May be NULL. */
	void (*waiting)(void *user, const char *text);
	void *user;
} FetchCalls;

/**
 * fetch_open that waits and asks again: after 429 and 5xx, and after a connection that broke; LIMIT_REGISTRY_TRIES times. Any other status is the
 * answer, and so is the last refusal. calls may be NULL.
 */
int fetch_call(Fetcher *f, const FetchRequest *q, const FetchCalls *calls, Fetch **ret, FetchFailure *ret_failure, Err *err);

typedef struct FetchExpect {
	const char *digest;   /* "sha256:…", or NULL */
	uint64_t size;        /* FETCH_ANY_SIZE = not known */
	uint64_t max;         /* refused beyond; 0 = no limit of its own */
	void (*progress)(void *user, uint64_t at); /* or NULL */
	void *user;
} FetchExpect;

/**
 * What is at a URL, as a stream: a connection that is cut is taken up again where it was (Range), and the end comes only when
 * size and digest are right. More bytes than expected, or another digest, are -EINVAL. A status other than 200 is an error with it. What
 * `q`, `calls` and `e` point to is copied, but their `user`s and the callbacks must live as long as the stream.
 */
int fetcher_get(Fetcher *f, const FetchRequest *q, const FetchCalls *calls, const FetchExpect *e, Stream **ret, Err *err);

/** What a registry or server says in the body of an error, for people, cleaned and cut: from {"errors": [{"code", "message"}]}, or "". Reads the body. */
void fetch_error_text(Fetch *x, char *dst, size_t n);
