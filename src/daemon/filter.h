// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The `filters` parameter of the Docker Engine API: JSON that maps a key to values, which Go's client
 * writes as {"label":{"a=b":true}} and docker-py as {"label":["a=b"]}. Both give the same here. Values
 * of one key are alternatives, but for labels, which all must be there; keys must all hold.
 */

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/** From key to an array of strings; NULL = no filters. json_decref frees it. */
typedef json_t Filter;

/** `text` may be NULL. `known`: the keys that the endpoint has, NULL-terminated; another one is -EINVAL. */
int filter_read(const char *text, const char *const *known, Filter **ret, Err *err);
/** The values of a key, an array, or NULL. Borrowed. */
const json_t *filter_values(const Filter *f, const char *key);
/** True without such a key; else if one of its values is `value`. */
bool filter_match(const Filter *f, const char *key, const char *value);
/** As filter_match, where a value fits that `value` begins with. */
bool filter_match_prefix(const Filter *f, const char *key, const char *value);
/** As filter_match, where a value fits that is in `value`; "^" and "$" bind it to its ends, other signs stand for themselves. */
bool filter_match_text(const Filter *f, const char *key, const char *value);
/** "label" and "label!": each "key" or "key=value" against a strv of "key=value". */
bool filter_match_labels(const Filter *f, char *const *labels);
/** A boolean key: 1/true/True; `otherwise` without the key. -EINVAL for another value or two that differ. */
int filter_bool(const Filter *f, const char *key, bool otherwise, bool *ret, Err *err);
