// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The documents that say what an archive holds: docker's manifest.json and its older `repositories`,
 * OCI's index.json, image indexes and manifests (image-spec: image-index.md, manifest.md,
 * descriptor.md; Docker: image manifest v2 schema 2). Hostile input; pure functions.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/** One image of a docker archive: names of members. */
typedef struct DockerManifest {
	char *config;
	char **tags; /* normalised */
	char **layers;
	size_t n_layers;
} DockerManifest;

typedef struct DockerManifests {
	DockerManifest *items;
	size_t n;
} DockerManifests;

int docker_manifest_parse(const char *json, size_t n, DockerManifests *ret, Err *err);
void docker_manifests_done(DockerManifests *m);

typedef struct Descriptor {
	char *media_type;
	char *digest; /* valid */
	uint64_t size;
	char *os, *architecture, *variant; /* NULL where there is no platform */
	char *name;        /* normalised reference from the annotations, or NULL */
	bool attestation;  /* no image: passed over */
	bool foreign;      /* to be fetched from elsewhere (urls, "foreign" or "nondistributable" types) */
} Descriptor;

typedef enum OciKind {
	OCI_INDEX,    /* items are manifests or indexes */
	OCI_MANIFEST, /* items are layers, `config` is set */
} OciKind;

typedef struct OciDocument {
	OciKind kind;
	Descriptor config;
	Descriptor *items;
	size_t n_items;
} OciDocument;

/** -EINVAL also for a document that is both kinds, or whose mediaType says another. */
int oci_document_parse(const char *json, size_t n, OciDocument *ret, Err *err);
void oci_document_done(OciDocument *d);

/** Go's name for this machine's architecture: "amd64", "arm64", "arm" …; ret_variant may be NULL. */
const char *platform_host(const char **ret_variant);
/** Go's name for a Debian, kernel or Go name: "armhf", "aarch64", "arm64"; NULL if unknown. */
const char *platform_arch(const char *name, const char **ret_variant);
/** Debian's name for a Go architecture and variant; NULL if unknown. */
const char *platform_debian(const char *arch, const char *variant);
/**
 * The manifest of an index for this architecture (exact variant before others). -ENOENT with what there is. A single
 * one is taken whatever it says. ret: index into items.
 */
int oci_choose(const OciDocument *d, const char *arch, const char *variant, size_t *ret, Err *err);
