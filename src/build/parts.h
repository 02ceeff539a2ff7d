// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the parts of a build share. Private to the room.
 *
 * A build is one thread. Each stage runs its steps until one has to wait, for an answer of the daemon (a base image, a RUN
 * instruction), for another stage or for a lock; then the next stage's turn comes. So independent stages run side by side as far as
 * it pays: in the daemon's containers.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/time.h"
#include "build/cache.h"
#include "build/cache-dir.h"
#include "build/context.h"
#include "build/layer.h"
#include "build/options.h"
#include "build/tree.h"
#include "build/view.h"
#include "dockerfile/check.h"
#include "dockerfile/config.h"
#include "dockerfile/dockerfile.h"
#include "dockerfile/graph.h"
#include "dockerfile/ignore.h"
#include "dockerfile/scope.h"
#include "image/fetch.h"
#include "image/layers.h"

typedef struct Build Build;
typedef struct BuildStage BuildStage;
typedef struct RunStep RunStep;

/** Layers on top of each other, and the chain of their digests (image-spec, "Layer ChainID"). */
typedef struct LayerStack {
	char **diff_ids; /* bottom first */
	int64_t *sizes;
	size_t n;
	char chain[DIGEST_HEX_MAX]; /* "" = none */
} LayerStack;

/** An image that was asked for. */
typedef struct BaseImage {
	char *ref, *platform;
	bool asked;
	int failed;    /* negative errno; `text` says why */
	char *text;
	char *id;      /* NULL: not known yet */
	char *config;  /* its configuration */
	char *arch;
	LayerStack layers;
} BaseImage;

struct BuildStage {
	const Stage *def;
	size_t index;
	const GraphStage *plan;  /* NULL: nothing needs it */
	bool done;
	size_t pc;               /* 0 = FROM, then triggers, then instructions */
	Instruction *triggers;
	size_t n_triggers;
	const Instruction *at;   /* the step that it is at */
	const Instruction *expanded;
	json_int_t step;         /* its number in events */
	size_t shown, total;     /* of the steps that people see: BuildKit's [stage 2/5] */
	int64_t began;           /* monotonic; 0 = not yet */
	json_t *doc;             /* image configuration */
	LayerStack layers;
	Scope *scope;            /* its variables; NULL before FROM is done */
	char *arch;
	ConfigState config;
	RunStep *run;            /* a RUN under way */
	bool locked_out;         /* waits for a lock that another build may hold */
	json_t *note;            /* for `why`, of the step under way */
	unsigned broken_line;    /* of the first step that was not cached, or 0 */
};

/** A directory of the client that has a name. */
typedef struct NamedContext {
	char *name;
	Context context;
} NamedContext;

/** What --from names: layers, or a directory of the client, which is open. Borrowed. */
typedef struct BuildSource {
	const LayerStack *layers;
	Context *context;
} BuildSource;

/** A record that is written when the layers that it names are on disk. */
typedef struct PendingRecord {
	char key[DIGEST_HEX_MAX];
	json_t *record;
} PendingRecord;

/** Caches of other machines: all NULL until they are asked (cache-import.c). */
typedef struct Imports {
	json_t *records; /* KEY → record */
	json_t *layers;  /* diff_id → {"dir", "blob"}; null: it was left behind. What has come is no longer in it */
	json_t *lists;   /* digest → the same */
	json_t *notes;   /* what steps depended on when the cache was exported */
	json_t *bad;     /* diff_ids whose blobs are not what they should be */
	int64_t bytes;   /* of what the records were read from */
	char *lost;      /* the layer that was just found to be so */
} Imports;

struct Build {
	BuildOptions o;
	int in;                  /* the daemon's answers */
	Buf in_buf;
	Store store;
	Cache cache;
	Context context;
	NamedContext **named;    /* those that were needed so far */
	size_t n_named;
	Fetcher *fetcher;        /* NULL: nothing is fetched, or it could not be started */
	Err fetcher_error;
	Dockerfile *file;
	Ignore *ignore;
	char *ignore_name;
	size_t warned;           /* of the file's warnings: those that the client has */
	Scope *globals;
	Graph *graph;
	char **context_names;    /* of named contexts */
	BuildStage *stages;
	size_t n_stages, target;
	BaseImage **images;
	size_t n_images;
	PendingRecord *pending;
	size_t n_pending;
	size_t running;          /* RUN requests without an answer */
	json_int_t steps, all_steps, requests;
	int64_t now;             /* seconds: of new directories and of the image */
	char created[TIME_TEXT_MAX];
	json_t *why;             /* what the report says of the steps */
	size_t *why_stages;      /* whose each of them is */
	size_t n_why_stages;
	Imports imports;
	json_t *used;            /* KEY → record of all that the build found or made, if it is exported */
	json_t *last, *notes;    /* what steps depended on: in the build before, and now */
};

/* What steps give: 0 done, 1 it waits. */
typedef int (*StepFn)(Build *b, BuildStage *s, const Instruction *i, Err *err);

/* ── build.c ──────────────────────────────────────────────────────── */

void layer_stack_push(LayerStack *l, const char *diff_id, int64_t size);
void layer_stack_copy(const LayerStack *from, LayerStack *to);
void layer_stack_done(LayerStack *l);
/** Opens the layers' directories, committed or staged. */
int build_view(Build *b, const LayerStack *l, View *ret, Err *err);
/** Where a layer's directory is, relative to the state directory. Owned by the caller. */
char *build_layer_path(const Build *b, const char *diff_id);
/** Commits what is staged, then writes the records that wait for it. */
int build_commit(Build *b, Err *err);
/** Tells of the file's warnings that are new. -EINVAL where the file says that they are errors. */
int build_warn(Build *b, Err *err);
/** The context's list is there after this. */
int build_context(Build *b, Err *err);
/** Its hash is there: what stands for all that is in it, times too. */
int build_open_context(Build *b, Err *err);

/** Of a stage that begins anew, or at the end. */
void build_stage_done(BuildStage *s);

/* ── daemon.c: what is asked of the daemon ────────────────────────── */

/** An event for the client. Takes ownership. */
void build_event(json_t *event);
/** 0: *ret is borrowed; 1: it is not known yet. */
int build_image(Build *b, const char *ref, const char *platform, const BaseImage **ret, Err *err);
/** Waits for a line and takes it in; with `timeout` (ms, -1 = none) 1: nothing came. */
int build_wait(Build *b, int timeout, Err *err);

/* ── from.c ───────────────────────────────────────────────────────── */

/** What --from names in an instruction: a stage, an image or a named context. 0; 1: it is not there yet. */
int build_source(Build *b, const BuildStage *s, const Instruction *i, const char *name, BuildSource *ret, Err *err);

/* ── stage.c ──────────────────────────────────────────────────────── */

/** Runs steps until one waits. 1: something was done. */
int build_stage_advance(Build *b, BuildStage *s, Err *err);

/* ── steps ────────────────────────────────────────────────────────── */

int step_from(Build *b, BuildStage *s, const Instruction *i, Err *err);
int step_run(Build *b, BuildStage *s, const Instruction *i, Err *err);
int step_copy(Build *b, BuildStage *s, const Instruction *i, Err *err);
void run_step_free(Build *b, RunStep *r);
/** A RUN's answer has come. Borrowed. */
void run_step_answer(Build *b, const json_t *answer);

/* ── what steps do with their results ─────────────────────────────── */

/** The cached result of a step: 1: its layers are on the stage, history and events written; 0: there is none. */
int step_cached(Build *b, BuildStage *s, const char *key, Err *err);
/** May the cache be looked at for this stage? */
bool step_may_reuse(const Build *b, const BuildStage *s);
/** A record that this build has made and not yet written, or one of the cache, behind {"same": …}. The caller's; or NULL. */
json_t *step_record(Build *b, const char *key);
/** The layers that a record names, as they are here or can be had. 1, or 0 if one is missing. */
int step_record_layers(Build *b, const json_t *record, LayerStack *ret);
/** On disk, committed or staged. ret_size (may be NULL) is set for those that are committed. */
bool build_has_layer(Build *b, const char *diff_id, int64_t *ret_size);
/**
 * The step's result is these layers, on top of the stage's; it is kept under `key`. The first `reused` of them were
 * there before. `extra`: further members of the record, or NULL; taken over.
 */
void step_made(Build *b, BuildStage *s, const char *key, const LayerStack *made, size_t reused, json_t *extra);
/** What is under `same` is also under `key`. `extra`: further members of the record, or NULL; taken over. */
void step_alias(Build *b, const char *key, const char *same, json_t *extra);
/** The record is written once the layers that it names are on disk. Takes ownership. */
void step_keep(Build *b, const char *key, json_t *record);
/** The record as it is, an alias too. The caller's; or NULL. */
json_t *step_find(Build *b, const char *key);
/** A record of this key has served: what was imported is kept here, and an export takes it along. */
void step_found(Build *b, const char *key);
/** How many of them people see as steps. */
size_t step_count_shown(const BuildStage *s, const Instruction *list, size_t n);
/** The step is done: history and events. */
void step_end(Build *b, BuildStage *s, const char *created, size_t layers, int64_t bytes, bool cached);

/* ── owner.c ──────────────────────────────────────────────────────── */

/** Ids of a --chown or USER value, names looked up in the image's own files. */
int build_owner(const View *v, const char *text, uint32_t *ret_uid, uint32_t *ret_gid, Err *err);
/** The home directory of a user of the image; owned by the caller. */
char *build_home(const View *v, uint32_t uid);

/* ── why.c ────────────────────────────────────────────────────────── */

/** What kept a step from being cached: compares `inputs` (see why.c) with those of the last build. Takes ownership. */
void why_inputs(Build *b, BuildStage *s, json_t *inputs);
void why_step(Build *b, BuildStage *s, bool cached, int64_t bytes, double seconds);
void why_load(Build *b);
void why_save(Build *b);
/** "NAME=value"s as the notes have them: by the values' digests, since caches are exported with their notes. New reference. */
json_t *why_variables(char *const *v);
/** The stage begins anew: what was said of it is not so. */
void why_forget(Build *b, const BuildStage *s);

/* ── cache-import.c, cache-export.c ───────────────────────────────── */

void imports_done(Imports *i);
/** Which build a cache is of: the image's repository, Dockerfile, target and platform. */
void cache_identity(const Build *b, char ret[DIGEST_HEX_MAX]);
/** The caller's, or NULL. */
json_t *import_record(Build *b, const char *key);
/** Borrowed, or NULL. */
const json_t *import_note(Build *b, const char *place);
bool import_has_layer(Build *b, const char *diff_id);
/** Fetches what is not here yet. Where that fails, import_retry may help. */
int import_layers(Build *b, const LayerStack *l, Err *err);
/** True: a layer could not be had, and the stages that stand on it begin anew; the error is dealt with. */
bool import_retry(Build *b, Err *err);
/** A list of files by its digest, from here or from what is imported. */
int build_list(Build *b, const char *hex, Entries *ret);
/** A record that is exported with the build. Borrowed. */
void export_note(Build *b, const char *key, json_t *record);
int export_caches(Build *b, Err *err);
