// SPDX-License-Identifier: Apache-2.0
#include "build/cache-dir.h"

#include <errno.h>
#include <time.h>
#include <zstd.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "image/sha256.h"
#include "io/frame-io.h"

#define CHUNK (128U << 10)
#define LEVEL 3 /* of zstd */
#define BUSY_MSEC 200

/* ── questions and answers ────────────────────────────────────────── */

static void drain(Context *c);

static int ask(Context *c, const CacheDir *d, json_t *question, Err *err)
{
	drain(c);
	(void) json_object_set_new(question, "dir", json_integer(d->number));
	return frame_send_json(c->fd, 'J', json_pack("{s:o}", "cache", question), err);
}

/* What a J frame says of the cache: "end", "done" …; a failure of the client is an error. Borrowed from `o`. */
static const char *verdict(const CacheDir *d, const json_t *o, Err *err)
{
	const char *text = json_string_value(json_object_get(o, "cache"));
	if (str_eq(text, "failed")) {
		const char *why = json_string_value(json_object_get(o, "text"));
		(void) err_set(err, -EIO, "%s: %s", d->name, why ? why : "the client gives no reason");
		return NULL;
	}
	if (!text)
		(void) err_set(err, -EPROTO, "%s: the client's answer is none", d->name);
	return text;
}

/* The answer, one J frame: it has to say `expected`. `ret` (may be NULL) is the caller's. */
static int answer(Context *c, const CacheDir *d, const char *expected, json_t **ret, Err *err)
{
	AUTO_BUF frame = BUF_INIT;
	uint8_t type;
	json_t *o = NULL;
	int r = context_receive(c, &type, &frame, &o, err);
	if (r < 0)
		return r;
	const char *text = verdict(d, o, err);
	if (!text)
		r = -EIO;
	else if (!str_eq(text, expected))
		r = str_eq(text, "busy") ? 1 : err_set(err, -EPROTO, "%s: the client answers '%s', not '%s'", d->name, text, expected);
	if (r == 0 && ret)
		*ret = json_incref(o);
	json_decref(o);
	return r;
}

int cache_dir_lock(Context *c, const CacheDir *d, Err *err)
{
	const struct timespec pause = { .tv_nsec = BUSY_MSEC * NSEC_PER_MSEC };
	int r;
	do {
		r = ask(c, d, json_pack("{s:b}", "lock", 1), err);
		if (r == 0)
			r = answer(c, d, "done", NULL, err);
		if (r == 1)
			(void) nanosleep(&pause, NULL);
	} while (r == 1);
	return r;
}

int cache_dir_sizes(Context *c, const CacheDir *d, json_t *names, json_t **ret, Err *err)
{
	json_t *o = NULL;
	size_t n = json_array_size(names);
	int r = ask(c, d, json_pack("{s:o}", "sizes", names), err);
	if (r < 0 || (r = answer(c, d, "sizes", &o, err)) != 0)
		return r < 0 ? r : -EPROTO;
	json_t *sizes = json_object_get(o, "sizes");
	if (json_array_size(sizes) == n)
		*ret = json_incref(sizes);
	else
		r = err_set(err, -EPROTO, "%s: the client gives other sizes than those that were asked for", d->name);
	json_decref(o);
	return r;
}

int cache_dir_keep(Context *c, const CacheDir *d, json_t *names, Err *err)
{
	int r = ask(c, d, json_pack("{s:o}", "keep", names ? names : json_null()), err);
	return r < 0 ? r : answer(c, d, "done", NULL, err);
}

/* ── reading ──────────────────────────────────────────────────────── */

typedef struct DirStream {
	Stream s;
	Context *c;
	const CacheDir *d;
	Buf frame;
	size_t at;
	bool ended, missing;
	int failed;
} DirStream;

static ssize_t fail(DirStream *s, int code)
{
	s->ended = true;
	s->failed = code;
	return code;
}

/* The next frame; at the last one `ended`. */
static ssize_t next(DirStream *s, Err *err)
{
	uint8_t type;
	json_t *o = NULL;
	s->at = 0;
	int r = context_receive(s->c, &type, &s->frame, &o, err);
	if (r < 0)
		return fail(s, r);
	if (type == 'C')
		return 0;
	buf_clear(&s->frame);
	const char *text = type == 'J' ? verdict(s->d, o, err) : NULL;
	if (type != 'J')
		(void) err_set(err, -EPROTO, "%s: an unexpected frame from the client", s->d->name);
	s->ended = str_eq(text, "end");
	s->missing = str_eq(text, "missing");
	if (text && !s->ended)
		(void) err_set(err, -ENOENT, "%s: a file of the cache is %s", s->d->name, text);
	json_decref(o);
	return s->ended ? 0 : fail(s, -ENOENT);
}

static ssize_t dir_read(Stream *stream, void *p, size_t n, Err *err)
{
	DirStream *s = (DirStream *) stream;
	if (s->failed)
		return err_set(err, s->failed, "%s: a file of the cache cannot be read", s->d->name);
	while (!s->ended && s->at == s->frame.len) {
		ssize_t r = next(s, err);
		if (r < 0)
			return r;
	}
	size_t left = s->frame.len - s->at;
	n = n < left ? n : left;
	if (n)
		memcpy(p, s->frame.data + s->at, n);
	s->at += n;
	return (ssize_t) n;
}

/* What is not wanted any more still comes. */
static void drain(Context *c)
{
	DirStream *s = c->cache_stream;
	while (s && !s->ended && next(s, NULL) == 0)
		;
	c->cache_stream = NULL;
}

static void dir_free(Stream *stream)
{
	DirStream *s = (DirStream *) stream;
	if (s->c->cache_stream == s)
		drain(s->c);
	buf_done(&s->frame);
	free(s);
}

Stream *cache_dir_stream(Context *c, const CacheDir *d, const char *name)
{
	DirStream *s = xcalloc(1, sizeof(*s));
	s->s = (Stream) { .read = dir_read, .free = dir_free };
	s->c = c;
	s->d = d;
	int r = ask(c, d, json_pack("{s:s}", "read", name), NULL);
	if (r < 0)
		(void) fail(s, r);
	else
		c->cache_stream = s;
	return &s->s;
}

int cache_dir_read(Context *c, const CacheDir *d, const char *name, size_t max, Buf *ret, Err *err)
{
	AUTO_STREAM s = cache_dir_stream(c, d, name);
	ssize_t n;
	while ((n = stream_read(s, buf_reserve(ret, CHUNK), CHUNK, err)) > 0) {
		buf_added(ret, (size_t) n);
		if (ret->len > max)
			return err_set(err, -EFBIG, "%s: %s is larger than %zu bytes", d->name, name, max);
	}
	if (((DirStream *) s)->missing)
		return 0;
	return n < 0 ? (int) n : 1;
}

/* ── writing ──────────────────────────────────────────────────────── */

typedef struct Writer {
	Context *c;
	ZSTD_CCtx *z; /* NULL: as it is */
	Sha256 sum;
	int64_t size;
	char *out;
} Writer;

static void writer_done(Writer *w)
{
	(void) ZSTD_freeCCtx(w->z);
	free(w->out);
}

static int write_bytes(Writer *w, const void *p, size_t n, Err *err)
{
	sha256_add(&w->sum, p, n);
	w->size += (int64_t) n;
	return n ? frame_send(w->c->fd, 'C', p, n, err) : 0;
}

static int pack(Writer *w, const void *p, size_t n, bool end, Err *err)
{
	ZSTD_inBuffer in = { p, n, 0 };
	for (;;) {
		ZSTD_outBuffer out = { w->out, CHUNK, 0 };
		size_t left = ZSTD_compressStream2(w->z, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return err_set(err, -EIO, "packing: %s", ZSTD_getErrorName(left));
		int r = write_bytes(w, w->out, out.pos, err);
		if (r < 0)
			return r;
		if (in.pos == in.size && (!end || left == 0))
			return 0;
	}
}

static int copy(Writer *w, Stream *in, Err *err)
{
	AUTO_FREE char *chunk = xmalloc(CHUNK);
	ssize_t n;
	while ((n = stream_read(in, chunk, CHUNK, err)) > 0) {
		int r = w->z ? pack(w, chunk, (size_t) n, false, err) : write_bytes(w, chunk, (size_t) n, err);
		if (r < 0)
			return r;
	}
	return n < 0 ? (int) n : w->z ? pack(w, NULL, 0, true, err) : 0;
}

static int check(Stream *hash, const char *diff_id, Err *err)
{
	char now[sizeof(DIGEST_PREFIX) + 64];
	int r = diff_id ? stream_hash_finish(hash, now, NULL, err) : 0;
	if (r < 0 || !diff_id || str_eq(now, diff_id))
		return r;
	return err_set(err, -EIO, "layer %s is damaged: its digest is %s", diff_id, now);
}

int cache_dir_put(Context *c, const CacheDir *d, Stream *in, const CachePut *put, CacheBlob *ret, Err *err)
{
	AUTO(writer_done) Writer w = { .c = c };
	AUTO_STREAM hash = stream_hash(in);
	int r = ask(c, d, json_pack("{s:b}", "write", 1), err);
	if (r < 0)
		return r;
	sha256_begin(&w.sum);
	if (put->pack) {
		w.out = xmalloc(CHUNK);
		w.z = ZSTD_createCCtx();
		if (!w.z)
			abort();
		(void) ZSTD_CCtx_setParameter(w.z, ZSTD_c_compressionLevel, LEVEL);
	}
	AUTO_ERR why = ERR_INIT;
	r = copy(&w, hash, &why);
	if (r == 0)
		r = check(hash, put->diff_id, &why);
	sha256_end(&w.sum, ret->hex);
	ret->size = w.size;
	/* Without a name the client forgets what it got. */
	AUTO_FREE char *name = r < 0 ? NULL : put->name ? xstrdup(put->name) : xasprintf(CACHE_BLOBS "%s", ret->hex);
	int e = ask(c, d, json_pack("{s:s?}", "name", name), err);
	if (e == 0)
		e = answer(c, d, "done", NULL, err);
	return r < 0 ? err_move(err, &why) : e;
}
