// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Credentials for registries as docker keeps them: $DOCKER_CONFIG/config.json or ~/.docker/config.json with "auths", "credHelpers" and "credsStore"
 * (docker/cli, cli/config; docker/docker-credential-helpers). Helpers are programs docker-credential-NAME on the PATH, run by argv. What else stands
 * in the file is kept.
 */

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/** What docker calls the registry of that domain: "https://index.docker.io/v1/" for docker.io. Owned by the caller. */
char *docker_config_key(const char *domain);
/** "registry.example/path", "https://index.docker.io/v1/", "" → the domain as references have it. Owned by the caller. */
char *docker_config_domain(const char *server);

/** Docker's AuthConfig for the registry, a new reference; NULL where there are no credentials. Errors name file and line. */
int docker_config_auth(const char *domain, json_t **ret, Err *err);
/** Keeps credentials, with a helper where one is configured, else in the file (0600). ret_file: says if it was the file. */
int docker_config_store(const char *domain, const char *user, const char *password, bool *ret_file, Err *err);
/** Removes them. 1: there were none. */
int docker_config_erase(const char *domain, Err *err);
/** The file's path. Owned by the caller. */
char *docker_config_path(void);
