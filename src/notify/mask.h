// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Secrets in text that leaves the machine or is kept: values that are known to be secret, and what looks like one wherever it stands
 * (the password in a URL, a token in a query, an Authorization header), become "***". No guarantee against a program that means to betray
 * its secrets, in base64 say; a net for those that print their environment or a connection string when they fail.
 */

#include <stdbool.h>

#include "model/stack.h"

typedef struct Mask Mask;

Mask *mask_new(void);
/** NULL is fine. */
void mask_free(Mask *m);
void mask_freep(Mask **m);
#define AUTO_MASK __attribute__((cleanup(mask_freep))) Mask

/**
 * A secret value, in its URL and JSON spellings too; of one with several lines, each line. Values that would mask half of any text are left out:
 * shorter than 4 characters, "true", "none" and the like. Up to 7 characters only match as a whole word.
 */
void mask_add(Mask *m, const char *value);
/** "KEY=value": the value if mask_name_is_secret, else the password of each URL in it. */
void mask_add_variable(Mask *m, const char *assignment);
/** Its address beyond the host's name, its token and password. */
void mask_add_target(Mask *m, const NotifyTarget *t);

/** PASSWORD, DB_PASS, API_KEY, GITHUB_TOKEN …; but not PUBLIC_KEY, or PASSWORD_FILE, whose value is a path. */
bool mask_name_is_secret(const char *name);

/** Owned by the caller. `m` may be NULL: only what looks like a secret. */
char *mask_text(const Mask *m, const char *s);
/** The same for each line; owned by the caller. */
char **mask_lines(const Mask *m, char *const *lines);
