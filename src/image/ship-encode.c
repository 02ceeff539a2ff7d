// SPDX-License-Identifier: Apache-2.0
#include "image/ship-encode.h"

#include <errno.h>

#include "base/mem.h"

#define CHUNK (256U << 10)

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
	if (pos != tar_size)
		return err_set(err, -EIO, "the layer has %llu bytes, %llu were expected", (unsigned long long) pos, (unsigned long long) tar_size);
	return ship_emitter_flush(e, true, err);
}
