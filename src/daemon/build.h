// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Builds. A worker reads the Dockerfile and makes layers (room build/); the daemon gives it what a worker may not have: RUN
 * instructions become containers (build-step.c) on a network of their own (build-net.c), base images are looked up or
 * pulled. Who asked for the build is at the other end of a BuildFront: stead's own protocol (build-client.c), or Docker's
 * classic builder (build-docker.c).
 *
 * A build belongs to the connection that asked for it: when that goes, containers are killed and the worker with them. Nothing
 * of a build is in the store before its image is, whole.
 */

#include <jansson.h>

#include "daemon/daemon.h"
#include "io/http-server.h"

typedef struct Builds Builds;
typedef struct Builder Builder;

void builds_open(Daemon *d);
/** After jobs_free, which ends those whose worker runs: kills what is left, and waits for nothing. */
void builds_close(Daemon *d);
/** The subnet of the builds' network, while there is one: no other may take it. */
bool builds_subnet(const Daemon *d, char dst[64]);
/** The names server was lost: tells the new one of the builds' containers. */
void builds_tell_names(Daemon *d);

/**
 * What the cache of builds holds, or what went of it: [{"id", "type", "description", "size", "shared", "in_use", "used" (seconds)}], borrowed,
 * and the bytes of all of it; or why that is not known. `warning`: something of it is still on the disk; or NULL.
 */
typedef void (*BuildCacheFn)(void *user, const json_t *items, int64_t bytes, const char *warning, const Err *err);
int build_cache_list(Daemon *d, BuildCacheFn done, void *user, Err *err);
/** The same as docker's BuildCache objects. New reference. */
json_t *build_cache_json(const json_t *items);
/** Removes what is beyond the quota or long unused, once an hour. In the background. */
void build_cache_tidy(Daemon *d);

/* Handlers of the API. */
void build_api_start(Daemon *d, HttpRequest *r);  /* POST /stead/v1/builds */
void build_api_docker(Daemon *d, HttpRequest *r); /* POST /build */
void build_api_prune(Daemon *d, HttpRequest *r);  /* POST /build/prune */
/** GET /stead/v1/builds/IMAGE/why */
void build_api_why(Daemon *d, HttpRequest *r, const char *image);
