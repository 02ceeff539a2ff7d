// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * SHA-256 by libmd (FIPS 180-4), for small things: configuration hashes, identifiers, small blobs.
 * Whole layers are hashed by the worker with libcrypto.
 */

#include <stddef.h>

#define DIGEST_HEX_MAX 65                 /* 64 hex digits and NUL */
#define DIGEST_PREFIX "sha256:"

void digest_sha256(const void *p, size_t n, char hex[DIGEST_HEX_MAX]);
/** Of what can be read from fd, from where it stands. Negative errno of read(2). */
int digest_sha256_fd(int fd, char hex[DIGEST_HEX_MAX]);
/** True for exactly "sha256:" and 64 lower-case hex digits. */
int digest_valid(const char *s);
