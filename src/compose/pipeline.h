// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * From parsed documents to a Stack: variables, long forms, merging, resolving, and the model's checks. No file is read
 * but through ResolveOptions, so a test can run all of it on a text.
 */

#include "compose/resolve.h"
#include "model/stack.h"

/** Replaces the variables of one scalar in place. */
int interpolate_scalar(Load *l, Node *n, const KeyPath *path);

/** The documents are used up. `files` (absolute paths) become the stack's. l->project_dir and l->vars must be set. */
int pipeline_run(Load *l, Node *const *docs, size_t n, char *const *files, const ResolveOptions *o, Stack **ret);
