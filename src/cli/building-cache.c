// SPDX-License-Identifier: Apache-2.0
#include "cli/building-cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"

#define BLOBS "blobs/sha256/"
#define TMP "tmp-"
#define CHUNK 65536

/* ── what the option says ─────────────────────────────────────────── */

typedef struct Spec {
	char *copy;
	const char *type, *src, *dest, *mode, *ignore_error, *other;
} Spec;

/* Options of BuildKit's that change nothing here: how layers are packed is settled. */
static bool is_idle(const char *key)
{
	static const char *const keys[] = { "tag", "digest", "compression", "compression-level", "force-compression", "oci-mediatypes", "image-manifest" };
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (str_eq(keys[i], key))
			return true;
	return false;
}

static void split(const char *text, Spec *s)
{
	const struct {
		const char *key, **value;
	} keys[] = { { "type", &s->type }, { "src", &s->src }, { "dest", &s->dest }, { "mode", &s->mode }, { "ignore-error", &s->ignore_error } };
	*s = (Spec) { .copy = xstrdup(text) };
	for (char *p = s->copy, *next; *p; p = next) {
		next = p + strcspn(p, ",");
		if (*next)
			*next++ = '\0';
		char *eq = strchr(p, '=');
		bool known = false;
		if (eq)
			*eq = '\0';
		for (size_t i = 0; eq && i < ARRAY_SIZE(keys); i++)
			if (str_eq(p, keys[i].key)) {
				*keys[i].value = eq + 1;
				known = true;
			}
		if (!known && !(eq && is_idle(p)))
			s->other = p;
	}
}

/* As with the directory of a build: what is written like a path is one. */
static bool is_path(const char *text, const char *base)
{
	struct stat st;
	if (text[0] == '/' || str_starts(text, "./") || str_starts(text, "../") || str_eq(text, ".") || str_eq(text, ".."))
		return true;
	AUTO_FREE char *path = xasprintf("%s/%s", base, text);
	return !strchr(text, '=') && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int other_kind(const char *text, bool write, Err *err)
{
	if (write)
		return err_set(err, -ENOTSUP, "--cache-to %s: a cache can be written to a directory: ./DIR, or type=local,dest=DIR", text);
	cli_warning("--cache-from %s: only directories are read (./DIR, or type=local,src=DIR); the daemon's own cache is used in any case", text);
	return 1;
}

static int parse_spec(const char *text, bool write, Spec *s, Err *err)
{
	const char *option = write ? "--cache-to" : "--cache-from", *missing = write ? "dest" : "src";
	split(text, s);
	if (!str_eq(s->type, "local"))
		return s->type ? other_kind(text, write, err) : err_set(err, -EINVAL, "%s %s: write type=local,%s=DIR", option, text, missing);
	if (s->other)
		return err_set(err, -EINVAL, "%s %s: '%s' is no option of a local cache", option, text, s->other);
	if (str_empty(write ? s->dest : s->src))
		return err_set(err, -EINVAL, "%s %s: it names no directory: type=local,%s=DIR", option, text, missing);
	if (s->mode && !str_eq(s->mode, "min") && !str_eq(s->mode, "max"))
		return err_set(err, -EINVAL, "%s %s: mode is min or max, not '%s'", option, text, s->mode);
	if (s->ignore_error && !str_eq(s->ignore_error, "true") && !str_eq(s->ignore_error, "false"))
		return err_set(err, -EINVAL, "%s %s: ignore-error is true or false, not '%s'", option, text, s->ignore_error);
	return 0;
}

/* Before anything is built: what cannot be written to is said now. */
static int make_dir(const char *path, Err *err)
{
	AUTO_FREE char *blobs = xasprintf("%s/" BLOBS, path);
	int r = dir_make(blobs, 0777);
	if (r == 0 && (access(path, W_OK | X_OK) < 0 || access(blobs, W_OK | X_OK) < 0))
		r = -errno;
	return r < 0 ? err_errno(err, r, "--cache-to %s", path) : 0;
}

int building_cache_parse(const char *text, bool write, const char *base, BuildingCache *ret, json_t **ret_option, Err *err)
{
	Spec s = { 0 };
	const char *dir = text;
	int r = 0;
	if (strchr(text, '=') && !is_path(text, base)) {
		r = parse_spec(text, write, &s, err);
		dir = write ? s.dest : s.src;
	} else if (!is_path(text, base)) {
		r = other_kind(text, write, err);
	}
	AUTO_FREE char *path = r != 0 ? NULL : dir[0] == '/' ? xstrdup(dir) : xasprintf("%s/%s", base, dir);
	if (r == 0 && write)
		r = make_dir(path, err);
	if (r == 0) {
		*ret = (BuildingCache) { .path = steal_ptr(&path), .writable = write, .dir = -1, .blobs = -1, .file = -1 };
		*ret_option = json_pack("{s:s, s:b, s:b}", "name", dir, "final_only", str_eq(s.mode, "min"), "ignore_error", str_eq(s.ignore_error, "true"));
		if (!*ret_option)
			r = err_set(err, -EINVAL, "'%s' is not UTF-8", text);
	}
	free(s.copy);
	return r;
}

/* ── files ────────────────────────────────────────────────────────── */

static void forget_file(BuildingCache *c)
{
	if (c->file < 0)
		return;
	(void) close(c->file);
	c->file = -1;
	(void) unlinkat(c->blobs, c->tmp, 0);
}

void building_cache_done(BuildingCache *c)
{
	forget_file(c);
	if (c->dir >= 0)
		(void) close(c->dir); /* and gives up the lock */
	if (c->blobs >= 0)
		(void) close(c->blobs);
	free(c->path);
	*c = (BuildingCache) { .dir = -1, .blobs = -1, .file = -1 };
}

static int open_dirs(BuildingCache *c)
{
	if (c->dir < 0)
		c->dir = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dir < 0 || c->blobs >= 0)
		return c->dir < 0 ? -errno : 0;
	AUTO_CLOSE int blobs = openat(c->dir, "blobs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (blobs < 0)
		return -errno;
	c->blobs = openat(blobs, "sha256", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return c->blobs < 0 ? -errno : 0;
}

static bool is_hex(const char *s)
{
	return strlen(s) == DIGEST_HEX_MAX - 1 && strspn(s, "0123456789abcdef") == DIGEST_HEX_MAX - 1;
}

/* Where a name is: a descriptor of a directory, and the name in it. -EINVAL: it is no name. */
static int place_of(BuildingCache *c, const char *name, const char **ret_name)
{
	if (!name)
		return -EINVAL;
	if (str_eq(name, "index.json") || str_eq(name, "oci-layout")) {
		*ret_name = name;
		return c->dir;
	}
	if (!str_starts(name, BLOBS) || !is_hex(name + strlen(BLOBS)))
		return -EINVAL;
	*ret_name = name + strlen(BLOBS);
	return c->blobs;
}

static int open_file(BuildingCache *c, const char *name, int64_t *ret_size)
{
	const char *file;
	struct stat st;
	int at = open_dirs(c);
	if (at == 0)
		at = place_of(c, name, &file);
	if (at < 0)
		return at;
	AUTO_CLOSE int fd = openat(at, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	*ret_size = (int64_t) st.st_size;
	return steal_fd(&fd);
}

/* ── answers ──────────────────────────────────────────────────────── */

static int say(const FrameOut *out, json_t *answer, Err *err)
{
	AUTO_FREE char *text = json_dumps(answer, JSON_COMPACT);
	json_decref(answer);
	return text ? out->send(out->user, 'J', text, strlen(text), err) : err_set(err, -EINVAL, "a name is not UTF-8");
}

static int say_done(const FrameOut *out, Err *err)
{
	return say(out, json_pack("{s:s}", "cache", "done"), err);
}

static int say_failed(const FrameOut *out, int code, Err *err)
{
	return say(out, json_pack("{s:s, s:s}", "cache", "failed", "text", strerror(-code)), err);
}

static int do_read(BuildingCache *c, const char *name, const FrameOut *out, Err *err)
{
	char data[CHUNK];
	int64_t size;
	AUTO_CLOSE int fd = open_file(c, name, &size);
	if (fd == -ENOENT)
		return say(out, json_pack("{s:s}", "cache", "missing"), err);
	if (fd < 0)
		return say_failed(out, fd, err);
	for (;;) {
		ssize_t n = read(fd, data, sizeof(data));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return say_failed(out, -errno, err);
		if (n == 0)
			return say(out, json_pack("{s:s}", "cache", "end"), err);
		int r = out->send(out->user, 'C', data, (size_t) n, err);
		if (r < 0)
			return r;
		c->moved += n;
	}
}

static int do_sizes(BuildingCache *c, const json_t *names, const FrameOut *out, Err *err)
{
	json_t *sizes = json_array();
	for (size_t i = 0; i < json_array_size(names); i++) {
		int64_t size;
		AUTO_CLOSE int fd = open_file(c, json_string_value(json_array_get(names, i)), &size);
		(void) json_array_append_new(sizes, fd < 0 ? json_null() : json_integer(size));
	}
	return say(out, json_pack("{s:s, s:o}", "cache", "sizes", "sizes", sizes), err);
}

static int do_lock(BuildingCache *c, const FrameOut *out, Err *err)
{
	int r = open_dirs(c);
	if (r == 0 && flock(c->dir, LOCK_EX | LOCK_NB) < 0)
		r = -errno;
	c->busy = r == -EWOULDBLOCK;
	if (c->busy)
		return say(out, json_pack("{s:s}", "cache", "busy"), err);
	return r < 0 ? say_failed(out, r, err) : say_done(out, err);
}

static void begin_file(BuildingCache *c)
{
	char random[33];
	forget_file(c);
	c->failed = open_dirs(c);
	hex_random(16, random);
	(void) snprintf(c->tmp, sizeof(c->tmp), TMP "%s", random);
	if (c->failed < 0)
		return;
	c->file = openat(c->blobs, c->tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (c->file < 0)
		c->failed = -errno;
}

/* Nothing names a file before it is on the disk. */
static int end_file(BuildingCache *c, const char *name)
{
	const char *file;
	int at = c->failed ? c->failed : c->file < 0 ? -EINVAL : place_of(c, name, &file);
	if (at < 0)
		return at;
	if (fsync(c->file) < 0 || renameat(c->blobs, c->tmp, at, file) < 0 || fsync(at) < 0)
		return -errno;
	(void) close(c->file);
	c->file = -1;
	return 0;
}

static int do_name(BuildingCache *c, const json_t *name, const FrameOut *out, Err *err)
{
	int r = json_is_string(name) ? end_file(c, json_string_value(name)) : 0;
	forget_file(c);
	return r < 0 ? say_failed(out, r, err) : say_done(out, err);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Blobs that nothing names any more, and what earlier exports left half-written: there is one at a time. */
static void remove_others(BuildingCache *c, const json_t *names)
{
	size_t n = json_array_size(names);
	AUTO_FREE const char **keep = xcalloc(n + 1, sizeof(char *));
	for (size_t i = 0; i < n; i++) {
		const char *name = json_string_value(json_array_get(names, i));
		keep[i] = name && str_starts(name, BLOBS) ? name + strlen(BLOBS) : "";
	}
	qsort(keep, n, sizeof(char *), compare);
	int fd = openat(c->blobs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	for (struct dirent *e; d && (e = readdir(d));) {
		const char *name = e->d_name;
		bool blob = is_hex(name) && !bsearch(&name, keep, n, sizeof(char *), compare);
		if (blob || str_starts(name, TMP))
			(void) unlinkat(c->blobs, name, 0);
	}
	if (d)
		(void) closedir(d);
}

static int do_keep(BuildingCache *c, const json_t *names, const FrameOut *out, Err *err)
{
	if (json_is_array(names) && c->blobs >= 0)
		remove_others(c, names);
	if (c->dir >= 0)
		(void) flock(c->dir, LOCK_UN);
	return say_done(out, err);
}

int building_cache_request(BuildingCache *caches, size_t n, const json_t *q, const FrameOut *out, Err *err)
{
	json_int_t at = json_is_integer(json_object_get(q, "dir")) ? json_integer_value(json_object_get(q, "dir")) : -1;
	if (at < 0 || (size_t) at >= n)
		return err_set(err, -EPROTO, "the daemon wants a cache's directory that was not named");
	BuildingCache *c = &caches[at];
	const char *name = json_string_value(json_object_get(q, "read"));
	const json_t *sizes = json_object_get(q, "sizes");
	if (name)
		return do_read(c, name, out, err);
	if (sizes)
		return do_sizes(c, sizes, out, err);
	if (!c->writable)
		return err_set(err, -EPROTO, "the daemon wants to write to %s, which is only to be read", c->path);
	if (json_object_get(q, "lock"))
		return do_lock(c, out, err);
	if (json_object_get(q, "name"))
		return do_name(c, json_object_get(q, "name"), out, err);
	if (json_object_get(q, "keep"))
		return do_keep(c, json_object_get(q, "keep"), out, err);
	if (json_object_get(q, "write"))
		begin_file(c);
	return 0;
}

void building_cache_bytes(BuildingCache *caches, size_t n, const void *p, size_t len)
{
	for (size_t i = 0; i < n; i++) {
		BuildingCache *c = &caches[i];
		if (c->file < 0)
			continue;
		if (!c->failed)
			c->failed = fd_write_all(c->file, p, len);
		c->moved += (int64_t) len;
		return;
	}
}
