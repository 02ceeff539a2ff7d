// SPDX-License-Identifier: Apache-2.0
#include "build/context-tar.h"

#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/tar.h"
#include "image/unpack.h"

#define CHUNK (128U << 10)

typedef struct TarContext {
	Files *files;
	TarReader *tar;
	Entries list; /* as they come */
	char *chunk;
	int64_t bytes;
} TarContext;

/* Holes of sparse files are zeros in the mirror. */
static int pad_to(TarContext *t, FilesWriter *w, int64_t to, Err *err)
{
	int r = 0;
	if (w->size < to)
		memset(t->chunk, 0, CHUNK);
	while (r == 0 && w->size < to) {
		int64_t n = to - w->size < CHUNK ? to - w->size : CHUNK;
		r = files_append(w, t->chunk, (size_t) n, err);
	}
	return r;
}

static int take_contents(TarContext *t, const TarEntry *from, Entry *e, Err *err)
{
	AUTO_FILES_WRITER w = FILES_WRITER_INIT;
	uint64_t offset;
	ssize_t n;
	e->size = (int64_t) from->size;
	if (from->size > LIMIT_CONTEXT_FILE || (t->bytes += e->size) > LIMIT_CONTEXT_BYTES)
		return err_set(err, -EFBIG, "'%s': the build context is larger than %lld bytes", e->path, (long long) LIMIT_CONTEXT_BYTES);
	int r = stream_check_ratio((uint64_t) t->bytes, tar_offset(t->tar) + from->stored, err);
	if (r < 0)
		return err_wrap(err, "'%s'", e->path);
	r = files_begin(t->files, &w, err);
	while (r == 0 && (n = tar_read(t->tar, t->chunk, CHUNK, &offset, err)) != 0) {
		if (n < 0)
			return (int) n;
		if ((int64_t) offset > w.size) { /* the chunk is in use: keep its bytes */
			AUTO_FREE char *data = xmemdup(t->chunk, (size_t) n);
			r = pad_to(t, &w, (int64_t) offset, err);
			if (r == 0)
				r = files_append(&w, data, (size_t) n, err);
		} else {
			r = files_append(&w, t->chunk, (size_t) n, err);
		}
	}
	if (r < 0 || (r = pad_to(t, &w, e->size, err)) < 0)
		return r;
	return files_finish(&w, e->hash, err);
}

/* It has what the first name has. */
static int take_link(TarContext *t, const TarEntry *from, Entry *e, Err *err)
{
	AUTO_FREE char *target = NULL;
	int r = unpack_name(from->link, &target, err);
	if (r < 0)
		return r;
	for (size_t i = t->list.n - 1; i > 0; i--) {
		const Entry *o = &t->list.items[i - 1];
		if (!str_eq(o->path, target))
			continue;
		e->type = o->type;
		e->size = o->size;
		e->target = xstrdup(o->target);
		e->mode = o->mode;
		e->mtime = o->mtime;
		memcpy(e->hash, o->hash, sizeof(e->hash));
		if (o->type == 'f')
			e->link = steal_ptr(&target);
		return 0;
	}
	return err_set(err, -EINVAL, "'%s' is a hard link to '%s', which is not there before it", e->path, target);
}

static int take_entry(TarContext *t, const TarEntry *from, Err *err)
{
	char *name = NULL;
	int r = unpack_name(from->path, &name, err);
	if (r < 0)
		return r;
	if (!*name || from->type == TAR_CHARDEV || from->type == TAR_BLOCKDEV || from->type == TAR_FIFO) {
		free(name);
		return 0;
	}
	if (t->list.n >= LIMIT_CONTEXT_ENTRIES || !entry_path_valid(name)) {
		r = err_set(err, -EINVAL, "'%.200s': too many files, or a name that is too long", name);
		free(name);
		return r;
	}
	Entry *e = array_append(t->list.items, t->list.n);
	e->path = name;
	e->mode = from->mode & 07777;
	e->mtime = from->mtime;
	e->type = from->type == TAR_DIRECTORY ? 'd' : from->type == TAR_SYMLINK ? 'l' : 'f';
	if (from->type == TAR_FILE)
		return take_contents(t, from, e, err);
	if (from->type == TAR_HARDLINK)
		return take_link(t, from, e, err);
	if (from->type == TAR_SYMLINK)
		e->target = xstrdup(from->link);
	return e->type == 'l' && (!e->target || !*e->target) ? err_set(err, -EINVAL, "'%s' is a symbolic link to nothing", e->path) : 0;
}

typedef struct Ordered {
	size_t index;
	const Entry *e;
} Ordered;

static int ordered_order(const void *a, const void *b)
{
	const Ordered *x = a, *y = b;
	int r = strcmp(x->e->path, y->e->path);
	return r ? r : (x->index > y->index) - (x->index < y->index);
}

/* In order, the last of each name. */
static void put_in_order(Entries *from, Entries *to)
{
	AUTO_FREE Ordered *o = xcalloc(from->n + 1, sizeof(*o));
	for (size_t i = 0; i < from->n; i++)
		o[i] = (Ordered) { i, &from->items[i] };
	qsort(o, from->n, sizeof(*o), ordered_order);
	for (size_t i = 0; i < from->n; i++) {
		if (i + 1 < from->n && str_eq(o[i].e->path, o[i + 1].e->path))
			continue;
		Entry *e = &from->items[o[i].index];
		*array_append(to->items, to->n) = *e;
		o[i].index = SIZE_MAX;
	}
	/* What was moved is not ours to free. */
	for (size_t i = 0; i < from->n; i++)
		if (o[i].index == SIZE_MAX)
			from->items[o[i].e - from->items] = (Entry) { 0 };
}

int context_read_tar(Files *f, int fd, Entries *ret, Err *err)
{
	TarContext t = { .files = f };
	AUTO_STREAM plain = NULL;
	const TarEntry *e;
	int r = stream_unpack(stream_fd(fd), LIMIT_CONTEXT_BYTES, &plain, NULL, err);
	if (r < 0)
		return err_wrap(err, "the build context");
	t.chunk = xmalloc(CHUNK);
	t.tar = tar_reader_new(plain, NULL, NULL);
	while ((r = tar_next(t.tar, &e, err)) == 1)
		if ((r = take_entry(&t, e, err)) < 0)
			break;
	if (r == 0 && !tar_complete(t.tar))
		r = err_set(err, -EINVAL, "the tar archive is cut off: its end marker is missing");
	if (r == 0)
		r = tar_drain(t.tar, err);
	if (r == 0)
		put_in_order(&t.list, ret);
	tar_reader_free(t.tar);
	free(t.chunk);
	entries_done(&t.list);
	return r < 0 ? err_wrap(err, "the build context") : 0;
}
