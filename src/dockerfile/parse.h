// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the parts of the parser share: flags, mounts, the lists of words. Private to dockerfile/. Errors here have no
 * place in front; dockerfile.c adds it.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "dockerfile/dockerfile.h"

bool dockerfile_is_space(char c);

/** check.c: warnings about what the stages say, all of them read, in order of lines. */
void check_stages(Dockerfile *f);

/** Fills in all but kind, line, last_line and heredocs from what follows the keyword. `i` is freed by the caller, also after an error. */
int instruction_parse(Instruction *i, const char *rest, char escape, Err *err);
/** The kind by its name, in any case; INSTRUCTION_KINDS: unknown, and the error suggests the nearest. */
InstructionKind instruction_kind(const char *word, Err *err);

/**
 * Takes the flags at the beginning of *rest ("--name[=value] …") and checks them by the instruction's table. *rest goes
 * to what follows them.
 */
int flags_parse(Instruction *i, const char **rest, char escape, Err *err);

/** Replaces the variables of one word; gives the owned result. NULL in mount_parse: values with a '$' are left alone. */
typedef int (*WordExpander)(void *user, const char *word, char **ret, Err *err);
/** Reads the value of one RUN --mount. `m` is empty; freed by mount_done, also after an error. */
int mount_parse(const char *text, WordExpander expand, void *user, RunMount *m, Err *err);
void mount_done(RunMount *m);
/** Makes i->mounts from i->mount_flags. */
int mounts_parse(Instruction *i, WordExpander expand, void *user, Err *err);

/** Words by white space, whatever is in them. */
int words_plain(const char *s, char ***ret, Err *err);

