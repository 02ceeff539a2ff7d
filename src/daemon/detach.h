// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The key sequence that detaches a client from a terminal ("ctrl-p,ctrl-q"), found in what the client
 * types. Keys of a sequence that was begun and not finished are handed on late, as docker does.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

#define DETACH_KEYS_MAX 16

typedef struct DetachKeys {
	char keys[DETACH_KEYS_MAX];
	size_t n; /* 0: nothing detaches */
	size_t seen;
} DetachKeys;

/** "ctrl-p,ctrl-q", "a", "ctrl-[", …; NULL or "" means the default, ctrl-p,ctrl-q. -EINVAL. */
int detach_keys_parse(const char *s, DetachKeys *ret, Err *err);
/** Appends to `out` what is to be handed on. True: the sequence is complete; the rest of the input is dropped. */
bool detach_keys_feed(DetachKeys *d, const char *p, size_t n, Buf *out);
