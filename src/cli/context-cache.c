// SPDX-License-Identifier: Apache-2.0
/*
 * The file: a header, then for each file a record of fixed size and its path, in order of the paths. Reading it is one pass beside
 * the walk's own list, which is in the same order.
 */
#include "cli/context-cache.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

#define MAGIC "steadcx1"
#define CACHE_MAX (256U << 20)
#define PATH_LEN_MAX 4096
#define RACY_NS (20 * NSEC_PER_MSEC) /* more than a tick of the clock that files are stamped with */

typedef struct Header {
	char magic[8];
	int64_t began; /* real ns */
} Header;

typedef struct Record {
	uint64_t ino;
	int64_t mtime, ctime, size;
	uint8_t hash[32];
	uint32_t path_len;
	uint32_t zero;
} Record;

struct ContextCache {
	Buf data;
	size_t at;
	int64_t trusted; /* files that changed at or after this are not believed */
};

static int64_t ns(const struct timespec *t)
{
	return (int64_t) t->tv_sec * NSEC_PER_SEC + t->tv_nsec;
}

ContextCache *context_cache_load(const char *path)
{
	ContextCache *c = xcalloc(1, sizeof(*c));
	Header h;
	if (!path || file_read(AT_FDCWD, path, CACHE_MAX, &c->data) < 0 || c->data.len < sizeof(h) ||
		memcmp(c->data.data, MAGIC, sizeof(h.magic)) != 0) {
		buf_clear(&c->data);
		return c;
	}
	memcpy(&h, c->data.data, sizeof(h));
	c->trusted = h.began - RACY_NS;
	c->at = sizeof(h);
	return c;
}

/* The record at c->at; false at the end, or where the rest is damaged. */
static bool record_at(ContextCache *c, Record *ret, const char **ret_path)
{
	if (c->data.len - c->at < sizeof(*ret))
		return false;
	memcpy(ret, c->data.data + c->at, sizeof(*ret));
	if (!ret->path_len || ret->path_len > PATH_LEN_MAX || c->data.len - c->at - sizeof(*ret) < ret->path_len)
		return false;
	*ret_path = c->data.data + c->at + sizeof(*ret);
	return (*ret_path)[ret->path_len - 1] == '\0' && strlen(*ret_path) + 1 == ret->path_len;
}

bool context_cache_find(ContextCache *c, ContextFile *file)
{
	Record r;
	const char *path;
	int order = -1;
	while (record_at(c, &r, &path) && (order = strcmp(path, file->path)) < 0)
		c->at += sizeof(r) + r.path_len;
	if (order != 0 || !record_at(c, &r, &path) || r.ino != file->ino || r.mtime != ns(&file->mtime) || r.ctime != ns(&file->ctime) ||
		r.size != file->size || r.ctime >= c->trusted || r.mtime >= c->trusted)
		return false;
	hex_encode(r.hash, sizeof(r.hash), file->hash);
	return true;
}

void context_cache_free(ContextCache *c)
{
	buf_done(&c->data);
	free(c);
}

void context_cache_save(const char *path, const Context *found, int64_t began)
{
	AUTO_BUF b = BUF_INIT;
	Header h = { .began = began };
	if (!path)
		return;
	memcpy(h.magic, MAGIC, sizeof(h.magic));
	buf_append(&b, &h, sizeof(h));
	for (size_t i = 0; i < found->n; i++) {
		const ContextFile *f = &found->files[i];
		size_t len = strlen(f->path) + 1;
		Record r = { .ino = f->ino, .mtime = ns(&f->mtime), .ctime = ns(&f->ctime), .size = f->size, .path_len = (uint32_t) len };
		if (f->type != 'f' || len > PATH_LEN_MAX || hex_decode(f->hash, sizeof(r.hash), r.hash) < 0)
			continue;
		buf_append(&b, &r, sizeof(r));
		buf_append(&b, f->path, len);
	}
	(void) file_write_atomic(AT_FDCWD, path, b.data, b.len, 0600, false);
}
