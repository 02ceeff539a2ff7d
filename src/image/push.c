// SPDX-License-Identifier: Apache-2.0
/*
 * A layer's packed digest is known only once it is packed. So each is packed once, straight into the connection, and its digest is
 * remembered (image/blob-memory.h): next time the registry is asked for it first. Gzip without a time gives the same bytes each time.
 * Where the registry has all layers as the image came by them, the manifest goes as it came, so that its digest stays.
 *
 * An upload that breaks is begun anew: a registry may have lost what it had of it, and packing is cheap beside sending.
 */
#include "image/push.h"

#include <errno.h>
#include <zlib.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "image/blob-memory.h"
#include "image/layers.h"
#include "image/manifest.h"
#include "image/parallel.h"
#include "image/pull.h"
#include "image/reference.h"
#include "image/registry-client.h"
#include "image/report.h"
#include "image/sandbox.h"
#include "image/sha256.h"
#include "model/image.h"

#define CHUNK (256U << 10)
#define TYPE_CONFIG "application/vnd.oci.image.config.v1+json"
#define TYPE_LAYER "application/vnd.oci.image.layer.v1.tar+gzip"
#define REPORT_NSEC (100 * NSEC_PER_MSEC)
#define SECONDS 120

typedef struct Push Push;

typedef struct LayerPush {
	Push *p;
	const char *diff_id;
	char digest[72]; /* of the blob that the registry has now */
	int64_t size;
	char *type;
	int64_t reported;
} LayerPush;

struct Push {
	Store store;
	Fetcher *fetcher;
	RegistryRules rules;
	RegistryClient *c;
	Reference ref;
	char *repository; /* "docker.io/team/app" */
	Image *image;
	Buf came_text;    /* the manifest by which it was pulled; empty: none that fits */
	OciDocument came;
	LayerPush *layers;
	size_t n_layers;
	Parallel parallel;
};

static void drop_layers(Push *p)
{
	for (size_t i = 0; i < p->n_layers; i++)
		free(p->layers[i].type);
	free(p->layers);
	p->layers = NULL;
	p->n_layers = 0;
	image_free(p->image);
	p->image = NULL;
	buf_done(&p->came_text);
	oci_document_done(&p->came);
}

static void push_done(Push *p)
{
	drop_layers(p);
	registry_client_free(p->c);
	registry_rules_done(&p->rules);
	reference_done(&p->ref);
	free(p->repository);
	fetcher_free(p->fetcher);
	store_close(&p->store);
}

static void note(void *user, const char *text)
{
	report_progress("%s", text);
}

/* ---- what the registry has ---- */

/* 1: it is there. */
static int has_blob(Push *p, const char *digest, Err *err)
{
	AUTO_FREE char *where = xasprintf("/blobs/%s", digest);
	AUTO_FETCH x = NULL;
	const FetchRequest q = { .method = "HEAD", .seconds = SECONDS };
	int r = registry_call(p->c, where, &q, &x, err);
	if (r < 0)
		return r;
	if (fetch_status(x) == 200)
		return 1;
	return fetch_status(x) == 404 ? 0 : registry_refused(p->c, x, p->ref.path, err);
}

/* 1: mounted. 0: it would not; an upload that it has begun instead is left to it. */
static int mount_blob(Push *p, const char *digest, const char *from, Err *err)
{
	AUTO_FREE char *where = xasprintf("/blobs/uploads/?mount=%s&from=%s", digest, from);
	AUTO_FETCH x = NULL;
	const FetchRequest q = { .method = "POST", .has_body = true, .seconds = SECONDS };
	int r = registry_call(p->c, where, &q, &x, err);
	if (r < 0)
		return r;
	if (fetch_status(x) == 202) {
		AUTO_FREE char *upload = registry_location(p->c, x, NULL);
		AUTO_FETCH gone = NULL;
		const FetchRequest cancel = { .method = "DELETE", .seconds = SECONDS };
		if (upload)
			(void) registry_call(p->c, upload, &cancel, &gone, NULL);
	}
	return fetch_status(x) == 201 ? 1 : 0;
}

static void use_blob(LayerPush *l, const char *digest, int64_t size, const char *type)
{
	(void) snprintf(l->digest, sizeof(l->digest), "%s", digest);
	l->size = size;
	/* Docker's name for the same thing. */
	str_set(&l->type, str_eq(type, "application/vnd.docker.image.rootfs.diff.tar.gzip") ? TYPE_LAYER : type);
}

/* The repository's path, if the source is another one of this registry. Borrowed. */
static const char *mount_source(const Push *p, const json_t *blob)
{
	const char *source = json_string_value(json_object_get(blob, "source"));
	size_t n = strlen(p->ref.domain);
	if (strncmp(source, p->ref.domain, n) != 0 || source[n] != '/' || str_eq(source, p->repository))
		return NULL;
	return source + n + 1;
}

static void report_mounted(const LayerPush *l, const char *from)
{
	const char *hex = l->diff_id + strlen(DIGEST_PREFIX);
	report_line(json_pack("{s:{s:s%, s:s, s:s}}", "layer", "id", hex, (size_t) 12, "state", "mounted", "from", from));
}

/* 1: the registry has the layer now, as this blob. */
static int try_blob(LayerPush *l, const json_t *blob, Err *err)
{
	Push *p = l->p;
	const char *digest = json_string_value(json_object_get(blob, "digest")), *from = mount_source(p, blob);
	int r = has_blob(p, digest, err);
	bool mounted = r == 0 && from && (r = mount_blob(p, digest, from, err)) == 1;
	if (r <= 0)
		return r;
	use_blob(l, digest, json_integer_value(json_object_get(blob, "size")), json_string_value(json_object_get(blob, "type")));
	if (mounted)
		report_mounted(l, from);
	else
		report_layer(l->diff_id, "there", -1, -1);
	return 1;
}

/* As which blob the image came by it, or NULL. */
static const char *came_as(const LayerPush *l)
{
	const Push *p = l->p;
	for (size_t i = 0; i < p->came.n_items; i++)
		if (str_eq(p->image->layers[i].diff_id, l->diff_id))
			return p->came.items[i].digest;
	return NULL;
}

/* 1: the registry has the layer now. */
static int find_blob(LayerPush *l, Err *err)
{
	json_t *blobs = blob_memory_read(&l->p->store, l->diff_id), *blob;
	const char *first = came_as(l);
	size_t i;
	int r = 0;
	for (int turn = 0; turn < 2 && r == 0; turn++)
		json_array_foreach(blobs, i, blob)
			if (r == 0 && (turn == 0) == str_eq(json_string_value(json_object_get(blob, "digest")), first))
				r = try_blob(l, blob, err);
	json_decref(blobs);
	return r;
}

/* ---- sending a layer ---- */

typedef struct Packing {
	LayerPush *l;
	Fetch *x;
	Sha256 sum;
	z_stream z;
	uint8_t *out; /* CHUNK */
	int64_t size;
	int failed; /* of the connection */
} Packing;

/* With Z_FINISH all that is left is sent. */
static int put(Packing *k, const void *p, size_t n, int flush)
{
	k->z.next_in = (Bytef *) p;
	k->z.avail_in = (uInt) n;
	for (;;) {
		k->z.next_out = k->out;
		k->z.avail_out = CHUNK;
		int r = deflate(&k->z, flush);
		size_t packed = CHUNK - k->z.avail_out;
		if (packed && (k->failed = fetch_write(k->x, k->out, packed)) < 0)
			return k->failed;
		sha256_add(&k->sum, k->out, packed);
		k->size += (int64_t) packed;
		if (r == Z_STREAM_END || (flush == Z_NO_FLUSH && k->z.avail_out))
			return 0;
	}
}

static void report_sent(LayerPush *l, int64_t at, int64_t size)
{
	int64_t now = time_mono();
	if (now - l->reported < REPORT_NSEC && at != size)
		return;
	l->reported = now;
	report_layer(l->diff_id, "pushing", at, size);
}

/* 0 also when the connection broke (k->failed). */
static int copy_tar(LayerPush *l, Packing *k, int64_t tar_size, Err *err)
{
	char found[sizeof(DIGEST_PREFIX) + 64];
	AUTO_FREE char *chunk = xmalloc(CHUNK);
	AUTO_STREAM tar = NULL;
	int64_t at = 0;
	int r = store_layer_tar(&l->p->store, l->diff_id, &tar, err);
	if (r < 0)
		return r;
	AUTO_STREAM hash = stream_hash(tar);
	ssize_t n;
	while ((n = stream_read(hash, chunk, CHUNK, err)) > 0) {
		if (parallel_failed(&l->p->parallel))
			return err_set(err, -ECANCELED, "another layer failed");
		if (put(k, chunk, (size_t) n, Z_NO_FLUSH) < 0)
			return 0;
		at += n;
		report_sent(l, at, tar_size);
	}
	if (n < 0)
		return (int) n;
	if ((r = stream_hash_finish(hash, found, NULL, err)) < 0)
		return r;
	if (!str_eq(found, l->diff_id))
		return err_set(err, -EIO, "its files were changed or damaged since it was made: they give %s", found);
	(void) put(k, NULL, 0, Z_FINISH);
	return 0;
}

static int pack(LayerPush *l, Packing *k, Err *err)
{
	LayerInfo info;
	int r = store_layer(&l->p->store, l->diff_id, &info, err);
	if (r <= 0)
		return r < 0 ? r : err_set(err, -ENOENT, "it is missing under %s/layers", l->p->store.path);
	k->size = 0;
	k->failed = 0;
	sha256_begin(&k->sum);
	if (deflateReset(&k->z) != Z_OK)
		abort();
	return copy_tar(l, k, info.tar_size, err);
}

static char *begin_upload(Push *p, Err *err)
{
	AUTO_FETCH x = NULL;
	const FetchRequest q = { .method = "POST", .has_body = true, .seconds = SECONDS };
	if (registry_call(p->c, "/blobs/uploads/", &q, &x, err) < 0)
		return NULL;
	if (fetch_status(x) != 202) {
		(void) registry_refused(p->c, x, p->ref.path, err);
		return NULL;
	}
	return registry_location(p->c, x, err);
}

static int finish_upload(Push *p, const char *location, const char *digest, const Buf *body, Err *err)
{
	static char *headers[] = { (char *) "Content-Type: application/octet-stream", NULL };
	AUTO_FREE char *where = xasprintf("%s%sdigest=%s", location, strchr(location, '?') ? "&" : "?", digest);
	AUTO_FETCH x = NULL;
	FetchRequest q = { .method = "PUT", .headers = headers, .has_body = true, .seconds = SECONDS };
	if (body) {
		q.body = body->data;
		q.length = (int64_t) body->len;
	}
	int r = registry_call(p->c, where, &q, &x, err);
	if (r < 0)
		return r;
	return fetch_status(x) == 201 || fetch_status(x) == 204 ? 0 : registry_refused(p->c, x, p->ref.path, err);
}

/* 1: the connection broke, and it is worth another try; the reason is in err. */
static int upload_once(LayerPush *l, Packing *k, Err *err)
{
	static char *headers[] = { (char *) "Content-Type: application/octet-stream", NULL };
	Push *p = l->p;
	AUTO_FREE char *location = begin_upload(p, err), *next = NULL;
	const FetchRequest q = { .method = "PATCH", .headers = headers, .has_body = true, .length = -1 };
	FetchFailure failure = FETCH_FAILED;
	AUTO_FETCH x = NULL;
	if (!location)
		return -EIO;
	int r = registry_begin(p->c, location, &q, &x, err);
	k->x = x;
	if (r < 0 || (r = pack(l, k, err)) < 0)
		return r;
	r = fetch_answer(x, &failure, err);
	if (r < 0)
		return failure == FETCH_CUT || failure == FETCH_CONNECT ? 1 : r;
	int status = fetch_status(x);
	if (status != 202 && status != 204 && status != 201) {
		bool again = status == 401 || fetch_patience(status, 0, 1) > 0;
		r = registry_refused(p->c, x, p->ref.path, err);
		return again ? 1 : r;
	}
	if (k->failed) {
		(void) err_set(err, -EIO, "%s took only a part of it", registry_host(p->c));
		return 1;
	}
	next = fetch_header(x, "location") ? registry_location(p->c, x, err) : xstrdup(location);
	if (!next)
		return -EPROTO;
	char digest[sizeof(DIGEST_PREFIX) + 64];
	sha256_digest(&k->sum, digest);
	if ((r = finish_upload(p, next, digest, NULL, err)) < 0)
		return r;
	use_blob(l, digest, k->size, TYPE_LAYER);
	return 0;
}

static int upload(LayerPush *l, Err *err)
{
	Packing k = { .l = l, .out = xmalloc(CHUNK) };
	int r = 1;
	/* zlib's own header of gzip has no time and no name in it. */
	if (deflateInit2(&k.z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		abort();
	for (unsigned tries = 1; r > 0; tries++) {
		AUTO_ERR why = ERR_INIT;
		r = upload_once(l, &k, &why);
		if (r == 0)
			break;
		int64_t wait = r > 0 ? fetch_patience(0, 0, tries) : -1;
		if (wait < 0) {
			r = err_move(err, &why);
			break;
		}
		report_progress("%s: %s: trying again in %lld s", registry_host(l->p->c), err_text(&why), (long long) wait);
		const struct timespec t = { .tv_sec = wait };
		(void) nanosleep(&t, NULL);
	}
	(void) deflateEnd(&k.z);
	free(k.out);
	return r;
}

static int push_layer(void *user, size_t i, Err *err)
{
	Push *p = user;
	LayerPush *l = &p->layers[i];
	int r = find_blob(l, err);
	if (r == 0 && (r = upload(l, err)) == 0)
		report_layer(l->diff_id, "done", -1, -1);
	if (r < 0)
		return err_wrap(err, "layer %.19s", l->diff_id);
	blob_memory_add(&p->store, l->diff_id, l->digest, l->size, l->type, p->repository);
	return 0;
}

/* ---- documents ---- */

static int push_config(Push *p, Err *err)
{
	AUTO_BUF config = BUF_INIT;
	int r = has_blob(p, p->image->id, err);
	if (r != 0)
		return r < 0 ? r : 0;
	buf_str(&config, p->image->config_json);
	AUTO_FREE char *location = begin_upload(p, err);
	return location ? finish_upload(p, location, p->image->id, &config, err) : -EIO;
}

static const LayerPush *layer_of(const Push *p, const char *diff_id)
{
	for (size_t i = 0; i < p->n_layers; i++)
		if (str_eq(p->layers[i].diff_id, diff_id))
			return &p->layers[i];
	abort();
}

/* The manifest by which the image came, if it still says what is to be pushed. */
static void read_manifest(Push *p)
{
	bool fits = blob_memory_manifest(&p->store, p->image->id, &p->came_text) == 0 &&
		oci_document_parse(buf_cstr(&p->came_text), p->came_text.len, &p->came, NULL) == 0 && p->came.kind == OCI_MANIFEST &&
		str_eq(p->came.config.digest, p->image->id) && p->came.n_items == p->image->n_layers;
	if (fits)
		return;
	buf_clear(&p->came_text);
	oci_document_done(&p->came);
}

static bool is_as_it_came(const Push *p)
{
	bool same = p->came.n_items > 0;
	for (size_t i = 0; i < p->came.n_items; i++)
		same = same && str_eq(layer_of(p, p->image->layers[i].diff_id)->digest, p->came.items[i].digest);
	return same;
}

static json_t *make_manifest(const Push *p)
{
	json_t *layers = json_array();
	for (size_t i = 0; i < p->image->n_layers; i++) {
		const LayerPush *l = layer_of(p, p->image->layers[i].diff_id);
		(void) json_array_append_new(layers, json_pack("{s:s, s:s, s:I}", "mediaType", l->type, "digest", l->digest, "size", (json_int_t) l->size));
	}
	return json_pack("{s:i, s:s, s:{s:s, s:s, s:I}, s:o}", "schemaVersion", 2, "mediaType", REGISTRY_TYPE_MANIFEST, "config", "mediaType", TYPE_CONFIG,
		"digest", p->image->id, "size", (json_int_t) strlen(p->image->config_json), "layers", layers);
}

static int push_manifest(Push *p, const char *ref, Err *err)
{
	bool as_it_came = is_as_it_came(p);
	json_t *o = as_it_came ? json_loadb(p->came_text.data, p->came_text.len, 0, NULL) : make_manifest(p);
	const char *type = json_string_value(json_object_get(o, "mediaType"));
	AUTO_FREE char *header = xasprintf("Content-Type: %s", type ? type : REGISTRY_TYPE_MANIFEST);
	AUTO_FREE char *text = as_it_came ? xstrndup(p->came_text.data, p->came_text.len) : json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
	char *headers[] = { header, NULL };
	char hex[DIGEST_HEX_MAX];
	json_decref(o);
	if (!text)
		abort();
	digest_sha256(text, strlen(text), hex);
	AUTO_FREE char *digest = xasprintf(DIGEST_PREFIX "%s", hex);
	if (p->ref.digest && !str_eq(p->ref.digest, digest))
		return err_set(err, -EINVAL, "%s: the image cannot be had by that digest again, for the registry lacks its layers as they were packed, or the digest is an index's; push it by "
			"a tag", ref);
	AUTO_FREE char *where = xasprintf("/manifests/%s", p->ref.digest ? digest : p->ref.tag);
	AUTO_FETCH x = NULL;
	const FetchRequest q = { .method = "PUT", .headers = headers, .has_body = true, .body = text, .length = (int64_t) strlen(text), .seconds = SECONDS };
	int r = registry_call(p->c, where, &q, &x, err);
	if (r < 0)
		return r;
	if (fetch_status(x) != 201)
		return registry_refused(p->c, x, ref, err);
	report_line(json_pack("{s:{s:s, s:s, s:I}}", "pushed", "ref", ref, "digest", digest, "size", (json_int_t) strlen(text)));
	return 0;
}

/* ---- the way through ---- */

static int read_image(Push *p, const char *id, Err *err)
{
	AUTO_BUF config = BUF_INIT;
	int r = store_read_blob(&p->store, id ? id : "", &config, err);
	if (r < 0 || (r = image_from_config(buf_cstr(&config), config.len, &p->image, err)) < 0)
		return r;
	if (p->image->n_layers == 0)
		return err_set(err, -EINVAL, "the image has no layers");
	read_manifest(p);
	p->layers = xcalloc(p->image->n_layers, sizeof(*p->layers));
	for (size_t i = 0; i < p->image->n_layers; i++) {
		bool again = false;
		for (size_t k = 0; k < p->n_layers; k++)
			again = again || str_eq(p->layers[k].diff_id, p->image->layers[i].diff_id);
		if (again)
			continue;
		p->layers[p->n_layers++] = (LayerPush) { .p = p, .diff_id = p->image->layers[i].diff_id };
		report_layer(p->image->layers[i].diff_id, "waiting", -1, -1);
	}
	return 0;
}

/* A repository that a layer may be mounted from, so that the token is good for it. One will do: images come from one place as a rule. */
static char *find_source(Push *p)
{
	char *found = NULL;
	for (size_t i = 0; i < p->n_layers && !found; i++) {
		json_t *blobs = blob_memory_read(&p->store, p->layers[i].diff_id), *blob;
		size_t k;
		json_array_foreach(blobs, k, blob) {
			const char *from = mount_source(p, blob);
			if (from && !found)
				found = xstrdup(from);
		}
		json_decref(blobs);
	}
	return found;
}

static int push_image(Push *p, const json_t *item, const json_t *auth, Err *err)
{
	const char *ref = json_string_value(json_object_get(item, "ref"));
	drop_layers(p);
	reference_done(&p->ref);
	int r = reference_parse(ref ? ref : "", &p->ref, err);
	if (r < 0 || (r = read_image(p, json_string_value(json_object_get(item, "id")), err)) < 0)
		return r;
	if (!p->ref.digest && !p->ref.tag)
		return err_set(err, -EINVAL, "'%s': it has neither a tag nor a digest", ref);
	free(p->repository);
	p->repository = xasprintf("%s/%s", p->ref.domain, p->ref.path);
	if (!p->c) {
		AUTO_FREE char *from = find_source(p);
		const RegistryPlace place = { .domain = p->ref.domain, .path = p->ref.path, .actions = "pull,push", .from = from, .auth = auth, .rules = &p->rules };
		if ((r = registry_client_new(p->fetcher, &place, &p->c, err)) < 0)
			return r;
		registry_on_note(p->c, note, p);
	}
	/* Before the threads: it also settles how the registry is to be spoken to, and as whom. */
	if ((r = push_config(p, err)) < 0)
		return r;
	p->parallel = (Parallel) { .one = push_layer, .user = p, .n = p->n_layers };
	if ((r = parallel_run(&p->parallel, LIMIT_REGISTRY_LAYERS, err)) < 0)
		return r;
	return push_manifest(p, ref, err);
}

int registry_push(const char *state_dir, const json_t *options, Err *err)
{
	AUTO(push_done) Push p = { .store = { .state = -1, .layers = -1, .blobs = -1, .tmp = -1, .lock = -1 } };
	const json_t *images = json_object_get(options, "images"), *auth = json_object_get(options, "auth");
	int r = registry_rules_read(json_string_value(json_object_get(options, "rules")), &p.rules, err);
	if (r < 0 || (r = store_open(state_dir, &p.store, err)) < 0 || (r = fetcher_new(&p.fetcher, err)) < 0 || (r = sandbox_enter(state_dir, err)) < 0)
		return r;
	for (size_t i = 0; r == 0 && i < json_array_size(images); i++)
		r = push_image(&p, json_array_get(images, i), auth, err);
	return r;
}
