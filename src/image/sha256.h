// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * SHA-256 by libcrypto, in pieces: several times as fast as base/digest.h's, for what is larger than a few lines.
 */

#include <openssl/sha.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"

/** Owns nothing. */
typedef struct Sha256 {
	SHA256_CTX state;
} Sha256;

void sha256_begin(Sha256 *s);
void sha256_add(Sha256 *s, const void *p, size_t n);
void sha256_end(Sha256 *s, char ret_hex[DIGEST_HEX_MAX]);
/** As sha256_end; "sha256:…". */
void sha256_digest(Sha256 *s, char ret[sizeof(DIGEST_PREFIX) + 64]);
/** The rest of what is in a file, from its start. Negative errno. */
int sha256_fd(int fd, char ret_hex[DIGEST_HEX_MAX], int64_t *ret_size);
