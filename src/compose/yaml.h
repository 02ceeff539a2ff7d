// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * YAML 1.2 text to Nodes. Aliases and "<<" are expanded here, under a budget of nodes and depth that counts
 * what an alias stands for before it is copied: a file cannot become bigger in memory than LIMIT_YAML_NODES.
 */

#include "compose/node.h"

/**
 * Appends the documents of the text to `ret` (an array in the arena), leaving empty ones out. `file` is the index
 * into l->files that errors and nodes carry. Errors: not UTF-8, syntax, duplicate keys, unknown tags, limits.
 */
int yaml_parse(Load *l, unsigned file, const char *text, size_t n, Node ***ret, size_t *ret_n);
