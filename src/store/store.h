// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What must outlive the daemon: stacks and what is wanted of them, containers, networks, volumes and
 * images, in SQLite (STATE-DIR/state.db, WAL, synchronous=FULL). One daemon alone uses a state
 * directory: store_open holds a lock on STATE-DIR/lock until store_close.
 *
 * Each write is durable when it returns, which costs an fsync; between store_begin and store_commit
 * any number of writes cost one together, and all or none of them survive a crash. All calls are
 * synchronous; loading is for the start, afterwards the daemon works from its own memory.
 *
 * Errors, each with the database's path and what to do in its text: -ENOSPC the disk is full, -EIO it cannot be read or written or is
 * damaged, -EACCES no permission or a read-only file system, -EEXIST a name or id is taken, -ENOENT no such row, -EINVAL a value that
 * the schema refuses, -EBUSY somebody else holds the state.
 *
 * Text columns: UTF-8; NULL strings are stored as NULL. Times are real-time ns, 0 = never.
 * x_load gives all rows in an array that the caller frees with x_free (which takes NULL and 0).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "model/image.h"

typedef struct Store Store;

/** Makes the directory if it is missing, takes the lock, opens or makes the database, migrates it. -EBUSY: another daemon runs (its pid is named). */
int store_open(const char *state_dir, Store **ret, Err *err);
/** NULL is fine. An open transaction is rolled back. */
void store_close(Store *s);

/** Groups the following writes into one commit. Not nested. */
int store_begin(Store *s, Err *err);
/** On failure everything since store_begin has been rolled back. */
int store_commit(Store *s, Err *err);
/** Nothing happens when no transaction is open, so it may stand in every clean-up. */
void store_rollback(Store *s);

/** A small value by name ("boot_id", "last_subnet"); `*ret` is NULL when there is none, else the caller's. */
int store_meta_get(Store *s, const char *key, char **ret, Err *err);
/** NULL deletes. */
int store_meta_set(Store *s, const char *key, const char *value, Err *err);

/* ---- stacks ---- */

typedef struct StoreStack {
	char *name;
	char *model; /* canonical JSON (model/stack.h) */
	char **files;
	int64_t created;
	bool down; /* `down` was begun: what is left of it goes */
} StoreStack;

/** Inserts or replaces (then `created` stays as it was). */
int store_stack_put(Store *s, const StoreStack *v, Err *err);
/** No such stack: done. */
int store_stack_delete(Store *s, const char *name, Err *err);
int store_stacks_load(Store *s, StoreStack **ret, size_t *ret_n, Err *err);
void store_stacks_free(StoreStack *v, size_t n);

/* ---- containers ---- */

typedef struct StoreContainer {
	/* Fixed by store_container_insert. */
	char *id;   /* 64 hex digits */
	char *name; /* unique; see store_container_rename */
	char *stack, *service;
	int number; /* 1, 2, … within the service */
	bool oneoff;
	char *config_hash;
	char *image_id;
	char *service_json; /* the service as it was (model/stack.h service_to_json) */
	int64_t created;
	/* Written by store_container_runtime. */
	char *runtime_json; /* what the daemon fixed: addresses, mounts, ports, labels … */
	/* Written by store_container_state. */
	bool wanted_running; /* else stopped */
	char *phase;         /* "creating", "created", "starting", "running", "stopping", "exited", "removing" */
	pid_t pid;           /* 0 = none */
	int64_t started_at, finished_at;
	int exit_code;
	bool oom_killed;
	int restart_count;
	char *error;
	char *health; /* text of the daemon's; NULL = no check */
} StoreContainer;

/** -EEXIST: the id or the name is taken. */
int store_container_insert(Store *s, const StoreContainer *c, Err *err);
/** Writes the state columns. -ENOENT. */
int store_container_state(Store *s, const StoreContainer *c, Err *err);
int store_container_runtime(Store *s, const char *id, const char *runtime_json, Err *err);
/** -ENOENT, -EEXIST. */
int store_container_rename(Store *s, const char *id, const char *name, Err *err);
/** No such container: done. */
int store_container_delete(Store *s, const char *id, Err *err);
/** In order of creation. */
int store_containers_load(Store *s, StoreContainer **ret, size_t *ret_n, Err *err);
void store_containers_free(StoreContainer *v, size_t n);
/** Frees what it owns, not the struct. */
void store_container_done(StoreContainer *c);

/* ---- networks and volumes ---- */

typedef struct StoreNetwork {
	char *name; /* unique */
	char *id;   /* 64 hex digits, unique */
	char *stack, *key; /* NULL: made outside of a stack */
	char *driver;
	bool internal, attachable;
	char *subnet, *gateway; /* "10.89.0.0/24", "10.89.0.1" */
	char *ip_range;         /* CIDR, or NULL */
	char *bridge;           /* interface */
	char **labels;          /* "key=value" */
	int64_t created;
} StoreNetwork;

/** -EEXIST. */
int store_network_insert(Store *s, const StoreNetwork *v, Err *err);
int store_network_delete(Store *s, const char *name, Err *err);
int store_networks_load(Store *s, StoreNetwork **ret, size_t *ret_n, Err *err);
void store_networks_free(StoreNetwork *v, size_t n);

typedef struct StoreVolume {
	char *name; /* unique */
	char *stack, *key;
	char *driver;
	char **labels;
	bool anonymous;
	char *container; /* anonymous: the id of the container it was made for */
	int64_t created;
} StoreVolume;

/** -EEXIST. */
int store_volume_insert(Store *s, const StoreVolume *v, Err *err);
int store_volume_delete(Store *s, const char *name, Err *err);
int store_volumes_load(Store *s, StoreVolume **ret, size_t *ret_n, Err *err);
void store_volumes_free(StoreVolume *v, size_t n);

/* ---- images ---- */

/** Inserts or replaces the image and its layers, and moves its tags to it. */
int store_image_put(Store *s, const Image *i, Err *err);
/** With its layers' rows and tags. No such image: done. */
int store_image_delete(Store *s, const char *id, Err *err);
/** Points `ref` to the image, away from another one. -EINVAL: no such image. */
int store_tag_put(Store *s, const char *ref, const char *image_id, Err *err);
/** No such tag: done. */
int store_tag_delete(Store *s, const char *ref, Err *err);
/** Images with layers and tags. One whose configuration cannot be read any more is left out, with a warning in the log. */
int store_images_load(Store *s, Image ***ret, size_t *ret_n, Err *err);
void store_images_free(Image **v, size_t n);

/* ---- releases ---- */

typedef struct StoreRelease {
	char *stack;
	int number;    /* 1, 2, … within the stack */
	char *kind;    /* "deploy", "rollback" or "up" */
	char *result;  /* "running", "success", "failed", "interrupted" or "rolled back" */
	bool current;  /* the stack is this one: at most one of a stack is */
	int base;      /* the release it was to replace; 0 = none */
	int source;    /* rollback: the release whose content it has; else 0 */
	int64_t created, ended;
	char *who, *commit, *author; /* or NULL */
	char *changes; /* JSON, see daemon/release.h */
	char *images;  /* JSON object: service → image id */
	char **files;  /* sha-256 digests (hex) of the files that it holds */
	/* Only from store_release_load. */
	char *model;   /* canonical JSON (model/stack.h) */
	char *made;    /* JSON: networks and volumes made for it, which go with it if it fails */
	char *report;  /* JSON, or NULL while it runs */
} StoreRelease;

/** -EEXIST: the stack has that number. `report` is not written. */
int store_release_insert(Store *s, const StoreRelease *v, Err *err);
/** -ENOENT. */
int store_release_end(Store *s, const char *stack, int number, const char *result, int64_t ended, const char *report, Err *err);
int store_release_result(Store *s, const char *stack, int number, const char *result, Err *err);
/** This one, and no other of the stack. -ENOENT: the stack has no release. */
int store_release_set_current(Store *s, const char *stack, int number, Err *err);
/** No such release: done. */
int store_release_delete(Store *s, const char *stack, int number, Err *err);
int store_releases_delete(Store *s, const char *stack, Err *err);
/** In order of stack and number, of one stack or (NULL) of all. */
int store_releases_load(Store *s, const char *stack, StoreRelease **ret, size_t *ret_n, Err *err);
void store_releases_free(StoreRelease *v, size_t n);
/** One with all it holds; 1: there is none. `ret` is the caller's (store_release_done). */
int store_release_load(Store *s, const char *stack, int number, StoreRelease *ret, Err *err);
void store_release_done(StoreRelease *v);

/* ---- notices that wait ---- */

typedef struct StoreNotice {
	char *id;
	char *target; /* whom it is for, see daemon/notify-queue.h */
	char *stack;
	char *text;   /* JSON (notify/notice.h) */
	int64_t created;
} StoreNotice;

/** -EEXIST: it waits for this target already. */
int store_notice_insert(Store *s, const StoreNotice *v, Err *err);
/** No such notice: done. */
int store_notice_delete(Store *s, const char *id, const char *target, Err *err);
/** The oldest first. */
int store_notices_load(Store *s, StoreNotice **ret, size_t *ret_n, Err *err);
void store_notices_free(StoreNotice *v, size_t n);
