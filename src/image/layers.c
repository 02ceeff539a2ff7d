// SPDX-License-Identifier: Apache-2.0
/*
 * A layer is staged as tmp/RANDOM/ with root/ (the directory), recipe and info in it. store_commit
 * renames recipe and info to layers/NAME.recipe and NAME.json, then root to layers/NAME. A crash between
 * these leaves side files without a directory, which mean nothing and are overwritten or swept.
 *
 * Names are the first 128 bits of the diff_id, since overlayfs takes all lower directories in one page
 * of mount options; NAME.json has the whole digest, and it is compared.
 */
#include "image/layers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/image.h"

static int open_dir(Store *s, const char *name, int *ret, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s%s%s", s->path, *name ? "/" : "", name);
	int r = dir_make(path, 0700);
	if (r < 0)
		return err_errno(err, r, "%s", path);
	*ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? err_errno(err, -errno, "%s", path) : 0;
}

int store_open(const char *state_dir, Store *ret, Err *err)
{
	AUTO_STORE s = { .state = -1, .layers = -1, .blobs = -1, .tmp = -1, .lock = -1 };
	int r;
	s.path = xstrdup(state_dir);
	if ((r = open_dir(&s, "", &s.state, err)) < 0 || (r = open_dir(&s, "layers", &s.layers, err)) < 0 ||
		(r = open_dir(&s, "blobs/sha256", &s.blobs, err)) < 0 || (r = open_dir(&s, "tmp", &s.tmp, err)) < 0)
		return r;
	s.lock = openat(s.tmp, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s.lock < 0 || flock(s.lock, LOCK_SH) < 0)
		return err_errno(err, -errno, "%s/tmp/lock", state_dir);
	*ret = s;
	s = (Store) { .state = -1, .layers = -1, .blobs = -1, .tmp = -1, .lock = -1 };
	return 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void) close(*fd);
	*fd = -1;
}

/* Forgets what is staged; what is still under tmp/ goes. */
static void drop_staged(Store *s)
{
	for (size_t i = 0; i < s->n_staged; i++) {
		if (s->staged[i].tmp)
			(void) tree_remove(s->tmp, s->staged[i].tmp);
		free(s->staged[i].tmp);
		free(s->staged[i].diff_id);
	}
	for (size_t i = 0; i < s->n_blobs_staged; i++) {
		(void) unlinkat(s->tmp, s->blobs_staged[i].tmp, 0);
		free(s->blobs_staged[i].tmp);
		free(s->blobs_staged[i].hex);
	}
	free(s->staged);
	free(s->blobs_staged);
	s->staged = NULL;
	s->blobs_staged = NULL;
	s->n_staged = s->n_blobs_staged = 0;
	s->staged_bytes = 0;
}

void store_close(Store *s)
{
	drop_staged(s);
	close_fd(&s->state);
	close_fd(&s->layers);
	close_fd(&s->blobs);
	close_fd(&s->tmp);
	close_fd(&s->lock);
	free_and_null(&s->path);
}

int store_write_failed(Store *s, int code, const char *what, Err *err)
{
	struct statvfs v;
	if ((code != -ENOSPC && code != -EDQUOT) || fstatvfs(s->state, &v) < 0)
		return err_errno(err, code, "%s", what);
	AUTO_FREE char *left = format_bytes((int64_t) (v.f_bavail * v.f_frsize));
	return err_set(err, code,
		"%s: no space left on the file system of %s (%s free now): remove images ('stead image prune') or make room",
		what, s->path, left);
}

/* What is there. */

static char *side_name(const char *diff_id, const char *suffix)
{
	char name[33];
	layer_dir_name(diff_id, name);
	return xasprintf("%s%s", name, suffix);
}

static int read_info(Store *s, const char *diff_id, const char *file, LayerInfo *ret, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	int r = file_read(s->layers, file, 65536, &b);
	if (r < 0)
		return err_errno(err, r, "%s/layers/%s", s->path, file);
	json_t *o = json_loadb(b.data, b.len, 0, NULL);
	const char *id = json_string_value(json_object_get(o, "diff_id"));
	bool same = str_eq(id, diff_id);
	if (id && !same)
		r = err_set(err, -EEXIST, "layer %s has the same first 128 bits as layer %s, which is here: refused", diff_id, id);
	else if (!same)
		r = err_set(err, -EIO, "%s/layers/%s is damaged", s->path, file);
	ret->size = json_integer_value(json_object_get(o, "size"));
	ret->tar_size = json_integer_value(json_object_get(o, "tar_size"));
	json_decref(o);
	return r;
}

int store_layer(Store *s, const char *diff_id, LayerInfo *ret, Err *err)
{
	AUTO_FREE char *name = side_name(diff_id, "");
	AUTO_FREE char *info = side_name(diff_id, ".json");
	if (faccessat(s->layers, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_errno(err, -errno, "%s/layers/%s", s->path, name);
	int r = read_info(s, diff_id, info, ret, err);
	return r < 0 ? r : 1;
}

int store_open_layer(Store *s, const char *diff_id, Err *err)
{
	AUTO_FREE char *name = side_name(diff_id, "");
	int fd = openat(s->layers, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_errno(err, -errno, "layer %s", diff_id) : fd;
}

typedef struct LayerTar {
	Stream s;
	Stream *inner;
	int recipe, layer;
} LayerTar;

static ssize_t layer_tar_read(Stream *s, void *p, size_t n, Err *err)
{
	return stream_read(((LayerTar *) s)->inner, p, n, err);
}

static void layer_tar_free(Stream *s)
{
	LayerTar *t = (LayerTar *) s;
	stream_free(t->inner);
	close_fd(&t->recipe);
	close_fd(&t->layer);
	free(t);
}

int store_layer_tar(Store *s, const char *diff_id, Stream **ret, Err *err)
{
	AUTO_FREE char *name = side_name(diff_id, ".recipe");
	LayerTar *t = xcalloc(1, sizeof(*t));
	t->s = (Stream) { .read = layer_tar_read, .free = layer_tar_free };
	t->recipe = -1;
	t->layer = store_open_layer(s, diff_id, err);
	int r = t->layer;
	if (r >= 0) {
		t->recipe = openat(s->layers, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		r = t->recipe < 0 ? err_errno(err, -errno, "%s/layers/%s", s->path, name) :
				    recipe_open(t->recipe, t->layer, &t->inner, err);
	}
	if (r < 0) {
		layer_tar_free(&t->s);
		return r;
	}
	*ret = &t->s;
	return 0;
}

int store_read_blob(Store *s, const char *digest, Buf *ret, Err *err)
{
	if (!digest_valid(digest))
		return err_set(err, -EINVAL, "'%s' is not a digest", digest);
	const char *hex = digest + strlen(DIGEST_PREFIX);
	int r = file_read(s->blobs, hex, LIMIT_MANIFEST_BYTES, ret);
	if (r < 0)
		return err_errno(err, r, "%s/blobs/sha256/%s", s->path, hex);
	char now[DIGEST_HEX_MAX];
	digest_sha256(ret->data, ret->len, now);
	return str_eq(now, hex) ? 0 : err_set(err, -EIO, "%s/blobs/sha256/%s is damaged: its digest is %s", s->path, hex, now);
}

/* Staging. */

int store_temp_file(Store *s, Err *err)
{
	int fd = openat(s->tmp, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EOPNOTSUPP) {
		char name[33];
		hex_random(16, name);
		fd = openat(s->tmp, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd >= 0)
			(void) unlinkat(s->tmp, name, 0);
	}
	return fd < 0 ? store_write_failed(s, -errno, "a temporary file", err) : fd;
}

int store_stage_begin(Store *s, char **ret_name, Err *err)
{
	char name[33];
	hex_random(16, name);
	AUTO_FREE char *root = xasprintf("%s/root", name);
	if (mkdirat(s->tmp, name, 0700) < 0)
		return store_write_failed(s, -errno, "a temporary directory", err);
	if (mkdirat(s->tmp, root, 0755) < 0) {
		int r = -errno;
		(void) unlinkat(s->tmp, name, AT_REMOVEDIR);
		return store_write_failed(s, r, "a temporary directory", err);
	}
	*ret_name = xstrdup(name);
	return 0;
}

/* Of the layers that are here. */
static int64_t used_bytes(Store *s)
{
	AUTO_CLOSE int fd = openat(s->layers, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	int64_t used = 0;
	if (!d)
		return 0;
	(void) steal_fd(&fd);
	for (struct dirent *e; (e = readdir(d));) {
		AUTO_BUF b = BUF_INIT;
		if (!str_ends(e->d_name, ".json") || file_read(s->layers, e->d_name, 65536, &b) < 0)
			continue;
		json_t *o = json_loadb(b.data, b.len, 0, NULL);
		used += json_integer_value(json_object_get(o, "size"));
		json_decref(o);
	}
	(void) closedir(d);
	return used;
}

int store_check_quota(Store *s, int64_t more, Err *err)
{
	const char *text = getenv("STEAD_IMAGE_QUOTA");
	int64_t quota = 0;
	if (str_empty(text) || parse_i64(text, &quota) < 0 || quota <= 0)
		return 0;
	(void) pthread_mutex_lock(&s->mutex);
	int64_t want = s->staged_bytes + more;
	(void) pthread_mutex_unlock(&s->mutex);
	int64_t used = used_bytes(s);
	if (used + want <= quota)
		return 0;
	AUTO_FREE char *all = format_bytes(quota);
	AUTO_FREE char *have = format_bytes(used);
	AUTO_FREE char *need = format_bytes(want);
	return err_set(err, -EDQUOT, "the quota for images is %s: those that are here have %s, this one needs %s or more besides; 'stead image prune --dry-run' and "
		"'stead builder prune --dry-run' show what is needed by nothing, the daemon's --image-quota sets it", all, have, need);
}

static bool is_staged(Store *s, const char *diff_id)
{
	bool found = false;
	(void) pthread_mutex_lock(&s->mutex);
	for (size_t i = 0; i < s->n_staged; i++)
		found = found || str_eq(s->staged[i].diff_id, diff_id);
	(void) pthread_mutex_unlock(&s->mutex);
	return found;
}

/* Who fails may still commit what was whole before. */
static void unstage(Store *s, const char *name, int64_t size)
{
	(void) pthread_mutex_lock(&s->mutex);
	for (size_t i = 0; i < s->n_staged; i++)
		if (str_eq(s->staged[i].tmp, name)) {
			StagedLayer l = s->staged[i];
			s->staged[i] = s->staged[--s->n_staged];
			s->staged_bytes -= size;
			(void) tree_remove(s->tmp, l.tmp);
			free(l.tmp);
			free(l.diff_id);
			break;
		}
	(void) pthread_mutex_unlock(&s->mutex);
}

int store_stage_made(Store *s, char *name, const char *diff_id, const LayerInfo *info, Err *err)
{
	AUTO_FREE char *file = xasprintf("%s/info", name);
	json_t *o = json_pack("{s:s, s:I, s:I}", "diff_id", diff_id, "size", (json_int_t) info->size, "tar_size",
		(json_int_t) info->tar_size);
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!text)
		abort();
	(void) pthread_mutex_lock(&s->mutex);
	*array_append(s->staged, s->n_staged) = (StagedLayer) { xstrdup(diff_id), name };
	s->staged_bytes += info->size;
	(void) pthread_mutex_unlock(&s->mutex);
	int r = file_write(s->tmp, file, text, strlen(text), 0600);
	r = r < 0 ? store_write_failed(s, r, file, err) : store_check_quota(s, 0, err);
	if (r < 0)
		unstage(s, name, info->size);
	return r;
}

/* The recipe of a tar whose files do not tell it: the tar itself, compressed. */
static int recipe_verbatim(Store *s, const char *name, StoreOpenFn open, void *user, Err *err)
{
	AUTO_FREE char *file = xasprintf("%s/recipe", name);
	AUTO_FREE char *chunk = xmalloc(65536);
	AUTO_STREAM packed = NULL;
	AUTO_STREAM plain = NULL;
	int r = open(user, &packed, err);
	if (r < 0 || (r = stream_unpack(steal_ptr(&packed), LIMIT_LAYER_BYTES, &plain, NULL, err)) < 0)
		return r;
	AUTO_CLOSE int fd = openat(s->tmp, file, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return store_write_failed(s, -errno, file, err);
	RecipeWriter *w __attribute__((cleanup(recipe_writer_freep))) = recipe_writer_new(fd);
	ssize_t n;
	while ((n = stream_read(plain, chunk, 65536, err)) > 0)
		recipe_raw(w, chunk, (size_t) n);
	return n < 0 ? (int) n : recipe_finish(w, err);
}

static int unpack_into(Store *s, const char *name, Stream *tar, UnpackResult *ret, Err *err)
{
	AUTO_FREE char *root = xasprintf("%s/root", name);
	AUTO_FREE char *file = xasprintf("%s/recipe", name);
	AUTO_CLOSE int rootfd = openat(s->tmp, root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int fd = openat(s->tmp, file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (rootfd < 0 || fd < 0)
		return store_write_failed(s, -errno, file, err);
	RecipeWriter *w __attribute__((cleanup(recipe_writer_freep))) = recipe_writer_new(fd);
	int r = unpack_layer(tar, rootfd, w, ret, err);
	return r < 0 ? r : recipe_finish(w, err);
}

static int stage_checked(Store *s, const char *name, StoreOpenFn open, void *user, const StageOptions *o,
	char diff_id[sizeof(DIGEST_PREFIX) + 64], LayerInfo *ret, Err *err)
{
	AUTO_STREAM packed = NULL;
	AUTO_STREAM plain = NULL;
	UnpackResult result = { 0 };
	uint64_t tar_size;
	int r = open(user, &packed, err);
	if (r < 0 || (r = stream_unpack(steal_ptr(&packed), LIMIT_LAYER_BYTES, &plain, NULL, err)) < 0)
		return r;
	/* To decompress takes about as long as all the rest. */
	plain = stream_ahead(plain);
	AUTO_STREAM hash = stream_hash(plain);
	r = unpack_into(s, name, hash, &result, err);
	if (r < 0 || (r = stream_hash_finish(hash, diff_id, &tar_size, err)) < 0)
		return r;
	if (o->diff_id && !str_eq(o->diff_id, diff_id))
		return err_set(err, -EINVAL, "wrong digest: the image's configuration says %s, the contents have %s", o->diff_id,
			diff_id);
	if (o->whole && !result.complete)
		return err_set(err, -EINVAL, "the tar archive is cut off: its end marker is missing");
	if (result.irregular && (r = recipe_verbatim(s, name, open, user, err)) < 0)
		return r;
	*ret = (LayerInfo) { .size = (int64_t) result.bytes, .tar_size = (int64_t) tar_size };
	return 0;
}

int store_stage_layer(Store *s, StoreOpenFn open, void *user, const StageOptions *o,
	char ret_diff_id[sizeof(DIGEST_PREFIX) + 64], LayerInfo *ret, Err *err)
{
	char *name = NULL;
	LayerInfo there;
	int r = store_stage_begin(s, &name, err);
	if (r < 0)
		return r;
	r = stage_checked(s, name, open, user, o, ret_diff_id, ret, err);
	if (r == 0)
		r = is_staged(s, ret_diff_id) ? 1 : store_layer(s, ret_diff_id, &there, err);
	if (r == 0)
		return store_stage_made(s, name, ret_diff_id, ret, err);
	(void) tree_remove(s->tmp, name);
	free(name);
	return r < 0 ? r : 0;
}

int store_stage_blob(Store *s, const void *p, size_t n, char *ret_hex, Err *err)
{
	char hex[DIGEST_HEX_MAX], tmp[33];
	digest_sha256(p, n, hex);
	hex_random(16, tmp);
	StagedBlob *b = array_append(s->blobs_staged, s->n_blobs_staged);
	b->hex = xstrdup(hex);
	b->tmp = xstrdup(tmp);
	if (ret_hex)
		memcpy(ret_hex, hex, sizeof(hex));
	int r = file_write(s->tmp, tmp, p, n, 0600);
	return r < 0 ? store_write_failed(s, r, "an image configuration", err) : 0;
}

/* Committing. */

static int commit_layer(Store *s, StagedLayer *l, Err *err)
{
	static const char *const sides[][2] = { { "recipe", ".recipe" }, { "info", ".json" }, { "root", "" } };
	for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
		AUTO_FREE char *from = xasprintf("%s/%s", l->tmp, sides[i][0]);
		AUTO_FREE char *to = side_name(l->diff_id, sides[i][1]);
		if (renameat(s->tmp, from, s->layers, to) == 0)
			continue;
		/* Another worker was first with the same layer: its side files say the same. */
		if (i == 2 && (errno == EEXIST || errno == ENOTEMPTY))
			break;
		return store_write_failed(s, -errno, to, err);
	}
	(void) tree_remove(s->tmp, l->tmp);
	free_and_null(&l->tmp);
	return 0;
}

int store_commit(Store *s, Err *err)
{
	int r;
	if (!s->n_staged && !s->n_blobs_staged)
		return 0;
	if (syncfs(s->tmp) < 0)
		return store_write_failed(s, -errno, "writing to disk", err);
	for (size_t i = 0; i < s->n_staged; i++)
		if ((r = commit_layer(s, &s->staged[i], err)) < 0)
			return r;
	if (s->n_staged && fsync(s->layers) < 0)
		return err_errno(err, -errno, "%s/layers", s->path);
	for (size_t i = 0; i < s->n_blobs_staged; i++)
		if (renameat(s->tmp, s->blobs_staged[i].tmp, s->blobs, s->blobs_staged[i].hex) < 0)
			return store_write_failed(s, -errno, "an image configuration", err);
	if (s->n_blobs_staged && fsync(s->blobs) < 0)
		return err_errno(err, -errno, "%s/blobs", s->path);
	drop_staged(s);
	return 0;
}
