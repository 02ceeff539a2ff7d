// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The members of an image archive by name, and what the readers of its forms share.
 */

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
	int fd; /* owned */
	ArchiveMember *members; /* by name, then offset */
	size_t n;
} ArchiveIndex;

/** Takes ownership of fd, a plain tar from `base` on. */
int archive_index_read(int fd, uint64_t base, ArchiveIndex *ret, Err *err);
void archive_index_done(ArchiveIndex *a);
/** A regular member, links followed; NULL if it is not there. Borrowed. */
const ArchiveMember *archive_index_find(const ArchiveIndex *a, const char *name);
/** Its contents, at most LIMIT_MANIFEST_BYTES. */
int archive_index_get(const ArchiveIndex *a, const char *name, Buf *ret, Err *err);

/**
 * Stages an image's layers and configuration. `members`: names of the layers, bottom first; `digests` (or NULL): of
 * the bytes as stored, "" where none is known.
 */
int archive_stage_image(Store *s, const ArchiveIndex *a, const Buf *config, char *const *members, char *const *digests, size_t n,
	Image **ret, Err *err);
/** Takes ownership of image. */
void archive_add_image(ImageList *l, Image *image);
