// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Images of the daemon: lookups, tags, removal, and the jobs that make and write them.
 */

#include "daemon/daemon.h"
#include "io/http-server.h"

/** 0 if the image can run as `platform` ("linux/arm64", may be NULL) here; -EINVAL with the reason. */
int image_platform_check(const Image *img, const char *platform, Err *err);
/** Up to three tags that `ref`, which is none, may have meant: "'a:1' or 'b:2'"; NULL without any. Of the caller. */
char *image_nearest(const Daemon *d, const char *ref);
/** Containers that were made from it. */
size_t image_users(const Daemon *d, const Image *img);

/** What a job made becomes known: rows, then tags (taken from an older image that had them). Takes ownership. */
int image_add(Daemon *d, Image *img, Err *err);
int image_tag(Daemon *d, Image *img, const char *reference, Err *err);

/**
 * Docker's rule for DELETE /images/NAME: a tag is taken off; with the last one the image goes, unless a
 * container uses it (-EBUSY). By id: all tags, if there is one only or `force`. `ret` gets the list of Untagged
 * and Deleted (new reference). Its layers stay until image_sweep, here and with image_prune.
 */
int image_remove(Daemon *d, const char *ref, bool force, json_t **ret, Err *err);
/** Images without a tag (all: without a container) go; `ret` as above, `ret_bytes` is what their own layers held. */
int image_prune(Daemon *d, bool all, json_t **ret, int64_t *ret_bytes, Err *err);
/**
 * Layers that no image has any more are removed in the background. `done` (may be NULL) is called once, when they have gone,
 * or when they did not go, with the reason; from inside this call where that would keep someone waiting who did not ask for
 * it: behind a job that makes an image, say, after which they go.
 */
void image_sweep(Daemon *d, void (*done)(void *user, const char *warning), void *user);
/** For job_sweep: what rows refer to. */
void image_refs(void *user, char ***layers, char ***images);

/* The API's handlers for what the Docker Engine API has no word for: POST /stead/v1/images/bootstrap, …/import. */
void image_api_bootstrap(Daemon *d, HttpRequest *r);
void image_api_import(Daemon *d, HttpRequest *r);
/** POST /images/load and GET /images/get, /images/{name}/get. */
void image_api_load(Daemon *d, HttpRequest *r);
void image_api_save(Daemon *d, HttpRequest *r, char *const *names);

/** Its tags in their familiar form, a JSON array. */
json_t *image_tags_json(const Image *img);
/** Docker's HealthConfig. */
json_t *healthcheck_json(const Healthcheck *h);
