// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a build is asked to do: the first line on the worker's standard input, a JSON object.
 *   dockerfile       the text; missing or null: it is in the context, named dockerfile_name
 *   dockerfile_name  for messages; default "Dockerfile"
 *   ignore, ignore_name   text and name of the ignore file; null: there is none (with a tar: look into it)
 *   context          any text that names the context: the client's host and path
 *   source           "client" (over descriptor 3), "tar" (descriptor 3), "none"
 *   target, args {NAME: value}, platform, labels {NAME: value}, tags [normalised]
 *   no_cache, no_cache_filter [stages], pull
 *   secrets [ids], ssh [ids]
 *   contexts {NAME: "docker-image://REF" or "local://TEXT"}   named contexts, for FROM and --from. The latter is the client's to send; TEXT
 *                    says of it what `context` says of the build's own
 *   cache_from, cache_to  [{"dir": N, "name": TEXT, "final_only": bool, "ignore_error": bool}]   directories of the client (build/cache-dir.h)
 *   source_date_epoch   seconds: all times of the image
 *   package_caches   false: none are mounted but those of the file
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "build/cache-dir.h"
#include "build/context.h"

typedef struct BuildOptions {
	char *dockerfile, *dockerfile_name, *ignore, *ignore_name, *context, *target;
	ContextSource source;
	char **args, **labels, **tags, **secrets, **ssh, **no_cache_filter;
	char **contexts; /* "NAME=REF" */
	char *platform;  /* "linux/arm64/v8" or what else was asked for; never NULL */
	char *build_platform;
	CacheDir *cache_from, *cache_to;
	size_t n_cache_from, n_cache_to;
	bool no_cache, pull, package_caches, has_epoch;
	int64_t epoch;
} BuildOptions;

int build_options_read(const json_t *o, BuildOptions *ret, Err *err);
void build_options_done(BuildOptions *o);

/** Parts of "linux/arm/v7": Go's names; *ret_variant may become NULL. Both are the caller's. -EINVAL. */
int platform_split(const char *platform, char **ret_arch, char **ret_variant, Err *err);
