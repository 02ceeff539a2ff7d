// SPDX-License-Identifier: Apache-2.0
/*
 * The file: a header, then for each entry a record of fixed size and its path, in order of the paths. Reading it is one pass beside
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

#define MAGIC "steadcx2"
#define CACHE_MAX (256U << 20)
#define PATH_LEN_MAX 4096
#define RACY_NS (20 * NSEC_PER_MSEC) /* more than a tick of the clock that files are stamped with */

typedef struct Header {
	char magic[8];
	int64_t began; /* real ns */
	uint8_t hash[32]; /* of the manifest */
} Header;

typedef struct Record {
	uint64_t ino;
	int64_t mtime, ctime, size;
	uint8_t hash[32];
	uint32_t path_len;
	uint16_t mode;
	uint8_t type, zero;
} Record;

struct ContextCache {
	Buf data;
	int64_t trusted; /* what changed at or after this is not believed */
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
	return c;
}

/* The record at `at`; false at the end, or where the rest is damaged. */
static bool record_at(const ContextCache *c, size_t at, Record *ret, const char **ret_path)
{
	if (c->data.len < at + sizeof(*ret))
		return false;
	memcpy(ret, c->data.data + at, sizeof(*ret));
	if (!ret->path_len || ret->path_len > PATH_LEN_MAX || c->data.len - at - sizeof(*ret) < ret->path_len)
		return false;
	*ret_path = c->data.data + at + sizeof(*ret);
	return (*ret_path)[ret->path_len - 1] == '\0' && strlen(*ret_path) + 1 == ret->path_len;
}

static bool same_inode(const ContextCache *c, const Record *r, const ContextFile *f)
{
	return r->ino == f->ino && r->mtime == ns(&f->mtime) && r->ctime == ns(&f->ctime) && r->size == f->size && r->ctime < c->trusted &&
	       r->mtime < c->trusted;
}

/* Is all that the manifest says of it the same? Of a directory that is what stat(2) says now, whatever came and went in it. */
static bool take_record(const ContextCache *c, const Record *r, ContextFile *f)
{
	bool same = r->type == f->type && r->mode == f->mode && r->mtime == ns(&f->mtime);
	if (r->type == 'd')
		return same;
	bool inode = same_inode(c, r, f);
	if (inode && r->type == 'f' && f->type == 'f')
		hex_encode(r->hash, sizeof(r->hash), f->hash);
	return same && inode;
}

bool context_cache_take(const ContextCache *c, Context *found)
{
	Header h;
	Record r;
	const char *path;
	bool same = c->data.len != 0;
	size_t at = sizeof(h);
	for (size_t i = 0; i < found->n; i++) {
		int order = -1;
		while (record_at(c, at, &r, &path) && (order = strcmp(path, found->files[i].path)) < 0) {
			same = false; /* it has gone */
			at += sizeof(r) + r.path_len;
		}
		if (order != 0) {
			same = false;
			continue;
		}
		same = take_record(c, &r, &found->files[i]) && same;
		at += sizeof(r) + r.path_len;
	}
	if (!same || at != c->data.len)
		return false;
	memcpy(&h, c->data.data, sizeof(h));
	hex_encode(h.hash, sizeof(h.hash), found->hash);
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
	if (hex_decode(found->hash, sizeof(h.hash), h.hash) < 0)
		return;
	buf_append(&b, &h, sizeof(h));
	for (size_t i = 0; i < found->n; i++) {
		const ContextFile *f = &found->files[i];
		size_t len = strlen(f->path) + 1;
		Record r = { .ino = f->ino, .mtime = ns(&f->mtime), .ctime = ns(&f->ctime), .size = f->size, .path_len = (uint32_t) len,
			.mode = (uint16_t) f->mode, .type = (uint8_t) f->type };
		if (len > PATH_LEN_MAX || (f->type == 'f' && hex_decode(f->hash, sizeof(r.hash), r.hash) < 0))
			return;
		buf_append(&b, &r, sizeof(r));
		buf_append(&b, f->path, len);
	}
	(void) file_write_atomic(AT_FDCWD, path, b.data, b.len, 0600, false);
}
