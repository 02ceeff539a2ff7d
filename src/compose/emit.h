// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Stack to YAML, in the form of `docker compose config`: canonical long forms, keys sorted. What it
 * writes is a compose file that loads to the same stack again ("$" is written "$$").
 */

#include "model/stack.h"

/** Owned by the caller; never NULL. */
char *stack_to_yaml(const Stack *s);
