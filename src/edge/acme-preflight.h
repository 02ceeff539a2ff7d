// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Before an ACME server is asked anything: would its validation (RFC 8555 8.3, HTTP-01) reach this edge? The name is resolved in a worker, and each
 * address asked for our own answer on the path that the server will ask. A failed validation counts against limits that lock a name out for an hour; this costs nothing.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"

typedef struct Preflight Preflight;

typedef struct PreflightOptions {
	uv_loop_t *loop;
	const char *host, *thumbprint;
	const char *state_dir;   /* for the worker */
	uint16_t http_port;      /* where the edge listens; 0 = nowhere */
} PreflightOptions;

/** `err` NULL: the way is free. Else what is in the way and what to do. */
typedef void (*PreflightFn)(void *user, const Err *err);
/** `fn` comes once, from the loop; `ret` is dead by then. Strings are copied. <0: not started. */
int preflight_start(const PreflightOptions *o, PreflightFn fn, void *user, Preflight **ret, Err *err);
/** NULL is allowed. */
void preflight_cancel(Preflight *p);

/** An address of one of this machine's interfaces. */
bool address_is_own(const char *address);
/** Not reachable from the internet by itself: loopback, private, link-local, unique local. */
bool address_is_private(const char *address);
