// SPDX-License-Identifier: Apache-2.0
#include "image/ship-decode.h"

#include <errno.h>
#include <zstd.h>

#include "base/mem.h"
#include "image/ship-protocol.h"
#include "image/ship-segment.h"

typedef struct Decoder {
	Stream s;
	ShipDecodeOptions o;
	Buf frame;
	ZSTD_DCtx *z;
	char *segment; /* SEGMENT_MAX, of which only what is used gets memory */
	size_t len;
	uint64_t pos, end; /* in the tar: what was given out, and where the open segment leads to */
	ShipLayer run;
	SegmentReader *reader;
} Decoder;

static int bad(Decoder *d, int r)
{
	if (d->o.bad)
		*d->o.bad = true;
	return r;
}

static int read_base(void *user, uint32_t base, uint64_t offset, void *p, size_t n, Err *err)
{
	Decoder *d = user;
	return d->o.read_base(d->o.user, d->run.bases[base], offset, p, n, err);
}

/* A run: the layer's document, then segments from where the tar stands. */
static int begin_run(Decoder *d, Err *err)
{
	json_t *o = json_loadb(buf_cstr(&d->frame), d->frame.len, JSON_REJECT_DUPLICATES, NULL);
	ShipLayer run = { 0 };
	int r = ship_layer_parse(json_object_get(o, "layer"), d->o.n_bases, &run, err);
	json_decref(o);
	if (r < 0)
		return r;
	if (run.from != d->pos || run.tar_size != d->o.tar_size || d->len) {
		ship_layer_done(&run);
		return err_set(err, -EPROTO, "the other side does not go on where the layer stands");
	}
	ship_layer_done(&d->run);
	d->run = run;
	segment_reader_free(d->reader);
	d->reader = segment_reader_new(read_base, d, (uint32_t) run.n_bases);
	(void) ZSTD_DCtx_reset(d->z, ZSTD_reset_session_only);
	return 0;
}

static int inflate(Decoder *d, Err *err)
{
	ZSTD_inBuffer in = { d->frame.data, d->frame.len, 0 };
	ZSTD_outBuffer out = { d->segment, SEGMENT_MAX, d->len };
	if (!d->reader)
		return err_set(err, -EPROTO, "data of a layer that was not begun");
	for (;;) {
		size_t before = in.pos + out.pos;
		size_t r = ZSTD_decompressStream(d->z, &out, &in);
		if (ZSTD_isError(r))
			return err_set(err, -EPROTO, "a segment is damaged: %s", ZSTD_getErrorName(r));
		d->len = out.pos;
		if (in.pos == in.size && out.pos < out.size)
			return 0;
		if (in.pos + out.pos == before || out.pos == out.size)
			return err_set(err, -EPROTO, "a segment is damaged: it is too large");
	}
}

static int open_segment(Decoder *d, Err *err)
{
	uint64_t position, output;
	int r = ship_position_parse(d->frame.data, d->frame.len, &position, err);
	if (r < 0)
		return r;
	if (!d->reader)
		return err_set(err, -EPROTO, "a segment of a layer that was not begun");
	if ((r = segment_reader_open(d->reader, d->segment, d->len, &output, err)) < 0)
		return r;
	if (position > d->o.tar_size || position - d->pos != output)
		return err_set(err, -EPROTO, "a segment is damaged: it does not lead to where it says");
	d->end = position;
	return 0;
}

static int next_segment(Decoder *d, Err *err)
{
	d->len = 0;
	for (;;) {
		uint8_t type;
		int r = d->o.next(d->o.user, &type, &d->frame, err);
		if (r < 0)
			return r;
		if (type == SHIP_SEGMENT)
			r = open_segment(d, err);
		else if (type == SHIP_DATA)
			r = inflate(d, err);
		else if (type == SHIP_JSON)
			r = begin_run(d, err);
		else
			r = err_set(err, -EPROTO, "the other side sent something else than the layer");
		if (r < 0)
			return bad(d, r);
		if (type == SHIP_SEGMENT)
			return 0;
	}
}

static ssize_t decode_read(Stream *s, void *p, size_t n, Err *err)
{
	Decoder *d = (Decoder *) s;
	if (d->pos == d->end) {
		if (d->pos == d->o.tar_size)
			return 0;
		int r = next_segment(d, err);
		if (r < 0)
			return r;
	}
	ssize_t k = segment_read(d->reader, p, n, err);
	if (k == 0)
		k = err_set(err, -EPROTO, "a segment is damaged: it ends early");
	if (k < 0)
		return bad(d, (int) k);
	d->pos += (uint64_t) k;
	return k;
}

static void decode_free(Stream *s)
{
	Decoder *d = (Decoder *) s;
	buf_done(&d->frame);
	(void) ZSTD_freeDCtx(d->z);
	free(d->segment);
	ship_layer_done(&d->run);
	segment_reader_free(d->reader);
	free(d);
}

Stream *ship_decode(const ShipDecodeOptions *o)
{
	Decoder *d = xcalloc(1, sizeof(*d));
	d->s = (Stream) { .read = decode_read, .free = decode_free };
	d->o = *o;
	d->z = ZSTD_createDCtx();
	if (!d->z)
		abort();
	(void) ZSTD_DCtx_setParameter(d->z, ZSTD_d_windowLogMax, SHIP_WINDOW_LOG);
	d->segment = xmalloc(SEGMENT_MAX);
	return &d->s;
}
