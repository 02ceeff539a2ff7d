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

/** What a job made becomes known: rows, then tags and digests (taken from an older image that had them). Takes ownership. */
int image_add(Daemon *d, Image *img, Err *err);
int image_tag(Daemon *d, Image *img, const char *reference, Err *err);
/** "docker.io/library/redis@sha256:…" is this image from now on. */
int image_know_digest(Daemon *d, Image *img, const char *digest, Err *err);

/**
 * Docker's rule for DELETE /images/NAME: a tag is taken off; with the last one the image goes, unless a
 * container uses it (-EBUSY). By id: all tags, if there is one only or `force`. `ret` gets the list of Untagged
 * and Deleted (new reference). Its layers stay until image_sweep, here and with image_prune.
 */
int image_remove(Daemon *d, const char *ref, bool force, json_t **ret, Err *err);
/**
 * Images without a tag (all: any) go that no container, release or stack needs; `ret` as above, `ret_bytes` is what their own layers held. With `dry_run`
 * they only are listed, those that hold most first: {"Deleted": id, "RepoTags": […], "Size": bytes that nothing else needs}.
 */
int image_prune(Daemon *d, bool all, bool dry_run, json_t **ret, int64_t *ret_bytes, Err *err);
/**
 * Layers that no image has any more are removed in the background. `done` (may be NULL) is called once, when they have gone,
 * or when they did not go, with the reason; from inside this call where that would keep someone waiting who did not ask for
 * it: behind a job that makes an image, say, after which they go.
 */
void image_sweep(Daemon *d, void (*done)(void *user, const char *warning), void *user);
/** For job_sweep: what rows refer to. */
void image_refs(void *user, char ***layers, char ***images);

typedef struct PullHandle PullHandle;

typedef struct ImagePull {
	const char *ref;      /* as written or normalised */
	const char *platform; /* "linux/arm64"; NULL = this machine's */
	const json_t *auth;   /* docker's AuthConfig; NULL = none */
} ImagePull;

/** {"progress": text}, or what the worker reports (image/pull.h). Borrowed. */
typedef void (*ImagePullEventFn)(void *user, const json_t *line);
/** The image, which is known by its reference by now (borrowed), or why there is none. */
typedef void (*ImagePullDoneFn)(void *user, Image *img, const Err *err);

/**
 * Pulls an image; whoever asks for the same with the same credentials meanwhile joins. `done` is called once, from the loop, unless image_pull_leave comes
 * first or the daemon ends. The handle is dead then.
 */
int image_pull(Daemon *d, const ImagePull *ask, ImagePullEventFn event, ImagePullDoneFn done, void *user, PullHandle **ret, Err *err);
/** No further callback comes; the pull is called off when nobody else waits for it. */
void image_pull_leave(PullHandle *h);

/* The API's handlers for what the Docker Engine API has no word for: POST /stead/v1/images/bootstrap, …/import. */
void image_api_bootstrap(Daemon *d, HttpRequest *r);
void image_api_import(Daemon *d, HttpRequest *r);
/** POST /images/load and GET /images/get, /images/{name}/get. */
void image_api_load(Daemon *d, HttpRequest *r);
void image_api_save(Daemon *d, HttpRequest *r, char *const *names);

/** Its tags in their familiar form, a JSON array. */
json_t *image_tags_json(const Image *img);
