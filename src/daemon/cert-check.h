// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Before an `up` or a deploy: certificates that the model names are read, which takes a worker, so that one that cannot be used is refused
 * before anything changes.
 */

#include "daemon/daemon.h"
#include "io/http-server.h"

/** The request may go on. `body` is borrowed. */
typedef void (*CertCheckedFn)(Daemon *d, HttpRequest *r, const char *stack, json_t *body, int arg);
/**
 * Calls `go`, at once if `body`'s "model" names no certificate (or is none, which `go` will notice); else answers with the last line of a refused operation: {"error", "code": 2,
 * "path"}. Takes ownership of `body`.
 */
void cert_check(Daemon *d, HttpRequest *r, const char *stack, json_t *body, CertCheckedFn go, int arg);
