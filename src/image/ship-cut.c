// SPDX-License-Identifier: Apache-2.0
#include "image/ship-cut.h"

#include <ctype.h>
#include <errno.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/tar.h"

#define READ_AHEAD (4 * SHIP_CHUNK_MAX)
/* Normalised chunking, level 2: the cut is made harder before the average length and easier after it. */
#define MASK_HARD (((1ULL << 17) - 1) << 47)
#define MASK_EASY (((1ULL << 13) - 1) << 51)

/* A random number for each byte: splitmix64 from 0. Part of SHIP_CUT_VERSION. */
static const uint64_t *gear(void)
{
	static uint64_t table[256];
	if (!table[0])
		for (uint64_t i = 0, state = 0; i < 256; i++) {
			uint64_t z = state += 0x9e3779b97f4a7c15ULL;
			z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
			z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
			table[i] = z ^ (z >> 31);
		}
	return table;
}

/** Where contents are cut: the length of the first chunk of n bytes; all of them if there is no cut. */
static size_t ship_chunk_length(const uint8_t *p, size_t n)
{
	const uint64_t *g = gear();
	if (n <= SHIP_CHUNK_MIN)
		return n;
	size_t max = n < SHIP_CHUNK_MAX ? n : SHIP_CHUNK_MAX, middle = max < SHIP_CHUNK_AVERAGE ? max : SHIP_CHUNK_AVERAGE;
	uint64_t h = 0;
	size_t i = SHIP_CHUNK_MIN;
	for (; i < middle; i++) {
		h = (h << 1) + g[p[i]];
		if (!(h & MASK_HARD))
			return i + 1;
	}
	for (; i < max; i++) {
		h = (h << 1) + g[p[i]];
		if (!(h & MASK_EASY))
			return i + 1;
	}
	return max;
}

uint64_t ship_hash(const void *p, size_t n)
{
	return XXH3_64bits(p, n);
}

uint64_t ship_piece_hash(const ShipPiece *p)
{
	return p->kind == SHIP_PADDING ? 0 : ship_hash(p->data, p->n);
}

uint64_t ship_hash_path(const char *path, int loose)
{
	AUTO_BUF b = BUF_INIT;
	while (path[0] == '.' && path[1] == '/')
		path += 2;
	if (!loose)
		return XXH3_64bits(path, strlen(path));
	for (const char *p = path; *p;) {
		size_t word = 0, digits = 0;
		while (isxdigit((unsigned char) p[word]))
			digits += isdigit((unsigned char) p[word++]) != 0;
		/* A hash, or part of a version; another number tells one file from the next. */
		bool version = digits && digits == word && ((p > path && p[-1] == '.') || (p[word] == '.' && isdigit((unsigned char) p[word + 1])));
		if (version || (digits && word >= 6)) {
			buf_char(&b, '#');
			p += word;
		} else {
			buf_append(&b, p, word ? word : 1);
			p += word ? word : 1;
		}
	}
	return XXH3_64bits(buf_cstr(&b), b.len);
}

/* The cutter. */

struct ShipCutter {
	Stream *s;
	TarReader *tar;
	Buf raw;          /* what stands between contents, not yet given out */
	size_t raw_used;  /* of it, the last piece */
	uint64_t pos;
	bool contents;    /* inside an entry */
	bool ended;       /* behind the last entry */
	bool given;       /* the end of contents was seen */
	char *path;
	uint64_t size;
	bool header;      /* raw holds an entry's header */
	uint8_t *chunk;   /* READ_AHEAD: contents read ahead, */
	size_t len, used; /* of which so much was given out */
};

static void keep_raw(void *user, const void *p, size_t n)
{
	ShipCutter *c = user;
	buf_append(&c->raw, p, n);
}

ShipCutter *ship_cutter_new(Stream *tar)
{
	ShipCutter *c = xcalloc(1, sizeof(*c));
	c->s = tar;
	c->tar = tar_reader_new(tar, keep_raw, c);
	c->chunk = xmalloc(READ_AHEAD);
	return c;
}

void ship_cutter_free(ShipCutter *c)
{
	if (!c)
		return;
	tar_reader_free(c->tar);
	buf_done(&c->raw);
	free(c->path);
	free(c->chunk);
	free(c);
}

void ship_cutter_freep(ShipCutter **c)
{
	ship_cutter_free(*c);
}

static int give(ShipCutter *c, ShipPiece *ret, ShipPieceKind kind, const void *p, size_t n)
{
	*ret = (ShipPiece) { .kind = kind, .data = p, .n = n, .pos = c->pos };
	if (kind == SHIP_HEADER) {
		ret->path = c->path;
		ret->size = c->size;
	}
	c->pos += n;
	return 1;
}

/* Of what stands between contents: first what fills the block, then the rest. */
static int give_raw(ShipCutter *c, ShipPiece *ret)
{
	size_t padding = (size_t) (-c->pos % TAR_BLOCK);
	bool whole = padding == 0 || padding >= c->raw.len;
	c->raw_used = whole ? c->raw.len : padding;
	return give(c, ret, c->header && padding == 0 ? SHIP_HEADER : SHIP_PADDING, c->raw.data, c->raw_used);
}

static ssize_t read_contents(ShipCutter *c, void *p, size_t n, Err *err)
{
	uint64_t offset;
	return c->ended ? stream_read(c->s, p, n, err) : tar_read(c->tar, p, n, &offset, err);
}

/* 1: a chunk; 0: there are no more contents. */
static int give_contents(ShipCutter *c, ShipPiece *ret, Err *err)
{
	if (c->len - c->used < SHIP_CHUNK_MAX && !c->given) {
		memmove(c->chunk, c->chunk + c->used, c->len - c->used);
		c->len -= c->used;
		c->used = 0;
	}
	while (c->len - c->used < SHIP_CHUNK_MAX && !c->given) {
		ssize_t n = read_contents(c, c->chunk + c->len, READ_AHEAD - c->len, err);
		if (n < 0)
			return (int) n;
		c->given = n == 0;
		c->len += (size_t) n;
	}
	if (c->len == c->used)
		return 0;
	const uint8_t *p = c->chunk + c->used;
	size_t n = ship_chunk_length(p, c->len - c->used);
	c->used += n;
	return give(c, ret, SHIP_CONTENTS, p, n);
}

static int next_entry(ShipCutter *c, Err *err)
{
	const TarEntry *e;
	int r = tar_next(c->tar, &e, err);
	if (r < 0)
		return r;
	c->header = r == 1;
	c->ended = r == 0; /* what follows the end is contents of nothing */
	str_set(&c->path, c->header ? e->path : NULL);
	c->size = c->header ? e->stored : 0;
	c->contents = true;
	c->given = false;
	return 0;
}

int ship_cutter_next(ShipCutter *c, ShipPiece *ret, Err *err)
{
	int r;
	buf_consume(&c->raw, c->raw_used);
	c->raw_used = 0;
	for (;;) {
		if (c->raw.len)
			return give_raw(c, ret);
		if (c->contents) {
			if ((r = give_contents(c, ret, err)) != 0)
				return r;
			c->contents = false;
			if (c->ended)
				return 0;
			/* The padding of the last entry comes with the next header. */
		}
		if (c->ended)
			return 0;
		if ((r = next_entry(c, err)) < 0)
			return r;
	}
}
