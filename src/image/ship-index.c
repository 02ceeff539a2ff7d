// SPDX-License-Identifier: Apache-2.0
#include "image/ship-index.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "image/ship-segment.h"
#include "model/image.h"

#define MAGIC "stdship"
#define HEAD 32
#define TAIL 8
#define INDEX_MAX (64U << 20) /* bytes of one index: refused */
#define CHUNKS_MAX 1000000U   /* in one ShipIndex, some 30 MB: further layers are left out */
#define FILES_MAX 400000U

static void put64(Buf *b, uint64_t n)
{
	n = htole64(n);
	buf_append(b, &n, sizeof(n));
}

static uint64_t get64(const void *p)
{
	uint64_t n;
	memcpy(&n, p, sizeof(n));
	return le64toh(n);
}

/* Writing. */

static void write_index(Buf *ret, uint64_t size, uint64_t pieces, uint64_t paths, const Buf *kinds, const Buf *hashes, const Buf *names)
{
	buf_append(ret, MAGIC, 7);
	buf_char(ret, SHIP_CUT_VERSION);
	put64(ret, size);
	put64(ret, pieces);
	put64(ret, paths);
	buf_append(ret, kinds->data, kinds->len);
	buf_append(ret, hashes->data, hashes->len);
	if (paths)
		buf_append(ret, names->data, names->len);
	put64(ret, ship_hash(ret->data, ret->len));
}

void ship_index_put(ShipIndexWriter *w, const ShipPiece *p, uint64_t hash)
{
	varint_write(&w->kinds, (uint64_t) p->n << 2 | p->kind);
	w->pieces++;
	w->size += p->n;
	if (p->kind != SHIP_PADDING)
		put64(&w->hashes, hash);
	if (p->kind != SHIP_HEADER)
		return;
	put64(&w->names, ship_hash_path(p->path, 0));
	put64(&w->names, ship_hash_path(p->path, 1));
	w->paths++;
}

void ship_index_finish(ShipIndexWriter *w, Buf *ret)
{
	write_index(ret, w->size, w->pieces, w->paths, &w->kinds, &w->hashes, &w->names);
	ship_index_writer_done(w);
}

void ship_index_writer_done(ShipIndexWriter *w)
{
	buf_done(&w->kinds);
	buf_done(&w->hashes);
	buf_done(&w->names);
	*w = (ShipIndexWriter) { 0 };
}

int ship_index_make(Stream *tar, Buf *ret, Err *err)
{
	AUTO(ship_index_writer_done) ShipIndexWriter w = { 0 };
	ShipPiece p;
	int r;
	ShipCutter *c __attribute__((cleanup(ship_cutter_freep))) = ship_cutter_new(tar);
	while ((r = ship_cutter_next(c, &p, err)) == 1)
		ship_index_put(&w, &p, ship_piece_hash(&p));
	if (r == 0)
		ship_index_finish(&w, ret);
	return r;
}

/* Reading. */

typedef struct Parsed {
	uint64_t size, pieces, paths;
	const uint8_t *kinds, *hashes, *names, *end;
} Parsed;

static int wrong(Err *err, const char *what)
{
	return err_set(err, -EPROTO, "an index of a layer is damaged: %s", what);
}

static const uint8_t *get_varint(const uint8_t *p, const uint8_t *end, uint64_t *ret)
{
	uint64_t n = 0;
	for (unsigned shift = 0; p < end && shift < 49; shift += 7) {
		uint8_t byte = *p++;
		n |= (uint64_t) (byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = n;
			return p;
		}
	}
	return NULL;
}

static int parse(const Buf *index, Parsed *ret, Err *err)
{
	const uint8_t *data = (const uint8_t *) buf_cstr(index), *end;
	uint64_t hashed = 0, headers = 0, size = 0;
	if (index->len < HEAD + TAIL || index->len > INDEX_MAX || memcmp(data, MAGIC, 7) != 0)
		return wrong(err, "it is none");
	if (data[7] != SHIP_CUT_VERSION)
		return wrong(err, "it is of another version of stead");
	end = data + index->len - TAIL;
	if (get64(end) != ship_hash(data, index->len - TAIL))
		return wrong(err, "its checksum is wrong");
	*ret = (Parsed) { .size = get64(data + 8), .pieces = get64(data + 16), .paths = get64(data + 24), .kinds = data + HEAD, .end = end };
	if (ret->size > LIMIT_LAYER_BYTES || ret->pieces > index->len)
		return wrong(err, "its numbers are too large");
	const uint8_t *p = ret->kinds;
	for (uint64_t i = 0; i < ret->pieces; i++) {
		uint64_t n;
		p = get_varint(p, end, &n);
		if (!p || n >> 2 == 0 || n >> 2 > ret->size - size || (n >> 2) > UINT32_MAX || (n & 3) > SHIP_CONTENTS)
			return wrong(err, "a piece is none");
		size += n >> 2;
		hashed += (n & 3) != SHIP_PADDING;
		headers += (n & 3) == SHIP_HEADER;
	}
	if (size != ret->size || (ret->paths && ret->paths != headers) || (uint64_t) (end - p) != 8 * hashed + 16 * ret->paths)
		return wrong(err, "its parts do not fit together");
	ret->hashes = p;
	ret->names = p + 8 * hashed;
	return 0;
}

int ship_index_strip(const Buf *index, Buf *ret, Err *err)
{
	Parsed p;
	int r = parse(index, &p, err);
	if (r < 0)
		return r;
	Buf kinds = { (char *) p.kinds, (size_t) (p.hashes - p.kinds), 0 }, hashes = { (char *) p.hashes, (size_t) (p.names - p.hashes), 0 };
	write_index(ret, p.size, p.pieces, 0, &kinds, &hashes, NULL);
	return 0;
}

/* The cache. */

static char *cache_name(const char *diff_id)
{
	char name[33];
	layer_dir_name(diff_id, name);
	return xasprintf("cache/ship/%s.index", name);
}

int ship_index_find(Store *s, const char *diff_id, Buf *ret)
{
	AUTO_FREE char *name = cache_name(diff_id);
	Parsed p;
	buf_clear(ret);
	if (file_read(s->state, name, INDEX_MAX, ret) < 0 || parse(ret, &p, NULL) < 0)
		return 0;
	/* What is used is kept. */
	(void) utimensat(s->state, name, NULL, 0);
	return 1;
}

void ship_index_keep(Store *s, const char *diff_id, const Buf *index)
{
	AUTO_FREE char *name = cache_name(diff_id), *dir = xasprintf("%s/cache/ship", s->path);
	if (dir_make(dir, 0700) == 0)
		(void) file_write_atomic(s->state, name, index->data, index->len, 0600, false);
}

int ship_index_get(Store *s, const char *diff_id, Buf *ret, Err *err)
{
	AUTO_STREAM tar = NULL;
	if (ship_index_find(s, diff_id, ret))
		return 0;
	buf_clear(ret);
	int r = store_layer_tar(s, diff_id, &tar, err);
	if (r < 0 || (r = ship_index_make(tar, ret, err)) < 0)
		return err_wrap(err, "layer %s", diff_id);
	ship_index_keep(s, diff_id, ret);
	return 0;
}

/* Looking up: open addressing, in tables of numbers of chunks and files. */

typedef struct Table {
	uint32_t *slots; /* number + 1; 0 = free */
	size_t mask;
} Table;

struct ShipIndex {
	ShipChunk *chunks; /* base by base, as they stand in the tar */
	size_t n_chunks;
	size_t *ends; /* of each base's, in chunks */
	size_t n_bases;
	ShipOldFile *files;
	size_t n_files;
	Table by_hash, by_path, by_loose;
};

ShipIndex *ship_index_new(void)
{
	return xcalloc(1, sizeof(ShipIndex));
}

void ship_index_free(ShipIndex *x)
{
	if (!x)
		return;
	free(x->chunks);
	free(x->ends);
	free(x->files);
	free(x->by_hash.slots);
	free(x->by_path.slots);
	free(x->by_loose.slots);
	free(x);
}

void ship_index_freep(ShipIndex **x)
{
	ship_index_free(*x);
}

int ship_index_add(ShipIndex *x, uint32_t base, const Buf *index, uint64_t *ret_tar_size, Err *err)
{
	Parsed p;
	int r = parse(index, &p, err);
	if (r < 0)
		return r;
	*ret_tar_size = p.size;
	if (x->n_chunks + p.pieces > CHUNKS_MAX || x->n_files + p.paths > FILES_MAX)
		return 1;
	const uint8_t *k = p.kinds, *hash = p.hashes, *name = p.names;
	uint64_t pos = 0, n = 0;
	ShipOldFile *file = NULL;
	for (uint64_t i = 0; i < p.pieces; i++, pos += n >> 2) {
		k = get_varint(k, p.end, &n);
		if ((n & 3) == SHIP_HEADER && p.paths) {
			file = array_append(x->files, x->n_files);
			*file = (ShipOldFile) { get64(name), get64(name + 8), pos, pos + (n >> 2), 0, base };
			name += 16;
		}
		if ((n & 3) == SHIP_PADDING) {
			file = NULL;
			continue;
		}
		if ((n & 3) == SHIP_CONTENTS && file)
			file->size += n >> 2;
		*array_append(x->chunks, x->n_chunks) = (ShipChunk) { get64(hash), pos, (uint32_t) (n >> 2), base };
		hash += 8;
	}
	*array_append(x->ends, x->n_bases) = x->n_chunks;
	return 0;
}

static void table_init(Table *t, size_t n)
{
	size_t size = 16;
	while (size < n * 2)
		size *= 2;
	t->slots = xcalloc(size, sizeof(*t->slots));
	t->mask = size - 1;
}

static uint64_t key_chunk(const ShipIndex *x, size_t i)
{
	return x->chunks[i].hash;
}

static uint64_t key_path(const ShipIndex *x, size_t i)
{
	return x->files[i].path;
}

static uint64_t key_loose(const ShipIndex *x, size_t i)
{
	return x->files[i].loose;
}

/* The first with a key stays. */
static void table_fill(const ShipIndex *x, Table *t, size_t n, uint64_t (*key)(const ShipIndex *x, size_t i))
{
	table_init(t, n);
	for (size_t i = 0; i < n; i++) {
		uint64_t k = key(x, i);
		size_t at = (size_t) k & t->mask;
		while (t->slots[at] && key(x, t->slots[at] - 1) != k)
			at = (at + 1) & t->mask;
		if (!t->slots[at])
			t->slots[at] = (uint32_t) i + 1;
	}
}

void ship_index_ready(ShipIndex *x)
{
	table_fill(x, &x->by_hash, x->n_chunks, key_chunk);
	table_fill(x, &x->by_path, x->n_files, key_path);
	table_fill(x, &x->by_loose, x->n_files, key_loose);
}

static uint32_t table_find(const ShipIndex *x, const Table *t, uint64_t k, uint64_t (*key)(const ShipIndex *x, size_t i))
{
	size_t at = (size_t) k & t->mask;
	while (t->slots[at] && key(x, t->slots[at] - 1) != k)
		at = (at + 1) & t->mask;
	return t->slots[at];
}

const ShipChunk *ship_index_chunk(const ShipIndex *x, uint64_t hash, size_t len)
{
	uint32_t i = table_find(x, &x->by_hash, hash, key_chunk);
	return i && x->chunks[i - 1].len == len ? &x->chunks[i - 1] : NULL;
}

const ShipChunk *ship_index_at(const ShipIndex *x, uint32_t base, uint64_t pos)
{
	size_t lo = base ? x->ends[base - 1] : 0, hi = x->ends[base];
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (x->chunks[mid].pos < pos)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < x->ends[base] && x->chunks[lo].pos == pos ? &x->chunks[lo] : NULL;
}

const ShipOldFile *ship_index_file(const ShipIndex *x, uint64_t path)
{
	uint32_t i = table_find(x, &x->by_path, path, key_path);
	return i ? &x->files[i - 1] : NULL;
}

const ShipOldFile *ship_index_like(const ShipIndex *x, uint64_t loose)
{
	uint32_t i = table_find(x, &x->by_loose, loose, key_loose);
	return i ? &x->files[i - 1] : NULL;
}
