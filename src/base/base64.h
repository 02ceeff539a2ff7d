// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Base64 (RFC 4648).
 */

#include <stddef.h>

#include "base/buf.h"

/** The usual alphabet, with padding. Owned by the caller. */
char *base64_encode(const void *p, size_t n);
/** Both alphabets ("+/" and "-_"), with or without padding. Appends; -EINVAL (and nothing appended) for anything else. */
int base64_decode(const char *s, Buf *ret);
