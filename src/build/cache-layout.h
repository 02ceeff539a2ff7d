// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What an exported build cache looks like: an OCI image layout (image-spec, "Image Layout"), so that tools can move it about.
 * index.json names a manifest for each build that was exported there. Its config blob has the records (build/cache.h):
 *   {"records": {KEY: RECORD}, "notes": {…}}     notes: what the build's steps depended on (why.c)
 * Its layers are the layers that these name, packed by zstd, each with its diff_id as an annotation; and the lists of files of
 * COPYs. All of it is hostile: digests are compared, names are digests, and what does not fit is as good as missing.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "build/cache-dir.h"

#define CACHE_MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define CACHE_INDEX_TYPE "application/vnd.oci.image.index.v1+json"
#define CACHE_CONFIG_TYPE "application/vnd.stead.build-cache.v1+json"
#define CACHE_LAYER_TYPE "application/vnd.oci.image.layer.v1.tar+zstd"
#define CACHE_LIST_TYPE "application/vnd.stead.build-cache.list.v1+zstd"
#define CACHE_DIFF_ID "dev.stead.diff-id" /* annotations */
#define CACHE_LIST "dev.stead.list"
#define CACHE_NAME "org.opencontainers.image.ref.name"
#define CACHE_MANIFESTS_MAX 64
#define CACHE_MANIFESTS_BYTES (8U << 20) /* of all manifests of a directory: further ones are passed over */
#define CACHE_LAYERS_MAX 8192            /* of one manifest, lists with them */
#define CACHE_CONFIG_MAX (8U << 20)

typedef struct CacheManifest {
	json_t *descriptor; /* as index.json has it */
	json_t *manifest;   /* NULL: somebody else's, or damaged */
} CacheManifest;

typedef struct CacheLayout {
	CacheManifest *items;
	size_t n;
} CacheLayout;

/** 1: read; 0: nothing is there; negative: index.json cannot be read, or is none. */
int cache_layout_read(Context *c, const CacheDir *d, CacheLayout *ret, Err *err);
void cache_layout_done(CacheLayout *l);
#define AUTO_CACHE_LAYOUT __attribute__((cleanup(cache_layout_done))) CacheLayout

/** 64 hex digits, lower case. */
bool cache_hex_valid(const char *s);
/** The name of a descriptor's blob, or NULL if it has none that is valid. The caller's. */
char *cache_blob_name(const json_t *descriptor);
/** Its size; -1 if it says none. */
json_int_t cache_blob_size(const json_t *descriptor);
/** An annotation of a descriptor, or NULL. Borrowed. */
const char *cache_annotation(const json_t *descriptor, const char *key);
/** A blob of JSON of at most `max` bytes whose digest is right. New reference, or NULL with the reason. */
json_t *cache_blob_json(Context *c, const CacheDir *d, const json_t *descriptor, size_t max, Err *err);
/** A record with nothing but what a record has, or NULL if it is none. New reference. */
json_t *cache_record_clean(const json_t *record);
