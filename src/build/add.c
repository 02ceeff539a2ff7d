// SPDX-License-Identifier: Apache-2.0
#include "build/add.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/tar.h"
#include "image/unpack.h"

bool add_is_url(const char *s)
{
	return str_starts(s, "http://") || str_starts(s, "https://");
}

char *add_url_name(const char *url)
{
	const char *path = strchr(strstr(url, "://") + 3, '/');
	size_t n = path ? strcspn(path, "?#") : 0;
	AUTO_FREE char *clean = xstrndup(path ? path : "", n);
	const char *slash = strrchr(clean, '/');
	return slash && slash[1] && entry_path_valid(slash + 1) ? xstrdup(slash + 1) : NULL;
}

/* Downloads. */

static void url_key(const char *url, char hex[DIGEST_HEX_MAX])
{
	CacheKey k = { BUF_INIT };
	key_add(&k, "url");
	key_add(&k, url);
	key_finish(&k, hex);
}

/* What an earlier download left is still in the mirror: the entry, and the condition to ask with, if the server gave something for one. */
static bool known_download(Build *b, const char *key, Entry *e, char ***headers)
{
	json_t *record = cache_get(&b->cache, key);
	const char *hash = json_string_value(json_object_get(record, "hash")), *etag = json_string_value(json_object_get(record, "etag"));
	const char *modified = json_string_value(json_object_get(record, "modified"));
	bool known = false;
	if (hash && strlen(hash) == 64) {
		(void) snprintf(e->hash, sizeof(e->hash), "%s", hash);
		e->size = json_integer_value(json_object_get(record, "size"));
		e->mtime = json_integer_value(json_object_get(record, "mtime"));
		known = files_has(&b->context.files, hash, e->size);
	}
	if (known && etag)
		strv_take(headers, xasprintf("If-None-Match: %s", etag));
	else if (known && modified)
		strv_take(headers, xasprintf("If-Modified-Since: %s", modified));
	json_decref(record);
	return known;
}

static int64_t http_date(const char *text)
{
	struct tm tm = { 0 };
	const char *end = text ? strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm) : NULL;
	return end && !*end ? timegm(&tm) : 0;
}

static int receive(Build *b, Fetch *x, Entry *e, Err *err)
{
	AUTO_FILES_WRITER w = FILES_WRITER_INIT;
	AUTO_FREE char *chunk = xmalloc(65536);
	ssize_t n;
	int r = files_begin(&b->context.files, &w, err);
	while (r == 0 && (n = fetch_read(x, chunk, 65536, NULL, err)) != 0) {
		if (n < 0)
			return (int) n;
		if (w.size + n > LIMIT_CONTEXT_FILE)
			return err_set(err, -EFBIG, "it is larger than %lld bytes", (long long) LIMIT_CONTEXT_FILE);
		r = files_append(&w, chunk, (size_t) n, err);
	}
	e->size = w.size;
	return r < 0 ? r : files_finish(&w, e->hash, err);
}

static void note_download(Build *b, const char *key, const Fetch *x, const Entry *e)
{
	const char *etag = fetch_header(x, "etag"), *modified = fetch_header(x, "last-modified");
	json_t *record = json_pack("{s:s, s:s?, s:s?, s:I, s:I}", "hash", e->hash, "etag", etag, "modified", modified, "size", (json_int_t) e->size,
		"mtime", (json_int_t) e->mtime);
	if (record) /* else a header is not UTF-8 */
		(void) cache_put(&b->cache, key, record, NULL);
}

static void say_waiting(void *user, const char *text)
{
	AUTO_FREE char *line = xasprintf("%s: %s", (const char *) user, text);
	json_t *o = json_string(line);
	if (o)
		build_event(json_pack("{s:o}", "progress", o));
}

/* `checksum`: hexadecimal, or NULL. What is here and has it is not asked for. */
static int download(Build *b, const char *url, const char *checksum, Entry *e, Err *err)
{
	AUTO_FETCH x = NULL;
	AUTO_STRV char **headers = NULL;
	char key[DIGEST_HEX_MAX];
	url_key(url, key);
	bool known = known_download(b, key, e, &headers);
	if (known && checksum && str_eq(e->hash, checksum))
		return 0;
	if (!b->fetcher && b->fetcher_error.code)
		return err_set(err, b->fetcher_error.code, "%s", err_text(&b->fetcher_error));
	if (!b->fetcher)
		return err_set(err, -ENOTSUP, "a URL that only a variable brings cannot be fetched: write its scheme (https://) into the Dockerfile");
	FetchRequest q = { .url = url, .headers = headers };
	AUTO_FREE char *name = xstrdup(url);
	const FetchCalls calls = { .waiting = say_waiting, .user = name };
	int r = fetch_call(b->fetcher, &q, &calls, &x, NULL, err);
	if (r < 0)
		return r;
	if (headers && fetch_status(x) == 304)
		return 0;
	if (fetch_status(x) != 200)
		return err_set(err, -EIO, "the server answered %d", fetch_status(x));
	e->mtime = http_date(fetch_header(x, "last-modified"));
	if ((r = receive(b, x, e, err)) == 0)
		note_download(b, key, x, e);
	return r;
}

int add_fetch(Build *b, const char *url, const char *checksum, Entry *ret, Err *err)
{
	Entry e = { .type = 'f', .mode = 0600 };
	if (checksum && !digest_valid(checksum))
		return err_set(err, -EINVAL, "--checksum=%s is not sha256: and 64 hexadecimal digits", checksum);
	const char *hex = checksum ? checksum + strlen(DIGEST_PREFIX) : NULL;
	int r = download(b, url, hex, &e, err);
	if (r < 0)
		return err_wrap(err, "%s", url);
	if (hex && !str_eq(e.hash, hex))
		return err_set(err, -EINVAL, "%s: wrong checksum: it has sha256:%s, --checksum says %s", url, e.hash, checksum);
	*ret = e;
	return 0;
}

/* Archives. */

static int open_archive(Build *b, const char *hex, int *ret_fd, Stream **ret, Err *err)
{
	*ret_fd = files_read(&b->context.files, hex);
	if (*ret_fd < 0)
		return err_errno(err, *ret_fd, "an archive in the mirror of the build context");
	return stream_unpack(stream_fd(*ret_fd), LIMIT_LAYER_BYTES, ret, NULL, err);
}

/* A tar, plain or compressed, with at least one entry. */
bool add_is_archive(Build *b, const char *hex)
{
	AUTO_CLOSE int fd = -1;
	AUTO_STREAM s = NULL;
	char head[TAR_BLOCK];
	return open_archive(b, hex, &fd, &s, NULL) == 0 && stream_read_full(s, head, sizeof(head), NULL) == sizeof(head) && tar_begins(head);
}

typedef struct Unpacked {
	const Selection *s;
	Entries *list;
	const char *name, *to;
} Unpacked;

static int take_unpacked(void *user, const char *path, Entry *e, Err *err)
{
	const Unpacked *u = user;
	char *to = xasprintf("%s%s%s", u->to, *u->to ? "/" : "", path), *from = xasprintf("%s/%s", u->name, path);
	free(e->path);
	free(e->source);
	e->path = to;
	e->source = from;
	int r = select_attributes(u->s, e, err);
	if (r == 0 && (u->list->n >= LIMIT_CONTEXT_ENTRIES || !entry_path_valid(e->path)))
		r = err_set(err, -EINVAL, "'/%.200s': too many files, or a path that is too long", e->path);
	if (r < 0)
		entry_done(e);
	else
		*array_append(u->list->items, u->list->n) = *e;
	return r;
}

int add_unpack(Build *b, const Selection *s, const char *hex, int dirfd, const char *name, const char *to, Entries *list, Err *err)
{
	AUTO_CLOSE int fd = -1;
	AUTO_STREAM tar = NULL;
	AUTO_VIEW v = { 0 };
	UnpackResult result;
	if (mkdirat(dirfd, name, 0755) < 0)
		return store_write_failed(&b->store, -errno, "unpacking an archive", err);
	int root = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return store_write_failed(&b->store, -errno, "unpacking an archive", err);
	view_add(&v, root);
	struct stat st;
	int r = open_archive(b, hex, &fd, &tar, err);
	if (r < 0 || (r = unpack_layer(tar, root, NULL, &result, err)) < 0)
		return r;
	/* Holes cost nothing so far; from here on they would be read, and written as zeros. */
	if (fstat(fd, &st) == 0 && (r = stream_check_ratio(result.bytes + result.holes, (uint64_t) st.st_size, err)) < 0)
		return r;
	Selection kept = *s;
	kept.context = false; /* owners are the archive's */
	Unpacked u = { &kept, list, name, to };
	Tree t = { .view = &v };
	return tree_walk(&t, "", take_unpacked, &u, err);
}
