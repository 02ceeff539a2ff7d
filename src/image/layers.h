// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The image part of the state directory (see image/job.h), as workers change it. What is made is
 * staged under tmp/ and appears all at once with store_commit: one syncfs(2), renames, fsync of the
 * directories; so no name ever stands for something that a power cut could leave empty. A layer's
 * directory is renamed last: where it is, its side files are.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "image/stream.h"
#include "image/unpack.h"

typedef struct StagedLayer {
	char *diff_id;
	char *tmp; /* name under tmp/: tmp/NAME/{root,recipe} */
} StagedLayer;

typedef struct StagedBlob {
	char *hex;
	char *tmp;
} StagedBlob;

typedef struct Store {
	char *path; /* the state directory */
	int state, layers, blobs, tmp;
	int lock; /* tmp/lock: shared by all that make, held alone by a sweep */
	StagedLayer *staged;
	size_t n_staged;
	StagedBlob *blobs_staged;
	size_t n_blobs_staged;
	int64_t staged_bytes; /* of files in the staged layers */
	pthread_mutex_t mutex; /* of the list of staged layers: several threads may stage one each. Zero is its initial state. */
} Store;

typedef struct LayerInfo {
	int64_t size;     /* bytes of files */
	int64_t tar_size; /* of the tar that its recipe makes */
} LayerInfo;

/** Opens (and makes, 0700) the directories. */
int store_open(const char *state_dir, Store *ret, Err *err);
/** Removes what is staged, closes. */
void store_close(Store *s);
#define AUTO_STORE __attribute__((cleanup(store_close))) Store

/** 1: the layer is there; 0: it is not. Another layer under the same name (a collision of its first 128 bits) is an error. */
int store_layer(Store *s, const char *diff_id, LayerInfo *ret, Err *err);
/** The layer's directory (O_PATH). */
int store_open_layer(Store *s, const char *diff_id, Err *err);
/** Its tar, bit for bit; read it to the end through stream_hash and compare. */
int store_layer_tar(Store *s, const char *diff_id, Stream **ret, Err *err);

/** Gives a fresh stream of the same (maybe compressed) bytes; called again when a layer needs a second pass. */
typedef int (*StoreOpenFn)(void *user, Stream **ret, Err *err);

typedef struct StageOptions {
	const char *diff_id; /* expected; NULL = whatever it is */
	bool whole;          /* the end marker must be there (nothing else tells that the tar was not cut off) */
} StageOptions;

/**
 * Unpacks a layer into tmp/. ret_diff_id gets its digest. A layer that is there already or staged is
 * checked and dropped.
 */
int store_stage_layer(Store *s, StoreOpenFn open, void *user, const StageOptions *o,
	char ret_diff_id[sizeof(DIGEST_PREFIX) + 64], LayerInfo *ret, Err *err);
/** A directory tmp/RANDOM/ with root/ in it, for a layer that is made in place; then store_stage_made. ret_name: under tmp/. */
int store_stage_begin(Store *s, char **ret_name, Err *err);
/** tmp/NAME/root and tmp/NAME/recipe are a layer now. Takes ownership of `name`. */
int store_stage_made(Store *s, char *name, const char *diff_id, const LayerInfo *info, Err *err);
/** A blob; its digest is computed. ret_hex (may be NULL): 65 bytes. */
int store_stage_blob(Store *s, const void *p, size_t n, char *ret_hex, Err *err);
int store_read_blob(Store *s, const char *digest, Buf *ret, Err *err);
/** An unnamed file under tmp/. */
int store_temp_file(Store *s, Err *err);
int store_commit(Store *s, Err *err);
/** -EDQUOT if the layers here, those that are staged and `more` bytes are more than the quota (STEAD_IMAGE_QUOTA in the environment, bytes; none = no quota). */
int store_check_quota(Store *s, int64_t more, Err *err);
/** "no space left …" with what is free, for any write below the state directory. */
int store_write_failed(Store *s, int code, const char *what, Err *err);
