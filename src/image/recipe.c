// SPDX-License-Identifier: Apache-2.0
#include "image/recipe.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"

#define RAW_MAX (64U << 10)
#define RECORD_SIZE RECIPE_RECORD

struct RecipeWriter {
	int fd;
	ZSTD_CCtx *z;
	Buf raw; /* not yet a record */
	char *out;
	size_t out_size;
	uint64_t offset, length; /* segment not yet a record; length 0 = none */
	char *path; /* of the file that segments belong to */
	bool named; /* in this frame */
	uint32_t packed, records; /* bytes of this frame */
	uint64_t tar;             /* bytes of the tar that it makes */
	Buf table;
	uint32_t frames;
	Err err;
};

RecipeWriter *recipe_writer_new(int fd)
{
	RecipeWriter *w = xcalloc(1, sizeof(*w));
	w->fd = fd;
	w->z = ZSTD_createCCtx();
	if (!w->z)
		abort();
	(void) ZSTD_CCtx_setParameter(w->z, ZSTD_c_compressionLevel, 1);
	(void) ZSTD_CCtx_setParameter(w->z, ZSTD_c_checksumFlag, 1);
	/* A frame holds no more; zstd would keep a window of twice that, for each layer of a pull. */
	(void) ZSTD_CCtx_setParameter(w->z, ZSTD_c_windowLog, __builtin_ctz(RECIPE_FRAME));
	w->out_size = ZSTD_CStreamOutSize();
	w->out = xmalloc(w->out_size);
	return w;
}

void recipe_writer_free(RecipeWriter *w)
{
	if (!w)
		return;
	(void) ZSTD_freeCCtx(w->z);
	buf_done(&w->raw);
	buf_done(&w->table);
	free(w->out);
	free(w->path);
	err_done(&w->err);
	free(w);
}

void recipe_writer_freep(RecipeWriter **w)
{
	recipe_writer_free(*w);
}

static void compress(RecipeWriter *w, const void *p, size_t n, ZSTD_EndDirective end)
{
	ZSTD_inBuffer in = { p, n, 0 };
	for (;;) {
		ZSTD_outBuffer out = { w->out, w->out_size, 0 };
		if (w->err.code)
			return;
		size_t left = ZSTD_compressStream2(w->z, &out, &in, end);
		if (ZSTD_isError(left)) {
			(void) err_set(&w->err, -EIO, "compressing the layer's recipe: %s", ZSTD_getErrorName(left));
			return;
		}
		int r = fd_write_all(w->fd, w->out, out.pos);
		if (r < 0)
			(void) err_errno(&w->err, r, "writing the layer's recipe");
		w->packed += (uint32_t) out.pos;
		if (in.pos == in.size && (end == ZSTD_e_continue || left == 0))
			return;
	}
}

static void record(RecipeWriter *w, char type, uint64_t a, uint64_t b, const void *p, size_t n)
{
	char head[RECORD_SIZE];
	uint64_t le[2] = { htole64(a), htole64(b) };
	head[0] = type;
	memcpy(head + 1, le, sizeof(le));
	compress(w, head, sizeof(head), ZSTD_e_continue);
	compress(w, p, n, ZSTD_e_continue);
	w->records += (uint32_t) (sizeof(head) + n);
}

static void end_frame(RecipeWriter *w)
{
	uint32_t sizes[2];
	uint64_t tar = htole64(w->tar);
	compress(w, NULL, 0, ZSTD_e_end);
	sizes[0] = htole32(w->packed);
	sizes[1] = htole32(w->records);
	buf_append(&w->table, sizes, sizeof(sizes));
	buf_append(&w->table, &tar, sizeof(tar));
	w->frames++;
	w->packed = w->records = 0;
	w->tar = 0;
	w->named = false;
}

static void flush_raw(RecipeWriter *w)
{
	if (!w->raw.len)
		return;
	record(w, 'R', w->raw.len, 0, w->raw.data, w->raw.len);
	w->tar += w->raw.len;
	buf_clear(&w->raw);
	if (w->records >= RECIPE_FRAME)
		end_frame(w);
}

static void flush_segment(RecipeWriter *w)
{
	if (!w->length)
		return;
	if (!w->named && w->path)
		record(w, 'N', strlen(w->path), 0, w->path, strlen(w->path));
	w->named = true;
	record(w, 'F', w->offset, w->length, NULL, 0);
	w->tar += w->length;
	w->length = 0;
	if (w->records >= RECIPE_FRAME)
		end_frame(w);
}

void recipe_raw(RecipeWriter *w, const void *p, size_t n)
{
	flush_segment(w);
	buf_append(&w->raw, p, n);
	if (w->raw.len >= RAW_MAX)
		flush_raw(w);
}

void recipe_file(RecipeWriter *w, const char *path)
{
	flush_segment(w);
	free(w->path);
	w->path = xstrdup(path);
	w->named = false;
}

void recipe_segment(RecipeWriter *w, uint64_t offset, uint64_t length)
{
	if (w->length && w->offset + w->length == offset) {
		w->length += length;
		return;
	}
	flush_segment(w);
	flush_raw(w);
	w->offset = offset;
	w->length = length;
}

int recipe_finish(RecipeWriter *w, Err *err)
{
	flush_segment(w);
	flush_raw(w);
	if (w->records || !w->frames)
		end_frame(w);
	uint64_t sum = htole64(XXH3_64bits(w->table.data, w->table.len));
	uint32_t tail[] = { htole32(w->frames), htole32(RECIPE_TABLE) };
	buf_append(&w->table, &sum, sizeof(sum));
	buf_append(&w->table, tail, sizeof(tail));
	uint32_t head[] = { htole32(RECIPE_SKIPPABLE), htole32((uint32_t) w->table.len) };
	int r = w->err.code ? 0 : fd_write_all(w->fd, head, sizeof(head));
	if (r == 0 && !w->err.code)
		r = fd_write_all(w->fd, w->table.data, w->table.len);
	if (r < 0)
		(void) err_errno(&w->err, r, "writing the layer's recipe");
	return w->err.code ? err_move(err, &w->err) : 0;
}

/* Reading. */

typedef struct RecipeStream {
	Stream s;
	int fd, layerfd, file;
	ZSTD_DCtx *z;
	char *in;
	size_t in_size;
	ZSTD_inBuffer input;
	bool frame_done;
	char type;
	uint64_t offset, left;
	char *path;
} RecipeStream;

/* Exactly n decompressed bytes; 0 at the clean end, 1 otherwise. */
static int inflate_exact(RecipeStream *r, void *p, size_t n, Err *err)
{
	ZSTD_outBuffer out = { p, n, 0 };
	while (out.pos < n) {
		if (r->input.pos == r->input.size) {
			ssize_t k = read(r->fd, r->in, r->in_size);
			if (k < 0)
				return err_errno(err, -errno, "reading the layer's recipe");
			if (k == 0 && r->frame_done && out.pos == 0)
				return 0;
			if (k == 0)
				return err_set(err, -EIO, "the layer's recipe is cut off");
			r->input = (ZSTD_inBuffer) { r->in, (size_t) k, 0 };
		}
		size_t left = ZSTD_decompressStream(r->z, &out, &r->input);
		if (ZSTD_isError(left))
			return err_set(err, -EIO, "the layer's recipe is damaged: %s", ZSTD_getErrorName(left));
		r->frame_done = left == 0;
	}
	return 1;
}

static int open_file(RecipeStream *r, uint64_t n, Err *err)
{
	if (n >= PATH_MAX)
		return err_set(err, -EIO, "the layer's recipe is damaged: a path of %llu bytes", (unsigned long long) n);
	free(r->path);
	r->path = xcalloc(1, n + 1);
	int k = inflate_exact(r, r->path, n, err);
	if (k < 0)
		return k;
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	if (r->file >= 0)
		(void) close(r->file);
	r->file = (int) syscall(SYS_openat2, r->layerfd, r->path, &how, sizeof(how));
	return r->file < 0 ? err_errno(err, -errno, "'%s' of the layer", r->path) : 0;
}

static int next_record(RecipeStream *r, Err *err)
{
	char head[RECORD_SIZE];
	uint64_t le[2];
	int k = inflate_exact(r, head, sizeof(head), err);
	if (k <= 0)
		return k;
	memcpy(le, head + 1, sizeof(le));
	r->type = head[0];
	if (r->type == 'N')
		return (k = open_file(r, le64toh(le[0]), err)) < 0 ? k : 1;
	if (r->type == 'R') {
		r->left = le64toh(le[0]);
		return 1;
	}
	if (r->type != 'F' || r->file < 0)
		return err_set(err, -EIO, "the layer's recipe is damaged: unknown record");
	r->offset = le64toh(le[0]);
	r->left = le64toh(le[1]);
	return 1;
}

static ssize_t recipe_read(Stream *s, void *p, size_t n, Err *err)
{
	RecipeStream *r = (RecipeStream *) s;
	while (!r->left) {
		int k = next_record(r, err);
		if (k <= 0)
			return k;
	}
	if (n > r->left)
		n = (size_t) r->left;
	if (r->type == 'R') {
		int k = inflate_exact(r, p, n, err);
		if (k < 0)
			return k;
	} else {
		ssize_t k = pread(r->file, p, n, (off_t) r->offset);
		if (k < 0)
			return err_errno(err, -errno, "'%s' of the layer", r->path);
		if (k == 0)
			return err_set(err, -EIO, "'%s' of the layer is shorter than it was", r->path);
		n = (size_t) k;
		r->offset += n;
	}
	r->left -= n;
	return (ssize_t) n;
}

static void recipe_free(Stream *s)
{
	RecipeStream *r = (RecipeStream *) s;
	(void) ZSTD_freeDCtx(r->z);
	if (r->file >= 0)
		(void) close(r->file);
	free(r->in);
	free(r->path);
	free(r);
}

int recipe_open(int fd, int layerfd, Stream **ret, Err *err)
{
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(err, -errno, "the layer's recipe");
	RecipeStream *r = xcalloc(1, sizeof(*r));
	r->s = (Stream) { .read = recipe_read, .free = recipe_free };
	r->fd = fd;
	r->layerfd = layerfd;
	r->file = -1;
	r->z = ZSTD_createDCtx();
	if (!r->z)
		abort();
	r->in_size = ZSTD_DStreamInSize();
	r->in = xmalloc(r->in_size);
	*ret = &r->s;
	return 0;
}

/* Converting. */

static int convert_record(RecipeStream *r, RecipeWriter *w, Buf *b, Err *err)
{
	char head[RECORD_SIZE];
	uint64_t le[2];
	int k = inflate_exact(r, head, sizeof(head), err);
	if (k <= 0)
		return k;
	memcpy(le, head + 1, sizeof(le));
	uint64_t n = le64toh(le[0]);
	if (head[0] == 'F') {
		recipe_segment(w, n, le64toh(le[1]));
		return 1;
	}
	if ((head[0] != 'R' && head[0] != 'N') || (head[0] == 'N' && n >= PATH_MAX))
		return err_set(err, -EIO, "the layer's recipe is damaged: unknown record");
	do {
		size_t piece = n < RAW_MAX ? (size_t) n : RAW_MAX;
		buf_clear(b);
		if ((k = inflate_exact(r, buf_reserve(b, piece), piece, err)) < 0)
			return k;
		buf_added(b, piece);
		if (head[0] == 'N')
			recipe_file(w, buf_cstr(b));
		else
			recipe_raw(w, b->data, piece);
		n -= piece;
	} while (n);
	return 1;
}

int recipe_convert(int fd, int out, Err *err)
{
	AUTO_STREAM s = NULL;
	AUTO_BUF b = BUF_INIT;
	int r = recipe_open(fd, -1, &s, err);
	if (r < 0)
		return r;
	RecipeWriter *w __attribute__((cleanup(recipe_writer_freep))) = recipe_writer_new(out);
	while ((r = convert_record((RecipeStream *) s, w, &b, err)) == 1)
		;
	return r < 0 ? r : recipe_finish(w, err);
}
