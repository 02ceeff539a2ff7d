// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Merging of a further file over what is there, both already shaped (compose/shape.h), by the Compose
 * Specification (13-merge.md): maps merge key by key, lists append and lose duplicates by what identifies an
 * entry, commands and tests replace, `!reset` removes, `!override` replaces.
 */

#include "compose/node.h"

/** Changes `base` in place. -EINVAL where a map meets a list. */
int merge_document(Load *l, Node *base, const Node *over);
/** Takes out what is tagged `!reset`: what a first file says of a key that nothing has set. */
void merge_strip_resets(Node *n);
