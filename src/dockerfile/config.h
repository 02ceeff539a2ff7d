// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What instructions make of an image's configuration: a JSON document as the OCI image specification (config.md) and
 * Docker's extensions (Healthcheck, OnBuild, Shell, author) have it. Pure: layers and history's order are the caller's.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "dockerfile/dockerfile.h"

/** A new configuration for FROM scratch: architecture, os, a config with the usual PATH, rootfs and history. `platform` is "linux/arm/v7". */
json_t *config_new(const char *platform);

/** What a stage must remember between its instructions. */
typedef struct ConfigState {
	bool cmd_set; /* CMD stood in this stage: ENTRYPOINT leaves it alone, while an inherited one is reset */
} ConfigState;

/**
 * Applies an expanded instruction to the image's configuration. Those that have no part in it (RUN, COPY, ADD, ARG, FROM) leave it
 * as it is. -EINVAL (with its place in front): a port that is none, and what has no form. The document keeps unknown members.
 */
int config_apply(const Dockerfile *f, const Instruction *expanded, json_t *image, ConfigState *state, Err *err);

/** Takes the triggers out of the configuration (config.OnBuild): those that run in the stage which is FROM this image. Owned by the caller; NULL = none. */
char **config_take_triggers(json_t *image);
/** The base's environment, "NAME=value"; PATH is added if it has none, as docker does. Owned by the caller. */
char **config_env(const json_t *image);
/** SHELL; NULL = /bin/sh -c. Owned by the caller. */
char **config_shell(const json_t *image);
/** WorkingDir, "/" if there is none. Owned by the caller. */
char *config_workdir(const json_t *image);
/** User, "" if there is none. Borrowed. */
const char *config_user(const json_t *image);
/** `path` as seen from the working directory, clean and absolute. Owned by the caller. */
char *config_path(const json_t *image, const char *path);

/** Appends to history; `created` is RFC 3339. empty: it made no layer. */
void config_add_history(json_t *image, const char *created, const char *created_by, bool empty);
/**
 * The history's text of an expanded instruction, as BuildKit writes it: "RUN |1 A=b /bin/sh -c make", "COPY a b", "ENV a=b". `argv` and
 * `args` (scope_run_args) are for RUN. Owned by the caller.
 */
char *config_created_by(const Instruction *expanded, char *const *argv, char *const *args);
