// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Recipe: what rebuilds a layer's tar, bit for bit, from its unpacked files. A saved archive must have
 * layers whose digests are those of the image's configuration, and a tar holds much that the files do
 * not tell (order, padding, header formats). Keeping the tar would double the disk; the recipe keeps
 * all of it but the contents of files, compressed, some 2 % of the layer.
 *
 * Format: a zstd stream of records, each a byte and two little-endian 64-bit numbers a, b:
 *   'R' a: a bytes of the tar follow
 *   'N' a: a bytes of a file's path in the layer follow
 *   'F' a b: b bytes of that file, from offset a, come here
 */

#include <stdint.h>

#include "base/err.h"
#include "image/stream.h"

typedef struct RecipeWriter RecipeWriter;

/** Writes to fd (borrowed). Errors are kept and come out of recipe_finish. */
RecipeWriter *recipe_writer_new(int fd);
void recipe_writer_free(RecipeWriter *w);
void recipe_writer_freep(RecipeWriter **w);
void recipe_raw(RecipeWriter *w, const void *p, size_t n);
/** The bytes that follow as segments are contents of this file. */
void recipe_file(RecipeWriter *w, const char *path);
void recipe_segment(RecipeWriter *w, uint64_t offset, uint64_t length);
int recipe_finish(RecipeWriter *w, Err *err);

/** The tar again. Both fds stay the caller's: the recipe (from its start) and the layer's directory. */
int recipe_open(int fd, int layerfd, Stream **ret, Err *err);
