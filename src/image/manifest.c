// SPDX-License-Identifier: Apache-2.0
#include "image/manifest.h"

#include <errno.h>
#include <jansson.h>
#include <sys/utsname.h>

#include "base/digest.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/reference.h"

#define TAGS_MAX 1000

static int load(const char *what, const char *json, size_t n, json_t **ret, Err *err)
{
	json_error_t e;
	if (n > LIMIT_MANIFEST_BYTES)
		return err_set(err, -EFBIG, "%s: larger than %u bytes", what, LIMIT_MANIFEST_BYTES);
	*ret = json_loadb(json, n, JSON_REJECT_DUPLICATES, &e);
	return *ret ? 0 : err_set(err, -EINVAL, "%s: line %d: %s", what, e.line, e.text);
}

static const json_t *member(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	return json_is_null(v) ? NULL : v;
}

/* docker's manifest.json */

static void docker_manifest_done(DockerManifest *m)
{
	free(m->config);
	strv_free(m->tags);
	for (size_t i = 0; i < m->n_layers; i++)
		free(m->layers[i]);
	free(m->layers);
}

void docker_manifests_done(DockerManifests *m)
{
	for (size_t i = 0; i < m->n; i++)
		docker_manifest_done(&m->items[i]);
	free(m->items);
	*m = (DockerManifests) { 0 };
}

static int docker_tags(const json_t *v, DockerManifest *m, Err *err)
{
	if (!v)
		return 0;
	if (!json_is_array(v) || json_array_size(v) > TAGS_MAX)
		return err_set(err, -EINVAL, "manifest.json: 'RepoTags' is not a list of at most %d names", TAGS_MAX);
	for (size_t i = 0; i < json_array_size(v); i++) {
		const char *s = json_string_value(json_array_get(v, i));
		char *tag = NULL;
		int r = reference_normalise(s ? s : "", &tag, err);
		if (r < 0)
			return err_wrap(err, "manifest.json: 'RepoTags'");
		strv_take(&m->tags, tag);
	}
	return 0;
}

static int docker_item(const json_t *o, DockerManifest *m, Err *err)
{
	const char *config = json_string_value(member(o, "Config"));
	const json_t *layers = member(o, "Layers");
	if (str_empty(config))
		return err_set(err, -EINVAL, "manifest.json: an image without 'Config'");
	m->config = xstrdup(config);
	int r = docker_tags(member(o, "RepoTags"), m, err);
	if (r < 0)
		return r;
	if (layers && !json_is_array(layers))
		return err_set(err, -EINVAL, "manifest.json: 'Layers' is not a list");
	if (json_array_size(layers) > LIMIT_IMAGE_LAYERS)
		return err_set(err, -EINVAL, "manifest.json: an image of %zu layers, at most %d can be mounted",
			json_array_size(layers), LIMIT_IMAGE_LAYERS);
	for (size_t i = 0; i < json_array_size(layers); i++) {
		const char *s = json_string_value(json_array_get(layers, i));
		if (str_empty(s))
			return err_set(err, -EINVAL, "manifest.json: 'Layers' holds something else than names");
		*array_append(m->layers, m->n_layers) = xstrdup(s);
	}
	return 0;
}

int docker_manifest_parse(const char *json, size_t n, DockerManifests *ret, Err *err)
{
	json_t *root;
	DockerManifests m = { 0 };
	int r = load("manifest.json", json, n, &root, err);
	if (r < 0)
		return r;
	if (!json_is_array(root) || json_array_size(root) == 0 || json_array_size(root) > LIMIT_ARCHIVE_IMAGES)
		r = err_set(err, -EINVAL, "manifest.json: not a list of 1 to %d images", LIMIT_ARCHIVE_IMAGES);
	for (size_t i = 0; r == 0 && i < json_array_size(root); i++)
		r = docker_item(json_array_get(root, i), array_append(m.items, m.n), err);
	json_decref(root);
	if (r < 0)
		docker_manifests_done(&m);
	else
		*ret = m;
	return r;
}

/* OCI */

static void descriptor_done(Descriptor *d)
{
	free(d->media_type);
	free(d->digest);
	free(d->os);
	free(d->architecture);
	free(d->variant);
	free(d->name);
}

void oci_document_done(OciDocument *d)
{
	descriptor_done(&d->config);
	for (size_t i = 0; i < d->n_items; i++)
		descriptor_done(&d->items[i]);
	free(d->items);
	*d = (OciDocument) { 0 };
}

/*
 * The name of an image in an index: containerd and docker write all of it in io.containerd.image.name;
 * org.opencontainers.image.ref.name holds all of it (skopeo, podman) or only a tag, which names nothing here.
 */
static char *annotated_name(const json_t *annotations)
{
	static const char *const keys[] = { "io.containerd.image.name", "org.opencontainers.image.ref.name" };
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *s = json_string_value(member(annotations, keys[i]));
		char *name = NULL;
		if (s && strpbrk(s, ":/") && reference_normalise(s, &name, NULL) == 0)
			return name;
	}
	return NULL;
}

static int descriptor(const json_t *o, Descriptor *d, Err *err)
{
	const char *digest = json_string_value(member(o, "digest"));
	const json_t *size = member(o, "size"), *platform = member(o, "platform"), *annotations = member(o, "annotations");
	if (!digest_valid(digest))
		return err_set(err, -EINVAL, "a descriptor's digest '%.80s' is not sha256: and 64 hexadecimal digits",
			digest ? digest : "");
	if (!json_is_integer(size) || json_integer_value(size) < 0)
		return err_set(err, -EINVAL, "the descriptor of %s has no size", digest);
	d->digest = xstrdup(digest);
	d->size = (uint64_t) json_integer_value(size);
	str_set(&d->media_type, json_string_value(member(o, "mediaType")));
	str_set(&d->os, json_string_value(member(platform, "os")));
	str_set(&d->architecture, json_string_value(member(platform, "architecture")));
	str_set(&d->variant, json_string_value(member(platform, "variant")));
	d->name = annotated_name(annotations);
	const char *type = json_string_value(member(annotations, "vnd.docker.reference.type"));
	d->attestation = str_eq(type, "attestation-manifest") || str_eq(d->os, "unknown");
	d->foreign = json_array_size(member(o, "urls")) > 0 ||
		(d->media_type && (strstr(d->media_type, ".foreign.") || strstr(d->media_type, ".nondistributable.")));
	return 0;
}

static bool type_is_index(const char *t)
{
	return str_eq(t, "application/vnd.oci.image.index.v1+json") ||
		str_eq(t, "application/vnd.docker.distribution.manifest.list.v2+json");
}

static bool type_is_manifest(const char *t)
{
	return str_eq(t, "application/vnd.oci.image.manifest.v1+json") ||
		str_eq(t, "application/vnd.docker.distribution.manifest.v2+json");
}

static int document(const json_t *root, OciDocument *d, Err *err)
{
	const json_t *manifests = member(root, "manifests"), *layers = member(root, "layers"), *config = member(root, "config");
	const char *type = json_string_value(member(root, "mediaType"));
	if (!json_is_object(root))
		return err_set(err, -EINVAL, "not a map");
	if (json_integer_value(member(root, "schemaVersion")) != 2)
		return err_set(err, -EINVAL, "its schemaVersion is not 2");
	/* CVE-2021-41190: a document that reads as both could be verified as one and used as the other. */
	if (!manifests == !layers || (manifests && config))
		return err_set(err, -EINVAL, "neither an index (manifests) nor a manifest (config and layers), or both at once");
	d->kind = manifests ? OCI_INDEX : OCI_MANIFEST;
	if (type && !(manifests ? type_is_index(type) : type_is_manifest(type)))
		return err_set(err, -EINVAL, "its mediaType '%.80s' does not fit its contents", type);
	const json_t *items = manifests ? manifests : layers;
	size_t max = manifests ? LIMIT_ARCHIVE_IMAGES : LIMIT_IMAGE_LAYERS;
	if (!json_is_array(items) || json_array_size(items) > max)
		return err_set(err, -EINVAL, "its %s are not a list of at most %zu", manifests ? "manifests" : "layers", max);
	int r = d->kind == OCI_MANIFEST ? descriptor(config, &d->config, err) : 0;
	for (size_t i = 0; r == 0 && i < json_array_size(items); i++)
		r = descriptor(json_array_get(items, i), array_append(d->items, d->n_items), err);
	return r;
}

int oci_document_parse(const char *json, size_t n, OciDocument *ret, Err *err)
{
	json_t *root;
	OciDocument d = { 0 };
	int r = load("OCI document", json, n, &root, err);
	if (r < 0)
		return r;
	r = document(root, &d, err);
	json_decref(root);
	if (r < 0)
		oci_document_done(&d);
	else
		*ret = d;
	return r;
}

/* Platforms */

static const struct Platform {
	const char *go, *variant, *debian, *kernel;
} platforms[] = {
	{ "amd64", NULL, "amd64", "x86_64" },     { "arm64", "v8", "arm64", "aarch64" }, { "arm", "v7", "armhf", "armv7l" },
	{ "arm", "v6", "armel", "armv6l" },       { "386", NULL, "i386", "i686" },       { "ppc64le", NULL, "ppc64el", "ppc64le" },
	{ "s390x", NULL, "s390x", "s390x" },      { "riscv64", NULL, "riscv64", "riscv64" },
	{ "arm", "v7", "armhf", "armv8l" },       { "386", NULL, "i386", "i386" },
};

const char *platform_arch(const char *name, const char **ret_variant)
{
	for (size_t i = 0; i < ARRAY_SIZE(platforms); i++) {
		const struct Platform *p = &platforms[i];
		if (!str_eq(name, p->go) && !str_eq(name, p->debian) && !str_eq(name, p->kernel))
			continue;
		if (ret_variant)
			*ret_variant = p->variant;
		return p->go;
	}
	return NULL;
}

const char *platform_debian(const char *arch, const char *variant)
{
	for (size_t i = 0; i < ARRAY_SIZE(platforms); i++)
		if (str_eq(platforms[i].go, arch) && (!variant || !platforms[i].variant || str_eq(variant, platforms[i].variant)))
			return platforms[i].debian;
	return NULL;
}

const char *platform_host(const char **ret_variant)
{
	static struct utsname u;
	if (!u.machine[0])
		(void) uname(&u);
	const char *arch = platform_arch(u.machine, ret_variant);
	if (!arch && ret_variant)
		*ret_variant = NULL;
	return arch ? arch : u.machine;
}

static int score(const Descriptor *d, const char *arch, const char *variant)
{
	if (d->attestation || (d->os && !str_eq(d->os, "linux")) || !str_eq(d->architecture, arch))
		return 0;
	if (str_eq(d->variant, variant))
		return 4;
	if (!d->variant || !variant)
		return 3;
	/* An older ARM variant runs on a newer machine, not the other way round. */
	return strcmp(d->variant, variant) < 0 ? 2 : 0;
}

int oci_choose(const OciDocument *d, const char *arch, const char *variant, size_t *ret, Err *err)
{
	size_t images = 0, only = 0;
	int best = 0;
	AUTO_BUF have = BUF_INIT;
	for (size_t i = 0; i < d->n_items; i++) {
		const Descriptor *m = &d->items[i];
		if (m->attestation)
			continue;
		images++;
		only = i;
		if (have.len < 1000)
			buf_printf(&have, "%s%.20s/%.20s%s%.20s", have.len ? ", " : "", m->os ? m->os : "?",
				m->architecture ? m->architecture : "?", m->variant ? "/" : "", m->variant ? m->variant : "");
		int s = score(m, arch, variant);
		if (s > best) {
			best = s;
			*ret = i;
		}
	}
	if (best)
		return 0;
	if (images == 1) {
		*ret = only;
		return 0;
	}
	return err_set(err, -ENOENT, "no image for linux/%s%s%s in it, only for: %s", arch, variant ? "/" : "", variant ? variant : "",
		have.len ? have.data : "nothing");
}
