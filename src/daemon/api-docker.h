// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the endpoints of the Docker Engine API share. Private to api-docker-*.c.
 */

#include "daemon/api.h"
#include "daemon/filter.h"

/* Once they have answered, `r` is dead: nothing may be asked of it any more. */

/** The container that the path names, or an answer and NULL. */
Container *docker_container(Daemon *d, HttpRequest *r, const char *ref);
/** The filters of the request, or an answer and false. */
bool docker_filters(HttpRequest *r, const char *const *known, Filter **ret);
/** A non-negative number of the query; absent or "all" gives `otherwise`. False: answered with 400. */
bool docker_query_number(HttpRequest *r, const char *key, int64_t otherwise, int64_t *ret);
/** A moment of the query ("since", "until") in real ns; absent or "0" gives 0. False: answered with 400. */
bool docker_query_moment(HttpRequest *r, const char *key, int64_t *ret);
/** Docker's "5 minutes", "About an hour" (go-units HumanDuration). Owned by the caller. */
char *docker_duration(int64_t ns);

/** GET /containers/json's item and GET /containers/{id}/json; docker-json*.c. New references. */
json_t *docker_container_summary(const Container *c);
json_t *docker_container_inspect(const Container *c);
json_t *docker_network(const Daemon *d, const NetState *n, bool containers);
json_t *docker_volume(const VolState *v);
json_t *docker_image_summary(const Daemon *d, const Image *img);
json_t *docker_image_inspect(const Daemon *d, const Image *img);

/**
 * Sizes of directory trees, counted in a thread: `paths` (a strv) is taken over. `done` gets the sizes in the same order, from the loop.
 */
void sizes_count(uv_loop_t *loop, char **paths, void (*done)(void *user, char *const *paths, const int64_t *sizes), void *user);

/** Ids of the running exec instances of a container, or JSON null. */
json_t *docker_exec_ids(const Container *c);
