// SPDX-License-Identifier: Apache-2.0
/*
 * Trust goes down from the reference: a digest in it fixes the manifest, the manifest fixes configuration and packed layers, the configuration
 * fixes what the layers are unpacked. Nothing that a document names is taken from anywhere but the repository that the document came from.
 *
 * Layers are independent of each other here, so several are unpacked at once, each as it comes (image/parallel.h).
 */
#include "image/pull.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "image/blob-memory.h"
#include "image/manifest.h"
#include "image/parallel.h"
#include "image/reference.h"
#include "image/registry-client.h"
#include "image/sandbox.h"

#define RULES_MAX (1U << 20)
#define INDEX_DEPTH 2
#define REPORT_NSEC (100 * NSEC_PER_MSEC)
#define SPACE_LEFT (64LL << 20) /* for the rest of the machine */

typedef struct Pull Pull;

typedef struct LayerPull {
	Pull *p;
	const Descriptor *d;
	size_t index; /* in the configuration */
	Stream *source;
	int64_t reported;
	bool here;
	LayerInfo info;
} LayerPull;

struct Pull {
	Store store;
	Fetcher *fetcher;
	RegistryRules rules;
	RegistryClient *c;
	Reference ref;
	const char *platform, *arch, *variant;
	const json_t *auth;
	char digest[72]; /* of what the reference names */
	OciDocument manifest;
	Buf manifest_text;
	Image *image;
	Buf config;
	LayerPull *layers;
	size_t n_layers;
	LayerPull **missing; /* of them */
	Parallel parallel;
};

static void pull_done(Pull *p)
{
	for (size_t i = 0; i < p->n_layers; i++)
		stream_free(p->layers[i].source);
	free(p->layers);
	free(p->missing);
	oci_document_done(&p->manifest);
	buf_done(&p->manifest_text);
	image_free(p->image);
	buf_done(&p->config);
	registry_client_free(p->c);
	registry_rules_done(&p->rules);
	reference_done(&p->ref);
	fetcher_free(p->fetcher);
	store_close(&p->store);
}

void report_layer(const char *digest, const char *state, int64_t at, int64_t size)
{
	const char *hex = strchr(digest, ':') ? strchr(digest, ':') + 1 : digest;
	json_t *o = json_pack("{s:s%, s:s}", "id", hex, strnlen(hex, 12), "state", state);
	if (at >= 0)
		(void) json_object_set_new(o, "at", json_integer(at));
	if (size >= 0)
		(void) json_object_set_new(o, "size", json_integer(size));
	report_line(json_pack("{s:o}", "layer", o));
}

int registry_rules_read(const char *path, RegistryRules *ret, Err *err)
{
	AUTO_BUF text = BUF_INIT;
	int r = path ? file_read(AT_FDCWD, path, RULES_MAX, &text) : -ENOENT;
	if (r < 0 && r != -ENOENT)
		return err_errno(err, r, "%s", path);
	return r < 0 ? 0 : registry_rules_parse(buf_cstr(&text), path, ret, err);
}

static void note(void *user, const char *text)
{
	report_progress("%s", text);
}

/* ---- documents ---- */

/* "linux/arm64/v8", "arm64". */
static int set_platform(Pull *p, const char *text, Err *err)
{
	static char arch[64], variant[64];
	if (!text) {
		p->arch = platform_host(&p->variant);
		return 0;
	}
	const char *rest = strchr(text, '/') ? strchr(text, '/') + 1 : text;
	if (rest != text && strncmp(text, "linux/", 6) != 0)
		return err_set(err, -EINVAL, "platform '%.100s': only linux images run here", text);
	const char *slash = strchr(rest, '/');
	(void) snprintf(arch, sizeof(arch), "%.*s", (int) (slash ? slash - rest : (long) strnlen(rest, 63)), rest);
	p->arch = platform_arch(arch, &p->variant);
	if (!p->arch)
		return err_set(err, -EINVAL, "platform '%.100s': unknown architecture (linux/amd64, linux/arm64, linux/arm/v7 …)", text);
	if (slash) {
		(void) snprintf(variant, sizeof(variant), "%s", slash + 1);
		p->variant = variant;
	}
	p->platform = text;
	return 0;
}

static int parse_manifest(Pull *p, const Buf *text, OciDocument *ret, Err *err)
{
	int r = oci_document_parse(buf_cstr(text), text->len, ret, err);
	return r < 0 ? err_wrap(err, "%s", registry_host(p->c)) : 0;
}

/* The manifest for the platform, through indexes. */
static int find_manifest(Pull *p, Err *err)
{
	AUTO_FREE char *name = xstrdup(p->ref.digest ? p->ref.digest : p->ref.tag);
	uint64_t size = FETCH_ANY_SIZE;
	for (int depth = 0; depth <= INDEX_DEPTH; depth++) {
		char digest[72];
		size_t chosen;
		oci_document_done(&p->manifest);
		buf_clear(&p->manifest_text);
		int r = registry_manifest(p->c, name, size, &p->manifest_text, digest, err);
		if (r < 0 || (r = parse_manifest(p, &p->manifest_text, &p->manifest, err)) < 0)
			return r;
		if (depth == 0)
			memcpy(p->digest, digest, sizeof(digest));
		if (p->manifest.kind == OCI_MANIFEST)
			return 0;
		if ((r = oci_choose(&p->manifest, p->arch, p->variant, &chosen, err)) < 0)
			return r;
		str_set(&name, p->manifest.items[chosen].digest);
		size = p->manifest.items[chosen].size;
	}
	return err_set(err, -EINVAL, "image indexes are nested deeper than %d", INDEX_DEPTH);
}

static bool is_layer_type(const char *type)
{
	static const char *const types[] = {
		"application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar+zstd",
		"application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.diff.tar.gzip",
		"application/vnd.docker.image.rootfs.diff.tar.zstd",
	};
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (str_eq(types[i], type))
			return true;
	return false;
}

static int check_manifest(const Pull *p, Err *err)
{
	const OciDocument *m = &p->manifest;
	const char *type = m->config.media_type;
	if (!str_eq(type, "application/vnd.oci.image.config.v1+json") && !str_eq(type, "application/vnd.docker.container.image.v1+json"))
		return err_set(err, -EINVAL, "it is no container image: its configuration has the type '%.100s'", type ? type : "");
	if (m->config.size > LIMIT_MANIFEST_BYTES)
		return err_set(err, -EFBIG, "its configuration has %llu bytes: refused", (unsigned long long) m->config.size);
	if (m->n_items == 0)
		return err_set(err, -EINVAL, "it has no layers");
	for (size_t i = 0; i < m->n_items; i++) {
		const Descriptor *d = &m->items[i];
		if (d->foreign)
			return err_set(err, -EPERM, "layer %zu of %zu is to be fetched from elsewhere than the registry (a foreign layer): refused", i + 1,
				m->n_items);
		if (!is_layer_type(d->media_type))
			return err_set(err, -ENOTSUP, "layer %zu of %zu has the type '%.100s', which is no layer that can be unpacked", i + 1, m->n_items,
				d->media_type ? d->media_type : "");
		if (d->size > LIMIT_LAYER_BYTES)
			return err_set(err, -EFBIG, "layer %zu of %zu is said to have %llu bytes: refused", i + 1, m->n_items, (unsigned long long) d->size);
	}
	return 0;
}

static int read_config(Pull *p, Err *err)
{
	const Descriptor *d = &p->manifest.config;
	const FetchExpect e = { .digest = d->digest, .size = d->size };
	AUTO_STREAM s = NULL;
	int r = registry_blob(p->c, &e, &s, err);
	if (r == 0) {
		ssize_t n = stream_read_full(s, buf_reserve(&p->config, d->size + 1), d->size + 1, err);
		if (n > 0)
			buf_added(&p->config, (size_t) n);
		r = n < 0 ? (int) n : 0;
	}
	if (r == 0)
		r = image_from_config(buf_cstr(&p->config), p->config.len, &p->image, err);
	if (r < 0)
		return err_wrap(err, "the image's configuration");
	if (p->image->os && !str_eq(p->image->os, "linux"))
		return err_set(err, -EINVAL, "the image is for %s: only linux images run here", p->image->os);
	if (p->platform && !str_eq(p->image->architecture, p->arch))
		return err_set(err, -ENOENT, "the image is for %s/%s only, not for %s", p->image->os ? p->image->os : "linux",
			p->image->architecture ? p->image->architecture : "?", p->platform);
	if (p->image->n_layers != p->manifest.n_items)
		return err_set(err, -EINVAL, "the manifest names %zu layers, the configuration %zu", p->manifest.n_items, p->image->n_layers);
	return 0;
}

/* ---- layers ---- */

static void on_progress(void *user, uint64_t at)
{
	LayerPull *l = user;
	int64_t now = time_mono();
	if (now - l->reported < REPORT_NSEC && at != l->d->size)
		return;
	l->reported = now;
	report_layer(l->d->digest, "downloading", (int64_t) at, (int64_t) l->d->size);
}

/* What the store reads. */
typedef struct Tap {
	Stream s;
	LayerPull *l;
} Tap;

static ssize_t tap_read(Stream *s, void *p, size_t n, Err *err)
{
	LayerPull *l = ((Tap *) s)->l;
	if (parallel_failed(&l->p->parallel))
		return err_set(err, -ECANCELED, "another layer failed");
	return stream_read(l->source, p, n, err);
}

static void tap_free(Stream *s)
{
	free(s);
}

static int open_layer(void *user, Stream **ret, Err *err)
{
	LayerPull *l = user;
	const FetchExpect e = { .digest = l->d->digest, .size = l->d->size, .progress = on_progress, .user = l };
	stream_free(steal_ptr(&l->source));
	int r = registry_blob(l->p->c, &e, &l->source, err);
	if (r < 0)
		return r;
	Tap *t = xcalloc(1, sizeof(*t));
	t->s = (Stream) { .read = tap_read, .free = tap_free };
	t->l = l;
	*ret = &t->s;
	return 0;
}

/* What cannot be unpacked has mostly come damaged. Then the digest of all of it says so, and is the better reason. */
static int blame_source(LayerPull *l, int r, Err *err)
{
	AUTO_ERR why = ERR_INIT;
	char rest[16384];
	ssize_t n;
	while ((n = stream_read(l->source, rest, sizeof(rest), &why)) > 0)
		;
	return n < 0 ? err_move(err, &why) : r;
}

static int pull_layer(void *user, size_t i, Err *err)
{
	Pull *p = user;
	LayerPull *l = p->missing[i];
	const StageOptions o = { .diff_id = p->image->layers[l->index].diff_id };
	char found[sizeof(DIGEST_PREFIX) + 64];
	report_layer(l->d->digest, "downloading", 0, (int64_t) l->d->size);
	int r = store_stage_layer(&p->store, open_layer, l, &o, found, &l->info, err);
	if (r == -EBADMSG && l->source)
		r = blame_source(l, r, err);
	stream_free(steal_ptr(&l->source));
	if (r < 0)
		return err_wrap(err, "layer %zu of %zu", l->index + 1, p->image->n_layers);
	report_layer(l->d->digest, "done", -1, -1);
	return 0;
}

/* A layer may be in an image twice; it is fetched once. */
static bool is_again(const Pull *p, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (str_eq(p->image->layers[k].diff_id, p->image->layers[i].diff_id))
			return true;
	return false;
}

static int find_missing(Pull *p, uint64_t *ret_bytes, Err *err)
{
	p->n_layers = p->image->n_layers;
	p->layers = xcalloc(p->n_layers, sizeof(*p->layers));
	p->missing = xcalloc(p->n_layers, sizeof(*p->missing));
	p->parallel = (Parallel) { .one = pull_layer, .user = p };
	for (size_t i = 0; i < p->n_layers; i++) {
		LayerPull *l = &p->layers[i];
		*l = (LayerPull) { .p = p, .d = &p->manifest.items[i], .index = i };
		int r = store_layer(&p->store, p->image->layers[i].diff_id, &l->info, err);
		if (r < 0)
			return r;
		l->here = r == 1 || is_again(p, i);
		report_layer(l->d->digest, l->here ? "here" : "waiting", -1, (int64_t) l->d->size);
		if (!l->here) {
			p->missing[p->parallel.n++] = l;
			*ret_bytes += l->d->size;
		}
	}
	return 0;
}

/* Unpacked it is not less than packed: what does not even hold that is refused before it fills the disk. */
static int check_space(Pull *p, uint64_t bytes, Err *err)
{
	struct statvfs v;
	if (bytes == 0 || fstatvfs(p->store.state, &v) < 0)
		return 0;
	int r = store_check_quota(&p->store, (int64_t) bytes, err);
	if (r < 0)
		return err_wrap(err, "not begun");
	int64_t have = (int64_t) (v.f_bavail * v.f_frsize), want = (int64_t) bytes + SPACE_LEFT;
	if (have >= want)
		return 0;
	AUTO_FREE char *free_text = format_bytes(have);
	AUTO_FREE char *need = format_bytes((int64_t) bytes);
	return err_set(err, -ENOSPC, "not begun: its missing layers have %s packed and need more unpacked, and the file system of %s has %s free: remove images "
		"('stead image prune') or make room", need, p->store.path, free_text);
}

static int pull_missing(Pull *p, Err *err)
{
	uint64_t bytes = 0;
	int r = find_missing(p, &bytes, err);
	if (r < 0 || (r = check_space(p, bytes, err)) < 0)
		return r;
	if ((r = parallel_run(&p->parallel, LIMIT_REGISTRY_LAYERS, err)) < 0) {
		/* The layers that are whole need not be fetched again, unless what is missing is room. */
		if (r != -ENOSPC && r != -EDQUOT)
			(void) store_commit(&p->store, NULL);
		return r;
	}
	for (size_t i = 0; i < p->n_layers; i++) {
		LayerPull *l = &p->layers[i];
		for (size_t k = 0; k < i && is_again(p, i); k++)
			if (str_eq(p->image->layers[k].diff_id, p->image->layers[i].diff_id))
				l->info = p->layers[k].info;
		p->image->layers[i].size = l->info.size;
		p->image->size += l->info.size;
	}
	return 0;
}

/* ---- the way through ---- */

static int pull_from(Pull *p, const char *mirror, Err *err)
{
	const RegistryPlace place = { .domain = p->ref.domain, .path = p->ref.path, .mirror = mirror, .actions = "pull", .auth = p->auth, .rules = &p->rules };
	registry_client_free(p->c);
	p->c = NULL;
	int r = registry_client_new(p->fetcher, &place, &p->c, err);
	if (r < 0)
		return r;
	registry_on_note(p->c, note, p);
	if ((r = find_manifest(p, err)) < 0 || (r = check_manifest(p, err)) < 0)
		return r;
	return read_config(p, err);
}

static void forget(Pull *p)
{
	buf_clear(&p->config);
	image_free(p->image);
	p->image = NULL;
}

/* Mirrors in their order, then the registry itself. */
static int find_image(Pull *p, Err *err)
{
	size_t i = 0;
	for (const RegistryRule *m; (m = registry_rule(&p->rules, RULE_MIRROR, p->ref.domain, &i));) {
		AUTO_ERR why = ERR_INIT;
		if (pull_from(p, m->value, &why) == 0)
			return 0;
		report_progress("mirror %s: %s", m->value, err_text(&why));
		forget(p);
	}
	return pull_from(p, NULL, err);
}

static int begin(Pull *p, const char *state_dir, const json_t *options, Err *err)
{
	const char *ref = json_string_value(json_object_get(options, "ref"));
	int r = reference_parse(ref ? ref : "", &p->ref, err);
	if (r < 0 || (r = set_platform(p, json_string_value(json_object_get(options, "platform")), err)) < 0)
		return r;
	if (p->ref.digest && !digest_valid(p->ref.digest))
		return err_set(err, -ENOTSUP, "'%s': only sha256 digests", p->ref.digest);
	p->auth = json_object_get(options, "auth");
	if ((r = registry_rules_read(json_string_value(json_object_get(options, "rules")), &p->rules, err)) < 0)
		return r;
	if ((r = store_open(state_dir, &p->store, err)) < 0 || (r = fetcher_new(&p->fetcher, err)) < 0)
		return r;
	return sandbox_enter(state_dir, err);
}

static int finish(Pull *p, ImageList *ret, Err *err)
{
	int r = store_stage_blob(&p->store, buf_cstr(&p->config), p->config.len, NULL, err);
	if (r < 0 || (r = store_commit(&p->store, err)) < 0)
		return r;
	AUTO_FREE char *source = xasprintf("%s/%s", p->ref.domain, p->ref.path);
	for (size_t i = 0; i < p->n_layers; i++)
		blob_memory_add(&p->store, p->image->layers[i].diff_id, p->layers[i].d->digest, (int64_t) p->layers[i].d->size, p->layers[i].d->media_type, source);
	blob_memory_keep_manifest(&p->store, p->image->id, &p->manifest_text);
	report_line(json_pack("{s:s}", "digest", p->digest));
	if (p->ref.tag && !p->ref.digest)
		strv_take(&p->image->tags, reference_string(&p->ref));
	strv_take(&p->image->tags, xasprintf("%s@%s", source, p->digest));
	*array_append(ret->items, ret->n) = steal_ptr(&p->image);
	return 0;
}

int registry_pull(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	AUTO(pull_done) Pull p = { .store = { .state = -1, .layers = -1, .blobs = -1, .tmp = -1, .lock = -1 } };
	int r = begin(&p, state_dir, options, err);
	if (r < 0 || (r = find_image(&p, err)) < 0 || (r = pull_missing(&p, err)) < 0)
		return r;
	return finish(&p, ret, err);
}

int registry_login(const char *state_dir, const json_t *options, Err *err)
{
	AUTO_REGISTRY_RULES rules = { 0 };
	AUTO_FETCHER f = NULL;
	AUTO_REGISTRY c = NULL;
	const char *domain = json_string_value(json_object_get(options, "domain"));
	const RegistryPlace place = { .domain = domain ? domain : "", .auth = json_object_get(options, "auth"), .rules = &rules };
	int r = registry_rules_read(json_string_value(json_object_get(options, "rules")), &rules, err);
	if (r < 0 || (r = fetcher_new(&f, err)) < 0 || (r = sandbox_enter(state_dir, err)) < 0 || (r = registry_client_new(f, &place, &c, err)) < 0)
		return r;
	return registry_check(c, err);
}
