// SPDX-License-Identifier: Apache-2.0
/*
 * A tree is emptied without recursion: directories inside it that are not empty are renamed to its
 * top, one after the other, so neither descriptors nor stack grow with its depth (a container can nest
 * directories deeper than any path can name). Mounts are never entered: opening a directory stops
 * at them, renaming and unlinking refuse.
 *
 * A layer leaves its name by a rename into tmp/ before anything in it is removed: half a layer never has one.
 */
#include "image/trash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "model/image.h"

#define TRASH_PREFIX "rm-"
#define CACHE_RECORD_MAX 65536
#define PART_AGE_MAX (7LL * 24 * 3600)  /* seconds that half of a shipped layer waits for the rest */
#define INDEX_AGE_MAX (30LL * 24 * 3600) /* seconds that an index of a layer is kept unused */
#define DEB_AGE_MAX (30LL * 24 * 3600) /* seconds that a downloaded package is kept unused */

static int open_here(int dirfd, const char *name)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS,
	};
	int fd = (int) syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}

/* A privileged container can make its files immutable; that must not outlive it. */
static void make_mutable(int dirfd, const char *name)
{
	int flags = 0;
	struct stat st;
	/* Opening anything else (a device, a pipe) could do something. */
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		return;
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 || !(flags & (FS_IMMUTABLE_FL | FS_APPEND_FL)))
		return;
	flags &= ~(FS_IMMUTABLE_FL | FS_APPEND_FL);
	(void) ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

/* Removes an entry, or moves a directory that is not empty to `top`. 1: moved. */
static int remove_entry(int dirfd, const char *name, int top)
{
	char moved[40] = "d-";
	for (int attempt = 0; attempt < 2; attempt++) {
		if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
			return 0;
		if (errno == EISDIR && (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT))
			return 0;
		if (errno == ENOTEMPTY || errno == EEXIST) {
			hex_random(16, moved + 2);
			return renameat(dirfd, name, top, moved) == 0 ? 1 : errno == ENOENT ? 0 : -errno;
		}
		if (errno != EPERM || attempt)
			return -errno;
		make_mutable(dirfd, ".");
		make_mutable(dirfd, name);
	}
	return 0;
}

/* One pass over a directory: files go, full directories move to top. The number of moves, or the first error. */
static int empty_once(int dirfd, int top)
{
	int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;
	int moves = 0, first = 0;
	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		int r = remove_entry(dirfd, e->d_name, top);
		if (r < 0 && !first)
			first = r;
		else if (r > 0)
			moves++;
	}
	(void) closedir(d);
	return first ? first : moves;
}

/* The next directory that was moved to the top, or 0. */
static int next_moved(int top, char name[256])
{
	int copy = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;
	int found = 0;
	if (!d)
		return -errno;
	while (!found && (e = readdir(d)))
		if (str_starts(e->d_name, "d-") && (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN)) {
			(void) snprintf(name, 256, "%s", e->d_name);
			found = 1;
		}
	(void) closedir(d);
	return found;
}

static int remove_tree(int dirfd, const char *name)
{
	char moved[256];
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISDIR(st.st_mode))
		return unlinkat(dirfd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
	AUTO_CLOSE int top = open_here(dirfd, name);
	if (top < 0)
		return top == -ENOENT ? 0 : top;
	int r = empty_once(top, top);
	while (r >= 0 && (r = next_moved(top, moved)) == 1) {
		AUTO_CLOSE int fd = open_here(top, moved);
		if (fd == -ENOENT) /* a sweep works on the same tree */
			continue;
		if (fd < 0)
			return fd;
		r = empty_once(fd, top);
		if (r >= 0 && unlinkat(top, moved, AT_REMOVEDIR) < 0 && errno != ENOENT)
			r = -errno;
	}
	if (r < 0)
		return r;
	return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

typedef bool (*WantedFn)(const char *name, void *user);

/* Removes entries of a directory; goes on after a failure and gives the first. */
static int remove_entries(int dirfd, const char *where, WantedFn unwanted, void *user, Err *err)
{
	int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;
	int first = 0;
	if (!d)
		return err_errno(err, -errno, "%s", where);
	while ((e = readdir(d))) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, "..") || !unwanted(e->d_name, user))
			continue;
		int r = remove_tree(dirfd, e->d_name);
		if (r < 0 && !first)
			first = err_errno(err, r, "%s/%s", where, e->d_name);
	}
	(void) closedir(d);
	return first;
}

static int open_state(const char *state_dir, const char *name, char **ret_path, Err *err)
{
	*ret_path = xasprintf("%s/%s", state_dir, name);
	int fd = open(*ret_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_errno(err, -errno, "%s", *ret_path) : fd;
}

static bool is_trash(const char *name, void *user)
{
	return str_starts(name, TRASH_PREFIX);
}

int trash_empty(const char *state_dir, Err *err)
{
	AUTO_FREE char *path = NULL;
	AUTO_CLOSE int tmp = open_state(state_dir, "tmp", &path, err);
	return tmp < 0 ? tmp : remove_entries(tmp, path, is_trash, NULL, err);
}

/* Sweeping. */

typedef struct NameSet {
	char **names; /* sorted */
	size_t n;
} NameSet;

static int name_order(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

static void name_set_sort(NameSet *s)
{
	if (s->n)
		qsort(s->names, s->n, sizeof(char *), name_order);
}

static void name_set_fill(NameSet *s, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (json_is_string(json_array_get(list, i)))
			*array_append(s->names, s->n) = xstrdup(json_string_value(json_array_get(list, i)));
	name_set_sort(s);
}

/* The layers that a record of the build cache names (build/cache.h). One that cannot be read keeps nothing, nor is it used. */
static void keep_record(int dirfd, const char *name, NameSet *layers)
{
	AUTO_BUF b = BUF_INIT;
	char dir[33];
	if (file_read(dirfd, name, CACHE_RECORD_MAX, &b) < 0)
		return;
	json_t *record = json_loadb(buf_cstr(&b), b.len, 0, NULL);
	const json_t *ids = json_object_get(record, "layers");
	for (size_t i = 0; i < json_array_size(ids); i++) {
		const char *id = json_string_value(json_array_get(ids, i));
		if (!id || !digest_valid(id))
			continue;
		layer_dir_name(id, dir);
		*array_append(layers->names, layers->n) = xstrdup(dir);
	}
	json_decref(record);
}

/* What builds may still use. There is no such directory before the first of them. */
static int keep_build_cache(const char *state_dir, NameSet *layers, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/build/cache", state_dir);
	DIR *d = opendir(path);
	struct dirent *e;
	if (!d)
		return errno == ENOENT ? 0 : err_errno(err, -errno, "%s", path);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			keep_record(dirfd(d), e->d_name, layers);
	(void) closedir(d);
	name_set_sort(layers);
	return 0;
}

static void name_set_done(NameSet *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->names[i]);
	free(s->names);
}

static bool name_set_has(const NameSet *s, const char *name)
{
	return s->n && bsearch(&name, s->names, s->n, sizeof(char *), name_order);
}

static int64_t layer_size(int layers, const char *name)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_FREE char *info = xasprintf("%s.json", name);
	if (file_read(layers, info, 65536, &b) < 0)
		return 0;
	json_t *o = json_loadb(buf_cstr(&b), b.len, 0, NULL);
	int64_t n = json_integer_value(json_object_get(o, "size"));
	json_decref(o);
	return n > 0 ? n : 0;
}

/* A layer: its directory into tmp/, then its side files. A side file alone is removed. */
static int drop_layer(int layers, int tmp, const char *name, int64_t *freed)
{
	char hidden[40] = TRASH_PREFIX;
	if (!strchr(name, '.')) {
		hex_random(16, hidden + strlen(TRASH_PREFIX));
		*freed += layer_size(layers, name);
		return renameat(layers, name, tmp, hidden) < 0 && errno != ENOENT ? -errno : 0;
	}
	return unlinkat(layers, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int sweep_layers(const char *state_dir, int tmp, const NameSet *keep, int64_t *freed, Err *err)
{
	AUTO_FREE char *path = NULL;
	int fd = open_state(state_dir, "layers", &path, err);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return fd < 0 ? fd : err_errno(err, -errno, "%s", path);
	/* Directories first: their sizes stand in the side files. */
	for (int sides = 0; sides < 2; sides++) {
		struct dirent *e;
		rewinddir(d);
		while ((e = readdir(d))) {
			AUTO_FREE char *name = xstrndup(e->d_name, strcspn(e->d_name, "."));
			bool side = e->d_name[strlen(name)] == '.';
			if (!*name || side != (sides == 1) || name_set_has(keep, name))
				continue;
			int r = drop_layer(dirfd(d), tmp, e->d_name, freed);
			if (r < 0) {
				r = err_errno(err, r, "%s/%s", path, e->d_name);
				(void) closedir(d);
				return r;
			}
		}
	}
	(void) closedir(d);
	return 0;
}

/* A configuration, or what is beside it (image/blob-memory.h). */
static bool not_kept_blob(const char *name, void *user)
{
	AUTO_FREE char *digest = xasprintf(DIGEST_PREFIX "%.*s", (int) strcspn(name, "."), name);
	return !name_set_has(user, digest);
}

static int sweep_blobs(const char *state_dir, NameSet *keep, Err *err)
{
	AUTO_FREE char *path = NULL;
	AUTO_CLOSE int fd = open_state(state_dir, "blobs/sha256", &path, err);
	return fd < 0 ? fd : remove_entries(fd, path, not_kept_blob, keep, err);
}

typedef struct DebAge {
	int dirfd;
	int64_t now;
} DebAge;

/* ctime: each use of a package links and unlinks it. */
static bool deb_is_old(const char *name, void *user)
{
	const DebAge *a = user;
	struct stat st;
	return fstatat(a->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ctime < a->now - DEB_AGE_MAX;
}

static void sweep_debs(const char *state_dir)
{
	AUTO_FREE char *path = NULL;
	AUTO_CLOSE int fd = open_state(state_dir, "cache/apt/debs", &path, NULL);
	DebAge age = { fd, time_real() / NSEC_PER_SEC };
	if (fd >= 0)
		(void) remove_entries(fd, path, deb_is_old, &age, NULL);
}

static bool ship_is_old(const char *name, void *user)
{
	const DebAge *a = user;
	struct stat st;
	int64_t keep = str_ends(name, ".part") ? PART_AGE_MAX : INDEX_AGE_MAX;
	return fstatat(a->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mtime < a->now - keep;
}

/* What ships that were cut off have left, and indexes of layers: an index that is used gets a new time. */
static void sweep_ships(const char *state_dir)
{
	AUTO_FREE char *path = NULL;
	AUTO_CLOSE int fd = open_state(state_dir, "cache/ship", &path, NULL);
	DebAge age = { fd, time_real() / NSEC_PER_SEC };
	if (fd >= 0)
		(void) remove_entries(fd, path, ship_is_old, &age, NULL);
}

static bool not_lock(const char *name, void *user)
{
	return !str_eq(name, "lock");
}

int trash_sweep(const char *state_dir, const json_t *options, int64_t *ret_freed, Err *err)
{
	AUTO_FREE char *path = NULL;
	AUTO(name_set_done) NameSet layers = { 0 }, images = { 0 };
	const json_t *layer_list = json_object_get(options, "layers"), *image_list = json_object_get(options, "images");
	int64_t freed = 0;
	AUTO_CLOSE int tmp = open_state(state_dir, "tmp", &path, err);
	if (tmp < 0)
		return tmp;
	AUTO_CLOSE int lock = openat(tmp, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return err_errno(err, -errno, "%s/lock", path);
	if (!json_is_true(json_object_get(options, "temporary"))) {
		/* Without lists, everything would be unwanted: that is never what was meant. */
		if (!json_is_array(layer_list) || !json_is_array(image_list))
			return err_set(err, -EINVAL, "a sweep without the lists of what to keep");
		name_set_fill(&layers, layer_list);
		name_set_fill(&images, image_list);
		int r = keep_build_cache(state_dir, &layers, err);
		if (r == 0)
			r = sweep_layers(state_dir, tmp, &layers, &freed, err);
		if (r < 0 || (r = sweep_blobs(state_dir, &images, err)) < 0)
			return r;
		sweep_debs(state_dir);
		sweep_ships(state_dir);
	}
	*ret_freed = freed;
	return remove_entries(tmp, path, not_lock, NULL, err);
}
