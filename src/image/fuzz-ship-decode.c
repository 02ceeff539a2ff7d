// SPDX-License-Identifier: Apache-2.0
/*
 * Frames as a sender would give them, [type, length big-endian in two bytes, payload] each, against an old layer of 8 KiB. What comes
 * out is at most what was announced. Data that is no zstd is packed first, so that what is mutated is the segment.
 */
#include <errno.h>
#include <zstd.h>

#include "base/mem.h"
#include "image/ship-decode.h"
#include "image/ship-protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TAR_SIZE 65536
#define OLD_SIZE 8192

typedef struct Input {
	const uint8_t *p;
	size_t left;
} Input;

static int next(void *user, uint8_t *ret_type, Buf *frame, Err *err)
{
	Input *in = user;
	if (in->left < 3)
		return err_set(err, -EPIPE, "the end");
	size_t n = (size_t) in->p[1] << 8 | in->p[2];
	*ret_type = in->p[0];
	n = n < in->left - 3 ? n : in->left - 3;
	buf_clear(frame);
	if (*ret_type == 'P') { /* a segment as it is */
		size_t bound = ZSTD_compressBound(n), k = ZSTD_compress(buf_reserve(frame, bound), bound, in->p + 3, n, 1);
		buf_added(frame, ZSTD_isError(k) ? 0 : k);
		*ret_type = SHIP_DATA;
	} else {
		buf_append(frame, in->p + 3, n);
	}
	in->p += 3 + n;
	in->left -= 3 + n;
	return 0;
}

static int read_base(void *user, uint32_t base, uint64_t offset, void *p, size_t n, Err *err)
{
	if (base > 1)
		abort();
	if (offset > OLD_SIZE || n > OLD_SIZE - offset)
		return err_set(err, -ERANGE, "a range outside the layer");
	for (size_t i = 0; i < n; i++)
		((uint8_t *) p)[i] = (uint8_t) ('0' + (offset + i) % 8);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_ERR err = ERR_INIT;
	Input in = { data, size };
	bool bad = false;
	char chunk[1000];
	uint64_t total = 0;
	AUTO_STREAM s = ship_decode(&(ShipDecodeOptions) {
		.tar_size = TAR_SIZE, .n_bases = 2, .next = next, .read_base = read_base, .user = &in, .bad = &bad });
	ssize_t n;
	while ((n = stream_read(s, chunk, sizeof(chunk), &err)) > 0)
		total += (uint64_t) n;
	if (total > TAR_SIZE || (n == 0 && total != TAR_SIZE))
		abort();
	return 0;
}
