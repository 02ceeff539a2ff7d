// SPDX-License-Identifier: Apache-2.0
/*
 * A read finds the frame of the recipe by the table, the record in the frame by bisection, and takes the bytes from the
 * record itself or from the file that it names. Reads go forward most of the time, with jumps to other places of the same
 * layer or of another one, so a few frames are kept unpacked and a few files open; the oldest goes.
 */
#include "image/recipe-map.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"

#define FRAMES_KEPT 6
#define FILES_KEPT 8
#define FRAME_LENGTH_MAX (8U << 20) /* a pax header of the longest kind and some more */
#define TABLE_MAX (64U << 20)

typedef struct MapFrame {
	uint64_t tar, at; /* where it begins, in the tar (find_last) and in the recipe */
	uint32_t packed, records;
} MapFrame;

struct RecipeMap {
	RecipeCache *cache;
	int fd, layerfd;
	MapFrame *frames; /* one more than there are: the end */
	size_t n;
};

typedef struct Piece {
	uint64_t tar; /* in the frame's part of the tar (find_last) */
	uint64_t at;  /* in the frame, or in the file */
	uint32_t path, path_len; /* of the file in the frame; path_len 0 = the frame itself */
} Piece;

typedef struct Loaded {
	const RecipeMap *map; /* NULL = free */
	size_t frame;
	char *data;
	Piece *pieces;
	size_t n;
	uint64_t used;
} Loaded;

typedef struct OpenFile {
	const RecipeMap *map;
	char *path;
	int fd;
	uint64_t used;
} OpenFile;

struct RecipeCache {
	ZSTD_DCtx *z;
	Buf packed;
	Loaded loaded[FRAMES_KEPT];
	OpenFile files[FILES_KEPT];
	uint64_t clock;
};

static int damaged(Err *err, const char *what)
{
	return err_set(err, -EIO, "the layer's recipe is damaged: %s", what);
}

/* The cache. */

RecipeCache *recipe_cache_new(void)
{
	RecipeCache *c = xcalloc(1, sizeof(*c));
	c->z = ZSTD_createDCtx();
	if (!c->z)
		abort();
	for (size_t i = 0; i < FILES_KEPT; i++)
		c->files[i].fd = -1;
	return c;
}

static void loaded_done(Loaded *l)
{
	free(l->data);
	free(l->pieces);
	*l = (Loaded) { 0 };
}

static void file_done(OpenFile *f)
{
	if (f->fd >= 0)
		(void) close(f->fd);
	free(f->path);
	*f = (OpenFile) { .fd = -1 };
}

void recipe_cache_free(RecipeCache *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < FRAMES_KEPT; i++)
		loaded_done(&c->loaded[i]);
	for (size_t i = 0; i < FILES_KEPT; i++)
		file_done(&c->files[i]);
	buf_done(&c->packed);
	(void) ZSTD_freeDCtx(c->z);
	free(c);
}

/* The table. */

static int read_exact(int fd, void *p, size_t n, uint64_t offset, Err *err)
{
	for (size_t done = 0; done < n;) {
		ssize_t k = pread(fd, (char *) p + done, n - done, (off_t) (offset + done));
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return err_errno(err, -errno, "reading a layer");
		if (k == 0)
			return err_set(err, -EIO, "a file of the layer, or its recipe, is shorter than it was");
		done += (size_t) k;
	}
	return 0;
}

static uint32_t get32(const void *p)
{
	uint32_t n;
	memcpy(&n, p, sizeof(n));
	return le32toh(n);
}

static uint64_t get64(const void *p)
{
	uint64_t n;
	memcpy(&n, p, sizeof(n));
	return le64toh(n);
}

static int read_table(RecipeMap *m, Err *err)
{
	AUTO_FREE char *table = NULL;
	char tail[RECIPE_TABLE_TAIL], head[8];
	off_t size = lseek(m->fd, 0, SEEK_END);
	int r;
	if (size < 0)
		return err_errno(err, -errno, "the layer's recipe");
	if (size < (off_t) (sizeof(head) + sizeof(tail)))
		return 0;
	if ((r = read_exact(m->fd, tail, sizeof(tail), (uint64_t) size - sizeof(tail), err)) < 0)
		return r;
	if (get32(tail + 12) != RECIPE_TABLE)
		return 0;
	uint64_t entries = (uint64_t) get32(tail + 8) * RECIPE_TABLE_ENTRY, length = entries + RECIPE_TABLE_TAIL;
	if (length > TABLE_MAX || length + 8 > (uint64_t) size)
		return damaged(err, "its table is too long");
	uint64_t at = (uint64_t) size - length - 8;
	if ((r = read_exact(m->fd, head, sizeof(head), at, err)) < 0)
		return r;
	if (get32(head) != RECIPE_SKIPPABLE || get32(head + 4) != length)
		return damaged(err, "its table does not begin");
	table = xmalloc(length);
	if ((r = read_exact(m->fd, table, length, at + 8, err)) < 0)
		return r;
	if (XXH3_64bits(table, entries) != get64(tail))
		return damaged(err, "the checksum of its table is wrong");
	m->n = get32(tail + 8);
	m->frames = xcalloc(m->n + 1, sizeof(*m->frames));
	for (size_t i = 0; i < m->n; i++) {
		const char *e = table + i * RECIPE_TABLE_ENTRY;
		MapFrame *f = &m->frames[i];
		f->packed = get32(e);
		f->records = get32(e + 4);
		f[1].at = f->at + f->packed;
		f[1].tar = f->tar + get64(e + 8);
		if (f->records > FRAME_LENGTH_MAX || f[1].at > at || f[1].tar < f->tar || f[1].tar > LIMIT_LAYER_BYTES)
			return damaged(err, "its table is wrong");
	}
	return 1;
}

int recipe_map_open(RecipeCache *c, int fd, int layerfd, RecipeMap **ret, Err *err)
{
	RecipeMap *m = xcalloc(1, sizeof(*m));
	*m = (RecipeMap) { .cache = c, .fd = fd, .layerfd = layerfd };
	int r = read_table(m, err);
	if (r == 1)
		*ret = m;
	else
		recipe_map_free(m);
	return r;
}

void recipe_map_free(RecipeMap *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < FRAMES_KEPT; i++)
		if (m->cache->loaded[i].map == m)
			loaded_done(&m->cache->loaded[i]);
	for (size_t i = 0; i < FILES_KEPT; i++)
		if (m->cache->files[i].map == m)
			file_done(&m->cache->files[i]);
	if (m->fd >= 0)
		(void) close(m->fd);
	if (m->layerfd >= 0)
		(void) close(m->layerfd);
	free(m->frames);
	free(m);
}

uint64_t recipe_map_size(const RecipeMap *m)
{
	return m->frames[m->n].tar;
}

/* Frames. */

static int parse_frame(Loaded *l, size_t length, uint64_t tar, Err *err)
{
	uint64_t at = 0, done = 0;
	uint32_t path = 0, path_len = 0;
	while (at < length) {
		if (length - at < RECIPE_RECORD)
			return damaged(err, "a record is cut off");
		char type = l->data[at];
		uint64_t a = get64(l->data + at + 1), b = get64(l->data + at + 9);
		at += RECIPE_RECORD;
		if ((type == 'R' || type == 'N') && a > length - at)
			return damaged(err, "a record is cut off");
		if (type == 'N') {
			if (a == 0 || a >= PATH_MAX)
				return damaged(err, "a name is none");
			path = (uint32_t) at;
			path_len = (uint32_t) a;
		} else if (type == 'R') {
			*array_append(l->pieces, l->n) = (Piece) { .tar = done, .at = at };
			done += a;
		} else if (type == 'F' && path_len && b <= tar - done) {
			*array_append(l->pieces, l->n) = (Piece) { .tar = done, .at = a, .path = path, .path_len = path_len };
			done += b;
		} else {
			return damaged(err, "unknown record");
		}
		if (done > tar)
			return damaged(err, "a frame makes more than its table says");
		at += type == 'F' ? 0 : a;
	}
	return done == tar ? 0 : damaged(err, "a frame makes less than its table says");
}

static int load_frame(RecipeMap *m, size_t k, Loaded *l, Err *err)
{
	const MapFrame *f = &m->frames[k];
	RecipeCache *c = m->cache;
	loaded_done(l);
	buf_clear(&c->packed);
	int r = read_exact(m->fd, buf_reserve(&c->packed, f->packed), f->packed, f->at, err);
	if (r < 0)
		return r;
	l->data = xmalloc(f->records ? f->records : 1);
	size_t n = ZSTD_decompressDCtx(c->z, l->data, f->records, c->packed.data, f->packed);
	if (ZSTD_isError(n))
		r = err_set(err, -EIO, "the layer's recipe is damaged: %s", ZSTD_getErrorName(n));
	else if (n != f->records)
		r = damaged(err, "a frame is shorter than its table says");
	else
		r = parse_frame(l, n, f[1].tar - f->tar, err);
	if (r < 0) {
		loaded_done(l);
		return r;
	}
	l->map = m;
	l->frame = k;
	return 0;
}

static int get_frame(RecipeMap *m, size_t k, Loaded **ret, Err *err)
{
	RecipeCache *c = m->cache;
	Loaded *oldest = &c->loaded[0];
	for (size_t i = 0; i < FRAMES_KEPT; i++) {
		Loaded *l = &c->loaded[i];
		if (l->map == m && l->frame == k) {
			l->used = ++c->clock;
			*ret = l;
			return 0;
		}
		if (l->used < oldest->used)
			oldest = l;
	}
	int r = load_frame(m, k, oldest, err);
	oldest->used = ++c->clock;
	*ret = oldest;
	return r;
}

static int get_file(RecipeMap *m, const char *path, size_t n, int *ret, Err *err)
{
	RecipeCache *c = m->cache;
	OpenFile *oldest = &c->files[0];
	for (size_t i = 0; i < FILES_KEPT; i++) {
		OpenFile *f = &c->files[i];
		if (f->map == m && f->path && strncmp(f->path, path, n) == 0 && !f->path[n]) {
			f->used = ++c->clock;
			*ret = f->fd;
			return 0;
		}
		if (f->used < oldest->used)
			oldest = f;
	}
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	file_done(oldest);
	oldest->path = xstrndup(path, n);
	oldest->fd = (int) syscall(SYS_openat2, m->layerfd, oldest->path, &how, sizeof(how));
	if (oldest->fd < 0) {
		int r = err_errno(err, -errno, "'%s' of the layer", oldest->path);
		file_done(oldest);
		return r;
	}
	oldest->map = m;
	oldest->used = ++c->clock;
	*ret = oldest->fd;
	return 0;
}

/* Reading. */

/* Of `n` things of `size` bytes, which begin with the offset that they are sorted by, the last that is not behind `offset`. */
static size_t find_last(const void *things, size_t size, size_t n, uint64_t offset)
{
	size_t lo = 0, hi = n;
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;
		uint64_t at;
		memcpy(&at, (const char *) things + mid * size, sizeof(at));
		if (at <= offset)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* From one frame, as much as there is in it. */
static ssize_t read_frame(RecipeMap *m, uint64_t offset, char *p, size_t n, Err *err)
{
	size_t k = find_last(m->frames, sizeof(*m->frames), m->n, offset), done = 0;
	uint64_t begin = m->frames[k].tar, length = m->frames[k + 1].tar - begin;
	Loaded *l;
	int r = get_frame(m, k, &l, err);
	if (r < 0)
		return r;
	offset -= begin;
	for (size_t i = find_last(l->pieces, sizeof(*l->pieces), l->n, offset); i < l->n && done < n; i++) {
		const Piece *piece = &l->pieces[i];
		uint64_t end = i + 1 < l->n ? l->pieces[i + 1].tar : length, skip = offset - piece->tar;
		size_t part = end - offset < n - done ? (size_t) (end - offset) : n - done;
		int fd;
		if (piece->path_len == 0)
			memcpy(p + done, l->data + piece->at + skip, part);
		else if (part && ((r = get_file(m, l->data + piece->path, piece->path_len, &fd, err)) < 0 ||
					 (r = read_exact(fd, p + done, part, piece->at + skip, err)) < 0))
			return r;
		done += part;
		offset += part;
	}
	return (ssize_t) done;
}

int recipe_map_read(RecipeMap *m, uint64_t offset, void *p, size_t n, Err *err)
{
	uint64_t size = recipe_map_size(m);
	if (offset > size || n > size - offset)
		return err_set(err, -ERANGE, "a range outside the layer");
	for (size_t done = 0; done < n;) {
		ssize_t k = read_frame(m, offset + done, (char *) p + done, n - done, err);
		if (k < 0)
			return (int) k;
		if (k == 0)
			return damaged(err, "a frame is empty");
		done += (size_t) k;
	}
	return 0;
}
