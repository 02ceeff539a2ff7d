// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What an image that is made here says about itself: options that `import` and `image bootstrap` share.
 */

#include <jansson.h>

#include "cli/options.h"

typedef struct ImageConfigOptions {
	const char *arch, *cmd, *entrypoint, *user, *workdir;
	char **env, **port, **volume, **label;
} ImageConfigOptions;

/** Entries of an option table whose struct has an ImageConfigOptions at `base`. */
#define IMAGE_CONFIG_OPTION(base, member) ((base) + offsetof(ImageConfigOptions, member))
#define IMAGE_CONFIG_OPTIONS(base) \
	{ "arch", 0, OPTION_STRING, IMAGE_CONFIG_OPTION(base, arch), "ARCH", "Architecture: amd64, arm64 … (default: this machine's)", NULL }, \
	{ "cmd", 0, OPTION_STRING, IMAGE_CONFIG_OPTION(base, cmd), "COMMAND", "Command: words, or a JSON array", NULL }, \
	{ "entrypoint", 0, OPTION_STRING, IMAGE_CONFIG_OPTION(base, entrypoint), "COMMAND", "Entrypoint: words, or a JSON array", NULL }, \
	{ "env", 'e', OPTION_LIST, IMAGE_CONFIG_OPTION(base, env), "KEY=VALUE", "Environment variable", NULL }, \
	{ "port", 0, OPTION_LIST, IMAGE_CONFIG_OPTION(base, port), "PORT[/PROTO]", "Exposed port", NULL }, \
	{ "user", 'u', OPTION_STRING, IMAGE_CONFIG_OPTION(base, user), "USER[:GROUP]", "User of the command", NULL }, \
	{ "workdir", 'w', OPTION_STRING, IMAGE_CONFIG_OPTION(base, workdir), "DIR", "Working directory", NULL }, \
	{ "volume", 0, OPTION_LIST, IMAGE_CONFIG_OPTION(base, volume), "PATH", "Path that is a volume", NULL }, \
	{ "label", 'l', OPTION_LIST, IMAGE_CONFIG_OPTION(base, label), "KEY=VALUE", "Label", NULL }

/** The fields of POST /stead/v1/images/bootstrap; checks each. -EINVAL with a text. */
int image_config_json(const ImageConfigOptions *o, json_t *ret, Err *err);
/** The same as a query (POST /stead/v1/images/import). */
int image_config_query(const ImageConfigOptions *o, Buf *url, Err *err);
