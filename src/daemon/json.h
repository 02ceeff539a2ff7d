// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * JSON from what may not be UTF-8: output of containers, file names.
 */

#include <jansson.h>

/** A JSON string; bytes that are not UTF-8 become U+FFFD. NULL gives "". New reference. */
json_t *json_safe(const char *s);
/** A JSON array of strings from a strv (NULL: an empty array). New reference. */
json_t *json_strv(char *const *v);
/** A JSON object from "key=value" pairs. New reference. */
json_t *json_pairs(char *const *v);
/** A strv from a JSON array of strings (others are left out); NULL if there are none. */
char **json_to_strv(const json_t *a);
/** A strv of "key=value" from an object of strings. */
char **json_to_pairs(json_t *o);
