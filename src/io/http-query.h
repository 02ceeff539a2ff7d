// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The target of a request: percent-decoding (RFC 3986) of its path, and its query as
 * application/x-www-form-urlencoded (WHATWG URL, section 5; "+" is a space), which is what Go's
 * net/url writes and reads. Input is hostile.
 */

#include <stdbool.h>
#include <stddef.h>

#define QUERY_PARAMS_MAX 1024

typedef struct QueryParam {
	char *key, *value; /* decoded; no NUL inside */
} QueryParam;

/** Zero initialisation is an empty query. */
typedef struct Query {
	QueryParam *params;
	size_t n_params;
} Query;

/**
 * Decodes an absolute path. -EINVAL: it does not begin with "/", has a broken escape, or one that stands for a control
 * character. `ret` is the caller's.
 */
int path_decode(const char *p, size_t n, char **ret);
/** Parses "a=b&c" (without the "?"). -EINVAL: a broken escape or %00; -E2BIG: more than QUERY_PARAMS_MAX parameters. */
int query_parse(const char *p, size_t n, Query *ret);
void query_done(Query *q);
/** The first value of `key`, or NULL. Borrowed. */
const char *query_get(const Query *q, const char *key);
/** Docker's booleans: "", "0", "no", "false", "none" (any case, spaces around) are false, anything else true; NULL gives `otherwise`. */
bool query_bool(const char *value, bool otherwise);
