// SPDX-License-Identifier: Apache-2.0
#include "image/ship-emit.h"

#include <errno.h>
#include <zstd.h>

#include "base/mem.h"
#include "image/ship-decode.h"
#include "image/ship-protocol.h"

#define LEVEL_FAST 3
#define LITERALS_DOMINATE (256U << 10) /* of a segment */
/* What packs best is slow: beyond so many bytes of a layer it takes longer than it saves on most lines. */
#define BEST_BYTES (256U << 10)
#define LEVEL_GOOD 9

struct ShipEmitter {
	SegmentWriter *writer;
	ZSTD_CCtx *z;
	int level, open_level; /* open_level: of the zstd frame that is open; 0 = none */
	uint64_t pos;
	uint64_t told; /* bytes of segments so far that were not fast */
	Buf segment;
	char *out;
	ShipFrameFn fn;
	void *user;
};

ShipEmitter *ship_emitter_new(int level, uint64_t pos, ShipFrameFn fn, void *user)
{
	ShipEmitter *e = xcalloc(1, sizeof(*e));
	e->writer = segment_writer_new();
	e->z = ZSTD_createCCtx();
	if (!e->z)
		abort();
	e->level = level;
	e->pos = pos;
	e->out = xmalloc(SHIP_DATA_MAX);
	e->fn = fn;
	e->user = user;
	return e;
}

void ship_emitter_free(ShipEmitter *e)
{
	if (!e)
		return;
	segment_writer_free(e->writer);
	(void) ZSTD_freeCCtx(e->z);
	buf_done(&e->segment);
	free(e->out);
	free(e);
}

void ship_emitter_freep(ShipEmitter **e)
{
	ship_emitter_free(*e);
}

SegmentWriter *ship_emitter_segment(ShipEmitter *e)
{
	return e->writer;
}

static int compress(ShipEmitter *e, const void *p, size_t n, ZSTD_EndDirective end, Err *err)
{
	ZSTD_inBuffer in = { p, n, 0 };
	for (;;) {
		ZSTD_outBuffer out = { e->out, SHIP_DATA_MAX, 0 };
		size_t left = ZSTD_compressStream2(e->z, &out, &in, end);
		if (ZSTD_isError(left))
			return err_set(err, -EIO, "compressing a layer: %s", ZSTD_getErrorName(left));
		int r = out.pos ? e->fn(e->user, SHIP_DATA, e->out, out.pos, err) : 0;
		if (r < 0)
			return r;
		if (left == 0)
			return 0;
	}
}

static int choose_level(ShipEmitter *e)
{
	if (segment_literals(e->writer) > LITERALS_DOMINATE)
		return LEVEL_FAST;
	e->told += segment_size(e->writer);
	return e->told > BEST_BYTES && e->level > LEVEL_GOOD ? LEVEL_GOOD : e->level;
}

/* `n`: all that there is, if it is known; tables are not larger than that then. */
static int begin_frame(ShipEmitter *e, int level, size_t n, Err *err)
{
	if (e->open_level == level)
		return 0;
	int r = e->open_level ? compress(e, NULL, 0, ZSTD_e_end, err) : 0;
	(void) ZSTD_CCtx_reset(e->z, ZSTD_reset_session_and_parameters);
	(void) ZSTD_CCtx_setParameter(e->z, ZSTD_c_compressionLevel, level);
	(void) ZSTD_CCtx_setParameter(e->z, ZSTD_c_windowLog, SHIP_WINDOW_LOG);
	if (n)
		(void) ZSTD_CCtx_setPledgedSrcSize(e->z, n);
	e->open_level = level;
	return r;
}

int ship_emitter_flush(ShipEmitter *e, bool end, Err *err)
{
	uint8_t position[SHIP_POSITION];
	uint64_t output = segment_output(e->writer);
	if (output == 0 || (!end && segment_size(e->writer) < SEGMENT_TARGET))
		return 0;
	int level = choose_level(e);
	buf_clear(&e->segment);
	segment_finish(e->writer, &e->segment);
	int r = begin_frame(e, level, end ? e->segment.len : 0, err);
	if (r < 0 || (r = compress(e, e->segment.data, e->segment.len, end ? ZSTD_e_end : ZSTD_e_flush, err)) < 0)
		return r;
	if (end)
		e->open_level = 0;
	e->pos += output;
	ship_position_write(e->pos, position);
	return e->fn(e->user, SHIP_SEGMENT, position, sizeof(position), err);
}
