// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The members of an image archive by name, and what the readers of its forms share.
 */

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "image/layers.h"
#include "image/report.h"
#include "image/tar.h"

typedef struct ArchiveMember {
	char *name; /* normal form: no "./" */
	char *link; /* another member that this one stands for, or NULL */
	uint64_t offset, size;
} ArchiveMember;

typedef struct ArchiveIndex {
	int fd; /* owned: the archive, or the directory of a layout */
	bool directory;
	ArchiveMember *members; /* by name, then offset; a directory's are looked up when they are asked for */
	size_t n;
} ArchiveIndex;

/** A plain tar that can be read anywhere, from ret_base on: fd itself (a duplicate), or an unnamed copy of what it gives. */
int archive_spool(Store *s, int fd, uint64_t *ret_base, Err *err);
/** Takes ownership of fd, a plain tar from `base` on. */
int archive_index_read(int fd, uint64_t base, ArchiveIndex *ret, Err *err);
void archive_index_done(ArchiveIndex *a);
/** A regular member, links followed; NULL if it is not there. Borrowed. */
const ArchiveMember *archive_index_find(const ArchiveIndex *a, const char *name);
bool archive_index_has(const ArchiveIndex *a, const char *name);
/** A member to be read; the stream is the caller's, and ends before the index does. */
int archive_index_open(const ArchiveIndex *a, const char *name, Stream **ret, uint64_t *ret_size, Err *err);
/** Its contents, at most LIMIT_MANIFEST_BYTES. */
int archive_index_get(const ArchiveIndex *a, const char *name, Buf *ret, Err *err);

typedef struct ArchiveImage {
	const Buf *config;
	char *const *members; /* of the layers, bottom first */
	char *const *digests; /* of their bytes as stored; "" or NULL where none is known */
	size_t n;
	char *const *tags;
} ArchiveImage;

/** Called for each image that a docker archive or an OCI layout names. What `image` has is borrowed. */
typedef int (*ArchiveImageFn)(void *user, const ArchiveIndex *a, const ArchiveImage *image, Err *err);
/** Of images for several platforms the one for this (Go's names) is taken. */
int archive_each_image(const ArchiveIndex *a, const char *arch, const char *variant, ArchiveImageFn fn, void *user, Err *err);

/**
 * Stages an image's layers and configuration. `members`: names of the layers, bottom first; `digests` (or NULL): of
 * the bytes as stored, "" where none is known.
 */
int archive_stage_image(Store *s, const ArchiveIndex *a, const Buf *config, char *const *members, char *const *digests, size_t n,
	Image **ret, Err *err);
/** Takes ownership of image. */
void archive_add_image(ImageList *l, Image *image);
