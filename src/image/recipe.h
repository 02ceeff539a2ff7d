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
 *
 * The stream is several zstd frames of some RECIPE_FRAME bytes of records each, and each can be read alone: what it says of a file
 * begins with an 'N'. Behind them a skippable frame (RFC 8878, 3.1.2) has the table of frames, by which the tar can be read
 * anywhere (image/recipe-map.h): for each its packed length and the length of its records (32 bits), the bytes of the tar that
 * it makes (64 bits); at the end XXH3 of these (64 bits), the number of frames and RECIPE_TABLE (32 bits each). A recipe without it is of an older stead.
 */

#include <stdint.h>

#include "base/err.h"
#include "image/stream.h"

#define RECIPE_FRAME (256U << 10)
#define RECIPE_SKIPPABLE 0x184D2A5EU
#define RECIPE_TABLE 0x54455243U
#define RECIPE_TABLE_ENTRY 16
#define RECIPE_TABLE_TAIL 16
#define RECIPE_RECORD 17 /* bytes of a record, before what follows it */

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
/** Writes the same recipe as it is written now, with a table, into `out`. */
int recipe_convert(int fd, int out, Err *err);
