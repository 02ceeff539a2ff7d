// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Compressors for tests: all of `in` as one member, appended to `out`.
 */

#include <bzlib.h>
#include <lzma.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <zlib.h>
#include <zstd.h>
#include <cmocka.h>

#include "base/buf.h"

#define PACKED_OVERHEAD 65536

static inline void pack_gzip(const Buf *in, Buf *out)
{
	size_t cap = in->len + PACKED_OVERHEAD;
	z_stream z = { .next_in = (Bytef *) buf_cstr(in), .avail_in = (uInt) in->len, .avail_out = (uInt) cap };
	z.next_out = (Bytef *) buf_reserve(out, cap);
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	buf_added(out, z.total_out);
	assert_int_equal(deflateEnd(&z), Z_OK);
}

static inline void pack_zstd(const Buf *in, Buf *out)
{
	ZSTD_CCtx *z = ZSTD_createCCtx();
	size_t cap = in->len + PACKED_OVERHEAD;
	assert_non_null(z);
	(void) ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
	size_t n = ZSTD_compress2(z, buf_reserve(out, cap), cap, buf_cstr(in), in->len);
	assert_false(ZSTD_isError(n));
	buf_added(out, n);
	(void) ZSTD_freeCCtx(z);
}

static inline void pack_xz(const Buf *in, Buf *out)
{
	size_t n = 0, cap = in->len + PACKED_OVERHEAD;
	assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, (const uint8_t *) buf_cstr(in), in->len, (uint8_t *) buf_reserve(out, cap), &n, cap),
		LZMA_OK);
	buf_added(out, n);
}

static inline void pack_bzip2(const Buf *in, Buf *out)
{
	unsigned n = (unsigned) in->len + PACKED_OVERHEAD;
	assert_int_equal(BZ2_bzBuffToBuffCompress(buf_reserve(out, n), &n, (char *) buf_cstr(in), (unsigned) in->len, 1, 0, 0), BZ_OK);
	buf_added(out, n);
}
