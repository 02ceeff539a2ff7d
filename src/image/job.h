// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Jobs on images, as the daemon asks for them. Each runs in a `stead-worker` process of its own, so
 * that hostile archives are never parsed in the daemon and that long file work never holds its loop.
 * At most LIMIT_WORKERS run at once (ships not counted), and LIMIT_BUILDS builds; the rest wait in order. All callbacks come from the loop, never
 * from inside the call that started the job.
 *
 * On disk, under the state directory:
 *   blobs/sha256/HEX     image configurations
 *   layers/NAME/         an unpacked layer, an overlay lower directory (NAME: layer_dir_name)
 *   layers/NAME.json     its full diff_id and sizes;  layers/NAME.recipe: what rebuilds its tar exactly
 *   cache/               apt's downloads, and the locks of bootstraps
 *   tmp/                 what is being made or removed
 * What a job reports is durable by then (written, synced, renamed). A worker that is killed at any
 * moment leaves only temporary files, which job_sweep removes.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/err.h"
#include "model/image.h"

typedef struct Jobs Jobs;
typedef struct Job Job;

/**
 * What the store refers to at this moment: appends layer names (layer_dir_name) and image ids
 * ("sha256:…") to the strvs. Called when a sweep starts; nothing that makes layers runs until it has ended.
 */
typedef void (*JobRefsFn)(void *user, char ***layers, char ***images);

/** Lines for people, as they come. */
typedef void (*JobProgressFn)(void *user, const char *text);

typedef struct JobResult {
	Image **images; /* what was made, with tags (normalised) and layer sizes; take over with steal_ptr(&images[i]) */
	size_t n_images;
	bool copied;   /* job_copy_up: there was something to copy */
	int64_t freed; /* job_sweep: bytes of the layers removed; job_prune_builds: of all that goes */
} JobResult;

/**
 * Called once for each job that was started. `err` is NULL on success. On failure nothing was stored
 * that a sweep would not remove. `result` is borrowed for the call (but see images).
 */
typedef void (*JobDoneFn)(void *user, JobResult *result, const Err *err);

typedef struct JobCallbacks {
	JobProgressFn progress; /* or NULL */
	void (*event)(void *user, const json_t *line); /* what else a worker reports, as it came: image/pull.h, image/push.h, build/build.h; or NULL */
	JobDoneFn done;         /* or NULL */
	void (*lost)(void *user); /* instead of done, when the job ends with jobs_free: frees `user`; or NULL */
	void *user;
} JobCallbacks;

/** Makes the directories under `state_dir`. `refs` may be NULL: job_sweep then removes temporary files only. */
int jobs_new(uv_loop_t *loop, const char *state_dir, JobRefsFn refs, void *user, Jobs **ret, Err *err);
/** Kills what runs; no callback comes any more but `lost`. */
void jobs_free(Jobs *j);
/** Jobs running or waiting. */
size_t jobs_active(const Jobs *j);

/**
 * Stops a job: one that waits at once, one that runs by killing its worker. `done` still comes, with -ECANCELED.
 * The pointer is dead after `done`.
 */
void job_cancel(Job *job);

/*
 * Makers. `ret` (may be NULL) gives a handle for job_cancel. On a negative return `done` is not
 * called; fds are taken over in every case.
 */

/**
 * Loads a docker or OCI archive, plain or compressed (gzip, zstd), from a file or the reading end of a pipe (the
 * job then ends in an error if the writer closes early). Takes ownership of fd.
 */
int job_load(Jobs *j, int fd, const JobCallbacks *cb, Job **ret, Err *err);

/** What an image made here says in its configuration. All may be empty. Strings are copied. */
typedef struct JobImageOptions {
	const char *name;        /* tag; required */
	const char *arch;        /* Go's or Debian's name ("arm64", "armhf"); NULL = the host's */
	char *const *entrypoint, *const *cmd;
	char *const *env;        /* "KEY=value" */
	char *const *ports;      /* "6379", "53/udp" */
	char *const *volumes;    /* absolute paths */
	char *const *labels;     /* "key=value" */
	const char *user, *workdir, *stop_signal;
} JobImageOptions;

/** A root file system as tar (plain, gzip or zstd) becomes an image of one layer. Takes ownership of fd. */
int job_import(Jobs *j, int fd, const JobImageOptions *o, const JobCallbacks *cb, Job **ret, Err *err);

typedef struct JobBootstrap {
	JobImageOptions image;
	char *const *packages; /* Debian package names; may be empty: the base alone */
	const char *suite;     /* NULL = the host's */
	const char *mirror;    /* NULL = the host's apt sources */
} JobBootstrap;

/**
 * An image from the distribution's packages, on top of a base layer shared by all of the same suite and architecture.
 * The result has two images: the one asked for, then the base ("docker.io/stead/base:SUITE-ARCH"; store it like any
 * other, else the next sweep takes it and the next bootstrap makes it again).
 */
int job_bootstrap(Jobs *j, const JobBootstrap *b, const JobCallbacks *cb, Job **ret, Err *err);

/**
 * Builds an image (room build/). `requests` becomes the worker's standard input: a line of options, then the answers to
 * its messages; `context` its descriptor 3. Takes ownership of both.
 */
int job_build(Jobs *j, int requests, int context, const JobCallbacks *cb, Job **ret, Err *err);

/**
 * Tells what the cache of builds holds, or takes something of it (build/prune.h, which has the options; what is needed is added here).
 * Layers that nothing names any more then go with a sweep. Takes ownership of `options`.
 */
int job_prune_builds(Jobs *j, json_t *options, const JobCallbacks *cb, Job **ret, Err *err);

/** What a receiver must know of the machine. Strings are copied. */
typedef struct JobBox {
	const char *arch;      /* Go's name */
	char *const *emulated; /* what it runs besides */
	int64_t memory_free;   /* bytes */
} JobBox;

/**
 * Takes in what `ship-send` sends at the other end of the connection (image/ship-protocol.h), which is a stream socket. Starts at once,
 * but for sweeps. Takes ownership of fd.
 */
int job_ship_receive(Jobs *j, const JobBox *box, int fd, const JobCallbacks *cb, Job **ret, Err *err);
/** Ships of both directions, running or waiting. */
size_t jobs_ships(const Jobs *j);

/* Registries. `auth` is docker's AuthConfig or NULL, `rules` the path of the file on registries (image/registry.h) or NULL. */

typedef struct JobPull {
	const char *ref;      /* normalised */
	const char *platform; /* "linux/arm64/v8"; NULL = this machine's */
	const json_t *auth;
	const char *rules;
} JobPull;

/** The result has one image, with its tag, and its digest as a further tag with '@'. */
int job_pull(Jobs *j, const JobPull *p, const JobCallbacks *cb, Job **ret, Err *err);

typedef struct JobPushItem {
	const char *ref; /* normalised, with a tag */
	const char *id;  /* "sha256:…" */
} JobPushItem;

/** Pushes images to one repository. */
int job_push(Jobs *j, const JobPushItem *items, size_t n, const json_t *auth, const char *rules, const JobCallbacks *cb, Job **ret, Err *err);

/** Do these credentials open the registry? `domain`: "docker.io". -EACCES: no. */
int job_login(Jobs *j, const char *domain, const json_t *auth, const char *rules, const JobCallbacks *cb, Job **ret, Err *err);

/*
 * Users.
 */

typedef struct JobSaveItem {
	const char *id;        /* "sha256:…" */
	char *const *tags;     /* normalised; may be empty */
} JobSaveItem;

/** Writes a docker archive that is an OCI layout too (as docker 25 does). Takes ownership of fd (a file, pipe or socket). */
int job_save(Jobs *j, const JobSaveItem *items, size_t n_items, int fd, const JobCallbacks *cb, Job **ret, Err *err);

/** Sends images to a `ship-receive` at the other end of the connection, a stream socket. Starts at once. Takes ownership of fd. */
int job_ship_send(Jobs *j, const JobSaveItem *items, size_t n_items, int fd, const JobCallbacks *cb, Job **ret, Err *err);

/**
 * Fills a new named volume with what the image has at `path`, as docker does: owner, mode, times,
 * xattrs and hard links kept, the directory's own attributes put on `dst`. A path that the image has not,
 * or that is no directory, leaves dst as it is (result.copied is false). `layers`: layer names, bottom first.
 */
int job_copy_up(Jobs *j, char *const *layers, const char *path, const char *dst, const JobCallbacks *cb, Job **ret,
	Err *err);

/**
 * Removes a tree below the state directory (absolute path): moves it out of sight at once (so that the name is free
 * when this returns) and deletes it in the background; one worker takes all that has gathered. -ENOENT is success.
 */
int job_remove_tree(Jobs *j, const char *path, Err *err);

/**
 * Removes layers and blobs that the store does not refer to (see JobRefsFn), and all temporary files that no running
 * job owns. Waits for running makers. Call it at start and after images were removed.
 */
int job_sweep(Jobs *j, const JobCallbacks *cb, Job **ret, Err *err);
/** Would a sweep that is asked for now wait for what takes its time: something that makes an image, or a slow reader? */
bool jobs_delay_sweep(const Jobs *j);
