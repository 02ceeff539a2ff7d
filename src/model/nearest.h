// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Suggestions for misspelt words.
 */

#include <stddef.h>

/** Edit distance with transpositions (optimal string alignment), at most `max`; max + 1 when further apart. */
unsigned edit_distance(const char *a, const char *b, unsigned max);
/** How far a suggestion for this word may be: a third of its length, 1 to 3. */
unsigned edit_distance_allowed(const char *word);
