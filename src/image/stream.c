// SPDX-License-Identifier: Apache-2.0
#include "image/stream.h"

#include <errno.h>

#include "base/mem.h"
#include "image/sha256.h"

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

/* Hashing. */

typedef struct HashStream {
	Stream s;
	Stream *inner;
	Sha256 sum;
	uint64_t bytes;
} HashStream;

static ssize_t hash_read(Stream *s, void *p, size_t n, Err *err)
{
	HashStream *h = (HashStream *) s;
	ssize_t k = stream_read(h->inner, p, n, err);
	if (k > 0) {
		sha256_add(&h->sum, p, (size_t) k);
		h->bytes += (uint64_t) k;
	}
	return k;
}

Stream *stream_hash(Stream *inner)
{
	HashStream *h = xcalloc(1, sizeof(*h));
	h->s = (Stream) { .read = hash_read, .free = fd_free };
	h->inner = inner;
	sha256_begin(&h->sum);
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
	sha256_digest(&h->sum, digest);
	if (ret_bytes)
		*ret_bytes = h->bytes;
	return 0;
}
