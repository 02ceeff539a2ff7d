// SPDX-License-Identifier: Apache-2.0
/*
 * Decompression is libarchive's: its "raw" format with one filter, the one that the first bytes call
 * for. A filter that libarchive can only offer by starting a program is refused, since which
 * program that is would depend on PATH.
 */
#include "image/stream.h"

#include <archive.h>
#include <errno.h>
#include <openssl/evp.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

#define RATIO_FREE (64ULL << 20) /* below this, any ratio is harmless */
#define CHUNK (256U << 10)

void stream_free(Stream *s)
{
	if (s)
		s->free(s);
}

void stream_freep(Stream **s)
{
	stream_free(*s);
}

ssize_t stream_read(Stream *s, void *p, size_t n, Err *err)
{
	return s->read(s, p, n, err);
}

ssize_t stream_read_full(Stream *s, void *p, size_t n, Err *err)
{
	size_t have = 0;
	while (have < n) {
		ssize_t k = s->read(s, (char *) p + have, n - have, err);
		if (k < 0)
			return k;
		if (k == 0)
			break;
		have += (size_t) k;
	}
	return (ssize_t) have;
}

/* A descriptor. */

typedef struct FdStream {
	Stream s;
	int fd;
} FdStream;

static ssize_t fd_read(Stream *s, void *p, size_t n, Err *err)
{
	FdStream *f = (FdStream *) s;
	for (;;) {
		ssize_t k = read(f->fd, p, n);
		if (k >= 0)
			return k;
		if (errno != EINTR)
			return err_errno(err, -errno, "reading the archive");
	}
}

static void fd_free(Stream *s)
{
	free(s);
}

Stream *stream_fd(int fd)
{
	FdStream *f = xcalloc(1, sizeof(*f));
	f->s = (Stream) { .read = fd_read, .free = fd_free };
	f->fd = fd;
	return &f->s;
}

/* A piece of a file. */

typedef struct FileStream {
	Stream s;
	int fd;
	uint64_t offset, left;
} FileStream;

static ssize_t file_stream_read(Stream *s, void *p, size_t n, Err *err)
{
	FileStream *f = (FileStream *) s;
	if (n > f->left)
		n = (size_t) f->left;
	if (n == 0)
		return 0;
	for (;;) {
		ssize_t k = pread(f->fd, p, n, (off_t) f->offset);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return err_errno(err, -errno, "reading the archive");
		f->offset += (uint64_t) k;
		f->left -= (uint64_t) k;
		return k;
	}
}

static int file_stream_skip(Stream *s, uint64_t n, Err *err)
{
	FileStream *f = (FileStream *) s;
	if (n > f->left)
		n = f->left;
	f->offset += n;
	f->left -= n;
	return 0;
}

Stream *stream_file(int fd, uint64_t offset, uint64_t length)
{
	FileStream *f = xcalloc(1, sizeof(*f));
	f->s = (Stream) { .read = file_stream_read, .skip = file_stream_skip, .free = fd_free };
	f->fd = fd;
	f->offset = offset;
	f->left = length;
	return &f->s;
}

/* Memory. */

typedef struct MemoryStream {
	Stream s;
	const char *p;
	size_t left;
} MemoryStream;

static ssize_t memory_read(Stream *s, void *p, size_t n, Err *err)
{
	MemoryStream *m = (MemoryStream *) s;
	if (n > m->left)
		n = m->left;
	if (n)
		memcpy(p, m->p, n);
	m->p += n;
	m->left -= n;
	return (ssize_t) n;
}

Stream *stream_memory(const void *p, size_t n)
{
	MemoryStream *m = xcalloc(1, sizeof(*m));
	m->s = (Stream) { .read = memory_read, .free = fd_free };
	m->p = p;
	m->left = n;
	return &m->s;
}

/* Decompression. */

typedef struct UnpackStream {
	Stream s;
	Stream *inner;
	struct archive *a; /* NULL = as it is */
	Err inner_err;     /* what the inner stream failed with, inside libarchive */
	char head[6];
	size_t head_len, head_used;
	uint64_t in, out, max;
	char *chunk;
} UnpackStream;

static ssize_t inner_read(UnpackStream *u, void *p, size_t n, Err *err)
{
	size_t head = u->head_len - u->head_used;
	if (head) {
		if (n > head)
			n = head;
		memcpy(p, u->head + u->head_used, n);
		u->head_used += n;
	} else {
		ssize_t k = stream_read(u->inner, p, n, err);
		if (k < 0)
			return k;
		n = (size_t) k;
	}
	u->in += n;
	return (ssize_t) n;
}

static la_ssize_t archive_read_cb(struct archive *a, void *user, const void **ret)
{
	UnpackStream *u = user;
	ssize_t n = inner_read(u, u->chunk, CHUNK, &u->inner_err);
	if (n < 0) {
		archive_set_error(a, (int) -n, "%s", err_text(&u->inner_err));
		return ARCHIVE_FATAL;
	}
	*ret = u->chunk;
	return n;
}

static ssize_t unpack_read(Stream *s, void *p, size_t n, Err *err)
{
	UnpackStream *u = (UnpackStream *) s;
	ssize_t k;
	if (!u->a) {
		k = inner_read(u, p, n, err);
	} else {
		k = (ssize_t) archive_read_data(u->a, p, n);
		if (k < 0 && u->inner_err.code)
			return err_move(err, &u->inner_err);
		if (k < 0)
			return err_set(err, -EINVAL, "the compressed data is damaged or cut off: %s",
				archive_error_string(u->a) ? archive_error_string(u->a) : "unknown error");
	}
	if (k < 0)
		return k;
	u->out += (uint64_t) k;
	if (u->out > u->max)
		return err_set(err, -EFBIG, "more than the limit of %llu bytes when unpacked", (unsigned long long) u->max);
	if (u->a && u->out > RATIO_FREE && u->out / LIMIT_LAYER_RATIO > u->in)
		return err_set(err, -EFBIG,
			"unpacks to more than %d times its size: taken for a decompression bomb", LIMIT_LAYER_RATIO);
	return k;
}

static void unpack_free(Stream *s)
{
	UnpackStream *u = (UnpackStream *) s;
	if (u->a)
		(void) archive_read_free(u->a);
	stream_free(u->inner);
	err_done(&u->inner_err);
	free(u->chunk);
	free(u);
}

typedef struct Packing {
	const char *name, *magic;
	size_t n;
	int (*filter)(struct archive *a);
} Packing;

static const Packing *packing_find(const char *head, size_t n)
{
	static const Packing packings[] = {
		{ "gzip", "\x1f\x8b", 2, archive_read_support_filter_gzip },
		{ "zstd", "\x28\xb5\x2f\xfd", 4, archive_read_support_filter_zstd },
		{ "xz", "\xfd" "7zXZ\0", 6, archive_read_support_filter_xz },
		{ "bzip2", "BZh", 3, archive_read_support_filter_bzip2 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(packings); i++)
		if (n >= packings[i].n && memcmp(head, packings[i].magic, packings[i].n) == 0)
			return &packings[i];
	return NULL;
}

static int start_filter(UnpackStream *u, const Packing *p, Err *err)
{
	struct archive_entry *entry;
	u->a = archive_read_new();
	if (!u->a)
		return err_set(err, -ENOMEM, "out of memory");
	u->chunk = xmalloc(CHUNK);
	if (p->filter(u->a) != ARCHIVE_OK)
		return err_set(err, -ENOTSUP, "compressed with %s, which this build of libarchive cannot read itself", p->name);
	(void) archive_read_support_format_raw(u->a);
	(void) archive_read_support_format_empty(u->a);
	if (archive_read_open(u->a, u, NULL, archive_read_cb, NULL) == ARCHIVE_OK) {
		int r = archive_read_next_header(u->a, &entry);
		if (r == ARCHIVE_OK || r == ARCHIVE_EOF)
			return 0;
	}
	if (u->inner_err.code)
		return err_move(err, &u->inner_err);
	return err_set(err, -EINVAL, "the %s data is damaged or cut off: %s", p->name,
		archive_error_string(u->a) ? archive_error_string(u->a) : "unknown error");
}

int stream_unpack(Stream *inner, uint64_t max, Stream **ret, bool *ret_packed, Err *err)
{
	UnpackStream *u = xcalloc(1, sizeof(*u));
	u->s = (Stream) { .read = unpack_read, .free = unpack_free };
	u->inner = inner;
	u->max = max;
	ssize_t n = stream_read_full(inner, u->head, sizeof(u->head), err);
	if (n < 0) {
		unpack_free(&u->s);
		return (int) n;
	}
	u->head_len = (size_t) n;
	const Packing *p = packing_find(u->head, u->head_len);
	int r = p ? start_filter(u, p, err) : 0;
	if (r < 0) {
		unpack_free(&u->s);
		return r;
	}
	if (ret_packed)
		*ret_packed = p != NULL;
	*ret = &u->s;
	return 0;
}

/* Hashing. */

typedef struct HashStream {
	Stream s;
	Stream *inner;
	EVP_MD_CTX *md;
	uint64_t bytes;
} HashStream;

static ssize_t hash_read(Stream *s, void *p, size_t n, Err *err)
{
	HashStream *h = (HashStream *) s;
	ssize_t k = stream_read(h->inner, p, n, err);
	if (k > 0) {
		if (EVP_DigestUpdate(h->md, p, (size_t) k) != 1)
			abort();
		h->bytes += (uint64_t) k;
	}
	return k;
}

static void hash_free(Stream *s)
{
	HashStream *h = (HashStream *) s;
	EVP_MD_CTX_free(h->md);
	free(h);
}

Stream *stream_hash(Stream *inner)
{
	HashStream *h = xcalloc(1, sizeof(*h));
	h->s = (Stream) { .read = hash_read, .free = hash_free };
	h->inner = inner;
	h->md = EVP_MD_CTX_new();
	if (!h->md || EVP_DigestInit_ex(h->md, EVP_sha256(), NULL) != 1)
		abort();
	return &h->s;
}

int stream_hash_finish(Stream *s, char digest[sizeof(DIGEST_PREFIX) + 64], uint64_t *ret_bytes, Err *err)
{
	HashStream *h = (HashStream *) s;
	AUTO_FREE char *buf = xmalloc(CHUNK);
	ssize_t k;
	while ((k = stream_read(s, buf, CHUNK, err)) > 0)
		;
	if (k < 0)
		return (int) k;
	uint8_t raw[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	if (EVP_DigestFinal_ex(h->md, raw, &n) != 1 || n != 32)
		abort();
	memcpy(digest, DIGEST_PREFIX, sizeof(DIGEST_PREFIX) - 1);
	hex_encode(raw, n, digest + sizeof(DIGEST_PREFIX) - 1);
	if (ret_bytes)
		*ret_bytes = h->bytes;
	return 0;
}
