// SPDX-License-Identifier: Apache-2.0
/*
 * All sizes are known beforehand (configurations are small, a layer's tar size stands beside it), so
 * the archive is written in one pass: the documents first, then each layer once, however many images have it.
 */
#include "image/save.h"

#include <errno.h>
#include <poll.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/reference.h"
#include "image/report.h"
#include "image/tar.h"

#define CHUNK (256U << 10)
#define TYPE_INDEX "application/vnd.oci.image.index.v1+json"
#define TYPE_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define TYPE_CONFIG "application/vnd.oci.image.config.v1+json"
#define TYPE_LAYER "application/vnd.oci.image.layer.v1.tar"

typedef struct Save {
	Store *store;
	int fd;
	Buf out; /* small pieces, gathered */
	char **written; /* blobs (hex) that are in the archive */
	json_t *docker, *index, *repositories;
} Save;

static int write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t k = write(fd, p, n);
		if (k < 0 && (errno == EAGAIN || errno == EINTR)) {
			struct pollfd wait = { .fd = fd, .events = POLLOUT };
			(void) poll(&wait, 1, -1);
			continue;
		}
		if (k < 0)
			return -errno;
		p += k;
		n -= (size_t) k;
	}
	return 0;
}

static int flush(Save *s, Err *err)
{
	int r = write_all(s->fd, buf_cstr(&s->out), s->out.len);
	buf_clear(&s->out);
	return r < 0 ? err_errno(err, r, "writing the archive") : 0;
}

static void add_header(Save *s, const char *name, TarType type, uint64_t size)
{
	TarEntry e = { .type = type, .path = (char *) name, .mode = type == TAR_DIRECTORY ? 0755 : 0644, .size = size, .stored = size };
	tar_write_header(&s->out, &e);
}

static void add_padding(Save *s, uint64_t size)
{
	static const char zero[TAR_BLOCK];
	buf_append(&s->out, zero, tar_padding(size));
}

static void add_file(Save *s, const char *name, const void *p, size_t n)
{
	add_header(s, name, TAR_FILE, n);
	buf_append(&s->out, p, n);
	add_padding(s, n);
}

static void add_json(Save *s, const char *name, const json_t *o)
{
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
	if (!text)
		abort();
	add_file(s, name, text, strlen(text));
}

/* True if the blob has yet to be written (and is taken as written from now on). */
static bool take_blob(Save *s, const char *hex)
{
	if (strv_has(s->written, hex))
		return false;
	strv_add(&s->written, hex);
	return true;
}

static void add_blob(Save *s, const void *p, size_t n, char ret_hex[DIGEST_HEX_MAX])
{
	digest_sha256(p, n, ret_hex);
	AUTO_FREE char *name = xasprintf("blobs/sha256/%s", ret_hex);
	if (take_blob(s, ret_hex))
		add_file(s, name, p, n);
}

static int copy_layer(Save *s, const char *diff_id, Err *err)
{
	char found[sizeof(DIGEST_PREFIX) + 64];
	AUTO_FREE char *chunk = xmalloc(CHUNK);
	AUTO_STREAM tar = NULL;
	int r = store_layer_tar(s->store, diff_id, &tar, err);
	if (r < 0)
		return r;
	AUTO_STREAM hash = stream_hash(tar);
	ssize_t n;
	while ((n = stream_read(hash, chunk, CHUNK, err)) > 0)
		if ((r = write_all(s->fd, chunk, (size_t) n)) < 0)
			return err_errno(err, r, "writing the archive");
	if (n < 0)
		return (int) n;
	if ((r = stream_hash_finish(hash, found, NULL, err)) < 0)
		return r;
	return str_eq(found, diff_id) ? 0 :
					err_set(err, -EIO, "its files were changed or damaged since it was made: they give %s", found);
}

static int add_layer(Save *s, const ImageLayer *l, Err *err)
{
	LayerInfo info;
	const char *hex = l->diff_id + strlen(DIGEST_PREFIX);
	if (!take_blob(s, hex))
		return 0;
	int r = store_layer(s->store, l->diff_id, &info, err);
	if (r == 0)
		r = err_set(err, -ENOENT, "it is missing under %s/layers", s->store->path);
	if (r < 0)
		return err_wrap(err, "layer %s", l->diff_id);
	AUTO_FREE char *name = xasprintf("blobs/sha256/%s", hex);
	add_header(s, name, TAR_FILE, (uint64_t) info.tar_size);
	if ((r = flush(s, err)) < 0)
		return r;
	if ((r = copy_layer(s, l->diff_id, err)) < 0)
		return err_wrap(err, "layer %s", l->diff_id);
	add_padding(s, (uint64_t) info.tar_size);
	return 0;
}

static json_t *layer_descriptors(Save *s, const Image *image, Err *err)
{
	json_t *list = json_array();
	for (size_t i = 0; i < image->n_layers; i++) {
		LayerInfo info = { 0 };
		if (store_layer(s->store, image->layers[i].diff_id, &info, err) != 1) {
			json_decref(list);
			(void) err_set(err, -ENOENT, "layer %s is missing under %s/layers", image->layers[i].diff_id, s->store->path);
			return NULL;
		}
		(void) json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "mediaType", TYPE_LAYER, "digest",
							    image->layers[i].diff_id, "size", (json_int_t) info.tar_size));
	}
	return list;
}

static json_t *manifest_descriptor(const char *hex, size_t size, const Image *image)
{
	AUTO_FREE char *digest = xasprintf(DIGEST_PREFIX "%s", hex);
	json_t *platform = json_pack("{s:s, s:s}", "architecture", image->architecture ? image->architecture : "amd64", "os", "linux");
	if (image->variant)
		(void) json_object_set_new(platform, "variant", json_string(image->variant));
	return json_pack("{s:s, s:s, s:I, s:o}", "mediaType", TYPE_MANIFEST, "digest", digest, "size", (json_int_t) size, "platform",
		platform);
}

/* One entry of the index a tag, as docker writes it; one without a name if there is none. */
static void index_tag(Save *s, const char *tag, const json_t *descriptor, const char *top_layer_hex, json_t *repo_tags)
{
	AUTO_REFERENCE r = { 0 };
	if (reference_parse(tag, &r, NULL) < 0 || !r.tag || r.digest)
		return;
	AUTO_FREE char *familiar = reference_familiar(&r);
	AUTO_FREE char *name = reference_familiar_name(&r);
	json_t *d = json_deep_copy(descriptor);
	(void) json_object_set_new(d, "annotations",
		json_pack("{s:s, s:s}", "io.containerd.image.name", tag, "org.opencontainers.image.ref.name", r.tag));
	(void) json_array_append_new(s->index, d);
	(void) json_array_append_new(repo_tags, json_string(familiar));
	json_t *repository = json_object_get(s->repositories, name);
	if (!repository) {
		repository = json_object();
		(void) json_object_set_new(s->repositories, name, repository);
	}
	(void) json_object_set_new(repository, r.tag, json_string(top_layer_hex));
}

static int describe(Save *s, const Image *image, const json_t *tags, Err *err)
{
	char config_hex[DIGEST_HEX_MAX], manifest_hex[DIGEST_HEX_MAX];
	size_t n = strlen(image->config_json);
	add_blob(s, image->config_json, n, config_hex);
	json_t *layers = layer_descriptors(s, image, err), *names = json_array(), *repo_tags = json_array();
	if (!layers) {
		json_decref(names);
		json_decref(repo_tags);
		return -ENOENT;
	}
	json_t *manifest = json_pack("{s:i, s:s, s:{s:s, s:s, s:I}, s:o}", "schemaVersion", 2, "mediaType", TYPE_MANIFEST, "config", "mediaType",
		TYPE_CONFIG, "digest", image->id, "size", (json_int_t) n, "layers", layers);
	AUTO_FREE char *text = json_dumps(manifest, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(manifest);
	if (!text)
		abort();
	add_blob(s, text, strlen(text), manifest_hex);
	json_t *descriptor = manifest_descriptor(manifest_hex, strlen(text), image);
	for (size_t i = 0; i < json_array_size(tags); i++)
		if (json_is_string(json_array_get(tags, i)))
			index_tag(s, json_string_value(json_array_get(tags, i)), descriptor,
				image->layers[image->n_layers - 1].diff_id + strlen(DIGEST_PREFIX), repo_tags);
	if (json_array_size(repo_tags) == 0)
		(void) json_array_append(s->index, descriptor);
	json_decref(descriptor);
	for (size_t i = 0; i < image->n_layers; i++) {
		AUTO_FREE char *name = xasprintf("blobs/sha256/%s", image->layers[i].diff_id + strlen(DIGEST_PREFIX));
		(void) json_array_append_new(names, json_string(name));
	}
	AUTO_FREE char *config_name = xasprintf("blobs/sha256/%s", config_hex);
	(void) json_array_append_new(s->docker, json_pack("{s:s, s:o, s:o}", "Config", config_name, "RepoTags", repo_tags, "Layers", names));
	return 0;
}

static int read_image(Save *s, const json_t *item, Image **ret, Err *err)
{
	AUTO_BUF config = BUF_INIT;
	const char *id = json_string_value(json_object_get(item, "id"));
	int r = store_read_blob(s->store, id ? id : "", &config, err);
	if (r < 0 || (r = image_from_config(buf_cstr(&config), config.len, ret, err)) < 0)
		return r;
	return (*ret)->n_layers ? 0 : err_set(err, -EINVAL, "image %s has no layers", id);
}

static int save_all(Save *s, const json_t *items, ImageList *images, Err *err)
{
	int r;
	add_header(s, "blobs/", TAR_DIRECTORY, 0);
	add_header(s, "blobs/sha256/", TAR_DIRECTORY, 0);
	for (size_t i = 0; i < json_array_size(items); i++) {
		const json_t *item = json_array_get(items, i);
		if ((r = read_image(s, item, array_append(images->items, images->n), err)) < 0 ||
			(r = describe(s, images->items[i], json_object_get(item, "tags"), err)) < 0)
			return r;
	}
	json_t *layout = json_pack("{s:s}", "imageLayoutVersion", "1.0.0");
	json_t *index = json_pack("{s:i, s:s, s:O}", "schemaVersion", 2, "mediaType", TYPE_INDEX, "manifests", s->index);
	add_json(s, "oci-layout", layout);
	add_json(s, "index.json", index);
	add_json(s, "manifest.json", s->docker);
	if (json_object_size(s->repositories))
		add_json(s, "repositories", s->repositories);
	json_decref(layout);
	json_decref(index);
	for (size_t i = 0; i < images->n; i++) {
		Image *image = images->items[i];
		report_progress("image %zu of %zu: %zu layers", i + 1, images->n, image->n_layers);
		for (size_t k = 0; k < image->n_layers; k++)
			if ((r = add_layer(s, &image->layers[k], err)) < 0)
				return r;
	}
	tar_write_end(&s->out);
	return flush(s, err);
}

int archive_save(Store *store, const json_t *options, int fd, Err *err)
{
	const json_t *items = json_object_get(options, "images");
	AUTO_IMAGE_LIST images = { 0 };
	Save s = { .store = store, .fd = fd, .docker = json_array(), .index = json_array(), .repositories = json_object() };
	int r = json_array_size(items) ? save_all(&s, items, &images, err) : err_set(err, -EINVAL, "no image to save");
	buf_done(&s.out);
	strv_free(s.written);
	json_decref(s.docker);
	json_decref(s.index);
	json_decref(s.repositories);
	return r;
}
