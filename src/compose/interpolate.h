// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Variables in values, by the Compose Specification (12-interpolation.md): $V, ${V}, ${V:-d}, ${V-d}, ${V:?e},
 * ${V?e}, ${V:+a}, ${V+a}, nested in d, e and a; "$$" is a dollar sign.
 */

#include "base/buf.h"
#include "base/err.h"

typedef struct Variables {
	/** The value, or NULL when unset. Borrowed until the next call. */
	const char *(*get)(void *user, const char *name);
	/** Told of each use of an unset variable without a default; may be NULL. */
	void (*unset)(void *user, const char *name);
	void *user;
} Variables;

/**
 * Appends the text with its variables replaced. -EINVAL with what is wrong: a form that is none, a required
 * variable that is missing (with the file's own words), a result of more than LIMIT_YAML_BYTES.
 */
int interpolate(const char *text, const Variables *v, Buf *ret, Err *err);
