// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Generations: a word for each backend that stands in the key of all that is cached of it. Another word, and nothing cached before is found any more; it is
 * displaced by and by. Words are random and never come back. As text, a line each: "GENERATION VERSION BACKEND".
 */

#include "base/buf.h"
#include "edge/cache-config.h"

#define LIMIT_GENERATIONS_BYTES (1U << 20) /* of the file: not read, all caches begin empty */

typedef struct Generation {
	char word[CACHE_GENERATION_NAME];
	char *version; /* of the backend, when the word was chosen; "" = not known yet */
	char *backend;
	bool wanted; /* for whoever goes through them; false when read */
} Generation;

typedef struct Generations {
	Generation *items;
	size_t n;
} Generations;

/** Adds those of the text. A line that is no generation, or a second one of the same backend, ends it: -EINVAL. */
int generations_read(const char *text, Generations *ret);
void generations_write(const Generations *g, Buf *ret);
/** NULL: none yet. */
Generation *generations_find(const Generations *g, const char *backend);
/** A new word, for a new backend too. */
Generation *generations_renew(Generations *g, const char *backend);
/** Drops those that are not wanted; true if there were any. */
bool generations_prune(Generations *g);
void generations_done(Generations *g);
