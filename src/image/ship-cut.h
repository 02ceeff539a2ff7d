// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Cuts a layer's tar where its parts are: headers, contents of files, padding; contents again where they themselves say so (FastCDC,
 * Xia et al. 2016, with normalised chunking), anew in each file. What did not change is so cut the same in the next version, wherever
 * it stands then. Pieces together are the whole tar.
 *
 * SHIP_CUT_VERSION changes with anything that makes pieces or hashes differ: kept indexes carry it.
 */

#include <stdint.h>

#include "base/err.h"
#include "image/stream.h"

#define SHIP_CUT_VERSION 1
#define SHIP_CHUNK_MIN (8U << 10)
#define SHIP_CHUNK_AVERAGE (32U << 10)
#define SHIP_CHUNK_MAX (128U << 10)

typedef enum ShipPieceKind { SHIP_PADDING, SHIP_HEADER, SHIP_CONTENTS } ShipPieceKind;

typedef struct ShipPiece {
	ShipPieceKind kind;
	const uint8_t *data;
	size_t n;           /* > 0 */
	uint64_t pos;       /* in the tar */
	const char *path;   /* HEADER: of the entry */
	uint64_t size;      /* HEADER: contents that follow */
} ShipPiece;

typedef struct ShipCutter ShipCutter;

/** `tar` is borrowed. */
ShipCutter *ship_cutter_new(Stream *tar);
void ship_cutter_free(ShipCutter *c);
void ship_cutter_freep(ShipCutter **c);
/** 1: the next piece, valid until the next call; 0: the end. */
int ship_cutter_next(ShipCutter *c, ShipPiece *ret, Err *err);

/** Of a piece; padding has none (0). */
uint64_t ship_hash(const void *p, size_t n);
uint64_t ship_piece_hash(const ShipPiece *p);
/** Of a path; `loose`: of its hashes and versions only that they are there ("main.3f2a9c1b.js", "libx.so.1.2.3"). */
uint64_t ship_hash_path(const char *path, int loose);
