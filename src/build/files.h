// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The mirror of build contexts: contents of files by their SHA-256, STATE/build/files/HH/HEX. Several contexts, and
 * several builds of one, share it without locks: a file appears whole, by rename, or not at all. What a killed worker has not finished
 * is among the temporary files, for the next sweep. It is a cache: what is missing or damaged (a power cut leaves short files) is asked for again.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "image/sha256.h"

typedef struct Files {
	int dir; /* STATE/build/files */
	int tmp; /* STATE/tmp */
} Files;

int files_open(int state, Files *ret, Err *err);
void files_close(Files *f);

/** Is it there, with that size? Marks it as used. */
bool files_has(Files *f, const char *hex, int64_t size);
/** Reading; -ENOENT. */
int files_read(Files *f, const char *hex);
/** Takes a damaged one away. */
void files_drop(Files *f, const char *hex);

/** A file that is being written. */
typedef struct FilesWriter {
	Files *files;
	int fd; /* -1 = none */
	char tmp[48];
	Sha256 sum;
	int64_t size;
} FilesWriter;

#define FILES_WRITER_INIT { .fd = -1 }

int files_begin(Files *f, FilesWriter *ret, Err *err);
int files_append(FilesWriter *w, const void *p, size_t n, Err *err);
/** Puts it in place; gives its hash. */
int files_finish(FilesWriter *w, char ret_hex[DIGEST_HEX_MAX], Err *err);
/** Forgets one that is not finished. */
void files_abort(FilesWriter *w);
#define AUTO_FILES_WRITER __attribute__((cleanup(files_abort))) FilesWriter
