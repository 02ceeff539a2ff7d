// SPDX-License-Identifier: Apache-2.0
#include "image/codec.h"

#include <bzlib.h>
#include <errno.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/limits.h"
#include "base/mem.h"

#define XZ_OVERHEAD (1U << 20) /* memory of its decoder beside the window */

static int damaged(const char *why, Err *err)
{
	return err_set(err, -EBADMSG, "the compressed data is damaged%s%s", why ? ": " : "", why ? why : "");
}

static int too_large(Err *err)
{
	return err_set(err, -EFBIG, "the compressed data needs more than %u MiB of memory to unpack: refused", LIMIT_UNPACK_WINDOW >> 20);
}

static int out_of_memory(Err *err)
{
	return err_set(err, -ENOMEM, "out of memory while unpacking");
}

static void advance(CodecIo *io, size_t taken, size_t given)
{
	io->in += taken;
	io->in_len -= taken;
	io->out += given;
	io->out_len -= given;
}

/* gzip. */

static void *gzip_open(void)
{
	z_stream *z = xcalloc(1, sizeof(*z));
	if (inflateInit2(z, MAX_WBITS + 16) == Z_OK)
		return z;
	free(z);
	return NULL;
}

static int gzip_step(void *state, CodecIo *io, Err *err)
{
	z_stream *z = state;
	uInt in = (uInt) io->in_len, out = (uInt) io->out_len;
	z->next_in = (Bytef *) io->in;
	z->avail_in = in;
	z->next_out = io->out;
	z->avail_out = out;
	int r = inflate(z, Z_NO_FLUSH);
	advance(io, in - z->avail_in, out - z->avail_out);
	if (r == Z_STREAM_END)
		return inflateReset(z) == Z_OK ? 1 : damaged(NULL, err);
	if (r == Z_MEM_ERROR)
		return out_of_memory(err);
	return r == Z_OK || r == Z_BUF_ERROR ? 0 : damaged(z->msg, err);
}

static void gzip_close(void *state)
{
	(void) inflateEnd(state);
	free(state);
}

/* zstd. */

static void *zstd_open(void)
{
	ZSTD_DCtx *z = ZSTD_createDCtx();
	if (z && !ZSTD_isError(ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, __builtin_ctz(LIMIT_UNPACK_WINDOW))))
		return z;
	(void) ZSTD_freeDCtx(z);
	return NULL;
}

static int zstd_step(void *state, CodecIo *io, Err *err)
{
	ZSTD_inBuffer in = { io->in, io->in_len, 0 };
	ZSTD_outBuffer out = { io->out, io->out_len, 0 };
	size_t left = ZSTD_decompressStream(state, &out, &in);
	advance(io, in.pos, out.pos);
	if (!ZSTD_isError(left))
		return left == 0;
	switch (ZSTD_getErrorCode(left)) {
	case ZSTD_error_frameParameter_windowTooLarge:
		return too_large(err);
	case ZSTD_error_memory_allocation:
		return out_of_memory(err);
	default:
		return damaged(ZSTD_getErrorName(left), err);
	}
}

static void zstd_close(void *state)
{
	(void) ZSTD_freeDCtx(state);
}

/* xz. */

static lzma_ret xz_start(lzma_stream *z)
{
	return lzma_stream_decoder(z, LIMIT_UNPACK_WINDOW + XZ_OVERHEAD, 0);
}

static void *xz_open(void)
{
	lzma_stream *z = xcalloc(1, sizeof(*z));
	*z = (lzma_stream) LZMA_STREAM_INIT;
	if (xz_start(z) == LZMA_OK)
		return z;
	free(z);
	return NULL;
}

static int xz_step(void *state, CodecIo *io, Err *err)
{
	lzma_stream *z = state;
	z->next_in = io->in;
	z->avail_in = io->in_len;
	z->next_out = io->out;
	z->avail_out = io->out_len;
	lzma_ret r = lzma_code(z, LZMA_RUN);
	advance(io, io->in_len - z->avail_in, io->out_len - z->avail_out);
	switch (r) {
	case LZMA_OK:
	case LZMA_BUF_ERROR:
		return 0;
	case LZMA_STREAM_END:
		return xz_start(z) == LZMA_OK ? 1 : out_of_memory(err);
	case LZMA_MEM_ERROR:
		return out_of_memory(err);
	case LZMA_MEMLIMIT_ERROR:
		return too_large(err);
	case LZMA_OPTIONS_ERROR:
		return damaged("it uses options that are not known", err);
	default:
		return damaged(NULL, err);
	}
}

static void xz_close(void *state)
{
	lzma_end(state);
	free(state);
}

/* bzip2. */

static void *bzip2_open(void)
{
	bz_stream *z = xcalloc(1, sizeof(*z));
	if (BZ2_bzDecompressInit(z, 0, 0) == BZ_OK)
		return z;
	free(z);
	return NULL;
}

static int bzip2_step(void *state, CodecIo *io, Err *err)
{
	bz_stream *z = state;
	unsigned in = (unsigned) io->in_len, out = (unsigned) io->out_len;
	z->next_in = (char *) io->in;
	z->avail_in = in;
	z->next_out = (char *) io->out;
	z->avail_out = out;
	int r = BZ2_bzDecompress(z);
	advance(io, in - z->avail_in, out - z->avail_out);
	if (r == BZ_STREAM_END) {
		(void) BZ2_bzDecompressEnd(z);
		return BZ2_bzDecompressInit(z, 0, 0) == BZ_OK ? 1 : out_of_memory(err);
	}
	if (r == BZ_MEM_ERROR)
		return out_of_memory(err);
	return r == BZ_OK ? 0 : damaged(NULL, err);
}

static void bzip2_close(void *state)
{
	(void) BZ2_bzDecompressEnd(state);
	free(state);
}

static const Codec codecs[] = {
	{ "gzip", "\x1f\x8b", 2, 0xff, gzip_open, gzip_step, gzip_close },
	{ "zstd", "\x28\xb5\x2f\xfd", 4, 0xff, zstd_open, zstd_step, zstd_close },
	/* A frame that is to be skipped, of any of 16 kinds: tables of contents are in them. */
	{ "zstd", "\x50\x2a\x4d\x18", 4, 0xf0, zstd_open, zstd_step, zstd_close },
	{ "xz", "\xfd" "7zXZ\0", 6, 0xff, xz_open, xz_step, xz_close },
	{ "bzip2", "BZh", 3, 0xff, bzip2_open, bzip2_step, bzip2_close },
};

const Codec *codec_find(const void *head, size_t n)
{
	const char *p = head;
	for (size_t i = 0; i < ARRAY_SIZE(codecs); i++) {
		const Codec *c = &codecs[i];
		if (n >= c->magic_len && (uint8_t) (p[0] & c->mask) == (uint8_t) c->magic[0] && memcmp(p + 1, c->magic + 1, c->magic_len - 1) == 0)
			return c;
	}
	return NULL;
}
