// SPDX-License-Identifier: Apache-2.0
/*
 * The writer merges what continues and turns "MTIME, then a copy that is at least as long as the entry" into ENTRY: in an image
 * that was built again with other times each file then costs its time alone. Both work on tar headers as bytes (POSIX ustar): a
 * header that the reader could not make exactly so is never written as MTIME or HEADER but as ADD.
 */
#include "image/ship-segment.h"

#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"

#define BLOCK 512U
#define HEADER_MAX (16U * BLOCK)

/* Fields of a header block (POSIX ustar). */
enum { F_SIZE = 124, F_MTIME = 136, F_SUM = 148 };
#define OCTAL_DIGITS 11

/* Varints. */

void varint_write(Buf *b, uint64_t n)
{
	while (n >= 0x80) {
		buf_char(b, (char) (n | 0x80));
		n >>= 7;
	}
	buf_char(b, (char) n);
}

void varint_write_signed(Buf *b, int64_t n)
{
	varint_write(b, ((uint64_t) n << 1) ^ (uint64_t) (n >> 63));
}

/* A column that is being read. */
typedef struct Column {
	const uint8_t *p;
	size_t left;
} Column;

static int damaged(Err *err, const char *what)
{
	return err_set(err, -EPROTO, "a segment is damaged: %s", what);
}

static int varint_read(Column *c, uint64_t *ret, Err *err)
{
	uint64_t n = 0;
	for (unsigned shift = 0; c->left && shift < 64; shift += 7) {
		uint8_t byte = *c->p++;
		c->left--;
		if (shift == 63 && byte > 1)
			break;
		n |= (uint64_t) (byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = n;
			return 0;
		}
	}
	return damaged(err, "a number is cut off or too long");
}

static int varint_read_signed(Column *c, int64_t *ret, Err *err)
{
	uint64_t n;
	int r = varint_read(c, &n, err);
	if (r == 0)
		*ret = (int64_t) (n >> 1) ^ -(int64_t) (n & 1);
	return r;
}

/* Headers. */

static bool octal_read(const uint8_t *p, uint64_t *ret)
{
	uint64_t n = 0;
	for (int i = 0; i < OCTAL_DIGITS; i++) {
		if (p[i] < '0' || p[i] > '7')
			return false;
		n = n << 3 | (uint64_t) (p[i] - '0');
	}
	*ret = n;
	return true;
}

static void octal_write(uint8_t *p, uint64_t n, int digits)
{
	for (int i = digits; i-- > 0; n >>= 3)
		p[i] = (uint8_t) ('0' + (n & 7));
}

static void header_sum(uint8_t *block)
{
	unsigned sum = 8 * ' ';
	for (unsigned i = 0; i < BLOCK; i++)
		sum += i >= F_SUM && i < F_SUM + 8 ? 0 : block[i];
	octal_write(block + F_SUM, sum, 6);
	block[F_SUM + 6] = '\0';
	block[F_SUM + 7] = ' ';
}

static bool header_set_time(uint8_t *block, uint64_t mtime)
{
	uint64_t old;
	if (mtime >> (3 * OCTAL_DIGITS) || !octal_read(block + F_MTIME, &old))
		return false;
	octal_write(block + F_MTIME, mtime, OCTAL_DIGITS);
	header_sum(block);
	return true;
}

/* Contents and padding that follow the header. */
static bool header_contents(const uint8_t *block, uint64_t *ret)
{
	uint64_t size;
	if (!octal_read(block + F_SIZE, &size))
		return false;
	*ret = (size + BLOCK - 1) / BLOCK * BLOCK;
	return true;
}

/* Writing. */

struct SegmentWriter {
	Buf ops, lens, seeks, runs, diff, literals;
	uint64_t output;
	uint32_t base;
	uint64_t *positions; /* of each base used so far */
	uint32_t n_positions;
	uint64_t copy;       /* a COPY from the position before `copy` bytes on, not yet written */
	uint64_t literal;    /* bytes of `literals` that are not yet an op */
	int64_t mtime;
	bool entry;          /* the last op is MTIME, and this many bytes of the entry may follow: */
	uint64_t entry_contents;
	uint64_t same, other; /* runs not yet written */
};

SegmentWriter *segment_writer_new(void)
{
	return xcalloc(1, sizeof(SegmentWriter));
}

static void columns_clear(SegmentWriter *w, void (*clear)(Buf *b))
{
	Buf *all[] = { &w->ops, &w->lens, &w->seeks, &w->runs, &w->diff, &w->literals };
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		clear(all[i]);
}

void segment_writer_free(SegmentWriter *w)
{
	if (!w)
		return;
	columns_clear(w, buf_done);
	free(w->positions);
	free(w);
}

static uint64_t *position(SegmentWriter *w)
{
	while (w->n_positions <= w->base)
		(void) array_append(w->positions, w->n_positions);
	return &w->positions[w->base];
}

static void write_op(SegmentWriter *w, SegmentOp op)
{
	buf_char(&w->ops, (char) op);
	w->entry = false;
}

/* Writes what is still open. */
static void settle(SegmentWriter *w)
{
	if (w->copy && w->entry && w->copy >= w->entry_contents) {
		w->ops.data[w->ops.len - 1] = SEGMENT_ENTRY;
		w->copy -= w->entry_contents;
		w->entry = false;
	}
	if (w->copy) {
		write_op(w, SEGMENT_COPY);
		varint_write(&w->lens, w->copy);
	}
	if (w->literal) {
		write_op(w, SEGMENT_LITERAL);
		varint_write(&w->lens, w->literal);
	}
	w->copy = w->literal = 0;
}

static void seek_to(SegmentWriter *w, uint32_t base, uint64_t offset)
{
	settle(w);
	if (base != w->base) {
		write_op(w, SEGMENT_BASE);
		varint_write(&w->lens, base);
		w->base = base;
	}
	uint64_t *pos = position(w);
	if (*pos != offset) {
		write_op(w, SEGMENT_SEEK);
		varint_write_signed(&w->seeks, (int64_t) (offset - *pos));
		*pos = offset;
	}
}

void segment_literal(SegmentWriter *w, const void *p, size_t n)
{
	if (!n)
		return;
	if (!w->literal)
		settle(w);
	buf_append(&w->literals, p, n);
	w->literal += n;
	w->output += n;
}

void segment_copy(SegmentWriter *w, uint32_t base, uint64_t offset, uint64_t n)
{
	if (!n)
		return;
	bool goes_on = !w->literal && base == w->base && *position(w) == offset;
	if (!goes_on)
		seek_to(w, base, offset);
	w->copy += n;
	*position(w) += n;
	w->output += n;
}

static void write_run(SegmentWriter *w)
{
	varint_write(&w->runs, w->same);
	varint_write(&w->runs, w->other);
	w->same = w->other = 0;
}

static void write_difference(SegmentWriter *w, const uint8_t *new, const uint8_t *old, size_t n)
{
	for (size_t i = 0; i < n;) {
		size_t k = i;
		while (k < n && new[k] == old[k])
			k++;
		if (k > i && w->other)
			write_run(w);
		w->same += k - i;
		for (i = k; i < n && new[i] != old[i]; i++) {
			buf_char(&w->diff, (char) (new[i] - old[i]));
			w->other++;
		}
	}
}

static void write_add(SegmentWriter *w, SegmentOp op, const void *new, const void *old, size_t n)
{
	write_op(w, op);
	varint_write(&w->lens, n);
	write_difference(w, new, old, n);
	*position(w) += n;
	w->output += n;
}

void segment_add(SegmentWriter *w, uint32_t base, uint64_t offset, const void *new, const void *old, size_t n)
{
	if (!n)
		return;
	seek_to(w, base, offset);
	write_add(w, SEGMENT_ADD, new, old, n);
}

static bool write_mtime(SegmentWriter *w, const void *new, const void *old)
{
	uint8_t block[BLOCK];
	uint64_t mtime;
	memcpy(block, old, BLOCK);
	if (!octal_read((const uint8_t *) new + F_MTIME, &mtime) || !header_set_time(block, mtime) || memcmp(block, new, BLOCK) != 0)
		return false;
	write_op(w, SEGMENT_MTIME);
	varint_write_signed(&w->seeks, (int64_t) mtime - w->mtime);
	w->mtime = (int64_t) mtime;
	w->entry = header_contents(block, &w->entry_contents);
	if (w->entry && w->entry_contents == 0) {
		w->ops.data[w->ops.len - 1] = SEGMENT_ENTRY;
		w->entry = false;
	}
	*position(w) += BLOCK;
	w->output += BLOCK;
	return true;
}

void segment_header(SegmentWriter *w, uint32_t base, uint64_t offset, const void *new, const void *old, size_t n)
{
	uint8_t block[BLOCK], fixed[BLOCK];
	seek_to(w, base, offset);
	if (n == BLOCK && write_mtime(w, new, old))
		return;
	if (n < BLOCK || n > HEADER_MAX || n % BLOCK) {
		write_add(w, SEGMENT_ADD, new, old, n);
		return;
	}
	const uint8_t *last = (const uint8_t *) new + n - BLOCK, *old_last = (const uint8_t *) old + n - BLOCK;
	memcpy(block, last, BLOCK);
	memcpy(fixed, last, BLOCK);
	header_sum(fixed);
	if (memcmp(fixed, last, BLOCK) != 0) {
		write_add(w, SEGMENT_ADD, new, old, n);
		return;
	}
	memcpy(block + F_SUM, old_last + F_SUM, 8); /* the same as the old one's, as far as differences go */
	write_op(w, SEGMENT_HEADER);
	varint_write(&w->lens, n);
	write_difference(w, new, old, n - BLOCK);
	write_difference(w, block, old_last, BLOCK);
	*position(w) += n;
	w->output += n;
}

uint64_t segment_output(const SegmentWriter *w)
{
	return w->output;
}

size_t segment_size(const SegmentWriter *w)
{
	return w->ops.len + w->lens.len + w->seeks.len + w->runs.len + w->diff.len + w->literals.len;
}

size_t segment_literals(const SegmentWriter *w)
{
	return w->literals.len;
}

void segment_finish(SegmentWriter *w, Buf *ret)
{
	const Buf *all[] = { &w->ops, &w->lens, &w->seeks, &w->runs, &w->diff, &w->literals };
	settle(w);
	if (w->same || w->other)
		write_run(w);
	varint_write(ret, w->output);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		varint_write(ret, all[i]->len);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		buf_append(ret, all[i]->data, all[i]->len);
	columns_clear(w, buf_clear);
	w->output = 0;
	w->base = 0;
	w->n_positions = 0;
	free_and_null(&w->positions);
	w->mtime = 0;
	w->entry = false;
}

/* Reading. */

enum { C_OPS, C_LENS, C_SEEKS, C_RUNS, C_DIFF, C_LITERALS, N_COLUMNS };

struct SegmentReader {
	SegmentBaseFn fn;
	void *user;
	uint32_t n_bases;
	Column columns[N_COLUMNS];
	uint64_t output; /* still to come */
	uint32_t base;
	uint64_t *positions; /* n_bases */
	SegmentOp op;        /* LITERAL, COPY or ADD, with what is left of it */
	uint64_t left;
	int64_t mtime;
	uint64_t same, other;
	uint8_t block[HEADER_MAX]; /* a header that was made */
	size_t block_len, block_done;
};

SegmentReader *segment_reader_new(SegmentBaseFn fn, void *user, uint32_t n_bases)
{
	SegmentReader *r = xcalloc(1, sizeof(*r));
	r->fn = fn;
	r->user = user;
	r->n_bases = n_bases;
	r->positions = xcalloc(n_bases ? n_bases : 1, sizeof(*r->positions));
	return r;
}

void segment_reader_free(SegmentReader *r)
{
	if (!r)
		return;
	free(r->positions);
	free(r);
}

int segment_reader_open(SegmentReader *r, const void *p, size_t n, uint64_t *ret_output, Err *err)
{
	Column c = { p, n };
	uint64_t lens[N_COLUMNS], output;
	int e;
	if (n > SEGMENT_MAX)
		return damaged(err, "it is too large");
	if ((e = varint_read(&c, &output, err)) < 0)
		return e;
	for (int i = 0; i < N_COLUMNS; i++)
		if ((e = varint_read(&c, &lens[i], err)) < 0)
			return e;
	for (int i = 0; i < N_COLUMNS; i++) {
		if (lens[i] > c.left)
			return damaged(err, "a column is cut off");
		r->columns[i] = (Column) { c.p, (size_t) lens[i] };
		c.p += lens[i];
		c.left -= (size_t) lens[i];
	}
	if (c.left)
		return damaged(err, "something follows it");
	if (output == 0 || output > LIMIT_LAYER_BYTES)
		return damaged(err, "its length is none");
	r->output = output;
	r->base = 0;
	memset(r->positions, 0, (r->n_bases ? r->n_bases : 1) * sizeof(*r->positions));
	r->left = r->same = r->other = 0;
	r->mtime = 0;
	r->block_len = r->block_done = 0;
	*ret_output = output;
	return 0;
}

/* n bytes of the base from its position on. */
static int read_base(SegmentReader *r, void *p, size_t n, Err *err)
{
	if (r->n_bases == 0)
		return damaged(err, "it refers to an old layer where there is none");
	uint64_t *pos = &r->positions[r->base];
	if (*pos > LIMIT_LAYER_BYTES)
		return damaged(err, "a position is outside the old layer");
	int e = r->fn(r->user, r->base, *pos, p, n, err);
	if (e == 0)
		*pos += n;
	return e;
}

/* Adds the differences for the next n bytes. */
static int apply_difference(SegmentReader *r, uint8_t *p, size_t n, Err *err)
{
	Column *diff = &r->columns[C_DIFF];
	for (size_t i = 0; i < n;) {
		if (!r->same && !r->other) {
			int e = varint_read(&r->columns[C_RUNS], &r->same, err);
			if (e < 0 || (e = varint_read(&r->columns[C_RUNS], &r->other, err)) < 0)
				return e;
			if (!r->same && !r->other)
				return damaged(err, "an empty run");
		}
		if (r->same) {
			size_t k = r->same < n - i ? (size_t) r->same : n - i;
			r->same -= k;
			i += k;
			continue;
		}
		size_t k = r->other < n - i ? (size_t) r->other : n - i;
		if (k > diff->left)
			return damaged(err, "differences are missing");
		for (size_t j = 0; j < k; j++)
			p[i + j] = (uint8_t) (p[i + j] + diff->p[j]);
		diff->p += k;
		diff->left -= k;
		r->other -= k;
		i += k;
	}
	return 0;
}

static int make_header(SegmentReader *r, Err *err)
{
	uint64_t n;
	int e = varint_read(&r->columns[C_LENS], &n, err);
	if (e < 0)
		return e;
	if (n < BLOCK || n > HEADER_MAX || n % BLOCK || n > r->output)
		return damaged(err, "a header's length is none");
	if ((e = read_base(r, r->block, (size_t) n, err)) < 0 || (e = apply_difference(r, r->block, (size_t) n, err)) < 0)
		return e;
	header_sum(r->block + n - BLOCK);
	r->block_len = (size_t) n;
	r->block_done = 0;
	return 0;
}

static int make_mtime(SegmentReader *r, bool contents, Err *err)
{
	int64_t change;
	uint64_t n = 0;
	int e = varint_read_signed(&r->columns[C_SEEKS], &change, err);
	if (e < 0)
		return e;
	if (r->output < BLOCK)
		return damaged(err, "a header does not fit");
	if ((e = read_base(r, r->block, BLOCK, err)) < 0)
		return e;
	r->mtime = (int64_t) ((uint64_t) r->mtime + (uint64_t) change);
	if (r->mtime < 0 || !header_set_time(r->block, (uint64_t) r->mtime) || (contents && !header_contents(r->block, &n)))
		return damaged(err, "a header is none");
	r->block_len = BLOCK;
	r->block_done = 0;
	r->op = SEGMENT_COPY;
	r->left = n;
	return 0;
}

static int change_base(SegmentReader *r, Err *err)
{
	uint64_t n;
	int e = varint_read(&r->columns[C_LENS], &n, err);
	if (e == 0 && n >= r->n_bases)
		e = damaged(err, "it refers to an old layer that is none");
	if (e == 0)
		r->base = (uint32_t) n;
	return e;
}

static int move_position(SegmentReader *r, Err *err)
{
	int64_t change;
	int e = varint_read_signed(&r->columns[C_SEEKS], &change, err);
	if (e == 0 && r->n_bases == 0)
		e = damaged(err, "it refers to an old layer where there is none");
	if (e == 0)
		r->positions[r->base] += (uint64_t) change;
	return e;
}

/* The next op, until one gives bytes. */
static int next_op(SegmentReader *r, Err *err)
{
	Column *ops = &r->columns[C_OPS];
	int e;
	if (!ops->left)
		return damaged(err, "it ends early");
	r->op = *ops->p++;
	ops->left--;
	switch (r->op) {
	case SEGMENT_LITERAL:
	case SEGMENT_COPY:
	case SEGMENT_ADD:
		if ((e = varint_read(&r->columns[C_LENS], &r->left, err)) < 0)
			return e;
		return r->left && r->left <= r->output ? 0 : damaged(err, "a length is none");
	case SEGMENT_MTIME:
		return make_mtime(r, false, err);
	case SEGMENT_ENTRY:
		if ((e = make_mtime(r, true, err)) < 0)
			return e;
		return r->left <= r->output - BLOCK ? 0 : damaged(err, "an entry is too long");
	case SEGMENT_HEADER:
		return make_header(r, err);
	case SEGMENT_SEEK:
		return move_position(r, err);
	case SEGMENT_BASE:
		return change_base(r, err);
	}
	return damaged(err, "an unknown operation");
}

static int read_piece(SegmentReader *r, void *p, size_t n, Err *err)
{
	Column *literals = &r->columns[C_LITERALS];
	int e;
	if (r->op == SEGMENT_LITERAL) {
		if (n > literals->left)
			return damaged(err, "bytes are missing");
		memcpy(p, literals->p, n);
		literals->p += n;
		literals->left -= n;
	} else if ((e = read_base(r, p, n, err)) < 0 || (r->op == SEGMENT_ADD && (e = apply_difference(r, p, n, err)) < 0)) {
		return e;
	}
	r->left -= n;
	return 0;
}

ssize_t segment_read(SegmentReader *r, void *p, size_t n, Err *err)
{
	int e;
	if (n > r->output)
		n = (size_t) r->output;
	if (n == 0)
		return 0;
	while (!r->left && r->block_done == r->block_len)
		if ((e = next_op(r, err)) < 0)
			return e;
	if (r->block_done < r->block_len) {
		if (n > r->block_len - r->block_done)
			n = r->block_len - r->block_done;
		memcpy(p, r->block + r->block_done, n);
		r->block_done += n;
	} else {
		if (n > r->left)
			n = (size_t) r->left;
		if ((e = read_piece(r, p, n, err)) < 0)
			return e;
	}
	r->output -= n;
	return (ssize_t) n;
}
