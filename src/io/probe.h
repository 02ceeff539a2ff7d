// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A probe from outside: does something listen at an address, and what does it answer to a GET? For checks of containers
 * that need no program inside the image. Runs on the loop, never blocks, and believes nothing of what answers: time,
 * headers and body have limits (base/limits.h). No TLS; redirects are not followed (a 301 is a status like another).
 */

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"

typedef struct Probe Probe; /* freed by itself after `fn` or probe_cancel */

typedef struct ProbeOptions {
	const char *address; /* IPv4 or IPv6, as text */
	uint16_t port;
	const char *path;    /* path and query, begins with "/"; NULL = TCP connect only */
	const char *host;    /* Host header; NULL = address and port */
	int64_t timeout_ns;  /* from the start to the end of the answer; > 0 */
	size_t body_max;     /* bytes kept of the body; an answer is read no further than LIMIT_PROBE_BODY */
} ProbeOptions;

typedef struct ProbeResult {
	int status;       /* HTTP status; 0 = TCP only or no answer */
	const char *body; /* NUL-terminated, never NULL; the bytes are whatever came */
	size_t body_len;
	int64_t took_ns;
	const Err *err;   /* NULL = fine: connected, or a whole answer of any status. Else why not; `status` may be set (a body that was cut off) */
} ProbeResult;

/** The result is borrowed for the call. */
typedef void (*ProbeFn)(void *user, const ProbeResult *r);

/**
 * `fn` is called once, from the loop, never from inside this call; `ret` (may be NULL) is dead by then. <0 (no callback comes):
 * the address, path or host is not one (-EINVAL), or no socket.
 */
int probe_start(uv_loop_t *loop, const ProbeOptions *o, ProbeFn fn, void *user, Probe **ret, Err *err);
/** `fn` will not be called. NULL is allowed. */
void probe_cancel(Probe *p);
