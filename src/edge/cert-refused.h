// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Certificates that HAProxy has refused to load (it was out of memory, its OpenSSL knows better than the worker's check). Each is tried again with
 * back-off, and at once when it is another one. Until then what is wanted of it is what is there, so that all else goes on.
 */

#include "edge/proxy-state.h"

typedef struct RefusedCert RefusedCert;

typedef struct RefusedCerts {
	RefusedCert *items;
	size_t n;
} RefusedCerts;

void refused_done(RefusedCerts *r);
/** `c` was refused, at `now` (mono ns). */
void refused_note(RefusedCerts *r, const ProxyCert *c, int64_t now);
/**
 * Makes those of `want` that are not to be tried yet as they are in `have`, and forgets what is not wanted any more, or in place. Gives when the first is to be tried again (mono ns), 0:
 * none.
 */
int64_t refused_apply(RefusedCerts *r, const ProxyState *have, ProxyState *want, int64_t now);
