// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The `filters` query parameter of the Docker Engine API, in both encodings: {"label": {"a=b": true}} (Go
 * clients) and {"label": ["a=b"]} (docker-py).
 */

#include <stdbool.h>

#include "base/err.h"
#include "io/http-server.h"

typedef struct Filters {
	struct {
		char *key;
		char **values;
	} *items;
	size_t n;
} Filters;

/** No parameter gives no filters. `known`: NULL-terminated keys that the endpoint has; others are -EINVAL, as in Docker. */
int filters_parse(const HttpRequest *r, const char *const *known, Filters *ret, Err *err);
void filters_done(Filters *f);
#define AUTO_FILTERS __attribute__((cleanup(filters_done))) Filters

/** The values of a key, or NULL if it is not filtered by. */
char *const *filters_get(const Filters *f, const char *key);
/** No filter of that key, or `value` is one of its values. */
bool filters_match(const Filters *f, const char *key, const char *value);
/** "key" or "key=value" against a strv of "key=value"; all of the filter's values must be there. */
bool filters_match_labels(const Filters *f, char *const *labels);
/** As filters_match, but a value also fits when it is a prefix (ids) or, with `part`, anywhere in it (names). */
bool filters_match_prefix(const Filters *f, const char *key, const char *value);
bool filters_match_part(const Filters *f, const char *key, const char *value);
