// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * SHA-256 by libcrypto, in pieces: several times as fast as base/digest.h's, for what is larger than a few lines.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"

typedef struct Sha256 {
	void *md; /* NULL: not begun, or ended */
} Sha256;

void sha256_begin(Sha256 *s);
void sha256_add(Sha256 *s, const void *p, size_t n);
/** Ends it. `hex` may be NULL: the result is not wanted. */
void sha256_end(Sha256 *s, char hex[DIGEST_HEX_MAX]);
/** The rest of what is in a file, from its start. Negative errno. */
int sha256_fd(int fd, char hex[DIGEST_HEX_MAX], int64_t *ret_size);
