// SPDX-License-Identifier: Apache-2.0
/*
 * What is compressed comes as members, one behind the other (gzip, zstd frames, xz and bzip2 streams): `cat a.gz b.gz` is a and b. Zeros behind
 * the last one are padding; anything else there, and an end within a member, is an error. So whoever reads to the end has read all of `inner`, and has its errors.
 *
 * Readers of tars ask for a block here and a file there. The decompressors work best in larger pieces, so small reads are served from a buffer.
 */
#include "image/stream.h"

#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "image/codec.h"

#define RATIO_FREE (64ULL << 20) /* below this, any ratio is harmless */
#define CHUNK (64U << 10)
#define READ_MAX (1U << 20) /* at once: also how far apart the checks against bombs are */

typedef struct UnpackStream {
	Stream s;
	Stream *inner;
	const Codec *codec; /* NULL: as it is */
	void *state;
	bool in_member, ended; /* ended: of inner */
	uint8_t *in, *out;     /* CHUNK each; in[in_at..in_len) is to be read, out[out_at..out_len) to be given */
	size_t in_at, in_len, out_at, out_len;
	uint64_t read, unpacked, max;
} UnpackStream;

/* Until there are `want` bytes of input, or its end. */
static int fill(UnpackStream *u, size_t want, Err *err)
{
	while (u->in_len - u->in_at < want && !u->ended) {
		if (u->in_at) {
			memmove(u->in, u->in + u->in_at, u->in_len - u->in_at);
			u->in_len -= u->in_at;
			u->in_at = 0;
		}
		ssize_t n = stream_read(u->inner, u->in + u->in_len, CHUNK - u->in_len, err);
		if (n < 0)
			return (int) n;
		u->ended = n == 0;
		u->in_len += (size_t) n;
		u->read += (uint64_t) n;
	}
	return 0;
}

/* Between members. 1: a further one begins; 0: there is none. */
static int next_member(UnpackStream *u, Err *err)
{
	for (;;) {
		int r = fill(u, CODEC_MAGIC_MAX, err);
		if (r < 0)
			return r;
		if (u->in_at == u->in_len)
			return 0;
		if (u->in[u->in_at])
			break;
		u->in_at++;
	}
	const Codec *c = codec_find(u->in + u->in_at, u->in_len - u->in_at);
	if (!c || c->step != u->codec->step)
		return err_set(err, -EBADMSG, "the compressed data is followed by something else than %s", u->codec->name);
	return 1;
}

int stream_check_ratio(uint64_t out, uint64_t in, Err *err)
{
	if (out <= RATIO_FREE || out / LIMIT_LAYER_RATIO <= in)
		return 0;
	return err_set(err, -EFBIG, "unpacks to more than %d times its size: taken for a decompression bomb", LIMIT_LAYER_RATIO);
}

static int count(UnpackStream *u, size_t n, Err *err)
{
	u->unpacked += n;
	if (u->unpacked > u->max)
		return err_set(err, -EFBIG, "more than the limit of %llu bytes when unpacked", (unsigned long long) u->max);
	return u->codec ? stream_check_ratio(u->unpacked, u->read, err) : 0;
}

/* Some bytes, as many as there is room for if they come at once; 0 at the end. */
static ssize_t decompress(UnpackStream *u, uint8_t *p, size_t n, Err *err)
{
	CodecIo io = { .out = p, .out_len = n };
	while (io.out_len) {
		int r = u->in_member ? 1 : next_member(u, err);
		if (r == 0)
			break;
		if (r < 0 || (r = fill(u, 1, err)) < 0)
			return r;
		size_t had = io.out_len;
		io.in = u->in + u->in_at;
		io.in_len = u->in_len - u->in_at;
		r = u->codec->step(u->state, &io, err);
		if (r < 0)
			return r;
		/* What it keeps back comes when there is nothing more to take. */
		bool idle = io.out_len == had && io.in_len == u->in_len - u->in_at;
		u->in_at = u->in_len - io.in_len;
		u->in_member = r == 0;
		if (idle && u->in_member && (u->ended || io.in_len))
			return err_set(err, -EBADMSG, "the compressed data is %s", u->ended ? "cut off" : "damaged");
	}
	return (ssize_t) (n - io.out_len);
}

static ssize_t read_packed(UnpackStream *u, void *p, size_t n, Err *err)
{
	if (n > READ_MAX)
		n = READ_MAX;
	if (u->out_at == u->out_len) {
		bool direct = n >= CHUNK;
		ssize_t k = decompress(u, direct ? p : u->out, direct ? n : CHUNK, err);
		if (k <= 0)
			return k;
		int r = count(u, (size_t) k, err);
		if (r < 0)
			return r;
		if (direct)
			return k;
		u->out_at = 0;
		u->out_len = (size_t) k;
	}
	if (n > u->out_len - u->out_at)
		n = u->out_len - u->out_at;
	memcpy(p, u->out + u->out_at, n);
	u->out_at += n;
	return (ssize_t) n;
}

static ssize_t read_plain(UnpackStream *u, void *p, size_t n, Err *err)
{
	ssize_t k;
	if (u->in_at < u->in_len) {
		k = (ssize_t) (n < u->in_len - u->in_at ? n : u->in_len - u->in_at);
		memcpy(p, u->in + u->in_at, (size_t) k);
		u->in_at += (size_t) k;
	} else {
		k = stream_read(u->inner, p, n, err);
	}
	int r = k > 0 ? count(u, (size_t) k, err) : 0;
	return r < 0 ? r : k;
}

static ssize_t unpack_read(Stream *s, void *p, size_t n, Err *err)
{
	UnpackStream *u = (UnpackStream *) s;
	return u->codec ? read_packed(u, p, n, err) : read_plain(u, p, n, err);
}

static void unpack_free(Stream *s)
{
	UnpackStream *u = (UnpackStream *) s;
	if (u->state)
		u->codec->close(u->state);
	stream_free(u->inner);
	free(u->in);
	free(u->out);
	free(u);
}

int stream_unpack(Stream *inner, uint64_t max, Stream **ret, bool *ret_packed, Err *err)
{
	UnpackStream *u = xcalloc(1, sizeof(*u));
	u->s = (Stream) { .read = unpack_read, .free = unpack_free };
	u->inner = inner;
	u->max = max;
	u->in = xmalloc(CHUNK);
	int r = fill(u, CODEC_MAGIC_MAX, err);
	if (r == 0 && (u->codec = codec_find(u->in, u->in_len))) {
		u->out = xmalloc(CHUNK);
		u->state = u->codec->open();
		if (!u->state)
			r = err_set(err, -ENOMEM, "out of memory while unpacking");
	}
	if (r < 0) {
		unpack_free(&u->s);
		return r;
	}
	if (ret_packed)
		*ret_packed = u->codec != NULL;
	*ret = &u->s;
	return 0;
}
