// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Files of variables: `.env`, --env-file, and `env_file:` of a service. Syntax as in docker compose: KEY=value,
 * `export KEY=value`, comments, 'literal', "with \n escapes and $VARIABLES", both over several lines.
 */

#include <stddef.h>

#include "base/err.h"
#include "compose/interpolate.h"

typedef enum EnvFormat {
	ENV_FORMAT_COMPOSE, /* as above */
	ENV_FORMAT_RAW,     /* KEY=value as it stands, as `docker run --env-file` */
} EnvFormat;

/**
 * Sets what the text says in `env` (strv of "KEY=value"), in order, replacing earlier ones. A key without "=" takes
 * its value from `v`, and is left out when it has none there. Variables inside values come from `v`, then from `env`.
 * -EINVAL with "FILE:LINE: what; what to do"; `file` is the name for that.
 */
int env_file_parse(const char *file, const char *text, size_t n, EnvFormat format, const Variables *v, char ***env, Err *err);
