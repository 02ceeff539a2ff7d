// SPDX-License-Identifier: Apache-2.0
/*
 * Piece by piece (image/ship-cut.h). What follows in the old layer on what was matched last is tried first, since it makes the
 * longest copies; then a piece of the same hash anywhere. A hash is believed: old contents are not read for what has not changed, and should two
 * differ after all, the receiver finds that the layer's digest is wrong. A header that changed is told by its difference from the header that the same
 * path had. Contents that match nothing gather in a gap, until a match, the file's end or 1 MiB ends it; a gap is told as a patch
 * (image/ship-patch.h) of the old bytes where its own are likely to have been: around where the matches beside it lie, or in the
 * old file of the same path, or of a path that is the same but for a hash or version in it.
 *
 * Patching what is really new is in vain and costs time: after some gaps that gained nothing no more is tried, until a match
 * or an old file says where to look.
 */
#include "image/ship-encode.h"

#include <errno.h>

#include "base/mem.h"
#include "image/ship-cut.h"
#include "image/ship-patch.h"

#define CHUNK (256U << 10)
#define WINDOW_MAX (2U << 20)
#define MARGIN_MIN (8U << 10)
#define MARGIN_MAX (512U << 10)
#define BARREN_MAX 2
#define HEADER_READ_MAX (64U << 10)

/* A place in an old layer. */
typedef struct Place {
	bool known;
	uint32_t base;
	uint64_t pos;
} Place;

typedef struct Encoder {
	const ShipEncodeOptions *o;
	ShipEmitter *emitter;
	ShipPatcher *patcher;
	Place next;              /* what follows the last match */
	const ShipOldFile *file; /* the old one of the entry we are in; NULL = none */
	uint64_t file_done;      /* contents of the entry so far */
	uint64_t hash;           /* of the piece; padding has none */
	Buf gap;
	int barren;
	uint8_t *window;         /* WINDOW_MAX + some */
	/* while a patch is made */
	uint32_t base;
	uint64_t window_pos;
	size_t gained;
	Place patched;           /* where its last piece ended */
} Encoder;

static bool is_near(const Encoder *e, uint32_t base)
{
	return !e->o->old[base].far;
}

/* n bytes of an old layer into e->window. 1: done; 0: it has not so many there. */
static int read_old(Encoder *e, uint32_t base, uint64_t pos, size_t n, Err *err)
{
	uint64_t size = e->o->old[base].size;
	if (n > WINDOW_MAX || pos > size || n > size - pos)
		return 0;
	int r = e->o->read_old(e->o->user, base, pos, e->window, n, err);
	return r < 0 ? r : 1;
}

/* 1: the old bytes there are these. */
static int same_as(Encoder *e, uint32_t base, uint64_t pos, const void *p, size_t n, Err *err)
{
	int r = read_old(e, base, pos, n, err);
	return r == 1 ? memcmp(e->window, p, n) == 0 : r;
}

static void copy(Encoder *e, uint32_t base, uint64_t pos, size_t n)
{
	segment_copy(ship_emitter_segment(e->emitter), base, pos, n);
	e->next = (Place) { true, base, pos + n };
	e->barren = 0;
}

/* Gaps. */

static void patch_add(void *user, size_t at, size_t from, size_t n)
{
	Encoder *e = user;
	uint64_t pos = e->window_pos + from;
	segment_add(ship_emitter_segment(e->emitter), e->base, pos, e->gap.data + at, e->window + from, n);
	e->gained += n;
	e->patched = (Place) { true, e->base, pos + n };
}

static void patch_extra(void *user, size_t at, size_t n)
{
	Encoder *e = user;
	segment_literal(ship_emitter_segment(e->emitter), e->gap.data + at, n);
}

/* From where to where in which old layer the gap is looked for; false: nowhere. `next`: the match behind it. */
static bool choose_window(const Encoder *e, const Place *next, uint32_t *ret_base, uint64_t *ret_from, uint64_t *ret_to, uint64_t *ret_guess)
{
	uint64_t n = e->gap.len, margin = n / 2 < MARGIN_MIN ? MARGIN_MIN : n / 2 > MARGIN_MAX ? MARGIN_MAX : n / 2, from, to;
	const ShipOldFile *f = e->file && is_near(e, e->file->base) ? e->file : NULL;
	bool before = e->next.known && is_near(e, e->next.base), after = next->known && is_near(e, next->base);
	if (before) {
		*ret_base = e->next.base;
		*ret_guess = from = e->next.pos;
		to = from + n;
		if (after && next->base == e->next.base && next->pos > from && next->pos - from < WINDOW_MAX - 2 * MARGIN_MIN)
			to = next->pos;
	} else if (after) {
		*ret_base = next->base;
		to = next->pos;
		*ret_guess = from = to > n ? to - n : 0;
	} else if (f) {
		uint64_t begin = e->file_done - n;
		*ret_base = f->base;
		*ret_guess = from = f->contents + (begin < f->size ? begin : f->size);
		to = from + n;
	} else {
		return false;
	}
	from = from > margin ? from - margin : 0;
	to += margin;
	/* A small file is looked through as a whole. */
	if (f && f->base == *ret_base && f->size <= WINDOW_MAX - 4 * MARGIN_MIN) {
		uint64_t low = from < f->contents ? from : f->contents, high = to > f->contents + f->size ? to : f->contents + f->size;
		if (high - low <= WINDOW_MAX) {
			from = low;
			to = high;
		} else if (!before || *ret_guess < f->contents || *ret_guess > f->contents + f->size) {
			from = f->contents;
			to = f->contents + f->size;
			*ret_guess = from;
		}
	}
	uint64_t size = e->o->old[*ret_base].size;
	to = to > size ? size : to;
	if (to > from && to - from > WINDOW_MAX)
		to = from + WINDOW_MAX;
	*ret_from = from;
	*ret_to = to;
	return to > from;
}

static int patch_gap(Encoder *e, const Place *next, Err *err)
{
	uint64_t from, to, guess;
	if (e->barren >= BARREN_MAX || !choose_window(e, next, &e->base, &from, &to, &guess))
		return 0;
	int r = read_old(e, e->base, from, (size_t) (to - from), err);
	if (r <= 0)
		return r;
	e->window_pos = from;
	e->gained = 0;
	e->patched = (Place) { 0 };
	ship_patch(e->patcher, (const uint8_t *) e->gap.data, e->gap.len, e->window, (size_t) (to - from), guess > from ? (size_t) (guess - from) : 0,
		&(ShipPatchOps) { patch_add, patch_extra, e });
	e->barren = e->gained > e->gap.len / 16 ? 0 : e->barren + 1;
	if (e->patched.known)
		e->next = e->patched;
	return 1;
}

static int end_gap(Encoder *e, const Place *next, Err *err)
{
	if (!e->gap.len)
		return 0;
	int r = patch_gap(e, next, err);
	if (r < 0)
		return r;
	if (r == 0)
		segment_literal(ship_emitter_segment(e->emitter), e->gap.data, e->gap.len);
	buf_clear(&e->gap);
	return ship_emitter_flush(e->emitter, false, err);
}

static int add_to_gap(Encoder *e, const ShipPiece *p, Err *err)
{
	static const Place nowhere = { 0 };
	if (e->gap.len + p->n > SEGMENT_GAP_MAX) {
		int r = end_gap(e, &nowhere, err);
		if (r < 0)
			return r;
	}
	buf_append(&e->gap, p->data, p->n);
	return 0;
}

/* Pieces. */

/* 1: it follows on the last match. */
static int goes_on(Encoder *e, const ShipPiece *p, Err *err)
{
	if (e->gap.len || !e->next.known)
		return 0;
	const ShipChunk *c = ship_index_at(e->o->index, e->next.base, e->next.pos);
	int r = c ? c->hash == e->hash && c->len == p->n && p->kind != SHIP_PADDING : 0;
	if (!c && is_near(e, e->next.base)) /* padding, or the middle of a piece */
		r = same_as(e, e->next.base, e->next.pos, p->data, p->n, err);
	if (r == 1)
		copy(e, e->next.base, e->next.pos, p->n);
	return r;
}

/* 1: a piece of the same hash is somewhere. */
static int is_elsewhere(Encoder *e, const ShipPiece *p, Err *err)
{
	const ShipChunk *c = ship_index_chunk(e->o->index, e->hash, p->n);
	if (!c)
		return 0;
	int r = end_gap(e, &(Place) { true, c->base, c->pos }, err);
	if (r < 0)
		return r;
	copy(e, c->base, c->pos, p->n);
	return 1;
}

/* A header by its difference from the old one of the same path, where the two are of one length. */
static int header_as_difference(Encoder *e, const ShipPiece *p, Err *err)
{
	const ShipOldFile *f = e->file;
	size_t n = f && f->contents - f->header <= HEADER_READ_MAX ? (size_t) (f->contents - f->header) : 0;
	if (n == 0 || !is_near(e, f->base))
		return 0;
	int r = read_old(e, f->base, f->header, n, err);
	if (r <= 0)
		return r;
	/* In any case the contents may go on where the old ones were. */
	e->next = (Place) { true, f->base, f->contents };
	e->barren = 0;
	if (n != p->n) {
		segment_literal(ship_emitter_segment(e->emitter), p->data, p->n);
		return 1;
	}
	if (memcmp(e->window, p->data, n) == 0)
		segment_copy(ship_emitter_segment(e->emitter), f->base, f->header, n);
	else
		segment_header(ship_emitter_segment(e->emitter), f->base, f->header, p->data, e->window, n);
	return 1;
}

static int encode_header(Encoder *e, const ShipPiece *p, Err *err)
{
	int r = goes_on(e, p, err);
	if (r != 0)
		return r;
	if ((r = header_as_difference(e, p, err)) != 0)
		return r;
	if ((r = is_elsewhere(e, p, err)) != 0)
		return r;
	segment_literal(ship_emitter_segment(e->emitter), p->data, p->n);
	return 0;
}

static int encode_contents(Encoder *e, const ShipPiece *p, Err *err)
{
	int r = goes_on(e, p, err);
	if (r == 0 && p->kind == SHIP_CONTENTS)
		r = is_elsewhere(e, p, err);
	return r == 0 ? add_to_gap(e, p, err) : r;
}

static void enter_file(Encoder *e, const ShipPiece *p)
{
	e->file = ship_index_file(e->o->index, ship_hash_path(p->path, 0));
	if (!e->file)
		e->file = ship_index_like(e->o->index, ship_hash_path(p->path, 1));
	e->file_done = 0;
}

static int encode_piece(Encoder *e, ShipPiece *p, Err *err)
{
	int r = p->kind == SHIP_HEADER ? end_gap(e, &(Place) { 0 }, err) : 0;
	if (r < 0)
		return r;
	if (p->kind == SHIP_HEADER)
		enter_file(e, p);
	e->hash = ship_piece_hash(p);
	if (e->o->made)
		ship_index_put(e->o->made, p, e->hash);
	/* What is there already: its end may lie within a piece. */
	if (p->pos + p->n <= e->o->from) {
		e->file_done += p->kind == SHIP_CONTENTS ? p->n : 0;
		return 0;
	}
	if (p->pos < e->o->from) {
		size_t there = (size_t) (e->o->from - p->pos);
		p->data += there;
		p->n -= there;
		p->kind = p->kind == SHIP_HEADER ? SHIP_PADDING : p->kind;
		e->hash = ship_piece_hash(p);
		e->file_done += p->kind == SHIP_CONTENTS ? there : 0;
	}
	if (p->kind == SHIP_CONTENTS)
		e->file_done += p->n;
	r = p->kind == SHIP_HEADER ? encode_header(e, p, err) : encode_contents(e, p, err);
	return r < 0 ? r : ship_emitter_flush(e->emitter, false, err);
}

static int check_size(uint64_t size, uint64_t expected, Err *err)
{
	return size == expected ? 0 : err_set(err, -EIO, "the layer has %llu bytes, %llu were expected", (unsigned long long) size,
					      (unsigned long long) expected);
}

static int encode_all(Encoder *e, Stream *tar, Err *err)
{
	ShipPiece p;
	uint64_t size = 0;
	int r;
	ShipCutter *c __attribute__((cleanup(ship_cutter_freep))) = ship_cutter_new(tar);
	while ((r = ship_cutter_next(c, &p, err)) == 1) {
		size += p.n;
		if ((r = encode_piece(e, &p, err)) < 0)
			return r;
	}
	if (r < 0 || (r = check_size(size, e->o->tar_size, err)) < 0 || (r = end_gap(e, &(Place) { 0 }, err)) < 0)
		return r;
	return ship_emitter_flush(e->emitter, true, err);
}

int ship_encode_delta(Stream *tar, const ShipEncodeOptions *o, ShipEmitter *emitter, Err *err)
{
	Encoder e = { .o = o, .emitter = emitter, .patcher = ship_patcher_new(), .window = xmalloc(WINDOW_MAX) };
	int r = encode_all(&e, tar, err);
	ship_patcher_free(e.patcher);
	buf_done(&e.gap);
	free(e.window);
	return r;
}

/* Passes over what the other side has. */
static int skip_to(Stream *tar, uint64_t from, char *chunk, Err *err)
{
	while (from) {
		ssize_t n = stream_read(tar, chunk, from < CHUNK ? (size_t) from : CHUNK, err);
		if (n < 0)
			return (int) n;
		if (n == 0)
			return err_set(err, -EIO, "the layer is shorter than it was");
		from -= (uint64_t) n;
	}
	return 0;
}

int ship_encode_whole(Stream *tar, uint64_t tar_size, uint64_t from, ShipEmitter *e, Err *err)
{
	AUTO_FREE char *chunk = xmalloc(CHUNK);
	int r = skip_to(tar, from, chunk, err);
	ssize_t n = 0;
	uint64_t pos = from;
	while (r == 0 && (n = stream_read(tar, chunk, CHUNK, err)) > 0) {
		pos += (uint64_t) n;
		segment_literal(ship_emitter_segment(e), chunk, (size_t) n);
		r = ship_emitter_flush(e, false, err);
	}
	if (r < 0 || n < 0)
		return r < 0 ? r : (int) n;
	r = check_size(pos, tar_size, err);
	return r < 0 ? r : ship_emitter_flush(e, true, err);
}
