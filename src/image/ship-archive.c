// SPDX-License-Identifier: Apache-2.0
/*
 * An archive or a layout as the source of a ship: read where it lies, nothing is unpacked but, into an unnamed file, a compressed
 * layer that the receiver wants. No root is needed. That a layer is what its configuration says is checked by the receiver.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/archive-index.h"
#include "image/manifest.h"
#include "image/reference.h"
#include "image/ship-source.h"

#define CHUNK (256U << 10)
#define NAMES_SHOWN 10
#define MADE_HERE "localhost/"

typedef struct Member {
	char *diff_id, *name;
} Member;

typedef struct ArchiveSource {
	ShipSource s;
	ArchiveIndex index;
	char **wanted; /* normalised names and ids; NULL = all */
	char **there;  /* names of the archive, for an error */
	Member *members;
	size_t n_members;
	char *spooled; /* the diff id of the layer that `file` has */
	int file;
	uint64_t size;
} ArchiveSource;

static void archive_free(ShipSource *s)
{
	ArchiveSource *a = (ArchiveSource *) s;
	for (size_t i = 0; i < a->n_members; i++) {
		free(a->members[i].diff_id);
		free(a->members[i].name);
	}
	free(a->members);
	strv_free(a->wanted);
	strv_free(a->there);
	free(a->spooled);
	if (a->file >= 0)
		(void) close(a->file);
	archive_index_done(&a->index);
	free(a);
}

/* What was asked for by name, or all. An id is a digest or its beginning. */
static bool is_wanted(const ArchiveSource *a, const Image *image)
{
	if (!a->wanted)
		return true;
	for (char **w = a->wanted; *w; w++) {
		size_t n = strlen(*w);
		if (strv_has(image->tags, *w) || str_eq(image->id, *w) ||
			(n >= 4 && strncmp(image->id + strlen(DIGEST_PREFIX), *w, n) == 0))
			return true;
	}
	return false;
}

/* Podman saves what is asked of it as 'app', and has made it, as 'localhost/app': it goes by the name that was asked for. */
static char *name_asked_for(const ArchiveSource *a, const char *tag)
{
	char *normal = NULL;
	if (a->wanted && !strv_has(a->wanted, tag) && str_starts(tag, MADE_HERE) &&
		reference_normalise(tag + strlen(MADE_HERE), &normal, NULL) == 0 && strv_has(a->wanted, normal))
		return normal;
	free(normal);
	return xstrdup(tag);
}

static int add_layers(ArchiveSource *a, Image *image, const ArchiveImage *m, Err *err)
{
	if (image->n_layers != m->n || m->n == 0)
		return err_set(err, -EINVAL, "the manifest names %zu layers, the configuration %zu", m->n, image->n_layers);
	for (size_t k = 0; k < m->n; k++) {
		AUTO_STREAM plain = NULL;
		Stream *stored;
		uint64_t size;
		bool packed;
		int r = archive_index_open(&a->index, m->members[k], &stored, &size, err);
		if (r < 0 || (r = stream_unpack(stored, LIMIT_LAYER_BYTES, &plain, &packed, err)) < 0)
			return err_wrap(err, "layer %zu of %zu", k + 1, m->n);
		image->layers[k].size = packed ? 0 : (int64_t) size;
		*array_append(a->members, a->n_members) = (Member) { xstrdup(image->layers[k].diff_id), xstrdup(m->members[k]) };
	}
	return 0;
}

static int add_image(void *user, const ArchiveIndex *index, const ArchiveImage *m, Err *err)
{
	ArchiveSource *a = user;
	Image *image __attribute__((cleanup(image_freep))) = NULL;
	int r = image_from_config(buf_cstr(m->config), m->config->len, &image, err);
	if (r < 0)
		return r;
	for (char *const *t = m->tags; t && *t; t++) {
		AUTO_FREE char *name = name_asked_for(a, *t);
		if (!strv_has(image->tags, name))
			strv_add(&image->tags, name);
	}
	for (char **t = image->tags; t && *t; t++)
		strv_take(&a->there, reference_show(*t));
	if (!is_wanted(a, image))
		return 0;
	for (size_t i = 0; i < a->s.n; i++) /* one that is named twice has more tags */
		if (str_eq(a->s.images[i]->id, image->id)) {
			for (char **t = image->tags; t && *t; t++)
				if (!strv_has(a->s.images[i]->tags, *t))
					strv_add(&a->s.images[i]->tags, *t);
			return 0;
		}
	if ((r = add_layers(a, image, m, err)) < 0)
		return r;
	*array_append(a->s.images, a->s.n) = steal_ptr(&image);
	return 0;
}

/* A compressed layer into an unnamed file; the last one stays, for it may be asked for again. */
static int spool_layer(ArchiveSource *a, const char *diff_id, Stream *plain, Err *err)
{
	AUTO_FREE char *chunk = xmalloc(CHUNK);
	AUTO_CLOSE int file = store_temp_file(a->s.store, err);
	ssize_t n;
	int r;
	if (file < 0)
		return file;
	if (a->file >= 0)
		(void) close(a->file);
	a->file = -1;
	a->size = 0;
	while ((n = stream_read(plain, chunk, CHUNK, err)) > 0) {
		if ((r = fd_write_all(file, chunk, (size_t) n)) < 0)
			return store_write_failed(a->s.store, r, "unpacking a layer", err);
		a->size += (uint64_t) n;
	}
	if (n < 0)
		return (int) n;
	a->file = steal_fd(&file);
	str_set(&a->spooled, diff_id);
	return 0;
}

static int archive_open(ShipSource *s, const char *diff_id, Stream **ret, uint64_t *ret_size, Err *err)
{
	ArchiveSource *a = (ArchiveSource *) s;
	const Member *m = NULL;
	AUTO_STREAM plain = NULL;
	Stream *stored;
	bool packed;
	for (size_t i = 0; !m && i < a->n_members; i++)
		if (str_eq(a->members[i].diff_id, diff_id))
			m = &a->members[i];
	if (!m)
		return err_set(err, -ENOENT, "it is not in the archive");
	if (a->file < 0 || !str_eq(a->spooled, diff_id)) {
		int r = archive_index_open(&a->index, m->name, &stored, ret_size, err);
		if (r < 0 || (r = stream_unpack(stored, LIMIT_LAYER_BYTES, &plain, &packed, err)) < 0)
			return r;
		if (!packed) {
			*ret = steal_ptr(&plain);
			return 0;
		}
		if ((r = spool_layer(a, diff_id, plain, err)) < 0)
			return r;
	}
	*ret = stream_file(a->file, 0, a->size);
	*ret_size = a->size;
	return 0;
}

static int take_wanted(ArchiveSource *a, const json_t *wanted, Err *err)
{
	for (size_t i = 0; i < json_array_size(wanted); i++) {
		const char *name = json_string_value(json_array_get(wanted, i));
		char *normal = NULL;
		if (!name)
			return err_set(err, -EINVAL, "a name that is none");
		/* An id, whole or its beginning, stays as it is; beside that it may be a name. */
		strv_add(&a->wanted, name);
		if (reference_normalise(name, &normal, NULL) == 0)
			strv_take(&a->wanted, normal);
	}
	return 0;
}

static int not_there(const ArchiveSource *a, const json_t *wanted, Err *err)
{
	AUTO_BUF names = BUF_INIT;
	size_t n = strv_len(a->there);
	for (size_t i = 0; i < n && i < NAMES_SHOWN; i++)
		buf_printf(&names, "%s%s", i ? ", " : "", a->there[i]);
	if (n > NAMES_SHOWN)
		buf_printf(&names, " and %zu more", n - NAMES_SHOWN);
	const char *first = json_string_value(json_array_get(wanted, 0));
	return err_set(err, -ENOENT, "no image '%s' in it; there are: %s", first ? first : "", n ? buf_cstr(&names) : "images without names");
}

/* Every name has to stand for an image. */
static int check_wanted(const ArchiveSource *a, const json_t *wanted, Err *err)
{
	if (!a->s.n)
		return wanted ? not_there(a, wanted, err) : err_set(err, -EINVAL, "there is no image in it");
	for (size_t i = 0; i < json_array_size(wanted); i++) {
		json_t *one = json_pack("[O]", json_array_get(wanted, i));
		ArchiveSource asked = { .there = a->there };
		int r = take_wanted(&asked, one, err);
		bool found = false;
		for (size_t k = 0; r == 0 && !found && k < a->s.n; k++)
			found = is_wanted(&asked, a->s.images[k]);
		strv_free(asked.wanted);
		if (r == 0 && !found)
			r = not_there(a, one, err);
		json_decref(one);
		if (r < 0)
			return r;
	}
	return 0;
}

static int open_index(ArchiveSource *a, const json_t *options, int fd, Err *err)
{
	const char *layout = json_string_value(json_object_get(options, "layout"));
	uint64_t base = 0;
	if (layout) {
		a->index = (ArchiveIndex) { .fd = open(layout, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .directory = true };
		return a->index.fd < 0 ? err_errno(err, -errno, "%s", layout) : 0;
	}
	int plain = archive_spool(a->s.store, fd, &base, err);
	return plain < 0 ? plain : archive_index_read(plain, base, &a->index, err);
}

int ship_source_archive(Store *store, const json_t *options, int fd, ShipSource **ret, Err *err)
{
	const json_t *wanted = json_object_get(options, "wanted");
	const char *variant, *host = platform_host(&variant), *arch = json_string_value(json_object_get(options, "arch"));
	ArchiveSource *a = xcalloc(1, sizeof(*a));
	a->s = (ShipSource) { .store = store, .open = archive_open, .free = archive_free };
	a->index.fd = a->file = -1;
	if (json_array_size(wanted) == 0)
		wanted = NULL;
	int r = take_wanted(a, wanted, err);
	if (r == 0)
		r = open_index(a, options, fd, err);
	if (r == 0)
		r = archive_each_image(&a->index, arch ? arch : host, arch && !str_eq(arch, host) ? NULL : variant, add_image, a, err);
	if (r == 0)
		r = check_wanted(a, wanted, err);
	if (r < 0)
		ship_source_free(&a->s);
	else
		*ret = &a->s;
	return r;
}
