// SPDX-License-Identifier: Apache-2.0
#include "build/context.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/context-tar.h"
#include "io/frame-io.h"

#define WANT_MAX 10000 /* files asked for at once */
#define CHUNK 65536
#define SECRET_MAX (512U << 10)

int context_init(Context *c, int state, int fd, ContextSource source, const char *id, Err *err)
{
	char hex[DIGEST_HEX_MAX];
	digest_sha256(id, strlen(id), hex);
	AUTO_FREE char *dir = xasprintf("build/contexts/%.32s", hex);
	*c = (Context) { .fd = fd, .source = source, .files = { .dir = -1, .tmp = -1 }, .dir = -1, .kept = -1 };
	int r = files_open(state, &c->files, err);
	if (r < 0)
		return r;
	if ((mkdirat(state, "build/contexts", 0700) < 0 && errno != EEXIST) || (mkdirat(state, dir, 0700) < 0 && errno != EEXIST))
		return err_errno(err, -errno, "%s", dir);
	c->dir = openat(state, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dir < 0)
		return err_errno(err, -errno, "%s", dir);
	(void) futimens(c->dir, NULL); /* the time of its last use */
	return 0;
}

void context_done(Context *c)
{
	entries_done(&c->list);
	files_close(&c->files);
	if (c->dir >= 0)
		(void) close(c->dir);
	if (c->kept >= 0)
		(void) close(c->kept);
	c->dir = c->kept = -1;
}

int context_receive(Context *c, uint8_t *ret_type, Buf *ret, json_t **ret_json, Err *err)
{
	*ret_json = NULL;
	int r = frame_receive(c->fd, ret_type, ret, FRAME_IO_MAX, err);
	if (r < 0)
		return err_wrap(err, "the build context");
	if (r == 0)
		return err_set(err, -ECONNRESET, "the build context: the client has closed the connection");
	if (*ret_type != 'J')
		return 0;
	json_t *o = json_loadb(buf_cstr(ret), ret->len, 0, NULL);
	const char *error = json_string_value(json_object_get(o, "error"));
	if (json_is_object(o) && !error) {
		*ret_json = o;
		return 0;
	}
	r = error ? err_set(err, -EIO, "%s", error) : err_set(err, -EPROTO, "the build context: a frame that is no JSON object");
	json_decref(o);
	return r;
}

static int unexpected(uint8_t type, Err *err)
{
	return err_set(err, -EPROTO, "the build context: an unexpected frame '%c' from the client", type >= ' ' && type < 0x7f ? type : '?');
}

/* The manifest. */

/* It stays open: another build of the same context may put its own in its place. */
static bool hash_kept(Context *c)
{
	int64_t size;
	c->kept = openat(c->dir, "manifest", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return c->kept >= 0 && sha256_fd(c->kept, c->hash, &size) == 0;
}

static int load_kept(Context *c, Err *err)
{
	AUTO_ENTRIES l = { 0 };
	AUTO_FREE char *chunk = xmalloc(CHUNK);
	ssize_t n;
	int r = 0;
	for (int64_t at = 0; r == 0 && (n = pread(c->kept, chunk, CHUNK, at)) != 0; at += n)
		r = n < 0 ? err_errno(err, -errno, "the kept list of files") : entries_feed(&l, chunk, (size_t) n, err);
	if (r == 0)
		r = entries_end(&l, err);
	if (r < 0)
		return err_wrap(err, "the build context");
	c->list = l;
	l = (Entries) { 0 };
	return 0;
}

static int receive_manifest(Context *c, bool have, Err *err)
{
	AUTO_ENTRIES l = { 0 };
	AUTO_BUF frame = BUF_INIT;
	AUTO_BUF all = BUF_INIT;
	for (;;) {
		uint8_t type;
		json_t *o;
		int r = context_receive(c, &type, &frame, &o, err);
		if (r < 0)
			return r;
		bool same = json_is_true(json_object_get(o, "same")), end = json_object_get(o, "manifest") != NULL;
		json_decref(o);
		if (type == 'J' && same && have && !all.len)
			return 0;
		if (type == 'J' && end)
			break;
		if (type != 'M')
			return unexpected(type, err);
		if ((r = entries_feed(&l, frame.data, frame.len, err)) < 0)
			return err_wrap(err, "the build context");
		buf_append(&all, frame.data, frame.len);
	}
	int r = entries_end(&l, err);
	if (r < 0)
		return err_wrap(err, "the build context");
	c->list = l;
	c->loaded = true;
	l = (Entries) { 0 };
	digest_sha256(buf_cstr(&all), all.len, c->hash);
	/* Losing it costs the sending of a list, no more. */
	(void) file_write_atomic(c->dir, "manifest", buf_cstr(&all), all.len, 0600, false);
	return 0;
}

/* Names of one file get a number in common; what they were called after is the client's matter. */
static void join_links(Entries *l)
{
	for (size_t i = 0; i < l->n; i++) {
		Entry *e = &l->items[i], *first = e->link ? entries_find(l, e->link) : NULL;
		free_and_null(&e->link);
		if (first && first != e && first->type == 'f' && e->type == 'f' && str_eq(first->hash, e->hash))
			e->inode = first->inode = (uint64_t) (first - l->items) + 1;
	}
}

int context_open(Context *c, Err *err)
{
	int r = 0;
	if (c->open)
		return 0;
	if (c->source == CONTEXT_TAR) {
		r = context_read_tar(&c->files, c->fd, &c->list, err);
		c->loaded = true;
	} else if (c->source == CONTEXT_CLIENT) {
		bool have = hash_kept(c);
		r = frame_send_json(c->fd, 'J', json_pack("{s:{s:s?, s:s*}}", "context", "have", have ? c->hash : NULL, "name", c->name), err);
		if (r == 0)
			r = receive_manifest(c, have, err);
	}
	if (c->loaded)
		join_links(&c->list);
	c->open = r == 0;
	return r;
}

int context_load(Context *c, Err *err)
{
	int r = context_open(c, err);
	if (r < 0 || c->loaded || c->source != CONTEXT_CLIENT)
		return r;
	if ((r = load_kept(c, err)) < 0)
		return r;
	join_links(&c->list);
	c->loaded = true;
	return 0;
}

/* Contents. */

typedef struct Wanted {
	size_t *items; /* indexes, in order */
	size_t n, left;
} Wanted;

static int index_order(const void *a, const void *b)
{
	size_t x = *(const size_t *) a, y = *(const size_t *) b;
	return (x > y) - (x < y);
}

static int take_file(Context *c, FilesWriter *w, Wanted *wanted, const json_t *o, Err *err)
{
	char hex[DIGEST_HEX_MAX];
	size_t index = (size_t) json_integer_value(json_object_get(o, "file"));
	if (!json_is_integer(json_object_get(o, "file")) || !bsearch(&index, wanted->items, wanted->n, sizeof(size_t), index_order))
		return err_set(err, -EPROTO, "the build context: the client sends a file that was not asked for");
	const Entry *e = &c->list.items[index];
	int r = w->fd < 0 ? files_begin(&c->files, w, err) : 0; /* an empty file has no frames */
	if (r < 0 || (r = files_finish(w, hex, err)) < 0)
		return r;
	if (!str_eq(hex, e->hash))
		return err_set(err, -EAGAIN, "'%s' was changed while the build read it: build again", e->path);
	wanted->left--;
	return 0;
}

static int receive_files(Context *c, Wanted *wanted, Err *err)
{
	AUTO_FILES_WRITER w = FILES_WRITER_INIT;
	AUTO_BUF frame = BUF_INIT;
	while (wanted->left) {
		uint8_t type;
		json_t *o;
		int r = context_receive(c, &type, &frame, &o, err);
		if (r < 0)
			return r;
		if (type == 'J') {
			r = take_file(c, &w, wanted, o, err);
		} else if (type != 'F') {
			r = unexpected(type, err);
		} else {
			c->received += (int64_t) frame.len;
			if (w.size + (int64_t) frame.len > LIMIT_CONTEXT_FILE)
				return err_set(err, -EFBIG, "the build context: a file of more than %lld bytes", (long long) LIMIT_CONTEXT_FILE);
			if (w.fd < 0)
				r = files_begin(&c->files, &w, err);
			if (r == 0)
				r = files_append(&w, frame.data, frame.len, err);
		}
		json_decref(o);
		if (r < 0)
			return r;
	}
	return 0;
}

static int want(Context *c, Wanted *wanted, Err *err)
{
	json_t *list = json_array();
	for (size_t i = 0; i < wanted->n; i++)
		(void) json_array_append_new(list, json_integer((json_int_t) wanted->items[i]));
	int r = frame_send_json(c->fd, 'J', json_pack("{s:o, s:s*}", "want", list, "name", c->name), err);
	wanted->left = wanted->n;
	return r < 0 ? err_wrap(err, "the build context") : receive_files(c, wanted, err);
}

/* Two entries with the same contents need one copy of them. */
static bool asked_for(const Context *c, const Wanted *w, const char *hash)
{
	return w->n && str_eq(c->list.items[w->items[w->n - 1]].hash, hash);
}

static int content_order(const void *a, const void *b, void *list)
{
	const Entry *items = ((const Entries *) list)->items;
	int r = strcmp(items[*(const size_t *) a].hash, items[*(const size_t *) b].hash);
	return r ? r : index_order(a, b);
}

int context_fetch(Context *c, const size_t *indexes, size_t n, Err *err)
{
	AUTO_FREE size_t *missing = xcalloc(n + 1, sizeof(size_t));
	Wanted w = { 0 };
	size_t k = 0;
	for (size_t i = 0; i < n; i++) {
		const Entry *e = &c->list.items[indexes[i]];
		if (e->type == 'f' && !files_has(&c->files, e->hash, e->size))
			missing[k++] = indexes[i];
	}
	if (!k)
		return 0;
	if (c->source != CONTEXT_CLIENT)
		return err_set(err, -EIO, "'%s' of the build context is gone from the state directory: build again", c->list.items[missing[0]].path);
	qsort_r(missing, k, sizeof(size_t), content_order, &c->list);
	w.items = xcalloc(k, sizeof(size_t));
	for (size_t i = 0; i < k; i++)
		if (!asked_for(c, &w, c->list.items[missing[i]].hash))
			w.items[w.n++] = missing[i];
	qsort(w.items, w.n, sizeof(size_t), index_order);
	int r = 0;
	for (size_t at = 0; r == 0 && at < w.n; at += WANT_MAX) {
		Wanted part = { .items = w.items + at, .n = w.n - at < WANT_MAX ? w.n - at : WANT_MAX };
		r = want(c, &part, err);
	}
	free(w.items);
	return r;
}

int context_git(Context *c, const char *url, char ret[GIT_COMMIT_MAX], Err *err)
{
	AUTO_BUF frame = BUF_INIT;
	uint8_t type;
	json_t *o = NULL;
	if (c->source == CONTEXT_TAR)
		return err_set(err, -ENOTSUP, "a repository is fetched by the client, and docker's classic builder is none that can: use stead build, or clone it and COPY it");
	int r = frame_send_json(c->fd, 'J', json_pack("{s:s}", "git", url), err);
	if (r < 0 || (r = context_receive(c, &type, &frame, &o, err)) < 0)
		return r;
	const char *commit = json_string_value(json_object_get(o, "commit"));
	if (commit && git_commit_valid(commit))
		(void) snprintf(ret, GIT_COMMIT_MAX, "%s", commit);
	else
		r = err_set(err, -EPROTO, "the client gives no commit");
	json_decref(o);
	return r;
}

int context_fetch_entries(Context *c, const Entries *l, Err *err)
{
	AUTO_FREE size_t *wanted = xcalloc(l->n + 1, sizeof(size_t));
	size_t n = 0;
	for (size_t i = 0; i < l->n; i++)
		if (l->items[i].type == 'f' && l->items[i].source)
			wanted[n++] = entries_lower(&c->list, l->items[i].source);
	return context_fetch(c, wanted, n, err);
}

int context_secret(Context *c, const char *id, Buf *ret, Err *err)
{
	AUTO_BUF frame = BUF_INIT;
	if (c->source == CONTEXT_TAR) /* else there is a client, be it without a context */
		return 0;
	int r = frame_send_json(c->fd, 'J', json_pack("{s:s}", "secret", id), err);
	while (r == 0) {
		uint8_t type;
		json_t *o;
		if ((r = context_receive(c, &type, &frame, &o, err)) < 0)
			break;
		bool missing = json_is_true(json_object_get(o, "missing"));
		json_decref(o);
		if (type == 'J')
			return missing ? 0 : 1;
		if (type != 'S')
			return unexpected(type, err);
		if (ret->len + frame.len > SECRET_MAX)
			return err_set(err, -EFBIG, "the secret '%s' is larger than %u bytes", id, SECRET_MAX);
		buf_append(ret, frame.data, frame.len);
	}
	return r;
}
