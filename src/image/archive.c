// SPDX-License-Identifier: Apache-2.0
/*
 * An archive's members may stand in any order (layers before the manifest that names them), so it is
 * read twice: once for an index of names and offsets, then each piece where it is. A plain file is
 * used as it is; a pipe, or something compressed, is first unpacked into an unnamed temporary file.
 */
#include "image/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/archive-index.h"
#include "image/legacy.h"
#include "image/manifest.h"

#define CHUNK (256U << 10)
#define LINKS_MAX 8
#define INDEX_DEPTH 4

int archive_spool(Store *s, int fd, uint64_t *ret_base, Err *err)
{
	struct stat st;
	AUTO_STREAM plain = NULL;
	bool packed;
	off_t base = lseek(fd, 0, SEEK_CUR);
	bool file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && base >= 0;
	int r = stream_unpack(file ? stream_file(fd, (uint64_t) base, (uint64_t) st.st_size) : stream_fd(fd),
		LIMIT_ARCHIVE_BYTES, &plain, &packed, err);
	if (r < 0)
		return r;
	if (file && !packed) {
		*ret_base = (uint64_t) base;
		int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		return copy < 0 ? err_errno(err, -errno, "the archive") : copy;
	}
	AUTO_CLOSE int tmp = store_temp_file(s, err);
	if (tmp < 0)
		return tmp;
	AUTO_FREE char *chunk = xmalloc(CHUNK);
	ssize_t n;
	while ((n = stream_read(plain, chunk, CHUNK, err)) > 0)
		if ((r = fd_write_all(tmp, chunk, (size_t) n)) < 0)
			return store_write_failed(s, r, "a copy of the archive", err);
	if (n < 0)
		return (int) n;
	*ret_base = 0;
	return steal_fd(&tmp);
}

/* The index. */

void archive_index_done(ArchiveIndex *a)
{
	for (size_t i = 0; i < a->n; i++) {
		free(a->members[i].name);
		free(a->members[i].link);
	}
	free(a->members);
	if (a->fd >= 0)
		(void) close(a->fd);
	*a = (ArchiveIndex) { .fd = -1 };
}

static int member_order(const void *x, const void *y)
{
	const ArchiveMember *a = x, *b = y;
	int c = strcmp(a->name, b->name);
	return c ? c : (a->offset > b->offset) - (a->offset < b->offset);
}

/* "dir/link" -> "../x" gives "x"; NULL if it leads out. */
static char *join_link(const char *name, const char *target)
{
	const char *slash = strrchr(name, '/');
	if (target[0] == '/')
		return NULL;
	AUTO_FREE char *path = xasprintf("%.*s%s", slash ? (int) (slash - name + 1) : 0, name, target);
	AUTO_STRV char **parts = NULL;
	size_t n = 0;
	for (char *save = NULL, *p = strtok_r(path, "/", &save); p; p = strtok_r(NULL, "/", &save)) {
		if (str_eq(p, "."))
			continue;
		if (!str_eq(p, "..")) {
			strv_add(&parts, p);
			n++;
		} else if (n == 0) {
			return NULL;
		} else {
			n--; /* apart: the macro takes its argument twice */
			free_and_null(&parts[n]);
		}
	}
	Buf b = BUF_INIT;
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%s", i ? "/" : "", parts[i]);
	return buf_steal(&b);
}

static int add_member(ArchiveIndex *a, const TarEntry *e, uint64_t offset, Err *err)
{
	AUTO_FREE char *name = NULL;
	char *link = NULL;
	int r = unpack_name(e->path, &name, err);
	if (r < 0)
		return r;
	if (e->type == TAR_SYMLINK) {
		link = join_link(name, e->link);
		if (!link)
			return err_set(err, -EINVAL, "'%s' is a symbolic link out of the archive: refused", name);
	} else if (e->type == TAR_HARDLINK) {
		if ((r = unpack_name(e->link, &link, err)) < 0)
			return err_wrap(err, "'%s' is a hard link", name);
	} else if (e->type != TAR_FILE) {
		return 0;
	}
	if (a->n >= LIMIT_ARCHIVE_ENTRIES) {
		free(link);
		return err_set(err, -EFBIG, "more than %d members", LIMIT_ARCHIVE_ENTRIES);
	}
	if (e->sparse)
		return err_set(err, -EINVAL, "'%s' is stored as a sparse file", name);
	*array_append(a->members, a->n) = (ArchiveMember) { steal_ptr(&name), link, offset, e->stored };
	return 0;
}

int archive_index_read(int fd, uint64_t base, ArchiveIndex *ret, Err *err)
{
	ArchiveIndex a __attribute__((cleanup(archive_index_done))) = { .fd = fd };
	AUTO_STREAM s = stream_file(fd, base, INT64_MAX - base);
	AUTO_TAR tar = tar_reader_new(s, NULL, NULL);
	const TarEntry *e;
	int r;
	while ((r = tar_next(tar, &e, err)) == 1)
		if ((r = add_member(&a, e, base + tar_offset(tar), err)) < 0)
			return r;
	if (r < 0)
		return r;
	if (!tar_complete(tar))
		return err_set(err, -EINVAL, a.n ? "the archive is cut off: its end marker is missing" : "the archive is empty");
	if (a.n)
		qsort(a.members, a.n, sizeof(*a.members), member_order);
	*ret = a;
	a = (ArchiveIndex) { .fd = -1 };
	return 0;
}

static const ArchiveMember *find_exact(const ArchiveIndex *a, const char *name)
{
	size_t lo = 0, hi = a->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (strcmp(a->members[mid].name, name) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	/* The last of equal names counts, as for tar itself. */
	return lo && str_eq(a->members[lo - 1].name, name) ? &a->members[lo - 1] : NULL;
}

const ArchiveMember *archive_index_find(const ArchiveIndex *a, const char *name)
{
	AUTO_FREE char *clean = NULL;
	if (unpack_name(name, &clean, NULL) < 0)
		return NULL;
	const ArchiveMember *m = find_exact(a, clean);
	for (int i = 0; m && m->link; i++)
		m = i < LINKS_MAX ? find_exact(a, m->link) : NULL;
	return m;
}

/* A file of a layout. Links in it lead where they like, as long as that is inside. */
static int open_in_layout(const ArchiveIndex *a, const char *name, uint64_t *ret_size)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	struct stat st;
	AUTO_CLOSE int fd = (int) syscall(SYS_openat2, a->fd, name, &how, sizeof(how));
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	*ret_size = (uint64_t) st.st_size;
	return steal_fd(&fd);
}

bool archive_index_has(const ArchiveIndex *a, const char *name)
{
	uint64_t size;
	if (!a->directory)
		return archive_index_find(a, name) != NULL;
	AUTO_CLOSE int fd = open_in_layout(a, name, &size);
	return fd >= 0;
}

typedef struct LayoutStream {
	Stream s;
	Stream *inner;
	int fd;
} LayoutStream;

static ssize_t layout_read(Stream *s, void *p, size_t n, Err *err)
{
	return stream_read(((LayoutStream *) s)->inner, p, n, err);
}

static void layout_free(Stream *s)
{
	LayoutStream *l = (LayoutStream *) s;
	stream_free(l->inner);
	(void) close(l->fd);
	free(l);
}

int archive_index_open(const ArchiveIndex *a, const char *name, Stream **ret, uint64_t *ret_size, Err *err)
{
	if (!a->directory) {
		const ArchiveMember *m = archive_index_find(a, name);
		if (!m)
			return err_set(err, -ENOENT, "'%s' is not in the archive", name);
		*ret = stream_file(a->fd, m->offset, m->size);
		*ret_size = m->size;
		return 0;
	}
	int fd = open_in_layout(a, name, ret_size);
	if (fd < 0)
		return err_errno(err, fd, "'%s' of the layout", name);
	LayoutStream *l = xcalloc(1, sizeof(*l));
	*l = (LayoutStream) { { .read = layout_read, .free = layout_free }, stream_file(fd, 0, *ret_size), fd };
	*ret = &l->s;
	return 0;
}

int archive_index_get(const ArchiveIndex *a, const char *name, Buf *ret, Err *err)
{
	AUTO_STREAM s = NULL;
	uint64_t size;
	int r = archive_index_open(a, name, &s, &size, err);
	if (r < 0)
		return r;
	if (size > LIMIT_MANIFEST_BYTES)
		return err_set(err, -EFBIG, "'%s' is larger than %u bytes", name, LIMIT_MANIFEST_BYTES);
	ssize_t n = stream_read_full(s, buf_reserve(ret, (size_t) size), (size_t) size, err);
	if (n < 0)
		return (int) n;
	if ((uint64_t) n < size)
		return err_set(err, -EINVAL, "the archive is cut off in '%s'", name);
	buf_added(ret, (size_t) n);
	return 0;
}

/* A blob of the OCI layout, its digest and size checked. */
static int get_blob(const ArchiveIndex *a, const Descriptor *d, Buf *ret, Err *err)
{
	char hex[DIGEST_HEX_MAX];
	AUTO_FREE char *name = xasprintf("blobs/sha256/%s", d->digest + strlen(DIGEST_PREFIX));
	int r = archive_index_get(a, name, ret, err);
	if (r < 0)
		return r;
	digest_sha256(buf_cstr(ret), ret->len, hex);
	if (ret->len != d->size || !str_eq(hex, d->digest + strlen(DIGEST_PREFIX)))
		return err_set(err, -EINVAL, "wrong digest or size: '%s' has %zu bytes and sha256:%s, said were %llu bytes", name,
			ret->len, hex, (unsigned long long) d->size);
	return 0;
}

/* Layers. */

typedef struct LayerSource {
	const ArchiveIndex *a;
	const ArchiveMember *m;
} LayerSource;

static int open_source(void *user, Stream **ret, Err *err)
{
	const LayerSource *l = user;
	*ret = stream_file(l->a->fd, l->m->offset, l->m->size);
	return 0;
}

/* The digest in a member's name or in its descriptor is that of the stored (maybe compressed) bytes. */
static int check_stored(const LayerSource *l, const char *digest, Err *err)
{
	char found[sizeof(DIGEST_PREFIX) + 64];
	AUTO_STREAM file = stream_file(l->a->fd, l->m->offset, l->m->size);
	AUTO_STREAM hash = stream_hash(file);
	int r = stream_hash_finish(hash, found, NULL, err);
	if (r < 0)
		return r;
	return str_eq(found, digest) ? 0 : err_set(err, -EINVAL, "wrong digest: '%s' has %s", l->m->name, found);
}

static int stage_one(Store *s, const ArchiveIndex *a, const char *member, const char *stored_digest, Image *image, size_t k, Err *err)
{
	const char *diff_id = image->layers[k].diff_id;
	char found[sizeof(DIGEST_PREFIX) + 64];
	LayerInfo info;
	int r = store_layer(s, diff_id, &info, err);
	if (r < 0)
		return r;
	if (r == 1) {
		report_progress("layer %zu of %zu: already here", k + 1, image->n_layers);
	} else {
		LayerSource l = { a, archive_index_find(a, member) };
		if (!l.m)
			return err_set(err, -ENOENT, "'%s' is not in the archive", member);
		AUTO_FREE char *size = format_bytes((int64_t) l.m->size);
		report_progress("layer %zu of %zu: unpacking %s", k + 1, image->n_layers, size);
		if (!str_empty(stored_digest) && !str_eq(stored_digest, diff_id) && (r = check_stored(&l, stored_digest, err)) < 0)
			return r;
		StageOptions o = { .diff_id = diff_id };
		if ((r = store_stage_layer(s, open_source, &l, &o, found, &info, err)) < 0)
			return r;
	}
	image->layers[k].size = info.size;
	image->size += info.size;
	return 0;
}

int archive_stage_image(Store *s, const ArchiveIndex *a, const Buf *config, char *const *members, char *const *digests, size_t n,
	Image **ret, Err *err)
{
	Image *image __attribute__((cleanup(image_freep))) = NULL;
	int r = image_from_config(buf_cstr(config), config->len, &image, err);
	if (r < 0)
		return r;
	if (image->os && !str_eq(image->os, "linux"))
		return err_set(err, -EINVAL, "the image is for %s: only linux images run here", image->os);
	if (n == 0)
		return err_set(err, -EINVAL, "the image has no layers");
	if (image->n_layers != n)
		return err_set(err, -EINVAL, "the manifest names %zu layers, the configuration %zu", n, image->n_layers);
	for (size_t k = 0; k < n; k++)
		if ((r = stage_one(s, a, members[k], digests ? digests[k] : NULL, image, k, err)) < 0)
			return err_wrap(err, "layer %zu of %zu", k + 1, n);
	if ((r = store_stage_blob(s, buf_cstr(config), config->len, NULL, err)) < 0)
		return r;
	*ret = steal_ptr(&image);
	return 0;
}

/* An image that the archive names twice is one image with more tags. */
void archive_add_image(ImageList *l, Image *image)
{
	for (size_t i = 0; i < l->n; i++) {
		if (!str_eq(l->items[i]->id, image->id))
			continue;
		for (char **t = image->tags; t && *t; t++)
			if (!strv_has(l->items[i]->tags, *t))
				strv_add(&l->items[i]->tags, *t);
		image_free(image);
		return;
	}
	*array_append(l->items, l->n) = image;
}

/* Docker archives. */

/* "HEX.json" and "blobs/sha256/HEX" promise that digest. */
static int check_config_name(const char *name, const Buf *config, Err *err)
{
	char hex[DIGEST_HEX_MAX];
	const char *base = strrchr(name, '/');
	base = base ? base + 1 : name;
	size_t n = strspn(base, "0123456789abcdef");
	if (n != 64 || (base[n] && !str_eq(base + n, ".json")))
		return 0;
	digest_sha256(buf_cstr(config), config->len, hex);
	return memcmp(base, hex, 64) == 0 ? 0 :
					    err_set(err, -EINVAL, "wrong digest: the configuration '%s' has sha256:%s", name, hex);
}

/* One walk over an archive. */
typedef struct Walk {
	const ArchiveIndex *a;
	const char *arch, *variant;
	ArchiveImageFn fn;
	void *user;
} Walk;

static int walk_docker_one(const Walk *w, const DockerManifest *m, Err *err)
{
	AUTO_BUF config = BUF_INIT;
	AUTO_STRV char **digests = NULL;
	int r = archive_index_get(w->a, m->config, &config, err);
	if (r < 0 || (r = check_config_name(m->config, &config, err)) < 0)
		return r;
	for (size_t i = 0; i < m->n_layers; i++) {
		bool blob = str_starts(m->layers[i], "blobs/sha256/");
		char *digest = xasprintf(DIGEST_PREFIX "%s", blob ? m->layers[i] + strlen("blobs/sha256/") : "");
		if (!digest_valid(digest))
			*digest = '\0';
		strv_take(&digests, digest);
	}
	return w->fn(w->user, w->a, &(ArchiveImage) { &config, m->layers, digests, m->n_layers, m->tags }, err);
}

static int walk_docker(const Walk *w, Err *err)
{
	AUTO_BUF json = BUF_INIT;
	DockerManifests m = { 0 };
	int r = archive_index_get(w->a, "manifest.json", &json, err);
	if (r < 0 || (r = docker_manifest_parse(buf_cstr(&json), json.len, &m, err)) < 0)
		return r;
	for (size_t i = 0; r == 0 && i < m.n; i++) {
		r = walk_docker_one(w, &m.items[i], err);
		if (r < 0 && m.items[i].tags)
			r = err_wrap(err, "image %s", m.items[i].tags[0]);
	}
	docker_manifests_done(&m);
	return r;
}

/* OCI layouts. */

static int walk_oci_manifest(const Walk *w, const OciDocument *d, const char *name, Err *err)
{
	AUTO_BUF config = BUF_INIT;
	AUTO_STRV char **members = NULL, **digests = NULL, **tags = NULL;
	int r = get_blob(w->a, &d->config, &config, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < d->n_items; i++) {
		const char *type = d->items[i].media_type;
		if (type && str_ends(type, "+encrypted"))
			return err_set(err, -ENOTSUP, "layer %zu is encrypted", i + 1);
		strv_take(&members, xasprintf("blobs/sha256/%s", d->items[i].digest + strlen(DIGEST_PREFIX)));
		strv_add(&digests, d->items[i].digest);
	}
	if (name)
		strv_add(&tags, name);
	return w->fn(w->user, w->a, &(ArchiveImage) { &config, members, digests, d->n_items, tags }, err);
}

static int walk_oci(const Walk *w, const Descriptor *from, const char *name, int depth, Err *err);

static int walk_descriptor(const Walk *w, const Descriptor *d, const char *name, int depth, Err *err)
{
	return walk_oci(w, d, d->name ? d->name : name, depth + 1, err);
}

/*
 * Entries of the outermost index are images of their own, unless they are one image for several
 * platforms; those of a nested index always are that.
 */
static int walk_index(const Walk *w, const OciDocument *d, const char *name, int depth, Err *err)
{
	bool one = depth > 0;
	size_t chosen, with_platform = 0, images = 0;
	for (size_t i = 0; i < d->n_items; i++) {
		images += !d->items[i].attestation;
		with_platform += !d->items[i].attestation && d->items[i].architecture && !d->items[i].name;
	}
	if (images == 0)
		return err_set(err, -EINVAL, "the index names no image");
	one = one || (images > 1 && with_platform == images);
	if (one) {
		int r = oci_choose(d, w->arch, w->variant, &chosen, err);
		return r < 0 ? r : walk_descriptor(w, &d->items[chosen], name, depth, err);
	}
	for (size_t i = 0; i < d->n_items; i++) {
		if (d->items[i].attestation)
			continue;
		int r = walk_descriptor(w, &d->items[i], name, depth, err);
		if (r < 0)
			return d->items[i].name ? err_wrap(err, "image %s", d->items[i].name) : r;
	}
	return 0;
}

static int walk_oci(const Walk *w, const Descriptor *from, const char *name, int depth, Err *err)
{
	AUTO_BUF json = BUF_INIT;
	OciDocument d = { 0 };
	if (depth > INDEX_DEPTH)
		return err_set(err, -EINVAL, "image indexes are nested deeper than %d", INDEX_DEPTH);
	int r = from ? get_blob(w->a, from, &json, err) : archive_index_get(w->a, "index.json", &json, err);
	if (r == 0 && (r = oci_document_parse(buf_cstr(&json), json.len, &d, err)) < 0)
		r = err_wrap(err, "%s", from ? from->digest : "index.json");
	if (r < 0)
		return r;
	r = d.kind == OCI_INDEX ? walk_index(w, &d, name, depth, err) : walk_oci_manifest(w, &d, name, err);
	oci_document_done(&d);
	return r;
}

int archive_each_image(const ArchiveIndex *a, const char *arch, const char *variant, ArchiveImageFn fn, void *user, Err *err)
{
	const Walk w = { a, arch, variant, fn, user };
	/* Newer docker writes both; manifest.json says the same with fewer steps. */
	if (archive_index_has(a, "manifest.json"))
		return walk_docker(&w, err);
	if (archive_index_has(a, "index.json"))
		return walk_oci(&w, NULL, NULL, 0, err);
	return err_set(err, -EINVAL,
		"neither manifest.json nor index.json in it: not an image archive (for a root file system use 'stead import')");
}

typedef struct Load {
	Store *store;
	ImageList *out;
} Load;

static int load_image(void *user, const ArchiveIndex *a, const ArchiveImage *m, Err *err)
{
	Load *l = user;
	Image *image = NULL;
	int r = archive_stage_image(l->store, a, m->config, m->members, m->digests, m->n, &image, err);
	if (r < 0)
		return r;
	image->tags = strv_dup(m->tags);
	archive_add_image(l->out, image);
	return 0;
}

static int load_any(Store *s, const ArchiveIndex *a, ImageList *out, Err *err)
{
	const char *variant, *arch = platform_host(&variant);
	Load l = { s, out };
	if (!archive_index_has(a, "manifest.json") && !archive_index_has(a, "index.json") && archive_index_has(a, "repositories"))
		return legacy_load(s, a, out, err);
	return archive_each_image(a, arch, variant, load_image, &l, err);
}

int archive_load(Store *s, int fd, ImageList *ret, Err *err)
{
	ArchiveIndex a __attribute__((cleanup(archive_index_done))) = { .fd = -1 };
	AUTO_IMAGE_LIST out = { 0 };
	uint64_t base = 0;
	int plain = archive_spool(s, fd, &base, err);
	if (plain < 0)
		return plain;
	int r = archive_index_read(plain, base, &a, err);
	if (r < 0 || (r = load_any(s, &a, &out, err)) < 0 || (r = store_commit(s, err)) < 0)
		return r;
	*ret = out;
	out = (ImageList) { 0 };
	return 0;
}

/* Import. */

typedef struct ImportSource {
	int fd;
	uint64_t base;
} ImportSource;

static int open_import(void *user, Stream **ret, Err *err)
{
	const ImportSource *i = user;
	*ret = stream_file(i->fd, i->base, INT64_MAX - i->base);
	return 0;
}

int archive_import(Store *s, int fd, const ImageSpec *spec, ImageList *ret, Err *err)
{
	char diff_id[sizeof(DIGEST_PREFIX) + 64];
	LayerInfo info;
	ImportSource source = { 0 };
	StageOptions o = { .whole = true };
	const char *ids[] = { diff_id };
	Image *image __attribute__((cleanup(image_freep))) = NULL;
	AUTO_CLOSE int plain = archive_spool(s, fd, &source.base, err);
	if (plain < 0)
		return plain;
	source.fd = plain;
	report_progress("unpacking the root file system");
	int r = store_stage_layer(s, open_import, &source, &o, diff_id, &info, err);
	if (r < 0 || (r = image_spec_build(spec, ids, 1, "stead import", &image, err)) < 0 ||
		(r = store_stage_blob(s, image->config_json, strlen(image->config_json), NULL, err)) < 0 ||
		(r = store_commit(s, err)) < 0)
		return r;
	image->layers[0].size = image->size = info.size;
	strv_add(&image->tags, spec->name);
	*array_append(ret->items, ret->n) = steal_ptr(&image);
	return 0;
}
