// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Releases: all that makes a stack run, numbered, whole and immutable. A release holds its resolved model, the id of each service's
 * image, and the content of its configs and secrets: copies by digest, mode 0600, in STATE/files/sha256/HEX, which the model's file
 * sources point to. So a rollback needs neither today's tags nor today's files.
 *
 * A row is written before anything is done ("running"), and once more at the end. The release whose model the stack has is `current`.
 * Kept: the current one, as many more that succeeded as the services' deploy.keep says, and the failures since.
 */

#include <jansson.h>

#include "daemon/daemon.h"

#define RELEASES_FAILED_KEPT 20

typedef struct Release {
	int number, base, source;
	char *kind, *result;
	bool current;
	int64_t created;
	char *who, *commit, *author;
	Stack *model;
	char **images; /* "service=sha256:…" */
	char **new_networks, **new_volumes; /* made for it */
} Release;

void release_done(Release *r);

/**
 * Copies the configs and secrets that lie in files, and notes their digests in the model. `dry`: only notes. A file that cannot be read is an
 * error where a service of `services` (strv) uses it.
 */
int release_freeze(Daemon *d, Stack *model, char *const *services, bool dry, Err *err);
/** Path of a file source's content: the copy, or (none was made) the file itself. The caller's. */
char *release_file_path(const Daemon *d, const FileSource *f);
/**
 * Image ids of the services, strv of "service=id": of those in `services` what their reference means now, of the others what their containers
 * have. -ENOENT: a reference of `services` means nothing.
 */
int release_images(StackState *s, const Stack *model, char *const *services, char ***ret, Err *err);

/** The number that the next release of the stack gets. */
int release_next(Daemon *d, const char *stack, int *ret, Err *err);
/** Writes the row of what is about to be done, "running". Its changes are those from the current release; `current`: it is this from now on. */
int release_insert(Daemon *d, const char *stack, const Release *r, bool current, Err *err);
/** Writes how it ended. Takes ownership of `report`. */
int release_end(Daemon *d, const char *stack, int number, const char *result, json_t *report, Err *err);
/** Within the transaction that makes the release the stack's: also what a rollback leaves is marked so. */
int release_commit(Daemon *d, const char *stack, const Release *r, json_t *report, Err *err);
/** The one whose row says that it runs; 1: none does. */
int release_unfinished(Daemon *d, const char *stack, Release *ret, Err *err);
/** Names of the stacks with such a release, a strv. */
char **release_unfinished_stacks(Daemon *d);
/** 1: the stack has none. */
int release_current(Daemon *d, const char *stack, Release *ret, Err *err);
/** What `rollback` goes to: release `to`, or (0) the one that the current one replaced. -ENOENT with the nearest that exists. */
int release_target(Daemon *d, const char *stack, int to, Release *ret, Err *err);
/** The model and images are those of the current release. */
bool release_same(Daemon *d, const char *stack, const Stack *model, char *const *images);

/** After a success: drops what is beyond `keep`, then images and files that nothing needs any more. */
void release_trim(StackState *s);
/** Removes copies of files that no release refers to. */
void release_sweep_files(Daemon *d);
/** Some release that can be rolled back to needs the image: its stack's name and number. */
bool release_needs_image(Daemon *d, const char *image_id, char **ret_stack, int *ret_number);

/** Docs/API.md: the list of a stack (of one service, or NULL), and one release with its report. -ENOENT. New references. */
int release_list_json(Daemon *d, const char *stack, const char *service, json_t **ret, Err *err);
int release_show_json(Daemon *d, const char *stack, int number, json_t **ret, Err *err);
