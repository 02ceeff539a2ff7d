// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Build checks: what works but is probably not meant. Names and meaning are BuildKit's (docs.docker.com/reference/build-checks), so that
 * "# check=skip=RULE;error=true" means the same here. What the text alone tells is found by dockerfile_parse; what takes the values of
 * variables, by the functions here. All of it becomes Dockerfile.warnings.
 */

#include "base/err.h"
#include "dockerfile/dockerfile.h"
#include "dockerfile/scope.h"

/** Adds a warning, unless the file skips the rule. `rule` is constant. */
void dockerfile_warn(Dockerfile *f, unsigned line, const char *rule, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/** What the FROM instructions name. `global` has the values of this build. */
void check_bases(Dockerfile *f, const Scope *global, const BuildArguments *a);
/** Variables of an instruction that nothing sets where it stands. `s` is the scope of its stage, which knows what the base image sets. */
void check_variables(Dockerfile *f, const Scope *s, const Instruction *i);
/** Puts the warnings in order of lines. */
void check_sort(Dockerfile *f);
/** -EINVAL if there is a warning and the file says that it is an error. */
int check_result(const Dockerfile *f, Err *err);
