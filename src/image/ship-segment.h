// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A segment says how some bytes of a layer's tar come about: from old layers ("bases", by number) that both sides
 * have, and from bytes that it carries. It stands alone: what is predicted begins anew with each. What is of one kind
 * stands together, since it compresses better so:
 *
 *   varints: length of the output, then of each column: ops, lens, seeks, runs, diff, literals
 *   the columns
 *
 *   op (a byte)  takes from                  gives
 *   LITERAL n    lens, literals              n bytes
 *   COPY n       lens                        n bytes of the base from its position on
 *   ADD n        lens, runs, diff            n bytes of the base, to which differences are added (bsdiff's way); runs says how many
 *                                            bytes are the same, how many are not, in turns, going on from one ADD to the next
 *   MTIME        seeks                       a tar header of 512 bytes: the base's, with another time and the checksum for it
 *   ENTRY        seeks                       as MTIME; then of the base the contents and padding that the header announces
 *   HEADER n     lens, runs, diff            as ADD, then the checksum of the last 512 bytes is put right
 *   SEEK         seeks                       moves the base's position (signed)
 *   BASE         lens                        another base; each has a position of its own, 0 at first
 *
 * Varints are LEB128, signed ones zigzag. MTIME's number is the difference to the time that MTIME set before, 0 at first.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

#define SEGMENT_TARGET (1U << 20)  /* writers end one that has grown to this */
#define SEGMENT_MAX (4U << 20)     /* bytes of one: refused */
#define SEGMENT_GAP_MAX (1U << 20) /* longest LITERAL or ADD that writers make */

typedef enum SegmentOp { SEGMENT_LITERAL, SEGMENT_COPY, SEGMENT_ADD, SEGMENT_MTIME, SEGMENT_ENTRY, SEGMENT_HEADER, SEGMENT_SEEK, SEGMENT_BASE } SegmentOp;

void varint_write(Buf *b, uint64_t n);
void varint_write_signed(Buf *b, int64_t n);

/* Writing. Offsets are positions in the base's tar; the writer makes SEEK and BASE of them. */

typedef struct SegmentWriter SegmentWriter;

SegmentWriter *segment_writer_new(void);
void segment_writer_free(SegmentWriter *w);
void segment_literal(SegmentWriter *w, const void *p, size_t n);
void segment_copy(SegmentWriter *w, uint32_t base, uint64_t offset, uint64_t n);
void segment_add(SegmentWriter *w, uint32_t base, uint64_t offset, const void *new, const void *old, size_t n);
/** One header piece of n bytes (a multiple of 512): finds the shortest of MTIME, HEADER and ADD. */
void segment_header(SegmentWriter *w, uint32_t base, uint64_t offset, const void *new, const void *old, size_t n);
/** Bytes of output so far, and what the segment takes (carried bytes; literals among them). */
uint64_t segment_output(const SegmentWriter *w);
size_t segment_size(const SegmentWriter *w);
size_t segment_literals(const SegmentWriter *w);
/** Appends the segment and begins the next. */
void segment_finish(SegmentWriter *w, Buf *ret);

/* Reading. */

/** n bytes of base `base` from `offset`; a range that is not there is an error. */
typedef int (*SegmentBaseFn)(void *user, uint32_t base, uint64_t offset, void *p, size_t n, Err *err);

typedef struct SegmentReader SegmentReader;

/** `n_bases`: numbers below it are bases. */
SegmentReader *segment_reader_new(SegmentBaseFn fn, void *user, uint32_t n_bases);
void segment_reader_free(SegmentReader *r);
/** A segment, which must stay until it has been read. Hostile: -EPROTO. ret_output: how many bytes it will give. */
int segment_reader_open(SegmentReader *r, const void *p, size_t n, uint64_t *ret_output, Err *err);
/** Up to n bytes, 0 at the end; -EPROTO, or what the base's reader gave. */
ssize_t segment_read(SegmentReader *r, void *p, size_t n, Err *err);
