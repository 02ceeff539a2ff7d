// SPDX-License-Identifier: Apache-2.0
/*
 * A record is a file of its own, so there is no index that two builds could spoil for each other, none to compact and
 * none to repair: looking up a step is one open(2). When records went (build/prune.h), the next sweep takes the layers that
 * nothing names any more.
 */
#include "build/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

#define RECORD_MAX 65536
#define USED_GRAIN 3600 /* seconds: use is not noted more often */
#define MODE_ANY 07777

static int open_dir(int state, const char *path, int *ret, Err *err)
{
	if (mkdirat(state, path, 0700) < 0 && errno != EEXIST)
		return err_errno(err, -errno, "%s", path);
	*ret = openat(state, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *ret < 0 ? err_errno(err, -errno, "%s", path) : 0;
}

int cache_open(int state, Cache *ret, Err *err)
{
	*ret = (Cache) { -1, -1, -1 };
	if (mkdirat(state, "build", 0700) < 0 && errno != EEXIST)
		return err_errno(err, -errno, "build");
	int r = open_dir(state, "build/cache", &ret->records, err);
	if (r == 0)
		r = open_dir(state, "build/lists", &ret->lists, err);
	return r < 0 ? r : open_dir(state, "build/mounts", &ret->mounts, err);
}

void cache_close(Cache *c)
{
	int *fds[] = { &c->records, &c->lists, &c->mounts };
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			(void) close(*fds[i]);
		*fds[i] = -1;
	}
}

static void mark_used(int dir, const char *name)
{
	struct stat st;
	struct timespec now;
	(void) clock_gettime(CLOCK_REALTIME, &now);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mtime + USED_GRAIN < now.tv_sec)
		(void) utimensat(dir, name, NULL, AT_SYMLINK_NOFOLLOW);
}

json_t *cache_get(Cache *c, const char *key)
{
	AUTO_BUF b = BUF_INIT;
	if (file_read(c->records, key, RECORD_MAX, &b) < 0)
		return NULL;
	json_t *o = json_loadb(buf_cstr(&b), b.len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(o)) {
		json_decref(o);
		return NULL;
	}
	mark_used(c->records, key);
	return o;
}

int cache_put(Cache *c, const char *key, json_t *record, Err *err)
{
	AUTO_FREE char *text = json_dumps(record, JSON_COMPACT);
	json_decref(record);
	if (!text)
		return err_set(err, -EINVAL, "a record of the build cache is not UTF-8");
	int r = file_write_atomic(c->records, key, text, strlen(text), 0600, false);
	return r < 0 ? err_errno(err, r, "the build cache") : 0;
}

int cache_get_list(Cache *c, const char *hex, Entries *ret)
{
	AUTO_BUF b = BUF_INIT;
	char now[DIGEST_HEX_MAX];
	int r = file_read(c->lists, hex, LIMIT_CONTEXT_MANIFEST, &b);
	if (r < 0 || (r = entries_parse(buf_cstr(&b), b.len, ret, NULL)) < 0)
		return r;
	buf_done(&b);
	mark_used(c->lists, hex);
	entries_digest(ret, now);
	return str_eq(now, hex) ? 0 : -EIO; /* cut off */
}

int cache_put_list(Cache *c, const char *hex, const Entries *l, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	if (faccessat(c->lists, hex, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	entries_write(l, &b);
	int r = file_write_atomic(c->lists, hex, buf_cstr(&b), b.len, 0600, false);
	return r < 0 ? err_errno(err, r, "the build cache") : 0;
}

/* Keys. */

void key_add(CacheKey *k, const char *s)
{
	if (s)
		buf_printf(&k->text, "%zu:%s,", strlen(s), s);
	else
		buf_char(&k->text, '-');
}

void key_add_strv(CacheKey *k, char *const *v)
{
	buf_printf(&k->text, "[%zu", strv_len(v));
	for (; v && *v; v++)
		key_add(k, *v);
}

void key_finish(CacheKey *k, char hex[DIGEST_HEX_MAX])
{
	digest_sha256(buf_cstr(&k->text), k->text.len, hex);
	buf_done(&k->text);
}

/* Mounts. */

/* It gets its name when its owner and mode are right. Two may do this at once: one of them is first, and both are right. */
static int make_mount(int dir, const MountOwner *owner)
{
	if (faccessat(dir, "data", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	if ((mkdirat(dir, "new", 0700) < 0 && errno != EEXIST) ||
		fchownat(dir, "new", owner->uid, owner->gid, AT_SYMLINK_NOFOLLOW) < 0 || fchmodat(dir, "new", owner->mode & MODE_ANY, 0) < 0 ||
		renameat(dir, "new", dir, "data") < 0) {
		int r = -errno;
		return faccessat(dir, "data", F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : r;
	}
	return 0;
}

int cache_mount(Cache *c, const char *id, unsigned suffix, const MountOwner *owner, bool lock, int *ret_lock, char **ret_path, Err *err)
{
	char hex[DIGEST_HEX_MAX], name[50];
	struct stat st;
	digest_sha256(id, strlen(id), hex);
	(void) snprintf(name, sizeof(name), suffix ? "%.32s-%u" : "%.32s", hex, suffix);
	AUTO_FREE char *lock_name = xasprintf("%s/lock", name);
	if (mkdirat(c->mounts, name, 0700) < 0 && errno != EEXIST)
		return err_errno(err, -errno, "the cache mount '%s'", id);
	AUTO_CLOSE int dir = openat(c->mounts, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO_CLOSE int fd = openat(c->mounts, lock_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (dir < 0 || fd < 0)
		return err_errno(err, -errno, "the cache mount '%s'", id);
	if (flock(fd, (lock ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? 1 : err_errno(err, -errno, "the cache mount '%s'", id);
	int r = make_mount(dir, owner);
	if (r < 0)
		return err_errno(err, r, "the cache mount '%s'", id);
	/* For people: its name is a digest. */
	if (fstat(fd, &st) == 0 && st.st_size == 0)
		(void) fd_write_all(fd, id, strlen(id));
	(void) futimens(fd, NULL);
	*ret_lock = steal_fd(&fd);
	*ret_path = xasprintf("build/mounts/%s/data", name);
	return 0;
}
